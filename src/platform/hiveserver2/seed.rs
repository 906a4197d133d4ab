//! The seed table in SQL: how it is called, made, counted and filled.

use md5::{Digest, Md5};

use super::dialect::Engine;
use crate::canary::{Run, Sample};

/// A seed table for samples of one size. Its name carries the size and a hash of the rows: a release
/// with other rows, or a canary with more of them, reads a table of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    engine: Engine,
    table: String,
    /// Where its files are, where that is not left to the engine.
    location: Option<String>,
    sample: Sample,
}

impl Seed {
    pub(super) fn new(engine: Engine, database: Option<&str>, prefix: &str, rows: u32) -> Self {
        let sample = Sample::of(rows);
        let sum = Md5::digest(engine.dialect().seed_values(sample));
        let sum: String = sum.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let database = database.map(|database| format!("{database}.")).unwrap_or_default();
        Self { engine, table: format!("{database}{prefix}_{rows}_{sum}"), location: None, sample }
    }

    /// With its files below a folder: a catalog in memory forgets its tables, and would refuse to make
    /// one anew over files that it does not know.
    pub(super) fn below(self, folder: Option<&str>) -> Self {
        let location = folder.map(|folder| format!("{folder}/{}", self.table));
        Self { location, ..self }
    }

    /// How many rows it holds once it is filled.
    pub(super) fn rows(&self) -> u32 {
        self.sample.rows
    }

    /// Makes it, if it is not there.
    pub(super) fn create(&self) -> String {
        let (columns, storage) = (self.engine.dialect().seed_columns(), self.engine.storage());
        let location = self.location.as_ref().map(|at| format!(" LOCATION '{}'", self.engine.inside(at)));
        let external = if location.is_some() && self.engine != Engine::Spark { "EXTERNAL " } else { "" };
        let location = location.unwrap_or_default();
        format!("CREATE {external}TABLE IF NOT EXISTS {} ({columns}) {storage}{location}", self.table)
    }

    /// Counts its rows, each once.
    pub(super) fn count(&self) -> String {
        format!("SELECT COUNT(DISTINCT n) AS rows_there FROM {} WHERE n < {}", self.table, self.sample.rows)
    }

    /// Fills it. Rows that stand there twice do no harm: queries take each once.
    pub(super) fn fill(&self) -> String {
        let dialect = self.engine.dialect();
        match self.engine {
            // One file, however many cores there are.
            Engine::Spark => {
                let rows = dialect.seed_values(self.sample);
                format!("INSERT INTO {} SELECT /*+ COALESCE(1) */ * FROM VALUES {rows}", self.table)
            }
            Engine::Impala => format!("INSERT INTO {} VALUES {}", self.table, dialect.seed_values(self.sample)),
            // Its VALUES takes nothing but literals.
            Engine::Hive => {
                format!("INSERT INTO TABLE {} SELECT * FROM ({}) seeds", self.table, dialect.seed_selects(self.sample))
            }
        }
    }

    /// The query of a run.
    pub(super) fn query(&self, run: &Run) -> String {
        self.engine.dialect().query(run, &self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_rows_and_dialects_apart() {
        let seed = |engine, rows| Seed::new(engine, Some("db"), "landfall_seed", rows).table;
        assert!(seed(Engine::Spark, 20).starts_with("db.landfall_seed_20_"), "{}", seed(Engine::Spark, 20));
        assert_eq!(seed(Engine::Spark, 20), seed(Engine::Spark, 20));
        assert_ne!(seed(Engine::Spark, 20), seed(Engine::Spark, 21));
        assert_ne!(seed(Engine::Spark, 20), seed(Engine::Impala, 20));
    }

    #[test]
    fn every_dialect_fills_it_in_one_statement() {
        for engine in Engine::ALL {
            let sql = Seed::new(engine, None, "s", 3).fill();
            assert_eq!(sql.matches("CAST('0' AS BIGINT)").count() + sql.matches("'2015-08-24'").count(), 2, "{sql}");
            assert_eq!(sql.contains("UNION ALL"), engine == Engine::Hive, "{sql}");
        }
    }
}

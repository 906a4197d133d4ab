//! A course: the statements that carry one run's rows into its table, in order.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::{
    page::{Failure, State},
    sql::{Booleans, DIALECT, Schema},
};
use crate::{
    canary::{
        Marker, Mode, Phase, Sample,
        report::{REPORT_COLUMNS, Source},
        sample::COLUMNS,
    },
    platform::diary,
};

/// What a statement is for, which decides which phase its troubles belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Makes the table ready.
    Before,
    /// Computes the rows and writes them.
    Write,
    /// Puts what was written into its place.
    After,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) part: Part,
    pub(super) sql: String,
}

/// All that the statements of a run are made of; kept in its handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    pub(super) sample: Sample,
    pub(super) mode: Mode,
    /// Where the table is, in this platform's names.
    pub(super) schema: Schema,
    pub(super) table: String,
    /// The seed table, as it stands in a statement.
    pub(super) seed: String,
    /// What the rows are computed from instead, if they are a report's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Source>,
    /// Whether the table is made if it is not there.
    pub(super) makes: bool,
    /// How the table keeps booleans.
    #[serde(default)]
    pub(super) booleans: Booleans,
}

impl Course {
    /// The statements.
    ///
    /// * `append`: `INSERT`.
    /// * `truncate`: `TRUNCATE TABLE` and `INSERT`; the table stays, and is empty meanwhile.
    /// * `replace`: the rows go into a table beside it, which then takes the other's place. No version
    ///   of these engines writes through a JDBC connector in a transaction of several statements, so
    ///   there is a moment without a table; but none with a half-empty one, as there would be with
    ///   `DELETE` and `INSERT` (and Presto's JDBC connectors know no `DELETE`).
    ///
    /// `update` is not among them: the connectors' `UPDATE` takes only constants, and their `MERGE`,
    /// where there is one, wants keys that a table made through them does not have.
    pub(super) fn steps(&self, marker: Marker) -> Vec<Step> {
        let table = self.schema.table(&self.table);
        let (columns, query) = match &self.report {
            // For a report, that is the table of entries.
            Some(source) => (&REPORT_COLUMNS, diary::query(marker, source, &self.seed)),
            None => (&COLUMNS, self.booleans.kept(DIALECT.query_of(marker, self.sample, &self.seed))),
        };
        let step = |part, sql| Step { part, sql };
        let make = step(
            Part::Before,
            format!("CREATE TABLE IF NOT EXISTS {table} ({})", self.booleans.output_columns(columns)),
        );
        let insert = step(
            Part::Write,
            format!("INSERT INTO {table} ({}) {query}", columns.map(|column| column.name).join(", ")),
        );
        let make = self.makes.then_some(make);
        match self.mode {
            Mode::Append | Mode::Update => make.into_iter().chain([insert]).collect(),
            Mode::Truncate => {
                let empty = step(Part::Before, format!("TRUNCATE TABLE {table}"));
                make.into_iter().chain([empty, insert]).collect()
            }
            Mode::Replace => {
                let beside = self.schema.table(&self.beside());
                vec![
                    step(Part::Before, format!("DROP TABLE IF EXISTS {beside}")),
                    step(Part::Write, format!("CREATE TABLE {beside} AS {query}")),
                    step(Part::After, format!("DROP TABLE IF EXISTS {table}")),
                    step(Part::After, format!("ALTER TABLE {beside} RENAME TO {table}")),
                ]
            }
        }
    }

    /// The table beside it. A name of its own: the table's may be as long as names can be.
    fn beside(&self) -> String {
        let hash = Md5::digest(self.table.as_bytes());
        let hex: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("landfall_new_{hex}")
    }

    /// In which phase a statement failed: a connector's trouble, and any that speaks of the table, is
    /// the writing's.
    pub(super) fn failed_in(&self, part: Part, failure: &Failure) -> Phase {
        let speaks_of = |name: &str| failure.message.contains(&self.schema.shown(name));
        match part {
            _ if failure.is_of_queue() => Phase::Queue,
            Part::Before | Part::After => Phase::Export,
            Part::Write if failure.is_of_connector() => Phase::Export,
            Part::Write if speaks_of(&self.table) || speaks_of(&self.beside()) => Phase::Export,
            Part::Write => Phase::Execute,
        }
    }
}

/// In which phase a job is while a statement is there.
pub(super) fn phase_of(part: Part, step: usize, state: State) -> Phase {
    match (part, state) {
        (Part::After, _) => Phase::Export,
        (_, State::Queued) if step == 0 => Phase::Queue,
        (Part::Write, State::Finishing) => Phase::Export,
        _ => Phase::Execute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Timestamp;

    fn course(mode: Mode, makes: bool) -> Course {
        let schema = Schema::read("pg.public").expect("valid");
        let seed = "\"memory\".\"default\".\"seed\"".to_owned();
        let booleans = Booleans::default();
        Course {
            sample: Sample::default(),
            mode,
            schema,
            table: "canary".to_owned(),
            seed,
            report: None,
            makes,
            booleans,
        }
    }

    fn words(mode: Mode, makes: bool) -> Vec<String> {
        let steps = course(mode, makes).steps(Marker::mint(Timestamp::EPOCH, 1));
        steps.into_iter().map(|step| step.sql.split('(').next().unwrap_or_default().trim().to_owned()).collect()
    }

    #[test]
    fn each_mode_has_its_statements() {
        let (make, insert) = ("CREATE TABLE IF NOT EXISTS \"pg\".\"public\".\"canary\"", "INSERT INTO");
        assert_eq!(words(Mode::Append, true)[0], make);
        assert!(words(Mode::Append, false).iter().all(|sql| sql.starts_with(insert)));
        assert_eq!(words(Mode::Truncate, false)[0], "TRUNCATE TABLE \"pg\".\"public\".\"canary\"");
        let replace = words(Mode::Replace, true);
        assert!(replace[1].starts_with("CREATE TABLE \"pg\".\"public\".\"landfall_new_") && replace.len() == 4);
        assert!(replace[3].ends_with("RENAME TO \"pg\".\"public\".\"canary\""));
    }

    #[test]
    fn words_of_all_versions_are_phases() {
        for (word, first, later) in [
            ("QUEUED", Phase::Queue, Phase::Execute),
            ("WAITING_FOR_PREREQUISITES", Phase::Queue, Phase::Execute),
            ("DISPATCHING", Phase::Queue, Phase::Execute),
            ("PLANNING", Phase::Execute, Phase::Execute),
            ("RUNNING", Phase::Execute, Phase::Execute),
            ("DANCING", Phase::Execute, Phase::Execute),
            ("FINISHING", Phase::Export, Phase::Export),
        ] {
            let state = State::read(word);
            assert_eq!((phase_of(Part::Write, 0, state), phase_of(Part::Write, 2, state)), (first, later), "{word}");
            assert_eq!(phase_of(Part::After, 3, state), Phase::Export);
        }
    }

    #[test]
    fn a_failure_that_speaks_of_the_table_is_the_writings() {
        let failed = |kind: &str, message: &str| {
            let failure = Failure { name: "X".to_owned(), kind: kind.to_owned(), message: message.to_owned() };
            course(Mode::Append, false).failed_in(Part::Write, &failure)
        };
        assert_eq!(failed("USER_ERROR", "line 1:1: Table 'pg.public.canary' does not exist"), Phase::Export);
        assert_eq!(failed("EXTERNAL", "Connection refused"), Phase::Export);
        assert_eq!(failed("USER_ERROR", "Table 'memory.default.seed' does not exist"), Phase::Execute);
        assert_eq!(failed("INSUFFICIENT_RESOURCES", "Query exceeded memory"), Phase::Execute);
    }
}

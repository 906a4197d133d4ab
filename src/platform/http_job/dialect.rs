//! Dialects: how the engine behind an API writes SQL, and where a run's query reads its seeds.

use crate::{
    canary::{
        Run, Sample, Value,
        sample::{Kind, SEED_COLUMNS, seed_row},
    },
    platform::sample_sql::Dialect,
};

/// Most rows whose values stand in the query itself: about 200 KB of SQL.
pub const MOST_INLINE: u32 = 500;

/// Whose SQL the jobs of an API are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sql {
    /// PostgreSQL, and those that speak like it.
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
    /// Trino, Presto and Athena.
    Trino,
    /// Spark and Hive.
    Spark,
}

impl Sql {
    /// All of them.
    pub const ALL: [Sql; 4] = [Sql::PostgreSql, Sql::MySql, Sql::Trino, Sql::Spark];

    /// The name in config.
    pub fn as_str(self) -> &'static str {
        match self {
            Sql::PostgreSql => "postgresql",
            Sql::MySql => "mysql",
            Sql::Trino => "trino",
            Sql::Spark => "spark",
        }
    }

    fn dialect(self) -> Dialect {
        let whole: fn(&str, u32) -> String = |_, _| String::new();
        match self {
            Sql::PostgreSql => Dialect { sql_type: in_postgresql, text: doubled, typed: typed_in_postgresql, whole },
            Sql::MySql => Dialect { sql_type: in_mysql, text: doubled_and_escaped, typed: typed_in_mysql, whole },
            Sql::Trino => Dialect { sql_type: in_trino, text: doubled, typed: typed_in_trino, whole },
            Sql::Spark => Dialect { sql_type: in_spark, text: escaped, typed: typed_in_spark, whole },
        }
    }

    /// The query of a run over a seed table, or over values that stand in it. None: too many rows to stand
    /// in a query.
    pub(super) fn query(self, run: &Run, seed_table: Option<&str>) -> Option<String> {
        let dialect = self.dialect();
        match seed_table {
            Some(table) => Some(dialect.query(run, table)),
            None if run.sample.rows > MOST_INLINE => None,
            None => Some(dialect.query(run, &format!("({}) AS landfall_seed", self.seeds(run.sample)))),
        }
    }

    /// `SELECT …` of the rows of a seed table. Without a keyword that one engine has and another has not:
    /// `VALUES` names its columns differently everywhere.
    pub fn seeds(self, sample: Sample) -> String {
        let dialect = self.dialect();
        let row = |n: u32| {
            let number = (dialect.typed)(Kind::Int, &n.to_string());
            let cells = SEED_COLUMNS.iter().zip(seed_row(n)).map(|(column, value)| {
                let literal = literal(&dialect, column.kind, &value);
                format!("{literal} AS {}", column.name)
            });
            let cells: Vec<String> = [format!("{number} AS n")].into_iter().chain(cells).collect();
            format!("SELECT {}", cells.join(", "))
        };
        (0..sample.rows).map(row).collect::<Vec<_>>().join(" UNION ALL ")
    }
}

/// A value as it stands in a query. Every text is cast, so that no engine takes the length of the first
/// for the longest.
fn literal(dialect: &Dialect, kind: Kind, value: &Value) -> String {
    let sql_type = (dialect.sql_type)(kind);
    match value {
        Value::Null => format!("CAST(NULL AS {sql_type})"),
        Value::Bool(set) => (dialect.typed)(kind, if *set { "true" } else { "false" }),
        Value::Int(number) => (dialect.typed)(kind, &number.to_string()),
        Value::Float(number) => (dialect.typed)(kind, &format!("{number:e}")),
        Value::Text(text) => format!("CAST({} AS {sql_type})", (dialect.text)(text)),
        Value::Marker(marker) => format!("CAST({} AS {sql_type})", (dialect.text)(&marker.to_string())),
    }
}

fn doubled(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn doubled_and_escaped(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn escaped(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Dates, times and decimals stay texts: an API's engine writes them in its own way otherwise, and 38 digits
/// do not fit into every decimal.
fn in_postgresql(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Float => "double precision",
        Kind::Bool => "boolean",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "text",
    }
}

fn in_mysql(kind: Kind) -> &'static str {
    match kind {
        // There is no boolean type, and a cast knows no other name for whole numbers.
        Kind::Int | Kind::Bool => "signed",
        Kind::Float => "double",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "char",
    }
}

fn in_trino(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Float => "double",
        Kind::Bool => "boolean",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "varchar",
    }
}

fn in_spark(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Float => "double",
        Kind::Bool => "boolean",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "string",
    }
}

/// Numbers are cast from texts: the smallest 64-bit integer cannot be written as a literal everywhere.
fn cast(kind: Kind, text: &str, sql_type: &str) -> String {
    match kind {
        Kind::Bool => text.to_owned(),
        _ => format!("CAST('{text}' AS {sql_type})"),
    }
}

fn typed_in_postgresql(kind: Kind, text: &str) -> String {
    cast(kind, text, in_postgresql(kind))
}

fn typed_in_mysql(kind: Kind, text: &str) -> String {
    cast(kind, text, in_mysql(kind))
}

fn typed_in_trino(kind: Kind, text: &str) -> String {
    cast(kind, text, in_trino(kind))
}

fn typed_in_spark(kind: Kind, text: &str) -> String {
    cast(kind, text, in_spark(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_where_they_should_in_every_dialect() {
        assert_eq!(doubled("it's a \\ \""), "'it''s a \\ \"'");
        assert_eq!(doubled_and_escaped("it's a \\"), "'it''s a \\\\'");
        assert_eq!(escaped("it's a \\"), "'it\\'s a \\\\'");
        assert_eq!(Sql::ALL.map(|sql| sql.dialect().output_columns().matches(", ").count()), [11; 4]);
        let numbers = Sql::ALL.map(|sql| (sql.dialect().typed)(Kind::Int, "-9223372036854775808"));
        assert!(numbers.iter().all(|number| number.starts_with("CAST('-9223372036854775808' AS ")), "{numbers:?}");
    }
}

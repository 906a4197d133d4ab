//! The dialects behind the protocol: what their SQL calls types, how literals are written.

use crate::{canary::sample::Kind, platform::sample_sql::Dialect};

/// What a query says that found fewer seeds than its sample has.
pub(super) const LACKS_SEEDS: &str = "landfall: the seed table lacks rows";

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Spark,
    Hive,
    Impala,
}

impl Engine {
    pub(super) const ALL: [Engine; 3] = [Engine::Spark, Engine::Hive, Engine::Impala];

    /// Its name in the config.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Engine::Spark => "spark",
            Engine::Hive => "hive",
            Engine::Impala => "impala",
        }
    }

    /// Its SQL.
    pub(super) fn dialect(self) -> Dialect {
        let text: fn(&str) -> String = match self {
            Engine::Spark | Engine::Hive => |text| format!("'{}'", escaped(text, "\\u0024")),
            // It knows no \u, and replaces nothing.
            Engine::Impala => |text| format!("'{}'", escaped(text, "$")),
        };
        // Of the others no function is known that fails by itself.
        let whole: fn(&str, u32) -> String = match self {
            Engine::Spark => |table, rows| {
                let holds = format!("assert_true(count(DISTINCT n) = {rows}, '{LACKS_SEEDS}')");
                format!(" AND (SELECT {holds} FROM {table} WHERE n < {rows}) IS NULL")
            },
            Engine::Hive | Engine::Impala => |_, _| String::new(),
        };
        Dialect { sql_type, text, typed, whole }
    }

    /// The inside of a text literal.
    pub(super) fn inside(self, text: &str) -> String {
        escaped(text, if self == Engine::Impala { "$" } else { "\\u0024" })
    }

    /// What follows the columns of a table with files in which any text can stand.
    pub(super) fn storage(self) -> &'static str {
        match self {
            Engine::Spark => "USING parquet",
            Engine::Hive => "STORED AS ORC",
            Engine::Impala => "STORED AS PARQUET",
        }
    }
}

/// Backslashes escape. `${…}` is replaced by variables even within literals, so that `$` itself is
/// written by its number where that is known.
fn escaped(text: &str, dollar: &str) -> String {
    let mut inside = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' => inside.extend(['\\', c]),
            '\n' => inside.push_str("\\n"),
            '\t' => inside.push_str("\\t"),
            '$' => inside.push_str(dollar),
            c => inside.push(c),
        }
    }
    inside
}

/// Dates, times and decimals stay texts, as the sample has them: no engine rounds or shifts those.
fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "BIGINT",
        Kind::Float => "DOUBLE",
        Kind::Bool => "BOOLEAN",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "STRING",
    }
}

fn typed(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Bool => value.to_owned(),
        // From text: the smallest integer is no literal, and some engines take 1e308 for a decimal.
        Kind::Int | Kind::Float => format!("CAST('{value}' AS {})", sql_type(kind)),
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => format!("'{value}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_survive_quotes_backslashes_and_variables() {
        let text = "it's \\n ${x}\nend";
        assert_eq!((Engine::Spark.dialect().text)(text), "'it\\'s \\\\n \\u0024{x}\\nend'");
        assert_eq!((Engine::Hive.dialect().text)(text), "'it\\'s \\\\n \\u0024{x}\\nend'");
        assert_eq!((Engine::Impala.dialect().text)(text), "'it\\'s \\\\n ${x}\\nend'");
    }
}

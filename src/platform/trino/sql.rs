//! Statements: the SQL of this family of engines, and how names are written in it.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    canary::{
        run::Columns,
        sample::{COLUMNS, Kind, SEED_COLUMNS},
    },
    platform::sample_sql::Dialect,
};

/// Dates and times are texts, as in the tables that other platforms make: one table may be shared by
/// the append canaries of all of them.
pub(super) const DIALECT: Dialect = Dialect {
    sql_type: |kind| match kind {
        Kind::Int => "BIGINT",
        Kind::Float => "DOUBLE",
        Kind::Bool => "BOOLEAN",
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => "VARCHAR",
    },
    text: literal,
    typed: |kind, text| match kind {
        // `-9223372036854775808` alone is minus a number that is too large.
        Kind::Int => format!("BIGINT '{text}'"),
        Kind::Float => format!("DOUBLE '{text}'"),
        Kind::Bool => text.to_owned(),
        Kind::Marker | Kind::Decimal | Kind::Date | Kind::Timestamp | Kind::Text => literal(text),
    },
    // It says how many rows it wrote.
    whole: |_, _| String::new(),
};

/// The type in which a catalog keeps booleans. MySQL has none of its own: what was made as `boolean`
/// is a `tinyint` there, into which these engines insert no boolean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Booleans {
    #[default]
    Boolean,
    Tinyint,
    Smallint,
    Integer,
    Bigint,
}

impl Booleans {
    pub(super) const NAMES: [&str; 5] = ["boolean", "tinyint", "smallint", "integer", "bigint"];
    const ALL: [Self; 5] = [Self::Boolean, Self::Tinyint, Self::Smallint, Self::Integer, Self::Bigint];

    pub(super) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().zip(Self::NAMES).find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(one, _)| one)
    }

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// `name type, …` of a table that runs write to.
    pub(super) fn output_columns(self, columns: &Columns) -> String {
        let sql_type = |kind| if kind == Kind::Bool { self.name() } else { (DIALECT.sql_type)(kind) };
        let columns: Vec<_> =
            columns.iter().map(|column| format!("{} {}", column.name, sql_type(column.kind))).collect();
        columns.join(", ")
    }

    /// A query for a sample, with its booleans as they are kept.
    pub(super) fn kept(self, query: String) -> String {
        if self == Self::Boolean {
            return query;
        }
        let columns = COLUMNS.map(|column| match column.kind {
            Kind::Bool => format!("CAST({0} AS {1}) AS {0}", column.name, self.name()),
            _ => column.name.to_owned(),
        });
        format!("SELECT {} FROM ({query}) AS sample", columns.join(", "))
    }
}

/// A text as it stands in a statement. Nothing else is special there.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as it stands in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A schema of a catalog, `catalog.schema` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Schema {
    pub(super) catalog: String,
    pub(super) schema: String,
}

impl Schema {
    /// From `catalog.schema`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (catalog, schema) = text.split_once('.')?;
        let fits = |name: &str| {
            (1..=128).contains(&name.len())
                && !name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '.' | '"'))
        };
        (fits(catalog) && fits(schema)).then(|| Self { catalog: catalog.to_owned(), schema: schema.to_owned() })
    }

    /// A table in it, as it stands in a statement.
    pub(super) fn table(&self, name: &str) -> String {
        format!("{}.{}.{}", quoted(&self.catalog), quoted(&self.schema), quoted(name))
    }

    /// A table in it, as error messages name it.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{self}.{name}")
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.catalog, self.schema)
    }
}

/// Rows of the seed table with the types that it has: a list of values alone has narrower ones.
pub(super) fn seed_rows(rows: Range<u32>) -> String {
    let mut names = vec!["n"];
    names.extend(SEED_COLUMNS.iter().map(|column| column.name));
    let typed = |name: &&str| {
        let kind = SEED_COLUMNS.iter().find(|column| column.name == *name).map_or(Kind::Int, |column| column.kind);
        format!("CAST({name} AS {}) AS {name}", (DIALECT.sql_type)(kind))
    };
    let selected: Vec<String> = names.iter().map(typed).collect();
    format!("SELECT {} FROM (VALUES {}) AS seeds ({})", selected.join(", "), DIALECT.seed_rows(rows), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_break_out() {
        assert_eq!(literal("it's '; DROP"), "'it''s ''; DROP'");
        let schema = Schema::read("pg.public").expect("valid");
        assert_eq!(schema.table("a\"; DROP TABLE b; --"), "\"pg\".\"public\".\"a\"\"; DROP TABLE b; --\"");
        for bad in ["", "pg", "pg.", ".public", "a.b.c", "a b.c", "a\".b", "a\n.b"] {
            assert_eq!(Schema::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn booleans_are_written_as_the_catalog_keeps_them() {
        assert_eq!(Booleans::read("TINYINT"), Some(Booleans::Tinyint));
        assert_eq!(Booleans::read("text"), None);
        assert_eq!(Booleans::default().kept("SELECT 1".to_owned()), "SELECT 1");
        assert!(Booleans::default().output_columns(&COLUMNS).contains(", flag boolean, "));
        assert!(Booleans::Tinyint.output_columns(&COLUMNS).contains(", flag tinyint, "));
        let kept = Booleans::Tinyint.kept("SELECT 1".to_owned());
        assert!(kept.contains(", CAST(flag AS tinyint) AS flag, ") && kept.ends_with(" FROM (SELECT 1) AS sample"));
    }

    #[test]
    fn seeds_are_cast_to_what_sums_need() {
        let sql = seed_rows(4..5);
        assert!(sql.starts_with("SELECT CAST(n AS BIGINT) AS n, CAST(int_edge AS BIGINT) AS int_edge, "), "{sql}");
        assert!(sql.contains("(VALUES (4, BIGINT '-9223372036854775808', "), "{sql}");
    }
}

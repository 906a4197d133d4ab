//! Columns: their names and types, and how values are kept in them.

use std::collections::HashSet;

use rusqlite::types::Value as Stored;

use super::{Value, warehouse::WarehouseError};

/// Most columns of a table: a pretend platform on somebody's laptop stays small.
const COLUMNS: usize = 500;

/// A column as the platform shows it: name, type, alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `int`, `long`, `float`, `double`, `string`, `array<…>`, `map<…>`.
    pub kind: String,
    /// Its name in queries, if it has another one.
    pub alias: Option<String>,
}

pub(super) fn check_columns(columns: &[Column]) -> Result<(), WarehouseError> {
    if columns.len() > COLUMNS {
        return Err(WarehouseError::Refused(format!("a table has at most {} columns here", COLUMNS)));
    }
    let mut seen = HashSet::new();
    for column in columns {
        let name = shown(column);
        if name.is_empty() || name.len() > 256 || name.contains('\0') {
            return Err(WarehouseError::Refused("a column's name is empty or too long".to_owned()));
        }
        if name.eq_ignore_ascii_case("time") || name == "v" {
            return Err(WarehouseError::Refused(format!("column name '{name}' is reserved")));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(WarehouseError::Refused(format!("column name '{name}' is there twice")));
        }
    }
    Ok(())
}

/// The name of a column in queries.
pub(super) fn shown(column: &Column) -> &str {
    column.alias.as_deref().unwrap_or(&column.name)
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn storage(kind: &str) -> &'static str {
    match kind {
        "int" | "long" => "BIGINT",
        "float" | "double" => "DOUBLE",
        "boolean" => "BOOLEAN",
        _ => "TEXT",
    }
}

pub(super) fn definition(name: &str, columns: &[Column]) -> String {
    let columns = columns.iter().map(|column| format!("{} {}, ", quote(shown(column)), storage(&column.kind)));
    format!("CREATE TABLE {} ({}\"time\" BIGINT)", quote(name), columns.collect::<String>())
}

/// A value as its column keeps it; what does not fit a number is NULL.
pub(super) fn stored(value: &Value, kind: &str) -> Stored {
    let number = |text: &str| match storage(kind) {
        "DOUBLE" => text.trim().parse().map(Stored::Real).unwrap_or(Stored::Null),
        _ => text.trim().parse().map(Stored::Integer).unwrap_or(Stored::Null),
    };
    match (value, storage(kind)) {
        (Value::Null, _) => Stored::Null,
        (Value::Bool(b), "TEXT") => Stored::Text(b.to_string()),
        (Value::Int(n), "TEXT") => Stored::Text(n.to_string()),
        (Value::Float(x), "TEXT") => Stored::Text(format!("{x:?}")),
        (Value::Text(text), "TEXT") => Stored::Text(text.clone()),
        (Value::Bool(b), "DOUBLE") => Stored::Real(f64::from(u8::from(*b))),
        (Value::Int(n), "DOUBLE") => Stored::Real(*n as f64),
        (Value::Float(x), "DOUBLE") => Stored::Real(*x),
        (Value::Bool(b), _) => Stored::Integer(i64::from(*b)),
        (Value::Int(n), _) => Stored::Integer(*n),
        (Value::Float(x), _) => Stored::Integer(*x as i64),
        (Value::Text(text), _) if kind == "boolean" && text.eq_ignore_ascii_case("true") => Stored::Integer(1),
        (Value::Text(text), _) if kind == "boolean" && text.eq_ignore_ascii_case("false") => Stored::Integer(0),
        (Value::Text(text), _) => number(text),
    }
}

pub(super) fn loaded(stored: Stored) -> Value {
    match stored {
        Stored::Null => Value::Null,
        Stored::Integer(n) => Value::Int(n),
        Stored::Real(x) => Value::Float(x),
        Stored::Text(text) => Value::Text(text),
        Stored::Blob(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

//! The sandbox's SQL engine: databases and tables of an account, and queries fenced in an embedded
//! SQLite. It knows nothing of jobs: text goes in, rows or an error come out.

mod column;
mod database;
mod dialect;
mod fence;
mod functions;
mod listing;
mod token;
mod warehouse;

pub use column::Column;
pub use dialect::Dialect;
pub use fence::{Context, Limits};
pub use listing::{DatabaseInfo, Import, TableInfo};
pub use warehouse::{Warehouse, WarehouseError};

/// One value of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A boolean, where a column was declared as one.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text; decimals, dates and times too.
    Text(String),
}

/// What the columns of a result hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// 64-bit integers.
    Long,
    /// Doubles.
    Double,
    /// Text.
    Text,
    /// Booleans.
    Bool,
}

impl Type {
    /// The name in `hive_result_schema`, which speaks the engine's language.
    pub fn engine_name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Type::Long, _) => "bigint",
            (Type::Double, _) => "double",
            (Type::Bool, _) => "boolean",
            (Type::Text, Dialect::Hive) => "string",
            (Type::Text, Dialect::Presto) => "varchar",
        }
    }

    /// The name in the platform's own schemas and in HTTP output.
    pub fn platform_name(self) -> &'static str {
        match self {
            Type::Long => "long",
            Type::Double => "double",
            Type::Text => "string",
            Type::Bool => "boolean",
        }
    }
}

/// The rows of a result, with names and types of the columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rowset {
    /// Name and type, in order.
    pub columns: Vec<(String, Type)>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// Why a query gave no rows. The texts are for the job's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Syntax, an unknown table or column, a value out of range.
    #[error("{0}")]
    Refused(String),
    /// A statement that the fence does not let through.
    #[error("statement is not allowed: {0}")]
    Fenced(String),
    /// It ran longer than the fence allows.
    #[error("query ran longer than {0} ms and was stopped")]
    TooLong(u128),
    /// It made more than the fence allows.
    #[error("result is larger than {0} bytes")]
    TooLarge(usize),
    /// It was killed.
    #[error("query was stopped")]
    Stopped,
    /// The engine itself broke.
    #[error("engine trouble: {0}")]
    Broken(String),
}

#[cfg(test)]
mod tests;

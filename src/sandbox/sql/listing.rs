//! Listings: what is told of databases and tables, and what is sent to them.

use super::{Column, Rowset, Value};
use crate::canary::Timestamp;

/// A database as listed.
#[derive(Clone, Debug)]
pub struct DatabaseInfo {
    /// Its name.
    pub name: String,
    /// A number of its own.
    pub id: u64,
    /// Rows in all tables.
    pub count: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

/// A table as listed.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// A number of its own.
    pub id: u64,
    /// Columns without `time`.
    pub columns: Vec<Column>,
    /// Rows.
    pub count: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The latest `time` of a row, in seconds since the epoch.
    pub last_log: Option<i64>,
    /// Bytes imported.
    pub size: u64,
    /// Days after which rows would go; kept, not acted on.
    pub expire_days: Option<i64>,
    /// Whether queries would show `v`; kept, not acted on.
    pub include_v: bool,
}

/// Rows to be added, each a list of named values.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Names and values.
    pub rows: Vec<Vec<(String, Value)>>,
    /// Size of the upload, for the table's size.
    pub bytes: u64,
    /// The uploader's id: the same id is added once.
    pub unique_id: Option<String>,
}

impl Import {
    /// The rows of a result.
    pub(super) fn of(rowset: &Rowset) -> Self {
        let names = || rowset.columns.iter().map(|(name, _)| name.clone());
        let rows = rowset.rows.iter().map(|row| names().zip(row.iter().cloned()).collect()).collect();
        Import { rows, bytes: 0, unique_id: None }
    }
}

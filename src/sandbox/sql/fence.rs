//! The fence: one query on one fresh connection that can read the account's own tables and nothing
//! else, for a bounded time, with bounded memory.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    hooks::{AuthAction, Authorization},
    limits::Limit,
    types::ValueRef,
};
use tokio::time::Instant;

use super::{Dialect, QueryError, Rowset, Type, Value, dialect::Sql, functions};

/// What a query may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// How many bytes its rows may have.
    pub bytes: usize,
}

impl Default for Limits {
    /// Two seconds and 64 MB: far more than a canary needs, too little to hurt the machine.
    fn default() -> Self {
        Self { time: Duration::from_secs(2), bytes: 64 << 20 }
    }
}

/// What a query is told about its job.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// `TD_SCHEDULED_TIME()`, in seconds since the epoch.
    pub scheduled_time: i64,
    /// `now()`, in seconds since the epoch.
    pub now: i64,
}

/// Longest text that a query may build. Some functions work on a whole text in one step of the
/// engine, where no clock can stop them: this keeps the step short.
const LONGEST_TEXT: i32 = 4 << 20;
/// `LIKE` takes time with the product of pattern and text, in one step of the engine.
const LONGEST_PATTERN: i32 = 200;
/// Steps of the engine between two looks at the clock: some microseconds.
const STEPS: i32 = 1000;
/// Page cache of a connection, in KiB; larger sorts go to a temporary file.
const CACHE_KIB: i32 = 8192;
/// SQLite attaches no more than ten databases.
pub(super) const MOST_DATABASES: usize = 9;

/// Runs one query over databases, given as name and file; the first is the job's own.
pub(super) fn run(
    sql: &Sql,
    databases: &[(String, PathBuf)],
    dialect: Dialect,
    context: Context,
    limits: Limits,
    stop: &Arc<AtomicBool>,
) -> Result<Rowset, QueryError> {
    let connection = open(databases, context, limits, stop).map_err(|error| QueryError::Broken(error.to_string()))?;
    let told = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) if stop.load(Ordering::Relaxed) => QueryError::Stopped,
        Some(ErrorCode::OperationInterrupted) => QueryError::TooLong(limits.time.as_millis()),
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => QueryError::TooLarge(LONGEST_TEXT as usize),
        Some(ErrorCode::AuthorizationForStatementDenied) => QueryError::Fenced("it does more than read".to_owned()),
        _ => QueryError::Refused(message(&error)),
    };
    let mut statement = connection.prepare(&sql.text).map_err(told)?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(QueryError::Fenced("it does more than read".to_owned()));
    }
    let declared: Vec<Option<Type>> = statement.columns().map(|column| column.decl_type().and_then(declared)).collect();
    let names = names(statement.column_names(), sql, dialect);
    let mut out = Rowset { columns: Vec::new(), rows: Vec::new() };
    let mut bytes = 0;
    let mut rows = statement.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let mut values = Vec::with_capacity(names.len());
        for (at, declared) in declared.iter().enumerate() {
            let value = value(row.get_ref(at).map_err(told)?, *declared);
            bytes += size_of::<Value>() + if let Value::Text(text) = &value { text.len() } else { 0 };
            values.push(value);
        }
        if bytes > limits.bytes {
            return Err(QueryError::TooLarge(limits.bytes));
        }
        out.rows.push(values);
    }
    out.columns = names
        .into_iter()
        .enumerate()
        .map(|(at, name)| (name, declared[at].unwrap_or_else(|| found(out.rows.iter().map(|row| &row[at])))))
        .collect();
    Ok(out)
}

fn open(
    databases: &[(String, PathBuf)],
    context: Context,
    limits: Limits,
    stop: &Arc<AtomicBool>,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(":memory:", flags)?;
    connection.busy_timeout(limits.time)?;
    for (name, file) in databases {
        let uri = format!("file:{}?mode=rw", uri_path(file));
        connection.execute(&format!("ATTACH ?1 AS \"{}\"", name.replace('"', "\"\"")), [uri])?;
    }
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA temp_store = FILE; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA trusted_schema = OFF;"
    ))?;
    functions::register(&connection, context)?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, LONGEST_TEXT),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 4 << 20),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_PATTERN),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.authorizer(Some(|attempt: rusqlite::hooks::AuthContext<'_>| match attempt.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => Authorization::Allow,
        AuthAction::Function { function_name }
            if ["load_extension", "fts3_tokenizer"].iter().any(|denied| function_name.eq_ignore_ascii_case(denied)) =>
        {
            Authorization::Deny
        }
        AuthAction::Function { .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }))?;
    let (end, stop) = (Instant::now() + limits.time, stop.clone());
    connection.progress_handler(STEPS, Some(move || stop.load(Ordering::Relaxed) || Instant::now() > end))?;
    Ok(connection)
}

/// A file name inside a `file:` URI: `?`, `#` and `%` would end it.
fn uri_path(file: &Path) -> String {
    let path = file.to_string_lossy();
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

/// What SQLite says, without the query's text, which may be long.
fn message(error: &rusqlite::Error) -> String {
    let text = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    text.chars().take(500).collect()
}

fn declared(name: &str) -> Option<Type> {
    match name {
        "BIGINT" => Some(Type::Long),
        "DOUBLE" => Some(Type::Double),
        "TEXT" => Some(Type::Text),
        "BOOLEAN" => Some(Type::Bool),
        _ => None,
    }
}

/// The type of an expression, by its values.
fn found<'a>(values: impl Iterator<Item = &'a Value>) -> Type {
    let (mut long, mut double) = (false, false);
    for value in values {
        match value {
            Value::Text(_) => return Type::Text,
            Value::Float(_) => double = true,
            Value::Int(_) | Value::Bool(_) => long = true,
            Value::Null => {}
        }
    }
    match (long, double) {
        (_, true) => Type::Double,
        (true, false) => Type::Long,
        (false, false) => Type::Text,
    }
}

fn value(value: ValueRef<'_>, declared: Option<Type>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) if declared == Some(Type::Bool) => Value::Bool(n != 0),
        ValueRef::Integer(n) if declared == Some(Type::Double) => Value::Float(n as f64),
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Real(x) => Value::Float(x),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Expressions without a name are `_col0` in Presto and `_c0` in Hive; SQLite shows their text.
fn names<'a>(shown: impl Iterator<Item = &'a str>, sql: &Sql, dialect: Dialect) -> Vec<String> {
    let prefix = match dialect {
        Dialect::Hive => "_c",
        Dialect::Presto => "_col",
    };
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let name = |(at, name): (usize, &str)| {
        if plain(name) || sql.quoted.iter().any(|quoted| quoted == name) {
            name.to_owned()
        } else {
            format!("{prefix}{at}")
        }
    };
    shown.enumerate().map(name).collect()
}

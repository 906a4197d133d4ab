//! An account's warehouse: its databases, each a SQLite file, and their tables. Everything here
//! blocks; callers put it on a blocking thread.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    Column, DatabaseInfo, Dialect, Import, QueryError, Rowset, TableInfo, Type, Value,
    database::{self, Database},
    dialect::{Name, Sql, Statement, parse},
    fence::{self, Context, Limits, MOST_DATABASES},
};
use crate::canary::Timestamp;

/// Most databases of an account: a pretend platform on somebody's laptop stays small.
const MOST: usize = 100;

/// Why the warehouse did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarehouseError {
    /// No such database.
    #[error("Couldn't find UserDatabase with name = {0}")]
    NoDatabase(String),
    /// No such table.
    #[error("Couldn't find UserTableReference with name = {0}")]
    NoTable(String),
    /// There is one.
    #[error("Database {0} already exists")]
    DatabaseExists(String),
    /// There is one.
    #[error("Table {0} already exists")]
    TableExists(String),
    /// Not a name.
    #[error("{0}")]
    Name(String),
    /// Not a column, or too many of something.
    #[error("{0}")]
    Refused(String),
    /// The files under it broke.
    #[error("storage trouble: {0}")]
    Broken(String),
}

impl From<rusqlite::Error> for WarehouseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The databases of one account.
pub struct Warehouse {
    folder: PathBuf,
    databases: Mutex<BTreeMap<String, Arc<Mutex<Database>>>>,
    last_id: AtomicU64,
}

impl std::fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warehouse").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves the maps whole: every change is made after it can no longer fail.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Warehouse {
    /// An empty one in a folder that exists and is its own.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, databases: Mutex::default(), last_id: AtomicU64::new(0) }
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn database(&self, name: &str) -> Result<Arc<Mutex<Database>>, WarehouseError> {
        let found = locked(&self.databases).get(name).cloned();
        found.ok_or_else(|| WarehouseError::NoDatabase(name.chars().take(300).collect()))
    }

    /// All databases by name.
    pub fn databases(&self) -> Vec<DatabaseInfo> {
        let all: Vec<_> = locked(&self.databases).iter().map(|(name, one)| (name.clone(), one.clone())).collect();
        all.into_iter().map(|(name, one)| locked(&one).info(name)).collect()
    }

    /// One database.
    pub fn show_database(&self, name: &str) -> Result<DatabaseInfo, WarehouseError> {
        Ok(locked(&*self.database(name)?).info(name.to_owned()))
    }

    /// Makes a database.
    pub fn create_database(&self, name: &str, now: Timestamp) -> Result<(), WarehouseError> {
        database::check(name)?;
        let mut databases = locked(&self.databases);
        if databases.contains_key(name) {
            return Err(WarehouseError::DatabaseExists(name.to_owned()));
        }
        if databases.len() >= MOST {
            return Err(WarehouseError::Refused(format!("an account has at most {} databases here", MOST)));
        }
        let id = self.next_id();
        // The number keeps a new database apart from a deleted one that a query still reads.
        let file = self.folder.join(format!("{id}.sqlite"));
        let database = Database::open(file, id, now)?;
        databases.insert(name.to_owned(), Arc::new(Mutex::new(database)));
        Ok(())
    }

    /// Removes a database with its tables.
    pub fn delete_database(&self, name: &str) -> Result<(), WarehouseError> {
        let gone = locked(&self.databases).remove(name);
        let gone = gone.ok_or_else(|| WarehouseError::NoDatabase(name.chars().take(300).collect()))?;
        let file = locked(&gone).file().to_owned();
        for ending in ["", "-wal", "-shm"] {
            let mut path = file.clone().into_os_string();
            path.push(ending);
            // A file that is gone already is what we want; the folder goes at the end anyway.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// The tables of a database by name.
    pub fn tables(&self, database: &str) -> Result<Vec<TableInfo>, WarehouseError> {
        let database = self.database(database)?;
        Ok(locked(&database).tables())
    }

    /// One table.
    pub fn show_table(&self, database: &str, table: &str) -> Result<TableInfo, WarehouseError> {
        let database = self.database(database)?;
        locked(&database).show(table)
    }

    /// Makes a table.
    pub fn create_table(
        &self,
        database: &str,
        table: &str,
        columns: Vec<Column>,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        let id = self.next_id();
        locked(&database).create(table, columns, id, now)
    }

    /// Removes a table.
    pub fn delete_table(&self, database: &str, table: &str) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        locked(&database).remove(table)
    }

    /// Exchanges two tables' contents.
    pub fn swap(&self, database: &str, one: &str, other: &str) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        locked(&database).swap(one, other)
    }

    /// Gives a table another name.
    pub fn rename(&self, database: &str, table: &str, new: &str, overwrite: bool) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        locked(&database).rename(table, new, overwrite)
    }

    /// Changes what is only kept: days and `include_v`.
    pub fn update_table(
        &self,
        database: &str,
        table: &str,
        expire_days: Option<Option<i64>>,
        include_v: Option<bool>,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        locked(&database).update(table, expire_days, include_v, now)
    }

    /// Gives a table these columns; values of columns that stay are kept, in the new type.
    pub fn set_columns(
        &self,
        database: &str,
        table: &str,
        columns: Vec<Column>,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        locked(&database).rebuild(table, columns, now)
    }

    /// Adds rows, and columns that are new. Says whether the upload was new.
    pub fn import(&self, database: &str, table: &str, import: &Import, now: Timestamp) -> Result<bool, WarehouseError> {
        let database = self.database(database)?;
        locked(&database).import(table, import, now)
    }

    /// Writes a result into a table, which is made if it is not there; `replace` empties it first,
    /// in the same transaction.
    pub fn write(
        &self,
        name: (&str, &str),
        rowset: &Rowset,
        replace: bool,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let (database, table) = name;
        let database = self.database(database)?;
        let id = self.next_id();
        locked(&database).write(table, rowset, replace, id, now)
    }

    fn remove_rows(&self, name: (&str, &str), ids: Vec<i64>, now: Timestamp) -> Result<i64, WarehouseError> {
        let (database, table) = name;
        let database = self.database(database)?;
        locked(&database).remove_rows(table, &ids, now)
    }

    /// The newest rows of a table as JSON-like maps, newest last.
    pub fn tail(&self, database: &str, table: &str, count: u32) -> Result<Rowset, WarehouseError> {
        let database = self.database(database)?;
        locked(&database).tail(table, count)
    }

    /// Runs a statement for a job. `stop` ends it early.
    pub fn query(
        &self,
        database: &str,
        text: &str,
        dialect: Dialect,
        context: Context,
        limits: Limits,
        stop: &Arc<AtomicBool>,
    ) -> Result<Rowset, QueryError> {
        let now = Timestamp::from_secs(context.now);
        let read = |sql: &Sql| fence::run(sql, &self.mentioned(database, sql)?, dialect, context, limits, stop);
        let table = |name: &Name| (name.database.clone().unwrap_or_else(|| database.to_owned()), name.table.clone());
        let refused = |error: WarehouseError| QueryError::Refused(error.to_string());
        match parse(text, dialect)? {
            Statement::Read(sql) => read(&sql),
            Statement::Insert { table: name, columns, overwrite, query } => {
                let (database, table) = table(&name);
                let info = self.show_table(&database, &table).map_err(refused)?;
                let mut rowset = read(&query)?;
                let names = if columns.is_empty() {
                    info.columns.into_iter().map(|column| column.name).chain(["time".to_owned()]).collect()
                } else {
                    columns
                };
                if names.len() < rowset.columns.len() {
                    return Err(QueryError::Refused("the query has more columns than the table".to_owned()));
                }
                for (column, name) in rowset.columns.iter_mut().zip(names) {
                    column.0 = name;
                }
                self.write((&database, &table), &rowset, overwrite, now).map_err(refused)?;
                Ok(Rowset::default())
            }
            Statement::CreateAs { table: name, if_absent, query } => {
                let (database, table) = table(&name);
                if self.show_table(&database, &table).is_ok() {
                    let exists = QueryError::Refused(WarehouseError::TableExists(table).to_string());
                    return if if_absent { Ok(Rowset::default()) } else { Err(exists) };
                }
                let rowset = read(&query)?;
                self.write((&database, &table), &rowset, false, now).map_err(refused)?;
                Ok(Rowset::default())
            }
            Statement::Delete { table: name, rows } => {
                let (database, table) = table(&name);
                self.show_table(&database, &table).map_err(refused)?;
                let found = read(&rows)?;
                let ids = found.rows.iter().filter_map(|row| match row.first() {
                    Some(Value::Int(id)) => Some(*id),
                    _ => None,
                });
                let removed = self.remove_rows((&database, &table), ids.collect(), now).map_err(refused)?;
                Ok(Rowset { columns: vec![("rows".to_owned(), Type::Long)], rows: vec![vec![Value::Int(removed)]] })
            }
            Statement::Drop { table: name, if_there } => {
                let (database, table) = table(&name);
                match self.delete_table(&database, &table) {
                    Err(WarehouseError::NoTable(_)) if if_there => Ok(Rowset::default()),
                    done => done.map(|()| Rowset::default()).map_err(refused),
                }
            }
        }
    }

    /// The job's database and those that a query names.
    fn mentioned(&self, database: &str, sql: &Sql) -> Result<Vec<(String, PathBuf)>, QueryError> {
        let all = locked(&self.databases);
        let file = |name: &str| all.get(name).map(|found| (name.to_owned(), locked(found).file().to_owned()));
        let own = file(database)
            .ok_or_else(|| QueryError::Refused(WarehouseError::NoDatabase(database.to_owned()).to_string()))?;
        let mut out = vec![own];
        for name in &sql.qualifiers {
            if out.iter().all(|(known, _)| known != name) {
                out.extend(file(name));
            }
        }
        if out.len() > MOST_DATABASES {
            return Err(QueryError::Refused(format!("a query reads at most {MOST_DATABASES} databases here")));
        }
        Ok(out)
    }
}

//! An account's warehouse: its databases, each a SQLite file, and their tables. Everything here
//! blocks; callers put it on a blocking thread.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value as Stored};

use super::{
    Dialect, QueryError, Rowset, Type, Value,
    dialect::{Name, Sql, Statement, parse},
    fence::{self, Context, Limits, MOST_DATABASES},
};
use crate::canary::Timestamp;

/// Most databases of an account, most tables of a database, most columns of a table: a pretend
/// platform on somebody's laptop stays small.
const MOST: [usize; 3] = [100, 1000, 500];
/// Largest file of a database, in pages of 4 KiB: 512 MB.
const MOST_PAGES: u32 = 131_072;
/// Upload ids remembered per table: a repeated upload comes soon or never.
const IDS_KEPT: usize = 10_000;

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

struct Table {
    info: TableInfo,
    ids: HashSet<String>,
}

struct Database {
    id: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    file: PathBuf,
    connection: Connection,
    tables: BTreeMap<String, Table>,
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

/// Names are lower-case letters, digits and `_`, 3 to 256 of them.
fn check(name: &str) -> Result<(), WarehouseError> {
    let n = name.chars().count();
    if !(3..=256).contains(&n) {
        let shown: String = name.chars().take(300).collect();
        return Err(WarehouseError::Name(format!(
            "Name must be 3 to 256 characters, got {n} characters. name = '{shown}'"
        )));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.chars().all(fits) {
        return Err(WarehouseError::Name(format!(
            "Name must consist only of lower-case letters, digits and '_'. name = '{name}'"
        )));
    }
    // The engine keeps these for itself.
    if name == "main" || name == "temp" || name.starts_with("sqlite_") {
        return Err(WarehouseError::Name(format!("Name is reserved. name = '{name}'")));
    }
    Ok(())
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
        check(name)?;
        let mut databases = locked(&self.databases);
        if databases.contains_key(name) {
            return Err(WarehouseError::DatabaseExists(name.to_owned()));
        }
        if databases.len() >= MOST[0] {
            return Err(WarehouseError::Refused(format!("an account has at most {} databases here", MOST[0])));
        }
        let id = self.next_id();
        // The number keeps a new database apart from a deleted one that a query still reads.
        let file = self.folder.join(format!("{id}.sqlite"));
        let connection = open(&file)?;
        let database = Database { id, created_at: now, updated_at: now, file, connection, tables: BTreeMap::new() };
        databases.insert(name.to_owned(), Arc::new(Mutex::new(database)));
        Ok(())
    }

    /// Removes a database with its tables.
    pub fn delete_database(&self, name: &str) -> Result<(), WarehouseError> {
        let gone = locked(&self.databases).remove(name);
        let gone = gone.ok_or_else(|| WarehouseError::NoDatabase(name.chars().take(300).collect()))?;
        let file = locked(&gone).file.clone();
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
        let database = locked(&database);
        Ok(database.tables.values().map(|table| table.info.clone()).collect())
    }

    /// One table.
    pub fn show_table(&self, database: &str, table: &str) -> Result<TableInfo, WarehouseError> {
        let database = self.database(database)?;
        let mut database = locked(&database);
        Ok(database.table(table)?.info.clone())
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
        let mut database = locked(&database);
        database.table(table)?;
        database.connection.execute_batch(&format!("DROP TABLE {}", quote(table)))?;
        database.tables.remove(table);
        Ok(())
    }

    /// Exchanges two tables' contents.
    pub fn swap(&self, database: &str, one: &str, other: &str) -> Result<(), WarehouseError> {
        let database = self.database(database)?;
        let mut database = locked(&database);
        database.table(one)?;
        database.table(other)?;
        if one == other {
            return Ok(());
        }
        database.connection.execute_batch(&format!(
            "BEGIN; ALTER TABLE {a} RENAME TO \"0swap\"; ALTER TABLE {b} RENAME TO {a}; ALTER TABLE \"0swap\" RENAME TO {b}; COMMIT;",
            a = quote(one),
            b = quote(other)
        ))?;
        if let (Some(mut a), Some(mut b)) = (database.tables.remove(one), database.tables.remove(other)) {
            std::mem::swap(&mut a.info.name, &mut b.info.name);
            database.tables.insert(one.to_owned(), b);
            database.tables.insert(other.to_owned(), a);
        }
        Ok(())
    }

    /// Gives a table another name.
    pub fn rename(&self, database: &str, table: &str, new: &str, overwrite: bool) -> Result<(), WarehouseError> {
        check(new)?;
        let database = self.database(database)?;
        let mut database = locked(&database);
        database.table(table)?;
        if table == new {
            return Ok(());
        }
        if database.tables.contains_key(new) && !overwrite {
            return Err(WarehouseError::TableExists(new.to_owned()));
        }
        database.connection.execute_batch(&format!(
            "BEGIN; DROP TABLE IF EXISTS {b}; ALTER TABLE {a} RENAME TO {b}; COMMIT;",
            a = quote(table),
            b = quote(new)
        ))?;
        if let Some(mut moved) = database.tables.remove(table) {
            moved.info.name = new.to_owned();
            database.tables.insert(new.to_owned(), moved);
        }
        Ok(())
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
        let mut database = locked(&database);
        let info = &mut database.table(table)?.info;
        info.expire_days = expire_days.unwrap_or(info.expire_days);
        info.include_v = include_v.unwrap_or(info.include_v);
        info.updated_at = now;
        Ok(())
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
        let mut database = locked(&database);
        let columns: Vec<Column> = rowset
            .columns
            .iter()
            .filter(|(name, _)| name != "time")
            .map(|(name, kind)| Column { name: name.clone(), kind: kind.platform_name().to_owned(), alias: None })
            .collect();
        if !database.tables.contains_key(table) {
            database.create(table, columns, self.next_id(), now)?;
        } else if replace {
            database.connection.execute_batch("BEGIN")?;
            let done = database.empty(table).and_then(|()| database.add(table, &import_of(rowset), now).map(drop));
            database.connection.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
            return done;
        }
        database.import(table, &import_of(rowset), now).map(drop)
    }

    /// The newest rows of a table as JSON-like maps, newest last.
    pub fn tail(&self, database: &str, table: &str, count: u32) -> Result<Rowset, WarehouseError> {
        let database = self.database(database)?;
        let mut database = locked(&database);
        let columns = database.table(table)?.info.columns.clone();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).chain(["time".to_owned()]).collect();
        let list = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        let text = format!("SELECT {list} FROM {} ORDER BY rowid DESC LIMIT ?1", quote(table));
        let mut statement = database.connection.prepare(&text)?;
        let read = statement.query_map([count], |row| {
            (0..names.len()).map(|at| Ok(loaded(row.get::<_, Stored>(at)?))).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut rows = read.collect::<rusqlite::Result<Vec<_>>>()?;
        rows.reverse();
        Ok(Rowset { columns: names.into_iter().map(|name| (name, Type::Text)).collect(), rows })
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
        let file = |name: &str| all.get(name).map(|found| (name.to_owned(), locked(found).file.clone()));
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

impl Database {
    fn info(&self, name: String) -> DatabaseInfo {
        let count = self.tables.values().map(|table| table.info.count).sum();
        DatabaseInfo { name, id: self.id, count, created_at: self.created_at, updated_at: self.updated_at }
    }

    fn table(&mut self, name: &str) -> Result<&mut Table, WarehouseError> {
        self.tables.get_mut(name).ok_or_else(|| WarehouseError::NoTable(name.chars().take(300).collect()))
    }

    fn create(&mut self, name: &str, columns: Vec<Column>, id: u64, now: Timestamp) -> Result<(), WarehouseError> {
        check(name)?;
        check_columns(&columns)?;
        if self.tables.contains_key(name) {
            return Err(WarehouseError::TableExists(name.to_owned()));
        }
        if self.tables.len() >= MOST[1] {
            return Err(WarehouseError::Refused(format!("a database has at most {} tables here", MOST[1])));
        }
        self.connection.execute_batch(&definition(name, &columns))?;
        let info = TableInfo {
            name: name.to_owned(),
            id,
            columns,
            count: 0,
            created_at: now,
            updated_at: now,
            last_log: None,
            size: 0,
            expire_days: None,
            include_v: false,
        };
        self.updated_at = now;
        self.tables.insert(name.to_owned(), Table { info, ids: HashSet::new() });
        Ok(())
    }

    fn rebuild(&mut self, name: &str, columns: Vec<Column>, now: Timestamp) -> Result<(), WarehouseError> {
        check_columns(&columns)?;
        let old = self.table(name)?.info.columns.clone();
        let kept: Vec<(String, String)> = columns
            .iter()
            .filter_map(|new| {
                let was = old.iter().find(|old| old.name == new.name)?;
                Some((quote(shown(new)), format!("CAST({} AS {})", quote(shown(was)), storage(&new.kind))))
            })
            .chain([("\"time\"".to_owned(), "\"time\"".to_owned())])
            .collect();
        let into = kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let from = kept.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ");
        let text = format!(
            "{}; INSERT INTO \"0new\" ({into}) SELECT {from} FROM {name}; DROP TABLE {name}; ALTER TABLE \"0new\" RENAME TO {name};",
            definition("0new", &columns),
            name = quote(name)
        );
        self.atomically(&text)?;
        let info = &mut self.table(name)?.info;
        (info.columns, info.updated_at) = (columns, now);
        Ok(())
    }

    /// Runs statements in a savepoint, so that it also works inside a transaction.
    fn atomically(&mut self, text: &str) -> Result<(), WarehouseError> {
        self.connection.execute_batch("SAVEPOINT step")?;
        let done = self.connection.execute_batch(text);
        if done.is_err() {
            self.connection.execute_batch("ROLLBACK TO step")?;
        }
        self.connection.execute_batch("RELEASE step")?;
        Ok(done?)
    }

    fn empty(&mut self, name: &str) -> Result<(), WarehouseError> {
        self.connection.execute_batch(&format!("DELETE FROM {}", quote(name)))?;
        let info = &mut self.table(name)?.info;
        (info.count, info.size, info.last_log) = (0, 0, None);
        Ok(())
    }

    fn import(&mut self, name: &str, import: &Import, now: Timestamp) -> Result<bool, WarehouseError> {
        self.connection.execute_batch("BEGIN")?;
        let done = self.add(name, import, now);
        self.connection.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        done
    }

    fn add(&mut self, name: &str, import: &Import, now: Timestamp) -> Result<bool, WarehouseError> {
        let table = self.table(name)?;
        if import.unique_id.as_ref().is_some_and(|id| table.ids.contains(id)) {
            return Ok(false);
        }
        let mut columns = table.info.columns.clone();
        let mut known: HashSet<String> = columns.iter().map(|column| column.name.clone()).collect();
        known.insert("time".to_owned());
        for (column, value) in import.rows.iter().flatten() {
            if !known.contains(column) {
                known.insert(column.clone());
                let kind = match value {
                    Value::Int(_) | Value::Bool(_) => "long",
                    Value::Float(_) => "double",
                    Value::Text(_) | Value::Null => "string",
                };
                columns.push(Column { name: column.clone(), kind: kind.to_owned(), alias: None });
            }
        }
        if columns.len() > table.info.columns.len() {
            self.rebuild(name, columns.clone(), now)?;
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).chain(["time"]).collect();
        let list = columns.iter().map(|column| quote(shown(column))).chain(["\"time\"".to_owned()]);
        let list = list.collect::<Vec<_>>().join(", ");
        let marks = vec!["?"; names.len()].join(", ");
        let text = format!("INSERT INTO {} ({list}) VALUES ({marks})", quote(name));
        let mut last_log = None;
        {
            let mut insert = self.connection.prepare(&text)?;
            for row in &import.rows {
                let values = names.iter().enumerate().map(|(at, name)| {
                    let kind = columns.get(at).map_or("long", |column| column.kind.as_str());
                    let found = row.iter().rev().find(|(column, _)| column == name).map(|(_, value)| value);
                    match found {
                        None if at == columns.len() => Stored::Integer(now.as_millis() / 1000),
                        found => stored(found.unwrap_or(&Value::Null), kind),
                    }
                });
                let values: Vec<Stored> = values.collect();
                if let Some(Stored::Integer(time)) = values.last() {
                    last_log = last_log.max(Some(*time));
                }
                insert.execute(params_from_iter(values))?;
            }
        }
        self.updated_at = now;
        let table = self.table(name)?;
        table.info.count += import.rows.len() as u64;
        table.info.size += import.bytes;
        table.info.last_log = table.info.last_log.max(last_log);
        table.info.updated_at = now;
        if let Some(id) = &import.unique_id {
            if table.ids.len() >= IDS_KEPT {
                table.ids.clear();
            }
            table.ids.insert(id.clone());
        }
        Ok(true)
    }
}

fn import_of(rowset: &Rowset) -> Import {
    let names = || rowset.columns.iter().map(|(name, _)| name.clone());
    let rows = rowset.rows.iter().map(|row| names().zip(row.iter().cloned()).collect()).collect();
    Import { rows, bytes: 0, unique_id: None }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    // Nothing here outlives the process: no need to wait for the disk.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA max_page_count = {MOST_PAGES};"
    ))?;
    Ok(connection)
}

fn check_columns(columns: &[Column]) -> Result<(), WarehouseError> {
    if columns.len() > MOST[2] {
        return Err(WarehouseError::Refused(format!("a table has at most {} columns here", MOST[2])));
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
fn shown(column: &Column) -> &str {
    column.alias.as_deref().unwrap_or(&column.name)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn storage(kind: &str) -> &'static str {
    match kind {
        "int" | "long" => "BIGINT",
        "float" | "double" => "DOUBLE",
        "boolean" => "BOOLEAN",
        _ => "TEXT",
    }
}

fn definition(name: &str, columns: &[Column]) -> String {
    let columns = columns.iter().map(|column| format!("{} {}, ", quote(shown(column)), storage(&column.kind)));
    format!("CREATE TABLE {} ({}\"time\" BIGINT)", quote(name), columns.collect::<String>())
}

/// A value as its column keeps it; what does not fit a number is NULL.
fn stored(value: &Value, kind: &str) -> Stored {
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

fn loaded(stored: Stored) -> Value {
    match stored {
        Stored::Null => Value::Null,
        Stored::Integer(n) => Value::Int(n),
        Stored::Real(x) => Value::Float(x),
        Stored::Text(text) => Value::Text(text),
        Stored::Blob(bytes) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

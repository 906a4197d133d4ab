//! A database: one SQLite file with the tables of one database of an account.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value as Stored};

use super::{
    Column, DatabaseInfo, Import, Rowset, TableInfo, Type, Value,
    column::{check_columns, definition, loaded, quote, shown, storage, stored},
    warehouse::WarehouseError,
};
use crate::canary::Timestamp;

/// Most tables of a database: a pretend platform on somebody's laptop stays small.
const TABLES: usize = 1000;
/// Largest file of a database, in pages of 4 KiB: 512 MB.
const MOST_PAGES: u32 = 131_072;
/// Upload ids remembered per table: a repeated upload comes soon or never.
const IDS_KEPT: usize = 10_000;

struct Table {
    info: TableInfo,
    ids: HashSet<String>,
}

/// A database with its tables. What is told of a table stands beside the file, and goes back with it
/// when a change fails.
pub(super) struct Database {
    id: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    file: PathBuf,
    connection: Connection,
    tables: BTreeMap<String, Table>,
}

/// Names are lower-case letters, digits and `_`, 3 to 256 of them.
pub(super) fn check(name: &str) -> Result<(), WarehouseError> {
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

impl Database {
    /// Makes the file.
    pub(super) fn open(file: PathBuf, id: u64, now: Timestamp) -> Result<Self, WarehouseError> {
        let connection = open(&file)?;
        Ok(Self { id, created_at: now, updated_at: now, file, connection, tables: BTreeMap::new() })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn info(&self, name: String) -> DatabaseInfo {
        let count = self.tables.values().map(|table| table.info.count).sum();
        DatabaseInfo { name, id: self.id, count, created_at: self.created_at, updated_at: self.updated_at }
    }

    pub(super) fn tables(&self) -> Vec<TableInfo> {
        self.tables.values().map(|table| table.info.clone()).collect()
    }

    pub(super) fn show(&mut self, table: &str) -> Result<TableInfo, WarehouseError> {
        Ok(self.table(table)?.info.clone())
    }

    pub(super) fn remove(&mut self, table: &str) -> Result<(), WarehouseError> {
        self.table(table)?;
        self.connection.execute_batch(&format!("DROP TABLE {}", quote(table)))?;
        self.tables.remove(table);
        Ok(())
    }

    pub(super) fn swap(&mut self, one: &str, other: &str) -> Result<(), WarehouseError> {
        self.table(one)?;
        self.table(other)?;
        if one == other {
            return Ok(());
        }
        self.atomically(&format!(
            "ALTER TABLE {a} RENAME TO \"0swap\"; ALTER TABLE {b} RENAME TO {a}; ALTER TABLE \"0swap\" RENAME TO {b};",
            a = quote(one),
            b = quote(other)
        ))?;
        if let (Some(mut a), Some(mut b)) = (self.tables.remove(one), self.tables.remove(other)) {
            std::mem::swap(&mut a.info.name, &mut b.info.name);
            self.tables.insert(one.to_owned(), b);
            self.tables.insert(other.to_owned(), a);
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, table: &str, new: &str, overwrite: bool) -> Result<(), WarehouseError> {
        check(new)?;
        self.table(table)?;
        if table == new {
            return Ok(());
        }
        if self.tables.contains_key(new) && !overwrite {
            return Err(WarehouseError::TableExists(new.to_owned()));
        }
        self.atomically(&format!(
            "DROP TABLE IF EXISTS {b}; ALTER TABLE {a} RENAME TO {b};",
            a = quote(table),
            b = quote(new)
        ))?;
        if let Some(mut moved) = self.tables.remove(table) {
            moved.info.name = new.to_owned();
            self.tables.insert(new.to_owned(), moved);
        }
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        table: &str,
        expire_days: Option<Option<i64>>,
        include_v: Option<bool>,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let info = &mut self.table(table)?.info;
        info.expire_days = expire_days.unwrap_or(info.expire_days);
        info.include_v = include_v.unwrap_or(info.include_v);
        info.updated_at = now;
        Ok(())
    }

    /// Writes a result; `id` is for the table if there is none.
    pub(super) fn write(
        &mut self,
        table: &str,
        rowset: &Rowset,
        replace: bool,
        id: u64,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        let import = Import::of(rowset);
        if !self.tables.contains_key(table) {
            let column = |(name, kind): &(String, Type)| Column {
                name: name.clone(),
                kind: kind.platform_name().to_owned(),
                alias: None,
            };
            let columns = rowset.columns.iter().filter(|(name, _)| name != "time").map(column).collect();
            self.create(table, columns, id, now)?;
        }
        self.transact(table, |database| {
            if replace {
                database.empty(table)?;
            }
            database.add(table, &import, now)
        })
    }

    /// Adds uploaded rows. Says whether the upload was new.
    pub(super) fn import(&mut self, table: &str, import: &Import, now: Timestamp) -> Result<bool, WarehouseError> {
        let known = |id: &String, table: &Table| table.ids.contains(id);
        let found = self.table(table)?;
        if import.unique_id.as_ref().is_some_and(|id| known(id, found)) {
            return Ok(false);
        }
        self.transact(table, |database| database.add(table, import, now))?;
        if let Some(id) = &import.unique_id {
            let ids = &mut self.table(table)?.ids;
            if ids.len() >= IDS_KEPT {
                ids.clear();
            }
            ids.insert(id.clone());
        }
        Ok(true)
    }

    /// Removes rows by their numbers. Says how many were there.
    pub(super) fn remove_rows(&mut self, table: &str, ids: &[i64], now: Timestamp) -> Result<i64, WarehouseError> {
        let mut removed = 0;
        self.transact(table, |database| {
            {
                let text = format!("DELETE FROM {} WHERE rowid = ?1", quote(table));
                let mut delete = database.connection.prepare(&text)?;
                for id in ids {
                    removed += delete.execute([id])?;
                }
            }
            let info = &mut database.table(table)?.info;
            info.count = info.count.saturating_sub(removed as u64);
            info.updated_at = now;
            Ok(())
        })?;
        Ok(removed as i64)
    }

    pub(super) fn tail(&mut self, table: &str, count: u32) -> Result<Rowset, WarehouseError> {
        let columns = self.table(table)?.info.columns.clone();
        let names: Vec<&str> = columns.iter().map(shown).chain(["time"]).collect();
        let list = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        let text = format!("SELECT {list} FROM {} ORDER BY rowid DESC LIMIT ?1", quote(table));
        let mut statement = self.connection.prepare(&text)?;
        let read = statement.query_map([count], |row| {
            (0..names.len()).map(|at| Ok(loaded(row.get::<_, Stored>(at)?))).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut rows = read.collect::<rusqlite::Result<Vec<_>>>()?;
        rows.reverse();
        Ok(Rowset { columns: names.into_iter().map(|name| (name.to_owned(), Type::Text)).collect(), rows })
    }

    /// Does all of it, or none: what is told of the table goes back with its rows.
    fn transact(
        &mut self,
        table: &str,
        work: impl FnOnce(&mut Self) -> Result<(), WarehouseError>,
    ) -> Result<(), WarehouseError> {
        let before = self.table(table)?.info.clone();
        self.connection.execute_batch("BEGIN")?;
        let done = work(self).and_then(|()| Ok(self.connection.execute_batch("COMMIT")?));
        if done.is_err() {
            // A transaction that has ended by itself cannot be rolled back, and need not.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.table(table)?.info = before;
        }
        done
    }

    fn table(&mut self, name: &str) -> Result<&mut Table, WarehouseError> {
        self.tables.get_mut(name).ok_or_else(|| WarehouseError::NoTable(name.chars().take(300).collect()))
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        columns: Vec<Column>,
        id: u64,
        now: Timestamp,
    ) -> Result<(), WarehouseError> {
        check(name)?;
        check_columns(&columns)?;
        if self.tables.contains_key(name) {
            return Err(WarehouseError::TableExists(name.to_owned()));
        }
        if self.tables.len() >= TABLES {
            return Err(WarehouseError::Refused(format!("a database has at most {} tables here", TABLES)));
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

    pub(super) fn rebuild(&mut self, name: &str, columns: Vec<Column>, now: Timestamp) -> Result<(), WarehouseError> {
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

    fn add(&mut self, name: &str, import: &Import, now: Timestamp) -> Result<(), WarehouseError> {
        let table = self.table(name)?;
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
        Ok(())
    }
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

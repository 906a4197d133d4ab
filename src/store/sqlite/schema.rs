//! The format of the file: its tables, how an older one is brought up to date, and what is refused.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failure;
use crate::{canary::Timestamp, store::StoreError};

/// Each step brings a file from the format of its place in the list to the next. Steps that were
/// released never change.
const STEPS: &[&str] = &[include_str!("format_1.sql"), include_str!("format_2.sql"), include_str!("format_3.sql")];

/// `LFLG`: tells a ledger from any other SQLite file.
const APPLICATION: i32 = 0x4C46_4C47;

/// Opens the file for writing, in the newest format.
pub(super) fn open(path: &Path, now: Timestamp) -> Result<Connection, StoreError> {
    create_private(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| failure(&error))?;
    migrate(&mut connection, path, STEPS, now)?;
    Ok(connection)
}

/// Makes the file readable by its owner only: what platforms delivered is in it.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable { detail: format!("{}: {error}", path.display()) }),
    }
}

/// A connection as all of ours are. It never makes a file: a ledger that vanishes is an error, not
/// an empty ledger.
pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // A backup or a shell may hold the file for a moment; a run can wait that long.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Every commit is on disk when it returns: a run must be known before it is submitted.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A large burst leaves no large file behind.
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.pragma_update(None, "cache_size", -8_000)?;
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path, steps: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (found, application) = (
        pragma("user_version").map_err(|error| failure(&error))?,
        pragma("application_id").map_err(|error| failure(&error))?,
    );
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| failure(&error))?;
    if tables > 0 && application != i64::from(APPLICATION) {
        return Err(StoreError::Corrupt { detail: format!("{} is not a ledger of Landfall", path.display()) });
    }
    let known = steps.len() as i64;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        back_up(connection, path, found, now)?;
    }
    let bring = |connection: &mut Connection| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        for step in steps.iter().skip(found.max(0) as usize) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    bring(connection).map_err(|error: rusqlite::Error| failure(&error))
}

/// Copies the ledger as it is to a file beside it.
fn back_up(connection: &Connection, path: &Path, format: i64, now: Timestamp) -> Result<(), StoreError> {
    let mut backup: PathBuf = path.to_owned();
    backup.as_mut_os_string().push(format!(".format-{format}.{}.backup", now.to_utc().format("%Y%m%dT%H%M%SZ")));
    let unavailable =
        |error: std::io::Error| StoreError::Unavailable { detail: format!("{}: {error}", backup.display()) };
    // Half a backup of an attempt in the same second is no backup.
    match std::fs::remove_file(&backup) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unavailable(error)),
        _ => create_private(&backup)?,
    }
    let text = backup.to_str().ok_or_else(|| unavailable(std::io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("VACUUM INTO ?1", [text]).map_err(|error| failure(&error))?;
    let synced = std::fs::File::open(&backup).and_then(|file| file.sync_all());
    synced.map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);

    fn opened(path: &Path, steps: &[&str]) -> Result<Connection, StoreError> {
        create_private(path)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("opens");
        migrate(&mut connection, path, steps, NOW).map(|()| connection)
    }

    fn backups(folder: &Path) -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
        files.filter(|path| path.extension().is_some_and(|ext| ext == "backup")).collect()
    }

    #[test]
    fn an_older_ledger_is_copied_before_it_is_brought_up_to_date() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger.db");
        opened(&path, STEPS).expect("new").execute("INSERT INTO settings VALUES ('a', '1')", []).expect("inserts");
        assert!(backups(folder.path()).is_empty(), "a new ledger needs no backup");

        let alter = "ALTER TABLE settings ADD COLUMN more TEXT; UPDATE settings SET more = 'x';";
        let steps: Vec<&str> = STEPS.iter().copied().chain([alter]).collect();
        let newer = opened(&path, &steps).expect("brought up to date");
        let more: String = newer.query_row("SELECT more FROM settings", [], |row| row.get(0)).expect("there");
        assert_eq!(more, "x");

        let backups = backups(folder.path());
        assert_eq!(backups.len(), 1);
        let kept = opened(&backups[0], STEPS).expect("the backup is a whole ledger of the old format");
        let kept: String = kept.query_row("SELECT value FROM settings", [], |row| row.get(0)).expect("there");
        assert_eq!(kept, "1");
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_format_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger.db");
        drop(opened(&path, STEPS).expect("new"));
        let broken = ["DROP TABLE settings;", "INSERT INTO nowhere VALUES (1);"];
        let steps: Vec<&str> = STEPS.iter().copied().chain(broken).collect();
        assert!(opened(&path, &steps).is_err());
        let old = opened(&path, STEPS).expect("still the old format");
        assert!(old.prepare("SELECT * FROM settings").is_ok());
    }

    #[test]
    fn a_ledger_of_a_newer_landfall_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ledger.db");
        let steps: Vec<&str> = STEPS.iter().copied().chain(["CREATE TABLE more (a)"]).collect();
        drop(opened(&path, &steps).expect("newer"));
        let refused = opened(&path, STEPS).map(drop);
        assert!(matches!(refused, Err(StoreError::Newer { found: 4, known: 3 })), "{refused:?}");
    }

    #[test]
    fn another_programs_file_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).expect("opens").execute_batch("CREATE TABLE t (a)").expect("made");
        assert!(matches!(opened(&foreign, STEPS).map(drop), Err(StoreError::Corrupt { .. })));
        let text = folder.path().join("text.db");
        std::fs::write(&text, "not a database, but long enough to be read as the header of one".repeat(20))
            .expect("written");
        let refused = open(&text, NOW).map(drop);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }
}

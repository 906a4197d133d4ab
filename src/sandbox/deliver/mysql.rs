//! Output to MySQL and MariaDB: one transaction a delivery, but for what makes tables.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, MySql as Server, MySqlConnection,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlSslMode},
    query::Query,
};

use super::{DeliveryError, Outlets, Parcel, address::MySql, copied, text::plain};
use crate::{
    canary::Mode,
    sandbox::sql::{Rowset, Type, Value},
};

/// Rows in one statement: some megabytes at most.
const BATCH: usize = 1000;
/// Values in one statement: the protocol counts them in 16 bits.
const MOST_VALUES: usize = 60_000;

/// Writes the rows as the mode says.
pub(super) async fn write(outlets: &Outlets, to: &MySql, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
    let rowset = copied(parcel.rowset, parcel.copies);
    let addresses = outlets.resolve(&to.host, to.port).await?;
    let mut connection = connect(to, &addresses).await?;
    let mode = if parcel.again { Mode::Append } else { to.mode };
    let done = transact(&mut connection, to, mode, &rowset, parcel.job).await;
    // The connection goes either way; what counts is committed.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    done.map_err(told)
}

async fn connect(to: &MySql, addresses: &[std::net::SocketAddr]) -> Result<MySqlConnection, DeliveryError> {
    let mut last = DeliveryError::Unreachable("no address".to_owned());
    for address in addresses {
        // The library's own defaults for a session: UTC, utf8mb4.
        let mut options = MySqlConnectOptions::new()
            .host(&address.ip().to_string())
            .port(to.port)
            .username(&to.user)
            .database(&to.database)
            .ssl_mode(if to.tls { MySqlSslMode::Required } else { MySqlSslMode::Preferred });
        if !to.password.reveal().is_empty() {
            options = options.password(to.password.reveal());
        }
        match tokio::time::timeout(Duration::from_secs(5), MySqlConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = told(error),
            Err(_) => last = DeliveryError::Unreachable("no connection within 5 s".to_owned()),
        }
    }
    Err(last)
}

fn told(error: sqlx::Error) -> DeliveryError {
    match error.as_database_error() {
        Some(error) => DeliveryError::Refused(error.message().chars().take(300).collect()),
        None => DeliveryError::Unreachable(error.to_string().chars().take(300).collect()),
    }
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn definition(rowset: &Rowset) -> String {
    let kind = |kind: Type| match kind {
        Type::Long => "BIGINT",
        Type::Double => "DOUBLE",
        Type::Text => "TEXT",
        Type::Bool => "BOOLEAN",
    };
    let columns: Vec<String> =
        rowset.columns.iter().map(|(name, of)| format!("{} {} NULL", quote(name), kind(*of))).collect();
    format!("({}) DEFAULT CHARACTER SET utf8mb4", columns.join(", "))
}

async fn run(on: &mut MySqlConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(on).await.map(|_| ())
}

async fn transact(
    on: &mut MySqlConnection,
    to: &MySql,
    mode: Mode,
    rowset: &Rowset,
    job: &str,
) -> Result<(), sqlx::Error> {
    let table = quote(&to.table);
    // A value that does not fit is an error of the job, not cut.
    run(on, "SET SESSION sql_mode = 'STRICT_ALL_TABLES'".to_owned()).await?;
    if mode == Mode::Replace {
        return replace(on, &table, rowset, job).await;
    }
    run(on, format!("CREATE TABLE IF NOT EXISTS {table} {}", definition(rowset))).await?;
    let mut tx = on.begin().await?;
    if mode == Mode::Truncate {
        // TRUNCATE itself would not wait for the new rows.
        run(&mut tx, format!("DELETE FROM {table}")).await?;
    }
    if mode == Mode::Update {
        remove(&mut tx, &table, rowset, &to.unique).await?;
    }
    insert(&mut tx, &table, rowset).await?;
    tx.commit().await
}

/// A new table takes the place of the old one in one statement, so that a reader sees one or the other.
async fn replace(on: &mut MySqlConnection, table: &str, rowset: &Rowset, job: &str) -> Result<(), sqlx::Error> {
    let (new, old) = (quote(&format!("landfall_new_{job}")), quote(&format!("landfall_old_{job}")));
    run(on, format!("DROP TABLE IF EXISTS {new}, {old}")).await?;
    run(on, format!("CREATE TABLE {new} {}", definition(rowset))).await?;
    let done = match fill(on, &new, rowset).await {
        Ok(()) => {
            // So that there is one to move away.
            run(on, format!("CREATE TABLE IF NOT EXISTS {table} {}", definition(rowset))).await?;
            run(on, format!("RENAME TABLE {table} TO {old}, {new} TO {table}")).await
        }
        failed => failed,
    };
    run(on, format!("DROP TABLE IF EXISTS {new}, {old}")).await?;
    done
}

async fn fill(on: &mut MySqlConnection, table: &str, rowset: &Rowset) -> Result<(), sqlx::Error> {
    let mut tx = on.begin().await?;
    insert(&mut tx, table, rowset).await?;
    tx.commit().await
}

/// Binds a value as what it is; what MySQL has no number for is NULL.
fn bound<'q>(query: Query<'q, Server, MySqlArguments>, value: Option<&Value>) -> Query<'q, Server, MySqlArguments> {
    match value {
        None | Some(Value::Null) => query.bind(None::<String>),
        Some(Value::Bool(set)) => query.bind(*set),
        Some(Value::Int(number)) => query.bind(*number),
        Some(Value::Float(number)) => query.bind(number.is_finite().then_some(*number)),
        Some(Value::Text(text)) => query.bind(text.clone()),
    }
}

/// `(?, ?), (?, ?)`.
fn marks(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

fn batch(columns: usize) -> usize {
    (MOST_VALUES / columns.max(1)).clamp(1, BATCH)
}

async fn insert(on: &mut MySqlConnection, table: &str, rowset: &Rowset) -> Result<(), sqlx::Error> {
    if rowset.columns.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = rowset.columns.iter().map(|(name, _)| quote(name)).collect();
    for rows in rowset.rows.chunks(batch(names.len())) {
        let text = format!("INSERT INTO {table} ({}) VALUES {}", names.join(", "), marks(rows.len(), names.len()));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for row in rows {
            for at in 0..names.len() {
                query = bound(query, row.get(at));
            }
        }
        query.execute(&mut *on).await?;
    }
    Ok(())
}

/// Removes rows that have the keys of new ones.
async fn remove(on: &mut MySqlConnection, table: &str, rowset: &Rowset, keys: &[String]) -> Result<(), sqlx::Error> {
    let place = |key: &String| rowset.columns.iter().position(|(name, _)| name == key);
    let Some(places) = keys.iter().map(place).collect::<Option<Vec<_>>>() else {
        return Err(sqlx::Error::Protocol("a column of unique is not in the result".to_owned()));
    };
    let columns: Vec<String> =
        keys.iter().map(|key| format!("CAST({} AS CHAR) COLLATE utf8mb4_bin", quote(key))).collect();
    for rows in rowset.rows.chunks(batch(keys.len())) {
        let text = format!("DELETE FROM {table} WHERE ({}) IN ({})", columns.join(", "), marks(rows.len(), keys.len()));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for row in rows {
            for at in &places {
                query = query.bind(row.get(*at).and_then(plain));
            }
        }
        query.execute(&mut *on).await?;
    }
    Ok(())
}

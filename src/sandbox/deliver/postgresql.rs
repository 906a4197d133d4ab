//! Output to PostgreSQL: one transaction a delivery.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{DeliveryError, Outlets, Parcel, address::PostgreSql, copied, text::plain};
use crate::{
    canary::Mode,
    sandbox::sql::{Rowset, Type},
};

/// Rows in one statement: some megabytes at most.
const BATCH: usize = 1000;

/// Writes the rows as the mode says.
pub(super) async fn write(outlets: &Outlets, to: &PostgreSql, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
    let rowset = copied(parcel.rowset, parcel.copies);
    let addresses = outlets.resolve(&to.host, to.port).await?;
    let mut connection = connect(to, &addresses).await?;
    let mode = if parcel.again { Mode::Append } else { to.mode };
    let mut done = transact(&mut connection, to, mode, &rowset, parcel.job).await;
    if done.as_ref().is_err_and(both_made_the_table) {
        // Two jobs made the table at once; the other one won.
        done = transact(&mut connection, to, mode, &rowset, parcel.job).await;
    }
    // The connection goes either way; what counts is committed.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    done.map_err(told)
}

async fn connect(to: &PostgreSql, addresses: &[std::net::SocketAddr]) -> Result<PgConnection, DeliveryError> {
    let mut last = DeliveryError::Unreachable("no address".to_owned());
    for address in addresses {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&address.ip().to_string())
            .port(to.port)
            .username(&to.user)
            .password(to.password.reveal())
            .database(&to.database)
            .ssl_mode(if to.tls { PgSslMode::Require } else { PgSslMode::Prefer })
            .application_name("landfall-sandbox");
        match tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = told(error),
            Err(_) => last = DeliveryError::Unreachable("no connection within 5 s".to_owned()),
        }
    }
    Err(last)
}

fn both_made_the_table(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["23505", "42P07"].contains(&code.as_ref()))
}

fn told(error: sqlx::Error) -> DeliveryError {
    match error.as_database_error() {
        Some(error) => DeliveryError::Refused(error.message().chars().take(300).collect()),
        None => DeliveryError::Unreachable(error.to_string().chars().take(300).collect()),
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(to: &PostgreSql, table: &str) -> String {
    match &to.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(table)),
        None => quote(table),
    }
}

fn definition(rowset: &Rowset) -> String {
    let kind = |kind: Type| match kind {
        Type::Long => "BIGINT",
        Type::Double => "DOUBLE PRECISION",
        Type::Text => "TEXT",
        Type::Bool => "BOOLEAN",
    };
    let columns: Vec<String> =
        rowset.columns.iter().map(|(name, of)| format!("{} {}", quote(name), kind(*of))).collect();
    columns.join(", ")
}

async fn transact(
    connection: &mut PgConnection,
    to: &PostgreSql,
    mode: Mode,
    rowset: &Rowset,
    job: &str,
) -> Result<(), sqlx::Error> {
    let table = qualified(to, &to.table);
    let run = |text: String| AssertSqlSafe(text);
    let mut tx = connection.begin().await?;
    if mode == Mode::Replace {
        // A new table takes the place of the old one at commit, so that a reader sees one or the other.
        let fresh = format!("landfall_new_{job}");
        let new = qualified(to, &fresh);
        tx.execute(run(format!("DROP TABLE IF EXISTS {new}"))).await?;
        tx.execute(run(format!("CREATE TABLE {new} ({})", definition(rowset)))).await?;
        insert(&mut tx, &new, rowset).await?;
        tx.execute(run(format!("DROP TABLE IF EXISTS {table}"))).await?;
        tx.execute(run(format!("ALTER TABLE {new} RENAME TO {}", quote(&to.table)))).await?;
    } else {
        tx.execute(run(format!("CREATE TABLE IF NOT EXISTS {table} ({})", definition(rowset)))).await?;
        if mode == Mode::Truncate {
            tx.execute(run(format!("DELETE FROM {table}"))).await?;
        }
        if mode == Mode::Update {
            remove(&mut tx, &table, rowset, &to.unique).await?;
        }
        insert(&mut tx, &table, rowset).await?;
    }
    tx.commit().await
}

/// The types that a table's columns have, which need not be those of the rows.
async fn types(connection: &mut PgConnection, table: &str, rowset: &Rowset) -> Result<Vec<String>, sqlx::Error> {
    let text = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
    let found = sqlx::query(text).bind(table).fetch_all(&mut *connection).await?;
    let mut known = Vec::new();
    for row in found {
        known.push((row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?));
    }
    // A column that is not there is found by the INSERT, in the server's own words.
    let of = |name: &String| known.iter().find(|(known, _)| known == name).map_or("text", |(_, kind)| kind.as_str());
    Ok(rowset.columns.iter().map(|(name, _)| of(name).to_owned()).collect())
}

/// One array of texts a column.
fn arrays(rows: &[Vec<crate::sandbox::sql::Value>], columns: &[usize]) -> Vec<Vec<Option<String>>> {
    columns.iter().map(|at| rows.iter().map(|row| row.get(*at).and_then(plain)).collect()).collect()
}

async fn insert(connection: &mut PgConnection, table: &str, rowset: &Rowset) -> Result<(), sqlx::Error> {
    if rowset.columns.is_empty() {
        return Ok(());
    }
    let types = types(connection, table, rowset).await?;
    let list: Vec<String> = rowset.columns.iter().map(|(name, _)| quote(name)).collect();
    let numbers = 1..=rowset.columns.len();
    let values: Vec<String> = numbers.clone().zip(&types).map(|(n, kind)| format!("c{n}::{kind}")).collect();
    let arrays_in: Vec<String> = numbers.clone().map(|n| format!("${n}::text[]")).collect();
    let names: Vec<String> = numbers.map(|n| format!("c{n}")).collect();
    let text = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM unnest({}) AS u({})",
        list.join(", "),
        values.join(", "),
        arrays_in.join(", "),
        names.join(", ")
    );
    let all: Vec<usize> = (0..rowset.columns.len()).collect();
    for rows in rowset.rows.chunks(BATCH) {
        let mut query = sqlx::query(AssertSqlSafe(text.clone()));
        for array in arrays(rows, &all) {
            query = query.bind(array);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes rows that have the keys of new ones.
async fn remove(
    connection: &mut PgConnection,
    table: &str,
    rowset: &Rowset,
    keys: &[String],
) -> Result<(), sqlx::Error> {
    let place = |key: &String| rowset.columns.iter().position(|(name, _)| name == key);
    let Some(places) = keys.iter().map(place).collect::<Option<Vec<_>>>() else {
        return Err(sqlx::Error::Protocol("a column of unique is not in the result".to_owned()));
    };
    let same: Vec<String> =
        keys.iter().enumerate().map(|(at, key)| format!("t.{}::text = u.k{at}", quote(key))).collect();
    let arrays_in: Vec<String> = (1..=keys.len()).map(|n| format!("${n}::text[]")).collect();
    let names: Vec<String> = (0..keys.len()).map(|at| format!("k{at}")).collect();
    let text = format!(
        "DELETE FROM {table} AS t USING unnest({}) AS u({}) WHERE {}",
        arrays_in.join(", "),
        names.join(", "),
        same.join(" AND ")
    );
    for rows in rowset.rows.chunks(BATCH) {
        let mut query = sqlx::query(AssertSqlSafe(text.clone()));
        for array in arrays(rows, &places) {
            query = query.bind(array);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

//! Databases and tables: made, listed, changed, filled and removed.

use std::io::Read;

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};
use rmpv::Value as Pack;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{
    answer::{Answer, Trouble, iso_time, ok, plain_time, respond},
    house::{Account, House},
    jobs,
    request::{Call, Params},
    results,
};
use crate::{
    canary::Timestamp,
    sandbox::sql::{Column, DatabaseInfo, Import, TableInfo, Value},
};

/// Largest upload once unpacked.
const UNPACKED: u64 = 128 << 20;
/// Most values in an upload: in memory each is far larger than its single packed byte.
const VALUES: usize = 2_000_000;
/// Deepest nesting of an uploaded value.
const DEPTH: u16 = 64;

/// Lists databases.
pub(super) async fn databases(account: &Account) -> Answer {
    let all = account.ask(|warehouse| warehouse.databases()).await?;
    let all: Vec<Json> = all.iter().map(database_json).collect();
    ok(json!({ "databases": all }))
}

fn database_json(info: &DatabaseInfo) -> Json {
    json!({
        "name": info.name,
        "count": info.count,
        "created_at": plain_time(info.created_at),
        "updated_at": plain_time(info.updated_at),
        "organization": null,
        "permission": "administrator",
        "delete_protected": false,
    })
}

/// Shows a database.
pub(super) async fn show_database(account: &Account, name: String) -> Answer {
    let info = account.ask(move |warehouse| warehouse.show_database(&name)).await??;
    let mut body = database_json(&info);
    body["id"] = json!(info.id.to_string());
    body["datatank"] = json!(false);
    ok(body)
}

/// Makes a database.
pub(super) async fn create_database(account: &Account, name: String, now: Timestamp) -> Answer {
    let body = json!({ "database": name });
    account.ask(move |warehouse| warehouse.create_database(&name, now)).await??;
    ok(body)
}

/// Removes a database.
pub(super) async fn delete_database(account: &Account, name: String) -> Answer {
    let body = json!({ "database": name });
    account.ask(move |warehouse| warehouse.delete_database(&name)).await??;
    ok(body)
}

/// Lists tables.
pub(super) async fn tables(account: &Account, database: String) -> Answer {
    let name = database.clone();
    let all = account.ask(move |warehouse| warehouse.tables(&name)).await??;
    let all: Vec<Json> = all.iter().map(table_json).collect();
    ok(json!({ "database": database, "tables": all }))
}

fn table_json(info: &TableInfo) -> Json {
    let columns: Vec<Json> = info
        .columns
        .iter()
        .map(|column| match &column.alias {
            Some(alias) => json!([column.name, column.kind, alias]),
            None => json!([column.name, column.kind]),
        })
        .collect();
    let last_log = info.last_log.map(|seconds| iso_time(Timestamp::from_secs(seconds)));
    json!({
        "id": info.id,
        "name": info.name,
        "type": "log",
        "count": info.count,
        "created_at": plain_time(info.created_at),
        "updated_at": plain_time(info.updated_at),
        "counter_updated_at": iso_time(info.updated_at),
        "last_log_timestamp": last_log,
        "delete_protected": false,
        "estimated_storage_size": info.size,
        "expire_days": info.expire_days,
        "include_v": info.include_v,
        "schema": Json::from(columns).to_string(),
    })
}

/// Shows a table.
pub(super) async fn show_table(account: &Account, database: String, table: String) -> Answer {
    let info = account.ask(move |warehouse| warehouse.show_table(&database, &table)).await??;
    ok(table_json(&info))
}

fn reference(database: &str, table: &str) -> Json {
    json!({ "database": database, "table": table, "type": "log" })
}

/// Makes a table.
pub(super) async fn create_table(
    account: &Account,
    database: String,
    table: String,
    params: &Params,
    now: Timestamp,
) -> Answer {
    let columns = columns(params)?.unwrap_or_default();
    let body = reference(&database, &table);
    account.ask(move |warehouse| warehouse.create_table(&database, &table, columns, now)).await??;
    ok(body)
}

/// Removes a table.
pub(super) async fn delete_table(account: &Account, database: String, table: String) -> Answer {
    let body = reference(&database, &table);
    account.ask(move |warehouse| warehouse.delete_table(&database, &table)).await??;
    ok(body)
}

/// Exchanges two tables.
pub(super) async fn swap(account: &Account, database: String, one: String, other: String) -> Answer {
    let body = json!({ "database": database, "table1": one, "table2": other });
    account.ask(move |warehouse| warehouse.swap(&database, &one, &other)).await??;
    ok(body)
}

/// Renames a table.
pub(super) async fn rename(account: &Account, database: String, table: String, new: String, params: &Params) -> Answer {
    let overwrite = params.flag("overwrite").unwrap_or(false);
    let body = reference(&database, &new);
    account.ask(move |warehouse| warehouse.rename(&database, &table, &new, overwrite)).await??;
    ok(body)
}

/// Changes whatever is named: schema, days, name.
pub(super) async fn update(
    account: &Account,
    database: String,
    table: String,
    params: &Params,
    now: Timestamp,
) -> Answer {
    let columns = columns(params)?;
    let days = if params.has("expire_days") { Some(params.integer("expire_days")?) } else { None };
    let include_v = params.flag("include_v");
    let new = params.get("name").map(str::to_owned);
    let overwrite = params.flag("overwrite").unwrap_or(false);
    let body = reference(&database, new.as_deref().unwrap_or(&table));
    let work = move |warehouse: &crate::sandbox::sql::Warehouse| {
        warehouse.update_table(&database, &table, days, include_v, now)?;
        if let Some(columns) = columns {
            warehouse.set_columns(&database, &table, columns, now)?;
        }
        match new {
            Some(new) => warehouse.rename(&database, &table, &new, overwrite),
            None => Ok(()),
        }
    };
    account.ask(work).await??;
    ok(body)
}

/// Gives a table other columns, or more of them.
pub(super) async fn update_schema(
    account: &Account,
    (database, table): (String, String),
    params: &Params,
    append: bool,
    now: Timestamp,
) -> Answer {
    let columns = columns(params)?.ok_or_else(|| Trouble::unfit("'schema' parameter is required"))?;
    let body = reference(&database, &table);
    let work = move |warehouse: &crate::sandbox::sql::Warehouse| {
        let mut all = columns;
        if append {
            let mut old = warehouse.show_table(&database, &table)?.columns;
            all.retain(|new| old.iter().all(|old| old.name != new.name));
            old.append(&mut all);
            all = old;
        }
        warehouse.set_columns(&database, &table, all, now)
    };
    account.ask(work).await??;
    ok(body)
}

/// `[["col","type"],["col","type","alias"]]`, as JSON text; objects with `name` and `type` too.
fn columns(params: &Params) -> Result<Option<Vec<Column>>, Trouble> {
    let Some(text) = params.get("schema") else { return Ok(None) };
    let wrong = || Trouble::unfit("'schema' parameter must be a JSON array of [name, type] pairs");
    let Ok(Json::Array(list)) = serde_json::from_str::<Json>(text) else { return Err(wrong()) };
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let column = |json: &Json| {
        let (name, kind, alias) = match json {
            Json::Array(parts) => (parts.first()?, parts.get(1)?, parts.get(2)),
            Json::Object(parts) => (parts.get("name")?, parts.get("type")?, parts.get("alias")),
            _ => return None,
        };
        Some(Column { name: text(name)?, kind: text(kind)?, alias: alias.and_then(text) })
    };
    let columns = list.iter().map(|json| column(json).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
    if let Some(odd) = columns.iter().find(|column| !is_kind(&column.kind)) {
        return Err(Trouble::unfit(format!("invalid column type '{}'", odd.kind.chars().take(60).collect::<String>())));
    }
    Ok(Some(columns))
}

fn is_kind(kind: &str) -> bool {
    let nested = ["array<", "map<"].iter().any(|open| kind.starts_with(open)) && kind.ends_with('>');
    ["int", "long", "float", "double", "string", "boolean"].contains(&kind) || (nested && kind.len() <= 200)
}

/// Adds uploaded rows.
pub(super) async fn import(
    house: &House,
    account: usize,
    (database, table): (String, String),
    unique_id: Option<String>,
    call: Call,
) -> Answer {
    let begun = Instant::now();
    let sum = results::hex(&Md5::digest(&call.upload));
    if let Some(expected) = call.headers.get("content-md5").and_then(|sum| sum.to_str().ok()) {
        use base64::Engine as _;
        let ours = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&call.upload));
        if expected != ours && !expected.eq_ignore_ascii_case(&sum) {
            return Err(Trouble::bad("Content-MD5 does not match the body"));
        }
    }
    if unique_id.as_ref().is_some_and(|id| id.len() > 256) {
        return Err(Trouble::bad("unique_id is too long"));
    }
    let now = house.now();
    let shown = unique_id.clone().unwrap_or_else(|| sum.clone());
    let mut body = reference(&database, &table);
    let rows = unpack(&call.upload)?;
    // As a call that names no job.
    let place = jobs::place_of(&house.engine(), house.accounts[account].hive, None);
    let kept = house.engine().import(&place, rows.len() as u64, now);
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    let work = move |warehouse: &crate::sandbox::sql::Warehouse| -> Result<(), Trouble> {
        warehouse.show_table(&database, &table)?;
        let rows = rows.into_iter().take(kept).collect();
        let import = Import { rows, bytes: call.upload.len() as u64, unique_id };
        warehouse.import(&database, &table, &import, now)?;
        Ok(())
    };
    house.accounts[account].ask(work).await??;
    body["unique_id"] = json!(shown);
    body["md5_hex"] = json!(sum);
    body["elapsed_time"] = json!(begun.elapsed().as_secs_f64());
    if let Some(fields) = body.as_object_mut() {
        fields.remove("type");
    }
    ok(body)
}

/// `msgpack.gz`: packed maps, one after the other.
fn unpack(upload: &[u8]) -> Result<Vec<Vec<(String, Value)>>, Trouble> {
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(upload).take(UNPACKED + 1);
    reader.read_to_end(&mut plain).map_err(|_| Trouble::bad("body is not gzip"))?;
    if plain.len() as u64 > UNPACKED {
        return Err(Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "unpacked body is too large"));
    }
    let mut rest = plain.as_slice();
    let (mut rows, mut values) = (Vec::new(), 0);
    while !rest.is_empty() {
        let value = rmpv::decode::read_value_with_max_depth(&mut rest, usize::from(DEPTH))
            .map_err(|_| Trouble::bad("body is not msgpack"))?;
        let Pack::Map(pairs) = value else { return Err(Trouble::bad("a record is not a map")) };
        values += pairs.len() + 1;
        if values > VALUES {
            let what = format!("an upload has at most {VALUES} values here");
            return Err(Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, what));
        }
        let mut row = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let Some(name) = name.as_str() else { return Err(Trouble::bad("a column's name is not text")) };
            row.push((name.to_owned(), cell(&value)));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn cell(value: &Pack) -> Value {
    match value {
        Pack::Nil => Value::Null,
        Pack::Boolean(b) => Value::Bool(*b),
        Pack::Integer(n) => match n.as_i64() {
            Some(n) => Value::Int(n),
            // Past 2^63: kept as text, as clients send even larger ones.
            None => Value::Text(n.to_string()),
        },
        Pack::F32(x) => Value::Float(f64::from(*x)),
        Pack::F64(x) => Value::Float(*x),
        Pack::String(text) => Value::Text(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        Pack::Binary(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        other => Value::Text(as_json(other).to_string()),
    }
}

/// Arrays and maps are kept as JSON text.
fn as_json(value: &Pack) -> Json {
    match value {
        Pack::Nil => Json::Null,
        Pack::Boolean(b) => json!(b),
        Pack::Integer(n) => n.as_i64().map_or_else(|| json!(n.as_u64()), |n| json!(n)),
        Pack::F32(x) => json!(x),
        Pack::F64(x) => json!(x),
        Pack::String(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        Pack::Binary(bytes) => json!(String::from_utf8_lossy(bytes)),
        Pack::Array(list) => list.iter().map(as_json).collect(),
        Pack::Map(pairs) => {
            let name = |name: &Pack| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            Json::Object(pairs.iter().map(|(key, value)| (name(key), as_json(value))).collect())
        }
        Pack::Ext(..) => Json::Null,
    }
}

/// The newest rows as msgpack maps.
pub(super) async fn tail(account: &Account, database: String, table: String, params: &Params) -> Answer {
    let count = params.integer("count")?.unwrap_or(30).clamp(0, 1000) as u32;
    let rowset = account.ask(move |warehouse| warehouse.tail(&database, &table, count)).await??;
    let mut bytes = Vec::new();
    for row in &rowset.rows {
        let pairs = rowset.columns.iter().zip(row).filter(|(_, value)| **value != Value::Null);
        let map =
            Pack::Map(pairs.map(|((name, _), value)| (Pack::from(name.as_str()), results::pack(value))).collect());
        rmpv::encode::write_value(&mut bytes, &map).expect("writing to memory does not fail");
    }
    Ok::<Response<Body>, Trouble>(respond(StatusCode::OK, "application/x-msgpack", bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn upload(packed: &[u8], times: usize) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&packed.repeat(times)).expect("written");
        gzip.finish().expect("packed")
    }

    #[test]
    fn an_upload_that_is_small_on_the_wire_and_large_in_memory_is_refused() {
        let row = b"\x81\xa1a\x01";
        assert_eq!(unpack(&upload(row, 1_000)).map(|rows| rows.len()), Ok(1_000));
        let refused = unpack(&upload(row, VALUES)).map(|rows| rows.len()).expect_err("too large");
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

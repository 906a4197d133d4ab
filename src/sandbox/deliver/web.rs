//! HTTP output: one request with names, types and rows as JSON.

use serde_json::{Value as Json, json};

use super::{DeliveryError, Parcel, address::Web, copied, text::json_value, unreachable};

/// HTTP output throws rows beyond this away; the vendor's documentation says so.
const MOST_ROWS: usize = 100_000;

/// Sends the rows.
pub(super) async fn put(client: &reqwest::Client, to: &Web, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
    let rowset = copied(parcel.rowset, parcel.copies);
    let names: Vec<&str> = rowset.columns.iter().map(|(name, _)| name.as_str()).collect();
    let types: Vec<&str> = rowset.columns.iter().map(|(_, kind)| kind.platform_name()).collect();
    let data: Vec<Json> = rowset.rows.iter().take(MOST_ROWS).map(|row| row.iter().map(json_value).collect()).collect();
    let body = json!({ "column_names": names, "column_types": types, "data": data }).to_string();
    let method = if to.post { reqwest::Method::POST } else { reqwest::Method::PUT };
    let mut request = client.request(method, to.url.clone()).header("content-type", "application/json").body(body);
    if let Some((user, password)) = &to.login {
        request = request.basic_auth(user, Some(password.reveal()));
    }
    let answer = request.send().await.map_err(unreachable)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(DeliveryError::Refused(format!("HTTP {}", answer.status().as_u16())))
}

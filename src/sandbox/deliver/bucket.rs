//! Output to S3 and compatible stores: one signed PUT an object, signed by code of our own.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use super::{
    DeliveryError, Parcel,
    address::Bucket,
    copied, neighbour,
    text::{FileFormat, Packing},
    unreachable,
};
use crate::canary::{Mode, Timestamp};

/// What a signed path leaves as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Writes the rows as one object.
pub(super) async fn put(client: &reqwest::Client, to: &Bucket, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
    // Written again: a file cannot be added to, so a replaced one is written with both copies, and
    // an appended one gets a neighbour.
    let both = parcel.again && to.mode == Mode::Replace;
    let rowset = copied(parcel.rowset, if both { parcel.copies.saturating_add(1) } else { parcel.copies });
    let body = to.layout.file(&rowset);
    let path = path(to, parcel);
    let host = match (to.endpoint.host_str(), to.endpoint.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(DeliveryError::Unreachable("the endpoint has no host".to_owned())),
    };
    let path = format!("/{}/{}", to.bucket, utf8_percent_encode(&path, PATH));
    let url = format!("{}://{host}{path}", to.endpoint.scheme());
    let signed = Signed::new(to, &host, &path, &body, parcel.now);
    let answer = client
        .put(url)
        .header("host", host)
        .header("x-amz-date", signed.date)
        .header("x-amz-content-sha256", signed.hash)
        .header("authorization", signed.authorization)
        .header("content-type", content_type(to))
        .body(body)
        .send()
        .await
        .map_err(unreachable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(DeliveryError::Refused(format!("HTTP {} from the object store", status.as_u16())))
}

fn content_type(to: &Bucket) -> &'static str {
    match to.layout.format {
        _ if to.layout.packing == Packing::Gz => "application/gzip",
        _ if to.layout.packing == Packing::Bzip2 => "application/x-bzip2",
        FileFormat::Csv => "text/csv",
        FileFormat::Tsv => "text/tab-separated-values",
        FileFormat::JsonLines => "application/x-ndjson",
    }
}

/// A path that ends with a slash gets a name in it: the job's, or for `replace` always the same.
fn path(to: &Bucket, parcel: &Parcel<'_>) -> String {
    let ending = to.layout.ending();
    let path = match (to.path.ends_with('/'), to.mode) {
        (true, Mode::Replace) => format!("{}result.{ending}", to.path),
        (true, _) => format!("{}{}.{ending}", to.path, parcel.job),
        (false, _) => to.path.clone(),
    };
    if !parcel.again || to.mode == Mode::Replace {
        return path;
    }
    neighbour(&path)
}

/// The headers that prove who sends a request: AWS Signature Version 4.
struct Signed {
    date: String,
    hash: String,
    authorization: String,
}

impl Signed {
    fn new(to: &Bucket, host: &str, path: &str, body: &[u8], now: Timestamp) -> Self {
        let now = now.to_utc();
        let (day, date) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ").to_string());
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        let names = "host;x-amz-content-sha256;x-amz-date";
        let canonical =
            format!("PUT\n{path}\n\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{date}\n\n{names}\n{hash}");
        let scope = format!("{day}/{}/s3/aws4_request", to.region);
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{canonical}");
        let first = format!("AWS4{}", to.secret.reveal());
        let key = [day.as_str(), to.region.as_str(), "s3", "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()));
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", to.key);
        Self { date, hash, authorization }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Reading: what the parts of a URL mean for each type of target.

use super::{
    AddressError, Bucket, Destination, MySql, PostgreSql, Sftp, Table, Web,
    parts::{Parts, shape},
};
use crate::{
    canary::{Mode, Secret},
    sandbox::deliver::text::{FileFormat, Layout, Packing, QuotePolicy},
};

pub(super) fn web(scheme: &str, parts: Parts, rest: &str) -> Result<Destination, AddressError> {
    let host = parts.host()?;
    parts.mode(&[Mode::Append])?;
    let post = match parts.option("method").map(str::to_ascii_lowercase).as_deref() {
        None | Some("put") => false,
        Some("post") => true,
        Some(_) => return Err(shape("method is put or post")),
    };
    let port = parts.port.map(|port| format!(":{port}")).unwrap_or_default();
    // What is not ours in the query belongs to the receiver.
    let query = rest.split_once('?').map_or("", |(_, query)| query).split('&');
    let ours = |pair: &&str| !["method", "mode"].contains(&pair.split('=').next().unwrap_or_default());
    let query: Vec<&str> = query.filter(|pair| !pair.is_empty()).filter(ours).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let http = if scheme == "webs" { "https" } else { "http" };
    let url = format!("{http}://{host}{port}{}{mark}{}", parts.raw_path, query.join("&"));
    let url = reqwest::Url::parse(&url).map_err(|error| shape(error.to_string()))?;
    let login =
        parts.user.filter(|user| !user.is_empty()).map(|user| (user, Secret::new(parts.password.unwrap_or_default())));
    Ok(Destination::Web(Web { url, post, login }))
}

pub(super) fn bucket(parts: Parts) -> Result<Destination, AddressError> {
    let key = parts.user.clone().filter(|key| !key.is_empty()).ok_or_else(|| shape("the access key is missing"))?;
    let secret =
        parts.password.clone().filter(|secret| !secret.is_empty()).ok_or_else(|| shape("the secret key is missing"))?;
    if !parts.host.is_empty() {
        return Err(shape("an s3 URL is s3://KEY:SECRET@/bucket/path; an endpoint is an option"));
    }
    let [bucket, path @ ..] = parts.path.as_slice() else { return Err(shape("the bucket is missing")) };
    if path.is_empty() {
        return Err(shape("the path is missing"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(fits) {
        return Err(shape("the bucket's name is not possible"));
    }
    if path.iter().any(|segment| segment == "." || segment == "..") {
        return Err(shape("the path climbs"));
    }
    let mut path = path.join("/");
    if parts.raw_path.ends_with('/') {
        path.push('/');
    }
    let region = parts.option("region").unwrap_or("us-east-1").to_owned();
    if !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(shape("the region is not possible"));
    }
    let endpoint = match parts.option("endpoint") {
        Some(text) if text.contains("://") => text.to_owned(),
        Some(text) => format!("https://{text}"),
        None => format!("https://s3.{region}.amazonaws.com"),
    };
    let endpoint = reqwest::Url::parse(&endpoint).map_err(|error| shape(format!("endpoint: {error}")))?;
    if !["http", "https"].contains(&endpoint.scheme()) || endpoint.host_str().is_none() {
        return Err(shape("endpoint is http:// or https:// and a host"));
    }
    let mode = parts.mode(&[Mode::Append, Mode::Replace])?;
    let (key, secret) = (key, Secret::new(secret));
    let layout = layout(&parts)?;
    Ok(Destination::Bucket(Bucket { endpoint, region, key, secret, bucket: bucket.clone(), path, layout, mode }))
}

fn layout(parts: &Parts) -> Result<Layout, AddressError> {
    let format = match parts.option("format").unwrap_or("csv") {
        "csv" => FileFormat::Csv,
        "tsv" => FileFormat::Tsv,
        "jsonl" => FileFormat::JsonLines,
        _ => return Err(shape("format is csv, tsv or jsonl")),
    };
    let packing = match parts.option("compression").map(str::to_ascii_lowercase).as_deref() {
        None | Some("none") => Packing::None,
        Some("gz" | "gzip") => Packing::Gz,
        Some("bzip2" | "bz2") => Packing::Bzip2,
        Some(_) => return Err(shape("compression is none, gz or bzip2")),
    };
    let quotes = match parts.option("quote_policy").map(str::to_ascii_uppercase).as_deref() {
        None | Some("MINIMAL") => QuotePolicy::Minimal,
        Some("ALL") => QuotePolicy::All,
        Some("NONE") => QuotePolicy::None,
        Some(_) => return Err(shape("quote_policy is ALL, MINIMAL or NONE")),
    };
    let escape = match parts.option("escape").map(|text| (text.chars().next(), text.chars().count())) {
        None | Some((Some('"'), 1)) => None,
        Some((Some(c), 1)) if c.is_ascii() && !"\r\n".contains(c) => Some(c),
        Some(_) => return Err(shape("escape is one character")),
    };
    let delimiter = match (parts.option("delimiter"), format) {
        (None, FileFormat::Tsv) | (Some("tab" | "\\t" | "\t"), _) => '\t',
        (None, _) => ',',
        (Some("comma"), _) => ',',
        (Some("pipe"), _) => '|',
        (Some(text), _) => match (text.chars().next(), text.chars().count()) {
            (Some(c), 1) if !"\"\r\n".contains(c) => c,
            _ => return Err(shape("delimiter is one character")),
        },
    };
    let newline = match parts.option("newline").map(str::to_ascii_uppercase).as_deref() {
        None | Some("CRLF") => "\r\n",
        Some("CR") => "\r",
        Some("LF") => "\n",
        Some(_) => return Err(shape("newline is CRLF, CR or LF")),
    };
    // `null` may itself be the word that stands for NULL, so it is not read by `option`.
    let null = match parts.options.get("null").map(String::as_str) {
        None | Some("empty") => String::new(),
        Some(text) => text.to_owned(),
    };
    // Files on servers say `header_line`.
    let header = parts.flag("header", parts.flag("header_line", true)?)?;
    Ok(Layout { format, packing, quotes, escape, header, delimiter, newline, null })
}

pub(super) fn sftp(parts: Parts) -> Result<Destination, AddressError> {
    let host = parts.host()?.trim_matches(['[', ']']).to_owned();
    let user = parts.user.clone().filter(|user| !user.is_empty()).ok_or_else(|| shape("the user is missing"))?;
    // A connection that was saved could hold a key; a URL can only hold a password.
    let password = parts
        .password
        .clone()
        .filter(|password| !password.is_empty())
        .ok_or_else(|| shape("the password is missing"))?;
    if parts.path.is_empty() {
        return Err(shape("the path is missing"));
    }
    if parts.path.iter().any(|segment| segment == "." || segment == "..") {
        return Err(shape("the path climbs"));
    }
    let root = if parts.flag("user_directory_is_root", true)? { "" } else { "/" };
    let end = if parts.raw_path.ends_with('/') { "/" } else { "" };
    Ok(Destination::Sftp(Sftp {
        host,
        port: parts.port.unwrap_or(22),
        user,
        password: Secret::new(password),
        path: format!("{root}{}{end}", parts.path.join("/")),
        layout: layout(&parts)?,
        mode: parts.mode(&[Mode::Append, Mode::Replace])?,
    }))
}

pub(super) fn postgresql(parts: Parts) -> Result<Destination, AddressError> {
    let host = parts.host()?.trim_matches(['[', ']']).to_owned();
    let user = parts.user.clone().filter(|user| !user.is_empty()).ok_or_else(|| shape("the user is missing"))?;
    let password = Secret::new(parts.password.clone().unwrap_or_default());
    let [database, table] = parts.path.as_slice() else {
        return Err(shape("a postgresql URL ends with /database/table"));
    };
    let mode = parts.mode(&Mode::ALL)?;
    let unique = keys(&parts, mode)?;
    Ok(Destination::PostgreSql(PostgreSql {
        host,
        port: parts.port.unwrap_or(5432),
        user,
        password,
        database: database.clone(),
        schema: parts.option("schema").map(str::to_owned),
        table: table.clone(),
        tls: parts.flag("ssl", false)?,
        mode,
        unique,
    }))
}

pub(super) fn mysql(parts: Parts) -> Result<Destination, AddressError> {
    let host = parts.host()?.trim_matches(['[', ']']).to_owned();
    let user = parts.user.clone().filter(|user| !user.is_empty()).ok_or_else(|| shape("the user is missing"))?;
    let [database, table] = parts.path.as_slice() else { return Err(shape("a mysql URL ends with /database/table")) };
    let mode = parts.mode(&Mode::ALL)?;
    Ok(Destination::MySql(MySql {
        host,
        port: parts.port.unwrap_or(3306),
        user,
        password: Secret::new(parts.password.clone().unwrap_or_default()),
        database: database.clone(),
        table: table.clone(),
        tls: parts.flag("ssl", false)?,
        mode,
        unique: keys(&parts, mode)?,
    }))
}

/// The key columns, without which rows cannot be updated.
fn keys(parts: &Parts, mode: Mode) -> Result<Vec<String>, AddressError> {
    let keys: Vec<String> = parts
        .option("unique")
        .map(|keys| keys.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect())
        .unwrap_or_default();
    if mode == Mode::Update && keys.is_empty() {
        return Err(shape("mode update needs unique=COLUMN"));
    }
    Ok(keys)
}

pub(super) fn table(parts: Parts) -> Result<Destination, AddressError> {
    let [database, table] = parts.path.as_slice() else { return Err(shape("a td URL ends with /database/table")) };
    let api_key = match (parts.user.as_deref(), parts.option("apikey")) {
        (Some(key), _) if !key.is_empty() => Some(key),
        (_, key) => key,
    };
    Ok(Destination::Table(Table {
        api_key: api_key.map(Secret::new),
        database: database.clone(),
        table: table.clone(),
        mode: parts.mode(&[Mode::Append, Mode::Replace])?,
    }))
}

//! Result Output URLs: what they mean, and how they are shown without their secrets.

use std::{collections::BTreeMap, str::FromStr};

use percent_encoding::percent_decode_str;

use super::text::{FileFormat, Layout};
use crate::canary::{Mode, Secret};

/// Longest URL that is read.
const LONGEST: usize = 8192;

/// Why a text is no Result Output URL. Never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `scheme://`.
    #[error("Result Output URL has no scheme such as postgresql://, s3://, web:// or td://")]
    NoScheme,
    /// A scheme that cannot be written to here.
    #[error("Result Output type '{0}' is not supported")]
    Scheme(String),
    /// Something is missing or makes no sense.
    #[error("invalid Result Output URL: {0}")]
    Shape(String),
}

/// Where rows go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// `web://` and `webs://`: an HTTP receiver.
    Web(Web),
    /// `s3://`: an object.
    Bucket(Bucket),
    /// `postgresql://`: a table.
    PostgreSql(PostgreSql),
    /// `td://`: a table of the platform itself.
    Table(Table),
}

/// An HTTP receiver.
#[derive(Clone, Debug)]
pub struct Web {
    /// Without user and password.
    pub url: reqwest::Url,
    /// POST instead of PUT.
    pub post: bool,
    /// User and password for basic authentication.
    pub login: Option<(String, Secret)>,
}

/// An object in a bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Scheme, host and port.
    pub endpoint: reqwest::Url,
    /// Its region, for signing.
    pub region: String,
    /// Access key.
    pub key: String,
    /// Secret key.
    pub secret: Secret,
    /// Bucket.
    pub bucket: String,
    /// Path without a leading slash.
    pub path: String,
    /// How rows are written.
    pub layout: Layout,
    /// Append or replace.
    pub mode: Mode,
}

/// A table in PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgreSql {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Database.
    pub database: String,
    /// Schema, if named.
    pub schema: Option<String>,
    /// Table.
    pub table: String,
    /// Whether TLS is wanted.
    pub tls: bool,
    /// How rows are written.
    pub mode: Mode,
    /// Key columns of mode `update`.
    pub unique: Vec<String>,
}

/// A table of the platform itself.
#[derive(Clone, Debug)]
pub struct Table {
    /// Another account's key, if given.
    pub api_key: Option<Secret>,
    /// Database.
    pub database: String,
    /// Table.
    pub table: String,
    /// Append or replace.
    pub mode: Mode,
}

/// A URL taken apart, percent-decoded.
struct Parts {
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    path: Vec<String>,
    raw_path: String,
    options: BTreeMap<String, String>,
}

impl Destination {
    /// What faults call it: `web`, `bucket`, else the scheme.
    pub fn target(&self) -> &'static str {
        match self {
            Destination::Web(_) => "web",
            Destination::Bucket(_) => "bucket",
            Destination::PostgreSql(_) => "postgresql",
            Destination::Table(_) => "td",
        }
    }

    /// How rows are written.
    pub fn mode(&self) -> Mode {
        match self {
            Destination::Web(_) => Mode::Append,
            Destination::Bucket(to) => to.mode,
            Destination::PostgreSql(to) => to.mode,
            Destination::Table(to) => to.mode,
        }
    }

    /// The host that rows go to; none for the platform's own tables.
    pub fn host(&self) -> Option<String> {
        match self {
            Destination::Web(to) => to.url.host_str().map(str::to_owned),
            Destination::Bucket(to) => to.endpoint.host_str().map(str::to_owned),
            Destination::PostgreSql(to) => Some(to.host.clone()),
            Destination::Table(_) => None,
        }
    }
}

impl FromStr for Destination {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > LONGEST {
            return Err(shape("it is too long"));
        }
        if text.chars().any(char::is_control) {
            return Err(shape("it has a control character"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::NoScheme)?;
        let parts = Parts::of(rest)?;
        match scheme {
            "web" | "webs" => web(scheme, parts, rest),
            "s3" => bucket(parts),
            "postgresql" | "postgres" => postgresql(parts),
            "td" => table(parts),
            other => Err(AddressError::Scheme(other.chars().take(40).collect())),
        }
    }
}

fn shape(text: impl Into<String>) -> AddressError {
    AddressError::Shape(text.into())
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let bad = || shape("percent-encoding is not UTF-8");
    let text = percent_decode_str(text).decode_utf8().map_err(|_| bad())?;
    if text.contains('\0') { Err(bad()) } else { Ok(text.into_owned()) }
}

impl Parts {
    fn of(rest: &str) -> Result<Self, AddressError> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, raw_path) = match place.find('/') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (None, None),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().map_err(|_| shape("the port is not a number"))?;
                (host, Some(port))
            }
            _ => (address, None),
        };
        let mut options = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.insert(decoded(name)?, decoded(&value.replace('+', " "))?);
        }
        let path =
            raw_path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { user, password, host: host.to_owned(), port, path, raw_path: raw_path.to_owned(), options })
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != "null")
    }

    fn mode(&self, possible: &[Mode]) -> Result<Mode, AddressError> {
        let Some(text) = self.option("mode") else { return Ok(Mode::Append) };
        let mode: Mode = text.parse().map_err(|error: String| shape(error))?;
        if possible.contains(&mode) {
            Ok(mode)
        } else {
            Err(shape(format!("mode {mode} is not possible for this type")))
        }
    }

    fn flag(&self, name: &str, otherwise: bool) -> Result<bool, AddressError> {
        match self.option(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(otherwise),
            Some("true" | "1" | "yes") => Ok(true),
            Some("false" | "0" | "no") => Ok(false),
            Some(_) => Err(shape(format!("{name} is true or false"))),
        }
    }

    fn host(&self) -> Result<String, AddressError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if self.host.is_empty() {
            return Err(shape("the host is missing"));
        }
        if !self.host.chars().all(fits) {
            return Err(shape("the host is not a host name"));
        }
        Ok(self.host.clone())
    }
}

fn web(scheme: &str, parts: Parts, rest: &str) -> Result<Destination, AddressError> {
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

fn bucket(parts: Parts) -> Result<Destination, AddressError> {
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
    let gzip = match parts.option("compression").map(str::to_ascii_lowercase).as_deref() {
        None | Some("none") => false,
        Some("gz" | "gzip") => true,
        Some(_) => return Err(shape("compression is none or gz")),
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
    Ok(Layout { format, gzip, header: parts.flag("header", true)?, delimiter, newline, null })
}

fn postgresql(parts: Parts) -> Result<Destination, AddressError> {
    let host = parts.host()?.trim_matches(['[', ']']).to_owned();
    let user = parts.user.clone().filter(|user| !user.is_empty()).ok_or_else(|| shape("the user is missing"))?;
    let password = Secret::new(parts.password.clone().unwrap_or_default());
    let [database, table] = parts.path.as_slice() else {
        return Err(shape("a postgresql URL ends with /database/table"));
    };
    let mode = parts.mode(&Mode::ALL)?;
    let unique: Vec<String> = parts
        .option("unique")
        .map(|keys| keys.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect())
        .unwrap_or_default();
    if mode == Mode::Update && unique.is_empty() {
        return Err(shape("mode update needs unique=COLUMN"));
    }
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

fn table(parts: Parts) -> Result<Destination, AddressError> {
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

/// Options whose values are secrets.
const SECRET_OPTIONS: [&str; 5] = ["apikey", "api_key", "password", "secret", "secret_access_key"];

/// The URL with every secret masked. Works on any text, also one that is no URL.
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // A saved connection's name, or something that could hold anything.
        return text.split_once(':').map_or_else(String::new, |(name, _)| format!("{name}:…"));
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (authority, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) if scheme == "td" => format!("@{host}"),
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{login}@{host}"),
        },
        None => authority.to_owned(),
    };
    let query = query.map(|query| {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if SECRET_OPTIONS.contains(&name) => format!("{name}=***"),
            _ => pair.to_owned(),
        };
        format!("?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Destination {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_web_url_keeps_path_and_query_and_moves_the_login_to_a_header() {
        let Destination::Web(web) = read("web://us%40er:p%2Fw@127.0.0.1:9/a%20b/c?x=1&method=post&y=2") else {
            panic!()
        };
        assert_eq!(web.url.as_str(), "http://127.0.0.1:9/a%20b/c?x=1&y=2");
        let (user, password) = web.login.expect("a login");
        assert_eq!((user.as_str(), password.reveal(), web.post), ("us@er", "p/w", true));
        assert!(matches!(read("webs://host/x"), Destination::Web(web) if web.url.scheme() == "https" && !web.post));
    }

    #[test]
    fn an_s3_url_has_keys_bucket_path_and_options() {
        let url = "s3://KEY:se%2Fcret@/bucket/a/b.csv.gz?format=tsv&compression=gz&header=false&null=%5CN&newline=LF\
                   &endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=eu-west-1&mode=replace";
        let Destination::Bucket(to) = read(url) else { panic!() };
        assert_eq!((to.key.as_str(), to.secret.reveal(), to.bucket.as_str()), ("KEY", "se/cret", "bucket"));
        assert_eq!((to.path.as_str(), to.region.as_str(), to.mode), ("a/b.csv.gz", "eu-west-1", Mode::Replace));
        assert_eq!(to.endpoint.as_str(), "http://127.0.0.1:9000/");
        assert_eq!((to.layout.delimiter, to.layout.newline, to.layout.null.as_str()), ('\t', "\n", "\\N"));
        assert!(to.layout.gzip && !to.layout.header);
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        for url in [
            "",
            "x",
            "name:rest",
            "ftp://h/x",
            "web://",
            "web:///path",
            "web://h:port/x",
            "web://h/x?method=get",
            "web://h/x?mode=replace",
            "s3://bucket/path",
            "s3://K@/b/p",
            "s3://K:S@/buc",
            "s3://K:S@/bucket/../x",
            "s3://K:S@/bucket/p?format=xml",
            "s3://K:S@/bucket/p?endpoint=file:///x",
            "s3://K:S@/bucket/p?newline=X",
            "postgresql://h/db/t",
            "postgresql://u:p@h/db",
            "postgresql://u:p@h/db/t?mode=update",
            "postgresql://u:p@h/db/t?mode=upsert",
            "td://@/db",
            "td://@/db/t?mode=truncate",
            "web://h/%ff",
            "web://h/\n",
            "postgresql://u:p@h/d%00/t",
        ] {
            assert!(url.parse::<Destination>().is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("web://u:hunter2@h/x?a=b", "web://u:***@h/x?a=b"),
            ("s3://K:hunter2@/b/p?x=1", "s3://K:***@/b/p?x=1"),
            ("td://hunter2@/db/t?mode=append", "td://@/db/t?mode=append"),
            ("td://h/db/t?apikey=hunter2&mode=append", "td://h/db/t?apikey=***&mode=append"),
            ("name:hunter2", "name:…"),
            ("hunter2", ""),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}

//! Result Output URLs: where rows go, and how they are written there.

mod masked;
mod parts;
mod read;

use std::str::FromStr;

pub use self::masked::masked;
use self::parts::{Parts, shape};
use super::text::Layout;
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
            "web" | "webs" => read::web(scheme, parts, rest),
            "s3" => read::bucket(parts),
            "postgresql" | "postgres" => read::postgresql(parts),
            "td" => read::table(parts),
            other => Err(AddressError::Scheme(other.chars().take(40).collect())),
        }
    }
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
}

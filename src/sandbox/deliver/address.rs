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
    #[error("Result Output URL has no scheme such as postgresql://, mysql://, s3://, sftp://, web:// or td://")]
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
    /// `mysql://`: a table.
    MySql(MySql),
    /// `sftp://`: a file.
    Sftp(Sftp),
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

/// A table in MySQL or MariaDB.
#[derive(Clone, Debug)]
pub struct MySql {
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
    /// Table.
    pub table: String,
    /// Whether TLS is wanted.
    pub tls: bool,
    /// How rows are written.
    pub mode: Mode,
    /// Key columns of mode `update`.
    pub unique: Vec<String>,
}

/// A file on an SFTP server.
#[derive(Clone, Debug)]
pub struct Sftp {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// The whole path, or one from where a login starts.
    pub path: String,
    /// How rows are written.
    pub layout: Layout,
    /// Append or replace.
    pub mode: Mode,
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
            Destination::MySql(_) => "mysql",
            Destination::Sftp(_) => "sftp",
            Destination::Table(_) => "td",
        }
    }

    /// How rows are written.
    pub fn mode(&self) -> Mode {
        match self {
            Destination::Web(_) => Mode::Append,
            Destination::Bucket(to) => to.mode,
            Destination::PostgreSql(to) => to.mode,
            Destination::MySql(to) => to.mode,
            Destination::Sftp(to) => to.mode,
            Destination::Table(to) => to.mode,
        }
    }

    /// The host that rows go to; none for the platform's own tables.
    pub fn host(&self) -> Option<String> {
        match self {
            Destination::Web(to) => to.url.host_str().map(str::to_owned),
            Destination::Bucket(to) => to.endpoint.host_str().map(str::to_owned),
            Destination::PostgreSql(to) => Some(to.host.clone()),
            Destination::MySql(to) => Some(to.host.clone()),
            Destination::Sftp(to) => Some(to.host.clone()),
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
            "mysql" => read::mysql(parts),
            "sftp" => read::sftp(parts),
            "td" => read::table(parts),
            other => Err(AddressError::Scheme(other.chars().take(40).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::text::{Packing, QuotePolicy},
        *,
    };

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
        assert!(to.layout.packing == Packing::Gz && !to.layout.header);
    }

    #[test]
    fn an_sftp_url_has_a_login_a_path_and_a_dialect() {
        let url =
            "sftp://us%40er:p%2Fw@[::1]:2222/in/a.csv?compression=bzip2&delimiter=%7C&quote_policy=ALL&escape=%5C";
        let Destination::Sftp(to) = read(url) else { panic!() };
        assert_eq!((to.host.as_str(), to.port, to.user.as_str(), to.password.reveal()), ("::1", 2222, "us@er", "p/w"));
        assert_eq!((to.path.as_str(), to.mode), ("in/a.csv", Mode::Append));
        assert_eq!((to.layout.packing, to.layout.quotes), (Packing::Bzip2, QuotePolicy::All));
        assert_eq!((to.layout.delimiter, to.layout.escape), ('|', Some('\\')));
        let Destination::Sftp(to) = read("sftp://u:p@h/in/?user_directory_is_root=false&mode=replace") else {
            panic!()
        };
        assert_eq!((to.path.as_str(), to.port, to.mode), ("/in/", 22, Mode::Replace));
    }

    #[test]
    fn a_mysql_url_has_login_place_table_and_options() {
        let url =
            "mysql://us%40er:p%2Fw@db:3307/ware%20house/t?mode=update&unique=a,%20b&ssl=true&use_compression=true";
        let Destination::MySql(to) = read(url) else { panic!() };
        assert_eq!((to.user.as_str(), to.password.reveal(), to.host.as_str(), to.port), ("us@er", "p/w", "db", 3307));
        assert_eq!((to.database.as_str(), to.table.as_str(), to.mode, to.tls), ("ware house", "t", Mode::Update, true));
        assert_eq!(to.unique, ["a", "b"]);
        let Destination::MySql(to) = read("mysql://u:p@[::1]/d/t") else { panic!() };
        assert_eq!((to.host.as_str(), to.port, to.mode, to.tls), ("::1", 3306, Mode::Append, false));
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
            "sftp://h/path",
            "sftp://u:p@h/",
            "sftp://u:p@h/a/../b",
            "sftp://u:p@h/a?quote_policy=SOME",
            "sftp://u:p@h/a?mode=truncate",
            "postgresql://u:p@h/db",
            "postgresql://u:p@h/db/t?mode=update",
            "postgresql://u:p@h/db/t?mode=upsert",
            "mysql://h/db/t",
            "mysql://u:p@h/db",
            "mysql://u:p@h/db/t/x",
            "mysql://u:p@h/db/t?mode=update",
            "mysql://u:p@h/db/t?ssl=perhaps",
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

//! Places: which server the agent reads, which tables it reads there, and the address by which a
//! platform writes to them.

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::{
    canary::{Address, Mode, Run, Secret, Why},
    http::Wire,
    target::{encoded, shell},
};

/// What a URL looks like, for hints.
pub(super) const SHAPE: &str = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE";

/// Names have at most 63 bytes there; `__`, 16 digits and `__verify` may follow.
const LONGEST: usize = 63 - "__0123456789abcdef__verify".len();

/// Why a place cannot be one. Never repeats the URL, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not a URL at all.
    #[error("is not a URL: {0}")]
    NotAUrl(String),
    /// A URL of something else.
    #[error("is not a postgresql:// URL")]
    Scheme,
    /// Something is missing.
    #[error("has no {0}")]
    Missing(&'static str),
    /// The path is not one name.
    #[error("has more than a database in its path; the table is `table`")]
    Path,
    /// A query option that means nothing here.
    #[error("has an option that is not known here: `{0}`")]
    Option(String),
    /// A query option's value.
    #[error("has a value that `{0}` cannot have")]
    Value(&'static str),
    /// A table name that cannot be one.
    #[error("`table` is not a table's name: 1 to {LONGEST} bytes, no `/`, no control characters")]
    Table,
    /// A schema name that cannot be one.
    #[error("`schema` is not a schema's name: 1 to 63 bytes, no `/`, no control characters")]
    Schema,
}

impl PlaceError {
    pub(super) fn is_of_schema(&self) -> bool {
        *self == PlaceError::Schema
    }
}

/// A URL checked for what both sides need.
fn parsed(url: &Secret) -> Result<Url, PlaceError> {
    let url = Url::parse(url.reveal().trim()).map_err(|error| PlaceError::NotAUrl(error.to_string()))?;
    if !["postgresql", "postgres"].contains(&url.scheme()) {
        return Err(PlaceError::Scheme);
    }
    if url.username().is_empty() {
        return Err(PlaceError::Missing("user"));
    }
    match url.path().strip_prefix('/') {
        None | Some("") => Err(PlaceError::Missing("database")),
        Some(path) if path.contains('/') => Err(PlaceError::Path),
        Some(_) => Ok(url),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The server that the agent reads, and how it gets in.
#[derive(Clone)]
pub struct Place {
    options: PgConnectOptions,
}

impl Place {
    /// From `postgresql://user:password@host:port/database`, with `sslmode`, `sslrootcert` and
    /// `host` (a folder with a socket) as options. Nothing comes from the environment.
    pub fn new(url: &Secret, wire: &Wire) -> Result<Self, PlaceError> {
        let url = parsed(url)?;
        let mut options = PgConnectOptions::new_without_pgpass()
            .username(&decoded(url.username()))
            .password(&decoded(url.password().unwrap_or_default()))
            .database(&decoded(url.path().trim_start_matches('/')))
            .port(url.port().unwrap_or(5432))
            .ssl_mode(PgSslMode::Prefer)
            .application_name("landfall")
            // Poolers in between give each transaction another connection: nothing can be kept.
            .statement_cache_capacity(0);
        let mut host = url.host_str().filter(|host| !host.is_empty()).map(decoded);
        if let Some(bundle) = &wire.ca_bundle {
            options = options.ssl_root_cert(bundle);
        }
        for (key, value) in url.query_pairs() {
            options = match &*key {
                "sslmode" => options.ssl_mode(value.parse().map_err(|_| PlaceError::Value("sslmode"))?),
                "ssl" if value == "true" => options.ssl_mode(PgSslMode::Require),
                "ssl" if value == "false" => options.ssl_mode(PgSslMode::Disable),
                "ssl" => return Err(PlaceError::Value("ssl")),
                "sslrootcert" => options.ssl_root_cert(&*value),
                "host" if value.starts_with('/') => {
                    host = None;
                    options.socket(&*value)
                }
                "host" => {
                    host = Some(value.into_owned());
                    options
                }
                other => return Err(PlaceError::Option(other.chars().take(40).collect())),
            };
        }
        match host {
            Some(host) => options = options.host(host.trim_matches(['[', ']'])),
            None if options.get_socket().is_some() => {}
            None => return Err(PlaceError::Missing("host")),
        }
        Ok(Self { options })
    }

    /// How to connect.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// What a person types who wants to send it these statements. The password is asked for.
    pub(super) fn typed(&self, statements: &str) -> String {
        let options = &self.options;
        let socket = options.get_socket().map(|path| path.to_string_lossy().into_owned());
        let host = socket.as_deref().unwrap_or_else(|| options.get_host());
        let (port, user) = (options.get_port().to_string(), options.get_username());
        let database = options.get_database().unwrap_or_default();
        shell::fed(&["psql", "-h", host, "-p", &port, "-U", user, "-d", database], statements)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        write!(f, "{host}:{port}/{}", self.options.get_database().unwrap_or_default())
    }
}

/// The tables of a target: one for `append`, one for each route that displaces, one for controls.
#[derive(Clone, Debug)]
pub struct Tables {
    schema: Option<String>,
    name: String,
}

impl Tables {
    /// Tables around `name`. Without a schema the server's search path decides.
    pub fn new(schema: Option<&str>, name: &str) -> Result<Self, PlaceError> {
        let fits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && !text.contains('/') && !text.chars().any(char::is_control)
        };
        if !fits(name, LONGEST) {
            return Err(PlaceError::Table);
        }
        if schema.is_some_and(|schema| !fits(schema, 63)) {
            return Err(PlaceError::Schema);
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    /// The name that everything begins with.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The schema, if one is named.
    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table that a run writes to.
    pub(super) fn of(&self, run: &Run) -> String {
        let verify = if run.why == Why::Verify { "__verify" } else { "" };
        match run.route.mode.displaces() {
            true => format!("{}__{}{verify}", self.name, run.route.id),
            false => self.name.clone(),
        }
    }

    /// The table that controls write to.
    pub(super) fn control(&self) -> String {
        format!("{}__control", self.name)
    }

    /// A table's name for use in a statement.
    pub(super) fn quoted(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
            None => quoted(table),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The server as the platform reaches it, and how it gets in.
#[derive(Clone, Debug)]
pub struct Outlet {
    user: String,
    password: Option<Secret>,
    /// Host, port and database, encoded as they were written.
    place: String,
    options: Vec<String>,
}

impl Outlet {
    /// From `postgresql://user:password@host:port/database`; options are passed on.
    pub fn new(url: &Secret) -> Result<Self, PlaceError> {
        let url = parsed(url)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(PlaceError::Missing("host"))?;
        let port = url.port().unwrap_or(5432);
        let mut options = Vec::new();
        for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                (name @ ("mode" | "schema" | "unique" | "table"), _) => {
                    return Err(PlaceError::Option(name.to_owned()));
                }
                // The platform's own word for it.
                ("sslmode", "disable" | "allow" | "prefer") => options.push("ssl=false".to_owned()),
                ("sslmode", _) => options.push("ssl=true".to_owned()),
                ("sslrootcert", _) => {}
                _ => options.push(pair.to_owned()),
            }
        }
        Ok(Self {
            user: url.username().to_owned(),
            password: url.password().map(Secret::new),
            place: format!("{host}:{port}{}", url.path()),
            options,
        })
    }

    /// Where a platform delivers a run.
    pub(super) fn address(&self, tables: &Tables, run: &Run) -> Address {
        let mode = run.route.mode;
        let mut options = vec![format!("mode={mode}")];
        options.extend(tables.schema().map(|schema| format!("schema={}", encoded(schema))));
        if mode == Mode::Update {
            // Rows keep their number from run to run, so each run updates the rows of the last.
            options.push("unique=row_no".to_owned());
        }
        options.extend(self.options.iter().cloned());
        let rest = format!("@{}/{}?{}", self.place, encoded(&tables.of(run)), options.join("&"));
        let login = |password: Option<&str>| login(&self.user, password);
        Address {
            place: tables.of(run),
            url: Secret::new(format!("postgresql://{}{rest}", login(self.password.as_ref().map(Secret::reveal)))),
            shown: format!("postgresql://{}{rest}", login(self.password.as_ref().map(|_| "…"))),
            mode,
        }
    }
}

fn login(user: &str, password: Option<&str>) -> String {
    password.map_or_else(|| user.to_owned(), |password| format!("{user}:{password}"))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::canary::{
        CanaryName, Labels, Marker, PlatformName, Route, Sample, TargetName, Terms, Timestamp, run::Why,
    };

    fn run(mode: Mode, why: Why) -> Run {
        let route = Route::new(
            CanaryName::new("c").expect("valid"),
            PlatformName::new("p").expect("valid"),
            TargetName::new("t").expect("valid"),
            mode,
            Labels::default(),
        );
        let terms = Terms { due: Timestamp::EPOCH, objective: Duration::ZERO, deadline: Duration::ZERO };
        let marker = Marker::mint(Timestamp::EPOCH, 1);
        Run { marker, route: Arc::new(route), terms, sample: Sample::default(), why, report: None }
    }

    fn address(url: &str, schema: Option<&str>, table: &str, run: &Run) -> Address {
        let outlet = Outlet::new(&Secret::new(url)).expect("valid");
        outlet.address(&Tables::new(schema, table).expect("valid"), run)
    }

    #[test]
    fn platforms_get_a_url_with_table_and_mode_and_people_one_without_the_password() {
        let url = "postgres://wr%40iter:p%2Fw%3F@db.example.com/ware%20house?ssl=true";
        let append = address(url, Some("a b"), "canary", &run(Mode::Append, Why::Scheduled));
        let rest = "@db.example.com:5432/ware%20house/canary?mode=append&schema=a%20b&ssl=true";
        assert_eq!(append.url.reveal(), format!("postgresql://wr%40iter:p%2Fw%3F{rest}"));
        assert_eq!(append.shown, format!("postgresql://wr%40iter:…{rest}"));
        assert!(!format!("{append:?}").contains("p%2Fw"));
    }

    #[test]
    fn modes_that_displace_have_a_table_for_each_route() {
        let replace = run(Mode::Replace, Why::Scheduled);
        let shown = address("postgresql://u:p@h:1/d", None, "canary", &replace).shown;
        assert_eq!(shown, format!("postgresql://u:…@h:1/d/canary__{}?mode=replace", replace.route.id));
        let shown = address("postgresql://u:p@h:1/d", None, "canary", &run(Mode::Replace, Why::Verify)).shown;
        assert!(shown.contains("__verify?mode=replace"), "{shown}");
        let shown = address("postgresql://u:p@h:1/d", None, "canary", &run(Mode::Update, Why::Scheduled)).shown;
        assert!(shown.ends_with("?mode=update&unique=row_no"), "{shown}");
    }

    #[test]
    fn urls_that_cannot_work_are_refused_without_repeating_them() {
        for url in [
            "",
            "hunter2",
            "mysql://u:hunter2@h/d",
            "postgresql://h/hunter2",
            "postgresql://u:hunter2@h",
            "postgresql://u:hunter2@h/",
            "postgresql://u:hunter2@h/d/t",
            "postgresql://u:hunter2@/d",
            "postgresql://u:hunter2@h:port/d",
            "postgresql://u:hunter2@h/d?sslmode=hunter2",
            "postgresql://u:hunter2@h/d?password=hunter2",
        ] {
            let error = Place::new(&Secret::new(url), &Wire::default()).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Outlet::new(&Secret::new("postgresql://u:p@h/d?mode=append")).is_err());
    }

    #[test]
    fn a_place_shows_no_password() {
        let url = Secret::new("postgresql://u:hunter2@[::1]:5433/d?sslmode=verify-full");
        let place = Place::new(&url, &Wire::default()).expect("valid");
        assert_eq!(format!("{place:?}"), "::1:5433/d");
        let socket = Secret::new("postgresql://u@localhost/d?host=/run/postgresql");
        assert!(Place::new(&socket, &Wire::default()).is_ok());
    }

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        let tables = Tables::new(Some("s\"; DROP SCHEMA x; --"), "t\"\"'").expect("strange, but a name");
        assert_eq!(tables.quoted(tables.name()), "\"s\"\"; DROP SCHEMA x; --\".\"t\"\"\"\"'\"");
        for name in ["", "a/b", "a\0", "a\nb", &"x".repeat(38)] {
            assert_eq!(Tables::new(None, name).expect_err(name), PlaceError::Table);
        }
    }
}

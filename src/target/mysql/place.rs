//! Places: which server the agent reads, and which tables it reads there.

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::{
    canary::{Run, Secret, Why},
    http::Wire,
    target::shell,
};

/// What a URL looks like, for hints.
pub(super) const SHAPE: &str = "write mysql://USER:PASSWORD@HOST:PORT/DATABASE";

/// Names have at most 64 characters there; `__`, 16 digits and `__verify` may follow.
const LONGEST: usize = 64 - "__0123456789abcdef__verify".len();

/// Why a place cannot be one. Never repeats the URL, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not a URL at all.
    #[error("is not a URL: {0}")]
    NotAUrl(String),
    /// A URL of something else.
    #[error("is not a mysql:// URL")]
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
    #[error(
        "`table` is not a table's name: 1 to {LONGEST} characters of those that MySQL takes, no `/`, no control \
         characters, no space at the end"
    )]
    Table,
}

/// A URL checked for what both sides need.
pub(super) fn parsed(url: &Secret) -> Result<Url, PlaceError> {
    let url = Url::parse(url.reveal().trim()).map_err(|error| PlaceError::NotAUrl(error.to_string()))?;
    if url.scheme() != "mysql" {
        return Err(PlaceError::Scheme);
    }
    if url.username().is_empty() {
        return Err(PlaceError::Missing("user"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(PlaceError::Missing("host"));
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
    options: MySqlConnectOptions,
    shown: String,
}

impl Place {
    /// From `mysql://user:password@host:port/database`, with `ssl-mode`, `ssl-ca` and `socket` as
    /// options. Nothing comes from the environment.
    pub fn new(url: &Secret, wire: &Wire) -> Result<Self, PlaceError> {
        let url = parsed(url)?;
        let host = decoded(url.host_str().unwrap_or_default());
        let host = host.trim_matches(['[', ']']);
        let (port, database) = (url.port().unwrap_or(3306), decoded(url.path().trim_start_matches('/')));
        let mut options = MySqlConnectOptions::new()
            .host(host)
            .port(port)
            .username(&decoded(url.username()))
            .database(&database)
            .ssl_mode(MySqlSslMode::Preferred)
            // What a session needs is set before each errand: see `session`.
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .set_names(false)
            // Poolers in between give each statement another connection: nothing can be kept.
            .statement_cache_capacity(0);
        // An empty password is none: its hash is not what a server expects.
        if let Some(password) = url.password().filter(|password| !password.is_empty()) {
            options = options.password(&decoded(password));
        }
        if let Some(bundle) = &wire.ca_bundle {
            options = options.ssl_ca(bundle);
        }
        for (key, value) in url.query_pairs() {
            options = match &*key {
                "ssl-mode" | "sslmode" => {
                    let mode = value.replace('-', "_").parse().map_err(|_| PlaceError::Value("ssl-mode"))?;
                    options.ssl_mode(mode)
                }
                "ssl" if value == "true" => options.ssl_mode(MySqlSslMode::Required),
                "ssl" if value == "false" => options.ssl_mode(MySqlSslMode::Disabled),
                "ssl" => return Err(PlaceError::Value("ssl")),
                "ssl-ca" => options.ssl_ca(&*value),
                "socket" if value.starts_with('/') => options.socket(&*value),
                "socket" => return Err(PlaceError::Value("socket")),
                other => return Err(PlaceError::Option(other.chars().take(40).collect())),
            };
        }
        Ok(Self { options, shown: format!("{host}:{port}/{database}") })
    }

    /// How to connect.
    pub(super) fn options(&self) -> &MySqlConnectOptions {
        &self.options
    }

    /// What a person types who wants to send it these statements. The client takes the password from
    /// `MYSQL_PWD`, or from its own file.
    pub(super) fn typed(&self, statements: &str) -> String {
        let options = &self.options;
        let (port, user) = (options.get_port().to_string(), options.get_username());
        let database = options.get_database().unwrap_or_default();
        let socket = options.get_socket().map(|path| path.to_string_lossy().into_owned());
        let way = match &socket {
            Some(path) => vec!["-S", path],
            None => vec!["-h", options.get_host(), "-P", &port],
        };
        let command = [&["mysql"], way.as_slice(), &["-u", user, "-t", "--default-character-set=utf8mb4", database]];
        shell::fed(&command.concat(), statements)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The tables of a target: one for `append`, one for each route that displaces, one for controls.
#[derive(Clone, Debug)]
pub struct Tables {
    name: String,
}

impl Tables {
    /// Tables around `name`.
    pub fn new(name: &str) -> Result<Self, PlaceError> {
        let strange = |c: char| c == '/' || c.is_control() || c > '\u{FFFF}';
        if !(1..=LONGEST).contains(&name.chars().count()) || name.chars().any(strange) || name.ends_with(' ') {
            return Err(PlaceError::Table);
        }
        Ok(Self { name: name.to_owned() })
    }

    /// The name that everything begins with.
    pub(super) fn name(&self) -> &str {
        &self.name
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

    /// Whether a table that the server has is one that runs write to. `folds`: the server keeps names
    /// in lower case.
    pub(super) fn holds_runs(&self, table: &str, folds: bool) -> bool {
        let name = if folds { self.name.to_lowercase() } else { self.name.clone() };
        let Some(rest) = table.strip_prefix(&name) else { return false };
        let Some(rest) = rest.strip_prefix("__") else { return rest.is_empty() };
        let route = rest.strip_suffix("__verify").unwrap_or(rest);
        route.len() == 16 && route.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// A name for use in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_work_are_refused_without_repeating_them() {
        for url in [
            "",
            "hunter2",
            "postgresql://u:hunter2@h/d",
            "mysql://h/hunter2",
            "mysql://u:hunter2@h",
            "mysql://u:hunter2@h/",
            "mysql://u:hunter2@h/d/t",
            "mysql://u:hunter2@/d",
            "mysql://u:hunter2@h:port/d",
            "mysql://u:hunter2@h/d?ssl-mode=hunter2",
            "mysql://u:hunter2@h/d?ssl=hunter2",
            "mysql://u:hunter2@h/d?socket=hunter2",
            "mysql://u:hunter2@h/d?password=hunter2",
        ] {
            let error = Place::new(&Secret::new(url), &Wire::default()).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_place_shows_no_password() {
        let url = Secret::new("mysql://u:hunter2@[::1]:3307/d?ssl-mode=verify-identity");
        let place = Place::new(&url, &Wire::default()).expect("valid");
        assert_eq!(format!("{place:?}"), "::1:3307/d");
        let socket = Secret::new("mysql://u@localhost/d?socket=/run/mysqld/mysqld.sock&ssl-mode=DISABLED");
        assert!(Place::new(&socket, &Wire::default()).is_ok());
    }

    #[test]
    fn names_fit_the_server_and_are_quoted_whatever_is_in_them() {
        assert_eq!(quoted("t`; DROP TABLE x; --\""), "`t``; DROP TABLE x; --\"`");
        assert!(Tables::new(&"ü".repeat(LONGEST)).is_ok(), "characters count, not bytes");
        for name in ["", "a/b", "a\0", "a\nb", "a ", "\u{1F426}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(Tables::new(name).expect_err(name), PlaceError::Table);
        }
    }

    #[test]
    fn only_a_canarys_own_tables_hold_runs() {
        let tables = Tables::new("Canary").expect("a name");
        for ours in ["Canary", "Canary__0123456789abcdef", "Canary__0123456789abcdef__verify"] {
            assert!(tables.holds_runs(ours, false) && tables.holds_runs(&ours.to_lowercase(), true), "{ours}");
            assert!(!tables.holds_runs(&ours.to_lowercase(), false), "{ours}");
        }
        for other in ["Canary2", "Canary__", "Canary__control", "Canary__0123456789abcdeg", "Canary__verify", "xCanary"]
        {
            assert!(!tables.holds_runs(other, false), "{other}");
        }
    }
}

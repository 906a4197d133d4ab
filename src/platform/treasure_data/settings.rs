//! Settings of `[platform.NAME.treasure-data]`: the table as written, and the account as meant.

use std::{ops::Range, time::Duration};

use reqwest::{Url, header::HeaderValue};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, nearest},
};

/// Longest wait for one answer, unless the config says otherwise: job/show answers in well under a
/// second, and a call that takes this long is better asked again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The seed table's name, before its ending, unless the config says otherwise.
const SEED_TABLE: &str = "landfall_seed";

/// The table as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    endpoint: Spanned<String>,
    api_key: Spanned<SecretSource>,
    database: Spanned<String>,
    engine: Spanned<String>,
    priority: Option<Spanned<i64>>,
    pool: Option<Spanned<String>>,
    engine_version: Option<Spanned<String>>,
    seed_table: Option<Spanned<String>>,
    timeout: Option<Spanned<Length>>,
}

/// Which engine runs the queries: the job type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Hive.
    Hive,
    /// Presto.
    Presto,
    /// Trino.
    Trino,
}

impl Engine {
    const ALL: [Engine; 3] = [Engine::Hive, Engine::Presto, Engine::Trino];

    /// The name in config and in the API's paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Hive => "hive",
            Engine::Presto => "presto",
            Engine::Trino => "trino",
        }
    }
}

/// An account and how its jobs are issued. Everything in it has been checked.
#[derive(Clone, Debug)]
pub struct Account {
    pub(super) endpoint: Url,
    pub(super) api_key: Secret,
    pub(super) authorization: HeaderValue,
    pub(super) database: String,
    pub(super) engine: Engine,
    pub(super) priority: Option<i8>,
    pub(super) pool: Option<String>,
    pub(super) engine_version: Option<String>,
    pub(super) seed_table: String,
    pub(super) timeout: Duration,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct WrongSetting {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl WrongSetting {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl Account {
    /// An account with defaults for all that may be left out.
    pub fn new(endpoint: &str, api_key: Secret, database: &str, engine: Engine) -> Result<Self, WrongSetting> {
        Ok(Self {
            endpoint: checked_endpoint(endpoint)?,
            authorization: checked_key(&api_key)?,
            api_key,
            database: checked_name("database", database, 255)?,
            engine,
            priority: None,
            pool: None,
            engine_version: None,
            seed_table: SEED_TABLE.to_owned(),
            timeout: TIMEOUT,
        })
    }

    /// The longest wait for one answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// From the config. All that is wrong is said at once.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, Problems> {
        let table: Table = opening.section.decode()?;
        let mut checks = Checks { opening, problems: Problems::new() };
        let endpoint = checks.keep(&table.endpoint, |text| checked_endpoint(text));
        let key = checks.key(&table.api_key);
        let database = checks.keep(&table.database, |name| checked_name("database", name, 255));
        let engine = checks.keep(&table.engine, |name| checked_engine(name));
        let priority = table.priority.as_ref().and_then(|n| checks.keep(n, |n| checked_priority(*n)));
        let pool = table.pool.as_ref().and_then(|text| checks.keep(text, |text| checked_word("pool", text)));
        let engine_version = table
            .engine_version
            .as_ref()
            .and_then(|text| checks.keep(text, |text| checked_word("engine_version", text)));
        let seed_table = table.seed_table.as_ref().and_then(|name| checks.keep(name, |name| checked_seed_table(name)));
        let timeout = table.timeout.as_ref().and_then(|length| checks.keep(length, |length| checked_timeout(*length)));
        match (endpoint, key, database, engine) {
            (Some(endpoint), Some((api_key, authorization)), Some(database), Some(engine))
                if checks.problems.is_empty() =>
            {
                Ok(Self {
                    endpoint,
                    api_key,
                    authorization,
                    database,
                    engine,
                    priority,
                    pool,
                    engine_version,
                    seed_table: seed_table.unwrap_or_else(|| SEED_TABLE.to_owned()),
                    timeout: timeout.unwrap_or(TIMEOUT),
                })
            }
            _ => Err(checks.problems),
        }
    }
}

/// Collects what is wrong, so that one reading of the config finds all of it.
struct Checks<'a> {
    opening: &'a Opening<'a>,
    problems: Problems,
}

impl Checks<'_> {
    fn keep<T, U>(&mut self, value: &Spanned<T>, check: impl Fn(&T) -> Result<U, WrongSetting>) -> Option<U> {
        check(value.get_ref()).map_err(|wrong| self.note(value.span(), wrong)).ok()
    }

    fn key(&mut self, source: &Spanned<SecretSource>) -> Option<(Secret, HeaderValue)> {
        let key = self.opening.secret(source).map_err(|problem| self.problems.push(problem)).ok()?;
        let authorization = checked_key(&key).map_err(|wrong| self.note(source.span(), wrong)).ok()?;
        Some((key, authorization))
    }

    fn note(&mut self, at: Range<usize>, wrong: WrongSetting) {
        self.problems.push(self.opening.section.problem(at, wrong.what, Some(wrong.hint)));
    }
}

fn checked_endpoint(text: &str) -> Result<Url, WrongSetting> {
    let hint = "write the API's address, such as \"https://api.treasuredata.com\"";
    // The text itself is not repeated: it may have a key in it.
    let url = Url::parse(text).map_err(|error| WrongSetting::new(format!("`endpoint` is not a URL: {error}"), hint))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(WrongSetting::new("`endpoint` is not an http or https URL", hint));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WrongSetting::new(
            "`endpoint` has a user or password in it",
            "leave it out, and name the key's place in `api_key`",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(WrongSetting::new("`endpoint` has a query or fragment", hint));
    }
    Ok(url)
}

fn checked_key(key: &Secret) -> Result<HeaderValue, WrongSetting> {
    let wrong =
        |what: &str| WrongSetting::new(what, "write the key alone on one line: a number, a slash and 40 hex digits");
    let text = key.reveal();
    if text.is_empty() {
        return Err(wrong("the API key is empty"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the API key has spaces, line breaks or letters that keys do not have"));
    }
    let mut value = HeaderValue::from_str(&format!("TD1 {text}")).map_err(|_| wrong("the API key cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn checked_engine(name: &str) -> Result<Engine, WrongSetting> {
    let engine = Engine::ALL.into_iter().find(|engine| engine.as_str() == name);
    engine.ok_or_else(|| {
        let hint = match nearest(name, Engine::ALL.map(Engine::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "engines are hive, presto and trino".to_owned(),
        };
        WrongSetting::new(format!("unknown engine `{}`", brief(name)), hint)
    })
}

fn checked_priority(priority: i64) -> Result<i8, WrongSetting> {
    match i8::try_from(priority) {
        Ok(priority @ -2..=2) => Ok(priority),
        _ => Err(WrongSetting::new(
            format!("`priority = {priority}` is out of range"),
            "write -2 (very low) to 2 (very high)",
        )),
    }
}

fn checked_timeout(Length(timeout): Length) -> Result<Duration, WrongSetting> {
    if timeout.is_zero() {
        return Err(WrongSetting::new("`timeout` of nothing lets no answer come", "write \"30s\""));
    }
    Ok(timeout)
}

/// Names of databases and tables.
fn checked_name(what: &str, name: &str, longest: usize) -> Result<String, WrongSetting> {
    let hint = || format!("write 3 to {longest} lower-case letters, digits and `_`");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(3..=longest).contains(&name.len()) || !name.chars().all(fits) {
        return Err(WrongSetting::new(format!("`{}` cannot be the name of a {what}", brief(name)), hint()));
    }
    Ok(name.to_owned())
}

/// The seed table's name stands unquoted in queries, since engines quote differently, and gets an
/// ending of its own.
fn checked_seed_table(name: &str) -> Result<String, WrongSetting> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(WrongSetting::new(
            format!("`{}` starts with a digit, which queries do not take", brief(name)),
            "start it with a letter",
        ));
    }
    checked_name("table", name, 100)
}

fn checked_word(what: &str, text: &str) -> Result<String, WrongSetting> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(WrongSetting::new(
            format!("`{what}` is empty, too long or has control characters"),
            "leave it out for the account's default",
        ));
    }
    Ok(text.to_owned())
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_http_urls_without_secrets() {
        for good in [
            "https://api.treasuredata.com",
            "https://api.treasuredata.co.jp/",
            "http://127.0.0.1:9440",
            "http://[::1]:80/td",
        ] {
            assert!(checked_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "api.treasuredata.com",
            "ftp://api.treasuredata.com",
            "https://key@api.treasuredata.com",
            "https://:key@api.treasuredata.com",
            "https://api.treasuredata.com/?apikey=key",
            "https://api.treasuredata.com/#key",
        ] {
            let wrong = checked_endpoint(bad).expect_err(bad);
            assert!(!wrong.what.contains("key"), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_without_being_shown() {
        assert!(checked_key(&Secret::new("1/0123456789abcdef0123456789abcdef01234567")).is_ok());
        for bad in ["", "two words", "line\nbreak", "kéy"] {
            let wrong = checked_key(&Secret::new(bad)).expect_err(bad);
            assert!(bad.is_empty() || !wrong.what.contains(bad), "{wrong}");
        }
        let value = checked_key(&Secret::new("1/0123")).expect("valid");
        assert!(!format!("{value:?}").contains("0123"));
    }

    #[test]
    fn names_are_what_the_api_takes() {
        for good in ["landfall", "a_1", "123"] {
            assert!(checked_name("database", good, 255).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Landfall", "land-fall", "land fall", "x; DROP", &"x".repeat(256)] {
            assert!(checked_name("database", bad, 255).is_err(), "{bad}");
        }
        assert!(checked_seed_table("1seed").is_err());
    }

    #[test]
    fn priorities_engines_and_timeouts_are_checked() {
        assert!((-2..=2).all(|priority| checked_priority(priority).is_ok()));
        assert!([-3, 3, 258, i64::MAX].into_iter().all(|priority| checked_priority(priority).is_err()));
        assert_eq!(checked_engine("trino"), Ok(Engine::Trino));
        assert!(checked_engine("Hive").is_err());
        assert!(checked_timeout(Length(TIMEOUT)).is_ok() && checked_timeout(Length(Duration::ZERO)).is_err());
    }
}

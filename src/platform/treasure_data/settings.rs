//! Settings of `[platform.NAME.treasure-data]`: the table as written, and the account as meant.

use std::{ops::Range, time::Duration};

use reqwest::{Url, header::HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order, nearest},
    treasure_data_api::{
        Engine, NAME, WrongSetting, brief, checked_endpoint, checked_key, checked_name, checked_priority, checked_word,
    },
};

/// Longest wait for one answer, unless the config says otherwise: job/show answers in well under a
/// second, and a call that takes this long is better asked again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The seed table's name, before its ending, unless the config says otherwise.
const SEED_TABLE: &str = "landfall_seed";

/// An account of Treasure Data, and the engine that its jobs run on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Table {
    /// The API's address: `https://api.treasuredata.com` or that of another region.
    endpoint: Spanned<String>,
    /// A master key: a small table is made and queried.
    api_key: Spanned<SecretSource>,
    /// Holds the canaries' seed table; made if it is not there.
    #[schemars(extend("pattern" = NAME))]
    database: Spanned<String>,
    /// Which engine runs the queries.
    #[schemars(extend("enum" = Engine::ALL.map(Engine::as_str)))]
    engine: Spanned<String>,
    /// Of the jobs: -2 very low to 2 very high.
    #[schemars(range(min = -2, max = 2))]
    priority: Option<Spanned<i64>>,
    /// Resource pool of the jobs.
    #[schemars(length(min = 1))]
    pool: Option<Spanned<String>>,
    /// Version of the engine, to pin the old or the new one while two run side by side.
    #[schemars(length(min = 1))]
    engine_version: Option<Spanned<String>>,
    /// The seed table's name, before its ending.
    #[schemars(extend("default" = SEED_TABLE, "pattern" = NAME))]
    seed_table: Option<Spanned<String>>,
    /// Longest wait for one answer.
    #[schemars(extend("default" = Length(TIMEOUT), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
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

fn checked_timeout(Length(timeout): Length) -> Result<Duration, WrongSetting> {
    if timeout.is_zero() {
        return Err(WrongSetting::new("`timeout` of nothing lets no answer come", "write \"30s\""));
    }
    Ok(timeout)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_tables_engines_and_timeouts_are_checked() {
        assert!(checked_seed_table("landfall_seed").is_ok() && checked_seed_table("1seed").is_err());
        assert_eq!(checked_engine("trino"), Ok(Engine::Trino));
        assert!(checked_engine("Hive").is_err());
        assert!(checked_timeout(Length(TIMEOUT)).is_ok() && checked_timeout(Length(Duration::ZERO)).is_err());
    }
}

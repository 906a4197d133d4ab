//! Settings of `[target.NAME.treasure-data-table]`: the table as written, and as meant.

use std::{ops::Range, time::Duration};

use reqwest::{Url, header::HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Control;
use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order},
    treasure_data_api::{
        Engine, NAME, WrongSetting, brief, checked_endpoint, checked_key, checked_name, checked_priority, checked_word,
    },
};

/// Longest wait for a reading job: Presto answers in seconds, Hive in half a minute, a busy cluster later.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A job needs some time.
const LEAST_TIMEOUT: Duration = Duration::from_secs(5);
/// A look that takes longer sees too little of the time between objective and deadline.
const MOST_TIMEOUT: Duration = Duration::from_secs(120);
/// Names have at most 255 bytes; `__`, 16 digits and `__verify` may follow.
const LONGEST_TABLE: usize = 255 - "__0123456789abcdef__verify".len();

/// A table of Treasure Data, which is read by jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Keys {
    /// The API's address.
    endpoint: Spanned<String>,
    /// A key of the account that holds the table.
    api_key: Spanned<SecretSource>,
    /// How the platform gets in, if it is of another account.
    result_api_key: Option<Spanned<SecretSource>>,
    /// The table's database.
    #[schemars(extend("pattern" = NAME))]
    database: Spanned<String>,
    /// The canary's own table.
    #[schemars(extend("pattern" = NAME))]
    table: Spanned<String>,
    /// Which engine reads: another than the one that writes.
    engine: Engine,
    /// How the agent proves that it can see.
    #[schemars(extend("default" = Control::DEFAULT))]
    control: Option<Control>,
    /// Of the reading jobs: -2 very low to 2 very high.
    #[schemars(range(min = -2, max = 2))]
    priority: Option<Spanned<i64>>,
    /// Resource pool of the reading jobs.
    #[schemars(length(min = 1))]
    pool: Option<Spanned<String>>,
    /// Longest wait for a reading job, from 5s to 2m.
    #[schemars(extend("default" = Length(TIMEOUT), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
}

/// What the driver is told. Everything in it has been checked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Url,
    pub(super) api_key: Secret,
    pub(super) authorization: HeaderValue,
    /// How a platform of another account gets in.
    pub(super) result_api_key: Option<Secret>,
    pub(super) database: String,
    pub(super) table: String,
    pub(super) engine: Engine,
    pub(super) control: Control,
    pub(super) priority: Option<i8>,
    pub(super) pool: Option<String>,
    pub(super) timeout: Duration,
}

impl Settings {
    /// From the config. All that is wrong is said at once.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, Problems> {
        let keys: Keys = opening.section.decode()?;
        let mut checks = Checks { opening, problems: Problems::new() };
        let endpoint = checks.keep(&keys.endpoint, |text| checked_endpoint(text));
        let key = checks.key(&keys.api_key);
        let result_key = keys.result_api_key.as_ref().and_then(|source| checks.key(source));
        let database = checks.keep(&keys.database, |name| checked_name("database", name, 255));
        let table = checks.keep(&keys.table, |name| checked_table(name));
        let priority = keys.priority.as_ref().and_then(|n| checks.keep(n, |n| checked_priority(*n)));
        let pool = keys.pool.as_ref().and_then(|text| checks.keep(text, |text| checked_word("pool", text)));
        let timeout = keys.timeout.as_ref().and_then(|length| checks.keep(length, |length| checked_timeout(*length)));
        match (endpoint, key, database, table) {
            (Some(endpoint), Some((api_key, authorization)), Some(database), Some(table))
                if checks.problems.is_empty() =>
            {
                Ok(Self {
                    endpoint,
                    api_key,
                    authorization,
                    result_api_key: result_key.map(|(key, _)| key),
                    database,
                    table,
                    engine: keys.engine,
                    control: keys.control.unwrap_or(Control::DEFAULT),
                    priority,
                    pool,
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

/// The name stands unquoted in queries, since engines quote differently, and gets endings.
fn checked_table(name: &str) -> Result<String, WrongSetting> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let what = format!("`{}` starts with a digit, which queries do not take", brief(name));
        return Err(WrongSetting::new(what, "start it with a letter"));
    }
    checked_name("table", name, LONGEST_TABLE)
}

fn checked_timeout(Length(timeout): Length) -> Result<Duration, WrongSetting> {
    if !(LEAST_TIMEOUT..=MOST_TIMEOUT).contains(&timeout) {
        return Err(WrongSetting::new("`timeout` is out of bounds", "write \"5s\" to \"2m\": a read is a job"));
    }
    Ok(timeout)
}

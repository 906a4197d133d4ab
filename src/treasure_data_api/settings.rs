//! Settings that every user of the API has: endpoint, key, names, engine. What is wrong comes with what
//! would be right.

use reqwest::{Url, header::HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{canary::Secret, http::is_private};

/// Which engine runs the queries: the job type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Hive.
    Hive,
    /// Presto.
    Presto,
    /// Trino.
    Trino,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 3] = [Engine::Hive, Engine::Presto, Engine::Trino];

    /// The name in config and in the API's paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Hive => "hive",
            Engine::Presto => "presto",
            Engine::Trino => "trino",
        }
    }
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
    /// What is wrong, and what would be right.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The API's address.
pub fn checked_endpoint(text: &str) -> Result<Url, WrongSetting> {
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
    if !is_private(&url) {
        return Err(WrongSetting::new("the API key would be sent in the clear", "write an https `endpoint`"));
    }
    Ok(url)
}

/// The header that a key is sent in.
pub fn checked_key(key: &Secret) -> Result<HeaderValue, WrongSetting> {
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

/// What names of databases and tables are made of, for schemas.
pub const NAME: &str = "^[a-z0-9_]{3,255}$";

/// Names of databases and tables.
pub fn checked_name(what: &str, name: &str, longest: usize) -> Result<String, WrongSetting> {
    let hint = || format!("write 3 to {longest} lower-case letters, digits and `_`");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(3..=longest).contains(&name.len()) || !name.chars().all(fits) {
        return Err(WrongSetting::new(format!("`{}` cannot be the name of a {what}", brief(name)), hint()));
    }
    Ok(name.to_owned())
}

/// Names of pools and versions.
pub fn checked_word(what: &str, text: &str) -> Result<String, WrongSetting> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(WrongSetting::new(
            format!("`{what}` is empty, too long or has control characters"),
            "leave it out for the account's default",
        ));
    }
    Ok(text.to_owned())
}

/// Priorities of jobs.
pub fn checked_priority(priority: i64) -> Result<i8, WrongSetting> {
    match i8::try_from(priority) {
        Ok(priority @ -2..=2) => Ok(priority),
        _ => Err(WrongSetting::new(
            format!("`priority = {priority}` is out of range"),
            "write -2 (very low) to 2 (very high)",
        )),
    }
}

/// What is shown of a text that is wrong.
pub fn brief(text: &str) -> String {
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
    }

    #[test]
    fn priorities_are_checked() {
        assert!((-2..=2).all(|priority| checked_priority(priority).is_ok()));
        assert!([-3, 3, 258, i64::MAX].into_iter().all(|priority| checked_priority(priority).is_err()));
    }
}

//! FLOOR 1, the veil: takes secrets out of texts that the platform sent, before anyone keeps or shows them.
//!
//! Servers echo what they were given: a refused submit quotes the Result Output URL with its
//! password, a proxy quotes the Authorization header.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::canary::Secret;

/// Secrets of addresses kept at once. Each target has one or two; more come only when many
/// targets share an account.
const LEARNED: usize = 256;

/// What stands where a secret stood.
const MASK: &str = "…";

/// Shorter texts are no secrets, and masking them would make any text unreadable.
const SHORTEST: usize = 3;

/// The secrets this driver has handled.
#[derive(Debug)]
pub struct Veil {
    own: Vec<Secret>,
    learned: Mutex<VecDeque<Secret>>,
}

impl Veil {
    /// One that knows a driver's own secrets.
    pub fn new(own: impl IntoIterator<Item = Secret>) -> Self {
        let own = own.into_iter().filter(|secret| secret.reveal().len() >= SHORTEST).collect();
        Self { own, learned: Mutex::default() }
    }

    /// Remembers the secrets of an address that is about to be sent.
    pub fn learn(&self, address: &Secret) {
        let parts = secrets_of(address.reveal());
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            if part.len() >= SHORTEST && !learned.iter().any(|known| known.reveal() == part) {
                learned.push_back(Secret::new(part));
            }
        }
        while learned.len() > LEARNED {
            learned.pop_front();
        }
    }

    /// The text without secrets.
    pub fn over(&self, text: &str) -> String {
        // JSON writers may escape the slash, under which a URL would not be recognised.
        let mut text = text.replace("\\/", "/");
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<&str> = self.own.iter().chain(learned.iter()).map(Secret::reveal).collect();
        // Longest first: a secret that contains another must not be left in halves.
        known.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in known {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        without_credentials(&text)
    }
}

/// Parts of a Result Output address that are secret, as written and decoded.
fn secrets_of(address: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if let Ok(url) = Url::parse(address) {
        parts.extend(url.password().map(str::to_owned));
        // A key may stand as the user (`td://KEY@/…`); a plain user's name is short.
        parts.extend(Some(url.username()).filter(|user| user.len() >= 20).map(str::to_owned));
        parts.extend(url.query_pairs().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.into_owned()));
    } else if let Ok(serde_json::Value::Object(settings)) = serde_json::from_str(address) {
        let secret = settings.iter().filter(|(name, _)| is_secret(name));
        parts.extend(secret.filter_map(|(_, value)| value.as_str().map(str::to_owned)));
    }
    // What the URL parser makes of a password may differ from what was written: it encodes.
    if let Some((_, rest)) = address.split_once("://")
        && let Some((user_info, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = user_info.split_once(':')
    {
        parts.push(password.to_owned());
    }
    let decoded: Vec<String> =
        parts.iter().filter_map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned())).collect();
    parts.extend(decoded);
    parts
}

/// Cuts a text from outside to what errors and evidence keep.
pub fn cut(text: &str) -> String {
    text.chars().take(500).collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "key", "token", "credential"].iter().any(|word| name.contains(word))
}

/// Masks user, password and query of every URL in a text, known or not: after a restart the driver
/// has not learned the addresses of the jobs that it still follows.
fn without_credentials(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        kept.push_str(before);
        kept.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>')).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        let place = match url.rsplit_once('@') {
            Some((_, place)) => {
                kept.push_str(MASK);
                kept.push('@');
                place
            }
            None => url,
        };
        match place.split_once('?') {
            Some((path, _)) => {
                kept.push_str(path);
                kept.push('?');
                kept.push_str(MASK);
            }
            None => kept.push_str(place),
        }
        rest = behind;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "12/0123456789abcdef0123456789abcdef01234567";

    fn veil() -> Veil {
        // `account/digits`: the digits are the secret, however the slash is written.
        Veil::new([KEY, &KEY[3..]].map(Secret::new))
    }

    #[test]
    fn the_key_is_hidden_however_it_is_echoed() {
        for echo in
            [format!("TD1 {KEY}"), format!("key={KEY};"), KEY.replace('/', "%2F"), KEY.replace('/', "\\/"), KEY.into()]
        {
            let hidden = veil().over(&format!("wrong: {echo}"));
            assert!(!hidden.contains("0123456789abcdef"), "{hidden}");
            assert!(hidden.starts_with("wrong: "), "{hidden}");
        }
    }

    #[test]
    fn credentials_in_any_url_are_hidden_and_the_place_stays() {
        for (text, hidden) in [
            ("cannot reach postgresql://u:pw@db:5432/d/t now", "cannot reach postgresql://…@db:5432/d/t now"),
            ("s3://AK:a/b+c@/bucket/path", "s3://…@/bucket/path"),
            ("\"td://KEY@/db/t?mode=replace\"", "\"td://…@/db/t?…\""),
            ("two web://a:b@c/d and https://e/f", "two web://…@c/d and https://e/f"),
            ("p@ss://x", "p@ss://x"),
            ("no url at all", "no url at all"),
            ("://", "://"),
        ] {
            assert_eq!(veil().over(text), hidden);
        }
    }

    #[test]
    fn a_learned_password_is_hidden_outside_of_urls_too() {
        let veil = veil();
        for address in [
            "postgresql://writer:hunter%202@db/d/t",
            "td://api.example.com/db/t?apikey=abcdefgh&mode=append",
            r#"{"type":"tableau","host":"h","password":"tableau-pass"}"#,
            "mysql://u:tableau@db/d/t",
            "mysql://u:raw'quote@db/d/t",
        ] {
            veil.learn(&Secret::new(address));
        }
        let text = "FATAL: hunter 2, hunter%202, abcdefgh, tableau-pass, raw'quote";
        assert_eq!(veil.over(text), "FATAL: …, …, …, …, …");
    }

    #[test]
    fn what_is_learned_is_bounded() {
        let veil = veil();
        (0..2 * LEARNED).for_each(|n| veil.learn(&Secret::new(format!("web://user:password-{n}@host/"))));
        assert_eq!(veil.learned.lock().expect("not poisoned").len(), LEARNED);
        assert_eq!(veil.over(&format!("password-{}", 2 * LEARNED - 1)), MASK);
    }
}

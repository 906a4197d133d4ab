//! Posting: one way to hand JSON to a receiver over HTTP, and what its answers mean.

use std::{fmt, time::Duration};

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value as Json;

use super::{NotifyError, text};
use crate::{canary::Secret, http};

/// What is read of an answer: enough for its reasons.
const LARGEST: usize = 64 * 1024;
/// Reasons are waited for this long; the status has said what matters.
const REASONS_WITHIN: Duration = Duration::from_secs(2);
/// Shorter texts are no secrets, and masking them would make any text unreadable.
const SHORTEST_SECRET: usize = 4;
/// Shorter parts of an address are words.
const SHORTEST_TOKEN: usize = 8;
/// Longest reason that is kept.
const REASON: usize = 500;

/// An address that JSON is posted to.
#[derive(Clone)]
pub(super) struct Door {
    client: Client,
    url: Url,
    /// Taken out of whatever it answers: servers quote what they were given.
    secrets: Vec<Secret>,
}

impl fmt::Debug for Door {
    /// Without path and query: the addresses of many receivers are their password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl Door {
    /// `secrets`: what else is sent that nobody may read.
    pub(super) fn new(client: Client, url: Url, secrets: impl IntoIterator<Item = Secret>) -> Self {
        let given = secrets.into_iter().filter(|secret| secret.reveal().len() >= SHORTEST_SECRET);
        let segments = url.path_segments().into_iter().flatten().map(Secret::new);
        let query = url.query_pairs().map(|(_, value)| Secret::new(value.as_ref()));
        let tokens = segments.chain(query).chain(url.query().map(Secret::new));
        let tokens = tokens.filter(|token| token.reveal().len() >= SHORTEST_TOKEN);
        let mut secrets: Vec<Secret> = given.chain(tokens).collect();
        // Longest first: a secret that contains another must not be left in halves.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self { client, url, secrets }
    }

    /// The whole address, for digests alone: it may be a password.
    pub(super) fn address(&self) -> &str {
        self.url.as_str()
    }

    /// Posts once. `takes`: statuses by which this receiver says that it took it.
    pub(super) async fn post(
        &self,
        body: Vec<u8>,
        headers: HeaderMap,
        takes: fn(StatusCode) -> bool,
    ) -> Result<(), NotifyError> {
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = request
            .send()
            .await
            .map_err(|error| NotifyError::Unreachable { detail: self.shown(&http::chain(error)) })?;
        let status = answer.status();
        if takes(status) {
            return Ok(());
        }
        let retry_after = http::retry_after(answer.headers());
        if status.is_redirection() {
            let detail = format!("it answers {}, and redirects are not followed", status.as_u16());
            return Err(NotifyError::Refused { detail });
        }
        let bytes = tokio::time::timeout(REASONS_WITHIN, http::body(answer, LARGEST)).await;
        let bytes = bytes.ok().and_then(Result::ok).unwrap_or_default();
        let detail = self.shown(&explained(status, &bytes));
        Err(match status.as_u16() {
            408 | 425 | 429 | 500..=599 => NotifyError::Busy { detail, retry_after },
            400..=499 => NotifyError::Refused { detail },
            // Whoever answers so is somebody else: a gate on the way, a page for people.
            _ => NotifyError::Unreachable { detail: format!("{detail}, which is not an answer of this receiver") },
        })
    }

    /// A text from outside as it may be kept.
    fn shown(&self, text: &str) -> String {
        // JSON writers may escape the slash, under which an address would not be recognised.
        let mut text = text.replace("\\/", "/");
        for secret in &self.secrets {
            text = text.replace(secret.reveal(), "…");
        }
        text::cut(&text, REASON)
    }
}

/// Any 2xx.
pub(super) fn any_success(status: StatusCode) -> bool {
    status.is_success()
}

/// A header's value that is never printed.
pub(super) fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Headers as one text, whatever order they came in, for digests alone.
pub(super) fn told_apart(headers: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\n", value.as_bytes().escape_ascii());
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort_unstable();
    lines.concat()
}

/// Status and the server's own words for it.
fn explained(status: StatusCode, bytes: &[u8]) -> String {
    let words = match serde_json::from_slice::<Json>(bytes) {
        Ok(json) => in_json(&json),
        Err(_) => {
            // A line of text helps; a page of HTML does not.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            line.filter(|line| !line.starts_with('<')).map(str::to_owned)
        }
    };
    match words {
        Some(words) => format!("{}: {words}", status.as_u16()),
        None => status.to_string(),
    }
}

/// `message` or `error` and all `errors`, or a bare string.
fn in_json(json: &Json) -> Option<String> {
    let mut words: Vec<&str> = ["message", "error", "detail"].iter().filter_map(|name| json[name].as_str()).collect();
    words.truncate(1);
    words.extend(json["errors"].as_array().into_iter().flatten().filter_map(Json::as_str).take(5));
    words.extend(json.as_str());
    words.retain(|words| !words.trim().is_empty());
    (!words.is_empty()).then(|| words.join("; "))
}

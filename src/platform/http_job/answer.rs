//! Answers: what the status of one means, and the JSON in it. Everything in it is hostile.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value as Json;

use crate::{
    http::{self, BodyError},
    platform::PlatformError,
    veil::{Veil, cut},
};

/// Longest answer that is read: an answer about one job has some kilobytes.
const LARGEST: usize = 1 << 20;

/// An answer that callers tell apart. All else is an error with one meaning for every call.
#[derive(Debug)]
pub(super) enum Reply {
    /// 2xx; the JSON if there is any.
    Done(Option<Json>),
    /// 404, from the API itself.
    Missing(String),
    /// 409: it conflicts with something.
    Conflict(String, Option<Json>),
    /// 5xx or 408: it answers, and perhaps it did.
    Broken(String),
}

impl Reply {
    /// The JSON of an answer to a question.
    pub(super) fn json(self) -> Result<Json, PlatformError> {
        match self {
            Reply::Done(Some(json)) => Ok(json),
            Reply::Done(None) => Err(PlatformError::Nonsense { detail: "an answer that is no JSON".to_owned() }),
            Reply::Missing(_) => Err(PlatformError::NotFound),
            Reply::Conflict(detail, _) => Err(PlatformError::Refused { detail }),
            Reply::Broken(detail) => Err(PlatformError::Broken { detail }),
        }
    }
}

/// No answer. Only a connection that never stood proves that nothing arrived.
pub(super) fn unheard(veil: &Veil, error: reqwest::Error) -> PlatformError {
    let never_arrived = error.is_connect() || error.is_builder();
    PlatformError::Unreachable { detail: shown(veil, &http::chain(error)), never_arrived }
}

/// A text from outside as it may be kept: no secrets, cut.
pub(super) fn shown(veil: &Veil, text: &str) -> String {
    cut(&veil.over(text))
}

/// Reads an answer.
pub(super) async fn understand(veil: &Veil, answer: Response) -> Result<Reply, PlatformError> {
    let status = answer.status();
    let pause: Option<Duration> = http::retry_after(answer.headers());
    if status.is_redirection() {
        let detail = format!("it answers {}, and redirects are not followed", status.as_u16());
        return Err(PlatformError::Nonsense { detail });
    }
    let bytes = match http::body(answer, LARGEST).await {
        Ok(bytes) => bytes,
        // What the status says holds, whatever becomes of the explanation.
        Err(_) if !status.is_success() => Vec::new(),
        Err(error @ BodyError::TooLarge(_)) => {
            return Err(PlatformError::Nonsense { detail: shown(veil, &error.to_string()) });
        }
        Err(error @ BodyError::Broken(_)) => {
            return Err(PlatformError::Unreachable { detail: shown(veil, &error.to_string()), never_arrived: false });
        }
    };
    // The reader of JSON stops at 128 levels, so that no answer can exhaust the stack.
    let json = serde_json::from_slice::<Json>(&bytes);
    let detail = || shown(veil, &explained(status, json.as_ref().ok(), &bytes));
    match status.as_u16() {
        200..=299 => match json {
            Ok(json) => Ok(Reply::Done(Some(json))),
            Err(_) if bytes.trim_ascii().is_empty() => Ok(Reply::Done(None)),
            Err(error) => {
                Err(PlatformError::Nonsense { detail: shown(veil, &format!("an answer that is no JSON: {error}")) })
            }
        },
        401 | 403 => Err(PlatformError::Denied { detail: detail() }),
        // Only the API itself can say that something is not there; a proxy that lost its way answers
        // 404 too, with a page for people.
        404 | 410 if json.is_err() && !bytes.is_empty() => {
            Err(PlatformError::Nonsense { detail: format!("{} with a body that is no JSON", status.as_u16()) })
        }
        404 | 410 => Ok(Reply::Missing(detail())),
        409 => {
            let detail = detail();
            Ok(Reply::Conflict(detail, json.ok()))
        }
        429 => Err(PlatformError::Throttled { retry_after: pause }),
        408 | 500..=599 => Ok(Reply::Broken(detail())),
        400..=499 => Err(PlatformError::Refused { detail: detail() }),
        _ => Err(PlatformError::Nonsense { detail: format!("it answers {}", status.as_u16()) }),
    }
}

/// Status and the server's own words for it.
fn explained(status: StatusCode, json: Option<&Json>, bytes: &[u8]) -> String {
    let words = match json {
        Some(Json::String(text)) => Some(text.clone()),
        Some(json) => ["message", "error", "detail", "title", "reason"]
            .iter()
            .filter_map(|name| json.get(name))
            .map(|words| words.as_str().map_or_else(|| words.to_string(), str::to_owned))
            .find(|words| !words.trim().is_empty()),
        None => {
            // A line of text helps; a page of HTML does not.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            line.filter(|line| !line.starts_with('<')).map(str::to_owned)
        }
    };
    match words {
        Some(words) => format!("{}: {}", status.as_u16(), words.trim()),
        None => status.to_string(),
    }
}

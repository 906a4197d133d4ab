//! One call of the REST API: how it is sent, and what its answer means.

use std::time::Duration;

use reqwest::{
    Client, Method, Response, Url,
    header::{self, HeaderValue},
};
use serde_json::Value as Json;

use super::veil::Veil;
use crate::{
    canary::Timestamp,
    http::{self, BodyError},
    platform::{PlatformError, cut},
};

/// Longest answer read. A job's log is the only large thing in one, and only its end is wanted.
const LARGEST: usize = 4 << 20;

/// What is sent with a call.
pub(super) enum Load<'a> {
    Nothing,
    Form(&'a [(&'a str, &'a str)]),
    Bytes(Vec<u8>),
}

/// An answer that callers tell apart. All else is an error with one meaning for every call.
#[derive(Debug)]
pub(super) enum Reply {
    /// 2xx.
    Done(Answer),
    /// 404, in the API's own words.
    Missing(String),
    /// 409, and what it conflicts with.
    Conflict { detail: String, with: Json },
}

/// What a 2xx said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: Json,
    /// The server's clock when it answered, if it says.
    pub(super) at: Option<Timestamp>,
}

impl Reply {
    /// For calls where nothing but 2xx makes sense.
    pub(super) fn done(self) -> Result<Answer, PlatformError> {
        match self {
            Reply::Done(answer) => Ok(answer),
            Reply::Missing(detail) | Reply::Conflict { detail, .. } => Err(PlatformError::Refused { detail }),
        }
    }
}

/// The API of one account.
pub(super) struct Api {
    client: Client,
    endpoint: Url,
    authorization: HeaderValue,
    timeout: Duration,
    pub(super) veil: Veil,
}

impl Api {
    pub(super) fn new(
        client: Client,
        endpoint: Url,
        authorization: HeaderValue,
        timeout: Duration,
        veil: Veil,
    ) -> Self {
        Self { client, endpoint, authorization, timeout, veil }
    }

    pub(super) async fn get(&self, path: &[&str]) -> Result<Reply, PlatformError> {
        self.call(Method::GET, path, Load::Nothing).await
    }

    pub(super) async fn post(&self, path: &[&str], load: Load<'_>) -> Result<Reply, PlatformError> {
        self.call(Method::POST, path, load).await
    }

    pub(super) async fn put(&self, path: &[&str], load: Load<'_>) -> Result<Reply, PlatformError> {
        self.call(Method::PUT, path, load).await
    }

    async fn call(&self, method: Method, path: &[&str], load: Load<'_>) -> Result<Reply, PlatformError> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut().expect("checked: an http URL has a path").pop_if_empty().push("v3").extend(path);
        let request = self.client.request(method.clone(), url).timeout(self.timeout);
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let request = match load {
            // Servers may insist on a length for everything but GET.
            Load::Nothing if method != Method::GET => request.header(header::CONTENT_LENGTH, 0).body(""),
            Load::Nothing => request,
            Load::Form(pairs) => request.form(pairs),
            Load::Bytes(bytes) => request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes),
        };
        let answer = request.send().await.map_err(|error| self.unheard(error))?;
        self.understand(answer).await
    }

    /// No answer. Only a connection that never stood proves that nothing arrived.
    fn unheard(&self, error: reqwest::Error) -> PlatformError {
        let never_arrived = error.is_connect() || error.is_builder();
        PlatformError::Unreachable { detail: self.shown(&http::chain(error)), never_arrived }
    }

    async fn understand(&self, answer: Response) -> Result<Reply, PlatformError> {
        let status = answer.status();
        let (at, pause) = (http::sent_at(answer.headers()), http::retry_after(answer.headers()));
        if status.is_redirection() {
            let detail = format!("it answers {}, and redirects are not followed", status.as_u16());
            return Err(PlatformError::Nonsense { detail });
        }
        let bytes = match http::body(answer, LARGEST).await {
            Ok(bytes) => bytes,
            // What the status says holds, whatever becomes of the explanation.
            Err(_) if !status.is_success() => Vec::new(),
            Err(error @ BodyError::TooLarge(_)) => {
                return Err(PlatformError::Nonsense { detail: self.shown(&error.to_string()) });
            }
            Err(error @ BodyError::Broken(_)) => {
                return Err(PlatformError::Unreachable {
                    detail: self.shown(&error.to_string()),
                    never_arrived: false,
                });
            }
        };
        let json = serde_json::from_slice::<Json>(&bytes).ok().filter(Json::is_object);
        let detail = || self.shown(&explained(status, json.as_ref(), &bytes));
        match status.as_u16() {
            200..=299 => match json {
                Some(json) => Ok(Reply::Done(Answer { json, at })),
                None => Err(PlatformError::Nonsense { detail: format!("{status} with a body that is no JSON object") }),
            },
            401 | 403 => Err(PlatformError::Denied { detail: detail() }),
            // Only the API itself can say that something is not there; a proxy that lost its way
            // answers 404 too.
            404 if json.is_none() && !bytes.is_empty() => {
                Err(PlatformError::Nonsense { detail: "404 with a body that is no JSON object".to_owned() })
            }
            404 => Ok(Reply::Missing(detail())),
            409 => {
                let with = json.as_ref().map_or(Json::Null, |json| json["details"]["conflicts_with"].clone());
                Ok(Reply::Conflict { detail: detail(), with })
            }
            429 => Err(PlatformError::Throttled { retry_after: pause }),
            408 | 500..=599 => Err(PlatformError::Broken { detail: detail() }),
            400..=499 => Err(PlatformError::Refused { detail: detail() }),
            _ => Err(PlatformError::Nonsense { detail: format!("it answers {}", status.as_u16()) }),
        }
    }

    /// A text from outside as it may be kept: no secrets, cut.
    pub(super) fn shown(&self, text: &str) -> String {
        cut(&self.veil.over(text))
    }

    /// The end of a text from outside, where a log says why it stopped.
    pub(super) fn shown_end(&self, text: &str) -> String {
        let text = self.veil.over(text);
        let skip = text.chars().count().saturating_sub(500);
        text.chars().skip(skip).collect()
    }
}

/// Status and the server's own words for it.
fn explained(status: reqwest::StatusCode, json: Option<&Json>, bytes: &[u8]) -> String {
    let words = match json {
        Some(json) => ["message", "error", "text", "errorMessage"]
            .iter()
            .filter_map(|name| json[name].as_str())
            .find(|words| !words.trim().is_empty())
            .map(str::to_owned),
        None => {
            // A line of text helps; a page of HTML does not.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
            let line = text.lines().map(str::trim).find(|line| !line.is_empty());
            line.filter(|line| !line.starts_with('<')).map(str::to_owned)
        }
    };
    match words {
        Some(words) => format!("{}: {}", status.as_u16(), words.trim()),
        None => status.to_string(),
    }
}

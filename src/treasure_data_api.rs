//! FLOOR 2, Treasure Data's REST API v3: how a call is sent, and what its answer means. It stands below
//! the seams because a platform and a target speak it and may not import each other.

mod import;
mod job;
mod query;
mod settings;

use std::time::Duration;

use reqwest::{
    Client, Method, Response, Url,
    header::{self, HeaderValue},
};
use serde_json::Value as Json;

pub use self::{
    import::{hex, mapped, packed},
    job::{JobId, Report, Status, read_time},
    query::{Query, QueryError},
    settings::{
        Engine, NAME, WrongSetting, brief, checked_endpoint, checked_key, checked_name, checked_priority, checked_word,
    },
};
use crate::{
    canary::{Secret, Timestamp},
    http::{self, BodyError},
    veil::{Veil, cut},
};

/// Longest answer read. A job's log is the only large thing in one, and only its end is wanted.
const LARGEST: usize = 4 << 20;

/// Longest list read: each of its jobs comes with its query.
const LARGEST_LIST: usize = 16 << 20;

/// What is sent with a call.
pub enum Load<'a> {
    /// No body.
    Nothing,
    /// Fields, urlencoded.
    Form(&'a [(&'a str, &'a str)]),
    /// Rows, packed.
    Bytes(Vec<u8>),
}

/// Why a call has no answer that means anything. Details are at most 500 characters and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 401 or 403.
    #[error("access denied: {0}")]
    Denied(String),
    /// Any other answer that asking again will not change.
    #[error("refused: {0}")]
    Refused(String),
    /// 429.
    #[error("throttled")]
    Throttled(Option<Duration>),
    /// 5xx.
    #[error("broken: {0}")]
    Broken(String),
    /// No connection, or no answer in time.
    #[error("unreachable: {detail}")]
    Unreachable {
        /// Why.
        detail: String,
        /// The request certainly never reached it.
        never_arrived: bool,
    },
    /// An answer that makes no sense.
    #[error("nonsense: {0}")]
    Nonsense(String),
}

/// An answer that callers tell apart. All else is an error with one meaning for every call.
#[derive(Debug)]
pub enum Reply {
    /// 2xx.
    Done(Answer),
    /// 404, in the API's own words.
    Missing(String),
    /// 409, and what it conflicts with.
    Conflict {
        /// The API's own words.
        detail: String,
        /// The id of what is there already.
        with: Json,
    },
}

/// What a 2xx said.
#[derive(Debug)]
pub struct Answer {
    /// The object that it answered.
    pub json: Json,
    /// The server's clock when it answered, if it says.
    pub at: Option<Timestamp>,
}

impl Reply {
    /// For calls where nothing but 2xx makes sense.
    pub fn done(self) -> Result<Answer, ApiError> {
        match self {
            Reply::Done(answer) => Ok(answer),
            Reply::Missing(detail) | Reply::Conflict { detail, .. } => Err(ApiError::Refused(detail)),
        }
    }
}

/// The API of one account.
pub struct Api {
    client: Client,
    endpoint: Url,
    authorization: HeaderValue,
    timeout: Duration,
    veil: Veil,
}

impl Api {
    /// Touches no network. `timeout` is of one call.
    pub fn new(client: Client, endpoint: Url, key: &Secret, authorization: HeaderValue, timeout: Duration) -> Self {
        // `account/digits`: the digits are the secret, however the slash is written.
        let digits = key.reveal().rsplit('/').next().filter(|digits| digits.len() < key.reveal().len());
        let veil = Veil::new([Some(key.clone()), digits.map(Secret::new)].into_iter().flatten());
        Self { client, endpoint, authorization, timeout, veil }
    }

    /// Remembers the secrets of an address that is about to be sent.
    pub fn learn(&self, address: &Secret) {
        self.veil.learn(address);
    }

    /// Reads.
    pub async fn get(&self, path: &[&str]) -> Result<Reply, ApiError> {
        self.call(Method::GET, path, Load::Nothing).await
    }

    /// Reads what may be long. An answer that is too long makes no sense: ask for less.
    pub async fn list(&self, path: &[&str], asked: &[(&str, &str)]) -> Result<Reply, ApiError> {
        let mut url = self.url(path);
        if !asked.is_empty() {
            url.query_pairs_mut().extend_pairs(asked);
        }
        let request = self.client.get(url).timeout(self.timeout);
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let answer = request.send().await.map_err(|error| self.unheard(error))?;
        self.understand(answer, LARGEST_LIST).await
    }

    /// Where a call goes to.
    pub fn address(&self, path: &[&str]) -> Url {
        self.url(path)
    }

    /// Does.
    pub async fn post(&self, path: &[&str], load: Load<'_>) -> Result<Reply, ApiError> {
        self.call(Method::POST, path, load).await
    }

    /// Uploads.
    pub async fn put(&self, path: &[&str], load: Load<'_>) -> Result<Reply, ApiError> {
        self.call(Method::PUT, path, load).await
    }

    /// The rows of a finished job, one JSON array a line; at most `bound` bytes. None: it has none.
    pub async fn rows(&self, id: &JobId, bound: usize) -> Result<Option<Vec<u8>>, ApiError> {
        let mut url = self.url(&["job", "result", id.as_str()]);
        url.query_pairs_mut().append_pair("format", "json");
        let request = self.client.get(url).timeout(self.timeout);
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let answer = request.send().await.map_err(|error| self.unheard(error))?;
        if answer.status().is_success() {
            return http::body(answer, bound).await.map(Some).map_err(|error| self.unread(&error));
        }
        match self.understand(answer, LARGEST).await? {
            Reply::Missing(_) => Ok(None),
            reply => reply.done().map(|_| None),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut().expect("checked: an http URL has a path").pop_if_empty().push("v3").extend(path);
        url
    }

    async fn call(&self, method: Method, path: &[&str], load: Load<'_>) -> Result<Reply, ApiError> {
        let request = self.client.request(method.clone(), self.url(path)).timeout(self.timeout);
        let request = request.header(header::AUTHORIZATION, self.authorization.clone());
        let request = match load {
            // Servers may insist on a length for everything but GET.
            Load::Nothing if method != Method::GET => request.header(header::CONTENT_LENGTH, 0).body(""),
            Load::Nothing => request,
            Load::Form(pairs) => request.form(pairs),
            Load::Bytes(bytes) => request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes),
        };
        let answer = request.send().await.map_err(|error| self.unheard(error))?;
        self.understand(answer, LARGEST).await
    }

    /// No answer. Only a connection that never stood proves that nothing arrived.
    fn unheard(&self, error: reqwest::Error) -> ApiError {
        let never_arrived = error.is_connect() || error.is_builder();
        ApiError::Unreachable { detail: self.shown(&http::chain(error)), never_arrived }
    }

    fn unread(&self, error: &BodyError) -> ApiError {
        let detail = self.shown(&error.to_string());
        match error {
            BodyError::TooLarge(_) => ApiError::Nonsense(detail),
            BodyError::Broken(_) => ApiError::Unreachable { detail, never_arrived: false },
        }
    }

    async fn understand(&self, answer: Response, largest: usize) -> Result<Reply, ApiError> {
        let status = answer.status();
        let (at, pause) = (http::sent_at(answer.headers()), http::retry_after(answer.headers()));
        if status.is_redirection() {
            let detail = format!("it answers {}, and redirects are not followed", status.as_u16());
            return Err(ApiError::Nonsense(detail));
        }
        let bytes = match http::body(answer, largest).await {
            Ok(bytes) => bytes,
            // What the status says holds, whatever becomes of the explanation.
            Err(_) if !status.is_success() => Vec::new(),
            Err(error) => return Err(self.unread(&error)),
        };
        let json = serde_json::from_slice::<Json>(&bytes).ok().filter(Json::is_object);
        let detail = || self.shown(&explained(status, json.as_ref(), &bytes));
        match status.as_u16() {
            200..=299 => match json {
                Some(json) => Ok(Reply::Done(Answer { json, at })),
                None => Err(ApiError::Nonsense(format!("{status} with a body that is no JSON object"))),
            },
            401 | 403 => Err(ApiError::Denied(detail())),
            // Only the API itself can say that something is not there; a proxy that lost its way
            // answers 404 too.
            404 if json.is_none() && !bytes.is_empty() => {
                Err(ApiError::Nonsense("404 with a body that is no JSON object".to_owned()))
            }
            404 => Ok(Reply::Missing(detail())),
            409 => {
                let with = json.as_ref().map_or(Json::Null, |json| json["details"]["conflicts_with"].clone());
                Ok(Reply::Conflict { detail: detail(), with })
            }
            429 => Err(ApiError::Throttled(pause)),
            408 | 500..=599 => Err(ApiError::Broken(detail())),
            400..=499 => Err(ApiError::Refused(detail())),
            _ => Err(ApiError::Nonsense(format!("it answers {}", status.as_u16()))),
        }
    }

    /// A text from outside as it may be kept: no secrets, cut.
    pub fn shown(&self, text: &str) -> String {
        cut(&self.veil.over(text))
    }

    /// The end of a text from outside, where a log says why it stopped.
    pub fn shown_end(&self, text: &str) -> String {
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

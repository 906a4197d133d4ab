//! One call of the statement protocol: how it is sent, and what its answer means.

use std::time::Duration;

use reqwest::{
    Client, Method, Response, Url,
    header::{HeaderMap, HeaderValue},
};

use super::{page::Page, sessions::Sessions};
use crate::{
    canary::Secret,
    http::{self, BodyError},
    platform::{PlatformError, cut},
    veil::Veil,
};

/// Longest answer read. A page with an error has a Java stack trace in it; rows are few.
const LARGEST: usize = 4 << 20;

/// Longest list of queries read: each has some two kilobytes and its statement.
const LARGEST_LIST: usize = 32 << 20;

/// Longest address of a next page that is followed: it is kept in the handle.
const LONGEST_ADDRESS: usize = 2_000;

/// Why a call brought no page.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server does not know this page or query, any more.
    Gone,
    /// Anything else. `taken`: what was sent may have been carried out.
    Failed { error: PlatformError, taken: bool },
}

impl Trouble {
    fn failed(error: PlatformError) -> Self {
        Self::Failed { error, taken: true }
    }

    fn refused(error: PlatformError) -> Self {
        Self::Failed { error, taken: false }
    }

    /// Whether a statement that met this may have been carried out all the same.
    pub(super) fn may_be_taken(&self) -> bool {
        matches!(self, Self::Failed { taken: true, .. })
    }

    /// As the seam says it.
    pub(super) fn error(self) -> PlatformError {
        match self {
            Self::Gone => PlatformError::Refused { detail: "404: nothing takes statements at this address".to_owned() },
            Self::Failed { error, .. } => error,
        }
    }
}

/// The server of one cluster.
pub(super) struct Api {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    /// `X-Trino-Client-Tags` or `X-Presto-Client-Tags`.
    tags: &'static str,
    timeout: Duration,
    veil: Veil,
}

impl Api {
    pub(super) fn new(
        client: Client,
        endpoint: Url,
        headers: HeaderMap,
        tags: &'static str,
        timeout: Duration,
        secrets: Vec<Secret>,
    ) -> Self {
        Self { client, endpoint, headers, tags, timeout, veil: Veil::new(secrets) }
    }

    /// Sends a statement. It is known by `tag` there.
    pub(super) async fn post(&self, statement: String, tag: &str) -> Result<Page, Trouble> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut().expect("checked: an http URL has a path").pop_if_empty().extend(["v1", "statement"]);
        let tags = HeaderValue::from_str(&format!("landfall,{tag}")).expect("tags are letters and digits");
        let request = self.client.request(Method::POST, url).header(self.tags, tags).body(statement);
        let answer = self.send(request).await?;
        self.page(answer).await
    }

    /// Gets the next page.
    pub(super) async fn get(&self, next: &str) -> Result<Page, Trouble> {
        let url = self.own(next)?;
        let answer = self.send(self.client.request(Method::GET, url)).await?;
        self.page(answer).await
    }

    /// The sessions of the queries that the server knows. None where it does not tell, or at too great length:
    /// they are a help, and no more.
    pub(super) async fn sessions(&self) -> Sessions {
        let mut url = self.endpoint.clone();
        url.path_segments_mut().expect("checked: an http URL has a path").pop_if_empty().extend(["v1", "query"]);
        let Ok(answer) = self.send(self.client.request(Method::GET, url)).await else { return Sessions::default() };
        if answer.status().as_u16() != 200 {
            return Sessions::default();
        }
        http::body(answer, LARGEST_LIST).await.map(|body| Sessions::read(&body)).unwrap_or_default()
    }

    /// Says that nobody wants further pages, which ends the query.
    pub(super) async fn delete(&self, next: &str) -> Result<(), Trouble> {
        let url = self.own(next)?;
        let answer = self.send(self.client.request(Method::DELETE, url)).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            _ => self.page(answer).await.map(drop),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Trouble> {
        request.timeout(self.timeout).headers(self.headers.clone()).send().await.map_err(|error| {
            // Only a connection that never stood proves that nothing arrived.
            let never_arrived = error.is_connect() || error.is_builder();
            let detail = self.shown(&http::chain(error));
            Trouble::Failed { error: PlatformError::Unreachable { detail, never_arrived }, taken: !never_arrived }
        })
    }

    /// An address that the server gave, if it leads to the server itself.
    fn own(&self, address: &str) -> Result<Url, Trouble> {
        match Url::parse(address) {
            Ok(url) if url.origin() == self.endpoint.origin() && url.username().is_empty() => Ok(url),
            Ok(url) => {
                let origin = self.shown(&url.origin().ascii_serialization());
                Err(Trouble::failed(PlatformError::Nonsense {
                    detail: format!(
                        "its next page is at {origin}, which is not the endpoint (a server behind a proxy needs \
                         http-server.process-forwarded=true)"
                    ),
                }))
            }
            Err(_) => Err(Trouble::failed(nonsense("the address of its next page is no URL"))),
        }
    }

    async fn page(&self, answer: Response) -> Result<Page, Trouble> {
        let status = answer.status();
        if status.is_redirection() {
            let detail = format!("it answers {}, and redirects are not followed", status.as_u16());
            return Err(Trouble::refused(PlatformError::Nonsense { detail }));
        }
        let pause = http::retry_after(answer.headers());
        let body = match http::body(answer, LARGEST).await {
            Ok(bytes) => bytes,
            // What the status says holds, whatever becomes of the explanation.
            Err(_) if !status.is_success() => Vec::new(),
            Err(error @ BodyError::TooLarge(_)) => return Err(Trouble::failed(nonsense(&error.to_string()))),
            Err(error @ BodyError::Broken(_)) => {
                let detail = self.shown(&error.to_string());
                return Err(Trouble::failed(PlatformError::Unreachable { detail, never_arrived: false }));
            }
        };
        let detail = || self.shown(&explained(status, &body));
        match status.as_u16() {
            200 => {
                let mut page = Page::read(&body).map_err(|wrong| Trouble::failed(nonsense(&self.shown(&wrong))))?;
                if page.next.as_ref().is_some_and(|next| next.len() > LONGEST_ADDRESS) {
                    return Err(Trouble::failed(nonsense("the address of its next page is too long")));
                }
                if let Some(error) = &mut page.error {
                    error.message = self.shown(&error.message);
                }
                Ok(page)
            }
            401 | 403 => Err(Trouble::refused(PlatformError::Denied { detail: detail() })),
            404 | 410 => Err(Trouble::Gone),
            429 => Err(Trouble::refused(PlatformError::Throttled { retry_after: pause })),
            // The server's own word for "not now"; what stands before it may have passed the others on.
            503 => Err(Trouble::refused(PlatformError::Broken { detail: detail() })),
            408 | 500..=599 => Err(Trouble::failed(PlatformError::Broken { detail: detail() })),
            400..=499 => Err(Trouble::refused(PlatformError::Refused { detail: detail() })),
            other => Err(Trouble::failed(nonsense(&format!("it answers {other}")))),
        }
    }

    /// A text from outside as it may be kept: no secrets, cut.
    pub(super) fn shown(&self, text: &str) -> String {
        cut(&self.veil.over(text))
    }

    /// Where it is, for people.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }
}

fn nonsense(what: &str) -> PlatformError {
    PlatformError::Nonsense { detail: what.to_owned() }
}

/// Status and the server's own words for it. A line of text helps; a page of HTML does not.
fn explained(status: reqwest::StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).filter(|line| !line.starts_with('<'));
    match line {
        Some(line) => format!("{}: {line}", status.as_u16()),
        None => status.to_string(),
    }
}

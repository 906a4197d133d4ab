//! Who may come in, and with what: Host and Origin, the token, bodies bounded in size and time.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;

use super::{Doors, answer::Problem};
use crate::canary::Secret;

/// Names by which a listener may be addressed. Other names are how a web page in somebody's
/// browser would reach it (DNS rebinding).
#[derive(Clone, Debug)]
pub struct Hosts {
    listen: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    /// The loopback names, the address listened on (any address if that is any), and `names`.
    pub fn new(listen: IpAddr, names: impl IntoIterator<Item = String>) -> Self {
        let plain = |name: String| name.trim_end_matches('.').to_ascii_lowercase();
        Self { listen, names: names.into_iter().map(plain).collect() }
    }

    /// Whether `host`, with or without a port, is one of them.
    fn allow(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        match bare.parse::<IpAddr>() {
            Ok(ip) => {
                let is_named = self.names.iter().any(|name| name.parse() == Ok(ip));
                ip.is_loopback() || ip == self.listen || self.listen.is_unspecified() || is_named
            }
            Err(_) => name == "localhost" || self.names.contains(&name),
        }
    }

    /// `http://host:port` of an Origin header.
    fn allow_origin(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.allow(host))
    }
}

/// The name in `name`, `name:port` or `[v6]:port`; none if it is none of these.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[').map(|rest| rest.find(']')) {
        Some(end) => host.split_at(end? + 2),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    (port_ok && !name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// A request is answered within this; orders have the longest bound inside.
const REQUEST: Duration = Duration::from_secs(40);

/// Every request of the agent's own listener passes here first.
pub(super) async fn check(State(doors): State<Arc<Doors>>, request: Request, next: Next) -> Response {
    if let Err(problem) = admit(&doors, request.method(), request.uri(), request.headers()) {
        discard(request.into_body());
        return problem.into_response();
    }
    in_time(REQUEST, request, next).await
}

/// Answers within a time.
pub(super) async fn in_time(within: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("this took too long").into_response(),
    }
}

fn admit(doors: &Doors, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::wrong("one Host header is needed"));
    };
    let host_ok = host.to_str().is_ok_and(|host| doors.hosts.allow(host));
    if !host_ok || uri.authority().is_some_and(|authority| !doors.hosts.allow(authority.as_str())) {
        let what = "this agent is not known by that name; `hosts` in [agent] lists the names it is reached by";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, what));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    if headers.get_all(header::ORIGIN).iter().any(|origin| !origin.to_str().is_ok_and(|o| doors.hosts.allow_origin(o)))
    {
        return Err(Problem::new(StatusCode::FORBIDDEN, "requests of other origins change nothing here"));
    }
    let Some(token) = &doors.token else {
        return Err(Problem::new(StatusCode::FORBIDDEN, NO_TOKEN));
    };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown =
        shown.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match shown {
        Some((_, shown)) if same(token, shown.trim()) => Ok(()),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong")),
    }
}

const NO_TOKEN: &str =
    "nothing can be changed here: the agent has no token; `token` in [agent] of its config gives it one";

/// Compares in a time that does not tell how much was right.
fn same(secret: &Secret, shown: &str) -> bool {
    let (secret, shown) = (secret.reveal().as_bytes(), shown.as_bytes());
    let differences = secret.iter().zip(shown).fold(0, |found, (a, b)| found | (a ^ b));
    !secret.is_empty() && secret.len() == shown.len() && std::hint::black_box(differences) == 0
}

/// Largest JSON that anybody has a reason to send.
const JSON: usize = 64 * 1024;
/// A body of that size takes no longer.
const BODY: Duration = Duration::from_secs(10);

/// Reads a JSON body.
pub(super) async fn json_body<T: serde::de::DeserializeOwned>(headers: &HeaderMap, sent: Body) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        discard(sent);
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json"));
    }
    let bytes = body(headers, sent, JSON, BODY).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::wrong(format!("the body is not what is needed: {error}")))
}

/// Reads a body that may be empty, bounded in size and time.
pub(super) async fn body(headers: &HeaderMap, sent: Body, most: usize, within: Duration) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {most} bytes"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|bytes| bytes > most as u64) {
        discard(sent);
        return Err(too_large());
    }
    let mut coming = sent.into_data_stream();
    let whole = async {
        let mut bytes = Vec::new();
        while let Some(part) = coming.next().await {
            let part = part.map_err(|_| Problem::wrong("the body broke off"))?;
            if bytes.len() + part.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(within, whole).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) => {
            discard(Body::from_stream(coming));
            Err(problem)
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// Time for which the rest of a refused body is taken and thrown away.
const REST: Duration = Duration::from_secs(5);

/// Reads on, beside the answer, what nobody wants: a connection that is closed in the middle of a
/// body is reset, and then the client never reads why it was refused.
pub(super) fn discard(sent: Body) {
    let mut rest = sent.into_data_stream();
    tokio::spawn(tokio::time::timeout(REST, async move { while let Some(Ok(_)) = rest.next().await {} }));
}

/// Headers of every answer: nothing comes from elsewhere, no script but our own file runs, nothing is framed,
/// guessed at or kept.
pub(super) async fn dress(mut response: Response) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                  base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_the_listened_address_and_configured_names_are_allowed() {
        let hosts =
            Hosts::new([192, 0, 2, 7].into(), ["mon-1.example.", "198.51.100.1", "2001:db8::1"].map(str::to_owned));
        for good in ["localhost", "LOCALHOST:9440", "127.0.0.1:9440", "127.9.9.9", "[::1]:9440", "[::1]", "192.0.2.7:1"]
        {
            assert!(hosts.allow(good), "{good}");
        }
        for good in ["Mon-1.Example:9440", "mon-1.example.", "198.51.100.1:9440", "[2001:DB8:0::1]:9440"] {
            assert!(hosts.allow(good), "{good}");
        }
        for bad in [
            "",
            ":9440",
            "evil.example",
            "192.0.2.8",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x",
            "localhost:x",
            "localhost:99999",
            "user@localhost",
            "localhost/",
            "localhost evil",
            "[::2]",
        ] {
            assert!(!hosts.allow(bad), "{bad}");
        }
    }

    #[test]
    fn an_agent_that_listens_everywhere_answers_to_any_address_but_not_to_any_name() {
        let hosts = Hosts::new([0, 0, 0, 0].into(), []);
        assert!(hosts.allow("203.0.113.5:9440") && !hosts.allow("rebound.example:9440"));
    }

    #[test]
    fn origins_are_hosts_with_a_scheme() {
        let hosts = Hosts::new([127, 0, 0, 1].into(), []);
        assert!(hosts.allow_origin("http://localhost:9440") && hosts.allow_origin("https://127.0.0.1"));
        for bad in ["null", "", "localhost", "file://localhost", "http://evil.example", "http://localhost@evil.example"]
        {
            assert!(!hosts.allow_origin(bad), "{bad}");
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Secret::new("abc");
        assert!(same(&token, "abc"));
        for wrong in ["", "ab", "abcd", "abd", "ABC"] {
            assert!(!same(&token, wrong), "{wrong}");
        }
        assert!(!same(&Secret::new(""), ""), "an empty token opens nothing");
    }
}

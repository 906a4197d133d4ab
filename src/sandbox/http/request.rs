//! Requests: taken apart and bounded before anybody acts on them. Parameters come in four
//! encodings, since every client of the platform has its own.

use std::{collections::BTreeMap, convert::Infallible, net::IpAddr, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
};
use futures_util::stream;
use percent_encoding::percent_decode_str;

use super::answer::Trouble;

/// A whole body must be here by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest body with parameters: the longest query the platform takes (2 MB), percent-encoded.
const FORM: usize = 7 << 20;
/// Largest upload.
const UPLOAD: usize = 32 << 20;
/// Largest body of the sandbox's own calls.
const JSON: usize = 64 << 10;
/// Most parameters of a request.
const MOST_FIELDS: usize = 1000;
/// Longest path and most segments.
const LONGEST_PATH: usize = 4096;

/// A request, read and bounded.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path, cut at slashes, repeated ones collapsed, each segment decoded.
    pub(super) path: Vec<String>,
    pub(super) params: Params,
    pub(super) headers: HeaderMap,
    /// The body of an upload; empty for everything else.
    pub(super) upload: Bytes,
}

/// Named parameters. One that is empty is as good as none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether it was sent at all, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Trouble> {
        let wrong = |_| Trouble::unfit(format!("'{name}' parameter must be an integer"));
        self.get(name).map(|text| text.trim().parse().map_err(wrong)).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            _ => Some(false),
        }
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Trouble> {
        if self.0.len() >= MOST_FIELDS {
            return Err(Trouble::bad("too many parameters"));
        }
        self.0.insert(name, value);
        Ok(())
    }

    fn add_pairs(&mut self, text: &str) -> Result<(), Trouble> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.add(decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?)?;
        }
        Ok(())
    }

    fn add_json(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let body: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| Trouble::bad(format!("body is not JSON: {error}")))?;
        let serde_json::Value::Object(fields) = body else { return Err(Trouble::bad("body is not a JSON object")) };
        for (name, value) in fields {
            match value {
                serde_json::Value::Null => {}
                serde_json::Value::String(text) => self.add(name, text)?,
                other => self.add(name, other.to_string())?,
            }
        }
        Ok(())
    }

    async fn add_multipart(&mut self, kind: &str, bytes: Bytes) -> Result<(), Trouble> {
        let bad = |error: multer::Error| Trouble::bad(format!("body is not a form: {error}"));
        let boundary = multer::parse_boundary(kind).map_err(bad)?;
        let mut form = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(bytes)]), boundary);
        while let Some(field) = form.next_field().await.map_err(bad)? {
            let name = field.name().unwrap_or_default().to_owned();
            let value = field.bytes().await.map_err(bad)?;
            let value = String::from_utf8(value.to_vec()).map_err(|_| Trouble::bad("a form field is not UTF-8"))?;
            self.add(name, value)?;
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Result<String, Trouble> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| Trouble::bad("percent-encoding is not UTF-8"))?.into_owned())
}

/// The path's segments. Clients send `//v3/…`; nobody honest sends `..` or a control character.
fn segments(path: &str) -> Result<Vec<String>, Trouble> {
    if path.len() > LONGEST_PATH {
        return Err(Trouble::new(StatusCode::URI_TOO_LONG, "path is too long"));
    }
    let mut out = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = decoded(segment)?;
        let climbs = segment == "." || segment == "..";
        if climbs || segment.contains(['/', '\\']) || segment.chars().any(char::is_control) {
            return Err(Trouble::bad("path is not possible"));
        }
        out.push(segment);
    }
    Ok(out)
}

/// Whether a `Host` names this machine. Anything else is a page in a browser that was told to look
/// up its own name here.
pub(crate) fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || is_port(port) => name,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Checks that a request is meant for this machine.
pub(crate) fn check_host(parts: &Parts) -> Result<(), &'static str> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or("no Host header")?.to_str().map_err(|_| "Host header is not text")?;
    if hosts.next().is_some() {
        return Err("more than one Host header");
    }
    let authority = parts.uri.authority().map_or(host, |authority| authority.as_str());
    if is_local_host(host) && is_local_host(authority) { Ok(()) } else { Err("Host is not this machine") }
}

fn unsupported(essence: &str) -> Trouble {
    let shown: String = essence.chars().take(80).collect();
    Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("content type '{shown}' is not supported"))
}

/// What a request is before its body is read.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) headers: HeaderMap,
    query: String,
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(origin) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Head {
    pub(super) fn read(parts: &Parts) -> Result<Self, Trouble> {
        check_host(parts).map_err(|why| Trouble::new(StatusCode::FORBIDDEN, why))?;
        Ok(Self {
            method: parts.method.clone(),
            path: segments(parts.uri.path())?,
            headers: parts.headers.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
        })
    }

    fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
    }

    fn is_upload(&self) -> bool {
        self.method == Method::PUT
    }

    /// Reads a body that must be JSON. `curl -d` calls it a form, so that passes too.
    pub(super) async fn json_body(self, body: Body) -> Result<Bytes, Trouble> {
        // A page in somebody's browser can post a form anywhere; it cannot hide where it is from.
        if self
            .headers
            .get(header::ORIGIN)
            .is_some_and(|origin| !is_loopback_origin(origin.to_str().unwrap_or_default()))
        {
            return Err(Trouble::new(StatusCode::FORBIDDEN, "requests from other sites are not taken"));
        }
        let essence = self.essence();
        if !["application/json", "application/x-www-form-urlencoded"].contains(&essence.as_str()) {
            return Err(unsupported(&essence));
        }
        self.read_body(body, JSON).await
    }

    fn essence(&self) -> String {
        self.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    async fn read_body(&self, body: Body, bound: usize) -> Result<Bytes, Trouble> {
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<usize>().ok());
        let too_large = || Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, format!("body is larger than {bound} bytes"));
        if declared.is_some_and(|n| n > bound) {
            return Err(too_large());
        }
        match tokio::time::timeout(PATIENCE, to_bytes(body, bound)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => {
                let broken = std::error::Error::source(&error).is_some_and(|cause| cause.is::<hyper::Error>());
                Err(if broken { Trouble::bad("body broke off") } else { too_large() })
            }
            Err(_) => Err(Trouble::new(StatusCode::REQUEST_TIMEOUT, "body came too slowly")),
        }
    }

    /// Reads the body, as far as the request may have one.
    pub(super) async fn with_body(self, body: Body) -> Result<Call, Trouble> {
        let bytes = self.read_body(body, if self.is_upload() { UPLOAD } else { FORM }).await?;
        let mut params = Params::default();
        params.add_pairs(&self.query)?;
        let (kind, essence) = (self.content_type().to_owned(), self.essence());
        let unknown = || unsupported(&essence);
        let mut upload = Bytes::new();
        match essence.as_str() {
            _ if bytes.is_empty() => {}
            "" | "application/octet-stream" if self.is_upload() => upload = bytes,
            _ if self.is_upload() => return Err(unknown()),
            "application/json" => params.add_json(&bytes)?,
            "multipart/form-data" => params.add_multipart(&kind, bytes).await?,
            "application/x-www-form-urlencoded" => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Trouble::bad("body is not UTF-8"))?;
                params.add_pairs(text)?;
            }
            _ => return Err(unknown()),
        }
        Ok(Call { method: self.method, path: self.path, params, headers: self.headers, upload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in ["127.0.0.1", "127.0.0.1:8440", "localhost:1", "LOCALHOST", "[::1]:80", "[::1]", "127.3.2.1:9"] {
            assert!(is_local_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8440",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::1",
            "[::1]x",
            "localhost:80:80",
            "localhost:x",
            "user@localhost",
        ] {
            assert!(!is_local_host(host), "{host}");
        }
    }

    #[test]
    fn slashes_collapse_and_climbing_paths_are_refused() {
        assert_eq!(segments("//v3/job//show/1/"), Ok(["v3", "job", "show", "1"].map(str::to_owned).to_vec()));
        assert_eq!(segments("/a%2Eb"), Ok(vec!["a.b".to_owned()]));
        for path in
            ["/../x", "/v3/%2e%2e/x", "/a%2fb", "/a%5cb", "/a%00b", "/a%0ab", "/./x", "/%ff", &"/x".repeat(5000)]
        {
            assert!(segments(path).is_err(), "{path}");
        }
    }

    #[tokio::test]
    async fn four_encodings_mean_the_same() {
        let multipart = "--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nselect 1\r\n--B\r\n\
                         Content-Disposition: form-data; name=\"priority\"\r\n\r\n0\r\n--B--\r\n";
        let mut all = [const { Params(BTreeMap::new()) }; 4];
        all[0].add_pairs("query=select+1&priority=0").expect("pairs");
        all[1].add_pairs("query=select%201&priority=0").expect("pairs");
        all[2].add_json(br#"{"query": "select 1", "priority": 0, "result": null}"#).expect("json");
        all[3].add_multipart("multipart/form-data; boundary=B", multipart.into()).await.expect("multipart");
        for params in &all {
            assert_eq!((params.get("query"), params.integer("priority")), (Some("select 1"), Ok(Some(0))));
        }
    }

    #[test]
    fn an_empty_parameter_is_absent() {
        let mut params = Params::default();
        params.add_pairs("priority=&retry_limit=&x").expect("pairs");
        assert_eq!((params.get("priority"), params.integer("retry_limit"), params.get("x")), (None, Ok(None), None));
        assert!(params.has("x"));
    }
}

//! Requests: what the config declares of one call, and the call itself with a run's values in place.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::{
    Client, Method, RequestBuilder, Url,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    body::Body,
    template::{Spot, Template, Values, WrongTemplate},
};
use crate::platform::PlatformError;

/// A call as it is declared.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: Template,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Body,
}

/// The one place that is called.
#[derive(Debug)]
pub(super) struct Door {
    client: Client,
    endpoint: Url,
    /// Sent with every request, under its own headers.
    headers: Vec<(HeaderName, Template)>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Door {
    pub(super) fn new(
        client: Client,
        endpoint: Url,
        headers: Vec<(HeaderName, Template)>,
        authorization: Option<HeaderValue>,
        timeout: Duration,
    ) -> Self {
        Self { client, endpoint, headers, authorization, timeout }
    }

    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The call with its values, ready to be sent.
    pub(super) fn call(&self, request: &Request, values: &Values<'_>) -> Result<RequestBuilder, PlatformError> {
        let url = self.url(&request.path.fill(values, Spot::Path))?;
        let mut call = self.client.request(request.method.clone(), url).timeout(self.timeout);
        call = call.header(header::ACCEPT, "application/json");
        call = match &request.body {
            Body::Nothing if request.method == Method::GET => call,
            // Servers may insist on a length for everything but GET.
            Body::Nothing => call.header(header::CONTENT_LENGTH, 0).body(""),
            Body::Json(template) => call.json(&template.fill(values)),
            Body::Form(fields) => {
                let filled: Vec<(&str, String)> =
                    fields.iter().map(|(name, value)| (name.as_str(), value.fill(values, Spot::Body))).collect();
                call.form(&filled)
            }
        };
        let mut sent = header::HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            sent.insert(header::AUTHORIZATION, authorization.clone());
        }
        // A request's own headers come last, and instead of those of all requests.
        for (name, template) in self.headers.iter().chain(&request.headers) {
            let mut value = HeaderValue::from_str(&template.fill(values, Spot::Header)).map_err(|_| {
                PlatformError::Refused { detail: format!("header `{name}` would have a value that cannot be sent") }
            })?;
            value.set_sensitive(true);
            sent.insert(name.clone(), value);
        }
        Ok(call.headers(sent))
    }

    /// The endpoint with a path below it, and never anything else.
    fn url(&self, path: &str) -> Result<Url, PlatformError> {
        let refused = |why: &str| PlatformError::Refused { detail: format!("the path of a request {why}") };
        // A parser of URLs goes up a folder for these, however they are spelled.
        let steps = path.split(['?', '#']).next().unwrap_or_default().split('/');
        let climbs = |step: &str| matches!(&*percent_decode_str(step).decode_utf8_lossy(), "." | "..");
        if steps.into_iter().any(climbs) {
            return Err(refused("would leave its folder: a value is `.` or `..`"));
        }
        let base = self.endpoint.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}")).map_err(|_| refused("makes no URL"))?;
        if url.origin() != self.endpoint.origin() {
            return Err(refused("leads to another place"));
        }
        Ok(url)
    }
}

/// Checks what stands in a path beside its placeholders.
pub(super) fn checked_path(text: &str) -> Result<Template, WrongTemplate> {
    let wrong = |what: &str, hint: &str| Err(WrongTemplate { what: what.to_owned(), hint: hint.to_owned() });
    let template = Template::read(text)?;
    if !text.starts_with('/') || text.starts_with("//") {
        return wrong("`path` does not begin with one `/`", "write what follows `endpoint`, such as \"/jobs/{id}\"");
    }
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '#' | '\\' | '"' | '<' | '>' | '`' | '^' | '|');
    if template.texts().any(|part| part.contains(odd)) {
        return wrong("`path` has characters that a URL cannot have", "write them as %XX");
    }
    let folder = text.split('?').next().unwrap_or_default();
    if folder.split('/').any(|step| matches!(&*percent_decode_str(step).decode_utf8_lossy(), "." | "..")) {
        return wrong("`path` has a step `.` or `..`", "write the path without it");
    }
    if template.words().any(super::template::Word::is_secret) {
        return wrong("`path` would have a secret in it", "send it in a header or a body: servers log paths");
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(endpoint: &str) -> Door {
        let client = crate::http::Wire::default().client().expect("a client");
        Door::new(client, Url::parse(endpoint).expect("a URL"), Vec::new(), None, Duration::from_secs(1))
    }

    fn called(endpoint: &str, path: &str, id: &str) -> Result<String, PlatformError> {
        let request = Request {
            method: Method::GET,
            path: checked_path(path).expect("a path"),
            headers: Vec::new(),
            body: Body::Nothing,
        };
        let call = door(endpoint).call(&request, &Values { id, ..Values::default() })?;
        Ok(call.build().expect("a request").url().as_str().to_owned())
    }

    #[test]
    fn no_id_leaves_the_folder_or_the_origin() {
        for base in ["https://jobs.example.com/api", "https://jobs.example.com/api/"] {
            let url = called(base, "/jobs/{id}/stop?of={id}", "//evil.example/?#@").expect("a call");
            let id = "%2F%2Fevil.example%2F%3F%23%40";
            assert_eq!(url, format!("https://jobs.example.com/api/jobs/{id}/stop?of={id}"));
        }
        for climbs in ["..", ".", "%2e%2E"] {
            let answer = called("https://jobs.example.com/api", "/jobs/{id}", climbs);
            // A `%` of a value is encoded, so that its `%2e` is no dot.
            assert_eq!(answer.is_err(), climbs != "%2e%2E", "{climbs}");
        }
        assert!(called("https://jobs.example.com/api", "/jobs/.{id}", ".").is_err());
    }

    #[test]
    fn paths_that_cannot_be_are_refused() {
        for bad in ["jobs", "//evil.example/x", "/a b", "/a#b", "/a/../b", "/a/%2e%2E/b", "/\u{fc}", "/{address}"] {
            assert!(checked_path(bad).is_err(), "{bad}");
        }
        for good in ["/", "/jobs/{id}", "/jobs?key={marker}&x=%20", "/v1.0/a..b"] {
            assert!(checked_path(good).is_ok(), "{good}");
        }
    }
}

//! Transport: opendal's requests through our own HTTP client, so that the proxy and the CA bundle
//! of the config hold here too, redirects are not followed, and no answer is endless.

use http::{HeaderMap, Request, Response, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};

use crate::http::body;

/// Largest list: a thousand keys with every character escaped are some megabytes.
const LARGEST_LIST: usize = 8 << 20;
/// Largest answer to anything that is no success, or to who asks for a few bytes.
const LARGEST_WORD: usize = 1 << 20;
/// Whatever range is asked for.
const LARGEST_RANGE: usize = 96 << 20;

/// How much of an answer is read: what was asked for. A server may ignore a range, and send on for ever.
fn bound(asked: &HeaderMap, status: StatusCode) -> usize {
    let range = ["range", "x-ms-range"].iter().find_map(|name| asked.get(*name)?.to_str().ok());
    let length = range.map(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        to.parse::<usize>().ok()?.checked_sub(from.parse().ok()?)?.checked_add(1)
    });
    match length {
        _ if !status.is_success() => LARGEST_WORD,
        None => LARGEST_LIST,
        Some(Some(length)) => length.clamp(LARGEST_WORD, LARGEST_RANGE),
        Some(None) => LARGEST_RANGE,
    }
}

/// Our client in opendal's words.
pub(super) struct Transport(pub(super) reqwest::Client);

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let request = reqwest::Request::try_from(request.map(|body| body.to_bytes()))
            .map_err(|error| Error::new(ErrorKind::Unexpected, error.without_url().to_string()))?;
        let asked = request.headers().clone();
        let answer = self.0.execute(request).await.map_err(|error| broken(&error.without_url()))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            // To opendal it is no more than unexpected.
            return Err(Error::new(ErrorKind::PermissionDenied, "401 Unauthorized"));
        }
        let status = answer.status();
        let mut response = Response::builder().status(status).version(answer.version());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let bytes = body(answer, bound(&asked, status)).await.map_err(|error| broken(&error))?;
        let size = bytes.len() as u64;
        let chunk = futures_util::stream::once(std::future::ready(Ok(Buffer::from(bytes))));
        response
            .body(HttpBody::new(chunk, Some(size)))
            .map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))
    }
}

/// An exchange that did not come to its end; `temporary` is how opendal says it.
fn broken(error: &dyn std::error::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::new(ErrorKind::Unexpected, text).set_temporary()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        for (name, value, status, most) in [
            ("range", "bytes=0-4194303", 206, 4 << 20),
            ("x-ms-range", "bytes=10-4194313", 206, 4 << 20),
            ("range", "bytes=0-27", 206, LARGEST_WORD),
            ("range", "bytes=0-4194303", 503, LARGEST_WORD),
            ("range", "bytes=0-99999999999", 206, LARGEST_RANGE),
            ("range", "bytes=7-", 206, LARGEST_RANGE),
            ("range", "bytes=7-3", 206, LARGEST_RANGE),
            ("accept", "*/*", 200, LARGEST_LIST),
            ("accept", "*/*", 404, LARGEST_WORD),
        ] {
            let asked = HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
            assert_eq!(bound(&asked, StatusCode::from_u16(status).expect("a status")), most, "{name}: {value}");
        }
    }
}

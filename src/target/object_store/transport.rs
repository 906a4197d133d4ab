//! Transport: opendal's requests through our own HTTP client, so that the proxy and the CA bundle
//! of the config hold here too, redirects are not followed, and no answer is endless.

use http::{Request, Response};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};

use crate::http::body;

/// Largest answer: a thousand keys with every character escaped are some megabytes, and objects are
/// asked for in bounded ranges.
const LARGEST: usize = 96 * 1024 * 1024;

/// Our client in opendal's words.
pub(super) struct Transport(pub(super) reqwest::Client);

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let request = reqwest::Request::try_from(request.map(|body| body.to_bytes()))
            .map_err(|error| Error::new(ErrorKind::Unexpected, error.without_url().to_string()))?;
        let answer = self.0.execute(request).await.map_err(|error| broken(&error.without_url()))?;
        if answer.status() == reqwest::StatusCode::UNAUTHORIZED {
            // To opendal it is no more than unexpected.
            return Err(Error::new(ErrorKind::PermissionDenied, "401 Unauthorized"));
        }
        let mut response = Response::builder().status(answer.status()).version(answer.version());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let bytes = body(answer, LARGEST).await.map_err(|error| broken(&error))?;
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

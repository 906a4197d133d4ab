//! FLOOR 1, HTTP clients: one way to build them, with the proxy and extra CA bundle of the config,
//! bounded answers and no redirects. It stands below the seams because drivers of every kind of
//! seam speak HTTP and may not import each other.

use std::{fmt, path::PathBuf, time::Duration};

use chrono::DateTime;
use reqwest::{
    Client, Url,
    header::{DATE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

use crate::canary::Timestamp;

/// What a name of a header looks like, for schemas.
pub const HEADER_NAME: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// How every HTTP client of the agent reaches the world.
#[derive(Clone, Default)]
pub struct Wire {
    /// `http://`, `https://` or `socks5://` proxy; none: straight. The environment is not asked.
    pub proxy: Option<Url>,
    /// PEM file with further CAs, beside those of the system.
    pub ca_bundle: Option<PathBuf>,
}

impl fmt::Debug for Wire {
    /// Without the proxy's user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().map(|url| (url.scheme(), url.host_str().unwrap_or_default(), url.port()));
        f.debug_struct("Wire").field("proxy", &proxy).field("ca_bundle", &self.ca_bundle).finish()
    }
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The CA bundle cannot be read or is not PEM.
    #[error("CA bundle `{path}` cannot be used: {detail}")]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The client library refused.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Whether nobody else can listen to what is sent there: TLS, or this machine.
pub fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" || loopback
}

/// Longest wait for a connection: a host that takes longer is not there.
const CONNECT: Duration = Duration::from_secs(10);

impl Wire {
    /// A client that never follows a redirect and takes nothing from the environment.
    pub fn client(&self) -> Result<Client, WireError> {
        self.builder()?.build().map_err(|error| WireError::Client(error.to_string()))
    }

    /// The same for bodies that are wanted as they are stored, packed or not.
    pub fn client_as_is(&self) -> Result<Client, WireError> {
        self.builder()?.no_gzip().build().map_err(|error| WireError::Client(error.to_string()))
    }

    fn builder(&self) -> Result<reqwest::ClientBuilder, WireError> {
        // Idempotent: a second installation is refused and the first stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &self.proxy {
            let proxy = reqwest::Proxy::all(proxy.clone()).map_err(|error| WireError::Client(error.to_string()))?;
            builder = builder.proxy(proxy);
        }
        if let Some(path) = &self.ca_bundle {
            let wrong = |detail: String| WireError::CaBundle { path: path.clone(), detail };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let extra = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            if extra.is_empty() {
                return Err(wrong("no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_merge(extra);
        }
        Ok(builder)
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than the caller's bound.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke.
    #[error("answer broke off: {0}")]
    Broken(String),
}

/// Reads an answer's body up to a bound in bytes.
pub async fn body(mut answer: reqwest::Response, bound: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| BodyError::Broken(error.without_url().to_string()))? {
        if bytes.len() + chunk.len() > bound {
            return Err(BodyError::TooLarge(bound));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Longest pause that an answer can ask for: what asks for more is not heard before any deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// The server's clock: the agent's own may differ, and lengths between two of the server's times
/// are right whatever it shows.
pub fn sent_at(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// `Retry-After` in seconds, or as a date by the server's own clock.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(text)?.since(sent_at(headers)?),
    };
    Some(pause.min(LONGEST_PAUSE))
}

fn http_date(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|at| Timestamp::from_micros(at.timestamp_micros()))
}

/// An error with its causes, without the address that was called: it may have a secret in it.
pub fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = vec![error.to_string()];
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        words.push(deeper.to_string());
        cause = deeper.source();
    }
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("name"), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_pause_is_seconds_or_a_date_by_the_servers_clock() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (pairs, pause) in [
            (vec![("retry-after", "7")], Some(7)),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), date], Some(30)),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT"), date], Some(0)),
            (vec![("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], None),
            (vec![("retry-after", "99999999999")], Some(86_400)),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs)), pause.map(Duration::from_secs), "{pairs:?}");
        }
    }
}

//! FLOOR 1, HTTP clients: one way to build them, with the proxy and extra CA bundle of the config,
//! bounded answers and no redirects. It stands below the seams because drivers of every kind of
//! seam speak HTTP and may not import each other.

use std::{fmt, path::PathBuf, time::Duration};

use reqwest::{Client, Url, redirect::Policy};

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

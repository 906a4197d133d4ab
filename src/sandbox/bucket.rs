//! The bucket: an embedded S3 server over a temporary folder, the sandbox's default target. The
//! platform and the agent have keys of their own, so that one can be cut off without the other.

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response, StatusCode, header::AUTHORIZATION},
};
use hyper::body::Incoming;
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, sync::watch};

use super::http::wire;
use crate::canary::Secret;

/// The bucket's name.
pub const NAME: &str = "landfall";
/// Its region, which a signature names.
pub const REGION: &str = "us-east-1";

/// Longest a request may take, its body included.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Access key.
    pub id: String,
    /// Secret key.
    pub secret: Secret,
}

/// Keys for Result Output. Like the API keys of the accounts they are always the same, so that a
/// config outlives a restart of the sandbox; and like real ones they hold `/` and `+`, so that a URL
/// that forgets to encode them fails here and not at a customer's.
pub fn platform_keys() -> Keys {
    Keys { id: "SANDBOXPLATFORM".to_owned(), secret: Secret::new("wr1te/sandbox+platform/0123456789abcdefgh") }
}

/// Keys for the agent.
pub fn agent_keys() -> Keys {
    Keys { id: "SANDBOXAGENT".to_owned(), secret: Secret::new("re4d+sandbox/agent+0123456789abcdefghijkl") }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Result Output.
    Platform,
    /// Whoever looks whether it landed.
    Agent,
}

/// How a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// Nobody gets in.
    Down,
    /// This one does not.
    Denied,
}

/// Decides for each request whether it gets in.
pub(super) type Gate = Arc<dyn Fn(Asker) -> Option<Shut> + Send + Sync>;

/// What the server is made of.
pub(super) struct Bucket {
    service: S3Service,
    agent: String,
    gate: Gate,
}

impl Bucket {
    /// A server over a folder that is its own; makes the bucket.
    pub(super) fn new(folder: &Path, platform: &Keys, agent: &Keys, gate: Gate) -> io::Result<Self> {
        std::fs::create_dir_all(folder.join(NAME))?;
        let files = FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut keys = SimpleAuth::new();
        for pair in [platform, agent] {
            keys.register(pair.id.clone(), pair.secret.reveal().into());
        }
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(keys);
        Ok(Self { service: builder.build(), agent: agent.id.clone(), gate })
    }

    /// Serves until `end` turns true.
    pub(super) async fn serve(self, listener: TcpListener, end: watch::Receiver<bool>) {
        let bucket = Arc::new(self);
        let answer = move |request| {
            let bucket = bucket.clone();
            async move { bucket.answer(request).await }
        };
        wire::serve(listener, answer, end).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> wire::Reply {
        let refuse = |status, code: &str| Ok(error(status, code));
        let (parts, body) = request.into_parts();
        if super::http::check_host(&parts).is_err() {
            return refuse(StatusCode::FORBIDDEN, "AccessDenied");
        }
        if parts.uri.path().split('/').any(|segment| matches!(segment, "." | "..")) {
            return refuse(StatusCode::BAD_REQUEST, "InvalidURI");
        }
        let signed = |text: Option<&str>| text.is_some_and(|text| text.contains(&self.agent));
        let header = parts.headers.get(AUTHORIZATION).and_then(|text| text.to_str().ok());
        let by_agent = signed(header) || signed(parts.uri.query());
        match (self.gate)(if by_agent { Asker::Agent } else { Asker::Platform }) {
            Some(Shut::Down) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Some(Shut::Denied) => return refuse(StatusCode::FORBIDDEN, "AccessDenied"),
            None => {}
        }
        let call = self.service.call(Request::from_parts(parts, s3s::Body::from(body)));
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => Ok(answer.map(Body::new)),
            Ok(Err(_)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
        }
    }
}

fn error(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    );
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/xml"));
    answer
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

/// Where the bucket is and how it is read, for whoever writes a config.
#[derive(Clone, Debug)]
pub struct BucketAddress {
    /// Where it listens.
    pub address: SocketAddr,
    /// Keys for Result Output.
    pub platform: Keys,
    /// Keys for the agent.
    pub agent: Keys,
}

impl BucketAddress {
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

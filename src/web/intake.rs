//! The intake as platforms meet it: only `PUT|POST /landing/TARGET/MARKER`, and 2xx only after the
//! delivery is stored. Who may deliver what, `target::webhook` decides.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::sync::Semaphore;

use super::{
    answer::{self, Problem},
    guard,
};
use crate::{
    canary::{Marker, TargetName, Timestamp},
    store::{self, Store},
    target::webhook::{Deliveries, Delivery, Intake, Rejected, intake::LARGEST},
};

/// The largest delivery takes no longer.
const WITHIN: Duration = Duration::from_secs(60);
/// Bodies in memory at once; more wait, unread.
const AT_ONCE: usize = 32;
/// A platform waits longer than this for an answer. To refuse at once would fail jobs that nothing is wrong with:
/// after a deploy all routes are sent together.
const TURN: Duration = Duration::from_secs(15);

struct Porch {
    intake: Arc<Intake>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    places: Semaphore,
}

/// The intake alone: for its own listener, or to be merged with the agent's. Its callers prove
/// themselves by a password and a marker that is waited for, under whatever name they reach it.
pub fn intake_router(intake: Arc<Intake>, now: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Router {
    let porch = Arc::new(Porch { intake, now, places: Semaphore::new(AT_ONCE) });
    Router::new()
        .route("/landing/{target}/{marker}", routing::put(receive).post(receive))
        .method_not_allowed_fallback(answer::not_so)
        .layer(middleware::map_response(guard::dress))
        .with_state(porch)
}

async fn receive(
    State(porch): State<Arc<Porch>>,
    Path((target, marker)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Body,
) -> Result<StatusCode, Turned> {
    let login = login(&headers);
    let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
    // Strangers are turned away before their body is read.
    let place = match porch.intake.permits(&target, login, &marker) {
        Ok(()) => match tokio::time::timeout(TURN, porch.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Turned::Busy),
        },
        Err(rejected) => Err(Turned::By(rejected)),
    };
    let _place = match place {
        Ok(place) => place,
        Err(turned) => {
            guard::discard(sent);
            return Err(turned);
        }
    };
    let body = guard::body(&headers, sent, LARGEST, WITHIN).await?;
    porch.intake.receive(&target, login, &marker, body, (porch.now)()).await?;
    Ok(StatusCode::OK)
}

/// User and password of basic authentication.
fn login(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (user, password) =
        String::from_utf8(decoded).ok()?.split_once(':').map(|(u, p)| (u.to_owned(), p.to_owned()))?;
    Some((user, password))
}

/// Why a delivery was turned away.
enum Turned {
    By(Rejected),
    Broken(Problem),
    Busy,
}

impl From<Rejected> for Turned {
    fn from(rejected: Rejected) -> Self {
        Self::By(rejected)
    }
}

impl From<Problem> for Turned {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let (problem, extra) = match self {
            Turned::Broken(problem) => (problem, None),
            Turned::Busy => (Problem::unavailable("too many deliveries at once"), Some((header::RETRY_AFTER, "1"))),
            Turned::By(rejected) => {
                let status = StatusCode::from_u16(rejected.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let realm = (header::WWW_AUTHENTICATE, "Basic realm=\"landing\"");
                (Problem::new(status, rejected.to_string()), (rejected == Rejected::Unauthorized).then_some(realm))
            }
        };
        let mut response = problem.into_response();
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The ledger as the place where the intake keeps deliveries.
pub struct Kept(pub Arc<dyn Store>);

#[async_trait]
impl Deliveries for Kept {
    async fn keep(&self, target: &TargetName, delivery: Delivery) -> Result<(), String> {
        let Delivery { marker, at, body } = delivery;
        let kept = self.0.keep_delivery(target, store::Delivery { marker, at, body }).await;
        kept.map_err(|error| error.to_string())
    }

    async fn find(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, String> {
        let found = self.0.deliveries(target, runs).await.map_err(|error| error.to_string())?;
        let plain = |store::Delivery { marker, at, body }| Delivery { marker, at, body };
        Ok(found.into_iter().map(plain).collect())
    }

    async fn sweep(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, String> {
        self.0.sweep_deliveries(target, older_than).await.map_err(|error| error.to_string())
    }
}

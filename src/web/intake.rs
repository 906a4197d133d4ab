//! The intake: where platforms deliver to webhook targets. Only `/landing/TARGET/MARKER`; 2xx only
//! after the delivery is stored.

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
use tokio::sync::Semaphore;

use super::{
    answer::{self, Problem},
    guard,
};

/// A delivery on its way in.
#[derive(Debug)]
pub struct Incoming {
    /// The target in the path, as it came.
    pub target: String,
    /// The marker in the path, as it came.
    pub marker: String,
    /// The `Authorization` header, as it came.
    pub authorization: Option<String>,
    /// The `Content-Encoding` header, as it came.
    pub encoding: Option<String>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is on disk.
    Stored,
    /// The password is missing or wrong.
    Denied,
    /// There is no such target, or no run with that marker is pending.
    Unknown,
    /// It is not what a delivery looks like.
    Refused(String),
    /// It could not be stored now.
    Unavailable,
}

/// Whoever takes deliveries.
#[async_trait]
pub trait Landings: Send + Sync {
    /// Whether anything in the path and the password speaks against reading the body.
    async fn expects(&self, target: &str, marker: &str, authorization: Option<&str>) -> Received;

    /// Takes a whole delivery.
    async fn receive(&self, incoming: Incoming) -> Received;
}

/// Largest delivery: a sample of many thousand rows.
const BODY: usize = 16 << 20;
/// A delivery of that size takes no longer.
const WITHIN: Duration = Duration::from_secs(60);
/// Bodies in memory at once; more are asked to come again.
const AT_ONCE: usize = 32;

struct Desk {
    landings: Arc<dyn Landings>,
    places: Semaphore,
}

/// The intake alone: for its own listener, or to be merged with the agent's.
pub fn intake_router(landings: Arc<dyn Landings>) -> Router {
    let desk = Arc::new(Desk { landings, places: Semaphore::new(AT_ONCE) });
    Router::new()
        .route("/landing/{target}/{marker}", routing::put(receive).post(receive))
        .method_not_allowed_fallback(answer::not_so)
        .layer(middleware::map_response(guard::dress))
        .with_state(desk)
}

async fn receive(
    State(desk): State<Arc<Desk>>,
    Path((target, marker)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let authorization = text(header::AUTHORIZATION);
    // Strangers are turned away before their body is read.
    let expected = desk.landings.expects(&target, &marker, authorization.as_deref()).await;
    if expected != Received::Stored {
        return answer(expected);
    }
    let Ok(_place) = desk.places.try_acquire() else {
        let mut busy = Problem::unavailable("too many deliveries at once").into_response();
        busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(busy);
    };
    let body = guard::body(&headers, sent, BODY, WITHIN).await?;
    let encoding = text(header::CONTENT_ENCODING);
    answer(desk.landings.receive(Incoming { target, marker, authorization, encoding, body }).await)
}

fn answer(received: Received) -> Result<Response, Problem> {
    match received {
        Received::Stored => Ok(StatusCode::OK.into_response()),
        Received::Denied => {
            let mut denied = Problem::new(StatusCode::UNAUTHORIZED, "the password is missing or wrong").into_response();
            denied.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"landing\""));
            Ok(denied)
        }
        Received::Unknown => Err(Problem::nothing("nothing is expected here")),
        Received::Refused(what) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what)),
        Received::Unavailable => Err(Problem::unavailable("it could not be stored; send it again")),
    }
}

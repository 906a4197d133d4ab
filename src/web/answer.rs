//! Plain answers: health, metrics, and how a problem is told.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Declined, STUCK, Shared, ledger};

/// Something that was asked for cannot be had.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }

    pub(super) fn wrong(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what)
    }

    pub(super) fn unavailable(what: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what)
    }

    pub(super) fn nothing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }
}

impl From<Declined> for Problem {
    fn from(declined: Declined) -> Self {
        let status = match declined {
            Declined::NotFound(_) => StatusCode::NOT_FOUND,
            Declined::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Declined::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, declined.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json(&serde_json::json!({ "error": self.what }));
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Our own words as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => typed("application/json", body),
        Err(error) => {
            tracing::error!(%error, "could not write an answer as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body.into()).into_response()
}

/// The process lives.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The agent does its work: the ledger answers and the scheduler goes round.
pub(super) async fn ready(State(doors): Shared) -> Response {
    let mut wrong = Vec::new();
    let read = ledger(doors.store.setting("ready")).await;
    if read.is_err() || !doors.board.borrow().agent.store_up {
        wrong.push("the ledger cannot be used");
    }
    match (doors.scheduled_at)() {
        None => wrong.push("the scheduler has not started"),
        Some(at) if (doors.now)().since(at) > STUCK => wrong.push("the scheduler is stuck"),
        Some(_) => {}
    }
    match wrong.as_slice() {
        [] => "ready\n".into_response(),
        wrong => Problem::unavailable(wrong.join("; ")).into_response(),
    }
}

pub(super) async fn metrics(State(doors): Shared) -> Response {
    let metrics = Arc::clone(&doors.metrics);
    metrics.scraped((doors.now)(), (doors.scheduled_at)());
    // Many routes take a while to write: not on a thread that others wait for.
    match tokio::task::spawn_blocking(move || metrics.render()).await {
        Ok(text) => typed("text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "could not write metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(super) async fn nothing() -> Problem {
    Problem::nothing("there is nothing here")
}

pub(super) async fn not_so() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here")
}

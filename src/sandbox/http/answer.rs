//! Answers: JSON, bytes, and errors with the five fields that the platform's clients expect.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE},
};
use serde_json::{Value as Json, json};

use crate::{canary::Timestamp, sandbox::sql::WarehouseError};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) details: Option<Json>,
}

/// What a call comes to.
pub(super) type Answer = Result<Response<Body>, Trouble>;

impl Trouble {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: None }
    }

    /// 400.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub(super) fn absent(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 422.
    pub(super) fn unfit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// The error as the platform words it.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut body = json!({
            "error": self.message,
            "message": self.message,
            "text": self.message,
            "severity": "error",
            "status_code": self.status.as_u16(),
        });
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        let mut answer = respond(self.status, "application/json; charset=utf-8", body.to_string());
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("TD1"));
        }
        if matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            // What is left of the body is not worth reading.
            answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        answer
    }
}

impl From<WarehouseError> for Trouble {
    fn from(error: WarehouseError) -> Self {
        let message = error.to_string();
        match error {
            WarehouseError::NoDatabase(_) | WarehouseError::NoTable(_) => Self::absent(message),
            WarehouseError::DatabaseExists(_) | WarehouseError::TableExists(_) => Self::conflict(message),
            WarehouseError::Name(_) => Self::bad(message),
            WarehouseError::Refused(_) => Self::unfit(message),
            WarehouseError::Broken(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

/// Bytes of a content type.
pub(super) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// 200 with JSON.
#[expect(clippy::needless_pass_by_value, reason = "every caller builds it on the spot")]
pub(super) fn ok(body: Json) -> Answer {
    Ok(respond(StatusCode::OK, "application/json; charset=utf-8", body.to_string()))
}

/// `2020-12-31 11:22:33 UTC`, as jobs, databases and tables have it.
pub(super) fn plain_time(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `2016-08-02T17:58:40Z`, as the rest has it.
pub(super) fn iso_time(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

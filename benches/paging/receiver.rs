//! A receiver of pages: it takes everything, and notes when it came.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode};
use landfall::{agent::Clock, canary::Timestamp};
use serde_json::Value as Json;

#[derive(Clone)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) body: Json,
}

type Log = Arc<Mutex<Vec<Heard>>>;

pub(crate) struct Receiver {
    pub(crate) url: String,
    log: Log,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let log = Log::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&log));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, log, task }
    }

    /// The first request that is one.
    pub(crate) async fn first(&self, within: Duration, is_one: impl Fn(&Heard) -> bool) -> Option<Heard> {
        for _ in 0..within.as_millis() / 50 {
            let found =
                self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|heard| is_one(heard)).cloned();
            if found.is_some() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(log): State<Log>, body: Bytes) -> StatusCode {
    let heard = Heard { at: Clock::System.now(), body: serde_json::from_slice(&body).unwrap_or_default() };
    log.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    StatusCode::OK
}

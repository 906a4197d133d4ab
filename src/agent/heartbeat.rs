//! The heartbeat: a sign of life for a service that raises an alarm when none comes. It is sent only
//! while the agent does its work; a process that merely lives sends none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use tracing::{info, warn};

use super::{clock::Clock, scheduler::Round};
use crate::{
    canary::Timestamp,
    config::HeartbeatPlan,
    http::{self, Wire},
    metrics::Metrics,
    store::Store,
};

/// Some control passed within this: every target is controlled twice a minute.
const SEEN_WITHIN: Duration = Duration::from_secs(300);
/// The ledger takes a write within this.
const KEPT_WITHIN: Duration = Duration::from_secs(5);
/// The service answers within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Of the answer nothing is read beyond this.
const MOST_ANSWER: usize = 64 * 1024;
/// The first is sent this soon, so that whoever starts an agent sees it arrive.
const FIRST: Duration = Duration::from_secs(5);

/// When a control last passed, in microseconds since 1970: 0 before the first.
pub(super) type Seen = Arc<AtomicI64>;

/// What the heartbeat looks at.
pub(super) struct Heartbeat {
    pub(super) plan: HeartbeatPlan,
    pub(super) wire: Wire,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) round: Round,
    pub(super) seen: Seen,
}

/// Why none was sent, or not taken. In words without the address: it is a secret.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error("the scheduler has not gone round since the last one")]
    Stalled,
    #[error("no control of any target has passed for {}", crate::canary::time::Brief(SEEN_WITHIN))]
    Blind,
    #[error("the ledger takes no writes: {0}")]
    Ledger(String),
    #[error("the service could not be reached: {0}")]
    Unreachable(String),
    #[error("the service answered {0}")]
    Refused(u16),
}

impl Heartbeat {
    /// Beats for as long as the agent lives under this config.
    pub(super) async fn beat(self) {
        let client = match self.wire.client() {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, "no heartbeat can be sent");
                return;
            }
        };
        let (mut round, mut failures) = (0, 0u64);
        tokio::time::sleep(FIRST.min(self.plan.every)).await;
        loop {
            match self.send(&client, &mut round).await {
                Ok(()) => {
                    if failures > 0 {
                        info!(failures, "the heartbeat is taken again");
                    }
                    failures = 0;
                    if let Some(metrics) = &self.metrics {
                        metrics.heartbeat(self.clock.now());
                    }
                }
                Err(error) => {
                    if failures == 0 {
                        warn!(%error, "no heartbeat; trying on, and saying so when it is taken again");
                    }
                    failures += 1;
                }
            }
            tokio::time::sleep(self.plan.every).await;
        }
    }

    /// One, if all is well. `last`: the scheduler's round as of the last one that was sent.
    async fn send(&self, client: &Client, last: &mut i64) -> Result<(), Unwell> {
        let round = self.round.load(Ordering::Relaxed);
        if round == *last {
            return Err(Unwell::Stalled);
        }
        let (now, seen) = (self.clock.now(), self.seen.load(Ordering::Relaxed));
        if seen == 0 || now.since(Timestamp::from_micros(seen)) > SEEN_WITHIN {
            return Err(Unwell::Blind);
        }
        let kept = tokio::time::timeout(KEPT_WITHIN, self.store.keep_setting("heartbeat", &now.to_string())).await;
        kept.unwrap_or_else(|_| {
            let detail = format!("no answer within {KEPT_WITHIN:?}");
            Err(crate::store::StoreError::Unavailable { detail })
        })
        .map_err(|error| Unwell::Ledger(error.to_string()))?;
        let url = self.plan.url.reveal();
        let request = if self.plan.posts { client.post(url) } else { client.get(url) };
        // Without the address: it is what proves that the agent lives.
        let lost = |error: reqwest::Error| Unwell::Unreachable(innermost(&error.without_url()));
        let answer = request.timeout(ANSWERS_WITHIN).send().await.map_err(lost)?;
        let status = answer.status();
        let _ = http::body(answer, MOST_ANSWER).await;
        if !status.is_success() {
            return Err(Unwell::Refused(status.as_u16()));
        }
        *last = round;
        Ok(())
    }
}

/// "Error sending request" says nothing.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::{Router, http::StatusCode, routing::any};

    use super::*;
    use crate::{
        agent::tests::ledger::{Trouble, Troubled},
        canary::Secret,
        store::memory::Memory,
    };

    /// A dead-man's service that counts, and answers with a status.
    async fn service(status: StatusCode) -> (String, Arc<AtomicUsize>) {
        let heard = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&heard);
        let router = Router::new().route(
            "/ping/hunter2",
            any(move || {
                counts.fetch_add(1, Ordering::Relaxed);
                async move { status }
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/ping/hunter2", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, heard)
    }

    fn heartbeat(url: &str) -> Heartbeat {
        let clock = Clock::System;
        let now = clock.now().as_micros();
        Heartbeat {
            plan: HeartbeatPlan { url: Secret::new(url), every: Duration::from_secs(60), posts: false },
            wire: Wire::default(),
            store: Arc::new(Memory::new()),
            round: Arc::new(AtomicI64::new(now)),
            seen: Arc::new(AtomicI64::new(now)),
            clock,
            metrics: None,
        }
    }

    #[tokio::test]
    async fn a_sign_of_life_is_sent_while_the_agent_does_its_work() {
        let (url, heard) = service(StatusCode::OK).await;
        let (heartbeat, mut last) = (heartbeat(&url), 0);
        let client = Wire::default().client().expect("a client");
        heartbeat.send(&client, &mut last).await.expect("taken");
        heartbeat.round.fetch_add(1, Ordering::Relaxed);
        heartbeat.send(&client, &mut last).await.expect("taken again");
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn none_is_sent_while_the_scheduler_stands_still_or_no_target_can_be_seen() {
        let (url, heard) = service(StatusCode::OK).await;
        let (heartbeat, mut last) = (heartbeat(&url), 0);
        let client = Wire::default().client().expect("a client");
        heartbeat.send(&client, &mut last).await.expect("taken");
        let stalled = heartbeat.send(&client, &mut last).await;
        assert!(matches!(stalled, Err(Unwell::Stalled)), "{stalled:?}");
        heartbeat.round.fetch_add(1, Ordering::Relaxed);
        for seen in [0, heartbeat.clock.now().minus(SEEN_WITHIN + Duration::from_secs(1)).as_micros()] {
            heartbeat.seen.store(seen, Ordering::Relaxed);
            let blind = heartbeat.send(&client, &mut last).await;
            assert!(matches!(blind, Err(Unwell::Blind)), "{blind:?}");
        }
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn none_is_sent_while_the_ledger_takes_no_writes() {
        let (url, heard) = service(StatusCode::OK).await;
        let ledger = Arc::new(Troubled::new());
        ledger.trouble("keep_setting", Trouble::Fails);
        let heartbeat = Heartbeat { store: Arc::clone(&ledger) as _, ..heartbeat(&url) };
        let client = Wire::default().client().expect("a client");
        let down = heartbeat.send(&client, &mut 0).await;
        assert!(matches!(down, Err(Unwell::Ledger(_))), "{down:?}");
        ledger.heal();
        heartbeat.send(&client, &mut 0).await.expect("taken");
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_service_that_will_not_take_it_is_told_of_without_its_address() {
        let client = Wire::default().client().expect("a client");
        let (url, _) = service(StatusCode::NOT_FOUND).await;
        let refused = heartbeat(&url).send(&client, &mut 0).await.expect_err("refused").to_string();
        assert_eq!(refused, "the service answered 404");
        let gone = heartbeat("http://127.0.0.1:1/ping/hunter2").send(&client, &mut 0).await;
        let gone = format!("{:?}", gone.expect_err("nobody is there"));
        assert!(!gone.contains("hunter2") && !gone.contains("/ping"), "{gone}");
    }
}

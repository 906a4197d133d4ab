//! The intake as a target: what is taken, what it comes to, and the way through the listener.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::put,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use landfall::{
    canary::{Marker, Mode, Rows, TargetName, Timestamp},
    target::{
        Target, TargetError,
        webhook::{Deliveries, Delivery, Intake, Rejected, Webhook},
    },
};

use crate::fixtures::rows::{NOON, document, run, run_at, values};

const RIGHT: Option<(&str, &str)> = Some(("landfall", "open sesame"));

#[derive(Default)]
struct Shelf {
    kept: Mutex<Vec<(TargetName, Delivery)>>,
    full: Mutex<bool>,
}

#[async_trait]
impl Deliveries for Shelf {
    async fn keep(&self, target: &TargetName, delivery: Delivery) -> Result<(), String> {
        if *self.full.lock().unwrap() {
            return Err("disk full".to_owned());
        }
        self.kept.lock().unwrap().push((target.clone(), delivery));
        Ok(())
    }

    async fn find(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, String> {
        let kept = self.kept.lock().unwrap();
        let wanted = kept.iter().filter(|(of, delivery)| of == target && runs.contains(&delivery.marker));
        Ok(wanted.map(|(_, delivery)| delivery.clone()).collect())
    }

    async fn sweep(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, String> {
        let mut kept = self.kept.lock().unwrap();
        let before = kept.len();
        kept.retain(|(of, delivery)| of != target || delivery.at >= older_than);
        Ok((before - kept.len()) as u64)
    }
}

fn name() -> TargetName {
    TargetName::new("t").unwrap()
}

/// An intake with one target, and where it keeps things.
fn intake() -> (Arc<Intake>, Webhook, Arc<Shelf>) {
    let (intake, shelf) = (Intake::new(), Arc::new(Shelf::default()));
    let webhook = Webhook::new(name(), None, intake.clone()).unwrap();
    intake.set_password(&name(), landfall::canary::Secret::new("open sesame"));
    intake.stored_in(shelf.clone());
    (intake, webhook, shelf)
}

async fn send(intake: &Intake, run: &landfall::canary::Run, body: &[u8], at: Timestamp) -> Result<(), Rejected> {
    intake.receive("t", RIGHT, &run.marker.to_string(), body.to_vec(), at).await
}

#[tokio::test]
async fn rows_that_are_delivered_have_landed_when_they_came() {
    let (intake, webhook, _) = intake();
    let (one, other) = (run(Mode::Append), run(Mode::Append));
    intake.expect(&name(), one.marker, one.terms.due, Timestamp::from_micros(i64::MAX));
    intake.expect(&name(), other.marker, other.terms.due, Timestamp::from_micros(i64::MAX));
    send(&intake, &one, &document(&values(&one)), NOON).await.unwrap();
    let seen = webhook.look(&[other, one]).await.unwrap();
    assert!(seen[0].rows.nothing() && seen[0].landed_at.is_none());
    assert!(seen[1].complete());
    assert_eq!((&seen[1].rows, seen[1].landed_at), (&Rows::all_right(20), Some(NOON)));
}

#[tokio::test]
async fn rows_in_two_deliveries_have_landed_with_the_second_and_a_third_is_copies() {
    let (intake, webhook, _) = intake();
    let run = run(Mode::Append);
    intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
    let rows = values(&run);
    send(&intake, &run, &document(&rows[..12]), Timestamp::from_secs(1)).await.unwrap();
    assert_eq!(webhook.look(std::slice::from_ref(&run)).await.unwrap()[0].rows.missing, 8);
    send(&intake, &run, &document(&rows[12..]), Timestamp::from_secs(2)).await.unwrap();
    send(&intake, &run, &document(&rows[..3]), Timestamp::from_secs(3)).await.unwrap();
    let seen = &webhook.look(&[run]).await.unwrap()[0];
    assert_eq!((seen.rows.right, seen.rows.copies, seen.landed_at), (20, 3, Some(Timestamp::from_secs(2))));
}

#[tokio::test]
async fn a_body_that_is_no_rows_is_evidence_of_corruption_and_not_an_error() {
    let (intake, webhook, _) = intake();
    let run = run(Mode::Append);
    intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
    send(&intake, &run, b"<html>proxy error</html>", NOON).await.unwrap();
    let rows = webhook.look(&[run]).await.unwrap().remove(0).rows;
    assert_eq!((rows.missing, rows.changed), (0, 20));
}

#[tokio::test]
async fn only_what_a_run_waits_for_is_taken() {
    let (intake, _, shelf) = intake();
    let run = run(Mode::Append);
    let (marker, body) = (run.marker.to_string(), document(&values(&run)));
    let receive = |target, login, marker: &str| {
        let (intake, body, marker) = (intake.clone(), body.clone(), marker.to_owned());
        async move { intake.receive(target, login, &marker, body, NOON).await }
    };
    assert_eq!(receive("t", RIGHT, &marker).await, Err(Rejected::NotPending), "before it is expected");
    intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
    assert_eq!(receive("other", RIGHT, &marker).await, Err(Rejected::UnknownTarget));
    assert_eq!(receive("../t", RIGHT, &marker).await, Err(Rejected::UnknownTarget));
    for login in [
        None,
        Some(("landfall", "open sesam")),
        Some(("landfall", "")),
        Some(("landfall", "open sesame2")),
        Some(("root", "open sesame")),
    ] {
        assert_eq!(receive("t", login, &marker).await, Err(Rejected::Unauthorized), "{login:?}");
    }
    for other in ["", "x", "lf00000000000000000000000000"] {
        assert_eq!(receive("t", RIGHT, other).await, Err(Rejected::NotPending));
    }
    assert!(shelf.kept.lock().unwrap().is_empty());
    assert_eq!(intake.permits("t", RIGHT, &marker), Ok(()));
    assert_eq!(receive("t", RIGHT, &marker).await, Ok(()));
    intake.forget(&name(), run.marker);
    assert_eq!(receive("t", RIGHT, &marker).await, Err(Rejected::NotPending), "after it is over");
}

#[tokio::test]
async fn deliveries_of_a_run_are_bounded_in_size_and_number() {
    let (intake, _, shelf) = intake();
    let run = run(Mode::Append);
    intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
    let large = vec![b' '; landfall::target::webhook::intake::LARGEST + 1];
    assert_eq!(send(&intake, &run, &large, NOON).await, Err(Rejected::TooLarge));
    for _ in 0..20 {
        send(&intake, &run, b"{}", NOON).await.unwrap();
    }
    assert_eq!(send(&intake, &run, b"{}", NOON).await, Err(Rejected::TooMany));
    assert_eq!(shelf.kept.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn what_is_not_stored_is_not_taken_and_may_come_again() {
    let (intake, webhook, shelf) = intake();
    let run = run(Mode::Append);
    intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
    *shelf.full.lock().unwrap() = true;
    for _ in 0..30 {
        assert_eq!(send(&intake, &run, b"{}", NOON).await, Err(Rejected::NotStored));
    }
    *shelf.full.lock().unwrap() = false;
    send(&intake, &run, &document(&values(&run)), NOON).await.unwrap();
    assert!(webhook.look(&[run]).await.unwrap()[0].complete());
}

#[tokio::test]
async fn passwords_differ_by_target_and_are_in_the_address_and_nowhere_else() {
    let intake = Intake::new();
    let outside = "https://mon.example.com:8443/base/".parse().unwrap();
    let one = Webhook::new(name(), Some(outside), intake.clone()).unwrap();
    let two = Webhook::new(TargetName::new("u").unwrap(), None, intake.clone()).unwrap();
    let password = |of: &str| intake.password(&TargetName::new(of).unwrap()).unwrap().reveal().to_owned();
    assert!(password("t") != password("u") && password("t").len() == 40);
    let run = run(Mode::Append);
    let address = one.address(&run);
    let (marker, secret) = (run.marker, password("t"));
    assert_eq!(address.url.reveal(), format!("webs://landfall:{secret}@mon.example.com:8443/base/landing/t/{marker}"));
    assert_eq!(address.shown, format!("webs://landfall:…@mon.example.com:8443/base/landing/t/{marker}"));
    assert!(!format!("{one:?} {two:?} {address:?}").contains(&secret));
    // Admitted again, as on a reload, a target keeps its password.
    intake.admit(&name());
    assert_eq!(password("t"), secret);
    intake.listens_at("0.0.0.0:9555".parse().unwrap());
    assert!(two.address(&run).shown.ends_with(&format!("@127.0.0.1:9555/landing/u/{marker}")));
}

#[tokio::test]
async fn a_control_goes_through_the_real_listener_and_back() {
    let (intake, webhook, shelf) = intake();
    assert!(matches!(webhook.control().await, Err(TargetError::Unreachable { .. })), "before it listens");
    let address = serve(intake.clone()).await;
    webhook.control().await.unwrap();
    assert_eq!(shelf.kept.lock().unwrap().len(), 1);
    // What a control delivered can be told from any run, and is taken once.
    let marker = shelf.kept.lock().unwrap()[0].1.marker;
    assert_eq!(marker.minted_at(), Timestamp::EPOCH);
    assert_eq!(intake.permits("t", RIGHT, &marker.to_string()), Err(Rejected::NotPending));
    *shelf.full.lock().unwrap() = true;
    assert!(matches!(webhook.control().await, Err(TargetError::Unreachable { .. })), "the ledger refuses");
    address.abort();
    let _ = address.await;
    let error = webhook.control().await.unwrap_err().to_string();
    assert!(error.starts_with("unreachable: the agent's own intake") && !error.contains("sesame"), "{error}");
}

#[tokio::test]
async fn a_sweep_removes_what_came_before_a_time() {
    let (intake, webhook, _) = intake();
    let (old, new) = (run_at(Mode::Append, Timestamp::from_secs(10)), run(Mode::Append));
    for (run, at) in [(&old, Timestamp::from_secs(10)), (&new, NOON)] {
        intake.expect(&name(), run.marker, run.terms.due, Timestamp::from_micros(i64::MAX));
        send(&intake, run, &document(&values(run)), at).await.unwrap();
    }
    assert_eq!(webhook.sweep(NOON).await.unwrap().removed, 1);
    let seen = webhook.look(&[old, new]).await.unwrap();
    assert!(seen[0].rows.nothing() && seen[1].complete());
}

/// Listens as the agent does.
async fn serve(intake: Arc<Intake>) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    intake.listens_at(listener.local_addr().unwrap());
    let router = Router::new().route("/landing/{target}/{run}", put(landing)).with_state(intake);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

async fn landing(
    State(intake): State<Arc<Intake>>,
    Path((target, run)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let login = headers.get("authorization").map(|value| value.to_str().unwrap().strip_prefix("Basic ").unwrap());
    let login = login.map(|text| String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap());
    let login = login.as_deref().and_then(|login| login.split_once(':'));
    match intake.receive(&target, login, &run, body.to_vec(), NOON).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(rejected) => StatusCode::from_u16(rejected.status()).unwrap(),
    }
}

//! The intake, wired: `web` hears deliveries, `target::webhook` decides, the ledger keeps them.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    agent::Clock,
    canary::{Marker, Secret, TargetName, Timestamp},
    store::{self, Store},
    target::webhook::{self, Deliveries, Intake, Rejected},
    web::{Incoming, Landings, Received},
};

/// The intake over HTTP.
pub struct Landing {
    intake: Arc<Intake>,
    clock: Clock,
}

impl Landing {
    /// An intake with its clock.
    pub fn new(intake: Arc<Intake>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { intake, clock })
    }
}

/// User and password of an `Authorization: Basic` header.
fn login(authorization: Option<&str>) -> Option<(String, String)> {
    let (scheme, coded) = authorization?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(coded.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn received(answer: Result<(), Rejected>) -> Received {
    match answer {
        Ok(()) => Received::Stored,
        Err(Rejected::Unauthorized) => Received::Denied,
        Err(Rejected::UnknownTarget | Rejected::NotPending) => Received::Unknown,
        Err(Rejected::NotStored) => Received::Unavailable,
        Err(other) => Received::Refused(other.to_string()),
    }
}

#[async_trait]
impl Landings for Landing {
    async fn expects(&self, target: &str, marker: &str, authorization: Option<&str>) -> Received {
        let login = login(authorization);
        let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        received(self.intake.permits(target, login, marker))
    }

    async fn receive(&self, incoming: Incoming) -> Received {
        if incoming.encoding.as_deref().is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Received::Refused("deliveries are plain JSON, without a content encoding".to_owned());
        }
        let login = login(incoming.authorization.as_deref());
        let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        let now = self.clock.now();
        received(self.intake.receive(&incoming.target, login, &incoming.marker, incoming.body, now).await)
    }
}

/// The ledger as the place where deliveries are kept.
struct Kept(Arc<dyn Store>);

#[async_trait]
impl Deliveries for Kept {
    async fn keep(&self, target: &TargetName, delivery: webhook::Delivery) -> Result<(), String> {
        let webhook::Delivery { marker, at, body } = delivery;
        self.0.keep_delivery(target, store::Delivery { marker, at, body }).await.map_err(|error| error.to_string())
    }

    async fn find(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<webhook::Delivery>, String> {
        let found = self.0.deliveries(target, runs).await.map_err(|error| error.to_string())?;
        let as_found = |delivery: store::Delivery| {
            let store::Delivery { marker, at, body } = delivery;
            webhook::Delivery { marker, at, body }
        };
        Ok(found.into_iter().map(as_found).collect())
    }

    async fn sweep(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, String> {
        self.0.sweep_deliveries(target, older_than).await.map_err(|error| error.to_string())
    }
}

/// Gives the intake its ledger, and its passwords of before a restart: platforms still deliver
/// with those.
pub async fn open(intake: &Arc<Intake>, store: &Arc<dyn Store>) -> Result<(), store::StoreError> {
    intake.stored_in(Arc::new(Kept(Arc::clone(store))));
    for target in intake.targets() {
        let name = format!("intake password of {target}");
        match store.setting(&name).await? {
            Some(password) => intake.set_password(&target, Secret::new(password)),
            None => {
                if let Some(password) = intake.password(&target) {
                    store.keep_setting(&name, password.reveal()).await?;
                }
            }
        }
    }
    Ok(())
}

//! A ledger in memory of which any call can be made to fail or to hang.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    canary::{Away, Evidence, Marker, RouteId, Run, TargetName, Timestamp},
    detect::{Deploy, Incident, IncidentId},
    store::{
        Counts, Delivery, JournalEntry, Notice, Opening, RunRecord, Settlement, Store, StoreError, memory::Memory,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Trouble {
    Fails,
    Hangs,
}

pub(in crate::agent) struct Troubled {
    pub(super) memory: Memory,
    troubles: Mutex<HashMap<&'static str, Trouble>>,
    healed: tokio::sync::Notify,
}

impl Troubled {
    pub(in crate::agent) fn new() -> Self {
        Self { memory: Memory::new(), troubles: Mutex::default(), healed: tokio::sync::Notify::new() }
    }

    pub(in crate::agent) fn trouble(&self, call: &'static str, trouble: Trouble) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(call, trouble);
    }

    /// What hung goes on.
    pub(in crate::agent) fn heal(&self) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.healed.notify_waiters();
    }

    async fn meet(&self, call: &str) -> Result<(), StoreError> {
        let healed = self.healed.notified();
        let trouble = self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get(call).copied();
        match trouble {
            None => Ok(()),
            Some(Trouble::Fails) => Err(StoreError::Unavailable { detail: "disk full".to_owned() }),
            Some(Trouble::Hangs) => {
                healed.await;
                Ok(())
            }
        }
    }
}

macro_rules! through {
    ($($call:ident($($name:ident: $type:ty),*) -> $back:ty;)*) => {
        #[async_trait]
        impl Store for Troubled {
            $(async fn $call(&self, $($name: $type),*) -> Result<$back, StoreError> {
                self.meet(stringify!($call)).await?;
                self.memory.$call($($name),*).await
            })*
        }
    };
}

through! {
    begin(run: &Run) -> ();
    progress(run: Marker, handle: Option<&str>, evidence: &Evidence) -> ();
    settle(settlement: Settlement) -> ();
    pending() -> Vec<RunRecord>;
    watched(now: Timestamp) -> Vec<RunRecord>;
    run(run: Marker) -> Option<RunRecord>;
    runs(route: Option<RouteId>, limit: u32) -> Vec<RunRecord>;
    judged(routes: &[RouteId], from: Marker, limit: u32) -> Vec<RunRecord>;
    runs_before(route: RouteId, until: Marker, limit: u32) -> Vec<RunRecord>;
    incidents(limit: u32) -> Vec<Incident>;
    incident(id: &IncidentId) -> Option<Incident>;
    deploys(limit: u32) -> Vec<Deploy>;
    keep_delivery(target: &TargetName, delivery: Delivery) -> ();
    deliveries(target: &TargetName, runs: &[Marker]) -> Vec<Delivery>;
    sweep_deliveries(target: &TargetName, older_than: Timestamp) -> u64;
    beat(since: Timestamp, now: Timestamp) -> ();
    away(since: Timestamp) -> Vec<Away>;
    last_beat() -> Option<Timestamp>;
    snapshot() -> Option<(u64, Vec<u8>)>;
    keep_snapshot(seq: u64, state: Vec<u8>) -> ();
    journal(after: u64) -> Vec<JournalEntry>;
    untold() -> Vec<Notice>;
    keep_openings(openings: Vec<Opening>, taken: Vec<String>, at: Timestamp) -> ();
    open_letters() -> Vec<Opening>;
    openings(limit: u32) -> Vec<Opening>;
    counts() -> Counts;
    thin(now: Timestamp) -> ();
    setting(name: &str) -> Option<String>;
    keep_setting(name: &str, value: &str) -> ();
}

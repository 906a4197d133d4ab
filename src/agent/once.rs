//! Once: runs on request and nothing else. No schedule, no detection, nobody is told; the ledger keeps the
//! verdicts, so that the next time knows how it was.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{info, warn};

use super::{
    after::After,
    clock::Clock,
    craft::{Craft, Dice},
    desk::Told,
    errand::Heard,
    ground::ground_unwanted,
    lifecycle::{Base, OpenPlan, caps, lines},
    scheduler::{Line, Scheduler, Want},
};
use crate::{
    canary::{State, Why},
    store::{Settlement, Store},
};

/// Flights of which as many may be told at once before they wait.
const TOLD: usize = 1024;

/// Flies runs that are asked for.
pub struct Once {
    /// Runs are asked for here.
    pub wants: mpsc::Sender<Want>,
    told: mpsc::Sender<Told>,
    craft: Arc<Craft>,
    scheduler: JoinHandle<()>,
    clerk: JoinHandle<()>,
}

impl Once {
    /// Ready to fly over a plan's routes, and where it is heard what runs come to.
    pub fn start(
        plan: &OpenPlan,
        store: Arc<dyn Store>,
        clock: Clock,
        dice: Dice,
    ) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (told, was_told) = mpsc::channel(TOLD);
        let (hears, heard) = mpsc::unbounded_channel();
        let (wants, wanted) = mpsc::channel(TOLD);
        let craft = Base::without_daemon(Arc::clone(&store), clock, dice, told.clone()).craft(plan);
        // Who came late is not looked at again: nobody is there any more to hear of it.
        let (after, _) = After::channel();
        let asked_only = |line: Line| Line { schedule: None, ..line };
        let lines = lines(plan).into_iter().map(asked_only).collect();
        let scheduler = Scheduler::new(Arc::clone(&craft), after, None, lines, caps(plan), Arc::default());
        let once = Self {
            wants,
            told,
            craft,
            scheduler: tokio::spawn(scheduler.run(wanted)),
            clerk: tokio::spawn(keep(store, was_told, hears)),
        };
        (once, heard)
    }

    /// Breaks off what still flies, and settles it: nobody watches it any more, and what a daemon on this ledger
    /// would find of it later says nothing.
    pub async fn stop(self) {
        let _ = self.wants.send(Want::Stop).await;
        let _ = self.scheduler.await;
        match self.craft.store.pending().await {
            Ok(pending) => {
                for record in pending.into_iter().filter(|record| record.run.why == Why::Verify) {
                    ground_unwanted(&self.craft, record).await;
                }
            }
            Err(error) => warn!(%error, "runs that are still under way stay so in the ledger"),
        }
        let _ = self.told.send(Told::Stop).await;
        let _ = self.clerk.await;
    }
}

/// Keeps verdicts in the ledger, and passes them on. What came meanwhile is kept together: the ledger writes a
/// few times a second, whatever it is given.
async fn keep(store: Arc<dyn Store>, mut told: mpsc::Receiver<Told>, hears: mpsc::UnboundedSender<Heard>) {
    let mut messages = Vec::new();
    while told.recv_many(&mut messages, TOLD).await > 0 {
        let (mut settlement, mut heard, mut stops) = (Settlement::default(), Vec::new(), false);
        for message in messages.drain(..) {
            let (verdict, run) = match message {
                Told::Verdict(verdict, run) | Told::Correction(verdict, run, _) => (verdict, run),
                Told::EndedBadly(run) => {
                    heard.push(Heard::EndedBadly(run));
                    continue;
                }
                Told::Unsent(unsent) => {
                    heard.push(Heard::Unsent(unsent));
                    continue;
                }
                Told::Stop => {
                    stops = true;
                    continue;
                }
                _ => continue,
            };
            if verdict.outcome.state() != State::Green {
                let (marker, route, reason) = (run.marker, &run.route, verdict.reason.as_deref());
                info!(run = %marker, %route, outcome = %verdict.outcome, provisional = verdict.provisional, reason, "run was {}", verdict.outcome);
            }
            settlement.verdicts.push((*verdict).clone());
            heard.push(Heard::Verdict(verdict, run));
        }
        if !settlement.verdicts.is_empty()
            && let Err(error) = store.settle(settlement).await
        {
            warn!(%error, "verdicts could not be kept; the next verification will not know of them");
        }
        for heard in heard {
            let _ = hears.send(heard);
        }
        if stops {
            return;
        }
    }
}

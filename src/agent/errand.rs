//! An errand: the runs that one verification asks for, and what is heard of them. Nobody else's count.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use super::{clock::Clock, craft::Dice, scheduler::Want};
use crate::canary::{Marker, Route, RouteId, Run, Timestamp, Verdict};

/// What was heard of a run.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A verdict, provisional or final.
    Verdict(Box<Verdict>, Arc<Run>),
    /// Its job ended badly, as the platform says. Rows may have landed all the same: that is for the judge.
    EndedBadly(Arc<Run>),
    /// It is not sent, or not yet.
    Unsent(Unsent),
}

impl Heard {
    /// Of which run.
    pub fn run(&self) -> Marker {
        match self {
            Self::Verdict(_, run) | Self::EndedBadly(run) => run.marker,
            Self::Unsent(unsent) => unsent.run,
        }
    }
}

/// A run that is not sent, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Which.
    pub run: Marker,
    /// Why, in words.
    pub why: String,
    /// It will not be.
    pub for_good: bool,
}

/// The errand.
#[derive(Debug)]
pub struct Errand {
    /// When it began: how routes were is how they were until then.
    pub began: Timestamp,
    /// The agent's time.
    pub clock: Clock,
    dice: Dice,
    wants: mpsc::Sender<Want>,
    heard: mpsc::UnboundedReceiver<Heard>,
    sent: HashMap<Marker, RouteId>,
}

impl Errand {
    /// Begins. Nothing is asked for yet.
    pub fn new(clock: Clock, dice: Dice, wants: mpsc::Sender<Want>, heard: mpsc::UnboundedReceiver<Heard>) -> Self {
        let (began, sent) = (clock.now(), HashMap::new());
        Self { began, clock, dice, wants, heard, sent }
    }

    /// Names a run of a route that somebody else asks for.
    pub fn name(&mut self, route: RouteId) -> Marker {
        let run = self.dice.marker(self.clock.now());
        self.sent.insert(run, route);
        run
    }

    /// Asks for a run of each route. False: the agent is stopping.
    pub async fn send(&mut self, routes: impl IntoIterator<Item = &Arc<Route>>) -> bool {
        let runs = routes.into_iter().map(|route| (route.id, self.name(route.id))).collect();
        self.wants.send(Want::Verify(runs)).await.is_ok()
    }

    /// What is heard next of its runs, and the route; none: nobody will tell any more.
    pub async fn next(&mut self) -> Option<(RouteId, Heard)> {
        loop {
            let heard = self.heard.recv().await?;
            if let Some(route) = self.sent.get(&heard.run()) {
                return Some((*route, heard));
            }
        }
    }

    /// Ends: what still waits to be sent is not wanted any more.
    pub async fn end(self) {
        // A scheduler that has stopped sends nothing either.
        let _ = self.wants.send(Want::Forget(self.sent.into_keys().collect())).await;
    }
}

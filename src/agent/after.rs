//! After the verdict: a landed run is looked at once more at its deadline, since a second copy may
//! come late; a lost one for a while longer, since rows may. What changes is a correction.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{error, warn};

use super::{craft::Craft, desk::Told, run::verdict};
use crate::{
    canary::{Look, Outcome, Run, Sighting, Timestamp, Verdict, judge},
    store::RunRecord,
};

/// Rows that are missing at the deadline are looked for until so many deadlines have passed.
const LOST_DEADLINES: u32 = 3;
/// Looks for lost rows: one for every tenth of the deadline, at least this far apart.
const LOST_AT_LEAST: Duration = Duration::from_secs(5);
/// A correction that cannot be made at once is tried again for so long.
const INSIST_FOR: Duration = Duration::from_secs(60);
/// Runs that are due for a look within this share one read.
const SHARE: Duration = Duration::from_millis(500);
/// Runs in one round of looks.
const ROUND: usize = 500;

/// A run to look at again. Small: there is one for every run younger than its deadline.
struct Watch {
    run: Arc<Run>,
    was: Outcome,
    until: Timestamp,
}

/// The way to the later looks.
#[derive(Clone, Debug)]
pub struct After {
    watches: mpsc::UnboundedSender<(Timestamp, Watch)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.run.marker, self.was)
    }
}

impl After {
    /// The way there, and what arrives.
    pub fn channel() -> (Self, Arrivals) {
        // Unbounded, but no more than the runs of one deadline: each sender has just flown one.
        let (watches, arrivals) = mpsc::unbounded_channel();
        (Self { watches }, Arrivals(arrivals))
    }

    /// Hands a judged run over, if its outcome may still change.
    pub fn watch(&self, run: &Arc<Run>, verdict: &Verdict) {
        let terms = &run.terms;
        let accepted = verdict.evidence.accepted_at;
        let deadline = terms.deadline_at(accepted);
        let (at, until) = match verdict.outcome {
            Outcome::Landed | Outcome::Late => (deadline, deadline),
            Outcome::Lost | Outcome::Partial => {
                (verdict.at.plus(pause(terms.deadline)), terms.start(accepted).plus(terms.deadline * LOST_DEADLINES))
            }
            _ => return,
        };
        if at >= verdict.at {
            // The receiver ends only with the agent.
            let _ = self.watches.send((at, Watch { run: Arc::clone(run), was: verdict.outcome, until }));
        }
    }
}

fn pause(deadline: Duration) -> Duration {
    (deadline / 10).max(LOST_AT_LEAST)
}

/// What arrives for later looks.
pub struct Arrivals(mpsc::UnboundedReceiver<(Timestamp, Watch)>);

/// Ordered by time, then by arrival.
type Queue = BinaryHeap<Reverse<(Timestamp, u64, usize)>>;

/// Looks again until nobody hands over any more.
pub async fn watch_on(craft: watch::Receiver<Arc<Craft>>, mut arrivals: Arrivals) {
    let clock = craft.borrow().clock.clone();
    let (mut queue, mut waiting, mut free, mut order) = (Queue::new(), Vec::<Option<Watch>>::new(), Vec::new(), 0u64);
    let mut put = |queue: &mut Queue, waiting: &mut Vec<Option<Watch>>, free: &mut Vec<usize>, at, watch| {
        let place = free.pop().unwrap_or_else(|| {
            waiting.push(None);
            waiting.len() - 1
        });
        waiting[place] = Some(watch);
        order += 1;
        queue.push(Reverse((at, order, place)));
    };
    let mut looks = JoinSet::new();
    loop {
        let next = queue.peek().map(|Reverse((at, ..))| at.plus(SHARE));
        tokio::select! {
            biased;
            arrived = arrivals.0.recv() => match arrived {
                Some((at, watch)) => put(&mut queue, &mut waiting, &mut free, at, watch),
                None => return,
            },
            Some(again) = looks.join_next() => match again {
                Ok(again) => {
                    for (at, watch) in again {
                        put(&mut queue, &mut waiting, &mut free, at, watch);
                    }
                }
                Err(error) => error!(%error, "a later look broke down; its runs are not looked at again"),
            },
            () = async { clock.sleep_until(next.unwrap_or_default()).await }, if next.is_some() => {
                let now = clock.now();
                let (mut round, mut n) = (BTreeMap::<_, Vec<Watch>>::new(), 0);
                while let Some(Reverse((at, _, place))) = queue.peek().copied()
                    && at <= now
                    && n < ROUND
                {
                    queue.pop();
                    n += 1;
                    if let Some(watch) = waiting[place].take() {
                        round.entry(watch.run.route.target.clone()).or_default().push(watch);
                    }
                    free.push(place);
                }
                // A reload may have brought other targets. Each is looked at by itself: one that hangs
                // keeps no other waiting.
                for watches in round.into_values() {
                    looks.spawn(look_again(Arc::clone(&craft.borrow()), watches));
                }
            }
        }
    }
}

/// One round at one target; answers what is to be looked at again, and when.
async fn look_again(craft: Arc<Craft>, round: Vec<Watch>) -> Vec<(Timestamp, Watch)> {
    let looks = join_all(round.iter().map(|watch| async {
        let (_, sight) = craft.targets.get(&watch.run.route.target)?;
        Some(sight.look(Arc::clone(&watch.run), &craft.clock).await)
    }))
    .await;
    let mut again = Vec::new();
    for (watch, look) in round.into_iter().zip(looks) {
        let Some(look) = look else { continue };
        // A later look that cannot see changes nothing.
        let speaks = look.found.as_ref().is_ok_and(|seen| worth_judging(watch.was, seen));
        if speaks && correct(&craft, &watch, look).await {
            continue;
        }
        let now = craft.clock.now();
        let next = now.plus(pause(watch.run.terms.deadline));
        if speaks && now < watch.until.plus(INSIST_FOR) {
            // The ledger was busy, or a control failed: what was seen is not let go for that.
            again.push((now.plus(LOST_AT_LEAST), watch));
        } else if next <= watch.until && matches!(watch.was, Outcome::Lost | Outcome::Partial) {
            again.push((next, watch));
        }
    }
    again
}

fn worth_judging(was: Outcome, seen: &Sighting) -> bool {
    match was {
        Outcome::Lost | Outcome::Partial => seen.complete(),
        _ => seen.rows.copies > 0 || seen.rows.changed > 0,
    }
}

/// Judges with the new look; a different outcome goes to the desk.
async fn correct(craft: &Arc<Craft>, watch: &Watch, look: Look) -> bool {
    let record = match craft.store.run(watch.run.marker).await {
        Ok(Some(RunRecord { verdict: Some(known), evidence, .. })) => (known, evidence),
        Ok(_) => return false,
        Err(error) => {
            warn!(run = %watch.run.marker, %error, "could not read a run that wants correcting");
            return false;
        }
    };
    let (known, mut evidence) = record;
    let began = look.started_at;
    evidence.saw(look);
    if !matches!(watch.was, Outcome::Lost | Outcome::Partial) {
        let (_, sight) = &craft.targets[&watch.run.route.target];
        if let Some(control) = sight.control(began, &craft.clock).await {
            evidence.controlled(control);
        }
    }
    let now = craft.clock.now();
    let judgement = judge(&watch.run.terms, &evidence, now);
    if judgement.outcome == known.outcome || judgement.outcome == Outcome::Unknown {
        return false;
    }
    let correction = verdict(&watch.run, judgement, false, now, evidence);
    let told = Told::Correction(Box::new(correction), Arc::clone(&watch.run), known.outcome);
    craft.desk.send(told).await.is_ok()
}

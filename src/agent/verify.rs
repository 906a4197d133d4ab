//! Verifying a release: every selected route at once, and again only where that would change the answer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{baseline::Pasts, clock::Clock, scheduler::Want};
use crate::{
    canary::{Marker, Route, RouteId, Run, State, Timestamp, Verdict, Why},
    detect::{
        baseline::Past,
        verification::{self, Flown, Turn, Verification, Verified, Word, word},
    },
};

/// Once it is certain that something got worse, others that are still under way are given so long, or twice
/// what the slowest so far took: they tell what is common to it.
const GRACE: Duration = Duration::from_secs(10);
/// A job that ended badly is repeated after this, judged or not: where nothing is known of how long rows take it is
/// judged only at its objective, and both may wait for that together. Not at once: what is being restarted fails
/// every job for some seconds.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is to be verified.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which routes.
    pub routes: Vec<Arc<Route>>,
    /// How often each is run.
    pub rounds: u32,
    /// When to answer with what is known by then.
    pub within: Duration,
    /// What still fails is a no, too.
    pub strict: bool,
    /// What it finds is how routes are from now on.
    pub accept: bool,
}

/// What was heard of a run.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A verdict, provisional or final.
    Verdict(Box<Verdict>, Arc<Run>),
    /// Its job ended badly, as the platform says. Rows may have landed all the same: that is for the judge.
    EndedBadly(Arc<Run>),
}

impl Heard {
    fn run(&self) -> &Run {
        match self {
            Self::Verdict(_, run) | Self::EndedBadly(run) => run,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Routes of which it is clear.
    pub clear: usize,
    /// Of them, bad.
    pub bad: usize,
    /// All routes.
    pub of: usize,
}

/// A route under way.
struct Course {
    route: Arc<Route>,
    sent: usize,
    runs: Vec<Flown>,
    /// When runs that are bad so far can no longer become good.
    turns: HashMap<Marker, Timestamp>,
    /// From when runs whose jobs ended badly keep no other from being sent.
    again: HashMap<Marker, Timestamp>,
    clear_at: Option<Timestamp>,
}

impl Course {
    /// Whether another run may tell more than those that were sent, and need not wait for them.
    fn wants_another(&self, now: Timestamp) -> bool {
        let settled = self.runs.iter().filter(|run| run.settled);
        let waiting: Vec<Timestamp> =
            self.again.iter().filter(|(run, _)| !self.is_settled(run)).map(|(_, at)| *at).collect();
        // Two that fail are enough, whatever comes after.
        let honest = settled.clone().filter(|run| run.outcome.state() == State::Red).count();
        let past = waiting.iter().filter(|at| **at <= now).count();
        self.sent <= settled.count() + past && (waiting.is_empty() || honest + waiting.len() < 2)
    }

    fn is_settled(&self, run: &Marker) -> bool {
        self.runs.iter().any(|known| known.run == *run && known.settled)
    }

    /// When there is something to do though nobody was heard.
    fn wakes_at(&self) -> impl Iterator<Item = Timestamp> {
        let open = |(run, at): (&Marker, &Timestamp)| (!self.is_settled(run)).then_some(*at);
        self.turns.iter().chain(&self.again).filter_map(open)
    }

    fn hear(&mut self, heard: &Heard, now: Timestamp) {
        let (verdict, run) = match heard {
            Heard::Verdict(verdict, run) => (verdict, run),
            Heard::EndedBadly(run) => {
                self.again.insert(run.marker, now.plus(AGAIN_AFTER));
                return;
            }
        };
        let flown = Flown {
            run: verdict.run,
            outcome: verdict.outcome,
            settled: !verdict.provisional,
            reason: verdict.reason.clone().or_else(|| claimed(verdict)),
        };
        match self.runs.iter_mut().find(|known| known.run == verdict.run) {
            Some(known) => {
                let settled = known.settled || flown.settled;
                *known = Flown { settled, ..flown };
            }
            None => self.runs.push(flown),
        }
        if verdict.provisional && verdict.outcome.state() == State::Red {
            // From then on it would be late at best.
            self.turns.insert(verdict.run, run.terms.objective_at(verdict.evidence.accepted_at));
        }
    }

    /// What is bad so far and has had its time is bad.
    fn turn(&mut self, now: Timestamp) {
        for flown in self.runs.iter_mut().filter(|flown| !flown.settled && flown.outcome.state() == State::Red) {
            flown.settled = self.turns.get(&flown.run).is_some_and(|at| *at <= now);
        }
    }
}

/// What the platform said of a run that is no loss.
fn claimed(verdict: &Verdict) -> Option<String> {
    use crate::canary::Claim;
    match &verdict.evidence.claim {
        Claim::Error { detail, .. } | Claim::Refused { detail, .. } | Claim::Unheard { detail } => Some(detail.clone()),
        _ => None,
    }
}

/// Verifies. The first run of every route has been asked for, at `began` or later; more are sent through `wants`
/// where they would change the answer. What they come to is heard through `heard`. Ends as soon as more would
/// change nothing, or when the time is over.
pub async fn verify(
    asked: &Asked,
    pasts: &Pasts,
    began: Timestamp,
    clock: &Clock,
    wants: &mpsc::Sender<Want>,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
    mut show: impl FnMut(Progress),
) -> Verification {
    let mut ends_at = began.plus(asked.within);
    let mut courses: Vec<Course> = (asked.routes.iter())
        .map(|route| Course {
            route: Arc::clone(route),
            sent: 1,
            runs: Vec::new(),
            turns: HashMap::new(),
            again: HashMap::new(),
            clear_at: None,
        })
        .collect();
    let at: HashMap<RouteId, usize> = courses.iter().enumerate().map(|(at, course)| (course.route.id, at)).collect();
    let unknown = Past::default();
    let past = |route: &Route| pasts.get(&route.id).unwrap_or(&unknown);
    let mut changed: HashSet<usize> = HashSet::new();
    let mut is_no = false;
    loop {
        let now = clock.now();
        for at in changed.drain() {
            let course = &mut courses[at];
            course.turn(now);
            let (said, certain) = word(&course.runs, asked.rounds);
            if certain {
                course.clear_at.get_or_insert(now);
                is_no |= said == Word::Bad && !asked.accept && (asked.strict || !past(&course.route).was_bad());
            } else {
                course.clear_at = None;
                if course.wants_another(now) {
                    course.sent += 1;
                    let _ = wants.send(Want::Verify(vec![course.route.id])).await;
                }
            }
        }
        let clear: Vec<&Course> = courses.iter().filter(|course| course.clear_at.is_some()).collect();
        let bad = clear.iter().filter(|course| word(&course.runs, asked.rounds).0 == Word::Bad).count();
        show(Progress { clear: clear.len(), bad, of: courses.len() });
        if clear.len() == courses.len() || now >= ends_at {
            break;
        }
        if is_no {
            let slowest = clear.iter().filter_map(|course| Some(course.clear_at?.since(began))).max();
            ends_at = ends_at.min(now.plus(GRACE.max(slowest.unwrap_or_default())));
            is_no = false;
        }
        let wakes = courses.iter().flat_map(Course::wakes_at);
        let next = wakes.filter(|at| *at > now).min().map_or(ends_at, |at| at.min(ends_at));
        tokio::select! {
            biased;
            got = heard.recv() => match got {
                Some(got) => {
                    // What was sent before it began, for somebody else, says nothing of the release.
                    let run = got.run();
                    let is_ours = run.why == Why::Verify && run.terms.due >= began;
                    if let Some(at) = at.get(&run.route.id).copied().filter(|_| is_ours) {
                        courses[at].hear(&got, clock.now());
                        changed.insert(at);
                    }
                }
                None => break,
            },
            () = clock.sleep_until(next) => changed.extend(0..courses.len()),
        }
    }
    let now = clock.now();
    let verified: Vec<Verified> = (courses.iter())
        .map(|course| {
            let took = course.clear_at.unwrap_or(now).since(began).as_secs_f64();
            let seconds = (took * 1e3).round() / 1e3;
            verification::verified(&course.route, &course.runs, past(&course.route), asked.rounds, seconds)
        })
        .collect();
    let routes: Vec<&Route> = asked.routes.iter().map(|route| &**route).collect();
    match asked.accept {
        true => Verification::accepted(&routes, verified),
        false => Verification::new(&routes, verified, asked.strict),
    }
}

/// Whether it is worth the while to say more of a route than its line.
pub fn is_news(turn: Turn) -> bool {
    turn != Turn::Ok
}

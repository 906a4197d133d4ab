//! Verifying a release: every selected route at once, and again only where that would change the answer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    baseline::Baselines,
    course::Course,
    errand::{Errand, Heard},
};
use crate::{
    canary::{Evidence, Marker, Outcome, Route, RouteId, TargetName, Timestamp, Verdict},
    detect::{
        baseline::Baseline,
        verification::{self, Turn, Verification, Verified, Word, word},
    },
};

/// Once it is certain that something got worse, others that are still under way are given so long, or twice
/// what the slowest so far took: they tell what is common to it.
const GRACE: Duration = Duration::from_secs(10);
/// Missing rows are given up before their deadline only if so many routes miss theirs: one by itself may be a
/// straggler.
const MISSING_ROUTES: usize = 2;
/// What is said of a route of which nothing was known when the verification was broken off.
const BROKEN_OFF: &str = "the verification was broken off before it was clear";

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

/// How long rows took at their slowest, target by target.
struct Slowest(HashMap<TargetName, Duration>);

impl Slowest {
    /// As far as routes' baselines tell.
    fn of(asked: &Asked, baselines: &Baselines) -> Self {
        let mut slowest = Self(HashMap::new());
        for route in &asked.routes {
            if let Some(took) = baselines.get(&route.id).and_then(|known| known.slowest) {
                slowest.took(route, took);
            }
        }
        slowest
    }

    fn took(&mut self, route: &Route, took: Duration) {
        let known = self.0.entry(route.target.clone()).or_default();
        *known = took.max(*known);
    }

    fn learn(&mut self, route: &Route, verdict: &Verdict) {
        if verdict.outcome == Outcome::Landed
            && let Some(took) = landing(&verdict.evidence)
        {
            self.took(route, took);
        }
    }

    fn at(&self, route: &Route) -> Option<Duration> {
        self.0.get(&route.target).copied()
    }
}

/// How long rows took to be there after the platform's last word.
pub(super) fn landing(evidence: &Evidence) -> Option<Duration> {
    Some(evidence.first_complete()?.started_at.since(evidence.claimed_at?))
}

/// Verifies. The first run of every route has been asked for; more are where they would change the answer. Ends as
/// soon as more would change nothing, when the time is over, or when `stop` says so: what is not clear by then stays
/// undetermined.
pub async fn verify(
    asked: &Asked,
    baselines: &Baselines,
    errand: &mut Errand,
    stop: impl Future<Output = ()>,
    mut show: impl FnMut(Progress),
) -> Verification {
    let (clock, began) = (errand.clock.clone(), errand.began);
    let mut ends_at = began.plus(asked.within);
    let mut courses: Vec<Course> = asked.routes.iter().map(Course::new).collect();
    let at: HashMap<RouteId, usize> = courses.iter().enumerate().map(|(at, course)| (course.route.id, at)).collect();
    let unknown = Baseline::default();
    let baseline = |route: &Route| baselines.get(&route.id).unwrap_or(&unknown);
    let mut slowest = Slowest::of(asked, baselines);
    let mut changed: HashSet<usize> = HashSet::new();
    let (mut is_no, mut is_broken_off) = (false, false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let now = clock.now();
        let given_up: Vec<Timestamp> = give_up(&mut courses, &slowest, now, &mut changed);
        for at in changed.drain() {
            let course = &mut courses[at];
            let (said, certain) = word(&course.runs, asked.rounds);
            if certain || course.is_grounded() {
                course.clear_at.get_or_insert(now);
                is_no |= said == Word::Bad && !asked.accept && (asked.strict || !baseline(&course.route).was_bad());
            } else {
                course.clear_at = None;
                if course.wants_another(now) {
                    course.sent += 1;
                    errand.send([&course.route]).await;
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
        let again = courses.iter().flat_map(Course::again);
        let next = again.chain(given_up).filter(|at| *at > now).min().map_or(ends_at, |at| at.min(ends_at));
        tokio::select! {
            biased;
            got = errand.next() => match got {
                Some((route, got)) => {
                    let Some(at) = at.get(&route).copied() else { continue };
                    if let Heard::Verdict(verdict, _) = &got {
                        slowest.learn(&courses[at].route, verdict);
                    }
                    courses[at].hear(&got, clock.now());
                    changed.insert(at);
                }
                None => {
                    is_broken_off = true;
                    break;
                }
            },
            () = &mut stop => {
                is_broken_off = true;
                break;
            }
            () = clock.sleep_until(next) => changed.extend(0..courses.len()),
        }
    }
    let now = clock.now();
    let verified: Vec<Verified> = (courses.iter())
        .map(|course| {
            let took = course.clear_at.unwrap_or(now).since(began).as_secs_f64();
            let seconds = (took * 1e3).round() / 1e3;
            let is_open = is_broken_off && course.clear_at.is_none();
            let runs = if is_open { &[] } else { &*course.runs };
            let missed = match &course.unsent {
                _ if is_open => BROKEN_OFF.to_owned(),
                Some(unsent) if unsent.for_good => unsent.why.clone(),
                Some(unsent) => format!("no run came back in time: it waited for {}", unsent.why),
                None => "no run came back in time".to_owned(),
            };
            verification::verified(&course.route, runs, baseline(&course.route), asked.rounds, seconds, missed)
        })
        .collect();
    let routes: Vec<&Route> = asked.routes.iter().map(|route| &**route).collect();
    match asked.accept {
        true => Verification::accepted(&routes, verified),
        false => Verification::new(&routes, verified, asked.strict),
    }
}

/// Gives missing rows up that cannot be merely late any more. Answers when others are.
fn give_up(courses: &mut [Course], slowest: &Slowest, now: Timestamp, changed: &mut HashSet<usize>) -> Vec<Timestamp> {
    let mut waits = Vec::new();
    if courses.iter().filter(|course| course.lost()).count() < MISSING_ROUTES {
        return waits;
    }
    for (at, course) in courses.iter_mut().enumerate() {
        let given_up: Vec<(Marker, Timestamp)> = course.given_up(slowest.at(&course.route)).collect();
        for (run, until) in given_up {
            if until > now {
                waits.push(until);
            } else if let Some(flown) = course.runs.iter_mut().find(|flown| flown.run == run) {
                flown.settled = true;
                changed.insert(at);
            }
        }
    }
    waits
}

/// Whether it is worth the while to say more of a route than its line.
pub fn is_news(turn: Turn) -> bool {
    turn != Turn::Ok
}

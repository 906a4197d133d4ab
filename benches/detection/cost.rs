//! What judging and detection cost: verdicts per second on one core at 10,000 routes with 8 labels
//! of 20 values, and the memory that the detector's state takes.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::{
        CanaryName, Claim, Control, Evidence, LabelName, Labels, Look, Marker, Mode, Outcome, PlatformName, Route,
        Rows, Sighting, TargetName, Terms, Timestamp, Verdict, Why, judge,
    },
    detect::{Detector, Input},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Args,
    figures::{Section, round},
    random::START,
};

const ROUTES: usize = 10_000;
const LABELS: usize = 8;
const VALUES: usize = 20;
const EVERY: Duration = Duration::from_secs(60);
/// Rounds of all routes before anything is measured: recent runs are remembered in full by then.
const WARM: usize = 25;
/// Measured rounds, unless they take longer than this.
const ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);

fn routes(dice: &mut Rng) -> Vec<Arc<Route>> {
    let canary = CanaryName::new("result-output").expect("a name");
    let targets: Vec<TargetName> = (0..10).map(|n| TargetName::new(&format!("t{n}")).expect("a name")).collect();
    let mut routes = Vec::new();
    for n in 0..ROUTES / targets.len() {
        let value = |dice: &mut Rng| format!("v{}", dice.usize(0..VALUES));
        let label = |at: usize, dice: &mut Rng| {
            (LabelName::new(&format!("label{at}")).expect("a name"), value(dice).as_str().into())
        };
        let labels = Labels::new((0..LABELS).map(|at| label(at, dice)).collect::<Vec<_>>());
        let platform = PlatformName::new(&format!("p{n}")).expect("a name");
        for target in &targets {
            let (canary, platform) = (canary.clone(), platform.clone());
            routes.push(Arc::new(Route::new(canary, platform, target.clone(), Mode::Append, labels.clone())));
        }
    }
    routes
}

/// What was seen of a run: everything, or nothing although the job is done.
fn evidence(due: Timestamp, whole: bool) -> Evidence {
    let at = |seconds: u64| due.plus(Duration::from_secs(seconds));
    let rows = if whole { Rows::all_right(20) } else { Rows::none(20) };
    Evidence {
        submitted_at: Some(due),
        accepted_at: Some(due),
        claim: Claim::Done { rows: Some(20) },
        claimed_at: Some(at(20)),
        looks: vec![Look { started_at: at(22), found: Ok(Sighting { rows, ..Sighting::default() }) }],
        controls: vec![Control { started_at: at(21), passed: Ok(()) }],
        ..Evidence::default()
    }
}

/// A round of all routes, each at its own second, ready to be judged.
struct Round(Vec<(Marker, Terms, Evidence, usize)>);

impl Round {
    fn new(nth: usize, dice: &mut Rng, is_lost: impl Fn(usize, &mut Rng) -> bool) -> Self {
        let begins = START.plus(EVERY * nth as u32);
        let run = |at: usize, dice: &mut Rng| {
            let due = begins.plus(EVERY * at as u32 / ROUTES as u32);
            let terms = Terms { due, objective: Duration::from_secs(120), deadline: Duration::from_secs(300) };
            let lost = is_lost(at, dice);
            (Marker::mint(due, dice.u128(..)), terms, evidence(due, !lost), at)
        };
        Self((0..ROUTES).map(|at| run(at, dice)).collect())
    }

    /// Judges and detects; answers how many until patience ends.
    fn go(self, detector: &mut Detector, routes: &[Arc<Route>], began: Instant) -> usize {
        let mut done = 0;
        for (run, terms, evidence, at) in self.0 {
            let now = terms.due.plus(Duration::from_secs(25));
            let judgement = judge(&terms, &evidence, now);
            let verdict = Verdict {
                run,
                route: routes[at].id,
                due: terms.due,
                why: Why::Scheduled,
                outcome: judgement.outcome,
                phase: judgement.phase,
                reason: judgement.reason,
                also: judgement.also,
                provisional: judgement.outcome == Outcome::Lost,
                seen_late: judgement.seen_late,
                agent_away: judgement.agent_away,
                at: now,
                evidence: Arc::new(evidence),
            };
            detector.observe(&Input::Verdict(Box::new(verdict)), now);
            done += 1;
            if done % 64 == 0 && began.elapsed() > PATIENCE {
                break;
            }
        }
        done
    }
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1024.0
}

/// Quiet, with some noise, and in an outage of one label's routes.
pub(crate) fn measure(args: &Args) -> Section {
    let mut dice = Rng::with_seed(args.seed);
    let routes = routes(&mut dice);
    let before = resident_mb();
    let mut detector = Detector::new(&routes);
    let mut nth = 0;
    for _ in 0..WARM {
        Round::new(nth, &mut dice, |_, _| false).go(&mut detector, &routes, Instant::now());
        nth += 1;
    }
    let state_mb = resident_mb() - before;
    let snapshot_mb = detector.snapshot().len() as f64 / 1_048_576.0;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let hit = |at: usize| routes[at].facet("label0") == Some("v0");
    let n_hit = (0..routes.len()).filter(|at| hit(*at)).count();
    for (name, kind) in [("all green", 0), ("one in 10,000 lost", 1), ("label0=v0 lost", 2)] {
        let began = Instant::now();
        let (mut done, mut spent) = (0, 0.0);
        for _ in 0..ROUNDS {
            let round = Round::new(nth, &mut dice, |at, dice: &mut Rng| match kind {
                0 => false,
                1 => dice.usize(0..10_000) == 0,
                _ => hit(at),
            });
            nth += 1;
            let before = Instant::now();
            done += round.go(&mut detector, &routes, began);
            spent += before.elapsed().as_secs_f64();
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        let open = detector.open_incidents().count();
        rows.push(vec![
            json!(name),
            json!(done),
            json!(round(done as f64 / spent, 0)),
            json!(round(1e6 * spent / done as f64, 2)),
            json!(open),
            json!(round(state_mb, 1)),
            json!(round(snapshot_mb, 1)),
        ]);
    }
    Section {
        title: format!(
            "{ROUTES} routes, {LABELS} labels of {VALUES} values, one core; label0=v0 covers {n_hit}; seed {}",
            args.seed
        ),
        columns: vec![
            "verdicts",
            "judged",
            "verdicts_per_s",
            "us_each",
            "open_incidents",
            "state_resident_mb",
            "snapshot_mb",
        ],
        rows,
        details: Vec::new(),
    }
}

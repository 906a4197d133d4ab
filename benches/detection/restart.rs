//! A restart at any verdict changes nothing: the inputs of real plays, cut at random verdicts,
//! against the same inputs uncut.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::Route,
    cli::replay::play::{Play, Played, play},
    detect::{Detector, Incident, Input},
    sandbox::{Fault, FaultKind},
    store::JournalEntry,
};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, percent},
    random::{self, START},
};

/// Cuts in all, and how many plays they are spread over.
const CUTS: u64 = 200;
const PLAYS: u64 = 20;
/// Before the ledger is cut short by a snapshot.
const MOST_INPUTS: usize = 4_500;

/// A world that is hit again and again, by whatever comes.
fn record(seed: u64) -> (Vec<Arc<Route>>, Played) {
    let mut dice = Rng::with_seed(seed ^ 0xc07);
    let kind = random::kind(&mut dice);
    let world = random::world(seed, random::mode_of(&kind));
    let every = world.canary.every;
    let routes = world.routes();
    // As long as the ledger has room for it: runs, and a control of each target twice a minute.
    // And a tick a second while anything waits.
    let per_second = routes.len() as f64 / every.as_secs_f64() * 1.6 + world.targets.len() as f64 / 30.0 + 1.0;
    let lasts = Duration::from_secs_f64(MOST_INPUTS as f64 * 0.8 / per_second);
    let mut faults = Vec::new();
    for nth in 0..4u32 {
        let kind = if nth == 0 { kind.clone() } else { random::kind(&mut dice) };
        let scope = random::scope(&world, &kind, &mut dice);
        let from = START.plus(lasts.mul_f64(0.2 + 0.15 * f64::from(nth) + 0.1 * dice.f64()));
        let rate = if nth == 3 { 0.2 } else { 1.0 };
        faults.push(Fault { rate, ..random::fault(kind, &scope, from, lasts.mul_f64(0.12)) });
    }
    faults.push(Fault { rate: 0.02, ..random::fault(FaultKind::FailJob, &Vec::new(), START, lasts) });
    let plan = Play { faults, keeps_journal: true, ..Play::of_world(world, START, lasts) };
    (routes, play(&plan, seed).expect("a world plays"))
}

/// The state after these inputs, and what stands of every incident.
fn feed(detector: &mut Detector, inputs: &[JournalEntry]) {
    for entry in inputs {
        let _ = detector.observe(&entry.input, entry.at);
    }
}

fn incidents(detector: &Detector, played: &Played) -> Vec<Option<Incident>> {
    played.incidents.iter().map(|incident| detector.incident(&incident.id).cloned()).collect()
}

struct Result {
    cuts: usize,
    same_state: usize,
    same_incidents: usize,
    as_lived: bool,
    inputs: usize,
    wrong: Vec<String>,
}

fn one(seed: u64, cuts: u64) -> Result {
    let (routes, played) = record(seed);
    let inputs = &played.journal;
    assert_eq!(inputs.first().map(|entry| entry.seq), Some(1), "seed {seed}: the ledger was cut short");
    let mut whole = Detector::new(&routes);
    feed(&mut whole, inputs);
    let (state, stands) = (whole.snapshot(), incidents(&whole, &played));
    let verdicts: Vec<usize> = (0..inputs.len()).filter(|at| matches!(inputs[*at].input, Input::Verdict(_))).collect();
    let mut dice = Rng::with_seed(seed ^ 0xc075);
    let (mut same_state, mut same_incidents, mut wrong) = (0, 0, Vec::new());
    let mut at: Vec<usize> = (0..cuts).map(|_| verdicts[dice.usize(0..verdicts.len())]).collect();
    at.sort_unstable();
    let (mut before, mut fed) = (Detector::new(&routes), 0);
    for cut in at {
        feed(&mut before, &inputs[fed.min(cut + 1)..=cut]);
        fed = cut + 1;
        let (mut after, _) =
            Detector::restore(&before.snapshot(), &routes, inputs[cut].at).expect("a snapshot can be read");
        feed(&mut after, &inputs[fed..]);
        let (states, stand) = (after.snapshot() == state, incidents(&after, &played) == stands);
        same_state += usize::from(states);
        same_incidents += usize::from(stand);
        if !states || !stand {
            let n = inputs.len();
            wrong.push(format!(
                "seed {seed}: cut after input {fed} of {n}: state the same: {states}, incidents: {stand}"
            ));
        }
    }
    // What was lived through had ticks that changed nothing and were not written down.
    let lived: Vec<Option<Incident>> = played.incidents.iter().cloned().map(Some).collect();
    // The store has an incident as of its last change; runs that changed nothing are only in the state.
    let told = |incident: &Incident| {
        (incident.outcome, incident.suspects.clone(), incident.onset, incident.detected_at, incident.resolved_at)
    };
    let remembered = |(was, is): (&Option<Incident>, &Option<Incident>)| {
        is.is_none() || was.as_ref().map(told) == is.as_ref().map(told)
    };
    let as_lived = lived.iter().zip(&stands).all(remembered);
    if !as_lived {
        let other = lived.iter().zip(&stands).find(|pair| !remembered(*pair));
        let brief = |incident: &Option<Incident>| incident.as_ref().map(told);
        let how = other.map(|(was, is)| format!(": {:?}, lived {:?}", brief(is), brief(was))).unwrap_or_default();
        wrong.push(format!("seed {seed}: the ledger gives other incidents than were lived through{how}"));
    }
    Result { cuts: cuts as usize, same_state, same_incidents, as_lived, inputs: inputs.len(), wrong }
}

/// All cuts.
pub(crate) fn measure(args: &Args) -> Section {
    let results = each(PLAYS, |nth| one(args.seed + nth, CUTS / PLAYS));
    let sum = |of: &dyn Fn(&Result) -> usize| results.iter().map(of).sum::<usize>();
    let cuts = sum(&|result| result.cuts);
    Section {
        title: format!("{CUTS} restarts at random verdicts of {PLAYS} plays, seeds from {}", args.seed),
        columns: vec!["cuts", "inputs", "same_state_%", "same_incidents_%", "ledger_gives_what_was_lived_%"],
        rows: vec![vec![
            json!(cuts),
            json!(sum(&|result| result.inputs)),
            percent(sum(&|result| result.same_state), cuts),
            percent(sum(&|result| result.same_incidents), cuts),
            percent(sum(&|result| usize::from(result.as_lived)), results.len()),
        ]],
        details: results.into_iter().flat_map(|result| result.wrong).collect(),
    }
}

//! Random worlds with two faults in different scopes: each must be an incident with the right name.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::{Family, Outcome, Route},
    cli::replay::play::{Play, play},
    detect::incident::LabelSet,
    sandbox::{Fault, FaultKind, World},
};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, share},
    random::{self, START, covered},
    score::{Told, account, named_apart, told, too_many, written},
    worlds::WARM_RUNS,
};

/// The family that a kind of fault belongs to: faults of one are the harder to tell apart.
pub(crate) fn family(kind: &FaultKind) -> Family {
    let outcome = match kind {
        FaultKind::DropOutput | FaultKind::PartialOutput { .. } | FaultKind::StaleOutput => Outcome::Lost,
        FaultKind::DuplicateOutput { .. } => Outcome::Duplicated,
        FaultKind::CorruptOutput { .. } => Outcome::Corrupted,
        FaultKind::FailJob | FaultKind::HangJob | FaultKind::RefuseSubmit { .. } | FaultKind::ApiError { .. } => {
            Outcome::Failed
        }
        FaultKind::ApiUnreachable | FaultKind::TargetDown => Outcome::Unknown,
        _ => Outcome::Late,
    };
    outcome.family().unwrap_or(Family::Amber)
}

/// Whether some set of up to three labels covers exactly these routes: then nobody could tell two
/// faults of one family from one.
pub(crate) fn is_one_scope(routes: &[Arc<Route>], both: &BTreeSet<usize>) -> bool {
    let pairs: BTreeSet<(String, String)> =
        routes.iter().flat_map(|route| route.facets().map(|(n, v)| (n.to_owned(), v.to_owned()))).collect();
    let pairs: Vec<_> = pairs.into_iter().collect();
    let is = |set: LabelSet| covered(routes, &set) == *both;
    if both.len() == routes.len() {
        return true;
    }
    let at = |place: usize| pairs[place].clone();
    (0..pairs.len()).any(|a| {
        is(vec![at(a)]) || (0..a).any(|b| is(vec![at(a), at(b)]) || (0..b).any(|c| is(vec![at(a), at(b), at(c)])))
    })
}

struct Pair {
    world: World,
    kinds: [FaultKind; 2],
    scopes: [LabelSet; 2],
}

/// Two faults that somebody who sees everything could tell apart: neither within the other, on
/// routes of their own, and of one family only if no single set of labels covers just both.
fn pair(seed: u64, dice: &mut Rng) -> Option<Pair> {
    let kinds = [random::kind(dice), random::kind(dice)];
    let modes = kinds.each_ref().map(random::mode_of);
    let world = random::world(seed, if modes[0] == modes[1] { modes[0] } else { landfall::canary::Mode::Replace });
    let scopes = kinds.each_ref().map(|kind| random::scope(&world, kind, dice));
    let routes = world.routes();
    let [a, b] = scopes.each_ref().map(|scope| covered(&routes, scope));
    let apart = a.is_disjoint(&b);
    let both: BTreeSet<usize> = a.union(&b).copied().collect();
    let clear = family(&kinds[0]) != family(&kinds[1]) || !is_one_scope(&routes, &both);
    (apart && clear).then_some(Pair { world, kinds, scopes })
}

struct Result {
    same_family: bool,
    named: usize,
    named_or_masked: usize,
    false_pages: usize,
    extra: usize,
    miss: Option<String>,
}

/// How many are named right by incidents of their own, if what the other fault hits as well says
/// nothing: a job that fails does not show whether its output would have been dropped.
fn masked(told: &[Told<'_>], faults: &[Fault], scopes: &[LabelSet; 2], routes: &[Arc<Route>]) -> usize {
    let scopes_covered = scopes.each_ref().map(|scope| covered(routes, scope));
    let fits = |at: usize, told: &Told<'_>| {
        let named = covered(routes, &told.now.suspects);
        let of_other = &scopes_covered[1 - at];
        told.is_due_to(&faults[at], routes) && scopes_covered[at].difference(of_other).eq(named.difference(of_other))
    };
    named_apart(told, fits)
}

fn one(seed: u64, alone: bool) -> Result {
    let mut dice = Rng::with_seed(seed ^ 0x25eed);
    // Some worlds have no two scopes that are apart: the next one then.
    let given = seed;
    let (seed, Pair { world, kinds, scopes }) = (0..)
        .find_map(|more| {
            let seed = seed + more * 1_000_003;
            pair(seed, &mut dice).map(|pair| (seed, pair))
        })
        .expect("some world has two scopes that are apart");
    let same_family = family(&kinds[0]) == family(&kinds[1]);
    let routes = world.routes();
    let every = world.canary.every;
    let from = START.plus(every * WARM_RUNS);
    // At once, or the second while the first goes on.
    let second = if dice.bool() { from } else { from.plus((every * 8).mul_f64(dice.f64())) };
    let lasts = (every * 20).max(Duration::from_secs(2_400));
    let [first_kind, second_kind] = kinds;
    let faults =
        vec![random::fault(first_kind, &scopes[0], from, lasts), random::fault(second_kind, &scopes[1], second, lasts)];
    let mut plan = Play::of_world(world, START, second.since(START) + lasts + every * 5);
    plan.faults = faults.clone();
    let played = play(&plan, seed).expect("a world plays");
    let told = told(&played);
    let is_named =
        |at: usize| told.iter().any(|told| told.is_due_to(&faults[at], &routes) && told.names(&scopes[at], &routes));
    // Each by an incident of its own.
    let named = (0..2).filter(|at| is_named(*at)).count();
    let named_or_masked = masked(&told, &faults, &scopes, &routes);
    let (false_pages, extra) = too_many(&told, &faults, &routes);
    let miss = (named < 2 || false_pages + extra > 0).then(|| {
        let fault = |at: usize| format!("{} on {}", faults[at].kind, written(&scopes[at]));
        let apart = second.since(from).as_secs();
        let how = if named_or_masked == 2 { " (where one hides the other)" } else { "" };
        let told = account(&told, alone);
        format!("seed {given}{how}: {} and, {apart} s later, {}; told: {told}", fault(0), fault(1))
    });
    Result { same_family, named, named_or_masked, false_pages, extra, miss }
}

/// All of them.
pub(crate) fn measure(args: &Args) -> Section {
    let results = each(args.worlds, |nth| one(args.seed + nth, args.worlds == 1));
    let row = |name: &str, results: Vec<&Result>| {
        vec![
            json!(name),
            json!(results.len()),
            share(&results, |result| result.named == 2),
            share(&results, |result| result.named_or_masked == 2),
            share(&results, |result| result.named >= 1),
            json!(results.iter().map(|result| result.false_pages).sum::<usize>()),
            share(&results, |result| result.extra > 0),
        ]
    };
    Section {
        title: format!("{} random worlds with two total faults, seeds from {}", args.worlds, args.seed),
        columns: vec![
            "families",
            "worlds",
            "both_right_%",
            "both_or_masked_%",
            "one_right_%",
            "false_pages",
            "extra_incidents_%",
        ],
        rows: vec![
            row("all", results.iter().collect()),
            row("different", results.iter().filter(|result| !result.same_family).collect()),
            row("the same", results.iter().filter(|result| result.same_family).collect()),
        ],
        details: results.into_iter().filter_map(|result| result.miss).collect(),
    }
}

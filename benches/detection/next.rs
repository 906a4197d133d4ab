//! Random worlds in which one fault is mended and, while its incident is being over or soon after, the next
//! begins: each must be an incident with the right name, and the first must stay what it was.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::{Mode, Route},
    cli::replay::play::{Play, play},
    detect::incident::LabelSet,
    sandbox::{FaultKind, World},
};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, share},
    random::{self, START, covered},
    score::{Told, account, named_apart, told, too_many, written},
    two::{family, is_one_scope},
    worlds::WARM_RUNS,
};

/// How the second fault differs from the first, from the plainest to the hardest to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Differs {
    Family,
    Kind,
    Place,
}

/// What runs are told to have come to.
fn shows_as(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::FalseError | FaultKind::FalseKilled | FaultKind::FreezeStatus => "unclaimed",
        FaultKind::FailJob | FaultKind::RefuseSubmit { .. } | FaultKind::ApiError { .. } => "failed",
        other => other.as_str(),
    }
}

/// None where nobody could tell the second from the return of the first.
fn differs(routes: &[Arc<Route>], kinds: &[FaultKind; 2], scopes: &[LabelSet; 2]) -> Option<Differs> {
    let [a, b] = scopes.each_ref().map(|scope| covered(routes, scope));
    if family(&kinds[0]) != family(&kinds[1]) {
        return Some(Differs::Family);
    }
    let [a_shows, b_shows] = kinds.each_ref().map(shows_as);
    if a_shows != b_shows {
        return Some(Differs::Kind);
    }
    let both = a.union(&b).copied().collect();
    (a.is_disjoint(&b) && !is_one_scope(routes, &both)).then_some(Differs::Place)
}

struct Pair {
    world: World,
    kinds: [FaultKind; 2],
    scopes: [LabelSet; 2],
    differs: Differs,
}

fn pair(seed: u64, dice: &mut Rng) -> Option<Pair> {
    let kinds = [random::kind(dice), random::kind(dice)];
    let replaces = kinds.iter().any(|kind| random::mode_of(kind) == Mode::Replace);
    let world = random::world(seed, if replaces { Mode::Replace } else { Mode::Append });
    let scopes = kinds.each_ref().map(|kind| random::scope(&world, kind, dice));
    let differs = differs(&world.routes(), &kinds, &scopes)?;
    Some(Pair { world, kinds, scopes, differs })
}

struct Result {
    differs: Differs,
    named: usize,
    false_pages: usize,
    extra: usize,
    miss: Option<String>,
}

fn one(given: u64, alone: bool) -> Result {
    let mut dice = Rng::with_seed(given ^ 0x5e9d);
    let (seed, Pair { world, kinds, scopes, differs }) = (0..)
        .find_map(|more| {
            let seed = given + more * 1_000_003;
            pair(seed, &mut dice).map(|pair| (seed, pair))
        })
        .expect("some world has two faults that can be told apart");
    let routes = world.routes();
    let every = world.canary.every;
    let from = START.plus(every * WARM_RUNS);
    let ends = from.plus((every * 10).max(Duration::from_secs(1_200)));
    // Until the first is known to be over, and as long again.
    let second = ends.plus((every * 6 + world.canary.deadline * 2).mul_f64(dice.f64()));
    let lasts = (every * 15).max(Duration::from_secs(1_800));
    let [first_kind, second_kind] = kinds;
    let faults = vec![
        random::fault(first_kind, &scopes[0], from, ends.since(from)),
        random::fault(second_kind, &scopes[1], second, lasts),
    ];
    let after = every * 5 + Duration::from_secs(900);
    let mut plan = Play::of_world(world, START, second.since(START) + lasts + after);
    plan.faults = faults.clone();
    let played = play(&plan, seed).expect("a world plays");
    let told = told(&played);
    let fits = |at: usize, told: &Told<'_>| {
        let in_time = at == 1 || told.at < second;
        in_time && told.is_due_to(&faults[at], &routes) && told.names(&scopes[at], &routes)
    };
    let named = named_apart(&told, fits);
    let (false_pages, extra) = too_many(&told, &faults, &routes);
    let miss = (named < 2 || false_pages + extra > 0).then(|| {
        let fault = |at: usize| format!("{} on {}", faults[at].kind, written(&scopes[at]));
        let told = account(&told, alone);
        format!(
            "seed {given} ({differs:?}): {} until {ends} and, {} s after, {}; told: {told}",
            fault(0),
            second.since(ends).as_secs(),
            fault(1)
        )
    });
    Result { differs, named, false_pages, extra, miss }
}

/// All of them.
pub(crate) fn measure(args: &Args) -> Section {
    let results = each(args.worlds, |nth| one(args.seed + nth, args.worlds == 1));
    let row = |name: &str, results: Vec<&Result>| {
        vec![
            json!(name),
            json!(results.len()),
            share(&results, |result| result.named == 2),
            share(&results, |result| result.named >= 1),
            json!(results.iter().map(|result| result.false_pages).sum::<usize>()),
            share(&results, |result| result.extra > 0),
        ]
    };
    let that = |differs: Differs| results.iter().filter(|result| result.differs == differs).collect();
    Section {
        title: format!("{} random worlds, one total fault after the other, seeds from {}", args.worlds, args.seed),
        columns: vec!["second", "worlds", "both_right_%", "one_right_%", "false_pages", "extra_incidents_%"],
        rows: vec![
            row("all", results.iter().collect()),
            row("of another family", that(Differs::Family)),
            row("of another kind", that(Differs::Kind)),
            row("elsewhere", that(Differs::Place)),
        ],
        details: results.into_iter().filter_map(|result| result.miss).collect(),
    }
}

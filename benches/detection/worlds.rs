//! Random worlds, each with one fault at rate 1.0 of a random kind in a random scope.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use landfall::cli::replay::play::{Play, play};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, percent, rank},
    random::{self, START},
    score::{list, told, written},
};

struct Result {
    kind: &'static str,
    detected_after: Option<f64>,
    right: bool,
    right_at_page: bool,
    false_pages: usize,
    extra: usize,
    miss: Option<String>,
}

/// Before the fault: enough runs of every route for its times to be known, and then some.
pub(crate) const WARM_RUNS: u32 = 40;

/// Everything about the fault of one seed.
fn one(seed: u64) -> Result {
    let mut dice = Rng::with_seed(seed ^ 0x5eed);
    let kind = random::kind(&mut dice);
    let world = random::world(seed, random::mode_of(&kind));
    let scope = random::scope(&world, &kind, &mut dice);
    let routes = world.routes();
    let every = world.canary.every;
    let from = START.plus(every * WARM_RUNS + every.mul_f64(dice.f64()));
    let lasts = (every * 15).max(Duration::from_secs(1_800));
    let fault = random::fault(kind, &scope, from, lasts);
    let after = every * 5 + Duration::from_secs(900);
    let mut plan = Play::of_world(world, START, from.since(START) + lasts + after);
    plan.faults = vec![fault.clone()];
    let played = play(&plan, seed).expect("a world plays");
    let told = told(&played);
    let due: Vec<_> = told.iter().filter(|told| told.is_due_to(&fault, &routes)).collect();
    let first = due.first();
    let right = first.is_some_and(|first| first.names(&scope, &routes));
    let (false_pages, extra) = (told.len() - due.len(), due.len().saturating_sub(1));
    let name = fault.kind.as_str();
    let miss = (!right || false_pages > 0 || extra > 0).then(|| {
        let what = match first {
            None => "not detected",
            Some(_) if !right => "wrong suspects",
            Some(_) if false_pages > 0 => "false page",
            Some(_) => "extra incident",
        };
        format!("seed {seed}: {what}: {name} on {} from {from}; told: {}", written(&scope), list(&told))
    });
    Result {
        kind: name,
        detected_after: first.map(|first| first.at.since(from).as_secs_f64()),
        right,
        right_at_page: first
            .is_some_and(|first| landfall::sandbox::scenario::covers_same(&routes, &first.then.suspects, &scope)),
        false_pages,
        extra,
        miss,
    }
}

fn row(name: &str, results: &[&Result]) -> Vec<serde_json::Value> {
    let n = results.len();
    let mut times: Vec<f64> = results.iter().filter_map(|result| result.detected_after).collect();
    let detected = times.len();
    let count = |of: &dyn Fn(&Result) -> usize| results.iter().map(|result| of(result)).sum::<usize>();
    vec![
        json!(name),
        json!(n),
        percent(detected, n),
        percent(count(&|result| usize::from(result.right)), n),
        percent(count(&|result| usize::from(result.right_at_page)), n),
        json!(count(&|result| result.false_pages)),
        percent(count(&|result| usize::from(result.extra > 0)), n),
        rank(&mut times, 0.5),
        rank(&mut times, 0.99),
    ]
}

/// All of them.
pub(crate) fn measure(args: &Args) -> Section {
    let results = each(args.worlds, |nth| one(args.seed + nth));
    let mut by_kind: BTreeMap<&str, Vec<&Result>> = BTreeMap::new();
    for result in &results {
        by_kind.entry(result.kind).or_default().push(result);
    }
    let mut rows = vec![row("all", &results.iter().collect::<Vec<_>>())];
    rows.extend(by_kind.iter().map(|(kind, results)| row(kind, results)));
    Section {
        title: format!("{} random worlds with one total fault, seeds from {}", args.worlds, args.seed),
        columns: vec![
            "kind",
            "worlds",
            "detected_%",
            "right_%",
            "right_at_page_%",
            "false_pages",
            "extra_incidents_%",
            "page_p50_s",
            "page_p99_s",
        ],
        rows,
        details: results.into_iter().filter_map(|result| result.miss).collect(),
    }
}

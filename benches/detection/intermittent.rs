//! Faults that hit one run in ten, in a hundred, a thousand, ten thousand, in the default world.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{Family, Outcome, Route, RouteId, Timestamp},
    cli::replay::play::{Play, play},
    detect::{
        incident::LabelSet,
        suspects::{Field, STRAY, Seen, best},
    },
    sandbox::{Fault, FaultKind, World, scenario::covers_same},
};
use serde_json::{Value, json};

use crate::{
    Args,
    figures::{Section, each, percent, rank, round},
    random::{self, START},
    score::{list, told},
};

/// A rate, and how many of the seeds it is measured with: rare hits take long to wait for.
const RATES: [(f64, f64); 4] = [(0.1, 0.2), (0.01, 0.2), (0.001, 0.1), (0.0001, 0.02)];
/// Hits to wait for, on average: enough to be sure of a name.
const HITS: f64 = 12.0;
/// Before it begins.
const WARM: Duration = Duration::from_secs(3_600);

struct Result {
    paged_after: Option<f64>,
    right: bool,
    right_at_page: bool,
    /// Whether the search for suspects would have been right, had it been given every run that was lost and
    /// every run that landed since the first of them: what theory allows.
    allowed: bool,
    incidents: usize,
    false_pages: usize,
    miss: Option<String>,
}

fn one(rate: f64, per_second: f64, seed: u64) -> Result {
    let world = World::default();
    let routes = world.routes();
    let scope: LabelSet = vec![("worker".to_owned(), "v5".to_owned())];
    let lasts = Duration::from_secs_f64(HITS / (per_second * rate)).max(Duration::from_secs(1_800));
    let from = START.plus(WARM);
    let fault = Fault { rate, ..random::fault(FaultKind::DropOutput, &scope, from, lasts) };
    let mut plan = Play::of_world(world, START, WARM + lasts);
    plan.faults = vec![fault.clone()];
    let played = play(&plan, seed).expect("the world plays");
    let told = told(&played);
    let due: Vec<_> = told.iter().filter(|told| told.is_due_to(&fault, &routes)).collect();
    let right = due.last().is_some_and(|last| last.names(&scope, &routes));
    let seen = seen(&played.finals, &routes);
    let allowed = best(&Field::of_routes(routes.iter().map(|route| &**route)), &seen, STRAY)
        .is_some_and(|best| covers_same(&routes, &best.labels, &scope));
    let right_at_page = due.first().is_some_and(|first| covers_same(&routes, &first.then.suspects, &scope));
    Result {
        paged_after: due.first().map(|first| first.at.since(from).as_secs_f64()),
        right,
        right_at_page,
        allowed,
        incidents: due.len(),
        false_pages: told.len() - due.len(),
        miss: (!right || due.len() != 1).then(|| {
            let hits: Vec<String> = (routes.iter().zip(&seen))
                .map(|(route, seen)| format!("{}/{} {}", route.platform, route.target, seen.red))
                .collect();
            format!("rate {rate}, seed {seed}: told: {}; lost: {}", list(&told), hits.join(", "))
        }),
    }
}

/// What really happened since the first loss, by route.
fn seen(finals: &[(Timestamp, RouteId, Outcome)], routes: &[Arc<Route>]) -> Vec<Seen> {
    let is_lost = |outcome: Outcome| outcome.family() == Some(Family::Missing);
    let first = finals.iter().find(|(_, _, outcome)| is_lost(*outcome)).map(|(due, ..)| *due);
    let mut seen = vec![Seen::default(); routes.len()];
    for (due, route, outcome) in finals {
        let at = routes.iter().position(|known| known.id == *route);
        if let (Some(at), true) = (at, first.is_some_and(|first| *due >= first)) {
            if is_lost(*outcome) { seen[at].red += 1 } else { seen[at].green += 1 }
        }
    }
    seen
}

/// All rates.
pub(crate) fn measure(args: &Args) -> Section {
    // Four routes on worker v5, a run a minute each.
    let per_second = 4.0 / 60.0;
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for (rate, share) in RATES {
        let seeds = ((args.seeds as f64 * share) as u64).max(1);
        let results = each(seeds, |nth| one(rate, per_second, args.seed + nth));
        let mut times: Vec<f64> = results.iter().filter_map(|result| result.paged_after).collect();
        let n = results.len();
        let paged = times.len();
        // The first hit comes after an exponentially distributed time: nobody can page before it.
        let first_hit = |share: f64| json!(round(-(1.0 - share).ln() / (rate * per_second), 1));
        // Half and 95 % of the sums of two such times.
        let second_hit = |times: f64| json!(round(times / (rate * per_second), 1));
        let count = |of: &dyn Fn(&Result) -> bool| results.iter().filter(|result| of(result)).count();
        let of_paged =
            |of: &dyn Fn(&Result) -> bool| percent(count(&|result| result.paged_after.is_some() && of(result)), paged);
        let row: Vec<Value> = vec![
            json!(rate),
            json!(seeds),
            percent(paged, n),
            rank(&mut times, 0.5),
            first_hit(0.5),
            second_hit(1.678),
            rank(&mut times, 0.95),
            first_hit(0.95),
            second_hit(4.744),
            of_paged(&|result| result.right_at_page),
            of_paged(&|result| result.right),
            of_paged(&|result| result.allowed),
            of_paged(&|result| result.incidents == 1),
            json!(results.iter().map(|result| result.false_pages).sum::<usize>()),
        ];
        rows.push(row);
        details.extend(results.into_iter().filter_map(|result| result.miss));
    }
    Section {
        title: format!("drop-output on worker=v5 at low rates, until {HITS} hits on average, seeds from {}", args.seed),
        columns: vec![
            "rate",
            "seeds",
            "paged_%",
            "page_p50_s",
            "first_hit_p50_s",
            "second_hit_p50_s",
            "page_p95_s",
            "first_hit_p95_s",
            "second_hit_p95_s",
            "right_at_page_%",
            "right_%",
            "theory_allows_%",
            "one_incident_%",
            "false_pages",
        ],
        rows,
        details,
    }
}

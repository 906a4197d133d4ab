//! What is foretold of faults that hit a share of runs, against replays of them. With more seeds, suspects
//! and shares: `cargo bench --bench detection -- power`.

use std::{thread, time::Duration};

use landfall::{
    canary::{Schedule, Selector, Timestamp},
    cli::replay::play::{Play, play},
    detect::{
        Change,
        power::{Course, Unnoticed, Watched, power},
    },
    sandbox::{Fault, FaultKind, Spread, World},
};

const START: Timestamp = Timestamp::from_secs(1_440_450_000);
/// Before the fault: every route has landed often enough to know its times.
const WARM: Duration = Duration::from_secs(40 * 60);
const SEEDS: u64 = 60;
/// Of so many times the median lies between these two, counted from 1, but for once in 2,000 tables.
const BETWEEN: (usize, usize) = (17, 44);

fn foretold(share: f64) -> Unnoticed {
    let world = World::default();
    let routes = world.routes();
    let schedule = Schedule::Every(world.canary.every);
    let watched: Vec<Watched<'_>> = (routes.iter())
        .map(|route| {
            let Some(Spread::LogNormal { p50, p99 }) = world.platform(&route.platform).map(|p| p.job_time) else {
                panic!("times of the default world")
            };
            let course = Course { p50, p99, land: Duration::from_secs(3) };
            let (objective, deadline) = (world.canary.objective, world.canary.deadline);
            Watched { route, schedule: &schedule, objective, deadline, pause: Duration::ZERO, course }
        })
        .collect();
    let v5 = [("worker".to_owned(), "v5".to_owned())];
    let all = power(&watched, &[share], START);
    all.into_iter().find(|power| power.labels == v5).expect("a suspect").shares[0]
}

/// Seconds from the beginning of a fault to the first word of it; endless where there was none.
fn replayed(share: f64, foretold: Unnoticed, seed: u64) -> f64 {
    let into = Duration::from_secs_f64(60.0 * (seed as f64 * 0.618_034).fract());
    let from = START.plus(WARM + into);
    let fault = Fault {
        kind: FaultKind::DropOutput,
        selector: Selector::new([("worker".to_owned(), "v5".to_owned())]),
        rate: share,
        from,
        until: None,
    };
    let lasts = WARM + into + foretold.median * 2 + Duration::from_secs(60);
    let plan = Play { faults: vec![fault], ..Play::of_world(World::default(), START, lasts) };
    let played = play(&plan, seed).expect("it plays");
    let mut words = played.notices.iter().filter(|notice| matches!(notice.change, Change::Opened(_)));
    words.next().map_or(f64::INFINITY, |notice| notice.at.since(from).as_secs_f64())
}

fn agrees(share: f64) {
    let foretold = foretold(share);
    let seeds = |first: u64| (first..=SEEDS).step_by(2).map(|seed| replayed(share, foretold, seed)).collect();
    let mut times: Vec<f64> = thread::scope(|scope| {
        let halves = [1, 2].map(|first| scope.spawn(move || -> Vec<f64> { seeds(first) }));
        halves.into_iter().flat_map(|half| half.join().expect("it plays")).collect()
    });
    times.sort_by(f64::total_cmp);
    let (low, high) = (times[BETWEEN.0 - 1], times[BETWEEN.1 - 1]);
    let median = foretold.median.as_secs_f64();
    assert!((low..=high).contains(&median), "{share}: {median} s foretold, replayed {low} to {high} s: {times:?}");
}

#[test]
fn the_first_word_of_a_total_fault_is_foretold_as_replays_have_it() {
    agrees(1.0);
}

#[test]
fn the_first_word_of_a_fault_of_one_run_in_ten_is_foretold_as_replays_have_it() {
    agrees(0.1);
}

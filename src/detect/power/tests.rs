//! Fewer hits, fewer routes and longer pauses are noticed later; what many routes come to is foretold quickly.

use super::{fault::reds, *};
use crate::canary::{CanaryName, LabelName, Labels, Mode, PlatformName, TargetName};

const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);
const S: fn(u64) -> Duration = Duration::from_secs;

/// A route with a worker, at an interval.
struct Path {
    route: Route,
    schedule: Schedule,
}

fn path(n: usize, worker: &str, every: u64) -> Path {
    let labels = Labels::new([(LabelName::new("worker").expect("a name"), worker.into())]);
    let platform = PlatformName::new(&format!("p{n}")).expect("a name");
    let (canary, target) = (CanaryName::new("c").expect("a name"), TargetName::new("t").expect("a name"));
    let route = Route::new(canary, platform, target, Mode::Append, labels);
    Path { route, schedule: Schedule::Every(S(every)) }
}

fn watched(paths: &[Path]) -> Vec<Watched<'_>> {
    let course = Course { p50: S(20), p99: S(60), land: S(3) };
    (paths.iter())
        .map(|Path { route, schedule }| Watched {
            route,
            schedule,
            objective: S(120),
            deadline: S(300),
            pause: Duration::ZERO,
            course,
        })
        .collect()
}

fn of_worker<'p>(all: &'p [Power], worker: &str) -> &'p Power {
    all.iter().find(|power| power.labels == [("worker".to_owned(), worker.to_owned())]).expect("a suspect")
}

fn world(routes: usize, every: u64) -> Vec<Path> {
    (0..routes).map(|n| path(n, "v5", every)).chain((routes..routes + 2).map(|n| path(n, "v6", every))).collect()
}

fn times(routes: usize, every: u64, shares: &[f64]) -> Vec<(f64, f64)> {
    let paths = world(routes, every);
    let all = power(&watched(&paths), shares, NOW);
    let of = |unnoticed: &Unnoticed| (unnoticed.median.as_secs_f64(), unnoticed.p95.as_secs_f64());
    of_worker(&all, "v5").shares.iter().map(of).collect()
}

#[test]
fn labels_that_cover_the_same_routes_are_one_suspect_and_one_that_all_have_is_none() {
    let paths = [path(1, "v5", 60), path(2, "v5", 60), path(3, "v6", 60)];
    let all = power(&watched(&paths), &[1.0], NOW);
    let names: Vec<String> = all.iter().map(|power| super::super::incident::write_labels(&power.labels)).collect();
    assert_eq!(names, ["worker=v5", "worker=v6", "platform=p1", "platform=p2"]);
    assert_eq!(all[1].also, [vec![("platform".to_owned(), "p3".to_owned())]]);
    assert_eq!((all[0].routes, all[0].runs_per_hour), (2, 120.0));
    // Where no label tells routes apart, everything is the suspect.
    let one = power(&watched(&paths[..1]), &[1.0], NOW);
    assert_eq!((one.len(), one[0].labels.len(), one[0].routes), (1, 0, 1));
}

#[test]
fn a_rare_fault_stays_unnoticed_until_its_first_hit_and_then_its_deadline() {
    // Two runs a minute, one in 10,000 is lost: the first is, in half of all cases, one of the first 6,931.
    let [(median, p95)] = times(2, 60, &[0.000_1])[..] else { panic!("one share") };
    let first = |share: f64| (1.0 - share).ln() / (1.0f64 - 0.000_1).ln() * 30.0;
    // Not all of the five minutes: a second loss within them would have been told at once.
    assert!((median - first(0.5) - 320.0).abs() < 60.0, "{median} {}", first(0.5));
    assert!((p95 - first(0.95) - 320.0).abs() < 200.0, "{p95}");
}

#[test]
fn a_total_fault_is_told_by_the_second_loss() {
    let [(median, p95)] = times(4, 60, &[1.0])[..] else { panic!("one share") };
    assert!((15.0..35.0).contains(&median) && median < p95 && p95 < 70.0, "{median} {p95}");
}

#[test]
fn more_routes_shorter_intervals_and_larger_shares_are_noticed_sooner() {
    let shares = [1.0, 0.1, 0.01, 0.001, 0.000_1];
    let usual = times(4, 60, &shares);
    assert!(usual.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{usual:?}");
    for better in [times(8, 60, &shares), times(4, 30, &shares)] {
        assert!(usual.iter().zip(&better).all(|(usual, better)| better.0 < usual.0 && better.1 < usual.1));
    }
}

#[test]
fn a_calendar_is_waited_for() {
    let hourly = Schedule::cron("0 * * * *", "UTC", NOW).expect("valid");
    let mornings = Schedule::cron("0 8-11 * * *", "UTC", NOW).expect("valid");
    let median = |schedule: &Schedule| {
        let mut paths = world(2, 60);
        paths.iter_mut().for_each(|path| path.schedule = schedule.clone());
        let all = power(&watched(&paths), &[1.0], NOW);
        let Unnoticed { median, p95, .. } = of_worker(&all, "v5").shares[0];
        (median.as_secs_f64(), p95.as_secs_f64())
    };
    let (half_an_hour, an_hour) = median(&hourly);
    assert!((half_an_hour - 1_840.0).abs() < 90.0 && (an_hour - 3_460.0).abs() < 120.0, "{half_an_hour} {an_hour}");
    // Most of a day is not morning: from eleven to eight are 21 hours.
    let (half_a_day, nearly_a_day) = median(&mornings);
    assert!((half_a_day - 9.0 * 3_600.0).abs() < 1_800.0, "{half_a_day}");
    assert!((nearly_a_day - 19.8 * 3_600.0).abs() < 1_800.0, "{nearly_a_day}");
}

#[test]
fn what_is_told_never_gets_untold() {
    let paths = world(3, 60);
    let watched = watched(&paths);
    let lines = Lines::of(&watched, NOW);
    let field = Field::of_routes(paths.iter().map(|path| &path.route));
    let covered = [0, 1, 2];
    let places = field.covered(&vec![("worker".to_owned(), "v5".to_owned())]);
    let lanes = lines.lanes(&covered);
    let asked = lines.asked(&field, &covered, &places, &mut BTreeMap::new());
    for share in SHARES {
        let fault = Fault::of(share, &lanes, &asked, &lines.flights);
        let untold: Vec<f64> = (0..200).map(|nth| fault.untold(f64::from(nth) * 7.0)).collect();
        assert!((untold[0] - 1.0).abs() < 1e-9);
        assert!(untold.windows(2).all(|pair| pair[1] <= pair[0] + 2e-3), "{share}: {untold:?}");
    }
}

#[test]
fn so_many_overdue_runs_convict_as_the_detector_takes() {
    // Four routes a minute: two are enough, whatever the share.
    assert_eq!(SHARES.map(|share| reds(share, 4.0 / 60.0, 300.0)), [Some(2); 5]);
    // Of ten thousand routes a few may be called lost that land after all.
    assert_eq!(reds(1.0, 10_000.0 / 60.0, 300.0), Some(3));
    assert!(reds(0.01, 10_000.0 / 60.0, 300.0).is_some_and(|reds| reds > 3));
    assert!(reds(0.000_1, 10_000.0 / 60.0, 300.0).is_none_or(|reds| reds > 10));
}

#[test]
fn ten_thousand_routes_are_foretold_for_a_score_of_suspects() {
    let paths: Vec<Path> = (0..10_000).map(|n| path(n, ["v1", "v2", "v3", "v4"][n % 4], 60)).collect();
    let all = power(&watched(&paths), &[1.0, 0.01], NOW);
    assert_eq!(all.len(), MOST_SUSPECTS);
    let v1 = of_worker(&all, "v1");
    assert_eq!((v1.routes, v1.runs_per_hour.round()), (2_500, 150_000.0));
    assert!(v1.shares[0].median < S(30) && v1.shares[1].p95 < S(320), "{:?}", v1.shares);
}

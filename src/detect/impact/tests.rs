//! Which jobs were hit: by tables, and by faults whose truth is known.

use super::*;
use crate::{
    canary::{LabelName, Labels, RouteId},
    detect::incident::Onset,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn span(from: i64, until: i64) -> Span {
    Span { from: at(from), until: at(until) }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().map(|(name, value)| (LabelName::new(name).expect("valid"), (*value).into())))
}

fn set(pairs: &[(&str, &str)]) -> LabelSet {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// 2015: two accounts, each with its own Hadoop, one Presto for both.
fn scene() -> Scene {
    let ground = |name: &str, worker: &str, jobs: &[(usize, &[(&str, &str)])]| Ground {
        name: name.to_owned(),
        labels: labels(&[("cluster", name), ("worker", worker)]),
        jobs: jobs.iter().map(|(account, fields)| (*account, set(fields))).collect(),
    };
    let sink = |name: &str, region: &str, schemes: &[&str]| Sink {
        name: name.to_owned(),
        labels: labels(&[("region", region)]),
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
    };
    Scene {
        platforms: vec![
            ground("presto", "v5", &[(0, &[("type", "presto")]), (1, &[("type", "presto")])]),
            ground("hadoop1", "v5", &[(0, &[("type", "hive")])]),
            ground("hadoop2", "v6", &[(1, &[("type", "hive"), ("pool_name", "big")])]),
        ],
        targets: vec![sink("web", "us", &["web", "webs"]), sink("bucket", "eu", &["s3"])],
    }
}

fn job(account: usize, kind: &str, scheme: &str, wrote: (i64, i64)) -> Job {
    Job {
        account,
        id: "1".to_owned(),
        owner: None,
        fields: set(&[("type", kind)]),
        scheme: Some(scheme.to_owned()),
        mode: Some(Mode::Append),
        started_at: Some(at(wrote.0)),
        ended_at: Some(at(wrote.1)),
        wrote: Some(span(wrote.0, wrote.1)),
    }
}

/// Good until 100, bad from 110 to 200, good from 210.
fn lasted() -> Bracket {
    Bracket {
        last_good: Some(at(100)),
        first_bad: at(110),
        last_bad: at(200),
        first_good: Some(at(210)),
        is_intermittent: false,
        asked_at: at(1_000),
    }
}

/// Whether it is on the list, and certain.
fn told(job: &Job, suspects: &[LabelSet]) -> Option<bool> {
    struck(job, &[lasted()], suspects, &scene()).map(|struck| struck.doubts.is_empty())
}

#[test]
fn what_was_written_while_the_fault_lasted_was_hit_and_its_edges_are_not_certain() {
    for (wrote, expected) in [
        ((120, 150), Some(true)),
        ((110, 200), Some(true)),
        // Begun before, written within, or not: nobody knows.
        ((90, 150), Some(false)),
        ((20, 101), Some(false)),
        ((101, 109), Some(false)),
        ((150, 205), Some(false)),
        ((205, 900), Some(false)),
        ((20, 900), Some(false)),
        ((20, 100), None),
        ((210, 211), None),
        ((500, 600), None),
    ] {
        assert_eq!(told(&job(0, "hive", "s3", wrote), &[set(&[("worker", "v5")])]), expected, "{wrote:?}");
    }
}

#[test]
fn jobs_ran_where_account_and_fields_say_and_have_the_labels_of_that_platform() {
    let v5 = [set(&[("worker", "v5")])];
    for (account, kind, expected) in [
        (0, "hive", Some(true)),
        (0, "presto", Some(true)),
        (1, "presto", Some(true)),
        // Hadoop 2 is v6, if it was in that pool at all: the only platform that it may have been on.
        (1, "hive", None),
        // Nobody says where these ran.
        (0, "pig", Some(false)),
        (2, "hive", Some(false)),
    ] {
        assert_eq!(told(&job(account, kind, "s3", (120, 130)), &v5), expected, "{account} {kind}");
    }
    assert_eq!(told(&job(0, "pig", "s3", (120, 130)), &[set(&[("worker", "v5"), ("target", "web")])]), None);
}

#[test]
fn each_name_that_a_fault_has_is_asked_of_the_job() {
    let presto = |scheme: &str| job(0, "presto", scheme, (120, 130));
    for (pairs, scheme, expected) in [
        (&[][..], "s3", Some(true)),
        (&[("platform", "presto")], "s3", Some(true)),
        (&[("platform", "hadoop1")], "s3", None),
        (&[("worker", "v5"), ("target", "web")], "webs", Some(true)),
        (&[("worker", "v5"), ("target", "web")], "s3", None),
        (&[("mode", "append")], "s3", Some(true)),
        (&[("mode", "replace")], "s3", None),
        (&[("region", "eu")], "s3", Some(true)),
        (&[("region", "eu")], "web", None),
        // Of these nobody can tell.
        (&[("region", "eu")], "mysql", Some(false)),
        (&[("canary", "result-output")], "s3", Some(false)),
        (&[("tier", "gold")], "s3", Some(false)),
        (&[("target", "gone")], "s3", Some(false)),
    ] {
        assert_eq!(told(&presto(scheme), &[set(pairs)]), expected, "{pairs:?} {scheme}");
    }
    let unknown = Job { scheme: None, mode: None, ..presto("s3") };
    for pairs in [[("target", "web")], [("mode", "append")], [("region", "eu")]] {
        assert_eq!(told(&unknown, &[set(&pairs)]), Some(false), "{pairs:?}");
    }
    // Sets that canaries cannot tell apart are told apart by jobs: what only one of them covers is not certain.
    let either = [set(&[("cluster", "presto")]), set(&[("worker", "v5")])];
    assert_eq!(told(&presto("s3"), &either), Some(true));
    assert_eq!(told(&job(0, "hive", "s3", (120, 130)), &either), Some(false));
}

#[test]
fn a_platform_matters_if_something_of_it_can_have_been_hit() {
    for (pairs, expected) in [
        (&[][..], [true, true, true]),
        (&[("worker", "v5")], [true, true, false]),
        (&[("cluster", "hadoop1"), ("target", "web")], [false, true, false]),
        (&[("target", "web")], [true, true, true]),
    ] {
        let may = ["presto", "hadoop1", "hadoop2"].map(|name| scene().may_hit(name, &[set(pairs)]));
        assert_eq!(may, expected, "{pairs:?}");
    }
}

#[test]
fn what_is_not_known_of_a_job_keeps_it_on_the_list() {
    let v5 = [set(&[("worker", "v5")])];
    let nowhen = Job { wrote: None, ..job(0, "hive", "s3", (0, 0)) };
    assert_eq!(told(&nowhen, &v5), Some(false));
    let untyped = Job { fields: Vec::new(), ..job(0, "hive", "s3", (120, 130)) };
    assert_eq!(told(&untyped, &v5), Some(true), "presto or hadoop1: both are v5");
    let untyped = Job { account: 1, ..untyped };
    assert_eq!(told(&untyped, &v5), Some(false), "presto or hadoop2");
    let flickers = Bracket { is_intermittent: true, ..lasted() };
    let found = struck(&job(0, "hive", "s3", (120, 130)), &[flickers], &v5, &scene()).expect("on the list");
    assert_eq!(found.doubts, ["not every run was hit while the fault lasted"]);
}

/// The only one.
fn bracket(onset: Onset, resolved_at: Option<Timestamp>, runs: &[Flown], now: Timestamp) -> Bracket {
    let [one] = brackets(onset, resolved_at, runs, now)[..] else { panic!("one") };
    one
}

fn flown(is_bad: bool, from: i64, until: i64) -> Flown {
    Flown { route: RouteId(1), wrote: span(from, until), is_bad }
}

#[test]
fn the_bracket_is_as_narrow_as_runs_on_all_its_routes_make_it() {
    let onset = Onset { last_good: Some(at(80)), first_bad: at(105) };
    let (good, bad) = (false, true);
    let runs = [
        flown(good, 50, 60),
        flown(good, 100, 104),
        flown(bad, 106, 110),
        flown(bad, 150, 170),
        flown(bad, 200, 204),
        flown(good, 203, 210),
        flown(good, 230, 240),
    ];
    assert_eq!(bracket(onset, Some(at(300)), &runs, at(1_000)), lasted());
    // Nothing good has come yet.
    let open = bracket(onset, None, &runs[..5], at(1_000));
    assert_eq!((open.first_good, open.until(), open.last_bad), (None, at(1_000), at(200)));
    // The ledger has thinned out what was good: what the incident says of itself is wider.
    let thin = bracket(onset, Some(at(300)), &runs[2..5], at(1_000));
    assert_eq!((thin.last_good, thin.first_good), (Some(at(80)), Some(at(300))));
    // It knows none of the runs: nothing is certain.
    let none = bracket(onset, Some(at(300)), &[], at(1_000));
    assert!(!none.holds(span(150, 151)) && none.may_hold(span(150, 151)) && !none.may_hold(span(300, 301)));
    // A run landed in the middle: one in many is hit.
    let flickers = bracket(onset, Some(at(300)), &[&runs[..], &[flown(good, 160, 165)]].concat(), at(1_000));
    assert!(flickers.is_intermittent);
}

#[test]
fn nothing_that_was_hit_is_left_out_and_what_is_certain_was_hit() {
    for seed in 0..3_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        // A fault, and what is written at moments that nobody sees, but between those that are told.
        let (begins, ends) = (dice.i64(100..400), dice.i64(400..800));
        let seen = |moment: i64, dice: &mut fastrand::Rng| span(moment - dice.i64(0..20), moment + dice.i64(0..20));
        let is_hit = |moment: i64| begins <= moment && moment < ends;
        let every = dice.i64(5..60);
        let mut runs = Vec::new();
        let (mut first, mut last_good) = (None, None);
        for n in 0..1_000 / every {
            let moment = n * every + dice.i64(0..every);
            runs.push(Flown { route: RouteId(1), wrote: seen(moment, &mut dice), is_bad: is_hit(moment) });
            if is_hit(moment) {
                first = first.or(Some(moment));
            } else if first.is_none() {
                last_good = Some(moment);
            }
        }
        let Some(first) = first else { continue };
        let onset = Onset { last_good: last_good.map(|at_| at(at_ - 20)), first_bad: at(first - 20) };
        let bracket = bracket(onset, None, &runs, at(1_000));
        assert!(!bracket.is_intermittent, "seed {seed}");
        for _ in 0..200 {
            let moment = dice.i64(0..1_000);
            let wrote = seen(moment, &mut dice);
            assert!(!is_hit(moment) || bracket.may_hold(wrote), "seed {seed}: {moment} was hit and is left out");
            assert!(!bracket.holds(wrote) || is_hit(moment), "seed {seed}: {moment} is certain and was not hit");
        }
    }
}

/// Runs of routes in turn, a second each; whether the fault hits one that is written then, the test says.
fn flights(routes: u64, seconds: std::ops::Range<i64>, mut is_hit: impl FnMut(i64) -> bool) -> Vec<Flown> {
    let run = |at| Flown { route: RouteId(at as u64 % routes), wrote: span(at, at + 1), is_bad: is_hit(at) };
    seconds.map(run).collect()
}

#[test]
fn each_time_that_a_fault_came_is_told_by_itself() {
    // Three outages, each of every run, with minutes between in which customers were well.
    let is_hit = |second: i64| matches!(second, 100..130 | 200..215 | 400..460);
    let runs = flights(4, 0..600, is_hit);
    let onset = Onset { last_good: Some(at(95)), first_bad: at(100) };
    let found = brackets(onset, Some(at(500)), &runs, at(1_000));
    let edges = |one: &Bracket| (one.last_good, one.first_bad, one.last_bad, one.first_good, one.is_intermittent);
    let of = |good, bad, last, over| (Some(at(good)), at(bad), at(last), Some(at(over)), false);
    let wanted = [of(99, 101, 129, 131), of(199, 201, 214, 216), of(399, 401, 459, 461)];
    assert_eq!(found.iter().map(edges).collect::<Vec<_>>(), wanted);
    let all = hull(&found);
    assert_eq!(
        (all.last_good, all.first_bad, all.last_bad, all.first_good),
        (Some(at(99)), at(101), at(459), Some(at(461)))
    );
    let told = |wrote| {
        let found = struck(&job(0, "hive", "s3", wrote), &found, &[set(&[("worker", "v5")])], &scene());
        found.map(|struck| struck.doubts.is_empty())
    };
    for (wrote, expected) in [
        ((105, 110), Some(true)),
        ((205, 210), Some(true)),
        ((410, 450), Some(true)),
        ((140, 190), None),
        ((220, 390), None),
        ((120, 140), Some(false)),
        // At work through both, or through a pause.
        ((90, 300), Some(false)),
        ((120, 205), Some(false)),
    ] {
        assert_eq!(told(wrote), expected, "{wrote:?}");
    }
}

#[test]
fn a_fault_that_hits_some_runs_has_no_pauses_that_prove_anything() {
    for (seed, rate) in (0..200).flat_map(|seed| [0.02, 0.1, 0.3, 0.5, 0.7].map(|rate| (seed, rate))) {
        let mut dice = fastrand::Rng::with_seed(seed);
        for routes in [1, 4] {
            let runs = flights(routes, 0..1_000, |second| (100..900).contains(&second) && dice.f64() < rate);
            let onset = Onset { last_good: Some(at(95)), first_bad: at(100) };
            let found = brackets(onset, None, &runs, at(2_000));
            assert_eq!(found.len(), 1, "{seed} {rate} {routes}");
        }
    }
}

#[test]
fn however_often_a_fault_comes_none_is_left_out_and_what_is_certain_was_hit() {
    let mut parted = 0;
    for seed in 0..1_000 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut edges = vec![dice.i64(100..200)];
        while edges.len() < 6 {
            edges.push(edges[edges.len() - 1] + dice.i64(5..200));
        }
        let is_hit = |moment: i64| edges.chunks(2).any(|one| one[0] <= moment && moment < one[1]);
        let seen = |moment: i64, dice: &mut fastrand::Rng| span(moment - dice.i64(0..4), moment + dice.i64(0..4));
        let run = |moment: i64| {
            let wrote = seen(moment, &mut dice);
            Flown { route: RouteId(moment as u64 % 3), wrote, is_bad: is_hit(moment) }
        };
        let runs: Vec<Flown> = (0..1_400).map(run).collect();
        let onset = Onset { last_good: Some(at(edges[0] - 10)), first_bad: at(edges[0]) };
        let found = brackets(onset, None, &runs, at(2_000));
        parted += found.len();
        for moment in 0..1_400 {
            let wrote = seen(moment, &mut dice);
            let held = |held: fn(&Bracket, Span) -> bool| found.iter().any(|one| held(one, wrote));
            assert!(!is_hit(moment) || held(Bracket::may_hold), "seed {seed}: {moment} was hit and is left out");
            let certain = |one: &Bracket, wrote| one.holds(wrote) && !one.is_intermittent;
            assert!(!held(certain) || is_hit(moment), "seed {seed}: {moment} is certain and was not hit");
        }
    }
    assert!(parted > 2_500, "{parted}");
}

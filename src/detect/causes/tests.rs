//! What the search names, on fields small enough to judge by eye.

use super::*;
use crate::detect::incident::write_labels;

/// 2015's world: (cluster, worker, target).
const PLACES: [(&str, &str, &str); 6] = [
    ("presto", "v5", "web"),
    ("presto", "v5", "bucket"),
    ("hadoop1", "v5", "web"),
    ("hadoop1", "v5", "bucket"),
    ("hadoop2", "v6", "web"),
    ("hadoop2", "v6", "bucket"),
];

fn found(cells: [(u32, u32); 6]) -> Vec<Cause> {
    let field = Field::new(["cluster", "worker", "target"].map(String::from).to_vec(), PLACES.len(), |name, at| {
        let (cluster, worker, target) = PLACES[at];
        let value = match name {
            "cluster" => cluster,
            "worker" => worker,
            _ => target,
        };
        Some(value.to_owned())
    });
    let seen = cells.map(|(red, green)| Seen { red, green });
    causes(&field, &seen, &[1e-4; 6])
}

fn named(cells: [(u32, u32); 6]) -> Vec<String> {
    found(cells).iter().map(|cause| write_labels(&cause.labels)).collect()
}

#[test]
fn one_red_in_each_cluster_and_one_green_elsewhere_blame_the_worker() {
    assert_eq!(named([(1, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 1)]), ["worker=v5"]);
    assert_eq!(named([(2, 0), (2, 0), (2, 0), (2, 0), (0, 2), (0, 2)]), ["worker=v5"]);
}

#[test]
fn a_target_is_blamed_when_every_platform_fails_on_it() {
    assert_eq!(named([(0, 2), (2, 0), (0, 2), (1, 0), (0, 1), (1, 0)]), ["target=bucket"]);
}

#[test]
fn two_labels_are_blamed_when_one_is_not_enough() {
    assert_eq!(named([(3, 0), (0, 3), (3, 0), (0, 3), (0, 3), (0, 3)]), ["worker=v5 target=web"]);
}

#[test]
fn everything_is_blamed_when_everything_is_red() {
    assert_eq!(named([(1, 0); 6]), ["everything"]);
    assert_eq!(named([(5, 0); 6]), ["everything"]);
}

#[test]
fn a_fault_of_one_run_in_three_is_named_all_the_same() {
    assert_eq!(named([(5, 10), (4, 11), (6, 9), (5, 10), (0, 15), (0, 15)]), ["worker=v5"]);
}

#[test]
fn two_faults_are_two_causes() {
    assert_eq!(
        named([(0, 9), (9, 0), (0, 9), (0, 9), (9, 0), (9, 0)]),
        ["cluster=hadoop2", "cluster=presto target=bucket"]
    );
}

#[test]
fn sets_that_cover_the_same_places_are_one_cause_with_other_names() {
    let cause = found([(0, 2), (0, 2), (0, 2), (0, 2), (2, 0), (2, 0)]).remove(0);
    assert_eq!(write_labels(&cause.labels), "cluster=hadoop2");
    assert_eq!(cause.also, [vec![("worker".to_owned(), "v6".to_owned())]]);
}

#[test]
fn nothing_is_named_where_nothing_is_red() {
    assert!(named([(0, 9); 6]).is_empty());
    assert!(named([(0, 0); 6]).is_empty());
}

/// Ten regions, six versions, four targets, forty jobs a combination; `rates` tells red now and before.
fn table(before: bool, rates: impl Fn(u32, u32, u32) -> (f64, f64)) -> Table {
    let texts = |letter: char, n: u32| (0..n).map(|at| format!("{letter}{at}")).collect();
    let mut table = Table {
        names: ["region", "version", "target"].map(String::from).to_vec(),
        texts: vec![texts('r', 10), texts('v', 6), texts('t', 4)],
        ids: vec![Vec::new(); 3],
        ..Table::default()
    };
    // Numbers spread as chance would, without any.
    let mut due = [0.37, 0.61];
    let mut count = |which: usize, rate: f64| {
        due[which] += 40.0 * rate;
        let red = due[which].floor();
        due[which] -= red;
        Seen { red: red as u32, green: 40 - red as u32 }
    };
    let mut was = Vec::new();
    for (region, version, target) in (0..10).flat_map(|r| (0..6).flat_map(move |v| (0..4).map(move |t| (r, v, t)))) {
        [region, version, target].into_iter().zip(&mut table.ids).for_each(|(id, column)| column.push(id));
        let (now, then) = rates(region, version, target);
        table.seen.push(count(0, now));
        was.push(count(1, then));
    }
    table.before = before.then_some(was);
    table
}

fn blamed(table: &Table) -> Vec<String> {
    blame(table, 2).iter().map(|cause| write_labels(&cause.labels)).collect()
}

#[test]
fn a_combination_is_named_among_values_whose_rates_differ() {
    let ordinary = |region: u32| 0.02 * f64::from(region);
    let rates = |region, version, target| {
        let hit = version == 3 && target == 1;
        (ordinary(region) + if hit { 0.3 } else { 0.0 }, ordinary(region))
    };
    assert_eq!(blamed(&table(false, rates)), ["version=v3 target=t1"]);
    assert_eq!(blamed(&table(true, rates)), ["version=v3 target=t1"]);
}

#[test]
fn values_whose_rates_always_differed_are_not_blamed() {
    let rates = |region: u32, _, _| (0.02 * f64::from(region), 0.02 * f64::from(region));
    assert!(blamed(&table(false, rates)).is_empty());
    assert!(blamed(&table(true, rates)).is_empty());
}

#[test]
fn what_was_like_that_before_is_not_blamed_and_without_a_before_it_is() {
    let rates = |region: u32, _, _| if region == 4 { (0.5, 0.5) } else { (0.03, 0.03) };
    assert!(blamed(&table(true, rates)).is_empty());
    assert_eq!(blamed(&table(false, rates)), ["region=r4"]);
}

#[test]
fn the_more_general_is_named_unless_the_added_label_matters() {
    let general = |_, version, _| (if version == 2 { 0.4 } else { 0.05 }, 0.05);
    assert_eq!(blamed(&table(false, general)), ["version=v2"]);
    let special = |region, version, _| (if version == 2 && region < 9 { 0.4 } else { 0.05 }, 0.05);
    assert_eq!(blamed(&table(false, special)), ["version=v2"], "nine regions of ten are the rule");
}

#[test]
fn two_causes_of_different_size_are_both_named_the_stronger_first() {
    let rates = |region, version, target| {
        let weak = if region == 7 && target == 0 { 0.3 } else { 0.0 };
        (if version == 1 { 0.7 } else { 0.04 + weak }, 0.04)
    };
    assert_eq!(blamed(&table(true, rates)), ["version=v1", "region=r7 target=t0"]);
}

#[test]
fn everything_is_blamed_only_beside_a_before() {
    let rates = |_, _, _| (0.6, 0.02);
    assert_eq!(blamed(&table(true, rates)), ["everything"]);
    assert!(blamed(&table(false, rates)).is_empty());
}

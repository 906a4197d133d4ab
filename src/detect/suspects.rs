//! Suspects: the smallest set of labels that covers the red and spares the green. A search over
//! label sets, each scored by how well "inside fails at one rate, outside does not" explains what
//! was seen, against the price of every label.

use std::{cmp::Ordering, ops::Deref, sync::Arc};

use super::chance::ln_factorial;
pub use super::{
    field::{Field, Places, Seen},
    scope::{LARGE, MOST_LABELS, Scope},
};

/// How likely a silent red is outside the fault, where nothing is known of it. Nothing is lost by
/// itself: far smaller than the rate of any fault that could be found, or a few runs that a rare fault
/// hit elsewhere would pass for strays.
pub const STRAY: f64 = 1e-8;

/// Suspects of which each is tried as the first of two faults.
const FIRSTS: usize = 40;

/// Half of all faults hit every run; for those one green acquits almost certainly.
const TOTAL_FAULT: f64 = 0.5;
/// A run of a total fault that came out green all the same: it was under way when the fault began.
const SPARED: f64 = 1e-3;

/// The price of a set by its number of labels, in nats. A fault rarely follows "everything"; each
/// further label has to pay for itself with evidence.
const PRICE: [f64; MOST_LABELS + 1] = [3.0, 2.0, 5.0, 8.0];

/// The price of a second fault at the same time.
pub const SECOND_FAULT: f64 = 4.0;

/// The price of a set that also covers routes where another incident is known to go on, and nothing is
/// seen of this one: that two faults hit the same routes is a coincidence more. Below the price of a
/// label, so that it decides between names of as many labels, and does not make them longer.
const ELSEWHERE: f64 = 1.5;

/// What several faults must explain better than one does, beside their prices, before they are told
/// apart: with thousands of pairs to choose from, chance alone finds one that fits a little better.
const APART: f64 = 8.0;

/// More faults at once than this are not told apart.
const MOST_FAULTS: usize = 4;

/// A scope with what speaks for it.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Which.
    pub scope: Arc<Scope>,
    /// How well it explains what was seen, price paid; in nats, higher is better.
    pub score: f64,
    /// Red and green inside.
    pub inside: Seen,
}

impl Deref for Suspect {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

/// The better first; among equals the more general, then the one with fewer labels.
fn order(a: &Suspect, b: &Suspect) -> Ordering {
    (b.score.total_cmp(&a.score)).then_with(|| b.count.cmp(&a.count)).then(a.labels.len().cmp(&b.labels.len()))
}

/// All suspects, best first.
pub fn rank(field: &Field, seen: &[Seen], stray: f64) -> Vec<Suspect> {
    rank_beside(field, seen, stray, None)
}

fn rank_beside(field: &Field, seen: &[Seen], stray: f64, others: Option<&Places>) -> Vec<Suspect> {
    let mut all = Vec::new();
    weigh(field, seen, stray, others, |scope, inside, outside, price| {
        let score = explains(inside) + outside - price;
        all.push(Suspect { scope: Arc::clone(scope), score, inside });
    });
    all.sort_by(order);
    all
}

/// The best suspect alone: what [`rank`] puts first.
pub fn best(field: &Field, seen: &[Seen], stray: f64) -> Option<Suspect> {
    best_beside(field, seen, stray, None)
}

fn best_beside(field: &Field, seen: &[Seen], stray: f64, others: Option<&Places>) -> Option<Suspect> {
    let mut best: Option<Suspect> = None;
    weigh(field, seen, stray, others, |scope, inside, outside, price| {
        // Most are far behind: a bound that takes no exponentials tells.
        if best.as_ref().is_some_and(|best| explains_at_most(inside) + outside - price < best.score - 1e-6) {
            return;
        }
        let one = Suspect { scope: Arc::clone(scope), score: explains(inside) + outside - price, inside };
        if best.as_ref().is_none_or(|best| order(&one, best) == Ordering::Less) {
            best = Some(one);
        }
    });
    best
}

/// Calls back with each scope worth trying, what was seen inside, what taking the rest for strays
/// comes to, and its price.
fn weigh(
    field: &Field,
    seen: &[Seen],
    stray: f64,
    others: Option<&Places>,
    mut each: impl FnMut(&Arc<Scope>, Seen, f64, f64),
) {
    let total = Seen::sum(seen.iter());
    if total.red == 0 || field.is_empty() {
        return;
    }
    let stray = Stray::of(stray);
    field.each_scope(seen, |scope| {
        let inside = scope.places.sum(seen);
        each(scope, inside, stray.of_runs(total.less(inside)), price(scope, others));
    });
}

/// `others`: places where another incident goes on.
fn price(scope: &Scope, others: Option<&Places>) -> f64 {
    let elsewhere = others.is_some_and(|others| scope.places.meets(others));
    PRICE[scope.labels.len().min(MOST_LABELS)] + if elsewhere { ELSEWHERE } else { 0.0 }
}

/// The suspects that together explain what was seen best: one, or several if several faults at once
/// explain it better, each further one at [`SECOND_FAULT`]. Most red first.
pub fn explain(field: &Field, seen: &[Seen], stray: f64) -> Vec<Suspect> {
    best_and_all(field, seen, stray, None).map(|(_, all)| all).unwrap_or_default()
}

/// The one suspect that explains what was seen best, and those that together do; `others`: places
/// where another incident goes on and nothing is seen of this one.
pub fn best_and_all(
    field: &Field,
    seen: &[Seen],
    stray: f64,
    others: Option<&Places>,
) -> Option<(Suspect, Vec<Suspect>)> {
    let best = best_beside(field, seen, stray, others)?;
    let total = Seen::sum(seen.iter());
    if best.inside.green == 0 && best.inside.red == total.red {
        return Some((best.clone(), vec![best]));
    }
    let all = together(&rank_beside(field, seen, stray, others), seen, stray, others);
    Some((best, all))
}

fn together(classes: &[Suspect], seen: &[Seen], stray: f64, others: Option<&Places>) -> Vec<Suspect> {
    let Some(best) = classes.first() else { return Vec::new() };
    let stray = Stray::of(stray);
    // What a class explains of the places that others leave to it, beside taking them for strays.
    let gain = |class: &Suspect, taken: &[&Suspect]| {
        let inside = class.places.sum_without(taken.iter().map(|other| &other.places), seen);
        (explains(inside) - stray.of_runs(inside) - price(class, others), inside)
    };
    let (firsts, seconds) = if seen.len() > LARGE { (6, 100) } else { (FIRSTS, usize::MAX) };
    let general = classes.iter().enumerate().filter(|(at, class)| *at >= firsts && class.labels.len() == 1);
    let firsts = classes.iter().take(firsts).chain(general.map(|(_, class)| class).take(firsts));
    let mut found: (f64, Vec<&Suspect>) = (gain(best, &[]).0 + APART, vec![best]);
    for first in firsts {
        let alone = gain(first, &[]).0;
        for second in classes.iter().take(seconds) {
            let (more, inside) = gain(second, &[first]);
            if inside.red > 0 && alone + more - SECOND_FAULT > found.0 + 1e-9 {
                found = (alone + more - SECOND_FAULT, vec![first, second]);
            }
        }
    }
    // Further ones as long as each pays for itself.
    while found.1.len() > 1 && found.1.len() < MOST_FAULTS {
        let more = classes.iter().take(seconds).map(|class| (class, gain(class, &found.1)));
        let Some((class, (more, _))) = more.max_by(|a, b| a.1.0.total_cmp(&b.1.0)) else { break };
        if more <= SECOND_FAULT + APART {
            break;
        }
        found.1.push(class);
    }
    let mut told: Vec<Suspect> = Vec::new();
    for (n, class) in found.1.iter().enumerate() {
        let inside = gain(class, &found.1[..n]).1;
        told.push(Suspect { inside, ..(*class).clone() });
    }
    told.sort_by_key(|suspect| std::cmp::Reverse(suspect.inside.red));
    told
}

/// How well one fault explains what was seen inside: either it hits every run, or some share of
/// them, any share being as likely as any other.
fn explains(inside: Seen) -> f64 {
    let [total, some] = explanations(inside);
    let more = total.max(some);
    more + ((total - more).exp() + (some - more).exp()).ln()
}

/// No less than [`explains`], and nearly it.
fn explains_at_most(inside: Seen) -> f64 {
    let [total, some] = explanations(inside);
    total.max(some) + std::f64::consts::LN_2
}

fn explanations(inside: Seen) -> [f64; 2] {
    let (red, green) = (f64::from(inside.red), f64::from(inside.green));
    let total = TOTAL_FAULT.ln() + red * (1.0 - SPARED).ln() + green * SPARED.ln();
    let some = (1.0 - TOTAL_FAULT).ln() + ln_factorial(inside.red) + ln_factorial(inside.green)
        - ln_factorial(inside.red.saturating_add(inside.green).saturating_add(1));
    [total, some]
}

/// What it takes to take runs for strays: the logarithms of a run that is bad by itself, and of one
/// that is not.
struct Stray {
    red: f64,
    green: f64,
}

impl Stray {
    fn of(stray: f64) -> Self {
        Self { red: stray.ln(), green: (1.0 - stray).ln() }
    }

    fn of_runs(&self, outside: Seen) -> f64 {
        f64::from(outside.red) * self.red + f64::from(outside.green) * self.green
    }
}

/// Siblings asked beside the red place at once: each halves what can be the suspect.
const SIBLINGS: usize = 3;

/// Which places to look at next, beside one that is red: the best question, then the best for the case
/// that its answer is red, which tells least. `open` says which places may be chosen.
pub fn questions(mut ranked: Vec<Suspect>, open: impl Fn(usize) -> bool, n: usize) -> Vec<usize> {
    let mut asked = Vec::new();
    for _ in 0..SIBLINGS {
        let Some(sibling) = best_question(&ranked, |place| open(place) && !asked.contains(&place), n) else { break };
        asked.push(sibling);
        ranked.retain(|suspect| suspect.places.has(sibling));
    }
    asked
}

/// Which place to look at next: the one whose answer splits the leading suspects most evenly.
/// `open` says which places may be chosen.
pub fn best_question(suspects: &[Suspect], open: impl Fn(usize) -> bool, n: usize) -> Option<usize> {
    let top = suspects.first()?.score;
    let leading: Vec<(&Suspect, f64)> =
        suspects.iter().map(|s| (s, (s.score - top).exp())).filter(|(_, weight)| *weight > 0.01).collect();
    let whole: f64 = leading.iter().map(|(_, weight)| weight).sum();
    let split = |at: usize| {
        let covering: f64 = leading.iter().filter(|(s, _)| s.places.has(at)).map(|(_, weight)| weight).sum();
        covering.min(whole - covering)
    };
    (0..n)
        .filter(|at| open(*at))
        .map(|at| (at, split(at)))
        .filter(|(_, split)| *split > 0.0)
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015's world: (cluster, worker, target).
    fn field() -> Field {
        let places = [
            ("presto", "v5", "web"),
            ("presto", "v5", "bucket"),
            ("hadoop1", "v5", "web"),
            ("hadoop1", "v5", "bucket"),
            ("hadoop2", "v6", "web"),
            ("hadoop2", "v6", "bucket"),
        ];
        Field::new(["cluster", "worker", "target"].map(String::from).to_vec(), places.len(), |name, at| {
            let (cluster, worker, target) = places[at];
            Some(
                match name {
                    "cluster" => cluster,
                    "worker" => worker,
                    _ => target,
                }
                .to_owned(),
            )
        })
    }

    fn seen(cells: [(u32, u32); 6]) -> Vec<Seen> {
        cells.iter().map(|(red, green)| Seen { red: *red, green: *green }).collect()
    }

    fn named(cells: [(u32, u32); 6]) -> String {
        super::super::incident::write_labels(&rank(&field(), &seen(cells), STRAY)[0].labels)
    }

    #[test]
    fn the_worker_is_blamed_when_both_its_clusters_are_red() {
        assert_eq!(named([(2, 0), (2, 0), (2, 0), (2, 0), (0, 2), (0, 2)]), "worker=v5");
    }

    #[test]
    fn one_red_in_each_cluster_and_one_green_elsewhere_are_enough() {
        assert_eq!(named([(1, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 1)]), "worker=v5");
    }

    #[test]
    fn a_target_is_blamed_when_every_platform_fails_on_it() {
        assert_eq!(named([(0, 2), (2, 0), (0, 2), (1, 0), (0, 1), (1, 0)]), "target=bucket");
    }

    #[test]
    fn two_labels_are_blamed_when_one_is_not_enough() {
        assert_eq!(named([(3, 0), (0, 3), (3, 0), (0, 3), (0, 3), (0, 3)]), "worker=v5 target=web");
    }

    #[test]
    fn everything_is_blamed_when_everything_is_red() {
        assert_eq!(named([(1, 0); 6]), "everything");
    }

    #[test]
    fn a_fault_of_one_run_in_three_is_named_all_the_same() {
        assert_eq!(named([(5, 10), (4, 11), (6, 9), (5, 10), (0, 15), (0, 15)]), "worker=v5");
    }

    #[test]
    fn the_best_alone_is_the_first_of_all() {
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let cells = [(); 6].map(|()| (dice.u32(0..3), dice.u32(0..4)));
            let ranked = rank(&field(), &seen(cells), STRAY);
            let best = best(&field(), &seen(cells), STRAY);
            assert_eq!(ranked.first().map(|first| &first.labels), best.as_ref().map(|best| &best.labels), "{cells:?}");
        }
    }

    #[test]
    fn a_name_leaves_out_routes_where_another_fault_is_known_if_it_need_not_be_longer() {
        let named = |cells, others: &[usize]| {
            let mut places = Places::none(6);
            others.iter().for_each(|at| places.insert(*at));
            let (best, _) = best_and_all(&field(), &seen(cells), STRAY, Some(&places)).expect("a name");
            super::super::incident::write_labels(&best.labels)
        };
        let cells = [(3, 0), (3, 0), (0, 0), (0, 0), (0, 3), (0, 3)];
        assert_eq!(named(cells, &[]), "worker=v5");
        assert_eq!(named(cells, &[2, 3]), "cluster=presto");
        assert_eq!(named([(3, 0), (0, 3), (3, 0), (0, 3), (0, 0), (0, 0)], &[4, 5]), "target=web");
    }

    fn explained(cells: [(u32, u32); 6]) -> Vec<String> {
        let told = explain(&field(), &seen(cells), STRAY);
        told.iter().map(|suspect| super::super::incident::write_labels(&suspect.labels)).collect()
    }

    #[test]
    fn two_faults_of_one_kind_are_told_apart() {
        assert_eq!(
            explained([(5, 0), (5, 0), (0, 5), (0, 5), (0, 5), (3, 0)]),
            ["cluster=presto", "cluster=hadoop2 target=bucket"]
        );
    }

    #[test]
    fn one_fault_is_not_made_two() {
        assert_eq!(explained([(1, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 1)]), ["worker=v5"]);
        assert_eq!(explained([(5, 10), (4, 11), (6, 9), (5, 10), (0, 15), (0, 15)]), ["worker=v5"]);
        assert_eq!(explained([(1, 20), (3, 18), (1, 20), (2, 19), (2, 19), (1, 20)]), ["everything"]);
    }

    #[test]
    fn sets_that_cover_the_same_places_are_one_suspect_with_other_names() {
        let top = rank(&field(), &seen([(0, 2), (0, 2), (0, 2), (0, 2), (2, 0), (2, 0)]), STRAY).remove(0);
        assert_eq!(super::super::incident::write_labels(&top.labels), "cluster=hadoop2");
        assert_eq!(top.also, [vec![("worker".to_owned(), "v6".to_owned())]]);
    }

    #[test]
    fn the_next_question_splits_the_suspects() {
        let after_one_red = rank(&field(), &seen([(1, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)]), STRAY);
        let next = best_question(&after_one_red, |at| at != 0, 6).expect("a question");
        assert_ne!(next, 0);
    }
}

//! Tables with planted causes: what `landfall blame` is measured on. One seed, one table.
//!
//! A table is a history of jobs by label combination: 100–10,000 rows (log-uniform), three to six
//! labels of two to twenty values with unequal popularity, often one label that follows another
//! (as a worker follows a cluster) with or without exceptions, and a handful to some dozens of jobs a
//! row. Ordinary failures come at a rate of 0–20 % that differs by the values of one or two labels.
//! One or two causes of one to three labels add failures to 5–100 % of the jobs of their rows, in a
//! third of them only in some of their rows. Half of the tables tell how it was before.
//!
//! What cannot be known is not asked: a cause holds in at least five rows and at most four in ten, is
//! expected to bring at least ten reds that would not have been, and two causes do not contain each other.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;

/// A set of labels by place of the name and of the value.
pub(crate) type Set = Vec<(usize, u32)>;

/// One row: a combination of values, what was counted, and what had been counted before.
pub(crate) struct Row {
    pub(crate) values: Vec<u32>,
    pub(crate) green: u32,
    pub(crate) red: u32,
    pub(crate) before: Option<(u32, u32)>,
}

/// Something planted.
pub(crate) struct Planted {
    pub(crate) set: Set,
    pub(crate) effect: f64,
    /// Share of its rows that it hits.
    pub(crate) share: f64,
}

/// A table and what is true of it.
pub(crate) struct Table {
    pub(crate) labels: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) causes: Vec<Planted>,
}

const LEAST_ROWS: usize = 5;
const LEAST_REDS: f64 = 10.0;

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.f64()
}

fn log_between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    between(rng, low.ln(), high.ln()).exp()
}

/// How many of `n` come out when each does with chance `p`.
pub(crate) fn binomial(rng: &mut Rng, n: u32, p: f64) -> u32 {
    (0..n).map(|_| u32::from(rng.f64() < p)).sum()
}

/// Whether a row is in a set.
pub(crate) fn holds(set: &[(usize, u32)], values: &[u32]) -> bool {
    set.iter().all(|(label, value)| values[*label] == *value)
}

/// Combinations of values, each once.
fn combinations(rng: &mut Rng, wanted: usize) -> (usize, Vec<Vec<u32>>) {
    let labels = rng.usize(3..=6);
    // Room for all rows, whatever the number of labels.
    let least = ((wanted as f64 * 4.0).powf(1.0 / labels as f64).ceil() as u32).clamp(2, 20);
    let sizes: Vec<u32> =
        (0..labels).map(|_| rng.u32(2..=12).max(rng.u32(least.min(20)..=20.max(least)).min(least + 4))).collect();
    let weights: Vec<Vec<f64>> = sizes
        .iter()
        .map(|size| {
            let skew = between(rng, 0.0, 1.0);
            (0..*size).map(|rank| 1.0 / f64::from(rank + 1).powf(skew)).collect()
        })
        .collect();
    // One label follows another, more or less strictly.
    let follows = (rng.f64() < 0.4).then(|| {
        let leader = rng.usize(..labels);
        let follower = (leader + rng.usize(1..labels)) % labels;
        let map: Vec<u32> = (0..sizes[leader]).map(|_| rng.u32(..sizes[follower])).collect();
        let strays = if rng.bool() { 0.0 } else { between(rng, 0.02, 0.2) };
        (leader, follower, map, strays)
    });
    let mut known = HashSet::new();
    let mut rows = Vec::new();
    for _ in 0..wanted * 30 {
        if rows.len() == wanted {
            break;
        }
        let mut values: Vec<u32> = weights
            .iter()
            .map(|weights| {
                let mut left = rng.f64() * weights.iter().sum::<f64>();
                let chosen = weights.iter().position(|weight| {
                    left -= weight;
                    left <= 0.0
                });
                chosen.unwrap_or(0) as u32
            })
            .collect();
        if let Some((leader, follower, map, strays)) = &follows
            && rng.f64() >= *strays
        {
            values[*follower] = map[values[*leader] as usize];
        }
        if known.insert(values.clone()) {
            rows.push(values);
        }
    }
    (labels, rows)
}

/// Ordinary rates by row: means over the rates of the values of one or two labels.
fn ordinary(rng: &mut Rng, labels: usize, rows: &[Vec<u32>]) -> Vec<f64> {
    let drivers: Vec<usize> = (0..rng.usize(1..=2)).map(|_| rng.usize(..labels)).collect();
    let top = between(rng, 0.0, 0.2);
    let mut rates: HashMap<(usize, u32), f64> = HashMap::new();
    rows.iter()
        .map(|row| {
            let of = drivers.iter().map(|label| *rates.entry((*label, row[*label])).or_insert_with(|| top * rng.f64()));
            of.sum::<f64>() / drivers.len() as f64
        })
        .collect()
}

fn plant(rng: &mut Rng, labels: usize, rows: &[Vec<u32>], jobs: &[u32], taken: &[Planted]) -> Option<Planted> {
    for _ in 0..200 {
        let size = rng.usize(1..=3);
        let mut chosen: Vec<usize> = (0..labels).collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(size);
        chosen.sort_unstable();
        let row = &rows[rng.usize(..rows.len())];
        let set: Set = chosen.iter().map(|label| (*label, row[*label])).collect();
        let effect = between(rng, 0.05, 1.0);
        let share = if rng.f64() < 0.3 { between(rng, 0.5, 0.95) } else { 1.0 };
        let inside: Vec<usize> = (0..rows.len()).filter(|at| holds(&set, &rows[*at])).collect();
        let runs: f64 = inside.iter().map(|at| f64::from(jobs[*at])).sum();
        let known =
            inside.len() >= LEAST_ROWS && inside.len() * 10 <= rows.len() * 4 && runs * effect * share >= LEAST_REDS;
        let apart = taken.iter().all(|other| {
            let both = inside.iter().filter(|at| holds(&other.set, &rows[**at])).count();
            let theirs = rows.iter().filter(|row| holds(&other.set, row)).count();
            both * 2 <= inside.len().min(theirs)
        });
        if known && apart {
            return Some(Planted { set, effect, share });
        }
    }
    None
}

/// The table of a seed, with causes or without.
pub(crate) fn table(seed: u64, with_causes: bool) -> Table {
    let mut rng = Rng::with_seed(seed);
    let wanted = log_between(&mut rng, 100.0, 10_000.0) as usize;
    of_size(&mut rng, wanted, with_causes)
}

/// A table of so many rows.
pub(crate) fn of_size(rng: &mut Rng, wanted: usize, with_causes: bool) -> Table {
    let (labels, combinations) = combinations(rng, wanted);
    let base = ordinary(rng, labels, &combinations);
    let mean = log_between(rng, 3.0, 60.0);
    let spread = between(rng, 0.0, 1.0);
    let jobs: Vec<u32> = (combinations.iter())
        .map(|_| (mean * (spread * (rng.f64() + rng.f64() + rng.f64() - 1.5) * 2.0).exp()).round().max(1.0) as u32)
        .collect();
    let mut causes = Vec::new();
    if with_causes {
        for _ in 0..rng.usize(1..=2) {
            causes.extend(plant(rng, labels, &combinations, &jobs, &causes));
        }
    }
    let before = rng.bool().then(|| between(rng, 1.0, 4.0));
    let rows = combinations
        .into_iter()
        .enumerate()
        .map(|(at, values)| {
            let hit = causes.iter().filter(|cause| holds(&cause.set, &values) && rng.f64() < cause.share);
            let spared: f64 = hit.collect::<Vec<_>>().iter().map(|cause| 1.0 - cause.effect).product();
            let red = binomial(rng, jobs[at], 1.0 - (1.0 - base[at]) * spared);
            let before = before.map(|times| {
                let runs = (f64::from(jobs[at]) * times) as u32;
                let red = binomial(rng, runs, base[at]);
                (runs - red, red)
            });
            Row { values, green: jobs[at] - red, red, before }
        })
        .collect();
    Table { labels, rows, causes }
}

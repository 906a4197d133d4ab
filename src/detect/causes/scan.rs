//! The scan: every label set of up to three labels is weighed against what is known so far. What
//! the rows say about "hits such a share of the rows, such a share of the runs" is laid down once per
//! row on a grid; a set's evidence is the sum over its rows, so parents are summed before children,
//! and a branch is left as soon as the best that its rows could say does not reach the best set found.

use std::{
    array,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    MOST_LABELS, Set,
    hands::Hands,
    lanes::{ln, ln_partly, ln_sum},
    model::{Model, Row, Way},
    table::{Columns, NONE},
};

/// Effects on the grid: the share of runs that a cause turns red.
const EFFECTS: [f64; 13] = [0.003, 0.012, 0.035, 0.07, 0.12, 0.2, 0.3, 0.42, 0.55, 0.7, 0.85, 0.95, 0.995];
/// Causes that hit only a share of their rows: that share, and the place of the effect.
const SHARED: [(f64, usize); 11] = [
    (0.6, 4),
    (0.6, 6),
    (0.6, 8),
    (0.6, 10),
    (0.25, 4),
    (0.25, 6),
    (0.25, 8),
    (0.25, 11),
    (0.06, 6),
    (0.06, 9),
    (0.06, 12),
];
const GRID: usize = EFFECTS.len() + SHARED.len();

/// The weight of "hits every run": many faults do.
const TOTAL: f64 = 0.3;
/// The weight of all causes that hit only some of their rows.
const PARTLY: f64 = 0.25;

/// Nats of which single precision leaves no hundredth.
const LARGE: f64 = 1e4;

/// Sets this close to the best, in nats, are fitted exactly: the grid is coarse.
const CLOSE: f64 = 6.0;
/// Most sets that are fitted exactly.
const MOST_CLOSE: usize = 5;
/// Row visits after which no further branch is opened: some seconds of work, on hostile tables only.
const MOST_VISITS: usize = 100_000_000;

type Cell = [f32; GRID];

/// A set worth a closer look.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) set: Set,
    pub(super) score: f64,
    /// Where on the grid it stands best.
    pub(super) effect: f64,
    pub(super) share: f64,
    rows: u32,
}

/// What a set has to reach by now, whoever raised it.
struct Bar(AtomicU64);

impl Bar {
    fn new(at: f64) -> Self {
        Self(AtomicU64::new(at.max(0.0).to_bits()))
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn raise(&self, to: f64) {
        // Numbers that are not negative are ordered like their bits.
        self.0.fetch_max(to.max(0.0).to_bits(), Ordering::Relaxed);
    }
}

struct Scan<'a> {
    columns: &'a Columns<'a>,
    /// By row, what it says about each point of the grid.
    says: &'a [Cell],
    asked: Asked<'a>,
    found: Vec<Candidate>,
    bar: &'a Bar,
    /// Row visits of all who scan.
    visits: &'a AtomicUsize,
    /// By label, then value: the place among the values that occur; all unset between sums, so that a
    /// column of a million values costs only what is there.
    places: Vec<Vec<u32>>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The price of a set by its number of labels.
    pub(super) price: [f64; MOST_LABELS + 1],
    /// What a set has to reach, its price paid.
    pub(super) least: f64,
    /// A set that is not looked for.
    pub(super) except: Option<&'a Set>,
}

/// What rows were heard to say: kept from scan to scan, since the model changes its mind about few of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    says: Vec<Cell>,
    /// By row, how often the model had changed its mind; none before it was heard.
    at: Vec<Option<u32>>,
}

impl Heard {
    fn listen(&mut self, rows: &[u32], model: &Model, n: usize, hands: Hands) {
        self.says.resize(n, [0.0; GRID]);
        self.at.resize(n, None);
        let old = |row: &u32| self.at[*row as usize] != Some(model.changes(*row as usize));
        let old: Vec<u32> = rows.iter().copied().filter(old).collect();
        let grid = Grid::new();
        let parts: Vec<&[u32]> = old.chunks(old.len().div_ceil(hands.count()).max(1)).collect();
        let said = hands.each(
            &parts,
            || (),
            |(), rows| rows.iter().map(|row| grid.speak(model, *row as usize)).collect::<Vec<Cell>>(),
        );
        for (row, said) in old.into_iter().zip(said.into_iter().flatten()) {
            self.says[row as usize] = said;
            self.at[row as usize] = Some(model.changes(row as usize));
        }
    }
}

/// The best sets to explain what the model does not, best first: the same ones by however many hands.
pub(super) fn scan(
    columns: &Columns,
    rows: &[u32],
    model: &Model,
    asked: Asked,
    heard: &mut Heard,
    hands: Hands,
) -> Vec<Candidate> {
    heard.listen(rows, model, columns.n, hands);
    let mut total = [0.0; GRID];
    rows.iter().for_each(|row| add(&mut total, &heard.says[*row as usize]));
    let (bar, visits) = (Bar::new(asked.least), AtomicUsize::new(0));
    let begin = || {
        let places = columns.sizes.iter().map(|size| vec![NONE; *size]).collect();
        Scan { columns, says: &heard.says, asked, found: Vec::new(), bar: &bar, visits: &visits, places }
    };
    let mut scan = begin();
    scan.offer(&[], &total, rows.len() as u32);
    let labels: Vec<usize> = (0..columns.ids.len()).collect();
    let sums = hands.each(&labels, begin, |scan, label| scan.sums(rows, *label, scan.parts(*label, MOST_LABELS)));
    let open = scan.weigh(labels.into_iter().zip(sums), &mut Vec::new(), MOST_LABELS);
    let found = hands.each(&open, begin, |scan, branch| {
        scan.enter(branch, rows, &mut Vec::new(), MOST_LABELS);
        std::mem::take(&mut scan.found)
    });
    found.into_iter().flatten().for_each(|candidate| scan.keep(candidate));
    scan.found
}

fn add(sum: &mut Cell, said: &Cell) {
    for (sum, said) in sum.iter_mut().zip(said) {
        *sum += said;
    }
}

/// The same, of what speaks for a cause only: no part of the rows can say more for any point.
fn add_for(sum: &mut Cell, said: &Cell) {
    for (sum, said) in sum.iter_mut().zip(said) {
        *sum += said.max(0.0);
    }
}

/// The most that rows could say for one cause.
fn top(most: &Cell) -> f32 {
    most.iter().fold(0.0, |top: f32, said| top.max(*said))
}

/// A number for each effect, and for each shared cause, filled up to whole lanes.
type Effects = [f32; EFFECTS.len().next_multiple_of(4)];
type Shared = [f32; SHARED.len().next_multiple_of(4)];

/// The grid as it is spoken about: single precision will do, since what stands is fitted exactly.
struct Grid {
    /// By place, the effect, and ln of the share of runs that it spares.
    effects: Effects,
    ln_spared: Effects,
    /// By shared cause, its share, and the place of its effect.
    share: Shared,
    effect: [usize; SHARED.len().next_multiple_of(4)],
}

impl Grid {
    fn new() -> Self {
        let spared = |at: usize| 1.0 - EFFECTS.get(at).unwrap_or(&0.5);
        let shared = |at: usize| *SHARED.get(at).unwrap_or(&SHARED[0]);
        Self {
            effects: array::from_fn(|at| (1.0 - spared(at)) as f32),
            ln_spared: array::from_fn(|at| spared(at).ln() as f32),
            share: array::from_fn(|at| shared(at).0 as f32),
            effect: array::from_fn(|at| shared(at).1),
        }
    }

    /// What one row says about each point of the grid, against what the model says of it.
    fn speak(&self, model: &Model, row: usize) -> Cell {
        let row_says = model.row(row);
        let plain = match model.ways_at(row) {
            [] => self.hit(row_says, 1.0, 0.0),
            // The difference of two large numbers has few digits left.
            _ if model.known(row).abs() > LARGE => array::from_fn(|at| {
                EFFECTS.get(at).map_or(0.0, |effect| model.ln_ratio_of(&[row as u32], *effect, 1.0) as f32)
            }),
            ways => {
                let mut mixed = self.mixed(row_says, ways);
                let known = model.known(row) as f32;
                mixed.iter_mut().for_each(|said| *said -= known);
                mixed
            }
        };
        let mut partly: Shared = array::from_fn(|at| plain[self.effect[at]]);
        ln_partly(&mut partly, &self.share);
        let mut said = [0.0; GRID];
        said[..EFFECTS.len()].copy_from_slice(&plain[..EFFECTS.len()]);
        said[EFFECTS.len()..].copy_from_slice(&partly[..SHARED.len()]);
        said
    }

    /// The same if one cause more hit the row, beside others that spare so much of it.
    fn hit(&self, row: Row, beside: f64, ln_beside: f64) -> Effects {
        let mut said = Effects::default();
        if row.red > 0.0 {
            let (odds, gone, beside) = (row.odds as f32, (1.0 - beside) as f32, beside as f32);
            // At a spared share s a run is 1 + (1 - s)(1 - base)/base times as likely to be red.
            for (said, effect) in said.iter_mut().zip(&self.effects) {
                *said = 1.0 + odds * (gone + effect * beside);
            }
            ln(&mut said);
        }
        let (red, green, ln_beside) = (row.red as f32, row.green as f32, ln_beside as f32);
        for (said, ln_spared) in said.iter_mut().zip(&self.ln_spared) {
            *said = red * *said + green * (ln_spared + ln_beside);
        }
        said
    }

    /// The same where it is not known which of the others hit the row.
    fn mixed(&self, row: Row, ways: &[Way]) -> Effects {
        let of = |way: &Way| self.hit(row, way.spared.share, way.spared.ln);
        match ways {
            [one] => of(one),
            ways => ln_sum(ways.iter().map(|way| (way.chance as f32, of(way)))),
        }
    }
}

fn weight(at: usize) -> f64 {
    if at + 1 == EFFECTS.len() {
        TOTAL
    } else if at < EFFECTS.len() {
        (1.0 - TOTAL - PARTLY) / (EFFECTS.len() - 1) as f64
    } else {
        PARTLY / SHARED.len() as f64
    }
}

/// One value of a label over some rows.
struct Sum {
    value: u32,
    rows: u32,
    cell: Cell,
    /// What the most favourable part of the rows could say.
    most: Cell,
}

/// A value of a label whose rows may hold more.
struct Branch {
    /// The most that any part of them could say for one cause.
    most: f32,
    label: usize,
    value: u32,
}

impl Scan<'_> {
    /// Sums over a label's values; with the most that parts of their rows could say, if those are looked at.
    fn sums(&mut self, rows: &[u32], label: usize, parts: bool) -> Vec<Sum> {
        let column = &self.columns.ids[label];
        let mut sums: Vec<Sum> = Vec::new();
        let places = &mut self.places[label];
        for row in rows {
            let value = column[*row as usize];
            if value == NONE {
                continue;
            }
            let at = &mut places[value as usize];
            if *at == NONE {
                *at = sums.len() as u32;
                sums.push(Sum { value, rows: 0, cell: [0.0; GRID], most: [0.0; GRID] });
            }
            let sum = &mut sums[*at as usize];
            let said = &self.says[*row as usize];
            add(&mut sum.cell, said);
            if parts {
                add_for(&mut sum.most, said);
            }
            sum.rows += 1;
        }
        for sum in &sums {
            places[sum.value as usize] = NONE;
        }
        self.visits.fetch_add(rows.len(), Ordering::Relaxed);
        sums
    }

    /// Whether the most that parts of a label's values could say is needed: sets of them are looked at.
    fn parts(&self, label: usize, depth: usize) -> bool {
        depth > 1 && label + 1 < self.columns.ids.len()
    }

    /// Weighs all sets that add labels from `from` on to `set`, whose rows these are.
    fn descend(&mut self, rows: &[u32], from: usize, set: &mut Set, depth: usize) {
        let labels: Vec<usize> = (from..self.columns.ids.len()).collect();
        let sums: Vec<_> =
            labels.into_iter().map(|label| (label, self.sums(rows, label, self.parts(label, depth)))).collect();
        for branch in self.weigh(sums, set, depth) {
            self.enter(&branch, rows, set, depth);
        }
    }

    /// Weighs sets of one label more; the branches to go on with, the most promising first: the best of
    /// one level spares most of what is below.
    fn weigh(&mut self, sums: impl IntoIterator<Item = (usize, Vec<Sum>)>, set: &mut Set, depth: usize) -> Vec<Branch> {
        let mut open: Vec<Branch> = Vec::new();
        for (label, sums) in sums {
            let parts = self.parts(label, depth);
            for sum in sums {
                set.push((label, sum.value));
                self.offer(set, &sum.cell, sum.rows);
                set.pop();
                if parts {
                    open.push(Branch { most: top(&sum.most), label, value: sum.value });
                }
            }
        }
        open.sort_by(|a, b| b.most.total_cmp(&a.most).then((a.label, a.value).cmp(&(b.label, b.value))));
        open
    }

    /// Weighs the sets of a branch, unless its rows cannot say enough.
    fn enter(&mut self, branch: &Branch, rows: &[u32], set: &mut Set, depth: usize) {
        let most = f64::from(branch.most) - self.asked.price[set.len() + 2];
        if most <= self.bar.get() || self.visits.load(Ordering::Relaxed) > MOST_VISITS {
            return;
        }
        let column = &self.columns.ids[branch.label];
        let inside: Vec<u32> = rows.iter().copied().filter(|row| column[*row as usize] == branch.value).collect();
        set.push((branch.label, branch.value));
        self.descend(&inside, branch.label + 1, set, depth - 1);
        set.pop();
    }

    fn offer(&mut self, set: &[(usize, u32)], said: &Cell, rows: u32) {
        let price = self.asked.price[set.len()];
        let (at, top) = said.iter().enumerate().fold(
            (0, f32::MIN),
            |best, (at, said)| {
                if *said > best.1 { (at, *said) } else { best }
            },
        );
        let top = f64::from(top);
        let bar = self.bar.get();
        if top - price <= bar {
            return;
        }
        let sum: f64 = said.iter().enumerate().map(|(at, said)| weight(at) * (f64::from(*said) - top).exp()).sum();
        let score = top + sum.ln() - price;
        if score <= bar || self.asked.except.is_some_and(|except| except.as_slice() == set) {
            return;
        }
        let (effect, share) = match at.checked_sub(EFFECTS.len()) {
            None => (EFFECTS[at], 1.0),
            Some(shared) => (EFFECTS[SHARED[shared].1], SHARED[shared].0),
        };
        self.keep(Candidate { set: set.to_vec(), score, effect, share, rows });
    }

    fn keep(&mut self, candidate: Candidate) {
        self.found.push(candidate);
        self.found.sort_by(|a, b| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then(b.rows.cmp(&a.rows)).then(a.set.len().cmp(&b.set.len())).then_with(|| a.set.cmp(&b.set))
        });
        self.found.truncate(MOST_CLOSE);
        self.bar.raise(self.found[0].score - CLOSE);
        let bar = self.bar.get();
        self.found.retain(|candidate| candidate.score >= bar);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::causes::{model::Fitted, table::Count};

    #[test]
    fn rows_say_on_the_grid_what_the_model_says_exactly() {
        let mut dice = fastrand::Rng::with_seed(5);
        let mut row = |most: f64| Count { red: (dice.f64() * most).floor(), green: (dice.f64() * most).floor() };
        let counts: Vec<Count> = (0..400).map(|at| row([3.0, 40.0, 3_000.0, 3e8][at % 4])).collect();
        let base: Vec<f64> = (0..400).map(|at| [1e-6, 0.002, 0.1, 0.6][at / 4 % 4]).collect();
        let mut model = Model::new(&counts, &vec![0.7; 400], base);
        let cause = |rows: std::ops::Range<u32>, effect, share| Fitted {
            set: Set::new(),
            rows: rows.collect(),
            effect,
            share,
            gain: 1.0,
        };
        model.with(vec![cause(100..300, 0.3, 0.6), cause(200..350, 0.9, 1.0), cause(250..400, 0.05, 0.2)]);
        let grid = Grid::new();
        for (at, count) in counts.iter().enumerate() {
            let said = grid.speak(&model, at);
            let exact = |effect: f64, share: f64| model.ln_ratio_of(&[at as u32], effect, share);
            let points = EFFECTS.iter().map(|effect| (*effect, 1.0));
            let points = points.chain(SHARED.iter().map(|(share, effect)| (EFFECTS[*effect], *share)));
            for (said, (effect, share)) in said.iter().zip(points) {
                let exact = exact(effect, share);
                let near = 0.02 + 2e-6 * exact.abs().max(count.red + count.green);
                assert!(
                    (f64::from(*said) - exact).abs() <= near,
                    "row {at}, {effect} {share}: {said}, exactly {exact}"
                );
            }
        }
    }
}

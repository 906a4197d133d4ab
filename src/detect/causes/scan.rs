//! The scan: every label set of up to three labels is weighed against what is known so far. What
//! the rows say about "hits such a share of the rows, such a share of the runs" is laid down once per
//! row on a grid; a set's evidence is the sum over its rows, so parents are summed before children,
//! and a branch is left as soon as the best that its rows could say does not reach the best set found.

use super::{
    MOST_LABELS, Set,
    model::{Model, ln_partly},
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

struct Scan<'a> {
    columns: &'a Columns<'a>,
    /// By row, what it says about each point of the grid.
    says: Vec<Cell>,
    /// By row, the most it could say for any cause.
    most: Vec<f32>,
    asked: Asked<'a>,
    found: Vec<Candidate>,
    /// What a set has to reach by now.
    bar: f64,
    visits: usize,
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

/// The best sets to explain what the model does not, best first.
pub(super) fn scan(columns: &Columns, rows: &[u32], model: &Model, asked: Asked) -> Vec<Candidate> {
    let mut says = vec![[0.0; GRID]; columns.n];
    let mut most = vec![0.0; columns.n];
    let mut total = [0.0; GRID];
    let spared = EFFECTS.map(|effect| (1.0 - effect, (1.0 - effect).ln()));
    for row in rows {
        let at = *row as usize;
        says[at] = speak(model, at, &spared);
        most[at] = says[at].iter().fold(0.0, |most: f32, said| most.max(*said));
        add(&mut total, &says[at]);
    }
    let places = columns.sizes.iter().map(|size| vec![NONE; *size]).collect();
    let mut scan = Scan { columns, says, most, asked, found: Vec::new(), bar: asked.least, visits: 0, places };
    scan.offer(&[], &total, rows.len() as u32);
    scan.descend(rows, 0, &mut Vec::new(), MOST_LABELS);
    scan.found
}

fn add(sum: &mut Cell, said: &Cell) {
    for (sum, said) in sum.iter_mut().zip(said) {
        *sum += said;
    }
}

/// What one row says about each point of the grid, against what the model says of it.
fn speak(model: &Model, row: usize, spared: &[(f64, f64)]) -> Cell {
    let mut said = [0.0; GRID];
    let mut plain = [0.0; EFFECTS.len()];
    model.ln_ratios(row, spared, &mut plain);
    for (said, plain) in said.iter_mut().zip(plain) {
        *said = plain as f32;
    }
    for (at, (share, effect)) in SHARED.iter().enumerate() {
        said[EFFECTS.len() + at] = ln_partly(*share, plain[*effect]) as f32;
    }
    said
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

/// One label's values over some rows.
struct Sums {
    cells: Vec<Cell>,
    most: Vec<f32>,
    rows: Vec<u32>,
    values: Vec<u32>,
}

impl Scan<'_> {
    fn sums(&mut self, rows: &[u32], label: usize) -> Sums {
        let column = &self.columns.ids[label];
        let mut sums = Sums { cells: Vec::new(), most: Vec::new(), rows: Vec::new(), values: Vec::new() };
        let places = &mut self.places[label];
        for row in rows {
            let value = column[*row as usize];
            if value == NONE {
                continue;
            }
            let at = &mut places[value as usize];
            if *at == NONE {
                *at = sums.values.len() as u32;
                sums.values.push(value);
                sums.cells.push([0.0; GRID]);
                sums.most.push(0.0);
                sums.rows.push(0);
            }
            let at = *at as usize;
            add(&mut sums.cells[at], &self.says[*row as usize]);
            sums.most[at] += self.most[*row as usize];
            sums.rows[at] += 1;
        }
        for value in &sums.values {
            places[*value as usize] = NONE;
        }
        self.visits += rows.len();
        sums
    }

    /// Weighs all sets that add labels from `from` on to `set`, whose rows these are.
    fn descend(&mut self, rows: &[u32], from: usize, set: &mut Set, depth: usize) {
        let labels = self.columns.ids.len();
        // One level first: the best of it spares most of what is below.
        let mut open: Vec<(f32, usize, u32)> = Vec::new();
        for label in from..labels {
            let sums = self.sums(rows, label);
            for (at, value) in sums.values.iter().enumerate() {
                let most = sums.most[at];
                if f64::from(most) - self.asked.price[set.len() + 1] <= self.bar {
                    continue;
                }
                set.push((label, *value));
                self.offer(set, &sums.cells[at], sums.rows[at]);
                set.pop();
                if depth > 1 && label + 1 < labels {
                    open.push((most, label, *value));
                }
            }
        }
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        for (most, label, value) in open {
            if f64::from(most) - self.asked.price[set.len() + 2] <= self.bar || self.visits > MOST_VISITS {
                continue;
            }
            let column = &self.columns.ids[label];
            let inside: Vec<u32> = rows.iter().copied().filter(|row| column[*row as usize] == value).collect();
            set.push((label, value));
            self.descend(&inside, label + 1, set, depth - 1);
            set.pop();
        }
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
        if top - price <= self.bar {
            return;
        }
        let sum: f64 = said.iter().enumerate().map(|(at, said)| weight(at) * (f64::from(*said) - top).exp()).sum();
        let score = top + sum.ln() - price;
        if score <= self.bar || self.asked.except.is_some_and(|except| except.as_slice() == set) {
            return;
        }
        let (effect, share) = match at.checked_sub(EFFECTS.len()) {
            None => (EFFECTS[at], 1.0),
            Some(shared) => (EFFECTS[SHARED[shared].1], SHARED[shared].0),
        };
        self.found.push(Candidate { set: set.to_vec(), score, effect, share, rows });
        self.found.sort_by(|a, b| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then(b.rows.cmp(&a.rows)).then(a.set.len().cmp(&b.set.len())).then_with(|| a.set.cmp(&b.set))
        });
        self.found.truncate(MOST_CLOSE);
        self.bar = self.bar.max(self.found[0].score - CLOSE);
        let bar = self.bar;
        self.found.retain(|candidate| candidate.score >= bar);
    }
}

//! The model: what is ordinary at each row, and the causes found so far. Of every row it says how
//! likely what was counted is, and with which chance a cause hit it.

use std::collections::BTreeMap;

use super::{
    Set,
    climb::{Peak, Slope},
    lanes::FAR,
    table::{Columns, Count},
};

/// A cause as it stands in the model.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub(super) set: Set,
    /// The rows that it covers and in which something was counted.
    pub(super) rows: Vec<u32>,
    /// The share of runs that it turns red.
    pub(super) effect: f64,
    /// The share of its rows that it hits.
    pub(super) share: f64,
    /// How much better it explains its rows than the model without it, its own numbers paid; in nats.
    pub(super) gain: f64,
}

/// One way a row may have come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Way {
    /// Its chance before looking.
    pub(super) chance: f64,
    /// What the causes of this way let live.
    pub(super) spared: Spared,
}

/// A row as far as its runs count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) red: f64,
    pub(super) green: f64,
    /// How many greens its base expects for a red.
    pub(super) odds: f64,
}

/// A share of runs that live.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spared {
    pub(super) share: f64,
    pub(super) ln: f64,
}

impl Spared {
    const ALL: Self = Self { share: 1.0, ln: 0.0 };

    /// What a cause of such an effect lets live.
    fn by(effect: f64) -> Self {
        Self { share: 1.0 - effect, ln: (1.0 - effect).ln() }
    }

    fn and(self, other: Self) -> Self {
        Self { share: self.share * other.share, ln: self.ln + other.ln }
    }
}

/// The ln of a product of many numbers, with few logarithms.
struct LnProduct {
    so_far: f64,
    ln: f64,
}

impl LnProduct {
    fn new() -> Self {
        Self { so_far: 1.0, ln: 0.0 }
    }

    fn times(&mut self, factor: f64) {
        self.so_far *= factor;
        if !(1e-200..1e200).contains(&self.so_far) {
            self.ln += self.so_far.ln();
            self.so_far = 1.0;
        }
    }

    fn ln(&self) -> f64 {
        self.ln + self.so_far.ln()
    }
}

/// How much likelier a run is to be red at a base rate if a cause spares only such a share.
fn likelier(base: f64, spared: f64) -> f64 {
    (1.0 - (1.0 - base) * spared).max(1e-12) / base
}

/// ln of how likely a row is that came about in one of these ways, of which there is at least one.
fn mixed(ways: &[Way], says: impl Fn(&Way) -> f64) -> f64 {
    if let [one] = ways {
        return says(one);
    }
    let mut said = [f64::MIN; WAYS];
    for (said, way) in said.iter_mut().zip(ways) {
        *said = says(way);
    }
    let top = said.iter().copied().fold(f64::MIN, f64::max);
    let share = |said: f64| if said == top { 1.0 } else { (said - top).exp() };
    top + ways.iter().zip(said).map(|(way, said)| way.chance * share(said)).sum::<f64>().ln()
}

/// Most causes at one row that are told apart: the first found are the strongest.
const MOST_AT_A_ROW: usize = 3;
/// The ways in which a row that they cover may have come about.
const WAYS: usize = 1 << MOST_AT_A_ROW;

/// Which causes cover a row. There are never more than some eight, and the pieces of one of them.
pub(super) type Covers = u32;

#[derive(Clone, Debug)]
pub(super) struct Model {
    counts: Vec<Count>,
    /// How much a run counts: less than one where runs of a row are not independent.
    weights: Vec<f64>,
    base: Vec<f64>,
    /// By row, the causes that cover it: one bit each.
    covered: Vec<Covers>,
    /// By causes that cover a row, the ways in which it may have come about.
    ways: BTreeMap<Covers, Vec<Way>>,
    /// ln of how likely a row is, against the base alone.
    known: Vec<f64>,
    /// By row, how often what is said of it has changed.
    changes: Vec<u32>,
    pub(super) causes: Vec<Fitted>,
}

impl Model {
    pub(super) fn new(counts: &[Count], weights: &[f64], base: Vec<f64>) -> Self {
        let n = counts.len();
        Self {
            counts: counts.to_vec(),
            weights: weights.to_vec(),
            base,
            covered: vec![0; n],
            ways: BTreeMap::new(),
            known: vec![0.0; n],
            changes: vec![0; n],
            causes: Vec::new(),
        }
    }

    /// The same with other ordinary rates and weights.
    pub(super) fn rebase(&mut self, base: Vec<f64>, weights: &[f64]) {
        self.base = base;
        self.weights.copy_from_slice(weights);
        (0..self.covered.len()).for_each(|row| self.change(row));
    }

    pub(super) fn base(&self, row: usize) -> f64 {
        self.base[row]
    }

    pub(super) fn count(&self, row: usize) -> Count {
        self.counts[row]
    }

    /// Takes these causes for all there are.
    pub(super) fn with(&mut self, causes: Vec<Fitted>) {
        let ways = std::mem::take(&mut self.ways);
        let covered = self.covered.clone();
        self.covered.fill(0);
        self.causes = causes;
        for (bit, cause) in self.causes.iter().enumerate() {
            cause.rows.iter().for_each(|row| self.covered[*row as usize] |= 1 << bit);
        }
        let mut same: BTreeMap<(Covers, Covers), bool> = BTreeMap::from([((0, 0), true)]);
        let mut last = ((0, 0), true);
        for (row, was) in covered.iter().enumerate() {
            let pair = (*was, self.covered[row]);
            if pair != last.0 {
                let same = *same.entry(pair).or_insert_with(|| {
                    let is = self.ways_of(pair.1);
                    let same = ways.get(&pair.0) == Some(&is);
                    self.ways.insert(pair.1, is);
                    same
                });
                last = (pair, same);
            }
            if !last.1 {
                self.change(row);
            }
        }
    }

    fn ways_of(&self, covers: Covers) -> Vec<Way> {
        if covers == 0 {
            return Vec::new();
        }
        let mut ways = vec![Way { chance: 1.0, spared: Spared::ALL }];
        for (_, cause) in self.causes.iter().enumerate().filter(|(bit, _)| covers & (1 << bit) != 0) {
            if ways.len() >= WAYS {
                break;
            }
            let spared = Spared::by(cause.effect);
            let hit: Vec<Way> = (ways.iter())
                .map(|way| Way { chance: way.chance * cause.share, spared: way.spared.and(spared) })
                .collect();
            ways.iter_mut().for_each(|way| way.chance *= 1.0 - cause.share);
            ways.extend(hit);
            ways.retain(|way| way.chance > 0.0);
        }
        ways
    }

    /// What is said of a row has changed.
    fn change(&mut self, row: usize) {
        self.changes[row] = self.changes[row].wrapping_add(1);
        self.known[row] = if self.covered[row] == 0 { 0.0 } else { self.ln_mixed(row, Spared::ALL) };
    }

    /// How often what is said of a row has changed.
    pub(super) fn changes(&self, row: usize) -> u32 {
        self.changes[row]
    }

    /// The causes that cover a row.
    pub(super) fn covered(&self, row: usize) -> Covers {
        self.covered[row]
    }

    /// The ways in which a row may have come about; none if no cause covers it.
    pub(super) fn ways_at(&self, row: usize) -> &[Way] {
        match self.covered[row] {
            0 => &[],
            covers => self.ways.get(&covers).map_or(&[], Vec::as_slice),
        }
    }

    /// ln of how likely a row is where so many runs are spared, against its base alone.
    fn ln_spared(&self, row: usize, spared: Spared) -> f64 {
        let (count, base) = (self.counts[row], self.base[row]);
        let green = count.green * spared.ln;
        let red = if count.red > 0.0 { count.red * likelier(base, spared.share).ln() } else { 0.0 };
        self.weights[row] * (red + green)
    }

    fn ln_mixed(&self, row: usize, spared: Spared) -> f64 {
        mixed(self.ways_at(row), |way| self.ln_spared(row, spared.and(way.spared)))
    }

    /// ln of how much likelier the row is if one more cause hit it that spares so much.
    fn ln_ratio(&self, row: usize, spared: Spared) -> f64 {
        match self.covered[row] {
            0 => self.ln_spared(row, spared),
            _ => self.ln_mixed(row, spared) - self.known[row],
        }
    }

    /// A row as far as its runs count.
    pub(super) fn row(&self, row: usize) -> Row {
        let (count, base, weight) = (self.counts[row], self.base[row], self.weights[row]);
        Row { red: count.red * weight, green: count.green * weight, odds: (1.0 - base) / base }
    }

    /// ln of how likely a row is, against the base alone.
    pub(super) fn known(&self, row: usize) -> f64 {
        self.known[row]
    }

    /// ln of how much likelier the row is if its ordinary rate were another.
    pub(super) fn ln_otherwise(&self, row: usize, base: f64) -> f64 {
        let (count, own, weight) = (self.counts[row], self.base[row], self.weights[row]);
        let green = if count.green > 0.0 { count.green * ((1.0 - base) / (1.0 - own)).ln() } else { 0.0 };
        let at = |spared: Spared| {
            let lives = (1.0 - base) * spared.share;
            let red = if count.red > 0.0 { count.red * ((1.0 - lives).max(1e-12) / own).ln() } else { 0.0 };
            weight * (red + green + count.green * spared.ln)
        };
        match self.ways_at(row) {
            [] => at(Spared::ALL),
            ways => mixed(ways, |way| at(way.spared)) - self.known[row],
        }
    }

    /// By row, the chance that some cause hit it.
    pub(super) fn hit(&self) -> Vec<f64> {
        let mut hit = vec![0.0; self.counts.len()];
        for row in self.causes.iter().flat_map(|cause| &cause.rows) {
            let at = *row as usize;
            let untouched = self.ways_at(at).iter().find(|way| way.spared.share >= 1.0).map_or(0.0, |way| way.chance);
            // The ways are told apart by what they say; without any cause a row says nothing against its base.
            hit[at] = (1.0 - untouched * (-self.known[at]).exp()).clamp(0.0, 1.0);
        }
        hit
    }

    /// Fits effect and share of one more cause over these rows, starting from a guess.
    pub(super) fn fit(&self, columns: &Columns, set: &Set, seen: &[bool], effect: f64, share: f64) -> Fitted {
        let rows: Vec<u32> = columns.rows(set).into_iter().filter(|row| seen[*row as usize]).collect();
        let runs: f64 = rows.iter().map(|row| self.counts[*row as usize].runs() * self.weights[*row as usize]).sum();
        let slope = Slope::new(self, &rows);
        let whole = slope.climb(effect, 1.0);
        let partly = (share < 1.0).then(|| slope.climb(effect, share));
        // Every number fitted costs what it could be told to: half a nat per e-fold of data.
        let numbers = 0.5 * (1.0 + runs).ln();
        let whole_gain = whole.gain - if whole.effect >= 0.985 { 1.0 } else { 1.0 + numbers };
        let partly_gain = |peak: &Peak| peak.gain - 2.0 - numbers - 0.5 * (1.0 + rows.len() as f64).ln();
        let (effect, share, gain) = match partly.map(|peak| (peak.effect, peak.share, partly_gain(&peak))) {
            Some(partly) if partly.2 > whole_gain => partly,
            _ => (whole.effect, 1.0, whole_gain),
        };
        Fitted { set: set.clone(), rows, effect, share, gain }
    }

    /// ln of how much likelier rows are if a cause of such an effect hit such a share of them.
    pub(super) fn ln_ratio_of(&self, rows: &[u32], effect: f64, share: f64) -> f64 {
        let spared = Spared::by(effect);
        let ratios = rows.iter().map(|row| self.ln_ratio(*row as usize, spared));
        if share >= 1.0 {
            return ratios.sum();
        }
        let (mut product, mut sum) = (LnProduct::new(), 0.0);
        for ratio in ratios {
            if ratio > f64::from(FAR) {
                sum += ratio + share.ln();
            } else {
                product.times(1.0 - share + share * ratio.exp());
            }
        }
        sum + product.ln()
    }
}

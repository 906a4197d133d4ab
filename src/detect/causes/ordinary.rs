//! What is ordinary: at which rate reds come at each row when nothing is wrong. The detector has
//! learned its rates and passes them; of a table they are estimated, from how it was before if it
//! says so, else from the table itself, with a factor for every value of every label.

use std::collections::BTreeSet;

use super::{
    Set,
    scatter::scatter,
    table::{Columns, Count},
};

/// What is assumed of the factors of a label's values before looking: this many values' worth of
/// "some have twice the rate of others". Two values say little about how much values differ.
const DOUBT: f64 = 2.0;
/// The variance of factors that is assumed before looking.
const DOUBTED_SPREAD: f64 = 1.0;
/// A value whose rate is more times the rest's is looked at as a cause first.
const NOTABLE: f64 = 2.0;
/// How firmly rates of before hold now, in reds: what was measured may have drifted by some percent.
const FIRM: f64 = 150.0;
/// How firmly the rates of two labels make the rate of their combination, in reds.
const CROSSED: f64 = 40.0;
/// Where nothing is known of before, one value's rate is easily this much above the others'.
const CREEP: f64 = 0.006;
/// A rate above is not ordinary, unless the whole table is like that.
const ORDINARY: f64 = 0.25;
/// All may drift by so much from before without being called a cause.
pub(super) const DRIFT: f64 = 0.1;
/// A row this many deviations above what is expected is left out of the first estimate.
const OUTLYING: f64 = 3.5;
/// Where values that stand out take more of the rows, rates simply differ.
const MOST_SPOILT: f64 = 0.6;
const SWEEPS: usize = 4;

/// Estimates ordinary rates.
pub(super) enum Ordinary<'a> {
    /// They are known.
    Known(&'a [f64]),
    /// They are estimated from the table.
    Estimated(Box<Estimate<'a>>),
}

/// How ordinary rates of a table are estimated.
pub(super) struct Estimate<'a> {
    columns: &'a Columns<'a>,
    counts: &'a [Count],
    /// By row, how it was before.
    told: Option<&'a [Count]>,
    /// By row, at which rate that was.
    before: Option<Vec<f64>>,
    /// How much a run counts.
    weights: Vec<f64>,
    /// The correlation between the runs of a row.
    alike: f64,
    /// What rates of before that are measured on few runs take off the weight.
    certain: Vec<f64>,
    /// Values whose factors may be large: they were looked at, and are ordinary.
    lifted: BTreeSet<(usize, u32)>,
    /// Combinations that were looked at, and are ordinary.
    crossed: Vec<(Set, f64)>,
    /// Rows that stand out, and so do not say what is ordinary.
    outlying: Vec<f64>,
    /// By label, how firmly its values' factors are held to one.
    firm: Vec<f64>,
}

/// Multiplies factors of values so that reds are as expected; the shape that both tables share.
struct Factors<'a> {
    columns: &'a Columns<'a>,
    counts: &'a [Count],
    /// How much a row counts.
    weights: &'a [f64],
    /// Rates before factors.
    start: Option<&'a [f64]>,
    firm: Option<Vec<f64>>,
    /// Most that a value's factor may be.
    most: &'a dyn Fn(usize, u32) -> f64,
    crossed: &'a [(Set, f64)],
    level: std::ops::RangeInclusive<f64>,
}

/// What was counted with one value.
struct Sum {
    red: f64,
    due: f64,
    /// Whether the value stands out.
    stands: u8,
}

impl Factors<'_> {
    fn rates(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.columns.n;
        let weighed: Vec<(f64, f64)> = (self.counts.iter().zip(self.weights))
            .map(|(count, weight)| (weight * count.red, weight * count.runs()))
            .collect();
        let (red, runs) = weighed.iter().fold((0.5, 1.0), |(red, runs), row| (red + row.0, runs + row.1));
        let mut base: Vec<f64> = match self.start {
            Some(start) => start.to_vec(),
            None => vec![red / runs; n],
        };
        for (set, factor) in self.crossed {
            for row in self.columns.rows(set) {
                base[row as usize] *= factor;
            }
        }
        let mut factors: Vec<Vec<f64>> = self.columns.sizes.iter().map(|size| vec![1.0; *size]).collect();
        let mut firm = self.firm.clone().unwrap_or_else(|| vec![1.0; factors.len()]);
        let mut level = 1.0;
        // Values that stand out: what is seen in their rows says nothing about the others.
        let mut notable: Vec<Vec<u8>> = self.columns.sizes.iter().map(|size| vec![0; *size]).collect();
        let mut spoilt: Vec<u8> = vec![0; n];
        let mut even = false;
        for sweep in 0..SWEEPS {
            if !even
                && self.firm.is_none()
                && spoilt.iter().filter(|labels| **labels > 0).count() as f64 > MOST_SPOILT * n as f64
            {
                // Where most stands out, nothing does.
                even = true;
                spoilt.fill(0);
                notable.iter_mut().for_each(|values| values.fill(0));
            }
            let whole = weighed.iter().zip(&base).zip(&spoilt).filter(|(_, spoilt)| **spoilt == 0);
            let sums = whole.fold((0.5, 0.5), |(red, due), ((row, base), _)| (red + row.0, due + base * row.1));
            let wanted = (level * sums.0 / sums.1).clamp(*self.level.start(), *self.level.end());
            base.iter_mut().for_each(|base| *base *= wanted / level);
            level = wanted;
            for (label, column) in self.columns.ids.iter().enumerate() {
                let size = self.columns.sizes[label];
                // A column that names every row says nothing about rates.
                if size * 2 > n.max(8) {
                    continue;
                }
                let standing = &mut notable[label];
                let mut sums: Vec<Sum> =
                    standing.iter().map(|stands| Sum { red: 0.0, due: 0.0, stands: *stands }).collect();
                for (((value, row), base), spoilt) in column.iter().zip(&weighed).zip(&base).zip(&spoilt) {
                    // A row without this label has no place among the sums.
                    if let Some(sum) = sums.get_mut(*value as usize)
                        && *spoilt <= sum.stands
                    {
                        sum.red += row.0;
                        sum.due += base * row.1;
                    }
                }
                let reds: Vec<f64> = sums.iter().map(|sum| sum.red).collect();
                let mut due: Vec<f64> =
                    sums.iter().zip(&factors[label]).map(|(sum, factor)| sum.due / factor).collect();
                let middle = if self.firm.is_some() { 1.0 } else { median(&reds, &due) };
                due.iter_mut().for_each(|due| *due *= middle);
                level *= middle;
                if self.firm.is_none() && sweep + 1 < SWEEPS {
                    firm[label] = 1.0 / spread(&reds, &due);
                }
                let firm = firm[label];
                let mut change = vec![(1.0, 0i8); size];
                for value in 0..size {
                    let most = if even { f64::INFINITY } else { (self.most)(label, value as u32) };
                    let free = (firm + reds[value]) / (firm + due[value]);
                    let factor = free.min(most);
                    let stands = u8::from(free > most);
                    let times = middle * factor / factors[label][value];
                    change[value] = (times, stands as i8 - standing[value] as i8);
                    factors[label][value] = factor;
                    standing[value] = stands;
                }
                for (value, base) in column.iter().zip(&mut base) {
                    *base *= change.get(*value as usize).map_or(1.0, |(times, _)| *times);
                }
                if change.iter().any(|(_, turned)| *turned != 0) {
                    for (value, spoilt) in column.iter().zip(&mut spoilt) {
                        let turned = change.get(*value as usize).map_or(0, |(_, turned)| *turned);
                        *spoilt = spoilt.saturating_add_signed(turned);
                    }
                }
            }
        }
        base.iter_mut().for_each(|base| *base = base.clamp(1e-6, 0.9));
        (base, firm)
    }
}

/// The middle of a label's factors, by how much is due to each.
fn median(reds: &[f64], due: &[f64]) -> f64 {
    let mut factors: Vec<(f64, f64)> = reds
        .iter()
        .zip(due)
        .filter(|(_, due)| **due > 0.0)
        .map(|(red, due)| ((red + 1.0) / (due + 1.0), *due))
        .collect();
    factors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half: f64 = factors.iter().map(|(_, due)| due).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    for (factor, due) in &factors {
        sum += due;
        if sum >= half {
            return factor.clamp(0.05, 20.0);
        }
    }
    1.0
}

/// How much the rates of a label's values differ, beyond chance.
fn spread(reds: &[f64], due: &[f64]) -> f64 {
    let (mut sum, mut values) = (DOUBT * DOUBTED_SPREAD, DOUBT);
    for (red, due) in reds.iter().zip(due).filter(|(_, due)| **due > 0.5) {
        let tells = due / (due + 4.0);
        let apart = (red / due - 1.0).min(2.0);
        sum += tells * (apart * apart - 1.0 / due);
        values += tells;
    }
    (sum / values).clamp(0.01, 2.0)
}

impl<'a> Estimate<'a> {
    /// Begins with what the table says at first sight.
    pub(super) fn new(columns: &'a Columns<'a>, counts: &'a [Count], before: Option<&'a [Count]>) -> Self {
        let certain = vec![1.0; columns.n];
        let mut estimate = Self {
            columns,
            counts,
            told: before,
            before: None,
            weights: certain.clone(),
            certain,
            alike: 0.0,
            lifted: BTreeSet::new(),
            crossed: Vec::new(),
            outlying: vec![0.0; columns.n],
            firm: vec![1.0; columns.ids.len()],
        };
        if let Some(before) = before {
            estimate.learn(before);
        }
        estimate.alike = scatter(columns, counts);
        let of = |count: &Count| 1.0 / (1.0 + (count.runs() - 1.0).max(0.0) * estimate.alike);
        estimate.weights = counts.iter().zip(&estimate.certain).map(|(count, certain)| certain * of(count)).collect();
        // Rows that stand out are left out of the first estimate.
        for _ in 0..4 {
            let base = estimate.rates(&estimate.outlying).0;
            let outlying = estimate.stand_out(&base);
            if outlying == estimate.outlying {
                break;
            }
            estimate.outlying = outlying;
        }
        estimate
    }

    /// Rows that stand out above their rates.
    fn stand_out(&self, base: &[f64]) -> Vec<f64> {
        let stands = |((count, base), weight): ((&Count, &f64), &f64)| {
            let due = base * count.runs();
            let varies = due * (1.0 - base) / weight;
            f64::from(u8::from(count.red - due > OUTLYING * varies.max(1.0).sqrt()))
        };
        let mut outlying: Vec<f64> = self.counts.iter().zip(base).zip(&self.weights).map(stands).collect();
        for (label, value) in &self.lifted {
            let column = self.columns.ids[*label].iter().zip(&mut outlying);
            column.filter(|(id, _)| *id == value).for_each(|(_, outlying)| *outlying = 0.0);
        }
        outlying
    }

    /// Rates of before: the factors of values, bent towards what each row had itself.
    fn learn(&mut self, before: &[Count]) {
        let ones = vec![1.0; self.columns.n];
        let factors = Factors {
            columns: self.columns,
            counts: before,
            weights: &ones,
            start: None,
            firm: None,
            most: &|_, _| f64::INFINITY,
            crossed: &[],
            level: 0.0..=f64::INFINITY,
        };
        let (smooth, _) = factors.rates();
        let apart = scatter(self.columns, before);
        let lean = if apart > 0.0 { (1.0 / apart).clamp(10.0, 500.0) } else { 500.0 };
        let own = before.iter().zip(&smooth).map(|(count, smooth)| (count.red + lean * smooth) / (count.runs() + lean));
        self.before = Some(own.map(|rate: f64| rate.clamp(1e-6, 0.9)).collect());
        let known =
            before.iter().zip(self.counts).map(|(before, now)| 1.0 / (1.0 + now.runs() / (before.runs() + lean)));
        self.certain = known.collect();
    }

    /// The rates, and how firmly labels' factors are held.
    fn rates(&self, hit: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let weights: Vec<f64> = self.weights.iter().zip(hit).map(|(weight, hit)| weight * (1.0 - hit)).collect();
        let lifted = |label: usize, value: u32| {
            if self.lifted.contains(&(label, value)) { f64::INFINITY } else { NOTABLE }
        };
        let level = match &self.before {
            None => 0.0..=f64::INFINITY,
            Some(before) => {
                let runs: f64 = self.counts.iter().map(|count| count.runs()).sum();
                let due: f64 = self.counts.iter().zip(before).map(|(count, rate)| count.runs() * rate).sum();
                let mean = (due / runs.max(1.0)).max(1e-6);
                0.2..=(1.0 + DRIFT / mean)
            }
        };
        let firm = self.before.as_ref().map(|_| vec![FIRM; self.columns.ids.len()]);
        let factors = Factors {
            columns: self.columns,
            counts: self.counts,
            weights: &weights,
            start: self.before.as_deref(),
            firm,
            most: &lifted,
            crossed: &self.crossed,
            level,
        };
        factors.rates()
    }

    /// The rates beside what was hit, with rows that stand out looked for anew.
    fn settled(&mut self, hit: &[f64]) -> Vec<f64> {
        let either = |outlying: &[f64]| -> Vec<f64> {
            hit.iter().zip(outlying).map(|(hit, outlying)| hit.max(*outlying)).collect()
        };
        let (mut base, mut firm) = self.rates(&either(&self.outlying));
        let outlying = self.stand_out(&base);
        if outlying != self.outlying {
            self.outlying = outlying;
            (base, firm) = self.rates(&either(&self.outlying));
        }
        self.firm = firm;
        base
    }

    fn firm(&self, set: &Set, rows: &[u32]) -> f64 {
        match (&self.told, set.as_slice()) {
            (Some(told), _) => {
                // Counted before in these rows, and lent to them by their labels.
                let own: f64 = rows.iter().map(|row| told[*row as usize].red).sum();
                let lent = if set.len() > 1 { CROSSED } else { 0.0 };
                (1.0 + own + lent).min(FIRM)
            }
            (None, [(label, _)]) => self.firm[*label],
            (None, _) => CROSSED,
        }
    }
}

impl Ordinary<'_> {
    /// By row, how much a run counts.
    pub(super) fn weights(&self) -> Vec<f64> {
        match self {
            Ordinary::Known(base) => vec![1.0; base.len()],
            Ordinary::Estimated(estimate) => estimate.weights.clone(),
        }
    }

    /// Whether "everything" can be told from "ordinary".
    pub(super) fn is_told(&self) -> bool {
        match self {
            Ordinary::Known(_) => true,
            Ordinary::Estimated(estimate) => estimate.before.is_some(),
        }
    }

    /// Whether rows differ more than chance makes them.
    pub(super) fn is_scattered(&self) -> bool {
        matches!(self, Ordinary::Estimated(estimate) if estimate.alike > 0.0)
    }

    /// Whether rates are estimated, and so may be wrong.
    pub(super) fn is_estimated(&self) -> bool {
        matches!(self, Ordinary::Estimated(_))
    }

    /// The rates, from rows as far as no cause hit them.
    pub(super) fn rates(&mut self, hit: &[f64]) -> Vec<f64> {
        match self {
            Ordinary::Known(base) => base.to_vec(),
            Ordinary::Estimated(estimate) => estimate.settled(hit),
        }
    }

    /// How firmly a set's rows are held to their rates, in reds: what is not known better than that may be
    /// ordinary at other rates.
    pub(super) fn firm(&self, set: &Set, rows: &[u32]) -> f64 {
        match self {
            Ordinary::Known(_) => f64::INFINITY,
            Ordinary::Estimated(estimate) => estimate.firm(set, rows),
        }
    }

    /// What it costs, in nats, that a value's rate lies so much above the others' by nature, however rare
    /// reds are there.
    pub(super) fn creeps(&self, set: &Set, by: f64) -> f64 {
        if set.len() == 1 && !self.is_told() { by / CREEP } else { f64::INFINITY }
    }

    /// The most that a row's rate can be and still be ordinary.
    pub(super) fn most(&self, base: f64) -> f64 {
        ORDINARY.max(1.5 * base).min(0.9)
    }

    /// Takes a set's rate for ordinary from here on.
    pub(super) fn accept(&mut self, set: &Set, factor: f64) {
        if let Ordinary::Estimated(estimate) = self {
            estimate.lifted.extend(set.iter().copied());
            if set.len() != 1 {
                estimate.crossed.push((set.clone(), factor));
            }
        }
    }
}

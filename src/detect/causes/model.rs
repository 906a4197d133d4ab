//! The model: what is ordinary at each row, and the causes found so far. Of every row it says how
//! likely what was counted is, and with which chance a cause hit it.

use super::{
    Set,
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
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Its chance before looking.
    chance: f64,
    /// The share of runs that the causes of this way let live.
    spared: f64,
}

/// ln of how much likelier a row is that is hit with a chance, from how much likelier it is when hit.
pub(super) fn ln_partly(share: f64, ratio: f64) -> f64 {
    if share >= 1.0 {
        ratio
    } else if ratio > 30.0 {
        ratio + share.ln()
    } else {
        (1.0 - share + share * ratio.exp()).ln()
    }
}

/// Most causes at one row that are told apart: the first found are the strongest.
const MOST_AT_A_ROW: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Model {
    counts: Vec<Count>,
    /// How much a run counts: less than one where runs of a row are not independent.
    weights: Vec<f64>,
    base: Vec<f64>,
    ways: Vec<Vec<Way>>,
    /// ln of how likely a row is, against the base alone.
    known: Vec<f64>,
    pub(super) causes: Vec<Fitted>,
}

impl Model {
    pub(super) fn new(counts: &[Count], weights: &[f64], base: Vec<f64>) -> Self {
        let n = counts.len();
        Self {
            counts: counts.to_vec(),
            weights: weights.to_vec(),
            base,
            ways: vec![Vec::new(); n],
            known: vec![0.0; n],
            causes: Vec::new(),
        }
    }

    /// The same with other ordinary rates and weights.
    pub(super) fn rebase(&mut self, base: Vec<f64>, weights: &[f64]) {
        self.base = base;
        self.weights.copy_from_slice(weights);
        self.settle();
    }

    pub(super) fn base(&self, row: usize) -> f64 {
        self.base[row]
    }

    pub(super) fn count(&self, row: usize) -> Count {
        self.counts[row]
    }

    /// Takes these causes for all there are.
    pub(super) fn with(&mut self, causes: Vec<Fitted>) {
        for row in self.causes.iter().flat_map(|cause| &cause.rows) {
            self.ways[*row as usize].clear();
            self.known[*row as usize] = 0.0;
        }
        self.causes = causes;
        self.settle();
    }

    fn settle(&mut self) {
        for row in self.causes.iter().flat_map(|cause| &cause.rows) {
            self.ways[*row as usize].clear();
        }
        for cause in &self.causes {
            for row in &cause.rows {
                let ways = &mut self.ways[*row as usize];
                if ways.is_empty() {
                    ways.push(Way { chance: 1.0, spared: 1.0 });
                }
                if ways.len() >= 1 << MOST_AT_A_ROW {
                    continue;
                }
                let hit: Vec<Way> = (ways.iter())
                    .map(|way| Way { chance: way.chance * cause.share, spared: way.spared * (1.0 - cause.effect) })
                    .collect();
                ways.iter_mut().for_each(|way| way.chance *= 1.0 - cause.share);
                ways.extend(hit);
                ways.retain(|way| way.chance > 0.0);
            }
        }
        let rows: Vec<u32> = self.causes.iter().flat_map(|cause| cause.rows.iter().copied()).collect();
        for row in rows {
            self.known[row as usize] = self.ln_mixed(row as usize, self.base[row as usize], 1.0);
        }
    }

    /// ln of how likely a row is at a rate, against its base.
    fn ln_at(&self, row: usize, base: f64, spared: f64) -> f64 {
        let (count, own) = (self.counts[row], self.base[row]);
        let lives = (1.0 - base) * spared;
        let red = if count.red > 0.0 { count.red * ((1.0 - lives).max(1e-12) / own).ln() } else { 0.0 };
        let green = if count.green > 0.0 { count.green * (lives.max(1e-12) / (1.0 - own)).ln() } else { 0.0 };
        self.weights[row] * (red + green)
    }

    fn ln_mixed(&self, row: usize, base: f64, spared: f64) -> f64 {
        match self.ways[row].as_slice() {
            [] => self.ln_at(row, base, spared),
            [one] => self.ln_at(row, base, spared * one.spared),
            ways => {
                let said: Vec<f64> = ways.iter().map(|way| self.ln_at(row, base, spared * way.spared)).collect();
                let top = said.iter().copied().fold(f64::MIN, f64::max);
                top + ways.iter().zip(&said).map(|(way, said)| way.chance * (said - top).exp()).sum::<f64>().ln()
            }
        }
    }

    /// ln of how much likelier the row is if one more cause of such an effect hit it.
    pub(super) fn ln_ratio(&self, row: usize, effect: f64) -> f64 {
        self.ln_mixed(row, self.base[row], 1.0 - effect) - self.known[row]
    }

    /// The same for many effects at once, whose ln of what they spare is known: most rows have no
    /// cause yet, and many no red.
    pub(super) fn ln_ratios(&self, row: usize, spared: &[(f64, f64)], ratios: &mut [f64]) {
        if !self.ways[row].is_empty() {
            for ((spared, _), ratio) in spared.iter().zip(ratios) {
                *ratio = self.ln_mixed(row, self.base[row], *spared) - self.known[row];
            }
            return;
        }
        let (count, base, weight) = (self.counts[row], self.base[row], self.weights[row]);
        let (red, green) = (count.red * weight, count.green * weight);
        for ((spared, ln_spared), ratio) in spared.iter().zip(ratios) {
            *ratio = green * ln_spared;
            if red > 0.0 {
                *ratio += red * ((1.0 - (1.0 - base) * spared) / base).ln();
            }
        }
    }

    /// ln of how much likelier the row is if its ordinary rate were another.
    pub(super) fn ln_otherwise(&self, row: usize, base: f64) -> f64 {
        self.ln_mixed(row, base, 1.0) - self.known[row]
    }

    /// By row, the chance that some cause hit it.
    pub(super) fn hit(&self) -> Vec<f64> {
        let mut hit = vec![0.0; self.counts.len()];
        for row in self.causes.iter().flat_map(|cause| &cause.rows) {
            let at = *row as usize;
            let untouched = self.ways[at].iter().find(|way| way.spared >= 1.0).map_or(0.0, |way| way.chance);
            // The ways are told apart by what they say; without any cause a row says nothing against its base.
            hit[at] = (1.0 - untouched * (-self.known[at]).exp()).clamp(0.0, 1.0);
        }
        hit
    }

    /// Fits effect and share of one more cause over these rows, starting from a guess.
    pub(super) fn fit(&self, columns: &Columns, set: &Set, seen: &[bool], effect: f64, share: f64) -> Fitted {
        let rows: Vec<u32> = columns.rows(set).into_iter().filter(|row| seen[*row as usize]).collect();
        let runs: f64 = rows.iter().map(|row| self.counts[*row as usize].runs() * self.weights[*row as usize]).sum();
        let whole = self.climb(&rows, effect, 1.0);
        let partly = match share {
            1.0.. => (whole.0, 1.0, f64::MIN),
            share => self.climb(&rows, effect, share),
        };
        // Every number fitted costs what it could be told to: half a nat per e-fold of data.
        let total = whole.0 >= 0.985;
        let whole_gain = whole.2 - if total { 1.0 } else { 1.0 + 0.5 * (1.0 + runs).ln() };
        let partly_gain = partly.2 - 2.0 - 0.5 * (1.0 + runs).ln() - 0.5 * (1.0 + rows.len() as f64).ln();
        let (effect, share, gain) =
            if partly_gain > whole_gain { (partly.0, partly.1, partly_gain) } else { (whole.0, 1.0, whole_gain) };
        Fitted { set: set.clone(), rows, effect, share, gain }
    }

    /// The likeliest effect, and share if it is not whole: effect by halving steps in log odds, share by expectation.
    fn climb(&self, rows: &[u32], effect: f64, share: f64) -> (f64, f64, f64) {
        let odds = |effect: f64| (effect / (1.0 - effect)).ln();
        let effect_of = |odds: f64| 1.0 / (1.0 + (-odds).exp());
        let mut at = odds(effect.clamp(0.001, 0.999));
        let mut share = share;
        let says = |at: f64, share: f64| -> f64 {
            let effect = effect_of(at);
            let of = rows.iter().map(|row| {
                let ratio = self.ln_ratio(*row as usize, effect);
                ln_partly(share, ratio)
            });
            of.sum()
        };
        let mut best = says(at, share);
        let mut step = 0.6;
        loop {
            let (up, down) = ((at + step).min(7.0), (at - step).max(-7.0));
            let above = says(up, share);
            if above > best {
                (at, best) = (up, above);
                continue;
            }
            let below = says(down, share);
            if below > best {
                (at, best) = (down, below);
                continue;
            }
            if share < 1.0 {
                let effect = effect_of(at);
                let ratios: Vec<f64> =
                    rows.iter().map(|row| self.ln_ratio(*row as usize, effect).min(500.0).exp()).collect();
                for _ in 0..4 {
                    let expected = ratios.iter().map(|ratio| share * ratio / (1.0 - share + share * ratio));
                    share = (expected.sum::<f64>() / rows.len() as f64).clamp(0.01, 0.99);
                }
                best = says(at, share);
            } else if step < 0.2 {
                // Near the top the rest is a parabola.
                let bow = above + below - 2.0 * best;
                if bow < 0.0 {
                    let top = (at + 0.5 * step * (below - above) / bow).clamp(-7.0, 7.0);
                    let peak = says(top, share);
                    if peak > best {
                        (at, best) = (top, peak);
                    }
                }
                break;
            }
            step /= 2.0;
            if step < 0.06 {
                break;
            }
        }
        (effect_of(at), share, best)
    }
}

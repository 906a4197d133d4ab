//! The climb to the likeliest effect of a cause, and to the share of its rows that it hits. It is
//! climbed in single precision, many rows at once; what is found is said exactly by the model.

use std::{array, collections::BTreeMap};

use super::{
    lanes::{FAR, exp, ln, ln_partly, ln_sum},
    model::{Model, Way},
};

/// Rows that are worked on at once.
const LANES: usize = 16;
type Lanes = [f32; LANES];

/// Log odds of an effect between which is looked.
const ODDS: f64 = 7.0;

/// Rows whose reds may have come about in the same ways.
struct Alike<'a> {
    ways: &'a [Way],
    lanes: Vec<Rows>,
}

/// As many rows as there are lanes. Lanes that are left over hold a row without runs, which says nothing.
#[derive(Clone, Copy, Default)]
struct Rows {
    red: Lanes,
    green: Lanes,
    odds: Lanes,
    known: Lanes,
}

/// The rows of one cause, to be climbed on.
pub(super) struct Slope<'a> {
    model: &'a Model,
    rows: &'a [u32],
    alike: Vec<Alike<'a>>,
}

/// Where a climb ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    pub(super) effect: f64,
    pub(super) share: f64,
    /// How much better the rows are explained; in nats.
    pub(super) gain: f64,
}

impl<'a> Slope<'a> {
    pub(super) fn new(model: &'a Model, rows: &'a [u32]) -> Self {
        let mut by_ways: BTreeMap<_, (&[Way], usize, Vec<Rows>)> = BTreeMap::new();
        for row in rows {
            let at = *row as usize;
            let covers = model.covered(at);
            let (_, n, lanes) = by_ways.entry(covers).or_insert_with(|| (model.ways_at(at), 0, Vec::new()));
            let lane = *n % LANES;
            if lane == 0 {
                lanes.push(Rows::default());
            }
            *n += 1;
            if let Some(rows) = lanes.last_mut() {
                let said = model.row(at);
                rows.red[lane] = said.red as f32;
                rows.green[lane] = said.green as f32;
                rows.odds[lane] = said.odds as f32;
                rows.known[lane] = model.known(at) as f32;
            }
        }
        let alike = by_ways.into_values().map(|(ways, _, lanes)| Alike { ways, lanes }).collect();
        Self { model, rows, alike }
    }

    /// The likeliest effect, and share if it is not whole: effect by halving steps in log odds, share by expectation.
    pub(super) fn climb(&self, effect: f64, mut share: f64) -> Peak {
        let effect_of = |odds: f64| 1.0 / (1.0 + (-odds).exp());
        let effect = effect.clamp(0.001, 0.999);
        let mut at = (effect / (1.0 - effect)).ln();
        let mut best = self.says(effect_of(at), share);
        let mut step = 0.6;
        loop {
            let (up, down) = ((at + step).min(ODDS), (at - step).max(-ODDS));
            let above = self.says(effect_of(up), share);
            if above > best {
                (at, best) = (up, above);
                continue;
            }
            let below = self.says(effect_of(down), share);
            if below > best {
                (at, best) = (down, below);
                continue;
            }
            if share < 1.0 {
                share = self.share(effect_of(at), share);
                best = self.says(effect_of(at), share);
            } else if step < 0.2 {
                // Near the top the rest is a parabola.
                let bow = above + below - 2.0 * best;
                if bow < 0.0 {
                    let top = (at + 0.5 * step * (below - above) / bow).clamp(-ODDS, ODDS);
                    if self.says(effect_of(top), share) > best {
                        at = top;
                    }
                }
                break;
            }
            step /= 2.0;
            if step < 0.06 {
                break;
            }
        }
        let effect = effect_of(at);
        Peak { effect, share, gain: self.model.ln_ratio_of(self.rows, effect, share) }
    }

    fn says(&self, effect: f64, share: f64) -> f64 {
        let mut sum = 0.0;
        self.each(effect, |ratio| {
            if share < 1.0 {
                ln_partly(ratio, &[share as f32; LANES]);
            }
            sum += f64::from(ratio.iter().sum::<f32>());
        });
        sum
    }

    /// The share of rows that a cause of this effect is expected to hit.
    fn share(&self, effect: f64, share: f64) -> f64 {
        let mut likelier: Vec<f32> = Vec::with_capacity(self.rows.len() + LANES);
        self.each(effect, |ratio| {
            ratio.iter_mut().for_each(|ratio| *ratio = if *ratio > FAR { FAR } else { *ratio });
            exp(ratio);
            likelier.extend_from_slice(ratio);
        });
        let idle = likelier.len() - self.rows.len();
        let mut share = share;
        for _ in 0..4 {
            let hit = share as f32;
            let expected: f64 = likelier
                .chunks(LANES)
                .map(|of| f64::from(of.iter().map(|r| hit * r / (1.0 - hit + hit * r)).sum::<f32>()))
                .sum();
            // An idle lane is as likely hit as not looked at.
            share = ((expected - idle as f64 * share) / self.rows.len().max(1) as f64).clamp(0.01, 0.99);
        }
        share
    }

    /// Calls back with how much likelier rows are if the cause hit them, in nats.
    fn each(&self, effect: f64, mut take: impl FnMut(&mut Lanes)) {
        let spared = 1.0 - effect;
        for alike in &self.alike {
            for rows in &alike.lanes {
                let mut said = mixed(rows, alike.ways, spared);
                said.iter_mut().zip(&rows.known).for_each(|(said, known)| *said -= known);
                take(&mut said);
            }
        }
    }
}

fn hit(rows: &Rows, spared: f64) -> Lanes {
    let (by_cause, ln_spared) = ((1.0 - spared) as f32, spared.ln() as f32);
    // Where such a share s is spared a run is 1 + (1 - s)(1 - base)/base times as likely to be red.
    let mut said: Lanes = array::from_fn(|at| 1.0 + rows.odds[at] * by_cause);
    ln(&mut said);
    array::from_fn(|at| rows.red[at] * said[at] + rows.green[at] * ln_spared)
}

fn mixed(rows: &Rows, ways: &[Way], spared: f64) -> Lanes {
    let of = |way: &Way| hit(rows, spared * way.spared.share);
    match ways {
        [] => hit(rows, spared),
        [one] => of(one),
        ways => ln_sum(ways.iter().map(|way| (way.chance as f32, of(way)))),
    }
}

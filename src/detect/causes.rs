//! Causes: which label sets stand behind the reds. The search of the detector and of `landfall blame`.
//!
//! A cause is a set of up to three labels, an effect (the share of its runs that it turns red) and
//! the share of its rows that it hits. Every row has an ordinary rate of reds ([`ordinary`]). Causes are
//! taken one by one, each time the one that explains most of what is left ([`scan`]), against a
//! price that grows with the number of sets it was chosen from; after each, the earlier ones
//! are looked at again, since a second cause often shows that the first was too wide or too narrow.
//! A cause stands only if the reds are not as well explained by labels whose ordinary rates differ.

mod climb;
mod hands;
mod lanes;
mod model;
mod ordinary;
mod scan;
mod scatter;
mod table;

use std::borrow::Cow;

use self::{
    hands::Hands,
    model::{Fitted, Model},
    ordinary::{Estimate, Ordinary},
    scan::{Asked, Heard},
    table::{Columns, Count},
};
use super::{
    incident::LabelSet,
    suspects::{Field, Seen},
};

/// Most labels in a cause.
pub const MOST_LABELS: usize = 3;

/// Most causes that are named at once: more is no answer.
const MOST_CAUSES: usize = 8;

/// What a cause has to be worth when all prices are paid, in nats: by chance alone one table in twenty reaches it.
const STANDS: f64 = 3.0;

/// The price of a set by its number of labels, beside the number of sets to choose from. A fault rarely
/// follows everything; a further label has to be significant by itself.
const PRICE: [f64; MOST_LABELS + 1] = [4.0, 0.5, 2.0, 3.5];

/// What a set inside a known cause has to add to be one of its own, as a part of what that cause explains:
/// the effect of one cause is never quite the same in all of its rows.
const ADDS: f64 = 0.05;

/// A cause that hits more of its rows than this is the rule in them.
const MOSTLY: f64 = 0.5;

/// A cause that hits fewer of its rows may be several.
const WHOLE: f64 = 0.9;
/// Most causes that one is taken apart into at once.
const MOST_PIECES: usize = 3;

/// Scans after which the search is content with what it has.
const MOST_SCANS: usize = 10;

/// Most sets that are looked at and found ordinary.
const MOST_REFUSED: usize = 12;

/// Rows of a table of which it is worth the while to share the work among threads.
const SHARED: usize = 2_000;

/// In scattered tables: a smaller share of runs turned red is a ripple.
const SLIGHT: f64 = 0.05;
/// In scattered tables: what explains a smaller part of what the strongest cause does is a ripple.
const FAINT: f64 = 0.005;

/// A set is replaced only by one that is better by this much.
const BETTER: f64 = 0.1;

/// A label and one of its values, by place.
type Set = Vec<(usize, u32)>;

/// Something that turns runs red.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Where: fewest labels, then earliest in the order of labels. Empty: everywhere.
    pub labels: LabelSet,
    /// Other sets of no more labels that cover exactly the same rows.
    pub also: Vec<LabelSet>,
    /// Red and green inside.
    pub red: u64,
    /// Green inside.
    pub green: u64,
    /// The ordinary rate of reds inside: without the cause.
    pub base: f64,
    /// The share of runs that the cause turns red, where it hits.
    pub effect: f64,
    /// The share of rows inside that it hits.
    pub share: f64,
    /// How much better the reds are explained with it than without, all prices paid; in nats.
    pub score: f64,
}

/// A table of what was seen by labels, each combination once.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the labels, in the order in which causes are written.
    pub names: Vec<String>,
    /// Texts of the values by label.
    pub texts: Vec<Vec<String>>,
    /// Values by label, then row.
    pub ids: Vec<Vec<u32>>,
    /// What was seen by row.
    pub seen: Vec<Seen>,
    /// What had been seen before, when all was well, if that is known.
    pub before: Option<Vec<Seen>>,
}

/// The causes of reds in a field where the ordinary rate at each place is known; best first, only those that stand.
pub fn causes(field: &Field, seen: &[Seen], base: &[f64]) -> Vec<Cause> {
    let (names, texts, values) = field.columns();
    let ids = values.iter().map(|column| column.iter().map(|id| id.unwrap_or(table::NONE)).collect()).collect();
    let columns = Columns::new(Cow::Owned(ids), texts.iter().map(Vec::len).collect(), field.len());
    let base: Vec<f64> = base.iter().map(|base| base.clamp(1e-9, 0.9)).collect();
    let counts: Vec<Count> = seen.iter().copied().map(Count::from).collect();
    // The detector has one processor.
    Search::new(&columns, &counts, Ordinary::Known(&base), Hands::ONE).run(seen, names, texts)
}

/// The causes of reds in a table, whose ordinary rates are estimated; best first, only those that stand. A
/// large table is searched on so many processors; what is found is the same on any number.
pub fn blame(table: &Table, processors: usize) -> Vec<Cause> {
    let columns = Columns::new(Cow::Borrowed(&table.ids), table.texts.iter().map(Vec::len).collect(), table.seen.len());
    let counts: Vec<Count> = table.seen.iter().copied().map(Count::from).collect();
    let before: Option<Vec<Count>> =
        table.before.as_ref().map(|before| before.iter().copied().map(Count::from).collect());
    if counts.iter().all(|count| count.red == 0.0) {
        return Vec::new();
    }
    let hands = if table.seen.len() >= SHARED { Hands::up_to(processors) } else { Hands::ONE };
    let estimate = Estimate::new(&columns, &counts, before.as_deref());
    Search::new(&columns, &counts, Ordinary::Estimated(Box::new(estimate)), hands).run(
        &table.seen,
        &table.names,
        &table.texts,
    )
}

struct Search<'a> {
    columns: &'a Columns<'a>,
    ordinary: Ordinary<'a>,
    /// Rows in which something was counted.
    rows: Vec<u32>,
    observed: Vec<bool>,
    price: [f64; MOST_LABELS + 1],
    model: Model,
    hands: Hands,
    scans: usize,
    heard: Heard,
    /// Sets that are ordinary.
    refused: Vec<Set>,
    /// Sets that were not found to be several.
    whole: Vec<Set>,
}

impl<'a> Search<'a> {
    fn new(columns: &'a Columns<'a>, counts: &[Count], mut ordinary: Ordinary<'a>, hands: Hands) -> Self {
        let observed: Vec<bool> = counts.iter().map(|count| count.runs() > 0.0).collect();
        let rows: Vec<u32> = (0..columns.n as u32).filter(|row| observed[*row as usize]).collect();
        let base = ordinary.rates(&vec![0.0; columns.n]);
        let model = Model::new(counts, &ordinary.weights(), base);
        let price = prices(columns, rows.len());
        Self {
            columns,
            ordinary,
            rows,
            observed,
            price,
            model,
            hands,
            scans: 0,
            heard: Heard::default(),
            refused: Vec::new(),
            whole: Vec::new(),
        }
    }

    fn run(mut self, seen: &[Seen], names: &[String], texts: &[Vec<String>]) -> Vec<Cause> {
        if self.rows.iter().all(|row| self.model.count(*row as usize).red == 0.0) {
            return Vec::new();
        }
        while self.model.causes.len() < MOST_CAUSES && self.refused.len() < MOST_REFUSED {
            let Some(found) = self.next(None) else { break };
            if self.worth(&found) < STANDS {
                // As well explained by what is ordinary: take it so, and look on.
                if !self.ordinary.is_estimated() || self.refused.contains(&found.set) {
                    break;
                }
                let factor = self.otherwise(&self.model, &found).0;
                self.ordinary.accept(&found.set, factor);
                self.refused.push(found.set);
                self.rebase();
                continue;
            }
            let mut causes = self.model.causes.clone();
            let partly = found.share < WHOLE;
            causes.push(found);
            self.settle(causes);
            if partly || self.model.causes.len() > 1 {
                self.refine();
            }
        }
        if self.model.causes.len() == 1 {
            self.refine();
        }
        self.prune();
        self.report(seen, names, texts)
    }

    /// The set that explains most of what the model does not, one set left out.
    fn next(&mut self, except: Option<&Set>) -> Option<Fitted> {
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return None;
        }
        let least = STANDS - 1.0;
        let asked = Asked { price: self.price, least, except };
        let found = scan::scan(self.columns, &self.rows, &self.model, asked, &mut self.heard, self.hands);
        let fitted = self.hands.each(
            &found,
            || (),
            |(), candidate| {
                self.model.fit(self.columns, &candidate.set, &self.observed, candidate.effect, candidate.share.min(0.8))
            },
        );
        let known = |fitted: &Fitted| self.model.causes.iter().any(|cause| cause.set == fitted.set);
        fitted
            .into_iter()
            .filter(|fitted| {
                self.score(fitted) >= STANDS && !known(fitted) && self.adds(fitted) && !self.is_level(fitted)
            })
            .reduce(|best, other| if self.score(&other) > self.score(&best) + 1e-9 { other } else { best })
    }

    /// Whether it adds something to the causes around it.
    fn adds(&self, fitted: &Fitted) -> bool {
        let around = |cause: &&Fitted| {
            cause.set != fitted.set
                && !cause.set.is_empty()
                && cause.share > MOSTLY
                && fitted.rows.iter().all(|row| self.columns.holds(&cause.set, *row as usize))
        };
        self.model.causes.iter().filter(around).all(|cause| fitted.gain > ADDS * cause.gain)
    }

    /// Rows of a table scatter in ways of their own: what hits rows everywhere, some more and some less, is
    /// no answer but what causes have to be told from.
    fn is_background(&self, fitted: &Fitted) -> bool {
        let ordinary = !self.ordinary.is_told() || fitted.share <= MOSTLY || fitted.effect <= ordinary::DRIFT;
        self.ordinary.is_estimated() && fitted.set.is_empty() && ordinary
    }

    /// In a table whose rows scatter beyond chance, a strong cause and the scatter itself leave ripples: slight
    /// effects, small beside the strongest cause.
    fn is_ripple(&self, fitted: &Fitted) -> bool {
        let strongest = self.model.causes.iter().map(|cause| cause.gain).fold(0.0, f64::max);
        let slight = fitted.effect * fitted.share < SLIGHT || fitted.gain < FAINT * strongest;
        self.ordinary.is_scattered() && slight && !self.is_background(fitted)
    }

    /// What hits all rows alike, where nothing is known of before, is the level itself.
    fn is_level(&self, fitted: &Fitted) -> bool {
        self.is_background(fitted) && fitted.share > MOSTLY
    }

    fn score(&self, fitted: &Fitted) -> f64 {
        fitted.gain - self.price[fitted.set.len()]
    }

    /// Takes these causes, and estimates again what is ordinary beside them and how strong each is.
    fn settle(&mut self, causes: Vec<Fitted>) {
        self.model.with(causes);
        self.rebase();
        self.refit();
        self.rebase();
    }

    fn rebase(&mut self) {
        if self.ordinary.is_estimated() {
            let base = self.ordinary.rates(&self.model.hit());
            self.model.rebase(base, &self.ordinary.weights());
        }
    }

    fn refit(&mut self) {
        for at in 0..self.model.causes.len() {
            let mut others = self.model.causes.clone();
            let own = others.remove(at);
            let mut without = self.model.clone();
            without.with(others.clone());
            others.insert(at, without.fit(self.columns, &own.set, &self.observed, own.effect, own.share));
            self.model.with(others);
        }
    }

    /// Looks at each cause again beside the others: another set may explain better what it explains.
    fn refine(&mut self) {
        for _ in 0..3 {
            let mut changed = false;
            let mut at = 0;
            while at < self.model.causes.len() {
                let causes = self.model.causes.clone();
                let mut others = causes.clone();
                let own = others.remove(at);
                self.model.with(others.clone());
                let own = self.model.fit(self.columns, &own.set, &self.observed, own.effect, own.share);
                // What is scattered everywhere stands beside causes, not for them.
                let everything = Set::new();
                let best = self.next(self.ordinary.is_estimated().then_some(&everything));
                match best {
                    Some(best) if best.set != own.set && self.score(&best) > self.score(&own) + BETTER => {
                        others.insert(at, best);
                        self.settle(others);
                        changed = true;
                    }
                    None if self.score(&own) < STANDS && self.scans < MOST_SCANS => {
                        self.settle(others);
                        changed = true;
                        continue;
                    }
                    _ => match self.pieces(&own, &others) {
                        Some(pieces) => {
                            others.extend(pieces);
                            self.settle(others);
                            changed = true;
                        }
                        None => {
                            others.insert(at, own);
                            self.model.with(others);
                        }
                    },
                }
                at += 1;
            }
            if !changed {
                break;
            }
        }
    }

    /// The causes that together explain better what one explains that hits only some of its rows.
    fn pieces(&mut self, own: &Fitted, others: &[Fitted]) -> Option<Vec<Fitted>> {
        if own.share >= WHOLE || self.whole.contains(&own.set) {
            return None;
        }
        self.whole.push(own.set.clone());
        let mut pieces: Vec<Fitted> = Vec::new();
        let mut worth = 0.0;
        while pieces.len() < MOST_PIECES {
            self.model.with([others, &pieces].concat());
            let piece = self.next(Some(&own.set))?;
            worth += self.score(&piece);
            pieces.push(piece);
            if pieces.len() > 1 && worth > self.score(own) + BETTER {
                return Some(pieces);
            }
        }
        None
    }

    /// What a cause is worth beyond what differing ordinary rates explain, its price paid.
    fn worth(&mut self, found: &Fitted) -> f64 {
        if !self.ordinary.is_estimated() || self.is_background(found) {
            return self.score(found);
        }
        let mut hit = self.model.hit();
        found.rows.iter().for_each(|row| hit[*row as usize] = 1.0);
        let mut beside = self.model.clone();
        beside.rebase(self.ordinary.rates(&hit), &self.ordinary.weights());
        let fitted = beside.fit(self.columns, &found.set, &self.observed, found.effect, found.share);
        self.score(&fitted) - self.otherwise(&beside, &fitted).1
    }

    /// The factor by which a set's rows are best explained as ordinary, and what that gains.
    fn otherwise(&self, model: &Model, found: &Fitted) -> (f64, f64) {
        let firm = self.ordinary.firm(&found.set, &found.rows);
        let rates = found.rows.iter().map(|row| model.base(*row as usize));
        let mean = rates.sum::<f64>() / found.rows.len().max(1) as f64;
        let (mut best, mut worse, mut factor) = ((1.0, 0.0), 0, 1.0);
        while worse < 3 && factor < 1e4 {
            factor *= 1.2;
            let says = found.rows.iter().map(|row| {
                let base = model.base(*row as usize);
                model.ln_otherwise(*row as usize, (base * factor).min(self.ordinary.most(base)))
            });
            let bent = firm * (factor - 1.0 - f64::ln(factor));
            let crept = self.ordinary.creeps(&found.set, (factor - 1.0) * mean);
            let gain = says.sum::<f64>() - bent.min(crept);
            if gain > best.1 {
                (best, worse) = ((factor, gain), 0);
            } else {
                worse += 1;
            }
        }
        best
    }

    /// Lets go of causes that do not stand beside the others.
    fn prune(&mut self) {
        loop {
            let causes = self.model.causes.clone();
            let mut worst: Option<(usize, f64)> = None;
            let mut kept = Vec::new();
            for at in 0..causes.len() {
                let mut others = causes.clone();
                let own = others.remove(at);
                self.model.with(others);
                let own = self.model.fit(self.columns, &own.set, &self.observed, own.effect, own.share);
                let worth = if self.is_ripple(&own) { f64::MIN } else { self.worth(&own) };
                if worth < STANDS && worst.is_none_or(|(_, least)| worth < least) {
                    worst = Some((at, worth));
                }
                kept.push(own);
            }
            match worst {
                Some((at, _)) => {
                    kept.remove(at);
                    self.settle(kept);
                }
                None => {
                    self.model.with(kept);
                    return;
                }
            }
        }
    }

    fn report(&self, seen: &[Seen], names: &[String], texts: &[Vec<String>]) -> Vec<Cause> {
        let write = |set: &Set| -> LabelSet {
            set.iter().map(|(label, value)| (names[*label].clone(), texts[*label][*value as usize].clone())).collect()
        };
        let mut causes: Vec<Cause> = (self.model.causes.iter())
            .filter(|cause| !self.is_background(cause))
            .map(|cause| {
                let mut sets = self.columns.names(&cause.set);
                let labels = write(&sets.remove(0));
                let (mut red, mut green, mut due) = (0, 0, 0.0);
                for row in &cause.rows {
                    let (at, of) = (*row as usize, seen[*row as usize]);
                    red += u64::from(of.red);
                    green += u64::from(of.green);
                    due += self.model.base(at) * self.model.count(at).runs();
                }
                Cause {
                    labels,
                    also: sets.iter().map(write).collect(),
                    red,
                    green,
                    base: due / ((red + green) as f64).max(1.0),
                    effect: cause.effect,
                    share: cause.share,
                    score: self.score(cause),
                }
            })
            .collect();
        causes.sort_by(|a, b| b.score.total_cmp(&a.score));
        causes
    }
}

/// The price of a set by its number of labels: there are so many to choose from.
fn prices(columns: &Columns, rows: usize) -> [f64; MOST_LABELS + 1] {
    let rows = rows.max(1) as f64;
    let sizes: Vec<f64> = columns.sizes.iter().map(|size| (*size as f64).max(1.0)).collect();
    let mut number = [1.0, 0.0, 0.0, 0.0];
    for (i, one) in sizes.iter().enumerate() {
        number[1] += one.min(rows);
        for (j, two) in sizes.iter().enumerate().skip(i + 1) {
            number[2] += (one * two).min(rows);
            for three in &sizes[j + 1..] {
                number[3] += (one * two * three).min(rows);
            }
        }
    }
    std::array::from_fn(|size| PRICE[size] + f64::max(number[size], 1.0).ln())
}

#[cfg(test)]
mod tests;

//! A fault of one share on one suspect: how likely nobody has been told of it by a time, and by when somebody
//! has been with a half, or with 95 %.

use std::time::Duration;

use super::{
    Asked, Lane, Unnoticed,
    flight::{Flight, Table},
};
use crate::detect::{
    chance::{self, Rate},
    detector::{NAME_WITHIN, TOGETHER},
};

/// Moments at which the fault may begin, at least and at most: fewer where many runs follow one another,
/// so that both together are [`MOMENTS_AND_RUNS`].
const MOMENTS: (usize, usize) = (8, 64);
const MOMENTS_AND_RUNS: usize = 512;
/// The same for a calendar, whose nights and weekends are long.
const MOMENTS_OF_CALENDAR: usize = 256;
/// Steps of a table over a run's age.
const STEPS: usize = 512;
/// More reds than this before provisional ones convict: then the first final one does.
const MOST_REDS: u32 = 40;

/// A fault of one share on one suspect, ready to be asked how likely nobody has been told by a time.
pub(super) struct Fault<'l> {
    share: f64,
    lanes: &'l [Lane<'l>],
    /// Seconds after the first red at which reds are told.
    gate: f64,
    /// Reds that count together before provisional ones convict; none: only a final one does.
    reds: Option<u32>,
    /// By age since the first red, that no confirming run of it was lost and is red.
    unconfirmed: Table,
    /// By lane and a run's age: that it is red, waits for no name any more, is not final, and is
    /// unconfirmed.
    alone: Vec<Table>,
    /// Moments at which it may begin.
    begins: Vec<f64>,
}

impl<'l> Fault<'l> {
    pub(super) fn of(share: f64, lanes: &'l [Lane<'l>], asked: &Asked, flights: &[Flight]) -> Self {
        let gate = gate(asked, flights);
        let longest = lanes.iter().map(|lane| lane.flight.deadline).fold(0.0, f64::max);
        let unconfirmed = Table::of(longest, STEPS, |age| {
            let spared = |(hit, _): &(Vec<usize>, Vec<usize>)| -> f64 {
                hit.iter().map(|flight| 1.0 - share * flights[*flight].red.at(age)).product()
            };
            asked.iter().map(spared).sum::<f64>() / asked.len().max(1) as f64
        });
        let alone = |lane: &Lane<'_>| {
            Table::of(lane.flight.deadline, STEPS, |age| lane.flight.alone(0.0, age, gate, &unconfirmed))
        };
        let per_second: f64 = lanes.iter().map(|lane| lane.beat.per_second()).sum();
        let reds = reds(share, per_second, longest.min(TOGETHER.as_secs_f64()));
        let dues: usize = lanes.iter().map(|lane| lane.beat.most_within(lane.flight.deadline)).sum();
        let is_calendar = lanes.iter().any(|lane| !lane.beat.is_interval());
        let most = if is_calendar { MOMENTS_OF_CALENDAR } else { MOMENTS.1 };
        let round = lanes.iter().map(|lane| lane.beat.round()).fold(0.0, f64::max);
        let n = (MOMENTS_AND_RUNS / dues.max(1)).clamp(MOMENTS.0, most);
        // Steps of the golden ratio meet every part of every round alike, also of shorter ones.
        let begins = (1..=n).map(|nth| round * (nth as f64 * 0.618_033_988_75).fract()).collect();
        let alone = lanes.iter().map(alone).collect();
        Self { share, lanes, gate, reds, unconfirmed, alone, begins }
    }

    pub(super) fn unnoticed(&self) -> Unnoticed {
        Unnoticed { share: self.share, median: self.quantile(0.5), p95: self.quantile(0.95) }
    }

    fn quantile(&self, share: f64) -> Duration {
        let is_later = |after: f64| self.untold(after) > 1.0 - share;
        let (mut low, mut high) = (0.0, 60.0);
        // A century is as good as never.
        while is_later(high) && high < 3.2e9 {
            (low, high) = (high, high * 2.0);
        }
        while high - low > f64::max(0.05, high * 5e-4) {
            let middle = (low + high) / 2.0;
            if is_later(middle) { low = middle } else { high = middle }
        }
        Duration::from_secs_f64(high)
    }

    /// How likely it is that nobody has been told so long after the fault began.
    pub(super) fn untold(&self, after: f64) -> f64 {
        let sum: f64 = self.begins.iter().map(|begin| self.untold_since(*begin, after)).sum();
        sum / self.begins.len() as f64
    }

    fn untold_since(&self, begin: f64, after: f64) -> f64 {
        let p = self.share;
        // No red that is old enough; no red at all; one alone; no final red.
        let (mut none, mut zero, mut one, mut unsettled) = (1.0f64, 1.0f64, 0.0f64, 1.0f64);
        let mut open_reds = 0.0;
        for (lane, alone) in self.lanes.iter().zip(&self.alone) {
            let flight = lane.flight;
            // What was due up to here is final if it was hit.
            let settled = f64::max(after - flight.deadline - self.gate, 0.0);
            let spared = (1.0 - p).powf(lane.beat.count(begin, begin + settled));
            none *= spared;
            zero *= spared;
            one *= spared;
            unsettled *= spared;
            let mut run = |due: f64, n: f64| {
                let age = after - due;
                // Jobs that ended before the fault began.
                let before = flight.ended.at(-due);
                let is_red = |age: f64| p * (flight.red.at(age) - before).max(0.0);
                let (red, old_red) = (is_red(age), is_red(age - self.gate));
                let alone = if age >= flight.deadline {
                    0.0
                } else if due >= 0.0 {
                    alone.at(age)
                } else {
                    flight.alone(-due, age, self.gate, &self.unconfirmed)
                };
                let others = (1.0 - red).powf(n - 1.0);
                one = one * others * (1.0 - red) + zero * n * p * alone * others;
                zero *= others * (1.0 - red);
                none *= (1.0 - old_red).powf(n);
                if age >= flight.deadline {
                    unsettled *= others * (1.0 - red);
                } else {
                    open_reds += n * red;
                }
            };
            lane.beat.each(begin, begin - flight.longest, begin, &mut run);
            lane.beat.each(begin, begin + settled, begin + after, &mut run);
        }
        match self.reds {
            Some(2) => none + one,
            Some(reds) => none.max(unsettled * (1.0 - chance::at_least(reds, open_reds))),
            // The first final one is told, however many are not.
            None => none.max(unsettled),
        }
    }
}

/// When reds are told after the first: once the confirming runs are usually back, in time for a name.
fn gate(asked: &Asked, flights: &[Flight]) -> f64 {
    let most = NAME_WITHIN.as_secs_f64();
    let all_back = |age: f64| {
        let of = |(hit, spared): &(Vec<usize>, Vec<usize>)| {
            let hit: f64 = hit.iter().map(|flight| flights[*flight].red.at(age)).product();
            hit * spared.iter().map(|flight| flights[*flight].green.at(age)).product::<f64>()
        };
        asked.iter().map(of).sum::<f64>() / asked.len().max(1) as f64
    };
    (1..100).map(|nth| most * f64::from(nth) / 100.0).find(|age| all_back(*age) >= 0.5).unwrap_or(most)
}

/// How many overdue runs convict before one of them is final, if so large a share is lost: so many among
/// so few must be more than the haste with which runs have been called lost that had landed.
pub(super) fn reds(share: f64, per_second: f64, within: f64) -> Option<u32> {
    let haste = Rate::default().of_haste();
    (2..MOST_REDS).find(|reds| {
        let trials = (f64::from(*reds) / share).min(per_second * within).ceil().max(f64::from(*reds));
        chance::is_surprising_run(*reds, trials as u32, haste, per_second)
    })
}

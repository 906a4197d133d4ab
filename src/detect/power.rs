//! Power: how long a fault that silently loses a share of the runs of one label stays unnoticed, from the
//! schedules and from the detector's own rules. Computed, not played.
//!
//! What is foretold is the first notification, of whatever severity. By the rules of [`super::detector`]
//! that is, whichever comes first:
//!
//! * **two reds that count together**: a run is red when its rows are overdue, and the first red starts
//!   confirming runs, which may be lost as well. They are told once the confirming runs are back, or
//!   ten seconds after the first red. Critical.
//! * **one red alone**: told when it is final, at its deadline. A warning; a second loss raises it.
//!
//! The fault begins at any moment of the schedule, hits each run at the end of its job by itself, and goes
//! on. So with `q` the chance that a run was hit and is red by the time `t`, nobody has been told by `t` if
//! no run of the schedule is, or one that is not final and whose confirming runs are not lost: a product
//! over the runs, for a moment of the beginning, and the mean of that over the moments.

mod beat;
mod flight;

use std::{collections::BTreeMap, time::Duration};

use self::{
    beat::Beat,
    flight::{Flight, Table},
};
use super::{
    chance::{self, Rate},
    detector::{NAME_WITHIN, TOGETHER},
    field::{Field, Places, Seen},
    incident::LabelSet,
    suspects::{self, STRAY},
};
use crate::canary::{Route, Schedule, Timestamp};

/// Shares of runs that a fault is taken to hit, unless others are asked for.
pub const SHARES: [f64; 5] = [1.0, 0.1, 0.01, 0.001, 0.000_1];
/// Suspects of which it is computed, those that cover most first: labels that are different on every one
/// of thousands of routes tell nothing new.
pub const MOST_SUSPECTS: usize = 200;
/// Red routes of a suspect of which it is found out who is asked to confirm.
const ASKERS: usize = 8;
/// The same in a large field, where a search takes milliseconds.
const ASKERS_LARGE: usize = 1;
/// Moments at which the fault may begin, times runs in a round of the schedule.
const MOMENTS: (usize, usize, usize) = (512, 8, 64);
/// Steps of a table over a run's age.
const STEPS: usize = 512;
/// More reds than this before provisional ones convict: then the first final one does.
const MOST_REDS: u32 = 40;

/// How long jobs of a platform take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Half of the jobs end within this.
    pub p50: Duration,
    /// All but one in a hundred do within this.
    pub p99: Duration,
    /// Rows are visible this long after the end of their job at the latest.
    pub land: Duration,
}

/// A route, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Watched<'p> {
    /// The route.
    pub route: &'p Route,
    /// When it is due.
    pub schedule: &'p Schedule,
    /// Its canary's objective.
    pub objective: Duration,
    /// Its canary's deadline.
    pub deadline: Duration,
    /// How long a look at its target may have to wait for its turn.
    pub pause: Duration,
    /// How long its jobs take.
    pub course: Course,
}

/// What a fault on one label comes to.
#[derive(Clone, Debug)]
pub struct Power {
    /// The suspect: one label.
    pub labels: LabelSet,
    /// Other labels that cover the same routes.
    pub also: Vec<LabelSet>,
    /// How many routes it covers.
    pub routes: usize,
    /// Scheduled runs over them.
    pub runs_per_hour: f64,
    /// By share, in the order asked for.
    pub shares: Vec<Unnoticed>,
}

/// How long a fault of one share stays unnoticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unnoticed {
    /// The share of runs that is lost.
    pub share: f64,
    /// In half of all cases no longer than this.
    pub median: Duration,
    /// In 95 of a hundred no longer than this.
    pub p95: Duration,
}

/// Foretells it for every label with more than one value, and every share (of more than nothing, up to
/// 1). Labels that cover the same routes are one suspect. The largest suspects first where there are more
/// than [`MOST_SUSPECTS`], else in the order of the labels.
pub fn power(watched: &[Watched<'_>], shares: &[f64], now: Timestamp) -> Vec<Power> {
    let field = Field::of_routes(watched.iter().map(|watched| watched.route));
    let lines = Lines::of(watched, now);
    let mut asked = BTreeMap::new();
    let mut all = Vec::new();
    for (labels, also, places) in one_label(&field) {
        let covered: Vec<usize> = places.each().collect();
        let lanes = lines.lanes(&covered);
        let runs_per_hour = lanes.iter().map(|lane| lane.beat.per_second()).sum::<f64>() * 3600.0;
        let asked = lines.asked(&field, &covered, &places, &mut asked);
        let unnoticed = |share: &f64| Fault::of(*share, &lanes, &asked, &lines).unnoticed();
        let shares = shares.iter().map(unnoticed).collect();
        all.push(Power { labels, also, routes: covered.len(), runs_per_hour, shares });
    }
    all
}

/// Every label that not all routes have, with its other names and what it covers.
fn one_label(field: &Field) -> Vec<(LabelSet, Vec<LabelSet>, Places)> {
    let mut all: Vec<(LabelSet, Vec<LabelSet>, Places)> = Vec::new();
    let mut known: BTreeMap<Places, usize> = BTreeMap::new();
    let (names, texts, _) = field.columns();
    for (n, (name, texts)) in names.iter().zip(texts).enumerate() {
        for (places, text) in field.places[n].iter().zip(texts) {
            if places.count() as usize == field.len() {
                continue;
            }
            let labels = vec![(name.clone(), text.clone())];
            match known.get(places) {
                Some(at) => all[*at].1.push(labels),
                None => {
                    known.insert(places.clone(), all.len());
                    all.push((labels, Vec::new(), places.clone()));
                }
            }
        }
    }
    if all.len() > MOST_SUSPECTS {
        all.sort_by_key(|(_, _, places)| std::cmp::Reverse(places.count()));
        all.truncate(MOST_SUSPECTS);
    }
    all
}

/// Routes that are due and fly alike.
struct Lane<'l> {
    flight: &'l Flight,
    beat: Beat,
}

/// Every route: which kind of flight, and when it is due.
struct Lines {
    flights: Vec<Flight>,
    /// By place: its flight, and its beat.
    places: Vec<(usize, Beat)>,
}

/// Of whom runs are asked to confirm a red: flights of routes that the fault hits as well, and of others.
type Asked = Vec<(Vec<usize>, Vec<usize>)>;

impl Lines {
    fn of(watched: &[Watched<'_>], now: Timestamp) -> Self {
        let mut kinds: Vec<(Course, Duration, Duration, Duration)> = Vec::new();
        let mut crons: BTreeMap<*const Schedule, Beat> = BTreeMap::new();
        let mut flights = Vec::new();
        let mut places = Vec::with_capacity(watched.len());
        for one in watched {
            let kind = (one.course, one.objective, one.deadline, one.pause);
            let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                flights.push(Flight::of(one.course, one.objective, one.deadline, one.pause));
                kinds.len() - 1
            });
            let beat = match one.schedule {
                // Its routes start together: whatever the calendar says is found out once.
                Schedule::Cron(..) => crons
                    .entry(std::ptr::from_ref(one.schedule))
                    .or_insert_with(|| Beat::of(one.schedule, one.route.id, now))
                    .clone(),
                Schedule::Every(_) => Beat::of(one.schedule, one.route.id, now),
            };
            places.push((at, beat));
        }
        Self { flights, places }
    }

    fn lanes(&self, covered: &[usize]) -> Vec<Lane<'_>> {
        let mut lanes: Vec<(usize, Vec<&Beat>)> = Vec::new();
        for place in covered {
            let (flight, beat) = &self.places[*place];
            let alike = |(known, beats): &&mut (usize, Vec<&Beat>)| *known == *flight && beats[0].goes_with(beat);
            match lanes.iter_mut().find(alike) {
                Some((_, beats)) => beats.push(beat),
                None => lanes.push((*flight, vec![beat])),
            }
        }
        let lane =
            |(flight, beats): (usize, Vec<&Beat>)| Lane { flight: &self.flights[flight], beat: Beat::together(&beats) };
        lanes.into_iter().map(lane).collect()
    }

    /// Who is asked, for a few of the routes that may be red first. `known`: those found out before.
    fn asked(
        &self,
        field: &Field,
        covered: &[usize],
        places: &Places,
        known: &mut BTreeMap<usize, Vec<usize>>,
    ) -> Asked {
        let askers = if field.len() > suspects::LARGE { ASKERS_LARGE } else { ASKERS };
        let step = covered.len().div_ceil(askers).max(1);
        let of = |red: &usize| {
            let asked = known.entry(*red).or_insert_with(|| {
                let mut seen = vec![Seen::default(); field.len()];
                seen[*red].red = 1;
                let ranked = suspects::rank(field, &seen, STRAY);
                let siblings = suspects::questions(ranked, |place| place != *red, field.len());
                std::iter::once(*red).chain(siblings).collect()
            });
            let (hit, spared): (Vec<usize>, Vec<usize>) = asked.iter().partition(|place| places.has(**place));
            let flights = |places: Vec<usize>| places.into_iter().map(|place| self.places[place].0).collect();
            (flights(hit), flights(spared))
        };
        covered.iter().step_by(step).map(of).collect()
    }
}

/// A fault of one share on one suspect, ready to be asked how likely nobody has been told by a time.
struct Fault<'l> {
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
    fn of(share: f64, lanes: &'l [Lane<'l>], asked: &Asked, lines: &Lines) -> Self {
        let flights = &lines.flights;
        let gate = gate(asked, flights);
        let longest = lanes.iter().map(|lane| lane.flight.deadline).fold(0.0, f64::max);
        let each = |sets: &dyn Fn(&(Vec<usize>, Vec<usize>)) -> f64| {
            asked.iter().map(sets).sum::<f64>() / asked.len().max(1) as f64
        };
        let unconfirmed = Table::of(longest, STEPS, |age| {
            each(&|(hit, _)| hit.iter().map(|flight| 1.0 - share * flights[*flight].red.at(age)).product())
        });
        let alone = |lane: &Lane<'_>| {
            Table::of(lane.flight.deadline, STEPS, |age| lane.flight.alone(0.0, age, gate, &unconfirmed))
        };
        let per_second: f64 = lanes.iter().map(|lane| lane.beat.per_second()).sum();
        let reds = reds(share, per_second, longest.min(TOGETHER.as_secs_f64()));
        let dues: usize = lanes.iter().map(|lane| lane.beat.len()).sum();
        let round = lanes.iter().map(|lane| lane.beat.round()).fold(0.0, f64::max);
        let n = (MOMENTS.0 / dues.max(1)).clamp(MOMENTS.1, MOMENTS.2);
        // Steps of the golden ratio meet every part of every round alike, also of shorter ones.
        let begins = (1..=n).map(|nth| round * (nth as f64 * 0.618_033_988_75).fract()).collect();
        let alone = lanes.iter().map(alone).collect();
        Self { share, lanes, gate, reds, unconfirmed, alone, begins }
    }

    fn unnoticed(&self) -> Unnoticed {
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
    fn untold(&self, after: f64) -> f64 {
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
fn reds(share: f64, per_second: f64, within: f64) -> Option<u32> {
    let haste = Rate::default().of_haste();
    (2..MOST_REDS).find(|reds| {
        let trials = (f64::from(*reds) / share).min(per_second * within).ceil().max(f64::from(*reds));
        chance::is_surprising_run(*reds, trials as u32, haste, per_second)
    })
}

#[cfg(test)]
mod tests;

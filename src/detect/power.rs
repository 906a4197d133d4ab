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
mod fault;
mod flight;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::{beat::Beat, fault::Fault, flight::Flight};
use super::{
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
        let unnoticed = |share: &f64| Fault::of(*share, &lanes, &asked, &lines.flights).unnoticed();
        let shares = shares.iter().map(unnoticed).collect();
        all.push(Power { labels, also, routes: covered.len(), runs_per_hour, shares });
    }
    all
}

/// Every label that not all routes have, with its other names and what it covers. Where there is none,
/// everything.
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
    if all.is_empty() && !field.is_empty() {
        all.push((LabelSet::new(), Vec::new(), Places::all(field.len())));
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
    places: Vec<(usize, Arc<Beat>)>,
}

/// Of whom runs are asked to confirm a red: flights of routes that the fault hits as well, and of others.
type Asked = Vec<(Vec<usize>, Vec<usize>)>;

impl Lines {
    fn of(watched: &[Watched<'_>], now: Timestamp) -> Self {
        let mut kinds: Vec<(Course, Duration, Duration, Duration)> = Vec::new();
        let mut crons: BTreeMap<*const Schedule, Arc<Beat>> = BTreeMap::new();
        let mut flights = Vec::new();
        let mut places = Vec::with_capacity(watched.len());
        for one in watched {
            let kind = (one.course, one.objective, one.deadline, one.pause);
            let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                flights.push(Flight::of(one.course, one.objective, one.deadline, one.pause));
                kinds.len() - 1
            });
            let own = || Arc::new(Beat::of(one.schedule, one.route.id, now));
            let beat = match one.schedule {
                // Its routes start together: whatever the calendar says is found out once.
                Schedule::Cron(..) => Arc::clone(crons.entry(std::ptr::from_ref(one.schedule)).or_insert_with(own)),
                Schedule::Every(_) => own(),
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

#[cfg(test)]
mod tests;

//! Pending: bad runs that belong to no case yet. They wait for company, or for the runs that were
//! asked for to confirm them.

use serde::{Deserialize, Serialize};

use crate::{
    canary::{Family, Marker, State, Timestamp},
    detect::{
        case::Bad,
        detector::{Detector, NAME_WITHIN, TOGETHER},
        input::Change,
        suspects::{self, LARGE, Seen},
    },
};
use std::time::Duration;

/// Confirming runs asked for one group of reds: more tell nothing new and cost queries.
const MOST_ASKED: usize = 10;
/// How often pending runs of a large field are considered: when something was heard of them, and when
/// nothing was.
const CONSIDER_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Bad runs that came alone are kept so long, and so many of them, to be pooled.
const POOLED_FOR: Duration = Duration::from_secs(7 * 86_400);
const MOST_STRAYS: usize = 2_000;

/// A group of reds that waits for its confirming runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wait {
    pub since: Timestamp,
    /// Places asked for, when, and whether their verdict is back.
    pub asked: Vec<(u32, Timestamp, bool)>,
}

impl Detector {
    /// Pending reds of a family: do they join a case, open one, or wait?
    pub(super) fn consider(&mut self, family: Family, now: Timestamp, changes: &mut Vec<Change>) {
        let group = self.group(family);
        if group.is_empty() {
            self.waits.remove(&family);
            return;
        }
        // In a large field, where a search takes milliseconds and verdicts come by the hundred a second,
        // now and then is enough.
        if self.field.len() > LARGE {
            let every = |last: Timestamp| if self.news_at >= last { CONSIDER_EVERY.0 } else { CONSIDER_EVERY.1 };
            if self.considered.get(&family).is_some_and(|last| now.since(*last) < every(*last)) {
                return;
            }
            self.considered.insert(family, now);
        }
        if self.join(family, &group, now, changes) {
            return;
        }
        self.ask(family, &group, now, changes);
        let wait = &self.waits[&family];
        let all_back = wait.asked.iter().all(|(_, _, back)| *back);
        let asked_any = !wait.asked.is_empty();
        let waited = now.since(wait.since);
        if !all_back && waited < NAME_WITHIN {
            return;
        }
        if group.len() == 1 && family.is_silent() {
            // One alone: told as a warning once it is final and its confirming runs came back green.
            let settled = self.pending.iter().any(|bad| bad.spot.run == group[0] && !bad.spot.provisional);
            if settled && ((asked_any && all_back) || waited >= TOGETHER) {
                self.open(family, &group, now, changes);
            }
            return;
        }
        if self.is_enough(family, &group) {
            self.open(family, &group, now, changes);
        }
    }

    /// Pending runs of a family that count together with the newest; or with the oldest silent one that is
    /// final and too old for that, where deadlines are so long: it waits for no other.
    fn group(&self, family: Family) -> Vec<Marker> {
        let of_family = || self.pending.iter().filter(|bad| bad.family() == family);
        let Some(newest) = of_family().map(|bad| bad.spot.due).max() else { return Vec::new() };
        let is_left = |bad: &&Bad| !bad.spot.provisional && newest.since(bad.spot.due) > TOGETHER;
        let left = of_family().filter(|_| family.is_silent()).filter(is_left).map(|bad| bad.spot.due).min();
        let around = left.unwrap_or(newest);
        let counts = |due: Timestamp| around.since(due).max(due.since(around)) <= TOGETHER;
        of_family().filter(|bad| counts(bad.spot.due)).map(|bad| bad.spot.run).collect()
    }

    /// A red starts confirming runs: of its own route, and of those that best tell the suspects
    /// apart.
    fn ask(&mut self, family: Family, group: &[Marker], now: Timestamp, changes: &mut Vec<Change>) {
        let wait = self.waits.entry(family).or_insert(Wait { since: now, asked: Vec::new() });
        let waiting_still = wait.asked.iter().any(|(_, _, back)| !back);
        let is_red = family.is_silent() || family == Family::Honest;
        if !is_red || waiting_still || wait.asked.len() >= MOST_ASKED || (family.is_silent() && !wait.asked.is_empty())
        {
            return;
        }
        let first = wait.asked.is_empty();
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None, None);
        let ranked = suspects::rank(&self.field, &seen, self.stray(family, &seen));
        let hit = |place: usize| {
            self.cases.iter().any(|case| case.incident.is_open() && case.hit.contains_key(&(place as u32)))
        };
        let own = self.pending.iter().rfind(|bad| group.contains(&bad.spot.run)).map(|bad| bad.place);
        let open =
            |place: usize| Some(place as u32) != own && !hit(place) && (!first || seen[place] == Seen::default());
        let siblings = suspects::questions(ranked, open, self.field.len());
        let own = own.filter(|own| !hit(*own as usize));
        let asked: Vec<u32> = own.into_iter().chain(siblings.into_iter().map(|place| place as u32)).collect();
        let wait = self.waits.entry(family).or_insert(Wait { since: now, asked: Vec::new() });
        for place in asked {
            wait.asked.push((place, now, false));
            changes.push(Change::Confirm(self.trails[place as usize].route.id));
        }
    }

    /// Lone reds that nothing confirmed in time were noise, unless there are many: a route's rate
    /// learns from them, and they are kept to be pooled.
    pub(super) fn let_go(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let (old, kept): (Vec<Bad>, Vec<Bad>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|bad| !bad.spot.provisional && !bad.family().is_silent() && now.since(bad.judged_at) > TOGETHER);
        self.pending = kept;
        for bad in old {
            let family = bad.family();
            self.trails[bad.place as usize].learn(bad.spot.outcome);
            self.strays.push_back(bad);
            while self.strays.len() > MOST_STRAYS
                || self.strays.front().is_some_and(|oldest| now.since(oldest.spot.due) > POOLED_FOR)
            {
                self.strays.pop_front();
            }
            if let Some((suspect, stretch)) = self.pooled(family) {
                self.open_pooled(family, &suspect, stretch, now, changes);
            }
        }
    }

    /// What an earlier stray has become.
    pub(super) fn revise_stray(&mut self, run: Marker, to: &crate::detect::trail::Spot) {
        if let Some(at) = self.strays.iter().position(|bad| bad.spot.run == run) {
            if to.outcome.state() == State::Green {
                self.strays.remove(at);
            } else {
                self.strays[at].spot = to.clone();
            }
        }
    }
}

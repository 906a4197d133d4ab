//! A case: an incident with the runs that prove it, as detection works on it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    incident::{Deploy, Incident, IncidentId, Onset, Severity, Step},
    suspects::{Field, Places, Suspect},
    trail::{Spot, Trail},
};
use crate::canary::{Family, Marker, Outcome, State, TargetName, Timestamp};

/// Runs kept one by one; in a longer outage the oldest final ones are only counted.
const KEPT: usize = 2_000;
/// Runs named on an incident: the first ten and the newest fifty.
const NAMED: (usize, usize) = (10, 50);
/// Lines of story kept.
const STORY: usize = 200;
/// Greens due after the last proving run, on every hit route.
pub const GREENS_TO_RESOLVE: usize = 3;
/// A deploy is named if it lies in the bracket or this long before the last good run: releases
/// take effect when workers restart, not when the pipeline says so.
const DEPLOY_BEFORE: Duration = Duration::from_secs(30 * 60);
/// Nobody has seen anything for this long: no longer a warning.
const BLIND_TOO_LONG: Duration = Duration::from_secs(30 * 60);

/// One bad run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bad {
    /// The run.
    pub spot: Spot,
    /// Index of its route in the detector.
    pub place: u32,
    /// When it was judged bad first.
    pub judged_at: Timestamp,
    /// It had been judged green before.
    pub was_green: bool,
}

impl Bad {
    /// When it was hit.
    pub fn hit_at(&self) -> Timestamp {
        self.spot.hit_at(self.family())
    }

    /// The family of what it came to.
    pub fn family(&self) -> Family {
        self.spot.outcome.family().unwrap_or(Family::Grey)
    }
}

/// An incident with its proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// What is told of it.
    pub incident: Incident,
    /// Bad runs, by run.
    #[serde(with = "pairs")]
    pub bad: BTreeMap<Marker, Bad>,
    /// Bad runs no longer kept one by one, by outcome.
    #[serde(with = "pairs")]
    pub counted: BTreeMap<Outcome, u32>,
    /// Places hit, each with the last good run before its first bad one.
    #[serde(with = "pairs")]
    pub hit: BTreeMap<u32, Option<Timestamp>>,
    /// Targets whose controls failed.
    pub blind_to: BTreeSet<TargetName>,
    /// Due time of the newest bad run.
    pub last_bad: Timestamp,
    /// When the platform had said its last word on the first and on the last bad run.
    pub effect: (Timestamp, Timestamp),
    /// How long after its due time a run of this incident turned from green to bad: before that,
    /// a green run proves nothing.
    pub turns_after: Duration,
    /// Its runs changed since suspects were last looked for.
    pub stale: bool,
    /// When suspects were last looked for.
    pub ranked_at: Timestamp,
}

/// Maps with keys that JSON cannot have, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

impl Case {
    /// A case that begins with one bad run.
    pub fn of(first: &Bad, trails: &[Trail]) -> Self {
        let family = first.family();
        let mut case =
            Self::begun(IncidentId::of(first.spot.run), family, first.spot.outcome, first.spot.due, first.judged_at);
        case.effect = (first.hit_at(), first.hit_at());
        case.take(first.clone(), trails);
        case
    }

    /// A case that begins with failing controls, and no run yet.
    pub fn blind(id: IncidentId, since: Timestamp, now: Timestamp) -> Self {
        Self::begun(id, Family::Grey, Outcome::Unknown, since, now)
    }

    fn begun(id: IncidentId, family: Family, outcome: Outcome, first_bad: Timestamp, opened_at: Timestamp) -> Self {
        Self {
            incident: Incident {
                id,
                severity: severity_of(family),
                outcome,
                family,
                provisional: true,
                suspects: Vec::new(),
                also: Vec::new(),
                routes: Vec::new(),
                unaffected: Vec::new(),
                onset: Onset { last_good: None, first_bad },
                deploy: None,
                opened_at,
                detected_at: None,
                resolved_at: None,
                resolved_because: None,
                runs: Vec::new(),
                history: Vec::new(),
            },
            bad: BTreeMap::new(),
            counted: BTreeMap::new(),
            hit: BTreeMap::new(),
            blind_to: BTreeSet::new(),
            last_bad: first_bad,
            effect: (first_bad, first_bad),
            turns_after: Duration::ZERO,
            stale: true,
            ranked_at: Timestamp::EPOCH,
        }
    }

    /// Takes a bad run in, or what has become of one it has.
    pub fn take(&mut self, bad: Bad, trails: &[Trail]) {
        let due = bad.spot.due;
        let trail = &trails[bad.place as usize];
        self.hit.entry(bad.place).or_insert_with(|| trail.green_before(due));
        if !self.incident.routes.contains(&trail.route.id) {
            self.incident.routes.push(trail.route.id);
        }
        if due < self.incident.onset.first_bad {
            self.incident.onset.first_bad = due;
            self.hit.insert(bad.place, trail.green_before(due));
        }
        self.last_bad = self.last_bad.max(due);
        // Greens up to the moment of judging tell suspects apart; but a run that was green before is
        // proof only up to its own effect, since its neighbours may still turn.
        let until = if bad.was_green { bad.spot.effect } else { bad.judged_at };
        self.effect = (self.effect.0.min(bad.hit_at()), self.effect.1.max(until));
        if bad.was_green {
            self.turns_after = self.turns_after.max(bad.judged_at.since(due));
        }
        self.name(bad.spot.run);
        self.bad.insert(bad.spot.run, bad);
        if self.bad.len() > KEPT
            && let Some(oldest) = self.bad.values().find(|bad| !bad.spot.provisional).map(|bad| bad.spot.run)
            && let Some(bad) = self.bad.remove(&oldest)
        {
            *self.counted.entry(bad.spot.outcome).or_default() += 1;
        }
        self.stale = true;
    }

    /// What one of its runs has become: another bad outcome, or none.
    pub fn revise(&mut self, spot: &Spot) {
        if spot.is_green() {
            self.bad.remove(&spot.run);
            self.incident.runs.retain(|run| *run != spot.run);
            self.last_bad = self.bad.values().map(|bad| bad.spot.due).max().unwrap_or(self.incident.onset.first_bad);
        } else if let Some(bad) = self.bad.get_mut(&spot.run) {
            bad.spot = spot.clone();
        }
        self.stale = true;
    }

    fn name(&mut self, run: Marker) {
        let runs = &mut self.incident.runs;
        if !runs.contains(&run) {
            runs.push(run);
            if runs.len() > NAMED.0 + NAMED.1 {
                runs.remove(NAMED.0);
            }
        }
    }

    /// Nothing is left that proves it.
    pub fn is_empty(&self) -> bool {
        self.bad.is_empty() && self.counted.is_empty() && self.blind_to.is_empty()
    }

    /// Counts outcomes anew: outcome, family and severity are those of most of its runs.
    pub fn weigh(&mut self, now: Timestamp) {
        let mut votes = self.counted.clone();
        for bad in self.bad.values() {
            *votes.entry(bad.spot.outcome).or_default() += 1;
        }
        // Among equals a red one before its side effects, what it was called so far before other side
        // effects, then the first in the table of outcomes, which is the worse.
        let own = self.incident.family;
        let weight = |outcome: &Outcome, votes: u32| {
            let red = outcome.state() == State::Red;
            (votes, red, !red && outcome.family() == Some(own), Reverse(*outcome))
        };
        if let Some((outcome, _)) = votes.iter().max_by_key(|(outcome, votes)| weight(outcome, **votes)) {
            self.incident.outcome = *outcome;
            self.incident.family = outcome.family().unwrap_or(self.incident.family);
        }
        self.incident.provisional = self.counted.is_empty() && self.bad.values().all(|bad| bad.spot.provisional);
        let runs: u32 = votes.values().sum();
        self.incident.severity = match self.incident.family {
            family if family.is_silent() && runs == 1 => Severity::Warning,
            Family::Grey if now.since(self.incident.opened_at) >= BLIND_TOO_LONG => Severity::Critical,
            family => severity_of(family),
        };
    }

    /// Takes over what the search found.
    pub fn blame(&mut self, suspect: &Suspect, field: &Field, green: impl Fn(&Places) -> bool, deploys: &[Deploy]) {
        let incident = &mut self.incident;
        incident.suspects.clone_from(&suspect.labels);
        incident.also.clone_from(&suspect.also);
        incident.unaffected = field
            .siblings(&suspect.labels)
            .into_iter()
            .filter(|(_, places)| green(places))
            .map(|(labels, _)| labels)
            .collect();
        incident.onset.last_good =
            self.hit.values().flatten().filter(|due| **due < incident.onset.first_bad).max().copied();
        let from = incident.onset.last_good.unwrap_or(incident.onset.first_bad).minus(DEPLOY_BEFORE);
        // A run is hit when its output is written: a deploy after its due time can have broken it.
        let until = incident.onset.first_bad.max(self.effect.0);
        incident.deploy = deploys.iter().filter(|d| d.at >= from && d.at <= until).max_by_key(|d| d.at).cloned();
    }

    /// Whether every hit route has had enough greens due after the last bad run.
    pub fn is_over(&self, trails: &[Trail], now: Timestamp) -> bool {
        self.blind_to.is_empty()
            && self.hit.keys().all(|place| {
                let greens = trails[*place as usize]
                    .newest()
                    .take_while(|spot| spot.due > self.last_bad)
                    .filter(|spot| spot.is_green() && now >= spot.due.plus(self.turns_after));
                greens.count() >= GREENS_TO_RESOLVE
            })
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, at: Timestamp, text: String) {
        if self.incident.history.len() < STORY {
            self.incident.history.push(Step { at, text });
        }
    }
}

fn severity_of(family: Family) -> Severity {
    match family {
        Family::Missing | Family::Extra | Family::Values | Family::Honest => Severity::Critical,
        Family::Amber | Family::Grey => Severity::Warning,
    }
}

//! A case: an incident with the runs that prove it, as detection works on it.

mod before;
mod votes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::before::{Before, Kept};
use self::votes::{Votes, severity_of};
use super::{
    incident::{Deploy, Incident, IncidentId, Onset, Severity, Step},
    suspects::{Field, Places, Seen, Suspect},
    trail::{Spot, Trail},
};
use crate::canary::{Family, Marker, Outcome, Phase, State, TargetName, Timestamp};

/// Runs kept one by one; in a longer outage the oldest final ones are only counted.
const KEPT: usize = 2_000;
/// Up to so many bad runs, suspects are told apart with every green there is.
const FEW: usize = 12;
/// So many final runs, two of them of one route, tell in which way a fault shows.
pub(super) const KNOWN_BY: usize = 3;
/// Of the runs that an incident keeps, how many are its first ones.
const FIRST: usize = 10;
/// Lines of story kept.
const STORY: usize = 200;
/// A deploy is named if it lies in the bracket or this long before the last good run: releases
/// take effect when workers restart, not when the pipeline says so.
const DEPLOY_BEFORE: Duration = Duration::from_secs(30 * 60);
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

    /// The platform went unheard, rather than the target unseen.
    pub fn is_unheard(&self) -> bool {
        self.spot.phase.is_some_and(|phase| phase != Phase::Land)
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
    /// Places hit.
    #[serde(with = "pairs")]
    pub hit: BTreeMap<u32, Hit>,
    /// Families that it has been called by: paged as `lost`, it may come out as `late`, and a run that is
    /// lost again is still of this case.
    pub families: BTreeSet<Family>,
    /// Cases that it was told apart from: it does not become one with them again.
    #[serde(default)]
    pub apart_from: BTreeSet<IncidentId>,
    /// What the suspects covered when they were last looked for.
    pub covers: Places,
    /// Red and green that was seen there between the first and the last bad run.
    pub inside: Seen,
    /// By place, how many of a trail's forgotten greens came before this case.
    pub base: Vec<u32>,
    /// Greens on covered places due after the last bad run.
    pub clean: u32,
    /// The longest pause after which it was thought to be over, and was not.
    pub longest_pause: Duration,
    /// How it stood when it was over, if it was opened again since.
    #[serde(default)]
    pub before: Option<Box<Before>>,
    /// What was told of this opening, if anything was.
    pub told: Option<Severity>,
    /// When a reopening was told last.
    pub told_again_at: Option<Timestamp>,
    /// Targets whose controls failed.
    pub blind_to: BTreeSet<TargetName>,
    /// Due time of the newest bad run.
    pub last_bad: Timestamp,
    /// When the platform had said its last word on the first and on the last bad run.
    pub effect: (Timestamp, Timestamp),
    /// When the last bad run was hit.
    #[serde(default)]
    pub last_hit: Timestamp,
    /// How long after its due time a run of this incident turned from green to bad: before that,
    /// a green run proves nothing.
    pub turns_after: Duration,
    /// Its runs changed since suspects were last looked for.
    pub stale: bool,
    /// When suspects were last looked for.
    pub ranked_at: Timestamp,
    /// Since when, where and after what, as it was said last.
    #[serde(default)]
    pub said: Option<Said>,
    /// What its runs came to, counted; none where they must be counted anew.
    #[serde(skip)]
    votes: Option<Votes>,
}

/// What is said of a case beside its outcome and its suspects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    routes: usize,
    onset: Onset,
    deploy: Option<Deploy>,
    #[serde(default)]
    provisional: bool,
}

/// One place that is hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Due time of the last good run before its first bad one.
    pub last_good: Option<Timestamp>,
    /// Due time of its newest bad run.
    pub last_bad: Timestamp,
    /// When its newest bad run was hit.
    pub last_hit: Timestamp,
    /// Bad runs there.
    pub runs: u32,
    /// Families that final verdicts there have been of.
    #[serde(default)]
    pub kinds: BTreeSet<Family>,
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
        case.base = trails.iter().map(|trail| trail.gone_before(family, first.hit_at())).collect();
        case.take(first.clone(), trails);
        case
    }

    /// A case that begins with failing controls, and no run yet.
    pub fn blind(id: IncidentId, since: Timestamp, now: Timestamp, trails: &[Trail]) -> Self {
        let mut case = Self::begun(id, Family::Grey, Outcome::Unknown, since, now);
        case.base = trails.iter().map(|trail| trail.gone_before(Family::Grey, since)).collect();
        case
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
                reopened_at: None,
                resolved_at: None,
                resolved_because: None,
                runs: Vec::new(),
                history: Vec::new(),
            },
            bad: BTreeMap::new(),
            counted: BTreeMap::new(),
            hit: BTreeMap::new(),
            families: BTreeSet::from([family]),
            apart_from: BTreeSet::new(),
            covers: Places::default(),
            inside: Seen::default(),
            base: Vec::new(),
            clean: 0,
            longest_pause: Duration::ZERO,
            before: None,
            told: None,
            told_again_at: None,
            blind_to: BTreeSet::new(),
            last_bad: first_bad,
            effect: (first_bad, first_bad),
            last_hit: first_bad,
            turns_after: Duration::ZERO,
            stale: true,
            ranked_at: Timestamp::EPOCH,
            said: None,
            votes: None,
        }
    }

    /// Whether since when, where, after what or how surely is other than it was said last; from now on it is said.
    pub fn says_more(&mut self) -> bool {
        let incident = &self.incident;
        let is_said = self.said.as_ref().is_some_and(|said| {
            let is_same = (said.routes, said.onset) == (incident.routes.len(), incident.onset);
            is_same && said.deploy == incident.deploy && said.provisional == incident.provisional
        });
        if !is_said {
            let (onset, deploy) = (incident.onset, incident.deploy.clone());
            let provisional = incident.provisional;
            self.said = Some(Said { routes: incident.routes.len(), onset, deploy, provisional });
        }
        !is_said
    }

    /// Takes a bad run in, or what has become of one it has.
    pub fn take(&mut self, bad: Bad, trails: &[Trail]) {
        let due = bad.spot.due;
        let trail = &trails[bad.place as usize];
        let hit = self.hit.entry(bad.place).or_insert_with(|| Hit {
            last_good: trail.green_before(due),
            last_bad: due,
            last_hit: bad.hit_at(),
            runs: 0,
            kinds: BTreeSet::new(),
        });
        hit.runs += 1;
        if !bad.spot.provisional {
            hit.kinds.insert(bad.family());
        }
        hit.last_bad = hit.last_bad.max(due);
        hit.last_hit = hit.last_hit.max(bad.hit_at());
        if !self.incident.routes.contains(&trail.route.id) {
            self.incident.routes.push(trail.route.id);
        }
        if due < self.incident.onset.first_bad {
            self.incident.onset.first_bad = due;
            hit.last_good = trail.green_before(due);
        }
        if due > self.last_bad {
            self.last_bad = due;
            self.clean = 0;
        }
        let earlier = bad.hit_at();
        self.last_hit = self.last_hit.max(earlier);
        if earlier < self.effect.0 {
            // Greens between the two are this case's after all.
            let family = self.incident.family;
            for (base, trail) in self.base.iter_mut().zip(trails) {
                let between = trail.greens_before(family, self.effect.0) - trail.greens_before(family, earlier);
                *base = base.saturating_sub(between);
            }
        }
        // Greens up to the moment of judging tell suspects apart; but a run that was green before is
        // proof only up to its own effect, since its neighbours may still turn.
        let until = if bad.was_green { bad.spot.effect } else { bad.judged_at };
        self.effect = (self.effect.0.min(bad.hit_at()), self.effect.1.max(until));
        if bad.was_green {
            self.turns_after = self.turns_after.max(bad.judged_at.since(due));
        }
        self.name(bad.spot.run);
        self.vote(&bad.spot, true);
        if let Some(known) = self.bad.insert(bad.spot.run, bad) {
            self.vote(&known.spot, false);
        }
        if self.bad.len() > KEPT
            && self.votes.as_ref().is_none_or(|votes| votes.finals > 0)
            && let Some(oldest) = self.bad.values().find(|bad| !bad.spot.provisional).map(|bad| bad.spot.run)
            && let Some(bad) = self.bad.remove(&oldest)
        {
            self.vote(&bad.spot, false);
            *self.counted.entry(bad.spot.outcome).or_default() += 1;
        }
        self.stale = true;
    }

    /// What one of its runs has become: another bad outcome, or none.
    pub fn revise(&mut self, spot: &Spot) {
        if spot.is_green() {
            if let Some(bad) = self.bad.remove(&spot.run) {
                self.vote(&bad.spot, false);
            }
            self.incident.runs.retain(|run| *run != spot.run);
            self.last_bad = self.bad.values().map(|bad| bad.spot.due).max().unwrap_or(self.incident.onset.first_bad);
            self.clean += 1;
        } else if let Some(bad) = self.bad.get_mut(&spot.run) {
            let known = std::mem::replace(&mut bad.spot, spot.clone());
            if !spot.provisional
                && let Some(hit) = self.hit.get_mut(&bad.place)
            {
                hit.kinds.insert(bad.family());
            }
            self.vote(&known, false);
            self.vote(spot, true);
        }
        self.stale = true;
    }

    /// Lets runs go that are another fault's.
    pub fn lose(&mut self, leaving: &[Bad], trails: &[Trail]) {
        self.recount();
        for bad in leaving {
            self.bad.remove(&bad.spot.run);
            self.incident.runs.retain(|run| *run != bad.spot.run);
        }
        let left: BTreeSet<u32> = self.bad.values().map(|bad| bad.place).collect();
        self.hit.retain(|place, _| left.contains(place));
        let routes: Vec<_> = left.iter().map(|place| trails[*place as usize].route.id).collect();
        self.incident.routes.retain(|route| routes.contains(route));
        if let Some(first) = self.bad.values().map(|bad| bad.spot.due).min() {
            self.incident.onset.first_bad = first;
        }
        self.last_bad = self.bad.values().map(|bad| bad.spot.due).max().unwrap_or(self.last_bad);
        self.stale = true;
    }

    fn name(&mut self, run: Marker) {
        let runs = &mut self.incident.runs;
        if !runs.contains(&run) {
            runs.push(run);
            if runs.len() > Incident::RUNS {
                runs.remove(FIRST);
            }
        }
    }

    /// Nothing is left that proves it.
    pub fn is_empty(&self) -> bool {
        self.bad.is_empty() && self.counted.is_empty() && self.blind_to.is_empty()
    }

    /// Most of its runs went unheard by the platform, rather than unseen at the target.
    pub fn is_unheard(&self) -> bool {
        let unheard = self.bad.values().filter(|bad| bad.is_unheard()).count();
        unheard * 2 > self.bad.len()
    }

    /// A run of it has come to this outcome.
    pub fn has_been(&self, outcome: Outcome) -> bool {
        self.bad.values().any(|bad| bad.spot.outcome == outcome && !self.is_on_loan(&bad.spot))
    }

    /// Since it is open again its final runs have gone wrong in ways in which it never had.
    pub fn is_otherwise(&self, before: &Before) -> bool {
        let finals = self.bad.values().filter(|bad| !bad.spot.provisional);
        let (since, earlier): (Vec<&Bad>, Vec<&Bad>) = finals.partition(|bad| bad.hit_at() >= before.until);
        let known: BTreeSet<Outcome> = earlier.into_iter().map(|bad| bad.spot.outcome).collect();
        let is_new = |bad: &&Bad| !known.contains(&bad.spot.outcome) && !self.counted.contains_key(&bad.spot.outcome);
        since.len() >= KNOWN_BY && since.iter().all(is_new)
    }

    /// Another run of it has come to what this one is, or to what this one may still come to.
    pub fn knows(&self, bad: &Bad) -> bool {
        // What is not there yet, or not all of it, may only be late.
        let waits = bad.spot.provisional && bad.family() == Family::Missing;
        if self.counted.contains_key(&bad.spot.outcome) {
            return true;
        }
        self.bad.values().filter(|known| known.spot.run != bad.spot.run).any(|known| {
            let is_same = known.spot.outcome == bad.spot.outcome && !self.is_on_loan(&known.spot);
            (is_same && (bad.family() != Family::Grey || known.is_unheard() == bad.is_unheard()))
                || (waits && known.spot.outcome == Outcome::Late)
        })
    }

    /// It is, or was once called, of this family.
    pub fn is_of(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    /// A red of another family that is not final: it may still become what this case is about.
    pub fn is_on_loan(&self, spot: &Spot) -> bool {
        spot.provisional
            && spot.outcome.state() == State::Red
            && spot.outcome.family().is_some_and(|family| !self.is_of(family))
    }

    /// Takes over what the search found.
    pub fn blame(&mut self, suspect: &Suspect, field: &Field, green: impl Fn(&Places) -> bool, deploys: &[Deploy]) {
        let incident = &mut self.incident;
        self.covers.clone_from(&suspect.places);
        self.inside = suspect.inside;
        incident.suspects.clone_from(&suspect.labels);
        incident.also.clone_from(&suspect.also);
        incident.unaffected = field
            .siblings(&suspect.labels)
            .into_iter()
            .filter(|(_, places)| green(places))
            .map(|(labels, _)| labels)
            .collect();
        incident.onset.last_good =
            self.hit.values().filter_map(|hit| hit.last_good).filter(|due| *due < incident.onset.first_bad).max();
        let from = incident.onset.last_good.unwrap_or(incident.onset.first_bad).minus(DEPLOY_BEFORE);
        // A run is hit when its output is written: a deploy after its due time can have broken it.
        let until = incident.onset.first_bad.max(self.effect.0);
        incident.deploy = deploys.iter().filter(|d| d.at >= from && d.at <= until).max_by_key(|d| d.at).cloned();
    }

    /// Counts a green run that speaks for the case being over.
    pub fn hear_green(&mut self, place: u32, due: Timestamp) {
        // One that was due before the fault, and judged after it, makes the bracket narrower.
        if due < self.incident.onset.first_bad
            && let Some(hit) = self.hit.get_mut(&place)
            && hit.last_good.is_none_or(|known| known < due)
        {
            hit.last_good = Some(due);
            self.stale = true;
        }
        if due > self.last_bad && self.covers.has(place as usize) {
            self.clean = self.clean.saturating_add(1);
        }
    }

    /// Up to when greens tell its suspects apart. At first up to the last judgement, since every green
    /// helps; later only those that were over before the last bad run was hit: what lands after that
    /// may land because the fault has ended.
    pub fn until(&self) -> Timestamp {
        if self.bad.len() > FEW { self.last_hit } else { self.effect.1 }
    }

    /// Says once that the fault may be the agent's own, if nothing can be seen anywhere.
    pub fn doubt_the_agent(&mut self, now: Timestamp) {
        const DOUBT: &str = "nothing can be seen anywhere: the agent itself, or its network, is suspected";
        let everywhere = self.incident.family == Family::Grey && self.incident.suspects.is_empty();
        if everywhere
            && self.hit.len() + self.blind_to.len() > 1
            && self.incident.history.iter().all(|s| s.text != DOUBT)
        {
            self.tell(now, DOUBT.to_owned());
        }
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, at: Timestamp, text: String) {
        if self.incident.history.len() < STORY {
            self.incident.history.push(Step { at, text });
        }
    }
}

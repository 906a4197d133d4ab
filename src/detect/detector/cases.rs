//! Cases: which bad runs belong together, and what becomes of them. A case opens, takes runs in,
//! widens, narrows, splits, merges with another, ends, and opens again.

use std::time::Duration;

use crate::{
    canary::{Family, Marker, Outcome, Phase, State, Timestamp},
    detect::{
        case::{Bad, Before, Case, Kept},
        detector::{Detector, resolve},
        end::{GREENS_TO_RESOLVE, LONGEST_PAUSE},
        incident::{IncidentId, LabelSet, Severity, write_labels},
        input::Change,
        suspects::{LARGE, Places, SECOND_FAULT, Seen, Suspect},
    },
};

/// Suspects of a large incident are looked for anew at most this often.
const RANK_EVERY: Duration = Duration::from_secs(1);
/// And in a large field, where a search takes milliseconds.
const RANK_LARGE_EVERY: Duration = Duration::from_secs(5);
/// Up to so many runs, suspects are looked for at every change.
const SMALL: usize = 60;
/// A new fault out of the blue, beside the return of one that is known: what the latter may cost
/// more before the former is believed.
const NEW_FAULT: f64 = 8.0;
/// How long after its end an incident can be opened again.
pub(super) const REOPEN: Duration = Duration::from_secs(24 * 3600);
/// A reopened incident is told again at most this often.
const TELL_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Red runs after the recovery of some routes, before an incident narrows to the others.
const REDS_TO_NARROW: u32 = 3;
/// As unlikely by chance as this is the recovery of routes that an incident narrows by.
const RECOVERED_BY_CHANCE: f64 = 1e-4;

impl Detector {
    /// The case that a bad run plainly belongs to: one whose routes it is on, if it is a side
    /// effect of the same fault or a late word on a fault that is over.
    pub(super) fn explaining(&self, bad: &Bad) -> Option<usize> {
        let during = |case: &Case| {
            case.incident.resolved_at.is_none_or(|over| bad.spot.due < over)
                && bad.judged_at >= case.incident.onset.first_bad
        };
        let hits = |case: &Case| case.hit.contains_key(&bad.place);
        let about = |case: &Case| hits(case) || self.covers(&case.incident.suspects, bad.place);
        let is_its = |case: &Case| during(case) && !self.has_left(case, bad);
        let newest = |wanted: &dyn Fn(&Case) -> bool| self.cases.iter().rposition(|case| wanted(case) && is_its(case));
        // Where two cases of the family are about a place, the one that was hit there more often.
        let own = (self.cases.iter().enumerate())
            .filter(|(_, case)| case.is_of(bad.family()) && about(case) && is_its(case))
            .max_by_key(|(at, case)| (case.incident.is_open(), case.hit.get(&bad.place).map(|hit| hit.runs), *at));
        own.map(|(at, _)| at).or_else(|| match bad.spot.outcome.state() {
            State::Amber | State::Grey => newest(&about),
            // A red of another family may well be another fault: only on a route that is hit
            // already, and only until its final verdict says what it is.
            State::Red if bad.spot.provisional => newest(&hits),
            // A target that nobody can see takes no output either: jobs that end with an error
            // there are of the same outage, also when it can be read again. So are all failures on
            // a platform that does not answer. Queries that fail by themselves are not.
            State::Red if bad.family() == Family::Honest => newest(&|case| {
                let at_target = bad.spot.phase != Some(Phase::Execute);
                case.incident.family == Family::Grey && about(case) && (at_target || case.is_unheard())
            }),
            State::Red | State::Green => None,
        })
    }

    fn covers(&self, labels: &LabelSet, place: u32) -> bool {
        let route = &self.trails[place as usize].route;
        labels.iter().all(|(name, value)| route.facet(name) == Some(value))
    }

    /// Whether one label set explains a case and pending runs better than two do, at the price of
    /// a further fault. The set must cover the pending runs: a stray joins nothing.
    pub(super) fn one_explains(&self, case: &Case, group: &[Marker], price: f64) -> bool {
        let family = case.incident.family;
        // A platform that is not heard and a target that is not seen are two things.
        if family == Family::Grey && !case.incident.suspects.is_empty() && case.is_unheard() != self.is_unheard(group) {
            return false;
        }
        let since = self.since(group);
        let in_case = |run: &Marker| case.bad.contains_key(run);
        let in_group = |run: &Marker| group.contains(run);
        let score = |seen: &[Seen]| self.best(family, seen).map_or(0.0, |best| best.score);
        let new = score(&self.seen(family, in_group, since, None, None));
        let places: Vec<u32> = self.pending.iter().filter(|bad| in_group(&bad.spot.run)).map(|bad| bad.place).collect();
        let explains = |both: &[Seen], old: &[Seen], price: f64| {
            let Some(best) = self.best(family, both) else { return false };
            old.iter().any(|seen| seen.red > 0)
                && places.iter().all(|place| best.places.has(*place as usize))
                && old.iter().enumerate().any(|(at, seen)| seen.red > 0 && best.places.has(at))
                && best.score >= score(old) + new - price
        };
        let all = |from: Timestamp| {
            (
                self.seen(family, |run| in_case(run) || in_group(run), from, None, Some(case)),
                self.seen(family, in_case, from, None, Some(case)),
            )
        };
        // What goes wrong in another way is another fault sooner than the same.
        let alike = self.pending.iter().any(|bad| in_group(&bad.spot.run) && case.has_been(bad.spot.outcome));
        let (both, old) = all(case.effect.0.min(since));
        if explains(&both, &old, if alike { price } else { 0.0 }) {
            return true;
        }
        if !alike {
            return false;
        }
        // A fault may have spread: then greens from before the new reds acquit nobody, while the case's
        // routes are as red as they were when they were seen last. So short a memory forgives much:
        // there, one must explain more than two even if the second were free.
        let turned = self.turned(family, group, since);
        let (mut both, mut old) = all(since);
        for bad in case.bad.values().filter(|bad| bad.hit_at() >= turned && bad.hit_at() < since) {
            both[bad.place as usize].red += 1;
            old[bad.place as usize].red += 1;
        }
        explains(&both, &old, 0.0)
    }

    fn is_unheard(&self, group: &[Marker]) -> bool {
        let of_group = self.pending.iter().filter(|bad| group.contains(&bad.spot.run));
        let (n, unheard) = of_group.fold((0, 0), |(n, unheard), bad| (n + 1, unheard + u32::from(bad.is_unheard())));
        unheard * 2 > n
    }

    fn take_pending(&mut self, group: &[Marker]) -> Vec<Bad> {
        let (taken, rest) = std::mem::take(&mut self.pending).into_iter().partition(|b| group.contains(&b.spot.run));
        self.pending = rest;
        taken
    }

    /// Joins the group to an open case of its family if one label set explains both better than
    /// two do.
    pub(super) fn join(&mut self, family: Family, group: &[Marker], now: Timestamp, changes: &mut Vec<Change>) -> bool {
        if let Some(at) = (0..self.cases.len()).find(|at| self.is_another(*at, family, group)) {
            let joining = self.take_pending(group);
            self.detach(at, joining, now, changes);
            return true;
        }
        let left =
            |case: &Case| self.pending.iter().all(|bad| !group.contains(&bad.spot.run) || self.has_left(case, bad));
        let open = |case: &Case| case.incident.is_open() && case.is_of(family) && !left(case);
        // Of two rare faults at once the second is hard to believe.
        let price = |case: &Case| if case.is_intermittent() { NEW_FAULT } else { SECOND_FAULT };
        let joined = self.cases.iter().position(|case| open(case) && self.one_explains(case, group, price(case)));
        let Some(at) = joined else { return false };
        for bad in self.take_pending(group) {
            self.cases[at].take(bad, &self.trails);
        }
        true
    }

    /// Opens a case on the runs of the group that its first suspect covers, or opens the case again
    /// that they belong to; the rest waits on.
    pub(super) fn open(&mut self, family: Family, group: &[Marker], now: Timestamp, changes: &mut Vec<Change>) {
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None, None);
        let Some(suspect) = self.faults(family, &seen).into_iter().next() else { return };
        let covered: Vec<Marker> = (self.pending.iter())
            .filter(|bad| group.contains(&bad.spot.run) && suspect.places.has(bad.place as usize))
            .map(|bad| bad.spot.run)
            .collect();
        self.waits.remove(&family);
        let known = self.cases.iter().rposition(|case| {
            case.is_of(family)
                && case.incident.detected_at.is_some()
                && case.incident.resolved_at.is_some_and(|over| now.since(over) <= REOPEN || family.is_silent())
                && self.could_be(case, &covered)
                && self.one_explains(case, &covered, NEW_FAULT)
        });
        let mut bad = self.take_pending(&covered);
        bad.sort_by_key(|bad| (bad.spot.due, bad.spot.run));
        match known {
            Some(at) if self.cases[at].incident.resolved_at.is_some_and(|over| now.since(over) <= REOPEN) => {
                self.reopen(at, bad, now, changes);
            }
            Some(at) => {
                // Silent losses that come days apart are one fault all the same.
                let before = self.cases.remove(at);
                let text = format!("the same as {} of {}", before.incident.id, before.incident.onset.first_bad);
                bad.extend(before.bad.values().cloned());
                bad.sort_by_key(|bad| (bad.spot.due, bad.spot.run));
                self.begin(bad, Some(before), Some(text), now, changes);
            }
            None => self.begin(bad, None, None, now, changes),
        }
    }

    /// Whether pending runs can be the return of a case: where it was, and of its kind.
    fn could_be(&self, case: &Case, group: &[Marker]) -> bool {
        let mut runs = self.pending.iter().filter(|bad| group.contains(&bad.spot.run));
        // Rare losses have not been everywhere yet.
        let rare = case.is_intermittent() || case.inside.red <= 2;
        runs.all(|bad| case.knows(bad) && (rare || case.covers.has(bad.place as usize)))
    }

    /// Opens a case on runs that came one by one.
    pub(super) fn open_pooled(
        &mut self,
        family: Family,
        suspect: &Suspect,
        stretch: Duration,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        let newest = self.strays.back().map_or(now, |bad| bad.spot.due);
        let (mut bad, rest): (Vec<Bad>, Vec<Bad>) = std::mem::take(&mut self.strays).into_iter().partition(|bad| {
            bad.family() == family && suspect.places.has(bad.place as usize) && newest.since(bad.spot.due) <= stretch
        });
        self.strays = rest.into();
        bad.sort_by_key(|bad| (bad.spot.due, bad.spot.run));
        let known = self.cases.iter().rposition(|case| {
            case.is_of(family)
                && case.incident.resolved_at.is_some_and(|over| now.since(over) <= REOPEN)
                && case.covers.overlap(&suspect.places) * 2 >= suspect.places.count()
        });
        if let Some(at) = known {
            return self.reopen(at, bad, now, changes);
        }
        let text = format!("{} bad runs in {} h, one by one", bad.len(), stretch.as_secs() / 3600);
        self.begin(bad, None, Some(text), now, changes);
    }

    /// `parent`: the case that these runs were of so far, if they were.
    pub(super) fn begin(
        &mut self,
        bad: Vec<Bad>,
        parent: Option<Case>,
        because: Option<String>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        let Some(first) = bad.first() else { return };
        let mut case = Case::of(first, &self.trails);
        // The run that began another incident may have turned out to be this one's.
        let is_free = |id: &IncidentId| self.cases.iter().all(|case| case.incident.id != *id);
        let ids = bad.iter().map(|bad| IncidentId::of(bad.spot.run));
        case.incident.id = ids.into_iter().find(is_free).unwrap_or_else(|| IncidentId::of(first.spot.run));
        for bad in bad.into_iter().skip(1) {
            case.take(bad, &self.trails);
        }
        if let Some(parent) = parent {
            case.apart_from = parent.apart_from.clone();
            case.apart_from.insert(parent.incident.id.clone());
            case.base = parent.base;
        }
        self.cases.push(case);
        let at = self.cases.len() - 1;
        // What it is about must be known before side effects are taken for its own.
        self.rank(at, now, None);
        if self.absorb(at) {
            self.rank(at, now, None);
        }
        let case = &mut self.cases[at];
        case.weigh(now);
        case.incident.detected_at = Some(now);
        let text = format!(
            "{} on {}: {} bad {}, the first due {}{}{}",
            case.incident.outcome,
            case.incident.suspects_text(),
            case.bad.len(),
            if case.bad.len() == 1 { "run" } else { "runs" },
            case.incident.onset.first_bad,
            if because.is_some() { "; " } else { "" },
            because.unwrap_or_default(),
        );
        case.tell(now, text);
        case.told = Some(case.incident.severity);
        case.says_more();
        changes.push(Change::Opened(case.incident.id.clone()));
    }

    /// Opens a case again: the same fault has come back.
    pub(super) fn reopen(&mut self, at: usize, bad: Vec<Bad>, now: Timestamp, changes: &mut Vec<Change>) {
        let because = bad.last().map(|bad| bad.spot.run.to_string()).unwrap_or_default();
        let case = &mut self.cases[at];
        let before = case.incident.severity;
        let kept = Kept::of(case);
        if let Some(first) = bad.first() {
            let pause = first.spot.due.since(case.last_bad);
            if pause <= LONGEST_PAUSE {
                case.longest_pause = case.longest_pause.max(pause);
            }
            case.before = Some(Box::new(Before {
                incident: case.incident.clone(),
                covers: case.covers.clone(),
                was_total: !case.is_intermittent() && case.inside.red > 2,
                until: bad.iter().map(Bad::hit_at).min().unwrap_or(now),
                kept: Some(kept),
            }));
        }
        case.incident.resolved_at = None;
        case.incident.resolved_because = None;
        case.incident.reopened_at = Some(now);
        for bad in bad {
            case.take(bad, &self.trails);
        }
        self.absorb(at);
        self.rank(at, now, None);
        let case = &mut self.cases[at];
        case.weigh(now);
        let mut text =
            format!("open again: {} on {}, because of {because}", case.incident.outcome, case.incident.suspects_text());
        let lately = case.told_again_at.filter(|told| now.since(*told) < TELL_AGAIN);
        let lately = lately.filter(|_| case.incident.severity <= before);
        if let Some(told) = lately {
            // Whoever reads this must not believe that somebody was called.
            text.push_str(&format!(
                "; told lately: not told anew before {}, unless a silence hid that",
                told.plus(TELL_AGAIN)
            ));
        }
        case.tell(now, text);
        if lately.is_some() {
            case.told = None;
            changes.push(Change::Moved(case.incident.id.clone()));
        } else {
            tell_again(case, now, changes);
        }
    }

    /// Pending side effects on the routes of a new case are its own. Answers whether there were any.
    pub(super) fn absorb(&mut self, at: usize) -> bool {
        let before = self.pending.len();
        let mut kept = Vec::new();
        for bad in std::mem::take(&mut self.pending) {
            if self.explaining(&bad) == Some(at) {
                self.cases[at].take(bad, &self.trails);
            } else {
                kept.push(bad);
            }
        }
        self.pending = kept;
        self.pending.len() < before
    }

    /// Looks for the suspects of a case anew. Answers further faults that its runs turn out to show.
    pub(super) fn rank(&mut self, at: usize, now: Timestamp, until: Option<Timestamp>) -> Vec<Suspect> {
        let case = &self.cases[at];
        let family = case.incident.family;
        let in_case = |run: &Marker| case.bad.contains_key(run);
        // An outage that came back is judged by what it does now.
        let began = case.before.as_ref().filter(|before| before.was_total).map_or(case.effect.0, |before| before.until);
        let from = self.since_others_recovered(case).unwrap_or(began);
        let mut seen = self.seen(family, in_case, from, until, Some(case));
        if !case.blind_to.is_empty() {
            for (place, trail) in self.trails.iter().enumerate() {
                if case.blind_to.contains(&trail.route.target) {
                    seen[place].red += 1;
                } else if self
                    .eyes
                    .get(&trail.route.target)
                    .is_some_and(|eye| eye.failing.is_none() && eye.passed_at.is_some())
                {
                    seen[place].green += 1;
                }
            }
        }
        let Some((one, mut faults)) = self.one_and_all(case, &seen) else {
            let case = &mut self.cases[at];
            (case.stale, case.ranked_at) = (false, now);
            return Vec::new();
        };
        if faults.len() > 1
            && let Some(wider) = self.spread(case, &faults, until)
        {
            faults = vec![wider];
        } else if !case.blind_to.is_empty() || faults.len() < 2 || !faults.iter().all(|fault| self.goes_on(case, fault))
        {
            faults = vec![one];
        }
        // The fault that the case has been about so far stays its own.
        let own = (faults.iter().enumerate())
            .max_by_key(|(n, fault)| (fault.places.overlap(&case.covers), fault.inside.red, std::cmp::Reverse(*n)))
            .map_or(0, |(n, _)| n);
        let own = faults.remove(own);
        let case = &mut self.cases[at];
        (case.stale, case.ranked_at) = (false, now);
        let green = |places: &Places| {
            let inside = places.each().map(|at| seen[at]);
            let (red, green) = inside.fold((0, 0), |sum, seen| (sum.0 + seen.red, sum.1 + seen.green));
            red == 0 && green > 0
        };
        case.blame(&own, &self.field, green, &self.deploys);
        faults
    }

    /// From when on only some of a case's routes have been bad, while the others have landed so often
    /// that it is no chance: the fault has become narrower.
    fn since_others_recovered(&self, case: &Case) -> Option<Timestamp> {
        let recovered = |place: u32, last_bad: Timestamp| {
            let after = self.trails[place as usize].newest().take_while(|spot| spot.due > last_bad);
            after.filter(|spot| spot.is_green() && spot.effect < case.last_hit).count()
        };
        let (well, ill): (Vec<_>, Vec<_>) = (case.hit.iter())
            .map(|(place, hit)| (*place, hit.last_hit, recovered(*place, hit.last_bad)))
            .partition(|(_, _, greens)| *greens >= GREENS_TO_RESOLVE);
        let from = well.iter().map(|(_, last_hit, _)| *last_hit).max()?.plus(Duration::from_micros(1));
        let family = case.incident.family;
        let seen =
            self.seen(family, |run| case.bad.get(run).is_some_and(|bad| bad.hit_at() >= from), from, None, Some(case));
        let inside = ill.iter().map(|(place, ..)| seen[*place as usize]);
        let (red, green) = inside.fold((0, 0), |sum, seen| (sum.0 + seen.red, sum.1 + seen.green));
        // Routes that have been bad lately are the worse half by choice: the case's own rate is fairer.
        let share = (f64::from(red) / f64::from((red + green).max(1))).min(case.rate());
        let greens: usize = well.iter().map(|(_, _, greens)| greens).sum();
        (red >= REDS_TO_NARROW && (1.0 - share).powf(greens as f64) < RECOVERED_BY_CHANCE).then_some(from)
    }

    /// An open case: what has changed, and is it over?
    pub(super) fn follow(&mut self, at: usize, now: Timestamp, changes: &mut Vec<Change>) {
        let case = &self.cases[at];
        let pause = if self.field.len() <= LARGE { RANK_EVERY } else { RANK_LARGE_EVERY };
        if case.stale && (case.bad.len() <= SMALL || now.since(case.ranked_at) >= pause) {
            let was = Was::of(case);
            let until = Some(case.until());
            if self.has_become_another(case, until) {
                return self.detach(at, Vec::new(), now, changes);
            }
            self.part_kinds(at, now, changes);
            for fault in self.rank(at, now, until) {
                self.split(at, &fault, now, changes);
            }
            self.cases[at].weigh(now);
            tell_change(&mut self.cases[at], Some(&was), now, changes);
        } else {
            let outcome = case.incident.outcome;
            let case = &mut self.cases[at];
            let was = (case.weigh(now) && case.incident.outcome != outcome).then(|| Was { outcome, ..Was::of(case) });
            tell_change(case, was.as_ref(), now, changes);
        }
        self.cases[at].doubt_the_agent(now);
        if let Some(because) = self.cases[at].is_over(&self.trails, now) {
            resolve(&mut self.cases[at], now, because, changes);
        }
    }
}

/// What was told of a case so far.
struct Was {
    outcome: Outcome,
    suspects: LabelSet,
}

impl Was {
    fn of(case: &Case) -> Self {
        Self { outcome: case.incident.outcome, suspects: case.incident.suspects.clone() }
    }
}

/// Tells what has become of an open case, if anything has.
fn tell_change(case: &mut Case, was: Option<&Was>, now: Timestamp, changes: &mut Vec<Change>) {
    if case.told == Some(Severity::Warning) && case.incident.severity == Severity::Critical {
        case.tell(now, "raised to critical".to_owned());
        case.told = Some(Severity::Critical);
        changes.push(Change::Raised(case.incident.id.clone()));
    } else if case.told.is_none() && case.told_again_at.is_none_or(|told| now.since(told) >= TELL_AGAIN) {
        tell_again(case, now, changes);
    } else {
        let is = (case.incident.outcome, &case.incident.suspects);
        let was = was.filter(|was| is != (was.outcome, &was.suspects));
        let more = case.says_more();
        if let Some(was) = was {
            let last = case.bad.values().next_back().map(|bad| bad.spot.run.to_string()).unwrap_or_default();
            let text = format!(
                "now {} on {} (was {} on {}), because of {} runs up to {last}",
                case.incident.outcome,
                case.incident.suspects_text(),
                was.outcome,
                write_labels(&was.suspects),
                case.bad.len(),
            );
            case.tell(now, text);
        }
        if was.is_some() || more {
            changes.push(Change::Moved(case.incident.id.clone()));
        }
    }
}

/// Tells an opening of a case that had been told of before.
pub(super) fn tell_again(case: &mut Case, now: Timestamp, changes: &mut Vec<Change>) {
    case.told = Some(case.incident.severity);
    case.told_again_at = Some(now);
    changes.push(Change::Opened(case.incident.id.clone()));
}

//! Parting: when the runs of one case are two faults after all, and when two cases are one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    canary::{Family, Marker, State, Timestamp},
    detect::{
        case::{Bad, Case, KNOWN_BY},
        detector::{Detector, resolve},
        end::{GREENS_TO_RESOLVE, would_have_shown},
        incident::{Incident, write_labels},
        input::Change,
        suspects::{SECOND_FAULT, Seen, Suspect, rank},
        trail::Spot,
    },
};

/// What another name must explain better, in nats, before an outage that came back is another.
const PLAINLY: f64 = 5.0;

impl Detector {
    /// Whether a case's fault, which spared hardly a run, had left a route before this run went wrong there, in a
    /// way in which no other run of the case did: whatever that is, it is not plainly the same.
    pub(super) fn has_left(&self, case: &Case, bad: &Bad) -> bool {
        if case.knows(bad) {
            return false;
        }
        let family = case.incident.family;
        let is_red = |spot: &Spot| case.bad.contains_key(&spot.run) && !spot.provisional;
        let of_case = |place: u32| self.trails[place as usize].hit_from(family, case.effect.0);
        let earlier = || {
            let hit_at = bad.spot.hit_at(family);
            of_case(bad.place).filter(move |spot| spot.run != bad.spot.run && spot.hit_at(family) < hit_at)
        };
        let free = |spot: &&Spot| !case.bad.contains_key(&spot.run) && spot.acquits(family);
        let Some(last) = earlier().filter(|spot| is_red(spot)).map(|spot| spot.hit_at(family)).max() else {
            return false;
        };
        // A fault that comes and goes has side effects in its pauses too.
        let is_red_too = bad.spot.outcome.state() == State::Red;
        let enough = if is_red_too { 1 } else { GREENS_TO_RESOLVE };
        let since = earlier().filter(free).filter(|spot| spot.hit_at(family) > last).count();
        if since < enough || !case.incident.is_open() {
            return since >= enough;
        }
        // A few bad runs may be some of many that were spared; and what was on its way when a fault began is
        // spared by any.
        let (mut reds, mut spared) = (0, 0);
        for place in case.hit.keys().copied().chain(case.covers.each().map(|at| at as u32)).collect::<BTreeSet<_>>() {
            let within = || of_case(place).filter(|spot| spot.run != bad.spot.run && spot.hit_at(family) <= last);
            reds += within().filter(|spot| is_red(spot)).count();
            spared += within().filter(free).count();
        }
        reds >= KNOWN_BY && spared * 4 <= reds
    }

    /// Whether a case that is open again, together with pending runs, is a fault elsewhere: since it is
    /// open again, one set explains both, and it is not where the case was.
    pub(super) fn is_another(&self, at: usize, family: Family, group: &[Marker]) -> bool {
        let case = &self.cases[at];
        let Some(before) = case.before.as_ref().filter(|_| case.incident.is_open() && case.is_of(family)) else {
            return false;
        };
        let of = |run: &Marker| case.bad.contains_key(run) || group.contains(run);
        let seen = self.seen(family, of, before.until, None, Some(case));
        let Some(best) = self.best(family, &seen) else { return false };
        let red = || seen.iter().enumerate().filter(|(_, seen)| seen.red > 0).map(|(at, _)| at);
        red().all(|at| best.places.has(at)) && red().any(|at| !before.covers.has(at)) && before.was_total
    }

    /// Whether a case that is open again is plainly another fault than the outage it was.
    pub(super) fn has_become_another(&self, case: &Case, until: Option<Timestamp>) -> bool {
        let Some(before) = case.before.as_ref().filter(|before| before.was_total) else { return false };
        if case.is_otherwise(before) {
            return true;
        }
        let family = case.incident.family;
        let of = |run: &Marker| case.bad.contains_key(run);
        let seen = self.seen(family, of, before.until, until, Some(case));
        let ranked = rank(&self.field, &seen, self.stray(family, &seen));
        let as_before = ranked.iter().find(|suspect| suspect.places == before.covers).map(|suspect| suspect.score);
        ranked.first().is_some_and(|best| {
            best.inside.red > 2
                && best.places != before.covers
                && as_before.is_none_or(|score| best.score > score + PLAINLY)
        })
    }

    /// The runs of a case since it was opened again are another fault's: they open their own, and the
    /// case is over as it was.
    pub(super) fn detach(&mut self, at: usize, more: Vec<Bad>, now: Timestamp, changes: &mut Vec<Change>) {
        let case = &mut self.cases[at];
        let Some(before) = case.before.take() else { return };
        let mut leaving: Vec<Bad> = case.bad.values().filter(|bad| bad.hit_at() >= before.until).cloned().collect();
        case.lose(&leaving, &self.trails);
        leaving.extend(more);
        leaving.sort_by_key(|bad| (bad.spot.due, bad.spot.run));
        let history = std::mem::take(&mut case.incident.history);
        case.incident = Incident { history, ..before.incident };
        case.covers = before.covers;
        if let Some(kept) = before.kept {
            // The return of another fault says nothing of this one, nor when somebody was told of it.
            kept.give_back(case);
        }
        case.tell(now, "over as it was: the runs since are another fault's".to_owned());
        let id = case.incident.id.clone();
        changes.push(if case.told.take().is_some() { Change::Resolved(id.clone()) } else { Change::Moved(id.clone()) });
        self.begin(leaving, None, Some(format!("told apart from {id}")), now, changes);
    }

    /// What two faults are if they are one that has spread: since the later began, one set covers all
    /// that is red.
    pub(super) fn spread(&self, case: &Case, faults: &[Suspect], until: Option<Timestamp>) -> Option<Suspect> {
        let begins = |n: usize| {
            let own = case.bad.values().filter(|bad| {
                let at = bad.place as usize;
                faults[n].places.has(at) && !faults.iter().enumerate().any(|(m, other)| m != n && other.places.has(at))
            });
            own.map(Bad::hit_at).min()
        };
        let from = (0..faults.len()).filter_map(begins).max()?;
        let family = case.incident.family;
        let seen = self.seen(family, |run| case.bad.contains_key(run), from, until, Some(case));
        let [one] = &self.faults(family, &seen)[..] else { return None };
        let all = seen.iter().enumerate().all(|(at, seen)| seen.red == 0 || one.places.has(at));
        let wider = faults.iter().all(|fault| one.places.overlap(&fault.places) == fault.places.count());
        (all && wider).then(|| one.clone())
    }

    /// Whether a fault among a case's runs has not ended meanwhile: then the case narrows, and is not
    /// two.
    pub(super) fn goes_on(&self, case: &Case, fault: &Suspect) -> bool {
        let own = case.bad.values().filter(|bad| fault.places.has(bad.place as usize));
        let Some(last) = own.map(Bad::hit_at).max() else { return false };
        let after =
            |spot: &&Spot| spot.is_green() && spot.hit_at(case.incident.family) > last && spot.effect < case.last_hit;
        let clean: usize = fault.places.each().map(|at| self.trails[at].newest().filter(after).count()).sum();
        !would_have_shown(fault.inside, clean as u32)
    }

    /// The runs of a further fault leave a case for one of their own.
    pub(super) fn split(&mut self, at: usize, fault: &Suspect, now: Timestamp, changes: &mut Vec<Change>) {
        let case = &self.cases[at];
        let leaves = |bad: &Bad| fault.places.has(bad.place as usize) && !case.covers.has(bad.place as usize);
        let leaving: Vec<Bad> = case.bad.values().filter(|bad| leaves(bad)).cloned().collect();
        if leaving.len() < 2 || leaving.len() == case.bad.len() {
            return;
        }
        // Side effects may be all that this case has of it.
        let count = |family: Family| leaving.iter().filter(|bad| bad.family() == family).count();
        let family = leaving.iter().map(Bad::family).max_by_key(|family| (count(*family), *family));
        let text = format!("{} runs on {} are another fault's", leaving.len(), write_labels(&fault.labels));
        self.leave(at, family.unwrap_or(case.incident.family), leaving, text, now, changes);
    }

    /// What goes wrong in another way, on routes where the fault of a case has never shown, is no side
    /// effect of it but another fault: it was taken in while the case was thought to be wider.
    pub(super) fn part_kinds(&mut self, at: usize, now: Timestamp, changes: &mut Vec<Change>) {
        if !self.cases[at].is_mixed() {
            return;
        }
        let case = &self.cases[at];
        let own = case.incident.family;
        let finals = |family: Family| {
            let mut by_place: BTreeMap<u32, usize> = BTreeMap::new();
            for bad in case.bad.values().filter(|bad| !bad.spot.provisional && bad.family() == family) {
                *by_place.entry(bad.place).or_default() += 1;
            }
            by_place
        };
        // One run says nothing of what a route does; a row of them does.
        let is_known = |n: usize| n >= 2;
        let shows = |by_place: &BTreeMap<u32, usize>| {
            by_place.values().sum::<usize>() >= KNOWN_BY && by_place.values().any(|n| is_known(*n))
        };
        let blind = |place: u32| case.blind_to.contains(&self.trails[place as usize].route.target);
        if !shows(&finals(own)) && case.blind_to.is_empty() {
            return;
        }
        let others: BTreeSet<Family> = case.bad.values().map(Bad::family).filter(|family| *family != own).collect();
        let found = others.into_iter().find_map(|family| {
            let mut places = finals(family);
            places.retain(|place, n| {
                is_known(*n) && !blind(*place) && !case.hit.get(place).is_some_and(|hit| hit.kinds.contains(&own))
            });
            shows(&places).then_some((family, places))
        });
        let Some((family, places)) = found else { return };
        let mut leaving: Vec<Bad> = case.bad.values().filter(|bad| places.contains_key(&bad.place)).cloned().collect();
        // What is plainly the other fault's begins it.
        leaving.sort_by_key(|bad| (bad.family() != family || bad.spot.provisional, bad.spot.due, bad.spot.run));
        let text = format!("{} runs went wrong in another way, where this fault has never shown", leaving.len());
        self.leave(at, family, leaving, text, now, changes);
        let case = &mut self.cases[at];
        if case.bad.values().all(|bad| bad.family() != family) {
            case.families.remove(&family);
        }
    }

    /// Runs leave a case for the open one that they belong to, or for one of their own.
    fn leave(
        &mut self,
        at: usize,
        family: Family,
        leaving: Vec<Bad>,
        because: String,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) {
        let case = &mut self.cases[at];
        case.tell(now, because);
        case.lose(&leaving, &self.trails);
        let id = case.incident.id.clone();
        let group: Vec<Marker> = leaving.iter().map(|bad| bad.spot.run).collect();
        self.pending.extend(leaving.iter().cloned());
        let known = self.cases.iter().position(|case| {
            case.incident.is_open()
                && case.incident.id != id
                && case.is_of(family)
                && (leaving.iter().all(|bad| case.covers.has(bad.place as usize))
                    || self.one_explains(case, &group, SECOND_FAULT))
        });
        self.pending.retain(|bad| !group.contains(&bad.spot.run));
        if let Some(known) = known {
            for bad in leaving {
                self.cases[known].take(bad, &self.trails);
            }
            return;
        }
        let because = format!("told apart from {id}");
        self.begin(leaving, Some(self.cases[at].clone()), Some(because), now, changes);
    }

    /// Open cases of one family that one label set explains better than two do, even if the second
    /// were free, become one: the older. What was told as two is not lightly made one.
    pub(super) fn merge(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let open = |case: &Case| case.incident.is_open() && case.blind_to.is_empty() && !case.bad.is_empty();
        for younger in (1..self.cases.len()).rev() {
            if !open(&self.cases[younger]) || self.cases[younger].ranked_at != now {
                continue;
            }
            let into = (0..younger).find(|older| {
                let (a, b) = (&self.cases[*older], &self.cases[younger]);
                let alike = a.bad.values().any(|bad| b.has_been(bad.spot.outcome));
                let alike = alike && a.incident.family == b.incident.family;
                open(a) && alike && !b.apart_from.contains(&a.incident.id) && self.are_one(a, b)
            });
            let Some(into) = into else { continue };
            let leaving: Vec<Bad> = self.cases[younger].bad.values().cloned().collect();
            let because = format!("the same fault as {}", self.cases[into].incident.id);
            let text = format!("{} is the same fault", self.cases[younger].incident.id);
            self.cases[into].tell(now, text);
            for bad in leaving {
                self.cases[into].take(bad, &self.trails);
            }
            self.cases[younger].bad.clear();
            self.cases[younger].recount();
            resolve(&mut self.cases[younger], now, because, changes);
        }
    }

    pub(super) fn are_one(&self, a: &Case, b: &Case) -> bool {
        let family = a.incident.family;
        let (older, younger) = if a.effect.0 <= b.effect.0 { (a, b) } else { (b, a) };
        let until = Some(a.until().max(b.until()));
        let in_case = |case: &Case, run: &Marker| case.bad.contains_key(run);
        let score = |seen: &[Seen]| self.best(family, seen).map_or(0.0, |best| best.score);
        // From the beginning, or from when the younger began: the older may have spread.
        [older.effect.0, younger.effect.0].into_iter().any(|from| {
            let in_both = |run: &Marker| in_case(a, run) || in_case(b, run);
            let mut both = self.seen(family, in_both, from, until, Some(older));
            for bad in younger.bad.values().filter(|bad| bad.hit_at() >= from) {
                both[bad.place as usize].red += 1;
            }
            let Some(one) = self.best(family, &both) else { return false };
            let old = self.seen(family, |run| in_case(older, run), from, until, Some(older));
            let new = self.seen(family, |run| in_case(younger, run), from, until, Some(younger));
            let mut places = a.bad.values().chain(b.bad.values()).map(|bad| bad.place as usize);
            places.all(|place| one.places.has(place))
                && old.iter().any(|seen| seen.red > 0)
                && one.score >= score(&old) + score(&new)
        })
    }
}

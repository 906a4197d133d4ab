//! The scene: red and green by place, as the search for suspects wants it.

use crate::{
    canary::{Family, Marker, Timestamp},
    detect::{
        case::{Bad, Case},
        detector::Detector,
        suspects::{self, Places, STRAY, Seen, Suspect, best_and_all, explain},
        trail::{Spot, Trail},
    },
};
use std::time::Duration;

impl Detector {
    /// When the first of these runs was hit.
    pub(super) fn since(&self, group: &[Marker]) -> Timestamp {
        let hits = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).map(Bad::hit_at);
        hits.min().unwrap_or_default()
    }

    /// The moment after the routes of these runs were green last, before they were hit.
    pub(super) fn turned(&self, family: Family, group: &[Marker], since: Timestamp) -> Timestamp {
        let places = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).map(|bad| bad.place);
        let last_green = |place: u32| {
            let trail = &self.trails[place as usize];
            trail
                .newest()
                .map(|spot| (spot, spot.hit_at(family)))
                .find(|(spot, hit)| spot.is_green() && *hit < since)
                .map(|(_, hit)| hit)
        };
        places.filter_map(last_green).min().map_or(since, |at| at.plus(Duration::from_micros(1)))
    }

    /// Red and green by place: runs that `red` names, and green runs that a fault of this family
    /// would have hit from `from` on and that were over at `until`. `case`: its bad runs, and the greens since it began that its trails
    /// have forgotten, belong to the scene.
    pub(super) fn seen(
        &self,
        family: Family,
        red: impl Fn(&Marker) -> bool,
        from: Timestamp,
        until: Option<Timestamp>,
        case: Option<&Case>,
    ) -> Vec<Seen> {
        let within = |spot: &Spot| until.is_none_or(|until| spot.effect <= until);
        // A run that has landed is held against nobody.
        let is_red = |spot: &Spot| !spot.is_green() && red(&spot.run);
        let whole = case.filter(|case| from <= case.effect.0);
        let greens = |(place, trail): (usize, &Trail)| {
            let green = trail.hit_from(family, from).filter(|s| s.acquits(family) && within(s) && !is_red(s)).count();
            let base = whole.and_then(|case| case.base.get(place));
            // What the trail has forgotten of this case, which is nothing until it forgets what came before.
            let gone = base.map_or(0, |base| {
                let before = whole.map_or(0, |case| trail.greens_before(family, case.effect.0));
                (trail.gone + before).saturating_sub(*base)
            });
            Seen { red: 0, green: green as u32 + gone }
        };
        let mut seen: Vec<Seen> = self.trails.iter().enumerate().map(greens).collect();
        // Reds are counted from where they are kept: a trail forgets what a late correction speaks of.
        let of_case = case.into_iter().flat_map(|case| case.bad.values());
        for bad in self.pending.iter().chain(of_case) {
            if red(&bad.spot.run) && bad.spot.hit_at(family) >= from {
                seen[bad.place as usize].red += 1;
            }
        }
        seen
    }

    /// The one fault that explains a scene best.
    pub(super) fn best(&self, family: Family, seen: &[Seen]) -> Option<Suspect> {
        suspects::best(&self.field, seen, self.stray(family, seen))
    }

    /// The faults that together explain a scene best.
    pub(super) fn faults(&self, family: Family, seen: &[Seen]) -> Vec<Suspect> {
        explain(&self.field, seen, self.stray(family, seen))
    }

    /// The one fault that explains a case's scene best, and the ones that together do.
    pub(super) fn one_and_all(&self, case: &Case, seen: &[Seen]) -> Option<(Suspect, Vec<Suspect>)> {
        let mut others = Places::none(self.field.len());
        for other in self.cases.iter().filter(|other| other.incident.is_open() && other.incident.id != case.incident.id)
        {
            let unseen = other.hit.keys().filter(|place| seen[**place as usize] == Seen::default());
            unseen.for_each(|place| others.insert(*place as usize));
        }
        let family = case.incident.family;
        best_and_all(&self.field, seen, self.stray(family, seen), Some(&others))
    }

    /// How likely a run of this scene is bad without any fault.
    pub(super) fn stray(&self, family: Family, seen: &[Seen]) -> f64 {
        if family.is_silent() {
            return STRAY;
        }
        let bad = seen.iter().enumerate().filter(|(_, seen)| seen.red > 0);
        let (sum, n) = bad.fold((0.0, 0u32), |(sum, n), (at, seen)| {
            (sum + self.trails[at].rate_without(family, seen.red, f64::from(seen.red + seen.green)), n + 1)
        });
        (sum / f64::from(n.max(1))).clamp(1e-4, 0.2)
    }
}

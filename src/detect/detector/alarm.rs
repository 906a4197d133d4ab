//! The alarm: whether bad runs that count together are more than chance. One sequential test for
//! every family; what differs is how often it goes bad by itself.

use std::time::Duration;

use crate::{
    canary::{Family, Marker, Outcome},
    detect::{
        case::Bad,
        chance,
        detector::{Detector, TOGETHER},
        suspects::{self, Seen, Suspect},
        trail::Spot,
    },
};

/// Verdicts in a row that could not see: two are a blip of a target.
const BLIND_IN_A_ROW: usize = 3;
/// Of a route's last ten runs, so many amber are a state and no blip.
const AMBER_OF_TEN: usize = 5;
/// Suspects among which one may have been chosen by chance: sets that overlap are not so many tries.
const MOST_TRIES: usize = 20;
/// Stretches over which bad runs that came one by one are pooled: a fault of one run in a hundred
/// shows within hours, of one in a thousand within days.
const STRETCHES: [Duration; 4] = [
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(7 * 86_400),
];

impl Detector {
    /// Whether reds that count together are more than chance.
    pub(super) fn is_enough(&self, family: Family, group: &[Marker]) -> bool {
        let bad: Vec<&Bad> = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).collect();
        if family.is_silent() {
            return bad.len() >= 2 && (bad.iter().any(|bad| !bad.spot.provisional) || self.is_no_haste(family, group));
        }
        // What an open case explains says nothing of another fault.
        let is_free =
            |spot: &&Spot| !self.cases.iter().any(|case| case.incident.is_open() && case.bad.contains_key(&spot.run));
        let in_a_row = |place: u32| {
            let row = self.trails[place as usize].newest().take_while(|spot| spot.outcome == Outcome::Unknown);
            row.filter(is_free).count()
        };
        let ambers = |place: u32| {
            let last = self.trails[place as usize].newest().take(10);
            last.filter(|spot| spot.outcome.family() == Some(Family::Amber)).filter(is_free).count()
        };
        match family {
            Family::Grey if bad.iter().any(|bad| in_a_row(bad.place) >= BLIND_IN_A_ROW) => return true,
            Family::Amber if bad.iter().any(|bad| ambers(bad.place) >= AMBER_OF_TEN) => return true,
            _ => {}
        }
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None, None);
        let ranked = suspects::rank(&self.field, &seen, self.stray(family, &seen));
        let Some(suspect) = ranked.first() else { return false };
        let until = bad.iter().map(|bad| bad.spot.due).max().unwrap_or_default();
        let expected: f64 = suspect
            .places
            .each()
            .map(|at| self.trails[at].runs_in(TOGETHER, until) * self.trails[at].rate(family))
            .sum();
        let red = suspect.inside.red;
        // Final failures convict by themselves. What is only slow so far, or was only late, is common
        // enough that the suspect may be one that chance made among many.
        let is_soft = family == Family::Amber || bad.iter().all(|bad| bad.spot.provisional);
        let tries = if is_soft { ranked.len().min(MOST_TRIES) as f64 } else { 1.0 };
        red >= least(family) && chance::is_surprising(red, expected, TOGETHER.div_f64(tries))
    }

    /// Silent reds that are all provisional: whether so many overdue runs among so few are more than
    /// the haste with which runs of these routes have been called lost before.
    fn is_no_haste(&self, family: Family, group: &[Marker]) -> bool {
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None, None);
        let Some(suspect) = self.best(family, &seen) else { return false };
        let until = self.pending.iter().map(|bad| bad.spot.due).max().unwrap_or_default();
        let (mut haste, mut runs, mut n) = (0.0, 0.0, 0.0);
        for at in suspect.places.each() {
            haste += self.trails[at].haste.of_haste();
            runs += self.trails[at].runs_in(TOGETHER, until);
            n += 1.0;
        }
        let a_second = runs / TOGETHER.as_secs_f64();
        let Seen { red, green } = suspect.inside;
        chance::is_surprising_run(red, red + green, haste / f64::max(n, 1.0), a_second)
    }

    /// The suspect of bad runs that came one by one over hours or days, if together they are more
    /// than chance. `strays` of its places are the runs.
    pub(super) fn pooled(&self, family: Family) -> Option<(Suspect, Duration)> {
        let newest = self.strays.iter().filter(|bad| bad.family() == family).map(|bad| bad.spot.due).max()?;
        for stretch in STRETCHES {
            let mut seen = vec![Seen::default(); self.trails.len()];
            let mut red = 0;
            for bad in self.strays.iter().filter(|bad| bad.family() == family) {
                if newest.since(bad.spot.due) <= stretch {
                    seen[bad.place as usize].red += 1;
                    red += 1;
                }
            }
            if red < least(family) + 1 {
                continue;
            }
            let runs: Vec<f64> = self.trails.iter().map(|trail| trail.runs_within(stretch, newest)).collect();
            for (seen, runs) in seen.iter_mut().zip(&runs) {
                seen.green = (*runs as u32).saturating_sub(seen.red);
            }
            let rate = |at: usize| self.trails[at].rate_without(family, seen[at].red, runs[at]);
            let all: f64 = runs.iter().sum();
            let base = (0..runs.len()).map(|at| rate(at) * runs[at]).sum::<f64>() / all.max(1.0);
            let ranked = suspects::rank(&self.field, &seen, base.clamp(1e-4, 0.2));
            let tried = ranked.len();
            let Some(suspect) = ranked.into_iter().next() else { continue };
            let expected: f64 = suspect.places.each().map(|at| runs[at] * rate(at)).sum();
            // The suspect was chosen among many, over several stretches: chance had as many tries.
            let tries = (tried * STRETCHES.len()) as f64;
            let by_chance = chance::at_least(suspect.inside.red, expected) * tries;
            if suspect.inside.red > least(family)
                && by_chance
                    < stretch.as_secs_f64().min(TOGETHER.as_secs_f64()) / chance::BY_CHANCE_ONCE_IN.as_secs_f64()
            {
                return Some((suspect, stretch));
            }
        }
        None
    }
}

/// Fewer bad runs than this never count together.
fn least(family: Family) -> u32 {
    match family {
        Family::Grey => BLIND_IN_A_ROW as u32,
        Family::Amber => 3,
        _ => 2,
    }
}

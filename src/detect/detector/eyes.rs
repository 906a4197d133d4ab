//! Eyes: how the targets answer their controls, and who is told when nobody can see.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use super::cases::REOPEN;
use crate::{
    canary::{Family, Marker, TargetName, Timestamp},
    detect::{
        case::{Bad, Case},
        detector::Detector,
        incident::IncidentId,
        input::Change,
    },
};

/// Failing controls, over at least a minute, before somebody is told that nobody can see.
const CONTROLS: (u32, Duration) = (3, Duration::from_secs(60));
/// How a target answers its controls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Eye {
    /// Failures in a row, and when the first of them was.
    pub failing: Option<(u32, Timestamp)>,
    /// What the last failure said.
    pub detail: String,
    /// The last success.
    pub passed_at: Option<Timestamp>,
}

impl Detector {
    pub(super) fn control(&mut self, target: &TargetName, passed: &Result<(), String>, now: Timestamp) {
        let eye = self.eyes.entry(target.clone()).or_default();
        match passed {
            Ok(()) => {
                eye.failing = None;
                eye.passed_at = Some(now);
                for case in &mut self.cases {
                    case.blind_to.remove(target);
                }
            }
            Err(detail) => {
                let (times, since) = eye.failing.unwrap_or((0, now));
                eye.failing = Some((times + 1, since));
                eye.detail.clone_from(detail);
            }
        }
    }

    /// Failing controls open "cannot see X".
    pub(super) fn blind(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let blind: Vec<(TargetName, Timestamp, String)> = self
            .eyes
            .iter()
            .filter_map(|(target, eye)| {
                let (times, since) = eye.failing?;
                (times >= CONTROLS.0 && now.since(since) >= CONTROLS.1)
                    .then(|| (target.clone(), since, eye.detail.clone()))
            })
            .collect();
        // While anything can be seen, targets that cannot are blind each for itself.
        let all_blind = self.eyes.values().all(|eye| eye.failing.is_some());
        for (target, since, detail) in blind {
            let at_target = |bad: &Bad| self.trails[bad.place as usize].route.target == target;
            let is_about = |case: &Case| {
                let own = case.bad.values().filter(|bad| at_target(bad)).count();
                let mostly = own * 2 > case.bad.len() && case.blind_to.is_empty() && !case.is_unheard();
                case.blind_to.contains(&target) || mostly || (all_blind && (!case.blind_to.is_empty() || own > 0))
            };
            let grey = |case: &Case| case.incident.is_open() && case.incident.family == Family::Grey;
            if let Some(at) = self.cases.iter().position(|case| grey(case) && is_about(case)) {
                let case = &mut self.cases[at];
                if case.blind_to.insert(target.clone()) {
                    case.stale = true;
                    case.tell(now, format!("control of target {target} fails: {detail}"));
                }
                continue;
            }
            let named = [("target".to_owned(), target.as_str().to_owned())];
            let again = self.cases.iter().rposition(|case| {
                case.incident.family == Family::Grey
                    && case.incident.suspects == named
                    && case.incident.resolved_at.is_some_and(|over| now.since(over) <= REOPEN)
            });
            if let Some(at) = again {
                self.cases[at].blind_to.insert(target.clone());
                self.cases[at].tell(now, format!("control of target {target} fails again since {since}: {detail}"));
                self.reopen(at, Vec::new(), now, changes);
                continue;
            }
            let chance = u128::from(now.as_micros().unsigned_abs())
                ^ target.as_str().bytes().fold(7, |h: u128, b| h * 31 + u128::from(b));
            let mut case = Case::blind(IncidentId::of(Marker::mint(now, chance)), since, now, &self.trails);
            case.blind_to.insert(target.clone());
            case.incident.provisional = false;
            case.incident.detected_at = Some(now);
            case.tell(now, format!("cannot see target {target}: control fails since {since}: {detail}"));
            // Runs that could not be seen there were of a wider case only until it was known why.
            for other in self.cases.iter_mut().filter(|case| grey(case) && !case.is_unheard()) {
                let own: Vec<Bad> = other.bad.values().filter(|bad| at_target(bad)).cloned().collect();
                if !own.is_empty() {
                    other.lose(&own, &self.trails);
                    own.into_iter().for_each(|bad| case.take(bad, &self.trails));
                }
            }
            self.cases.push(case);
            let at = self.cases.len() - 1;
            self.rank(at, now, None);
            self.absorb(at);
            self.cases[at].told = Some(self.cases[at].incident.severity);
            let id = self.cases[at].incident.id.clone();
            changes.push(Change::Opened(id));
        }
    }
}

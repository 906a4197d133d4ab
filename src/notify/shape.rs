//! The shape of an incident in JSON: as `/api/v1/incidents` has it, with the severity of the message.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Page, Proof, text::cut};
use crate::{
    canary::{Marker, Mode, Outcome, Route, Timestamp},
    detect::{Deploy, Severity, incident::LabelSet},
};

/// Longest text from outside.
const LONGEST: usize = 500;

/// Labels as an object in their own order.
#[derive(Debug)]
struct LabelMap<'a>(&'a LabelSet);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(&cut(name, LONGEST), &cut(value, LONGEST))?;
        }
        map.end()
    }
}

#[derive(Debug, Serialize)]
struct LabelsOf<'a> {
    labels: LabelMap<'a>,
}

#[derive(Debug, Serialize)]
struct Path<'a> {
    canary: &'a str,
    platform: &'a str,
    target: &'a str,
    mode: Mode,
}

impl<'a> Path<'a> {
    fn of(route: &'a Route) -> Self {
        let Route { canary, platform, target, mode, .. } = route;
        Self { canary: canary.as_str(), platform: platform.as_str(), target: target.as_str(), mode: *mode }
    }
}

#[derive(Debug, Serialize)]
struct OnsetShape {
    last_good: Option<Timestamp>,
    first_bad: Timestamp,
}

/// A deploy.
#[derive(Debug, Serialize)]
pub(super) struct DeployShape {
    service: String,
    version: String,
    at: Timestamp,
}

impl DeployShape {
    pub(super) fn of(deploy: &Deploy) -> Self {
        Self { service: cut(&deploy.service, LONGEST), version: cut(&deploy.version, LONGEST), at: deploy.at }
    }
}

/// A run that proves an incident.
#[derive(Debug, Serialize)]
pub(super) struct ProofShape {
    run: Marker,
    route: String,
    due: Timestamp,
    job: Option<String>,
    claimed: String,
    found: String,
}

impl ProofShape {
    pub(super) fn of(proof: &Proof) -> Self {
        Self {
            run: proof.run,
            route: cut(&proof.route, LONGEST),
            due: proof.due,
            job: proof.job.as_ref().map(|job| cut(job, LONGEST)),
            claimed: cut(&proof.claimed, LONGEST),
            found: cut(&proof.found, LONGEST),
        }
    }
}

/// An incident.
#[derive(Debug, Serialize)]
pub(super) struct IncidentShape<'a> {
    id: &'a str,
    severity: Severity,
    outcome: Outcome,
    provisional: bool,
    suspects: LabelMap<'a>,
    also: Vec<LabelsOf<'a>>,
    routes: Vec<Path<'a>>,
    unaffected: Vec<LabelsOf<'a>>,
    onset: OnsetShape,
    deploy: Option<DeployShape>,
    opened_at: Timestamp,
    detected_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    runs: &'a [Marker],
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_because: Option<String>,
}

/// Label sets in one list: an incident of a large fleet has hundreds, and nobody reads them.
const MOST_SETS: usize = 50;

impl<'a> IncidentShape<'a> {
    pub(super) fn of(page: &'a Page) -> Self {
        let incident = &page.incident;
        let sets =
            |sets: &'a [LabelSet]| sets.iter().take(MOST_SETS).map(|set| LabelsOf { labels: LabelMap(set) }).collect();
        Self {
            id: incident.id.as_str(),
            severity: page.severity,
            outcome: incident.outcome,
            provisional: incident.provisional,
            suspects: LabelMap(&incident.suspects),
            also: sets(&incident.also),
            routes: page.routes.iter().map(|route| Path::of(route)).collect(),
            unaffected: sets(&incident.unaffected),
            onset: OnsetShape { last_good: incident.onset.last_good, first_bad: incident.onset.first_bad },
            deploy: incident.deploy.as_ref().map(DeployShape::of),
            opened_at: incident.opened_at,
            detected_at: incident.detected_at,
            resolved_at: incident.resolved_at,
            runs: &incident.runs,
            resolved_because: incident.resolved_because.as_ref().map(|why| cut(why, LONGEST)),
        }
    }
}

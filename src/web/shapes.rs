//! The shapes of JSON answers: objects with one named list each; times are RFC 3339 in UTC.

use std::{collections::HashMap, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::maintenance::Quiet;
use crate::{
    canary::{Claim, Marker, Mode, Outcome, Phase, Route, RouteId, Rows, Timestamp, Why},
    detect::{Deploy, Incident, Severity, Standing, Step},
    store::RunRecord,
};

/// Labels as an object in their own order.
#[derive(Debug)]
pub(super) struct LabelMap<'a>(pub(super) Vec<(&'a str, &'a str)>);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'a> LabelMap<'a> {
    pub(super) fn of(set: &'a [(String, String)]) -> Self {
        Self(set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }
}

/// A route as a path.
#[derive(Debug, Serialize)]
pub(super) struct Path<'a> {
    canary: &'a str,
    platform: &'a str,
    target: &'a str,
    mode: Mode,
}

impl<'a> Path<'a> {
    fn of(route: &'a Route) -> Self {
        Self {
            canary: route.canary.as_str(),
            platform: route.platform.as_str(),
            target: route.target.as_str(),
            mode: route.mode,
        }
    }
}

/// A route as it stands.
#[derive(Debug, Serialize)]
pub(super) struct RouteShape<'a> {
    canary: &'a str,
    platform: &'a str,
    target: &'a str,
    mode: Mode,
    labels: LabelMap<'a>,
    outcome: Option<Outcome>,
    up: Option<bool>,
    last_landed_at: Option<Timestamp>,
    last_verdict_at: Option<Timestamp>,
    run_id: Option<Marker>,
    /// Nothing is sent over it, because somebody paused it.
    paused: bool,
}

impl<'a> RouteShape<'a> {
    pub(super) fn of(standing: &'a Standing, paused: bool) -> Self {
        let Path { canary, platform, target, mode } = Path::of(&standing.route);
        Self {
            canary,
            platform,
            target,
            mode,
            labels: LabelMap(standing.route.labels.iter().collect()),
            outcome: standing.outcome,
            up: standing.up(),
            last_landed_at: standing.last_landed_at,
            last_verdict_at: standing.last_verdict_at,
            run_id: standing.run,
            paused,
        }
    }
}

/// What a run's rows came to at the newest sighting.
#[derive(Debug, Serialize)]
struct RowCounts {
    expected: u32,
    landed: u32,
    missing: u32,
    duplicated: u32,
    corrupted: u32,
}

impl RowCounts {
    fn of(rows: &Rows) -> Self {
        Self {
            expected: rows.expected,
            landed: rows.right,
            missing: rows.missing,
            duplicated: rows.copies,
            corrupted: rows.changed,
        }
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(super) struct RunShape<'a> {
    run_id: Marker,
    canary: &'a str,
    platform: &'a str,
    target: &'a str,
    mode: Mode,
    labels: LabelMap<'a>,
    why: Why,
    due: Timestamp,
    submitted_at: Option<Timestamp>,
    accepted_at: Option<Timestamp>,
    claim: &'a Claim,
    rows: Option<RowCounts>,
    jobs: &'a [String],
    outcome: Option<Outcome>,
    provisional: bool,
    phase: Option<Phase>,
    reason: Option<&'a str>,
    also: &'a [Outcome],
    verdict_at: Option<Timestamp>,
}

impl<'a> RunShape<'a> {
    pub(super) fn of(record: &'a RunRecord) -> Self {
        let RunRecord { run, evidence, verdict, .. } = record;
        let Path { canary, platform, target, mode } = Path::of(&run.route);
        let verdict = verdict.as_ref();
        Self {
            run_id: run.marker,
            canary,
            platform,
            target,
            mode,
            labels: LabelMap(run.route.labels.iter().collect()),
            why: run.why,
            due: run.terms.due,
            submitted_at: evidence.submitted_at,
            accepted_at: evidence.accepted_at,
            claim: &evidence.claim,
            rows: evidence.last_sighting().map(|(seen, _)| RowCounts::of(&seen.rows)),
            jobs: &evidence.jobs,
            outcome: verdict.map(|verdict| verdict.outcome),
            provisional: verdict.is_some_and(|verdict| verdict.provisional),
            phase: verdict.and_then(|verdict| verdict.phase),
            reason: verdict.and_then(|verdict| verdict.reason.as_deref()),
            also: verdict.map_or(&[], |verdict| &verdict.also),
            verdict_at: verdict.map(|verdict| verdict.at),
        }
    }
}

#[derive(Debug, Serialize)]
struct LabelsOf<'a> {
    labels: LabelMap<'a>,
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
    deploy: Option<&'a Deploy>,
    opened_at: Timestamp,
    detected_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    runs: &'a [Marker],
    /// Nobody is paged of it until then.
    silenced_until: Option<Timestamp>,
    /// Of its routes so many are paused: while they are, it cannot show to be over.
    routes_paused: usize,
    /// Nobody has taken its page yet, though somebody should.
    undelivered: bool,
    /// Why it was over, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_because: Option<&'a str>,
    /// Its story; only where one incident is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'a [Step]>,
}

#[derive(Debug, Serialize)]
struct OnsetShape {
    last_good: Option<Timestamp>,
    first_bad: Timestamp,
}

impl<'a> IncidentShape<'a> {
    /// `routes` knows the routes that the incident names.
    pub(super) fn of(incident: &'a Incident, routes: &'a HashMap<RouteId, Arc<Route>>, quiet: Quiet) -> Self {
        let sets = |sets: &'a [crate::detect::incident::LabelSet]| {
            sets.iter().map(|set| LabelsOf { labels: LabelMap::of(set) }).collect()
        };
        Self {
            id: incident.id.as_str(),
            severity: incident.severity,
            outcome: incident.outcome,
            provisional: incident.provisional,
            suspects: LabelMap::of(&incident.suspects),
            also: sets(&incident.also),
            routes: incident.routes.iter().filter_map(|id| routes.get(id)).map(|route| Path::of(route)).collect(),
            unaffected: sets(&incident.unaffected),
            onset: OnsetShape { last_good: incident.onset.last_good, first_bad: incident.onset.first_bad },
            deploy: incident.deploy.as_ref(),
            opened_at: incident.opened_at,
            detected_at: incident.detected_at,
            resolved_at: incident.resolved_at,
            runs: &incident.runs,
            silenced_until: quiet.silenced_until,
            routes_paused: quiet.routes_paused,
            undelivered: quiet.undelivered,
            resolved_because: incident.resolved_because.as_deref(),
            history: None,
        }
    }

    /// With its story.
    pub(super) fn whole(incident: &'a Incident, routes: &'a HashMap<RouteId, Arc<Route>>, quiet: Quiet) -> Self {
        Self { history: Some(&incident.history), ..Self::of(incident, routes, quiet) }
    }
}

//! The report of a played scenario: what was detected, and what of the expectation was missed.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::play::Played;
use crate::{
    canary::{Outcome, Selector, Timestamp, time::Brief},
    detect::{Change, Deploy, Incident, Onset, incident::LabelSet, incident::write_labels},
    sandbox::{
        Fault,
        scenario::{ExpectDeploy, Scenario},
    },
};

/// One line of JSON a scenario; field names are others' to rely on.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    scenario: String,
    title: String,
    /// Somebody was told.
    pub detected: bool,
    /// From the start of the first fault to the page.
    pub detection_s: Option<f64>,
    /// From the end of the first fault to the resolve.
    pub resolved_s: Option<f64>,
    outcome: Option<Outcome>,
    suspects: Option<Map<String, Value>>,
    also: Vec<Labels>,
    at_page: Option<AtPage>,
    onset: Option<Onset>,
    deploy: Option<Deploy>,
    incidents: usize,
    pages: usize,
    /// Pages that no fault of the scenario explains.
    pub false_pages: usize,
    runs: u64,
    /// Every expectation was met.
    pub pass: bool,
    /// What was not.
    pub misses: Vec<String>,
    /// Whether the first incident names what the scenario expects; none if it expects nothing.
    #[serde(skip)]
    pub suspects_right: Option<bool>,
    /// Over the seeds, if there were several.
    #[serde(flatten)]
    pub seeds: Option<Seeds>,
}

#[derive(Clone, Debug, Serialize)]
struct Labels {
    labels: Map<String, Value>,
}

#[derive(Clone, Debug, Serialize)]
struct AtPage {
    outcome: Outcome,
    suspects: Map<String, Value>,
}

/// What many seeds came to.
#[derive(Clone, Debug, Serialize)]
pub struct Seeds {
    seeds: u64,
    detected_seeds: u64,
    passed_seeds: u64,
    detection_p50_s: Option<f64>,
    detection_p99_s: Option<f64>,
    detection_max_s: Option<f64>,
    wrong_suspects: u64,
}

fn labels(set: &LabelSet) -> Map<String, Value> {
    set.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// Milliseconds are exact enough, and print the same everywhere.
fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The page of an incident: when, and as it was told.
fn page<'p>(played: &'p Played, incident: &Incident) -> Option<(Timestamp, &'p Incident)> {
    let of = |change: &Change| matches!(change, Change::Opened(id) if *id == incident.id);
    played.notices.iter().find(|notice| of(&notice.change)).map(|notice| (notice.at, &notice.incident))
}

/// When an incident that is over was told to be; of an opening that nobody was told of, when it was.
fn over(played: &Played, incident: &Incident) -> Option<Timestamp> {
    let over = incident.resolved_at?;
    let of = |change: &Change| matches!(change, Change::Resolved(id) if *id == incident.id);
    let mut told = played.notices.iter().filter(|notice| of(&notice.change));
    told.find(|notice| notice.incident.resolved_at == Some(over)).map(|notice| notice.at).or(Some(over))
}

/// When the last of the faults that an incident is about was mended, before it was over.
fn mended(scenario: &Scenario, incident: &Incident, over: Timestamp) -> Option<Timestamp> {
    let about = |fault: &&Fault| {
        scenario.routes.iter().any(|route| incident.routes.contains(&route.id) && fault.selector.covers(route))
    };
    let ends = scenario.faults.iter().filter(about).filter_map(|fault| fault.until).filter(|until| *until <= over);
    ends.max().or_else(|| scenario.faults.iter().min_by_key(|fault| fault.from)?.until)
}

impl Report {
    /// What a scenario came to.
    pub fn of(scenario: &Scenario, played: &Played) -> Self {
        let first = played.incidents.first();
        let told = first.and_then(|incident| page(played, incident));
        let fault = scenario.faults.iter().min_by_key(|fault| fault.from);
        let detection = told.zip(fault).map(|((at, _), fault)| at.since(fault.from));
        let resolved = first.and_then(|incident| {
            let over = over(played, incident)?;
            Some(over.since(mended(scenario, incident, over)?))
        });
        let misses = misses(scenario, played, resolved);
        let opened = played.notices.iter().filter(|notice| matches!(notice.change, Change::Opened(_)));
        let pages = played.notices.iter().filter(|n| matches!(n.change, Change::Opened(_) | Change::Raised(_))).count();
        Self {
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            detected: first.is_some(),
            detection_s: detection.map(seconds),
            resolved_s: resolved.map(seconds),
            outcome: first.map(|incident| incident.outcome),
            suspects: first.map(|incident| labels(&incident.suspects)),
            also: first.map(|i| i.also.iter().map(|set| Labels { labels: labels(set) }).collect()).unwrap_or_default(),
            at_page: told.map(|(_, as_told)| AtPage { outcome: as_told.outcome, suspects: labels(&as_told.suspects) }),
            onset: first.map(|incident| incident.onset),
            deploy: first.and_then(|incident| incident.deploy.clone()),
            incidents: played.incidents.len(),
            pages,
            false_pages: opened.filter(|notice| !explained(scenario, &notice.incident, notice.at)).count(),
            runs: played.runs,
            pass: misses.is_empty(),
            misses,
            suspects_right: suspects_right(scenario, played),
            seeds: None,
        }
    }

    /// Sums the seeds up in the report of the first.
    pub fn sum_up(mut reports: Vec<Report>) -> Option<Report> {
        let mut detections: Vec<f64> = reports.iter().filter_map(|report| report.detection_s).collect();
        detections.sort_by(f64::total_cmp);
        // The nearest rank: a percentile that really occurred.
        let rank = |share: f64| {
            let at = (detections.len() as f64 * share).ceil() as usize;
            detections.get(at.saturating_sub(1)).copied()
        };
        let count = |of: &dyn Fn(&Report) -> bool| reports.iter().filter(|report| of(report)).count() as u64;
        let seeds = Seeds {
            seeds: reports.len() as u64,
            detected_seeds: count(&|report| report.detected),
            passed_seeds: count(&|report| report.pass),
            detection_p50_s: rank(0.5),
            detection_p99_s: rank(0.99),
            detection_max_s: detections.last().copied(),
            wrong_suspects: count(&|report| report.suspects_right == Some(false)),
        };
        let false_pages = reports.iter().map(|report| report.false_pages).sum();
        let missed = reports.iter().find(|report| !report.pass).map(|report| report.misses.clone());
        let mut first = if reports.is_empty() { return None } else { reports.remove(0) };
        first.pass = missed.is_none();
        first.misses = missed.unwrap_or_default();
        first.false_pages = false_pages;
        first.seeds = Some(seeds);
        Some(first)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}  {}: {}\n", if self.pass { "ok  " } else { "MISS" }, self.scenario, self.title);
        match (&self.outcome, &self.suspects) {
            (Some(outcome), Some(suspects)) => {
                let named: LabelSet =
                    suspects.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
                let after = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1} s"));
                text += &format!(
                    "      {outcome} on {}, paged after {}, resolved after {}, {} incident(s), {} run(s)\n",
                    write_labels(&named),
                    after(self.detection_s),
                    after(self.resolved_s),
                    self.incidents,
                    self.runs,
                );
            }
            _ => text += &format!("      nobody was paged, {} run(s)\n", self.runs),
        }
        if let Some(seeds) = &self.seeds {
            let after = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1} s"));
            text += &format!(
                "      {} seeds: {} detected, page after {} in the median, {} at 99 %, {} at worst; wrong suspects {}, false pages {}\n",
                seeds.seeds,
                seeds.detected_seeds,
                after(seeds.detection_p50_s),
                after(seeds.detection_p99_s),
                after(seeds.detection_max_s),
                seeds.wrong_suspects,
                self.false_pages,
            );
        }
        for miss in &self.misses {
            text += &format!("      missed: {miss}\n");
        }
        text
    }
}

/// Whether a fault of the scenario explains that this incident was told at this time: it covers a
/// route that the incident is about, and had begun.
fn explained(scenario: &Scenario, incident: &Incident, at: Timestamp) -> bool {
    let about = Selector::new(incident.suspects.clone());
    let routes = &scenario.routes;
    scenario.faults.iter().filter(|fault| fault.from <= at).any(|fault| {
        let hit = |route: &crate::canary::Route| {
            incident.routes.contains(&route.id) || (incident.routes.is_empty() && about.covers(route))
        };
        routes.iter().any(|route| hit(route) && fault.selector.covers(route))
    })
}

fn suspects_right(scenario: &Scenario, played: &Played) -> Option<bool> {
    let expect = &scenario.expect;
    if let Some(wanted) = &expect.suspects {
        return Some(played.incidents.first().is_some_and(|incident| scenario.covers_same(&incident.suspects, wanted)));
    }
    let wanted: Vec<_> = expect.each.iter().filter_map(|each| each.suspects.as_ref()).collect();
    (!wanted.is_empty()).then(|| {
        let named =
            |set: &&LabelSet| played.incidents.iter().any(|incident| scenario.covers_same(&incident.suspects, set));
        wanted.iter().all(named)
    })
}

fn misses(scenario: &Scenario, played: &Played, resolved: Option<Duration>) -> Vec<String> {
    let expect = &scenario.expect;
    let mut misses = Vec::new();
    if let Some(wanted) = expect.incidents
        && played.incidents.len() != wanted as usize
    {
        misses.push(format!("incidents: wanted {wanted}, got {}", played.incidents.len()));
    }
    let first = played.incidents.first();
    let shown = |incident: Option<&Incident>| incident.map_or("nobody was paged".to_owned(), |i| i.suspects_text());
    if let Some(wanted) = expect.outcome
        && first.map(|incident| incident.outcome) != Some(wanted)
    {
        let got = first.map_or("nobody was paged".to_owned(), |incident| incident.outcome.to_string());
        misses.push(format!("outcome: wanted {wanted}, got {got}"));
    }
    if let Some(wanted) = &expect.suspects
        && !first.is_some_and(|incident| scenario.covers_same(&incident.suspects, wanted))
    {
        misses.push(format!("suspects: wanted {}, got {}", write_labels(wanted), shown(first)));
    }
    let mut in_time = |name: &str, wanted: Option<Duration>, got: Option<Duration>| {
        if let Some(wanted) = wanted
            && got.is_none_or(|got| got > wanted)
        {
            let got = got.map_or("never".to_owned(), |got| Brief(got).to_string());
            misses.push(format!("{name}: wanted {}, got {got}", Brief(wanted)));
        }
    };
    let detection = |incident: &Incident, nth: usize| {
        let fault = scenario.faults.get(nth)?;
        page(played, incident).map(|(at, _)| at.since(fault.from))
    };
    let earliest = scenario.faults.iter().map(|fault| fault.from).min();
    let detected = first.and_then(|i| page(played, i)).zip(earliest).map(|((at, _), from)| at.since(from));
    in_time("detected_within", expect.detected_within, detected);
    in_time("resolved_within", expect.resolved_within, resolved);
    match (&expect.deploy, first.and_then(|incident| incident.deploy.as_ref())) {
        (Some(ExpectDeploy::Nothing), Some(named)) => {
            misses.push(format!("deploy: wanted none, got {}", named.service))
        }
        (Some(ExpectDeploy::Service(wanted)), named) if named.map(|deploy| deploy.service.as_str()) != Some(wanted) => {
            misses.push(format!("deploy: wanted {wanted}, got {}", named.map_or("none", |deploy| &deploy.service)));
        }
        _ => {}
    }
    // Each expected incident is met by a different one.
    let fits = |nth: usize, incident: &Incident| {
        let wanted = &expect.each[nth];
        wanted.outcome.is_none_or(|outcome| incident.outcome == outcome)
            && wanted.suspects.as_ref().is_none_or(|set| scenario.covers_same(&incident.suspects, set))
            && wanted.detected_within.is_none_or(|within| detection(incident, nth).is_some_and(|took| took <= within))
    };
    for nth in unmet(expect.each.len(), &played.incidents, fits) {
        misses.push(format!(
            "expect.incident {}: no incident meets it; there were: {}",
            nth + 1,
            list(&played.incidents)
        ));
    }
    misses
}

fn list(incidents: &[Incident]) -> String {
    if incidents.is_empty() {
        return "none".to_owned();
    }
    incidents.iter().map(|i| format!("{} on {}", i.outcome, i.suspects_text())).collect::<Vec<_>>().join(", ")
}

/// Expectations that the best matching leaves unmet (augmenting paths: there are a handful).
fn unmet(n: usize, incidents: &[Incident], fits: impl Fn(usize, &Incident) -> bool) -> Vec<usize> {
    fn place(nth: usize, fits: &dyn Fn(usize, usize) -> bool, taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
        for at in 0..taken.len() {
            if !seen[at] && fits(nth, at) {
                seen[at] = true;
                if taken[at].is_none_or(|other| place(other, fits, taken, seen)) {
                    taken[at] = Some(nth);
                    return true;
                }
            }
        }
        false
    }
    let fits = |nth: usize, at: usize| fits(nth, &incidents[at]);
    let mut taken = vec![None; incidents.len()];
    (0..n).filter(|nth| !place(*nth, &fits, &mut taken, &mut vec![false; incidents.len()])).collect()
}

//! Five hundred routes, watched for half an hour: ten clusters, two targets, twenty-five canaries. Worker v5 loses what
//! goes to one target; here and there something is late.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{
        CanaryName, Claim, Evidence, LabelName, Labels, Look, Maintenance, Marker, Mode, Outcome, Phase, PlatformName,
        Route, Rows, Run, Sample, Sighting, TargetName, Terms, Timestamp, Verdict, Why,
    },
    detect::{AgentHealth, Deploy, Incident, IncidentId, Onset, Severity, Step},
};

use crate::web::{Scene, at};

/// A run a minute.
const RUNS: i64 = 30;
/// The last of them that are lost, where any are.
const LOST: i64 = 4;
/// Worker, engine and region of each cluster.
const CLUSTERS: [(&str, &str, &str); 10] = [
    ("v5", "presto", "us"),
    ("v5", "hive", "us"),
    ("v6", "hive", "us"),
    ("v6", "presto", "jp"),
    ("v6", "hive", "jp"),
    ("v6", "presto", "eu"),
    ("v6", "hive", "eu"),
    ("v6", "trino", "eu"),
    ("v6", "presto", "ap"),
    ("v6", "hive", "ap"),
];

/// What an agent would show of it.
pub(super) fn scene() -> Scene {
    let routes = routes();
    let mut scene = Scene {
        routes: routes.clone(),
        runs: Vec::new(),
        verdicts: Vec::new(),
        incidents: Vec::new(),
        untold: None,
        deploys: vec![deploy(-1_500, "api", "7.1"), deploy(-260, "worker", "v6.20150824")],
        maintenance: Maintenance::default(),
        letters: Vec::new(),
        health: AgentHealth { started_at: at(-3_600), store_up: true },
    };
    for nth in 0..RUNS {
        for (place, route) in routes.iter().enumerate() {
            let due = at((nth - RUNS) * 60 + place as i64 % 60);
            let run = run(route, due);
            scene.verdicts.push(verdict(&run, outcome(route, nth, place as i64)));
            scene.runs.push(run);
        }
    }
    scene.incidents.push(incident(&scene));
    scene
}

fn routes() -> Vec<Arc<Route>> {
    let name = |n: &str, v: &str| (LabelName::new(n).expect("a name"), v.into());
    let mut routes = Vec::new();
    for canary in 0..25 {
        let canary = format!("{}-{canary}", ["orders", "users", "events", "payments", "sessions"][canary % 5]);
        for (nth, (worker, engine, region)) in CLUSTERS.iter().enumerate() {
            let platform = format!("{engine}-{region}-{nth}");
            let labels = [("engine", *engine), ("cluster", &platform), ("worker", worker), ("region", region)];
            let labels = Labels::new(labels.map(|(n, v)| name(n, v)));
            for target in ["warehouse", "bucket"] {
                routes.push(Arc::new(Route::new(
                    CanaryName::new(&canary).expect("a name"),
                    PlatformName::new(&platform).expect("a name"),
                    TargetName::new(target).expect("a name"),
                    Mode::Append,
                    labels.clone(),
                )));
            }
        }
    }
    routes
}

fn outcome(route: &Route, nth: i64, place: i64) -> Outcome {
    let is_hit = route.labels.get("worker") == Some("v5") && route.target.as_str() == "warehouse";
    match () {
        () if is_hit && nth >= RUNS - LOST => Outcome::Lost,
        () if (nth * 7 + place) % 97 == 0 => Outcome::Late,
        () => Outcome::Landed,
    }
}

fn run(route: &Arc<Route>, due: Timestamp) -> Run {
    Run {
        marker: Marker::mint(due, u128::from(route.id.0)),
        route: route.clone(),
        terms: Terms { due, objective: Duration::from_secs(120), deadline: Duration::from_secs(300) },
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    }
}

fn verdict(run: &Run, outcome: Outcome) -> Verdict {
    let after = |seconds: i64| Timestamp::from_micros(run.terms.due.as_micros() + seconds * 1_000_000);
    let mut evidence = Evidence { submitted_at: Some(after(0)), accepted_at: Some(after(1)), ..Evidence::default() };
    evidence.phases = vec![(Phase::Queue, after(1)), (Phase::Execute, after(2)), (Phase::Export, after(6))];
    evidence.heard(Claim::Done { rows: Some(20) }, after(8));
    evidence.jobs = vec![format!("job {}", run.terms.due.as_micros() / 1_000_000)];
    let rows = if outcome == Outcome::Lost { Rows::none(20) } else { Rows::all_right(20) };
    evidence.saw(Look { started_at: after(10), found: Ok(Sighting { rows, ..Sighting::default() }) });
    let is_lost = outcome == Outcome::Lost;
    Verdict {
        run: run.marker,
        route: run.route.id,
        due: run.terms.due,
        why: run.why,
        outcome,
        phase: is_lost.then_some(Phase::Land),
        reason: is_lost.then(|| "nothing of it is at the target, a control is".to_owned()),
        also: Vec::new(),
        provisional: false,
        seen_late: false,
        agent_away: false,
        at: after(12),
        evidence: Arc::new(evidence),
    }
}

fn deploy(seconds: i64, service: &str, version: &str) -> Deploy {
    Deploy { service: service.to_owned(), version: version.to_owned(), at: at(seconds) }
}

fn incident(scene: &Scene) -> Incident {
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let lost: Vec<&Verdict> = scene.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Lost).collect();
    let mut hit: Vec<_> = lost.iter().map(|verdict| verdict.route).collect();
    hit.sort_unstable();
    hit.dedup();
    Incident {
        id: IncidentId::of(lost[0].run),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Outcome::Lost.family().expect("it is red"),
        provisional: false,
        suspects: labels(&[("worker", "v5"), ("target", "warehouse")]),
        also: Vec::new(),
        routes: hit,
        unaffected: vec![labels(&[("worker", "v6")]), labels(&[("target", "bucket")])],
        onset: Onset { last_good: Some(at(-300)), first_bad: lost[0].due },
        deploy: scene.deploys.last().cloned(),
        opened_at: at(-200),
        detected_at: Some(at(-195)),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: lost.iter().take(60).map(|verdict| verdict.run).collect(),
        history: vec![Step { at: at(-195), text: "opened: 12 runs of worker v5 lost at warehouse".to_owned() }],
    }
}

//! FLOOR 2, metrics: every metric once, its doc comment is its help text. Families with route
//! labels are written from packed state (`metrics/routes.rs`), since the crate's own vectors need
//! 227 MB at 10,000 routes; the crate carries the rest.

mod catalogue;
mod phases;
mod routes;
mod telling;
mod text;
mod uncovered;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

pub use self::{catalogue::*, routes::WatchedRoute, telling::Told, uncovered::Uncovered};

use crate::{
    canary::{Outcome, PlatformName, RouteId, TargetName, Timestamp, Verdict},
    detect::{Deploy, Incident, IncidentId, Severity},
};

/// Services that deploys are exported for: the newest, so that a pipeline that posts nonsense
/// cannot fill the series database.
const SERVICES: usize = 100;
/// Incidents exported as undelivered: ids are labels here, and nowhere else.
const UNDELIVERED: usize = 50;

/// Which Landfall this is.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: String,
    /// Commit, where it is known; else empty.
    pub revision: String,
}

/// What the ledger counts, so that it goes on over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LedgerCounts {
    /// Runs ever begun.
    pub started: u64,
    /// Runs that have a final verdict.
    pub settled: u64,
    /// Runs that have none yet.
    pub pending: u64,
    /// How long ago the oldest of those was due.
    pub oldest_pending: Option<Duration>,
}

/// All metrics of one agent.
pub struct Metrics {
    registry: Registry,
    packed: Mutex<Packed>,
    incidents_open: IntGaugeVec,
    undelivered: IntGaugeVec,
    control_up: IntGaugeVec,
    reachable: IntGaugeVec,
    lateness: Histogram,
    skipped: IntCounter,
    deploys: GaugeVec,
    store_up: IntGauge,
    reload_successful: IntGauge,
    reload_success: Gauge,
}

/// What is not the crate's.
#[derive(Default)]
struct Packed {
    routes: routes::Routes,
    phases: phases::Phases,
    telling: telling::Telling,
    gaps: uncovered::Gaps,
    /// When it was last scraped, by the agent's clock: ages are told as of then.
    scraped_at: Option<Timestamp>,
    last_round: Option<Timestamp>,
    corrections: u64,
    ledger: Option<LedgerCounts>,
    deploys: BTreeMap<String, Timestamp>,
}

impl Metrics {
    /// Metrics of an agent that has just started.
    pub fn new(build: &BuildInfo) -> Self {
        let registry = Registry::new();
        let gauges = |family: Family, labels: &[&str]| keep(&registry, IntGaugeVec::new(family.opts(), labels));
        let gauge = |family: Family| keep(&registry, IntGauge::with_opts(family.opts()));
        gauges(BUILD_INFO, &["version", "revision"]).with_label_values(&[&build.version, &build.revision]).set(1);
        // A millisecond is good, a minute is a scheduler that has lost its grip.
        let bounds = vec![0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
        let lateness = HistogramOpts::from(SCHEDULE_LATENESS.opts()).buckets(bounds);
        let metrics = Self {
            packed: Mutex::default(),
            incidents_open: gauges(INCIDENTS_OPEN, &["severity"]),
            undelivered: gauges(INCIDENT_UNDELIVERED, &["incident", "severity"]),
            control_up: gauges(TARGET_CONTROL_UP, &["target"]),
            reachable: gauges(PLATFORM_REACHABLE, &["platform"]),
            lateness: keep(&registry, Histogram::with_opts(lateness)),
            skipped: keep(&registry, IntCounter::with_opts(SCHEDULE_SKIPPED.opts())),
            deploys: keep(&registry, GaugeVec::new(DEPLOY.opts(), &["service"])),
            store_up: gauge(STORE_UP),
            reload_successful: gauge(RELOAD_SUCCESSFUL),
            reload_success: keep(&registry, Gauge::with_opts(RELOAD_SUCCESS.opts())),
            registry,
        };
        metrics.incidents(&[]);
        metrics
    }

    /// Every change under this lock is plain assignments: what a panic left behind is whole.
    fn packed(&self) -> MutexGuard<'_, Packed> {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exports these routes from now on, in this order, all zero where nothing is known. Series of
    /// other routes, targets and platforms go.
    pub fn set_routes(&self, routes: &[WatchedRoute]) {
        let mut packed = self.packed();
        packed.routes.set(routes);
        packed.phases.set(routes);
        drop(packed);
        for family in self.control_up.collect_labels() {
            if !routes.iter().any(|watched| watched.route.target.as_str() == family) {
                let _ = self.control_up.remove_label_values(&[&family]);
            }
        }
        for family in self.reachable.collect_labels() {
            if !routes.iter().any(|watched| watched.route.platform.as_str() == family) {
                let _ = self.reachable.remove_label_values(&[&family]);
            }
        }
    }

    /// Goes on counting where the ledger stood when the agent was stopped: final verdicts by route
    /// and outcome, and corrections.
    pub fn resume(&self, outcomes: &[(RouteId, Outcome, u64)], corrections: u64) {
        let mut packed = self.packed();
        packed.corrections = corrections;
        packed.routes.resume(outcomes);
    }

    /// Takes a verdict in, provisional ones too. `corrects`: the outcome of the final verdict that
    /// this one supersedes, if there was one. One of a route that is not watched changes nothing.
    pub fn verdict(&self, verdict: &Verdict, corrects: Option<Outcome>) {
        let mut packed = self.packed();
        let corrects = corrects.filter(|_| !verdict.provisional);
        if corrects.is_some_and(|outcome| outcome != verdict.outcome) {
            packed.corrections += 1;
        }
        let Some(pair) = packed.routes.learn(verdict, corrects) else { return };
        if !verdict.provisional && corrects.is_none() {
            packed.phases.learn(&pair, verdict);
        }
    }

    /// The routes that are paused from now on, all of them. One that is not watched is remembered.
    pub fn set_paused(&self, routes: impl IntoIterator<Item = RouteId>, now: Timestamp) {
        self.packed().routes.set_paused(routes, now);
    }

    /// A scrape comes in at this time; the scheduler last went round then.
    pub fn scraped(&self, now: Timestamp, last_round: Option<Timestamp>) {
        let mut packed = self.packed();
        packed.scraped_at = Some(now);
        packed.last_round = last_round;
    }

    /// What the ledger counts now.
    pub fn counted(&self, ledger: LedgerCounts) {
        self.packed().ledger = Some(ledger);
    }

    /// The open incidents, all of them; those not told yet are not counted.
    pub fn incidents(&self, open: &[&Incident]) {
        for severity in [Severity::Warning, Severity::Critical] {
            let n = open.iter().filter(|i| i.is_open() && i.detected_at.is_some() && i.severity == severity).count();
            self.incidents_open.with_label_values(&[severity.as_str()]).set(n as i64);
        }
    }

    /// The incidents whose page nobody has accepted yet, all of them, the oldest first.
    pub fn undelivered(&self, incidents: &[(IncidentId, Severity)]) {
        self.undelivered.reset();
        for (incident, severity) in incidents.iter().take(UNDELIVERED) {
            self.undelivered.with_label_values(&[incident.as_str(), severity.as_str()]).set(1);
        }
    }

    /// A control of a target ended.
    pub fn control(&self, target: &TargetName, passed: bool) {
        self.control_up.with_label_values(&[target.as_str()]).set(passed.into());
    }

    /// A platform's API was called.
    pub fn reached(&self, platform: &PlatformName, answered: bool) {
        self.reachable.with_label_values(&[platform.as_str()]).set(answered.into());
    }

    /// A run was begun this much later than it was due.
    pub fn begun(&self, late_by: Duration) {
        self.lateness.observe(late_by.as_secs_f64());
    }

    /// Runs were due and not begun.
    pub fn skipped(&self, runs: u64) {
        self.skipped.inc_by(runs);
    }

    /// A deploy marker came in.
    pub fn deployed(&self, deploy: &Deploy) {
        let mut packed = self.packed();
        let at = packed.deploys.entry(deploy.service.clone()).or_insert(deploy.at);
        *at = deploy.at.max(*at);
        self.deploys.with_label_values(&[&deploy.service]).set(at.as_secs_f64());
        if packed.deploys.len() > SERVICES
            && let Some(oldest) = packed.deploys.iter().min_by_key(|(_, at)| **at).map(|(service, _)| service.clone())
        {
            packed.deploys.remove(&oldest);
            let _ = self.deploys.remove_label_values(&[&oldest]);
        }
    }

    /// The ledger took, or did not take, what it was given.
    pub fn store(&self, up: bool) {
        self.store_up.set(up.into());
    }

    /// A config was taken at this time, or refused.
    pub fn reloaded(&self, taken: Option<Timestamp>) {
        self.reload_successful.set(taken.is_some().into());
        if let Some(at) = taken {
            self.reload_success.set(at.as_secs_f64());
        }
    }

    /// Whether the config that was read last was refused, and an older one holds.
    pub fn is_config_refused(&self) -> bool {
        self.reload_successful.get() == 0 && self.reload_success.get() > 0.0
    }

    /// Runs that were due and not begun, since the start.
    pub fn runs_skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// Everything in text format 0.0.4. Takes some 100 ms at 10,000 routes: call it where that
    /// blocks nobody.
    pub fn render(&self) -> String {
        // Copied out under the lock and written outside: the task right of the waist never waits.
        let (routes, phases, telling, gaps, corrections, ledger, scraped_at, last_round) = {
            let p = self.packed();
            let (routes, phases, telling) = (p.routes.clone(), p.phases.clone(), p.telling.clone());
            (routes, phases, telling, p.gaps.clone(), p.corrections, p.ledger, p.scraped_at, p.last_round)
        };
        let mut page = text::Page::with_capacity(routes.size_hint());
        routes.write(&mut page);
        phases.write(&mut page);
        telling.write(&mut page, scraped_at);
        gaps.write(&mut page);
        if let Some(at) = last_round {
            page.single(LAST_ROUND, at.as_secs_f64());
        }
        page.single(CORRECTIONS, corrections);
        if let Some(ledger) = ledger {
            page.single(RUNS_STARTED, ledger.started);
            page.single(RUNS_SETTLED, ledger.settled);
            page.single(RUNS_PENDING, ledger.pending);
            page.single(OLDEST_PENDING, ledger.oldest_pending.unwrap_or_default().as_secs_f64());
        }
        let mut rest = Vec::new();
        // Writing to memory fails only if a family is empty or malformed, and then says so here.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut rest) {
            tracing::error!(%error, "could not write all metrics");
        }
        let mut page = page.into_text();
        page.push_str(&String::from_utf8_lossy(&rest));
        page
    }
}

/// Registers a metric. Names are constants and differ, so that neither step can fail; a test
/// renders them all.
fn keep<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("metric names and labels are constants that the crate takes");
    registry.register(Box::new(metric.clone())).expect("metric names differ");
    metric
}

/// The values of a gauge's only label.
trait CollectLabels {
    fn collect_labels(&self) -> Vec<String>;
}

impl CollectLabels for IntGaugeVec {
    fn collect_labels(&self) -> Vec<String> {
        let families = prometheus::core::Collector::collect(self);
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics.filter_map(|metric| metric.get_label().first().map(|label| label.value().to_owned())).collect()
    }
}

#[cfg(test)]
mod tests;

//! FLOOR 2, metrics: every metric once, its doc comment is its help text. Families with route
//! labels are written from packed state (`metrics/routes.rs`), since the crate's own vectors need
//! 227 MB at 10,000 routes; the crate carries the rest.

mod phases;
mod routes;
mod text;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use routes::WatchedRoute;

use crate::{
    canary::{Outcome, PlatformName, RouteId, TargetName, Timestamp, Verdict},
    detect::{Deploy, Incident, IncidentId, Severity},
};

/// A metric's name, type and help.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its whole name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    help: &'static str,
}

impl Family {
    /// What it says, in one line.
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help())
    }
}

macro_rules! families {
    ($(#[doc = $help:literal] $name:ident $kind:ident $text:literal;)*) => {
        $(#[doc = $help] pub const $name: Family = Family {
            name: concat!("landfall_", $text), kind: stringify!($kind), help: $help
        };)*
        /// Every metric there is.
        pub const CATALOGUE: &[Family] = &[$($name),*];
    };
}

families! {
    /// Final verdicts of runs, by outcome. A corrected run counts under both outcomes.
    RUNS_TOTAL counter "runs_total";
    /// Rows of finally judged runs that could be seen: expected, and of these landed and missing; beside them duplicated and corrupted.
    ROWS_TOTAL counter "rows_total";
    /// 1 if the route's newest verdict is green or amber, 0 if it is red; absent while it is unknown or there is none.
    ROUTE_UP gauge "route_up";
    /// When rows of this route were last seen landed, in seconds since the epoch.
    LAST_LANDED gauge "last_landed_timestamp_seconds";
    /// When a run of this route was last judged, in seconds since the epoch.
    LAST_VERDICT gauge "last_verdict_timestamp_seconds";
    /// How long runs spent in each phase, in seconds; objectives and deadlines are exact bounds.
    PHASE_DURATION histogram "phase_duration_seconds";
    /// 1 for every configured route, with the labels that the user gave it.
    ROUTE_INFO gauge "route_info";
    /// Worst time from a total fault of this route to the page, in seconds.
    DETECTION_BOUND gauge "detection_bound_seconds";
    /// Incidents that were told and are not over.
    INCIDENTS_OPEN gauge "incidents_open";
    /// 1 while no notifier has accepted the page of this incident.
    INCIDENT_UNDELIVERED gauge "incident_undelivered";
    /// 1 if the target's last control passed: target and agent work without any platform.
    TARGET_CONTROL_UP gauge "target_control_up";
    /// 1 if the platform's API answered the last call.
    PLATFORM_REACHABLE gauge "platform_reachable";
    /// Runs ever begun, by the ledger.
    RUNS_STARTED counter "runs_started_total";
    /// Runs that have a final verdict, by the ledger.
    RUNS_SETTLED counter "runs_settled_total";
    /// Runs begun that have no final verdict yet.
    RUNS_PENDING gauge "runs_pending";
    /// How long ago the oldest run without a final verdict was due, in seconds.
    OLDEST_PENDING gauge "oldest_pending_seconds";
    /// How much later than due runs were begun, in seconds.
    SCHEDULE_LATENESS histogram "schedule_lateness_seconds";
    /// Runs that were due and not begun, because a cap was reached or the agent was away.
    SCHEDULE_SKIPPED counter "schedule_skipped_total";
    /// Attempts to notify, by notifier and result.
    NOTIFICATIONS counter "notifications_total";
    /// Notifications that nobody has accepted yet.
    NOTIFICATIONS_PENDING gauge "notifications_pending";
    /// Final verdicts that a later look changed.
    CORRECTIONS counter "corrections_total";
    /// When this service was last deployed, in seconds since the epoch.
    DEPLOY gauge "deploy_timestamp_seconds";
    /// 1 if the ledger can be written and read.
    STORE_UP gauge "store_up";
    /// 1 if the last reload of the config was taken, 0 if it was refused and the old config stays.
    RELOAD_SUCCESSFUL gauge "config_last_reload_successful";
    /// When the config was last taken, in seconds since the epoch.
    RELOAD_SUCCESS gauge "config_last_reload_success_timestamp_seconds";
    /// Always 1; says which Landfall this is.
    BUILD_INFO gauge "build_info";
}

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

/// How an attempt to notify ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The receiver took it.
    Accepted,
    /// It did not, or was not there; it will be tried again.
    Failed,
}

impl Told {
    fn as_str(self) -> &'static str {
        match self {
            Told::Accepted => "accepted",
            Told::Failed => "failed",
        }
    }
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
    notifications: IntCounterVec,
    notifications_pending: IntGauge,
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
            notifications: keep(&registry, IntCounterVec::new(NOTIFICATIONS.opts(), &["notifier", "result"])),
            notifications_pending: gauge(NOTIFICATIONS_PENDING),
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

    /// The notifiers there are, so that their first failure is visible.
    pub fn set_notifiers<'a>(&self, notifiers: impl IntoIterator<Item = &'a str>) {
        for notifier in notifiers {
            for told in [Told::Accepted, Told::Failed] {
                self.notifications.with_label_values(&[notifier, told.as_str()]).inc_by(0);
            }
        }
    }

    /// One attempt to notify ended.
    pub fn notified(&self, notifier: &str, told: Told) {
        self.notifications.with_label_values(&[notifier, told.as_str()]).inc();
    }

    /// So many notifications wait.
    pub fn notifications_pending(&self, n: usize) {
        self.notifications_pending.set(n as i64);
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

    /// Everything in text format 0.0.4. Takes some 100 ms at 10,000 routes: call it where that
    /// blocks nobody.
    pub fn render(&self) -> String {
        // Copied out under the lock and written outside: the task right of the waist never waits.
        let (routes, phases, corrections, ledger) = {
            let packed = self.packed();
            (packed.routes.clone(), packed.phases.clone(), packed.corrections, packed.ledger)
        };
        let mut page = text::Page::with_capacity(routes.size_hint());
        routes.write(&mut page);
        phases.write(&mut page);
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

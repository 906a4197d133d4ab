//! The plan: what the config means. Drivers are type parameters, because this floor does not know
//! the seams above it; `cli` fills them in.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use reqwest::Url;

use crate::{
    canary::{
        CanaryName, Labels, NotifierName, PlatformName, Route, Sample, Schedule, Secret, Selector, TargetName,
        Timestamp, report::ReportPlan,
    },
    detect::{Severity, coverage::Landing, incident::LabelSet},
    http::Wire,
};

/// Everything the agent does.
#[derive(Clone, Debug)]
pub struct Plan<P, T, N = NoNotifier> {
    /// The agent itself.
    pub agent: AgentPlan,
    /// Platforms in file order.
    pub platforms: Vec<PlatformPlan<P>>,
    /// Targets in file order.
    pub targets: Vec<TargetPlan<T>>,
    /// Notifiers in file order.
    pub notifiers: Vec<NotifierPlan<N>>,
    /// Canaries in file order.
    pub canaries: Vec<CanaryPlan>,
    /// The product of each canary's lists, in file order, with ids that differ.
    pub routes: Vec<Arc<Route>>,
    /// The kinds of targets there are, configured or not.
    pub landings: Vec<Landing>,
}

/// `[agent]`.
#[derive(Clone, Debug)]
pub struct AgentPlan {
    /// Who this agent is.
    pub name: String,
    /// Pages, API, metrics.
    pub listen: SocketAddr,
    /// Names by which pages and API are reached besides the agent's own: of a proxy, in DNS.
    pub hosts: Vec<String>,
    /// Where people reach its pages, for links in what they are told.
    pub url: Option<Url>,
    /// What to do when paged, for the same.
    pub runbook: Option<Url>,
    /// Own listener for webhook targets; absent: on `listen`.
    pub intake: Option<SocketAddr>,
    /// The ledger's file.
    pub store: PathBuf,
    /// Every total fault must page within this.
    pub detect_within: Option<Duration>,
    /// Without it everything that changes state answers 403.
    pub token: Option<Secret>,
    /// How often it looks by itself for what customers use and no route covers; none: never.
    pub coverage_every: Option<Duration>,
    /// Proxy and extra CA bundle.
    pub wire: Wire,
    /// Times of silence, fire drills, and the sign of life.
    pub upkeep: UpkeepPlan,
    /// The page for people who have no business with what is inside; none unless the config wants it.
    pub public: Option<PublicPlan>,
    /// The file it was read from, and the folder of probes, for reload.
    pub file: PathBuf,
}

/// `[web]`, where it says `public = true`.
#[derive(Clone, Debug)]
pub struct PublicPlan {
    /// What it calls what is watched.
    pub title: String,
    /// Own listener, where it is `/` and nothing else is; absent: `/public` on the agent's.
    pub listen: Option<SocketAddr>,
}

/// `[[silence]]`, `[agent.drill]` and `[agent.heartbeat]`.
#[derive(Clone, Debug, Default)]
pub struct UpkeepPlan {
    /// In file order.
    pub silences: Vec<SilencePlan>,
    /// When a fire drill goes out by itself.
    pub drill: Option<Schedule>,
    /// The sign of life for a dead-man's service.
    pub heartbeat: Option<HeartbeatPlan>,
}

/// `[[silence]]`.
#[derive(Clone, Debug)]
pub struct SilencePlan {
    /// `config-1` and so on, in file order.
    pub id: String,
    /// Which routes. Empty: all.
    pub only: Selector,
    /// When.
    pub when: SilenceTime,
    /// Why.
    pub because: String,
}

/// When nobody is paged.
#[derive(Clone, Debug)]
pub enum SilenceTime {
    /// Once.
    Once {
        /// From when on.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Again and again.
    Recurring {
        /// When it begins.
        begins: Schedule,
        /// How long each lasts.
        lasts: Duration,
    },
}

/// `[agent.heartbeat]`.
#[derive(Clone, Debug)]
pub struct HeartbeatPlan {
    /// Where to. Whoever knows it can pretend that this agent lives.
    pub url: Secret,
    /// How often.
    pub every: Duration,
    /// POST, where the service wants that; else GET.
    pub posts: bool,
}

/// `[platform.NAME]`.
#[derive(Clone, Debug)]
pub struct PlatformPlan<P> {
    /// Its name.
    pub name: PlatformName,
    /// Its kind, as the config names it.
    pub kind: &'static str,
    /// Its labels, in file order.
    pub labels: Labels,
    /// Most runs in flight at once.
    pub in_flight: u32,
    /// Most runs begun in any hour.
    pub per_hour: u32,
    /// The targets that it has a name for; none: it takes a target's own address.
    pub outputs: Option<Vec<String>>,
    /// Which of the jobs that its platform remembers ran here: every pair of one set must hold. The pair
    /// `account` names the platform with whose access they are read. Empty: as the driver's own jobs are.
    pub jobs: Vec<LabelSet>,
    /// The opened driver.
    pub driver: P,
}

/// `[target.NAME]`.
#[derive(Clone, Debug)]
pub struct TargetPlan<T> {
    /// Its name.
    pub name: TargetName,
    /// Its kind, as the config names it.
    pub kind: &'static str,
    /// Its labels, in file order.
    pub labels: Labels,
    /// What canaries may cost there.
    pub caps: TargetCaps,
    /// Schemes of Result Output addresses that lead to targets like it. Empty: those of its kind.
    pub schemes: Vec<String>,
    /// The opened driver.
    pub driver: T,
}

/// What canaries may cost a target. None: as much as its routes need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetCaps {
    /// Most rows that runs begun in any hour write, or would write.
    pub rows_per_hour: Option<u32>,
    /// Most times in any hour that the agent looks for runs.
    pub reads_per_hour: Option<u32>,
}

impl TargetCaps {
    /// Fewer looks than this and a run would wait for its last one longer than a run may be pending.
    pub const LEAST_READS: u32 = 360;

    /// Looks are at least so long apart.
    pub fn pause(&self) -> Duration {
        self.reads_per_hour.map_or(Duration::ZERO, |reads| Duration::from_secs(3600) / reads.max(1))
    }
}

/// `[notify.NAME]`.
#[derive(Clone, Debug)]
pub struct NotifierPlan<N> {
    /// Its name.
    pub name: NotifierName,
    /// What it is told of.
    pub rules: Rules,
    /// The opened driver.
    pub driver: N,
}

/// Which incidents a notifier is told of, and who is told instead. Without rules: of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Of these severities. Empty: only in the place of another notifier.
    pub severities: Vec<Severity>,
    /// Of incidents that hit a route which this covers.
    pub only: Selector,
    /// Who is told as well when this one refuses, or fails for `second_after`.
    pub second: Option<NotifierName>,
    /// How long it may fail before that.
    pub second_after: Duration,
}

/// A receiver that fails for this long is not only slow: somebody else is told as well.
const SECOND_AFTER: Duration = Duration::from_secs(30);

impl Default for Rules {
    fn default() -> Self {
        let severities = Severity::ALL.to_vec();
        Self { severities, only: Selector::default(), second: None, second_after: SECOND_AFTER }
    }
}

/// The driver of a notifier where there are none.
#[derive(Clone, Copy, Debug)]
pub enum NoNotifier {}

/// `[canary.NAME]`.
#[derive(Clone, Debug)]
pub struct CanaryPlan {
    /// Its name.
    pub name: CanaryName,
    /// When it is due.
    pub schedule: Schedule,
    /// Rows must be there this long after the accepted submit.
    pub objective: Duration,
    /// When waiting ends.
    pub deadline: Duration,
    /// Its rows.
    pub sample: Sample,
    /// They are the agent's own report instead.
    pub report: Option<ReportPlan>,
}

impl<P, T, N> Plan<P, T, N> {
    /// How long a look at a target may have to wait for its turn: a turn for each route whose table is its
    /// own, and one for all others together.
    pub fn pause(&self, name: &TargetName) -> Duration {
        let own = |target: &&TargetPlan<T>| target.name == *name;
        let pause = self.targets.iter().find(own).map_or(Duration::ZERO, |target| target.caps.pause());
        let apart = self.routes.iter().filter(|route| route.target == *name && route.mode.displaces());
        if pause.is_zero() { pause } else { pause.saturating_mul(1 + apart.count() as u32) }
    }

    /// How many rows a run of a route brings, at most: a report has one for each hour and route that it tells of,
    /// and one for all.
    pub fn rows(&self, route: &Route) -> u32 {
        let Some(canary) = self.canary(&route.canary) else { return 0 };
        let Some(report) = &canary.report else { return canary.sample.rows };
        report.rows(self.routes.iter().filter(|other| other.platform == route.platform).count()).min(Sample::MOST_ROWS)
    }

    /// Whether a route brings the agent's own report.
    pub fn reports(&self, route: &Route) -> bool {
        self.canary(&route.canary).is_some_and(|canary| canary.report.is_some())
    }

    /// The canary of a route.
    pub fn canary(&self, name: &CanaryName) -> Option<&CanaryPlan> {
        self.canaries.iter().find(|canary| canary.name == *name)
    }
}

/// Control of the target after a claim: at most this long.
const CONTROL: Duration = Duration::from_secs(5);
/// From the second red to the page: commit and notification.
const TELL: Duration = Duration::from_secs(5);

/// The worst time from a total fault to the page: the wait for the next run, the objective after
/// which it is overdue at the latest, the control, the objective of the confirming run, the page.
/// `pause`: how long looks at the target are apart at least; either run may have to wait for one.
pub fn worst_detection(longest_gap: Duration, objective: Duration, pause: Duration) -> Duration {
    longest_gap + objective + pause + CONTROL + objective + pause + TELL
}

//! The catalogue: each metric's name, type and help, once.

use prometheus::Opts;

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

    pub(super) fn opts(&self) -> Opts {
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
    /// How long readers of a table that is replaced, truncated or updated saw neither the rows of before nor all new ones, in seconds, as far as looks tell.
    HALF_EMPTY counter "half_empty_seconds_total";
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
    /// Longest time between two runs of this route that its schedule asks for, in seconds.
    ROUTE_INTERVAL gauge "route_interval_seconds";
    /// Since when this route is watched without a pause: since the agent's start at the earliest, in seconds since the epoch.
    WATCHED_SINCE gauge "route_watched_since_timestamp_seconds";
    /// 1 while nothing is sent over this route because somebody paused it; absent otherwise.
    ROUTE_PAUSED gauge "route_paused";
    /// Customers' jobs of the last 30 days that went a way that no route covers; target_kind is none where no target can be.
    COVERAGE_GAP gauge "coverage_gap";
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
    /// Attempts to notify, by notifier and result; refused is what the receiver will never take.
    NOTIFICATIONS counter "notifications_total";
    /// Notifications that nobody has accepted yet.
    NOTIFICATIONS_PENDING gauge "notifications_pending";
    /// How long the oldest notification that nobody has accepted yet has waited, in seconds.
    OLDEST_NOTIFICATION gauge "notifications_oldest_pending_seconds";
    /// When this notifier last took a message, in seconds since the epoch; absent before.
    LAST_ACCEPTED gauge "notifier_last_accepted_timestamp_seconds";
    /// When a fire drill was last sent, in seconds since the epoch; 0 if there was none.
    DRILL_SENT gauge "drill_last_sent_timestamp_seconds";
    /// When a person last confirmed the page of a fire drill, in seconds since the epoch; 0 if nobody ever did.
    DRILL_CONFIRMED gauge "drill_last_confirmed_timestamp_seconds";
    /// 1 if this notifier took the last fire drill, 0 if it did not; absent before the first.
    DRILL_ACCEPTED gauge "drill_accepted";
    /// Silences in force.
    SILENCES_ACTIVE gauge "silences_active";
    /// When the scheduler last went round, in seconds since the epoch; absent before the first time.
    LAST_ROUND gauge "scheduler_last_round_timestamp_seconds";
    /// When the heartbeat was last taken, in seconds since the epoch; 0 if it never was, absent without a heartbeat.
    HEARTBEAT gauge "heartbeat_last_success_timestamp_seconds";
    /// How often the heartbeat is sent, in seconds; absent without one.
    HEARTBEAT_INTERVAL gauge "heartbeat_interval_seconds";
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

//! Hearers: who wants to know what happens, as it happens.

use tracing::{error, info, warn};

use crate::{
    canary::{Run, State, Verdict},
    detect::Change,
    store::Notice,
};

/// Who wants to hear what happens, as it happens: the demo's story, replay's record, the log.
pub trait Hearer: Send + Sync {
    /// A verdict was made and stored.
    fn verdict(&self, verdict: &Verdict, run: &Run);
    /// People are to be told.
    fn notice(&self, notice: &Notice);
}

/// Says it in the log.
pub struct Log;

impl Hearer for Log {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        let (run, route, due) = (run.marker, &run.route, verdict.due);
        // Absent rather than empty: a field that says nothing is noise.
        let reason = verdict.reason.as_deref();
        match verdict.outcome.state() {
            State::Green => {}
            State::Amber | State::Grey => {
                info!(%run, %route, %due, outcome = %verdict.outcome, provisional = verdict.provisional, reason, "run was {}", verdict.outcome);
            }
            State::Red => {
                warn!(%run, %route, %due, outcome = %verdict.outcome, provisional = verdict.provisional, reason, "run was {}", verdict.outcome);
            }
        }
    }

    fn notice(&self, notice: &Notice) {
        let incident = &notice.incident;
        let (id, severity) = (&incident.id, incident.severity.as_str());
        match notice.change {
            Change::Resolved(_) => {
                info!(incident = %id, severity, "resolved: {} on {}", incident.outcome, incident.suspects_text());
            }
            _ => error!(
                incident = %id,
                severity,
                outcome = %incident.outcome,
                last_good = incident.onset.last_good.map(tracing::field::display),
                first_bad = %incident.onset.first_bad,
                deploy = incident.deploy.as_ref().map(|d| format!("{} {}", d.service, d.version)),
                "{}: {} on {}", severity, incident.outcome.meaning(), incident.suspects_text(),
            ),
        }
    }
}

//! When: times and lengths of time as pages say them.

use std::time::Duration;

use crate::{
    canary::Timestamp,
    detect::Incident,
    notify::{Message, Page},
};

/// `2015-08-24 14:43:00 UTC`.
pub(super) fn second(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// When it was over, as far as this message may say so.
pub(super) fn ended(incident: &Incident) -> Option<Timestamp> {
    incident.resolved_at
}

/// Its key is over and the incident is not: it was opened again, or is told louder.
pub(super) fn goes_on(page: &Page) -> bool {
    page.incident.is_open()
}

/// How long it went on, or has been going on.
pub(super) fn so_far(incident: &Incident, message: &Message) -> Duration {
    // Whole seconds: nobody needs the rest.
    let length = ended(incident).unwrap_or(message.at).since(incident.onset.first_bad);
    Duration::from_secs(length.as_secs())
}

/// `since 14:43–14:44 UTC`, or `14:44–16:28 UTC (1h44m)` once it is over.
pub(super) fn bracket(incident: &Incident, message: &Message) -> String {
    let onset = incident.onset;
    let from = onset.first_bad.minute(message.at);
    match (ended(incident), onset.last_good) {
        (Some(end), _) => {
            let length = crate::canary::time::Brief(so_far(incident, message));
            format!("{from}–{} UTC ({length})", end.minute(onset.first_bad))
        }
        (None, Some(good)) => match good.minute(message.at) {
            good if good == from => format!("since {from} UTC"),
            good => format!("since {good}–{} UTC", onset.first_bad.minute(onset.last_good.unwrap_or(message.at))),
        },
        (None, None) => format!("since {from} UTC"),
    }
}

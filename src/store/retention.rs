//! What the ledger keeps, and for how long. Pure, so that every ledger keeps the same.

use std::time::Duration;

use crate::canary::{Marker, Outcome, Terms, Timestamp, Verdict};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Green runs are all kept this long: a person who is woken wants to see the last hours whole.
pub const GREENS_WHOLE: Duration = Duration::from_secs(6 * 3600);
/// Everything else is kept a quarter of a year: long enough for a report on an outage.
pub const REDS: Duration = Duration::from_secs(90 * 24 * 3600);
/// Deliveries of runs that did not land, or of no run, for whoever asks the next day.
pub const DELIVERIES: Duration = DAY;
/// Deliveries of landed runs that nobody will look at again: they are most of the file.
pub const LANDED_DELIVERIES: Duration = HOUR;
/// Rows of reports: as long as greens are whole, so that the last that came back can be shown.
pub const REPORTS: Duration = GREENS_WHOLE;
/// A lost run is looked at until this many deadlines have passed: late landings happen.
const LOST_DEADLINES: u32 = 3;

/// Until when a settled run is looked at once more; none: never again.
pub fn watch_until(terms: &Terms, verdict: &Verdict) -> Option<Timestamp> {
    let deadlines = match verdict.outcome {
        _ if verdict.provisional => return None,
        Outcome::Landed => 1,
        Outcome::Lost => LOST_DEADLINES,
        _ => return None,
    };
    Some(terms.start(verdict.evidence.accepted_at).plus(terms.deadline.saturating_mul(deadlines)))
}

/// The hour in which a run was begun: of the greens of one route and hour, the first is kept.
pub fn hour_of(run: Marker) -> i64 {
    run.minted_at().as_micros().div_euclid(HOUR.as_micros() as i64)
}

/// The smallest marker of an hour, and of any point in time.
pub fn first_marker_at(at: Timestamp) -> Marker {
    Marker::mint(at.max(Timestamp::EPOCH), 0)
}

/// When an hour began.
pub fn start_of_hour(hour: i64) -> Timestamp {
    Timestamp::from_secs(hour.saturating_mul(3600))
}

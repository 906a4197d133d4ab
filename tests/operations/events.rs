//! What a pager was sent: the stand-in has checked each body as PagerDuty would.

use serde_json::Value as Json;

use crate::fixtures::pagerduty::PagerDuty;

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// `trigger` or `resolve`.
    pub(super) action: String,
    pub(super) key: String,
    pub(super) severity: String,
    /// The rule that spoke; of the agent's own events something else.
    pub(super) alert: String,
    /// The incident, or the job of what is about none.
    pub(super) group: String,
    pub(super) summary: String,
}

impl Event {
    fn of(event: &Json) -> Self {
        let text = |json: &Json, name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let payload = &event["payload"];
        Self {
            action: text(event, "event_action"),
            key: text(event, "dedup_key"),
            severity: text(payload, "severity"),
            alert: text(payload, "class"),
            group: text(payload, "group"),
            summary: text(payload, "summary"),
        }
    }
}

/// Everything that was sent, in order; panics if PagerDuty would have refused any of it.
pub(super) fn events(pager: &PagerDuty) -> Vec<Event> {
    assert_eq!(pager.wrong(), Vec::<String>::new(), "PagerDuty would refuse this");
    pager.events().iter().map(Event::of).collect()
}

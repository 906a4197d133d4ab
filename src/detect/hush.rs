//! Hush: whether nobody is to be paged of an incident, because all that it hits is silenced.

use std::sync::Arc;

use super::Incident;
use crate::canary::{Route, RouteId, Selector, Silence, Timestamp};

/// Until when nobody is paged of an incident, if that is so now: every watched route that it hits is
/// covered by a silence that holds. One without routes (a target that nobody can see) is told by its
/// suspects. Silences that begin later are not counted on.
pub fn silenced_until<'a>(
    incident: &Incident,
    route: impl Fn(RouteId) -> Option<&'a Arc<Route>>,
    silences: &[Silence],
    now: Timestamp,
) -> Option<Timestamp> {
    let holding: Vec<&Silence> = silences.iter().filter(|silence| silence.holds_at(now)).collect();
    if holding.is_empty() {
        return None;
    }
    let last = |covers: &dyn Fn(&Silence) -> bool| {
        holding.iter().filter(|silence| covers(silence)).map(|silence| silence.until).max()
    };
    let mut hit = incident.routes.iter().filter_map(|id| route(*id)).peekable();
    match hit.peek() {
        // It is silent until the first of its routes is not.
        Some(_) => hit.map(|route| last(&|silence| silence.covers(route))).min().flatten(),
        None => last(&|silence| is_within(incident, &silence.only)),
    }
}

fn is_within(incident: &Incident, only: &Selector) -> bool {
    only.pairs().iter().all(|pair| incident.suspects.contains(pair))
}

//! What was told of a world, against what was broken in it.

use std::sync::Arc;

use landfall::{
    canary::{Route, Selector, Timestamp},
    cli::replay::play::Played,
    detect::{Change, Incident, incident::LabelSet, incident::write_labels},
    sandbox::{Fault, scenario::covers_same},
};

/// An incident, when it was paged, and as it was paged.
pub(crate) struct Told<'p> {
    /// When.
    pub(crate) at: Timestamp,
    /// As it stood when it was paged.
    pub(crate) then: &'p Incident,
    /// As it stands at the end.
    pub(crate) now: &'p Incident,
}

/// Every incident with its first page.
pub(crate) fn told(played: &Played) -> Vec<Told<'_>> {
    let page = |incident: &Incident| {
        let opened = |change: &Change| matches!(change, Change::Opened(id) if *id == incident.id);
        played.notices.iter().find(|notice| opened(&notice.change))
    };
    let told = |now| page(now).map(|notice| Told { at: notice.at, then: &notice.incident, now });
    played.incidents.iter().filter_map(told).collect()
}

impl Told<'_> {
    /// Whether the fault explains it: it had begun, and covers a route that the page is about.
    pub(crate) fn is_due_to(&self, fault: &Fault, routes: &[Arc<Route>]) -> bool {
        let about = Selector::new(self.then.suspects.clone());
        let hit = |route: &Arc<Route>| {
            self.then.routes.contains(&route.id) || (self.then.routes.is_empty() && about.covers(route))
        };
        fault.from <= self.at && routes.iter().any(|route| hit(route) && fault.selector.covers(route))
    }

    /// Whether it names this scope, as it stands now.
    pub(crate) fn names(&self, scope: &LabelSet, routes: &[Arc<Route>]) -> bool {
        covers_same(routes, &self.now.suspects, scope)
    }

    /// For people.
    pub(crate) fn brief(&self) -> String {
        format!("{} on {} at {}", self.now.outcome, self.now.suspects_text(), self.at)
    }

    /// Its whole story in a line.
    pub(crate) fn story(&self) -> String {
        let steps: Vec<String> = self.now.history.iter().map(|step| format!("{} {}", step.at, step.text)).collect();
        steps.join(" | ")
    }
}

/// How many of two faults are named, each by an incident of its own.
pub(crate) fn named_apart(told: &[Told<'_>], names: impl Fn(usize, &Told<'_>) -> bool) -> usize {
    let both = (0..told.len()).any(|a| (0..told.len()).any(|b| a != b && names(0, &told[a]) && names(1, &told[b])));
    if both { 2 } else { usize::from((0..2).any(|at| told.iter().any(|told| names(at, told)))) }
}

/// What was told beyond an incident for each fault: of no fault, and more than once.
pub(crate) fn too_many(told: &[Told<'_>], faults: &[Fault], routes: &[Arc<Route>]) -> (usize, usize) {
    let due = told.iter().filter(|told| faults.iter().any(|fault| told.is_due_to(fault, routes))).count();
    (told.len() - due, due.saturating_sub(faults.len()))
}

/// What was told of one world among many; of a world alone the whole story.
pub(crate) fn account(told: &[Told<'_>], alone: bool) -> String {
    if alone { told.iter().map(Told::story).collect::<Vec<_>>().join(" || ") } else { list(told) }
}

/// Told in full at most.
const LISTED: usize = 4;

/// A list of what was told.
pub(crate) fn list(told: &[Told<'_>]) -> String {
    let mut list: Vec<String> = told.iter().take(LISTED).map(Told::brief).collect();
    if told.len() > LISTED {
        list.push(format!("and {} more", told.len() - LISTED));
    }
    if list.is_empty() { "nothing".to_owned() } else { list.join(", ") }
}

/// A scope as people write it.
pub(crate) fn written(scope: &LabelSet) -> String {
    write_labels(scope)
}

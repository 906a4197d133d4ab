//! What customers use and no route covers, as far as the platforms were asked.

use std::collections::BTreeMap;

use super::{
    COVERAGE_GAP, Metrics,
    text::{Page, label},
};
use crate::canary::{Mode, PlatformName};

/// Ways exported at most, the most used: their names come from outside.
const MOST: usize = 100;

/// A way without a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uncovered {
    /// The platform.
    pub platform: PlatformName,
    /// Type of the jobs.
    pub engine: String,
    /// The kind of target; none: there is none for it yet.
    pub target_kind: Option<String>,
    /// How it is written; none: nobody can tell.
    pub mode: Option<Mode>,
}

/// The ways, the most used first.
#[derive(Clone, Default)]
pub(super) struct Gaps(Vec<(Uncovered, u64)>);

impl Metrics {
    /// The ways that no route covers, all of them, and how many jobs went each.
    pub fn uncovered(&self, ways: BTreeMap<Uncovered, u64>) {
        let mut ways: Vec<_> = ways.into_iter().collect();
        ways.sort_by_key(|(_, jobs)| std::cmp::Reverse(*jobs));
        ways.truncate(MOST);
        self.packed().gaps = Gaps(ways);
    }
}

impl Gaps {
    pub(super) fn write(&self, page: &mut Page) {
        page.family(COVERAGE_GAP);
        for (way, jobs) in &self.0 {
            let labels = [
                label("platform", way.platform.as_str()),
                label("engine", &way.engine),
                label("target_kind", way.target_kind.as_deref().unwrap_or("none")),
                label("mode", way.mode.map_or("unknown", Mode::as_str)),
            ];
            page.line(COVERAGE_GAP.name, &[&labels.join(",")], jobs);
        }
    }
}

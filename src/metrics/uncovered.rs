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
    /// Version of the engine, if it is told and not the default.
    pub engine_version: Option<String>,
    /// Pool, likewise.
    pub pool: Option<String>,
    /// What leads there, if it is no kind of target yet.
    pub schemes: Option<String>,
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
            let more = [("engine_version", &way.engine_version), ("pool", &way.pool), ("scheme", &way.schemes)];
            let more = more.into_iter().filter_map(|(name, value)| Some(label(name, value.as_deref()?)));
            let labels = [
                label("platform", way.platform.as_str()),
                label("engine", &way.engine),
                label("target_kind", way.target_kind.as_deref().unwrap_or("none")),
                label("mode", way.mode.map_or("unknown", Mode::as_str)),
            ];
            let labels: Vec<String> = labels.into_iter().chain(more).collect();
            page.line(COVERAGE_GAP.name, &[&labels.join(",")], jobs);
        }
    }
}

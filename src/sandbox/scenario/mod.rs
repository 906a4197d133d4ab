//! Scenarios: a world, its deploys and faults, what happens to the agent itself, and what must be
//! detected, in one file.
//!
//! ```toml
//! [[agent]]             # times are the world's; the agent may be wrong about them
//! at   = "60m"
//! does = "restart"      # it stops in order; a new one starts on the same ledger
//! for  = "30s"          # … this much later
//!
//! [[agent]]
//! at   = "70m"
//! does = "stall"        # nothing of it runs, everything else goes on; then it goes on
//! for  = "2m"
//!
//! [[agent]]
//! at   = "80m"
//! does = "clock-step"   # its clock jumps, the world's does not
//! by   = "90s"          # ahead; back = "90s": back
//! ```

mod agent;
mod expect;
mod read;

use std::{path::Path, sync::Arc, time::Duration};

pub use self::{
    agent::{AgentEvent, Does},
    expect::{Expect, ExpectDeploy, ExpectIncident},
};
use super::{fault::Fault, world::World};
use crate::{
    canary::{Route, Selector, Timestamp},
    config::{Problem, Problems},
    detect::{Deploy, incident::LabelSet},
};

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without `.toml`.
    pub name: String,
    /// What happens, in a line.
    pub title: String,
    /// Where it was told first.
    pub source: Option<String>,
    /// When it begins.
    pub start: Timestamp,
    /// How long it lasts.
    pub lasts: Duration,
    /// What its dice begin with.
    pub seed: u64,
    /// What the sandbox pretends to be.
    pub world: World,
    /// Releases, in the order of the file.
    pub deploys: Vec<Deploy>,
    /// What goes wrong, in the order of the file.
    pub faults: Vec<Fault>,
    /// What happens to the agent itself, in the order in which it happens.
    pub agent: Vec<AgentEvent>,
    /// What must be detected.
    pub expect: Expect,
    /// The routes that it is about, labels in the order of the file: those of its own world, or those
    /// that it was read for.
    pub routes: Vec<Arc<Route>>,
}

/// Scenarios of real incidents, compiled in: `landfall replay 2015-08-24`.
const BUILT_IN: [(&str, &str); 5] = [
    ("2015-08-24", include_str!("../../../probes/incidents/2015-08-24.toml")),
    ("2016-09-27", include_str!("../../../probes/incidents/2016-09-27.toml")),
    ("2019-07-30", include_str!("../../../probes/incidents/2019-07-30.toml")),
    ("2019-09-03", include_str!("../../../probes/incidents/2019-09-03.toml")),
    ("2019-09-04", include_str!("../../../probes/incidents/2019-09-04.toml")),
];

impl Scenario {
    /// Reads a scenario; everything that is wrong with it is said at once.
    pub fn parse(file: &Path, text: &str) -> Result<Scenario, Problems> {
        read::scenario(file, text, None)
    }

    /// Reads a scenario that is to be played against other routes than those of its own world:
    /// labels in `where` and `suspects` must be theirs.
    pub fn parse_for(file: &Path, text: &str, routes: &[Arc<Route>]) -> Result<Scenario, Problems> {
        read::scenario(file, text, Some(routes))
    }

    /// Names of the scenarios that are compiled in, oldest incident first.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The text of a scenario that is compiled in.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// A scenario that is compiled in.
    pub fn builtin(name: &str) -> Option<Scenario> {
        let text = Self::builtin_text(name)?;
        Some(Self::parse(Path::new(name), text).expect("a test reads every scenario that is compiled in"))
    }

    /// When it ends.
    pub fn ends_at(&self) -> Timestamp {
        self.start.plus(self.lasts)
    }

    /// Whether two label sets cover the same of its routes: then they are one suspect.
    pub fn covers_same(&self, a: &LabelSet, b: &LabelSet) -> bool {
        covers_same(&self.routes, a, b)
    }
}

/// Whether two label sets cover the same of these routes.
pub fn covers_same(routes: &[Arc<Route>], a: &LabelSet, b: &LabelSet) -> bool {
    let (a, b) = (Selector::new(a.iter().cloned()), Selector::new(b.iter().cloned()));
    routes.iter().all(|route| a.covers(route) == b.covers(route))
}

/// A problem with a file as a whole.
fn whole(file: &Path, what: String) -> Problem {
    Problem { file: file.to_owned(), place: None, what, hint: None }
}

#[cfg(test)]
mod tests;

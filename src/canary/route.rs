//! Routes: the paths that results travel, and the labels by which faults are named.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::{CanaryName, LabelName, PlatformName, TargetName};

/// How Result Output writes into a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rows are added.
    Append,
    /// The table is replaced as a whole.
    Replace,
    /// The table is emptied, then filled; its schema stays.
    Truncate,
    /// Rows are updated by key.
    Update,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 4] = [Mode::Append, Mode::Replace, Mode::Truncate, Mode::Update];

    /// The name in config, metrics and URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Append => "append",
            Mode::Replace => "replace",
            Mode::Truncate => "truncate",
            Mode::Update => "update",
        }
    }

    /// Whether an earlier run's rows must be gone once ours are there.
    pub fn displaces(self) -> bool {
        self != Mode::Append
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a mode; modes are append, replace, truncate, update"))
    }
}

/// A route's stable number: a hash of canary, platform, target and mode. The same over restarts,
/// reloads and agents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteId(pub u64);

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Labels in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Labels(Arc<[(LabelName, Arc<str>)]>);

impl Labels {
    /// Keeps the order; a later label of the same name replaces the value of the earlier one.
    pub fn new(pairs: impl IntoIterator<Item = (LabelName, Arc<str>)>) -> Self {
        let mut kept: Vec<(LabelName, Arc<str>)> = Vec::new();
        for (name, value) in pairs {
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some(pair) => pair.1 = value,
                None => kept.push((name, value)),
            }
        }
        Self(kept.into())
    }

    /// Name and value, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// Name and value as they are kept, to share them.
    pub fn pairs(&self) -> &[(LabelName, Arc<str>)] {
        &self.0
    }

    /// The value of one label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// One path that results travel: canary × platform × target × mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Hash of the four names below.
    pub id: RouteId,
    /// What is sent.
    pub canary: CanaryName,
    /// Who runs it.
    pub platform: PlatformName,
    /// Where it must land.
    pub target: TargetName,
    /// How it is written.
    pub mode: Mode,
    /// The user's labels: the platform's, then the target's, then the canary's.
    pub labels: Labels,
}

impl Route {
    /// A route with its id.
    pub fn new(canary: CanaryName, platform: PlatformName, target: TargetName, mode: Mode, labels: Labels) -> Self {
        let id = RouteId(fnv1a([canary.as_str(), platform.as_str(), target.as_str(), mode.as_str()]));
        Self { id, canary, platform, target, mode, labels }
    }

    /// Everything a fault can be named by, in the order in which suspects are written: the user's
    /// labels, then target, mode, platform, canary.
    pub fn facets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().chain([
            ("target", self.target.as_str()),
            ("mode", self.mode.as_str()),
            ("platform", self.platform.as_str()),
            ("canary", self.canary.as_str()),
        ])
    }

    /// The value of a facet by name; the built-in four win over labels of the same name.
    pub fn facet(&self, name: &str) -> Option<&str> {
        match name {
            "target" => Some(self.target.as_str()),
            "mode" => Some(self.mode.as_str()),
            "platform" => Some(self.platform.as_str()),
            "canary" => Some(self.canary.as_str()),
            label => self.labels.get(label),
        }
    }
}

impl fmt::Display for Route {
    /// `canary/platform/target/mode`, for logs and people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.canary, self.platform, self.target, self.mode)
    }
}

/// FNV-1a over the parts with a separator that names cannot contain. Written here because the
/// standard hasher may change between releases, and a route's id must not.
fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.into_iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let label = |n: &str, v: &str| (LabelName::new(n).expect("valid"), v.into());
        Route::new(
            CanaryName::new("result-output").expect("valid"),
            PlatformName::new("hadoop1").expect("valid"),
            TargetName::new("web").expect("valid"),
            Mode::Append,
            Labels::new([label("worker", "v5"), label("engine", "hive")]),
        )
    }

    #[test]
    fn a_route_keeps_its_id_over_releases() {
        // Table names at targets contain it: if this number changes, tables are orphaned.
        assert_eq!(route().id.to_string(), "5d55636941f9e5ec");
    }

    #[test]
    fn facets_come_in_file_order_and_built_ins_last() {
        let names: Vec<String> = route().facets().map(|(n, _)| n.to_owned()).collect();
        assert_eq!(names, ["worker", "engine", "target", "mode", "platform", "canary"]);
    }
}

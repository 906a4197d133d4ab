//! A place: what is known of where something happens, so that a fault's `where` can be asked.

use crate::canary::{CanaryName, Labels, Mode, PlatformName, Route, Selector, TargetName};

/// A platform, a target, or a path between them, as far as it is known. An API call that names no
/// job has no target; the HTTP door never learns the canary. What is not known is not covered by a
/// `where` that names it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    platform: Option<PlatformName>,
    labels: Labels,
    target: Option<TargetName>,
    mode: Option<Mode>,
    canary: Option<CanaryName>,
    stream: u64,
}

impl Place {
    /// A platform, before any job is known.
    pub fn platform(name: PlatformName, labels: Labels) -> Self {
        Self { platform: Some(name), labels, ..Self::default() }.numbered()
    }

    /// A target as the agent meets it, without any platform.
    pub fn target(name: TargetName, labels: Labels) -> Self {
        Self { target: Some(name), labels, ..Self::default() }.numbered()
    }

    /// A job of this platform that delivers to a target.
    pub fn with_job(mut self, target: TargetName, mode: Mode) -> Self {
        self.target = Some(target);
        self.mode = Some(mode);
        self.numbered()
    }

    /// The target, if it is known.
    pub fn target_name(&self) -> Option<&TargetName> {
        self.target.as_ref()
    }

    /// The platform, if it is known.
    pub fn platform_name(&self) -> Option<&PlatformName> {
        self.platform.as_ref()
    }

    /// The number of this place's own dice: what happens elsewhere does not change its throws.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    /// The value of a facet, as [`Route::facet`] would give it.
    pub fn facet(&self, name: &str) -> Option<&str> {
        match name {
            "target" => self.target.as_ref().map(TargetName::as_str),
            "mode" => self.mode.map(Mode::as_str),
            "platform" => self.platform.as_ref().map(PlatformName::as_str),
            "canary" => self.canary.as_ref().map(CanaryName::as_str),
            label => self.labels.get(label),
        }
    }

    /// Whether every pair of the selector is known to hold here.
    pub fn is_covered_by(&self, selector: &Selector) -> bool {
        selector.pairs().iter().all(|(name, value)| self.facet(name) == Some(value))
    }

    /// FNV-1a over the names; labels are left out, so that a relabelled world throws the same dice.
    fn numbered(mut self) -> Self {
        let mode = self.mode.map_or("", Mode::as_str);
        let parts = [self.facet("canary"), self.facet("platform"), self.facet("target"), Some(mode)];
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in parts.iter().flat_map(|part| part.unwrap_or_default().bytes().chain([0])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.stream = hash;
        self
    }
}

impl From<&Route> for Place {
    fn from(route: &Route) -> Self {
        Self {
            platform: Some(route.platform.clone()),
            labels: route.labels.clone(),
            target: Some(route.target.clone()),
            mode: Some(route.mode),
            canary: Some(route.canary.clone()),
            stream: route.id.0,
        }
    }
}

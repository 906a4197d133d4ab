//! How a case was before it was opened again: the new runs may turn out to be another fault's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Case, Hit, pairs};
use crate::{
    canary::{Family, Timestamp},
    detect::{
        incident::Incident,
        suspects::{Field, Places},
    },
};

/// How a case stood when it was over, kept while it is open again: the new runs may turn out to be
/// another fault's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// As it was told.
    pub incident: Incident,
    /// What its suspects covered.
    pub covers: Places,
    /// It hit every run, so that what it is now can be told from what it was.
    pub was_total: bool,
    /// When the first run of the new opening was hit.
    pub until: Timestamp,
    /// What the runs of the new opening change.
    #[serde(default)]
    pub kept: Option<Kept>,
}

impl Before {
    /// Routes have other indices now; those that have none are gone.
    pub fn move_to(&mut self, field: &Field, moved: &HashMap<u32, u32>) {
        self.covers = field.covered(&self.incident.suspects);
        if let Some(kept) = &mut self.kept {
            let hit = std::mem::take(&mut kept.hit).into_iter();
            kept.hit = hit.filter_map(|(at, hit)| Some((*moved.get(&at)?, hit))).collect();
        }
    }
}

/// What a case has learned from its runs, as it was when it was over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(with = "pairs")]
    hit: BTreeMap<u32, Hit>,
    families: BTreeSet<Family>,
    longest_pause: Duration,
    told_again_at: Option<Timestamp>,
    effect: (Timestamp, Timestamp),
    last_hit: Timestamp,
    turns_after: Duration,
}

impl Kept {
    /// Of a case that is over.
    pub fn of(case: &Case) -> Self {
        Self {
            hit: case.hit.clone(),
            families: case.families.clone(),
            longest_pause: case.longest_pause,
            told_again_at: case.told_again_at,
            effect: case.effect,
            last_hit: case.last_hit,
            turns_after: case.turns_after,
        }
    }

    /// To the case.
    pub fn give_back(self, case: &mut Case) {
        case.hit = self.hit;
        case.families = self.families;
        case.longest_pause = self.longest_pause;
        case.told_again_at = self.told_again_at;
        (case.effect, case.last_hit, case.turns_after) = (self.effect, self.last_hit, self.turns_after);
    }
}

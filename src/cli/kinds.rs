//! Kinds: every kind of platform, target and notifier that a config may name. A new kind is its
//! file, its `mod` line and one row here.

use std::sync::Arc;

use crate::{
    config::{Kind, Kinds, NoNotifier},
    platform::{Platform, treasure_data},
    target::{
        Target,
        webhook::{self, Intake},
    },
};

/// The kinds of this Landfall. Webhook targets are opened on `intake`.
pub fn kinds(intake: &Arc<Intake>) -> Kinds<'_, Arc<dyn Platform>, Arc<dyn Target>, NoNotifier> {
    Kinds {
        platforms: vec![Kind::new("treasure-data", treasure_data::MODES, treasure_data::open)],
        targets: vec![Kind::new("webhook", webhook::MODES, |opening| webhook::open(opening, intake))],
        notifiers: vec![],
    }
}

//! Kinds: every kind of platform, target and notifier that a config may name. A new kind is its
//! file, its `mod` line and one row here.

use std::sync::Arc;

use crate::{
    config::{Kind, Kinds, NoNotifier},
    platform::{Platform, treasure_data},
    target::Target,
};

/// The kinds of this Landfall.
pub fn kinds() -> Kinds<'static, Arc<dyn Platform>, Arc<dyn Target>, NoNotifier> {
    Kinds {
        platforms: vec![Kind::new("treasure-data", treasure_data::MODES, treasure_data::open)],
        targets: vec![],
        notifiers: vec![],
    }
}

//! Kinds: every kind of platform, target and notifier that a config may name. A new kind is its
//! file, its `mod` line and one row here.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use crate::{
    agent::{clock::Clock, lifecycle::OpenPlan},
    config::{self, Kind, Kinds, Options, Problem, Problems},
    notify::{self, Notifier},
    platform::{Platform, hiveserver2, http_job, treasure_data, trino},
    target::{
        Target, mysql, object_store, postgresql, sftp, treasure_data_table,
        webhook::{self, Intake},
    },
};

/// The kinds of this Landfall. Webhook targets are doors of the agent's own intake.
pub fn kinds(intake: &Arc<Intake>) -> Kinds<'_, Arc<dyn Platform>, Arc<dyn Target>, Arc<dyn Notifier>> {
    Kinds {
        platforms: vec![
            Kind::new::<treasure_data::Table>("treasure-data", treasure_data::MODES, treasure_data::open)
                .keeping_a_diary(),
            Kind::new::<hiveserver2::Table>("hiveserver2", hiveserver2::MODES, hiveserver2::open)
                .naming_outputs()
                .keeping_a_diary(),
            Kind::new::<http_job::Keys>("http-job", http_job::MODES, http_job::open).naming_outputs_if_given(),
            Kind::new::<trino::Table>("trino", trino::MODES, trino::open).naming_outputs().keeping_a_diary(),
        ],
        targets: vec![
            Kind::new::<mysql::Keys>("mysql", mysql::MODES, mysql::open).landing(mysql::SCHEMES, mysql::EXAMPLE),
            Kind::new::<object_store::Keys>("object-store", object_store::MODES, object_store::open)
                .landing(object_store::SCHEMES, object_store::EXAMPLE),
            Kind::new::<postgresql::Keys>("postgresql", postgresql::MODES, postgresql::open)
                .landing(postgresql::SCHEMES, postgresql::EXAMPLE),
            Kind::new::<sftp::Keys>("sftp", sftp::MODES, sftp::open).landing(sftp::SCHEMES, sftp::EXAMPLE),
            Kind::new::<treasure_data_table::Keys>(
                "treasure-data-table",
                treasure_data_table::MODES,
                treasure_data_table::open,
            )
            .landing(treasure_data_table::SCHEMES, treasure_data_table::EXAMPLE),
            Kind::new::<webhook::Keys>("webhook", webhook::MODES, |opening| webhook::open(opening, intake))
                .landing(webhook::SCHEMES, webhook::EXAMPLE),
        ],
        notifiers: vec![
            Kind::new::<notify::alertmanager::Keys>("alertmanager", &[], notify::alertmanager::open),
            Kind::new::<notify::email::Keys>("email", &[], notify::email::open),
            Kind::new::<notify::pagerduty::Keys>("pagerduty", &[], notify::pagerduty::open),
            Kind::new::<notify::webhook::Keys>("webhook", &[], notify::webhook::open),
        ],
    }
}

/// Reads a config with the kinds of this Landfall.
pub fn load(path: &Path, intake: &Arc<Intake>, without_secrets: bool) -> Result<OpenPlan, Problems> {
    config::load(path, &kinds(intake), Options { without_secrets, now: Clock::System.now() })
}

/// Says on stderr all that is wrong with a config.
pub fn complain(problems: &[Problem]) {
    let n = problems.len();
    // Whoever closed stderr does not want to know.
    let _ = writeln!(
        io::stderr(),
        "{}\n\n{n} {} in the config",
        text(problems),
        if n == 1 { "mistake" } else { "mistakes" }
    );
}

/// All that is wrong with a config.
pub fn text(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

//! MySQL and MariaDB, on a real MariaDB: the driver by itself, and the whole line from the sandbox's HTTP
//! door, which is healthy throughout, by the server, which has its own way with rows, to the agent.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

mod access;
#[cfg(feature = "sandbox")]
mod blind;
mod driver;
#[cfg(feature = "sandbox")]
mod read_only;
#[cfg(feature = "sandbox")]
mod rows;
mod tidy;

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{Run, Sighting},
    target::{Target, mysql::MySql},
};

use crate::fixtures::{
    mariadb::{Database, MariaDb, create, insert, is_left_out},
    rows::values,
};

/// A fresh database; none where MariaDB was left out.
async fn database() -> Option<Arc<Database>> {
    if is_left_out() { None } else { Some(Arc::new(MariaDb::shared().database().await)) }
}

fn target(database: &Database) -> MySql {
    MySql::at(&database.agent(), &database.platform(), "canary", Duration::from_secs(5)).unwrap()
}

/// The platform writes a run's rows as it should.
async fn land(database: &Database, run: &Run) {
    database.sql(&format!("{}; {}", create("canary"), insert("canary", &values(run)))).await;
}

async fn look(target: &MySql, run: &Arc<Run>) -> Sighting {
    target.look(std::slice::from_ref(run)).await.unwrap().remove(0)
}

fn counts(seen: &Sighting) -> (u32, u32, u32, u32) {
    (seen.rows.right, seen.rows.missing, seen.rows.copies, seen.rows.changed)
}

//! A MySQL or MariaDB table as a target.
//!
//! MySQL 8.0 or newer, MariaDB 10.2 or newer. The agent needs SELECT on the database, DELETE on the
//! canary's tables to sweep, and either CREATE on the database or a
//! `NAME__control (marker varchar(28) primary key, at datetime)` with SELECT, INSERT and DELETE; with
//! `control = "read"` it needs SELECT alone. A look reads the whole table unless `marker` has an index:
//! `CREATE INDEX landfall ON NAME (marker)` helps, on a table whose `marker` is a VARCHAR.
//!
//! A DATETIME has no zone: it is taken for UTC. A platform that writes local times shows as `corrupted`.

mod control;
mod outlet;
mod place;
mod reading;
mod session;
mod sweep;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

pub use outlet::Outlet;
pub use place::{Place, PlaceError, Tables};
use session::Connections;

use super::{ControlBy, Swept, Target, TargetError, shapes::Shapes};
use crate::{
    canary::{Address, Mode, Run, Secret, Sighting, Timestamp},
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order},
    http::Wire,
};

/// Every way of writing that the platform's MySQL output knows.
pub const MODES: &[Mode] = &Mode::ALL;

/// What leads into it.
pub const SCHEMES: &[&str] = &["mysql", "mariadb"];

/// Its table with all that has to be filled in.
pub const EXAMPLE: &str = r#"[target.NAME.mysql]
url        = { env = "LANDFALL_ENV_URL" }          # how the agent reads: mysql://USER:PASSWORD@HOST:PORT/DATABASE
result_url = { env = "LANDFALL_ENV_RESULT_URL" }   # how the platform writes
table      = "landfall_canary"
"#;

/// Longest a statement may take: a canary's table is read in milliseconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// A server needs some time.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// The agent gives a look 20 s; connecting needs its share of them.
const MOST_PATIENCE: Duration = Duration::from_secs(12);

/// A table of MySQL or MariaDB.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Keys {
    /// How the agent reads: `mysql://USER:PASSWORD@HOST:PORT/DATABASE`.
    url: Spanned<SecretSource>,
    /// How the platform writes, with less access. Absent: as the agent reads.
    result_url: Option<Spanned<SecretSource>>,
    /// The canary's own table; made if it is not there.
    table: Spanned<String>,
    /// Longest that a statement may take, from 100ms to 12s.
    #[schemars(extend("default" = Length(PATIENCE), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
    /// How the agent proves that it can see.
    #[serde(default)]
    control: ControlBy,
}

/// Opens `[target.NAME.mysql]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Target>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let mut problems = Problems::new();
    let mut note = |at: std::ops::Range<usize>, what: String, hint: Option<&str>| {
        problems.push(opening.section.problem(at, what, hint.map(str::to_owned)));
    };
    let patience = match keys.timeout.as_ref() {
        None => PATIENCE,
        Some(written) => {
            let Length(patience) = *written.get_ref();
            if !(LEAST_PATIENCE..=MOST_PATIENCE).contains(&patience) {
                note(written.span(), "`timeout` is out of bounds".to_owned(), Some("write \"100ms\" to \"12s\""));
            }
            patience
        }
    };
    let tables = Tables::new(keys.table.get_ref()).map_err(|error| note(keys.table.span(), error.to_string(), None));
    // A placeholder is no URL: nothing of it can be checked, and something must stand there.
    let read = |source: &Spanned<SecretSource>| match opening.secret(source) {
        Ok(_) if opening.without_secrets => Ok(Secret::new("mysql://landfall@127.0.0.1/landfall")),
        read => read,
    };
    let url = read(&keys.url);
    let result_url = keys.result_url.as_ref().map(read).transpose();
    let place = match &url {
        Ok(url) => Place::new(url, opening.wire)
            .map_err(|error| note(keys.url.span(), format!("`url` {error}"), Some(place::SHAPE)))
            .ok(),
        Err(_) => None,
    };
    let outlet = match (&result_url, &url) {
        (Ok(Some(result_url)), _) => Outlet::new(result_url).map_err(|error| {
            let at = keys.result_url.as_ref().map_or_else(|| keys.url.span(), Spanned::span);
            note(at, format!("`result_url` {error}"), Some(place::SHAPE));
        }),
        (Ok(None), Ok(url)) if place.is_some() => {
            Outlet::new(url).map_err(|error| note(keys.url.span(), format!("`url` {error}"), Some(place::SHAPE)))
        }
        _ => Err(()),
    };
    problems.extend([url.err(), result_url.err()].into_iter().flatten());
    match (place, outlet, tables) {
        (Some(place), Ok(outlet), Ok(tables)) if problems.is_empty() => {
            Ok(Arc::new(MySql::new(place, outlet, tables, patience).controlled_by(keys.control)))
        }
        _ => Err(problems),
    }
}

/// A table, and the tables beside it that modes other than append and controls write to.
#[derive(Debug)]
pub struct MySql {
    connections: Connections,
    /// For tables that hold one route's rows: what is locked there keeps nobody else waiting.
    apart: Connections,
    outlet: Outlet,
    tables: Tables,
    shapes: Shapes,
    control: ControlBy,
}

impl MySql {
    /// A target that the agent reads at `place`, and platforms write to through `outlet`.
    pub fn new(place: Place, outlet: Outlet, tables: Tables, patience: Duration) -> Self {
        let connections = || Connections::new(place.clone(), patience);
        Self {
            connections: connections(),
            apart: connections(),
            outlet,
            tables,
            shapes: Shapes::default(),
            control: ControlBy::Write,
        }
    }

    /// Like [`new`](Self::new), from URLs.
    pub fn at(url: &str, result_url: &str, table: &str, patience: Duration) -> Result<Self, PlaceError> {
        let place = Place::new(&Secret::new(url), &Wire::default())?;
        Ok(Self::new(place, Outlet::new(&Secret::new(result_url))?, Tables::new(table)?, patience))
    }

    /// The same with controls of another kind.
    pub fn controlled_by(self, control: ControlBy) -> Self {
        Self { control, ..self }
    }
}

#[async_trait]
impl Target for MySql {
    fn address(&self, run: &Run) -> Address {
        self.outlet.address(&self.tables, run)
    }

    fn by_hand(&self, run: &Run) -> Option<String> {
        Some(self.connections.place().typed(&reading::by_hand(&self.tables, run)))
    }

    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let reading = reading::Reading { tables: &self.tables, shapes: &self.shapes, runs };
        let all_apart = runs.iter().all(|run| self.apart(run).is_some());
        let connections = if all_apart { &self.apart } else { &self.connections };
        for _ in 0..2 {
            if let Some(sightings) = connections.run(&reading).await? {
                return Ok(sightings);
            }
            // A table went away between being found and being read; what is there now?
        }
        Err(TargetError::Unreachable { detail: "tables come and go while they are read".to_owned() })
    }

    fn apart(&self, run: &Run) -> Option<String> {
        let table = self.tables.of(run);
        (table != self.tables.name()).then_some(table)
    }

    async fn control(&self) -> Result<(), TargetError> {
        self.control_since(Timestamp::EPOCH).await
    }

    async fn control_since(&self, since: Timestamp) -> Result<(), TargetError> {
        match self.control {
            ControlBy::Write => self.connections.run(&control::Proof { tables: &self.tables }).await,
            ControlBy::Read => self.connections.run(&control::Trace { tables: &self.tables, since }).await,
        }
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        match self.control {
            ControlBy::Write => sweep::sweep(&self.connections, &self.tables, older_than).await,
            // Whoever may only read removes nothing: whoever lends the table has to.
            ControlBy::Read => Ok(Swept::default()),
        }
    }
}

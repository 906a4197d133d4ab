//! A Treasure Data table as a target: Result Output of kind `td://`, read back through the platform's API.
//!
//! A read is a query job on `engine`: choose another than the one whose output is watched, so that a broken
//! engine does not read its own work. One job reads for all runs that wait, whatever their tables. It takes
//! the seconds that a job takes there, which is why [`Target::patience`] is longer here than elsewhere.
//!
//! The key needs queries on `database`; to prove the table with rows of its own (`control = "write"`), also
//! making and importing into `NAME__control`; to sweep, the right to delete rows. With `control = "read"` it
//! reads back rows of runs that landed in the last ten minutes instead, and writes nothing.
//!
//! The API writes such tables in modes `append` and `replace`; it knows no other. What it cannot do either:
//! delete rows itself. The sweep is a `DELETE` job, once a day, which only Presto and Trino take.

mod control;
mod job;
mod reading;
mod settings;
mod sql;
mod sweep;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::settings::Keys;
use self::{settings::Settings, sql::Shape};
use super::{Swept, Target, TargetError, encoded, shell};
use crate::{
    canary::{Address, Marker, Mode, Run, Secret, Sighting, Timestamp, Why},
    config::{Opening, Problems},
    http::{Wire, WireError},
    treasure_data_api::{Api, ApiError},
};

/// What the API's own output can do.
pub const MODES: &[Mode] = &[Mode::Append, Mode::Replace];

/// What leads into it.
pub const SCHEMES: &[&str] = &["td", "treasure_data"];

/// Its table with all that has to be filled in.
pub const EXAMPLE: &str = r#"[target.NAME.treasure-data-table]
endpoint = "https://api.treasuredata.com"
api_key  = { env = "LANDFALL_ENV_KEY" }            # queries, and writes its own row into landfall_canary__control
database = "landfall"
table    = "landfall_canary"
engine   = "presto"                                # let another engine read than the one that writes
"#;

/// Longest wait for one answer of the API.
const CALL: Duration = Duration::from_secs(10);

/// Opens `[target.NAME.treasure-data-table]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Target>, Problems> {
    let settings = Settings::open(opening)?;
    match TreasureDataTable::new(settings, opening.wire) {
        Ok(driver) => Ok(Arc::new(driver)),
        Err(error) => Err(vec![opening.section.problem(opening.section.table.span(), error.to_string(), None)]),
    }
}

/// How the target proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Control {
    /// By a row that is written and read back.
    Write,
    /// By a row of an earlier run.
    Read,
}

impl Control {
    /// Unless the config says otherwise.
    const DEFAULT: Control = Control::Write;
}

/// A table, and those beside it.
struct TreasureDataTable {
    api: Api,
    settings: Settings,
    known: Mutex<Known>,
}

/// What this process has found out. None of it needs to outlive it.
#[derive(Default)]
struct Known {
    /// Tables that are there with every column of a sample: they need not be asked for again.
    whole: BTreeMap<String, Shape>,
    /// The last run that was seen whole, its table, and when.
    landed: Option<(Marker, String, Instant)>,
    /// When old rows were last removed.
    swept: Option<Instant>,
}

impl TreasureDataTable {
    /// A driver. Touches no network.
    fn new(settings: Settings, wire: &Wire) -> Result<Self, WireError> {
        let (endpoint, authorization) = (settings.endpoint.clone(), settings.authorization.clone());
        let api = Api::new(wire.client()?, endpoint, &settings.api_key, authorization, CALL);
        Ok(Self { api, settings, known: Mutex::default() })
    }

    /// Never held across an await.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table that a run writes to.
    fn table_of(&self, run: &Run) -> String {
        let (name, verify) = (&self.settings.table, if run.why == Why::Verify { "__verify" } else { "" });
        match run.route.mode.displaces() {
            true => format!("{name}__{}{verify}", run.route.id),
            false => name.clone(),
        }
    }

    fn control_table(&self) -> String {
        format!("{}__control", self.settings.table)
    }
}

#[async_trait]
impl Target for TreasureDataTable {
    fn address(&self, run: &Run) -> Address {
        let (table, mode) = (self.table_of(run), run.route.mode);
        let rest = format!("@/{}/{table}?mode={mode}", self.settings.database);
        let key = self.settings.result_api_key.as_ref().map(|key| encoded(key.reveal())).unwrap_or_default();
        let shown = if key.is_empty() { "" } else { "…" };
        Address {
            url: Secret::new(format!("td://{key}{rest}")),
            shown: format!("td://{shown}{rest}"),
            place: table,
            mode,
        }
    }

    fn patience(&self) -> Duration {
        self.settings.timeout
    }

    fn by_hand(&self, run: &Run) -> Option<String> {
        let (database, engine) = (self.settings.database.as_str(), self.settings.engine.as_str());
        let command = ["td", "query", "-w", "-d", database, "-T", engine, "-q", "/dev/stdin"];
        Some(shell::fed(&command, &self.query_by_hand(run)))
    }

    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        self.read(runs, self.due()).await
    }

    /// Each is a job of the customer's cluster.
    fn parts_reads(&self) -> bool {
        false
    }

    async fn control(&self) -> Result<(), TargetError> {
        match self.settings.control {
            Control::Write => self.prove_by_writing(self.due()).await,
            Control::Read => self.prove_by_reading(self.due()).await,
        }
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        self.remove_old(older_than).await
    }
}

impl From<ApiError> for TargetError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied(detail) => Self::Denied { detail },
            ApiError::Nonsense(detail) => Self::Nonsense { detail },
            ApiError::Unreachable { detail, .. } => Self::Unreachable { detail },
            error @ (ApiError::Refused(_) | ApiError::Throttled(_) | ApiError::Broken(_)) => {
                Self::Unreachable { detail: error.to_string() }
            }
        }
    }
}

impl fmt::Debug for TreasureDataTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreasureDataTable")
            .field("endpoint", &self.settings.endpoint.as_str())
            .field("database", &self.settings.database)
            .field("table", &self.settings.table)
            .field("engine", &self.settings.engine)
            .finish_non_exhaustive()
    }
}

//! Controls: proof that the table and our eyes work, by a row of our own, or by a run's.

use std::time::Duration;

use rmpv::Value as Pack;
use serde_json::json;
use tokio::time::Instant;

use super::TreasureDataTable;
use crate::{
    canary::{Marker, Timestamp},
    target::{TargetError, unproven},
    treasure_data_api::{Answer, Load, Reply, mapped, packed},
};

/// A run that landed longer ago proves nothing of now.
const FRESH: Duration = Duration::from_secs(600);
/// Pauses before a row is read back: an import is taken at once, and visible some moments later. Each
/// reading is a job.
const PAUSES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(20)];
/// Room for the answer.
const ROOM: usize = 64 * 1024;
/// `time` of control rows whose server does not say what time it is.
const SOME_TIME: Timestamp = Timestamp::from_secs(1_440_452_640);

impl TreasureDataTable {
    /// Writes a row the way Result Output does, by an import, and reads it back.
    pub(super) async fn prove_by_writing(&self, due: Instant) -> Result<(), TargetError> {
        let table = self.control_table();
        let at = self.control_table_is_there(&table).await?;
        // Minted at the epoch: never a run's marker.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..)).to_string();
        let row = vec![("time", Pack::from(at.as_millis().div_euclid(1000))), ("marker", Pack::from(marker.as_str()))];
        let id = crate::treasure_data_api::hex(marker.as_bytes());
        self.api.import(&self.settings.database, &table, &id, packed(&mapped([row]))).await?;
        let sql = format!("SELECT COUNT(1) AS found FROM {table} WHERE marker = '{marker}'");
        for pause in PAUSES {
            if Instant::now() + pause >= due {
                break;
            }
            tokio::time::sleep(pause).await;
            match count(&self.ask(&sql, ROOM, due).await?) {
                Some(0) => {}
                Some(1) => return Ok(()),
                Some(found) => {
                    let detail = format!("one control row was written and {found} are there");
                    return Err(TargetError::Nonsense { detail });
                }
                None => return Err(TargetError::Nonsense { detail: "the answer to a count is no number".to_owned() }),
            }
        }
        Err(TargetError::Unreachable { detail: "a control row was taken, and could not be seen in time".to_owned() })
    }

    /// Makes the table of controls if there is none. Answers the server's time.
    async fn control_table_is_there(&self, table: &str) -> Result<Timestamp, TargetError> {
        let database = &self.settings.database;
        let shown = match self.api.get(&["table", "show", database, table]).await? {
            Reply::Missing(_) => {
                match self.api.post(&["table", "create", database, table, "log"], Load::Nothing).await? {
                    // Another agent made it meanwhile.
                    Reply::Conflict { .. } => {}
                    Reply::Missing(detail) => return Err(TargetError::Unreachable { detail }),
                    reply => drop(reply.done()?),
                }
                self.api.get(&["table", "show", database, table]).await?.done()?
            }
            reply => reply.done()?,
        };
        let Answer { json: shown, at } = shown;
        // Declared, since a text of digits could be taken for a number.
        if !shown["schema"].as_str().is_some_and(|schema| schema.contains("\"marker\"")) {
            let schema = json!([["marker", "string"]]).to_string();
            let path = ["table", "update-schema", database, table];
            self.api.post(&path, Load::Form(&[("schema", schema.as_str())])).await?.done()?;
        }
        Ok(at.unwrap_or(SOME_TIME))
    }

    /// Reads back a row of a run that landed a short time ago, or of a later one in its place.
    pub(super) async fn prove_by_reading(&self, due: Instant) -> Result<(), TargetError> {
        let landed = self.known().landed.clone().filter(|(_, _, at)| at.elapsed() < FRESH);
        // That nothing is there to be read back says nothing against the target: it may be what was lost.
        let Some((marker, table, _)) = landed else { return Err(unproven()) };
        let sql = format!("SELECT COUNT(1) AS found FROM {table} WHERE marker >= '{marker}'");
        match count(&self.ask(&sql, ROOM, due).await?) {
            Some(1..) => Ok(()),
            Some(0) => Err(unproven()),
            None => Err(TargetError::Nonsense { detail: "the answer to a count is no number".to_owned() }),
        }
    }
}

/// The one number of a result.
fn count(text: &str) -> Option<u64> {
    let [number] = serde_json::from_str::<[u64; 1]>(text.trim()).ok()?;
    Some(number)
}

//! The sweep: canary rows past their time, once a day, by jobs that delete.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;
use tokio::time::Instant;

use super::{
    TreasureDataTable,
    sql::{self, Shape, Swath},
};
use crate::{
    canary::{Marker, Timestamp, sample::COLUMNS},
    target::{Swept, TargetError},
    treasure_data_api::{Engine, Reply},
};

/// Sweeps cost jobs, and a day more of rows costs nothing.
const EVERY: Duration = Duration::from_secs(23 * 3600);
/// The agent gives a sweep a minute.
const PATIENCE: Duration = Duration::from_secs(55);
/// Most tables that are looked through in one sweep, by one job.
const TABLES: usize = 200;
/// Most markers that it finds: a day of fourteen routes every minute.
const MARKERS: usize = 20_000;
/// Most markers of one job that deletes: a query has at most a million characters.
const AT_ONCE: usize = 5000;
/// Most jobs that delete in one sweep; the next one goes on.
const DELETES: usize = 20;
/// Room for the markers.
const ROOM: usize = 4 << 20;

impl TreasureDataTable {
    /// Removes rows of runs minted before a time, and old controls: those whose markers were read, and are
    /// markers to the last character.
    pub(super) async fn remove_old(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        if self.known().swept.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(Swept::default());
        }
        let due = Instant::now() + PATIENCE;
        let json = match self.api.get(&["table", "list", &self.settings.database]).await? {
            Reply::Missing(_) => return Ok(Swept::default()),
            reply => reply.done()?.json,
        };
        let swaths = self.ours(&json);
        if swaths.is_empty() {
            return Ok(Swept::default());
        }
        // Hive reads, and deletes nothing.
        let engine = if self.settings.engine == Engine::Trino { Engine::Trino } else { Engine::Presto };
        let most = (MARKERS / swaths.len()).max(1);
        let id = self.run(&sql::old_markers(&swaths, older_than, most), engine, due).await?;
        let found = self.api.rows(&id, ROOM).await?.unwrap_or_default();
        let mut old: BTreeMap<usize, Vec<(Marker, u64)>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&found).lines().filter(|line| !line.trim().is_empty()) {
            let (n, marker, rows): (usize, String, u64) = serde_json::from_str(line)
                .map_err(|_| TargetError::Nonsense { detail: "the list of old rows cannot be read".to_owned() })?;
            // What only begins like a marker is not ours.
            if let Ok(marker) = marker.parse() {
                old.entry(n).or_default().push((marker, rows));
            }
        }
        let all_seen = swaths.len() < TABLES && old.values().all(|markers| markers.len() < most);
        let (mut removed, mut deletes) = (0, 0);
        for (n, markers) in &old {
            let Some(swath) = swaths.get(*n) else { continue };
            for some in markers.chunks(AT_ONCE) {
                if deletes == DELETES {
                    return Ok(Swept { removed });
                }
                deletes += 1;
                let named: Vec<Marker> = some.iter().map(|(marker, _)| *marker).collect();
                self.run(&swath.delete(&named, older_than), engine, due).await?;
                removed += some.iter().map(|(_, rows)| rows).sum::<u64>();
            }
        }
        if all_seen {
            self.known().swept = Some(Instant::now());
        }
        Ok(Swept { removed })
    }

    /// Which tables are this target's: by name, and by having a canary's columns.
    fn ours(&self, list: &Json) -> Vec<Swath> {
        let tables = list["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = tables.iter().filter_map(|table| {
            let name = table["name"].as_str()?;
            let shape = Shape::of(table, &COLUMNS);
            let swath = |is_control| Some(Swath { table: name.to_owned(), is_control });
            match name.strip_prefix(&self.settings.table)? {
                "__control" if shape.names().any(|column| column == "marker") => swath(true),
                ending if is_ours(ending) && shape.is_a_canarys() => swath(false),
                _ => None,
            }
        });
        ours.take(TABLES).collect()
    }
}

/// Nothing, or a route's hash, and perhaps `__verify`.
fn is_ours(ending: &str) -> bool {
    let Some(hash) = ending.strip_prefix("__") else { return ending.is_empty() };
    let hash = hash.strip_suffix("__verify").unwrap_or(hash);
    hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_endings_that_landfall_gives_are_ours() {
        for ours in ["", "__0123456789abcdef", "__0123456789abcdef__verify"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["_old", "__", "__0123456789abcde", "__0123456789ABCDEF", "__0123456789abcdef__old", "2"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}

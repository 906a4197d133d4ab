//! The control: a file of the agent's own, written and read back; or a row of a run that landed a short
//! while ago, where the agent may only read.

use super::{Files, Object, PAGE, Shelf, layout::unfinished};
use crate::{
    canary::{
        Cell, Marker, Timestamp,
        sample::{COLUMNS, MIX_STEP},
    },
    target::{TargetError, decode, unproven},
};

/// Files that are opened in search of a row.
const MOST_OPENED: usize = 5;
/// Bytes read of each: a row is what is wanted, not all of them.
const ENOUGH: usize = 64 * 1024;

impl<S: Shelf> Files<S> {
    pub(super) async fn prove_by_writing(&self) -> Result<(), TargetError> {
        // Minted at the epoch: never a run's marker.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..)).to_string();
        let key = format!("{}{marker}", self.prefix.control());
        self.shelf.write(&key, &marker).await?;
        let listed = self.shelf.list(&key, None, 1, &|_| false).await?.objects.pop();
        let found = match &listed {
            Some(object) => self.shelf.read(object, marker.len()).await?,
            None => None,
        };
        self.shelf.remove(vec![key]).await?;
        match found {
            Some(found) if found == marker.as_bytes() => Ok(()),
            Some(_) => Err(TargetError::Nonsense { detail: "a control object came back changed".to_owned() }),
            None => Err(TargetError::Nonsense { detail: "a control object was written and is not there".to_owned() }),
        }
    }

    /// Reads back a row of a run that is young enough.
    pub(super) async fn prove_by_reading(&self, since: Timestamp) -> Result<(), TargetError> {
        self.trust().await?;
        let oldest = Marker::mint(since, 0);
        let young = |key: &str| self.prefix.marker(key).is_some_and(|marker| marker >= oldest);
        // From the oldest that counts on; the newest are opened.
        let (folder, mut after) = (self.prefix.folder(), self.prefix.before(oldest));
        let mut newest: Vec<Object> = Vec::new();
        loop {
            let page = self.shelf.list(&folder, Some(&after), PAGE, &young).await?;
            let Some(last) = page.objects.last().map(|object| object.key.clone()) else { break };
            newest.extend(page.objects.into_iter().filter(|object| young(&object.key) && whole(object, &folder)));
            newest.drain(..newest.len().saturating_sub(MOST_OPENED));
            after = last;
            if !page.more {
                break;
            }
        }
        // Paths that are written over are called after routes, not runs: what is in them tells.
        let beside = self.prefix.beside();
        let ours = |key: &str| key.strip_prefix(&beside).is_some_and(is_a_routes);
        let mut replaced = self.shelf.list(&beside, None, PAGE, &ours).await?.objects;
        replaced.retain(|object| ours(&object.key) && whole(object, &beside));
        replaced.sort_by_key(|object| object.modified);
        replaced.drain(..replaced.len().saturating_sub(MOST_OPENED));
        for object in newest.iter().chain(&replaced).rev() {
            if self.has_a_row(object, oldest).await? {
                return Ok(());
            }
        }
        Err(unproven())
    }

    /// Whether there is a row in a file that some run's sample has, from a run no older than this.
    async fn has_a_row(&self, object: &Object, oldest: Marker) -> Result<bool, TargetError> {
        let bytes = usize::try_from(object.size).unwrap_or(usize::MAX).min(ENOUGH);
        let Some(bytes) = self.shelf.read(object, bytes).await? else { return Ok(false) };
        let decoded = decode::file(&bytes, &COLUMNS, &self.dialect, 16 * ENOUGH, 100);
        Ok(decoded.rows.iter().any(|row| is_a_runs(row, oldest)))
    }
}

/// Whether a path beside the prefix is one that a route writes over: nothing else is ever opened.
fn is_a_routes(rest: &str) -> bool {
    let Some((folder, _)) = rest.split_once('/') else { return false };
    let id = folder.strip_suffix("__verify").unwrap_or(folder);
    id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

/// Whether a file is data that is whole.
fn whole(object: &Object, prefix: &str) -> bool {
    object.size > 0 && object.key.strip_prefix(prefix).is_some_and(|name| !unfinished(name))
}

/// Whether a row's marker, number and mix belong together: those that no sample does without.
fn is_a_runs(row: &[Cell], oldest: Marker) -> bool {
    let text = |name: &str| {
        let at = COLUMNS.iter().position(|column| column.name == name)?;
        match row.get(at)? {
            Cell::Text(text) => Some(text.clone()),
            Cell::Int(n) => Some(n.to_string()),
            _ => None,
        }
    };
    let found = (|| {
        let marker: Marker = text("marker")?.parse().ok()?;
        let n: u32 = text("row_no")?.trim().parse().ok()?;
        let mix: i64 = text("mix")?.trim().parse().ok()?;
        Some(marker >= oldest && mix == i64::from(n) * MIX_STEP + marker.salt())
    })();
    found.unwrap_or(false)
}

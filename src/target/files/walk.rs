//! Walking: a tree of folders as a shelf. What a store answers with one listing takes a visit to every
//! folder here, so only those are visited that may hold what is looked for.

use std::fmt;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Below, Object, Page, Shelf};
use crate::{
    canary::{Address, Marker, Mode, Timestamp},
    target::TargetError,
};

/// Folders below a prefix: engines write two or three deep.
const DEPTH: usize = 5;
/// Entries of all folders visited at once. One that is fuller is no canary's: they are swept.
const MOST_ENTRIES: usize = 200_000;
/// Files removed at once.
const AT_ONCE: usize = 16;

/// What stands in a folder.
#[derive(Clone, Debug)]
pub(in crate::target) struct Entry {
    pub(in crate::target) name: String,
    pub(in crate::target) what: What,
}

/// What an entry is. Links are not followed: they may lead anywhere.
#[derive(Clone, Debug)]
pub(in crate::target) enum What {
    Folder,
    File { size: u64, tag: Option<String>, modified: Option<Timestamp> },
    Other,
}

/// A tree of folders. Keys are paths below its root, without a slash at either end.
#[async_trait]
pub(in crate::target) trait Folders: Send + Sync + fmt::Debug {
    /// Where the platform writes a key, with options as its address spells them.
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address;

    /// What a person types to read every file whose path begins so.
    fn typed(&self, begins: &str) -> String;

    /// Schemes of addresses that lead to such places.
    fn schemes(&self) -> &'static [&'static str];

    /// All that stands in a folder, `most` at most; `None` if there is no such folder.
    async fn entries(&self, folder: &str, most: usize) -> Result<Option<Vec<Entry>>, TargetError>;

    /// The first bytes of a file as it was listed; `None` if it is gone.
    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError>;

    /// Writes a small file, and the folder it is in.
    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError>;

    /// Removes a file. One that is gone already is not an error.
    async fn remove(&self, key: &str) -> Result<(), TargetError>;

    /// Removes a folder if nothing is in it.
    async fn remove_folder(&self, folder: &str);
}

/// A tree of folders as a shelf.
#[derive(Debug)]
pub(in crate::target) struct Walk<F>(pub(in crate::target) F);

#[async_trait]
impl<F: Folders> Shelf for Walk<F> {
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address {
        self.0.address(key, options, mode)
    }

    fn typed(&self, begins: &str) -> String {
        self.0.typed(begins)
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }

    /// All that there is at once, whatever was asked for: a second page would cost as much as the first.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        _most: usize,
        below: Below<'_>,
    ) -> Result<Page, TargetError> {
        let top = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut folders = vec![(top.to_owned(), 0)];
        let mut objects = Vec::new();
        let mut left = MOST_ENTRIES;
        while let Some((folder, depth)) = folders.pop() {
            let Some(entries) = self.0.entries(&folder, left + 1).await? else { continue };
            left = left
                .checked_sub(entries.len())
                .ok_or_else(|| TargetError::Nonsense { detail: format!("there are more than {MOST_ENTRIES} files") })?;
            for Entry { name, what } in entries {
                // A server may answer with any name: one that leads elsewhere is nobody's.
                if name.contains(['/', '\0']) || [".", "..", ""].contains(&&*name) {
                    continue;
                }
                let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if !key.starts_with(prefix) {
                    continue;
                }
                match what {
                    What::Folder if depth < DEPTH && below(&format!("{key}/")) => folders.push((key, depth + 1)),
                    What::File { size, tag, modified } if after.is_none_or(|after| *key > *after) => {
                        objects.push(Object { key, size, tag, modified });
                    }
                    _ => {}
                }
            }
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Page { objects, more: false })
    }

    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError> {
        self.0.read(object, bytes).await
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError> {
        self.0.write(key, text).await
    }

    async fn remove(&self, keys: Vec<String>) -> Result<(), TargetError> {
        stream::iter(keys.clone())
            .map(|key| async move { self.0.remove(&key).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        // Deepest first. What is not empty stays.
        let mut folders: Vec<&str> = keys.iter().flat_map(|key| of_its_run(key)).collect();
        folders.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        folders.dedup();
        for folder in folders {
            self.0.remove_folder(folder).await;
        }
        Ok(())
    }
}

/// The folders of a run's own that a file is in: from the one that is called after it on.
fn of_its_run(key: &str) -> Vec<&str> {
    let ends: Vec<usize> = key.match_indices('/').map(|(at, _)| at).collect();
    let name = |end: usize| key[..end].rsplit('/').next().unwrap_or_default();
    let from = ends.iter().position(|end| holds_a_run(name(*end))).unwrap_or(ends.len());
    ends[from..].iter().map(|end| &key[..*end]).collect()
}

/// Whether a folder is called after a run.
fn holds_a_run(name: &str) -> bool {
    let name = name.trim_start_matches(['_', '.']);
    name.get(..Marker::LENGTH).is_some_and(|marker| marker.parse::<Marker>().is_ok())
}

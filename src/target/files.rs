//! Files: what an object store, an SFTP server and a folder have in common as targets. A run's rows
//! are in files named after its marker, or at a path of its route's own that is written over.

mod count;
mod layout;
mod proof;
mod recent;
mod walk;
mod written;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

pub use layout::{Prefix, PrefixError};
pub(in crate::target) use walk::{Entry, Folders, Walk, What};
pub(in crate::target) use written::{FORMAT, HEADER, Reading, Written};

use self::{count::Count, layout::unfinished, recent::Recent};
use super::{
    ControlBy, Stands, Swept, Target, TargetError,
    decode::{self, Decoded},
    dialect::Dialect,
};
use crate::canary::{Address, Carries, Marker, Mode, Run, Sighting, Tally, Timestamp, run::Columns};

/// The platform writes files: it adds one, or writes over one.
pub const MODES: &[Mode] = &[Mode::Append, Mode::Replace];

/// Longest look, control or step of a sweep: the agent gives them 20 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// Files read at once.
const AT_ONCE: usize = 8;
/// Files of one run, or under one replaced path, that are looked at. Engines write one per worker at
/// most.
const MOST_OBJECTS: usize = 1000;
/// Whether a prefix is a canary's is asked again after this.
const TRUSTED: Duration = Duration::from_secs(60);
/// Files from the start of the prefix by which that is told.
const FIRST: usize = 100;
/// Keys in one answer.
const PAGE: usize = 1000;
/// Files removed in one sweep; the next one goes on.
const MOST_SWEPT: usize = 20_000;

/// A file as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its full key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// Changes with its content; none: it must be read to know.
    pub tag: Option<String>,
    /// When it was written, by the store's clock.
    pub modified: Option<Timestamp>,
}

/// Some files, in the order of their keys.
#[derive(Debug, Default)]
pub struct Page {
    /// The files.
    pub objects: Vec<Object>,
    /// There are more after these.
    pub more: bool,
}

/// Whether what is in a folder matters, by its key with a slash at its end.
pub type Below<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// A place that holds files by keys.
#[async_trait]
pub trait Shelf: Send + Sync + fmt::Debug {
    /// Where the platform writes a key, with options as its address spells them.
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address;

    /// Schemes of addresses that lead to such places.
    fn schemes(&self) -> &'static [&'static str];

    /// What a person types to read every file whose key begins so.
    fn typed(&self, begins: &str) -> String;

    /// The key of an address, if it leads to this very place.
    fn key_of(&self, _address: &str) -> Option<String> {
        None
    }

    /// Up to `most` files whose keys begin with `prefix` and sort after `after`, in order. A place
    /// with real folders visits those that `below` says matter, and may answer with more.
    async fn list(&self, prefix: &str, after: Option<&str>, most: usize, below: Below<'_>)
    -> Result<Page, TargetError>;

    /// The first bytes of a file as it was listed; `None` if it is gone.
    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError>;

    /// Writes a small file.
    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError>;

    /// Removes files. One that is gone already is not an error.
    async fn remove(&self, keys: Vec<String>) -> Result<(), TargetError>;
}

/// A prefix on a shelf, and the prefixes beside it that `replace` and controls write to.
#[derive(Debug)]
pub struct Files<S> {
    shelf: S,
    prefix: Prefix,
    dialect: Dialect,
    carries: Carries,
    control: ControlBy,
    recent: Mutex<Recent>,
    trusted: Mutex<Option<Instant>>,
}

/// A file to be read for a run: the run's place in the question, and how much of the file.
struct Part {
    run: usize,
    object: Object,
    bytes: usize,
}

impl<S: Shelf> Files<S> {
    /// A target. Touches no network.
    pub(in crate::target) fn new(shelf: S, prefix: Prefix, dialect: Dialect, control: ControlBy) -> Self {
        let carries = dialect.carries();
        Self { shelf, prefix, dialect, carries, control, recent: Mutex::default(), trusted: Mutex::default() }
    }

    /// Refuses a prefix that holds other things than canaries' files. What its first files are tells
    /// it; nothing else is ever read or removed than files named after a marker.
    async fn trust(&self) -> Result<(), TargetError> {
        let lock = || self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().is_some_and(|since| since.elapsed() < TRUSTED) {
            return Ok(());
        }
        let strange = |folder: &str| !self.prefix.is_ours(folder);
        for object in self.shelf.list(&self.prefix.folder(), None, FIRST, &strange).await?.objects {
            if !self.prefix.is_ours(&object.key) {
                let key: String = object.key.chars().take(200).collect();
                let detail = format!("`{key}` is no canary's file; a canary needs a prefix of its own");
                return Err(TargetError::Foreign { detail });
            }
        }
        *lock() = Some(Instant::now());
        Ok(())
    }

    /// Files of runs that append. Keys sort by time because markers do: one listing from the oldest
    /// run on finds all of them, and skips what lies between.
    async fn appended(&self, wanted: &[Marker]) -> Result<BTreeMap<Marker, Vec<Object>>, TargetError> {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        wanted.dedup();
        let mut found: BTreeMap<Marker, Vec<Object>> = BTreeMap::new();
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(found) };
        let (prefix, mut after) = (self.prefix.common(*first, *last), self.prefix.before(*first));
        let ours = |key: &str| {
            let marker = self.prefix.marker(key)?;
            let name = key.get(self.prefix.folder().len()..)?;
            (wanted.binary_search(&marker).is_ok() && !unfinished(name)).then_some(marker)
        };
        let below = |folder: &str| ours(folder).is_some();
        loop {
            let page = self.shelf.list(&prefix, Some(&after), PAGE, &below).await?;
            let last = page.objects.last().map(|object| object.key.clone());
            for object in page.objects {
                let Some(marker) = ours(&object.key) else { continue };
                let objects = found.entry(marker).or_default();
                if objects.len() <= MOST_OBJECTS {
                    objects.push(object);
                }
            }
            let Some(last) = last.filter(|_| page.more) else { return Ok(found) };
            // The next key that matters: more of the run that the page ended in, or the next run.
            let ended_in = self.prefix.marker(&last);
            let full = |marker| found.get(&marker).is_some_and(|objects| objects.len() > MOST_OBJECTS);
            let next = wanted.iter().find(|marker| match ended_in {
                Some(ended_in) if **marker == ended_in => !full(ended_in),
                _ => self.prefix.before(**marker) > last,
            });
            after = match next {
                Some(next) if Some(*next) == ended_in => last,
                Some(next) => self.prefix.before(*next),
                None => return Ok(found),
            };
        }
    }

    /// Files at paths that are written over, by path.
    async fn replaced(&self, runs: &[Arc<Run>]) -> Result<BTreeMap<String, Vec<Object>>, TargetError> {
        let mut folders: Vec<String> =
            runs.iter().filter(|run| run.route.mode.displaces()).map(|run| self.prefix.replaced(run)).collect();
        folders.sort();
        folders.dedup();
        stream::iter(folders)
            .map(|folder| async move {
                let whole = |key: &str| !key.strip_prefix(&folder).is_none_or(unfinished);
                let page = self.shelf.list(&folder, None, MOST_OBJECTS + 1, &whole).await?;
                let objects = page.objects.into_iter().filter(|object| whole(&object.key)).collect();
                Ok((folder, objects))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn see(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        self.trust().await?;
        let appended: Vec<Marker> =
            runs.iter().filter(|run| !run.route.mode.displaces()).map(|run| run.marker).collect();
        let (appended, replaced) = tokio::try_join!(self.appended(&appended), self.replaced(runs))?;
        let mut counts: Vec<Count<'_>> = runs.iter().map(|run| Count::new(run, &self.carries)).collect();
        let mut parts = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            let objects = match run.route.mode.displaces() {
                true => replaced.get(&self.prefix.replaced(run)),
                false => appended.get(&run.marker),
            };
            for (n, object) in objects.into_iter().flatten().enumerate() {
                let count = &mut counts[at];
                let bytes = usize::try_from(object.size).unwrap_or(usize::MAX).min(count.room);
                if n >= MOST_OBJECTS || (bytes == 0 && object.size > 0) {
                    count.more = true;
                    break;
                }
                count.room -= bytes;
                parts.push(Part { run: at, object: object.clone(), bytes });
            }
        }
        let mut read = stream::iter(parts)
            .map(|part| async move {
                let enough = Tally::enough(runs[part.run].sample) as usize;
                let (room, columns) = (decode::room(runs[part.run].sample), runs[part.run].columns());
                let decoded = self.read(&part, columns, room, enough).await?;
                Ok::<_, TargetError>((part.run, decoded))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((at, decoded)) = read.try_next().await? {
            counts[at].add(&runs[at], &decoded);
        }
        drop(read);
        Ok(runs.iter().zip(counts).map(|(run, count)| count.finish(run)).collect())
    }

    /// Reads one file, unless it is remembered. One that went away since it was listed is nothing.
    async fn read(
        &self,
        part: &Part,
        columns: &'static Columns,
        room: usize,
        enough: usize,
    ) -> Result<Arc<Decoded>, TargetError> {
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&part.object, part.bytes, enough) {
            return Ok(known);
        }
        let read = self.shelf.read(&part.object, part.bytes).await.map_err(|error| match error {
            // The folder could be listed: it is this file that cannot be read.
            TargetError::Denied { detail } => {
                TargetError::Nonsense { detail: format!("a file that is listed cannot be read: {detail}") }
            }
            other => other,
        });
        let Some(bytes) = read? else {
            return Ok(Arc::default());
        };
        let cut_off = (bytes.len() as u64) < part.object.size;
        let dialect = self.dialect.clone();
        // Unpacking and parsing megabytes must not hold up everything else.
        let decode = move || decode::file(&bytes, columns, &dialect, room, enough);
        let mut decoded = tokio::task::spawn_blocking(decode).await.unwrap_or_else(|_| Decoded::garbage());
        decoded.broken |= cut_off;
        let decoded = Arc::new(decoded);
        lock().keep(&part.object, part.bytes, enough, decoded.clone());
        Ok(decoded)
    }

    /// What a listing says of one file.
    async fn listed(&self, key: &str) -> Result<Stands, TargetError> {
        let page = self.shelf.list(key, None, 1, &|_| false).await?;
        Ok(match page.objects.into_iter().find(|object| object.key == key) {
            Some(object) => Stands::File { bytes: object.size, written_at: object.modified },
            None => Stands::Nothing,
        })
    }

    /// Removes files from the start of a folder on, as long as they are old.
    async fn clear(
        &self,
        folder: &str,
        old: impl Fn(&Object) -> Option<bool>,
        below: Below<'_>,
        most: usize,
    ) -> Result<u64, TargetError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let listing = self.shelf.list(folder, after.as_deref(), PAGE, below);
            let page = within(PATIENCE, listing).await?;
            let mut keys = Vec::new();
            let mut done = !page.more;
            for object in &page.objects {
                match old(object) {
                    Some(true) => keys.push(object.key.clone()),
                    Some(false) => done = true,
                    None => {}
                }
            }
            after = page.objects.last().map(|object| object.key.clone());
            keys.truncate(most);
            removed += keys.len();
            for keys in keys.chunks(PAGE) {
                within(PATIENCE, self.shelf.remove(keys.to_vec())).await?;
            }
            if done || after.is_none() || removed >= most {
                return Ok(removed as u64);
            }
        }
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    match timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(TargetError::Unreachable { detail: format!("no answer within {} s", patience.as_secs()) }),
    }
}

#[async_trait]
impl<S: Shelf> Target for Files<S> {
    fn address(&self, run: &Run) -> Address {
        let mode = run.route.mode;
        let mut options = self.dialect.options();
        options.push(("mode", mode.to_string()));
        self.shelf.address(self.prefix.key(run, &self.dialect), options, mode)
    }

    fn by_hand(&self, run: &Run) -> Option<String> {
        Some(self.shelf.typed(&self.prefix.of(run)))
    }

    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        within(PATIENCE, self.see(runs)).await
    }

    async fn control(&self) -> Result<(), TargetError> {
        self.control_since(Timestamp::EPOCH).await
    }

    async fn control_since(&self, since: Timestamp) -> Result<(), TargetError> {
        match self.control {
            ControlBy::Write => within(PATIENCE, self.prove_by_writing()).await,
            ControlBy::Read => within(PATIENCE, self.prove_by_reading(since)).await,
        }
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.shelf.schemes()
    }

    fn has(&self, address: &str) -> bool {
        self.shelf.key_of(address).is_some()
    }

    async fn stands(&self, address: &str) -> Option<Result<Stands, TargetError>> {
        let key = self.shelf.key_of(address)?;
        Some(within(PATIENCE, self.listed(&key)).await)
    }

    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        if self.control == ControlBy::Read {
            // Access that may only read removes nothing either.
            return Ok(Swept::default());
        }
        // Keys sort by time: the first young one ends it. Other people's files are passed over.
        let oldest = Marker::mint(older_than, 0);
        let runs = |object: &Object| match self.prefix.marker(&object.key) {
            Some(marker) => Some(marker < oldest),
            // Hidden names sort elsewhere.
            None => self.prefix.hidden_marker(&object.key).filter(|marker| *marker < oldest).map(|_| true),
        };
        let old_folder = |folder: &str| self.prefix.hidden_marker(folder).is_some_and(|marker| marker < oldest);
        let mut removed = self.clear(&self.prefix.folder(), runs, &old_folder, MOST_SWEPT).await?;
        // Controls are removed as they end; what a killed agent left has the store's own time.
        let control = self.prefix.control();
        let left = |object: &Object| {
            let marker: Option<Marker> = object.key.strip_prefix(&control)?.parse().ok();
            let old = object.modified.is_some_and(|at| at < older_than) && marker.is_some();
            old.then_some(true)
        };
        removed += self.clear(&control, left, &|_| false, PAGE).await?;
        Ok(Swept { removed })
    }
}

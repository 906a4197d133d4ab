//! S3 and compatible object stores as a target.
//!
//! The agent's key needs ListBucket, GetObject under the prefixes, DeleteObject to sweep, and
//! PutObject under `PREFIX__control/`.

mod bucket;
mod layout;
mod recent;
mod settings;
mod transport;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

pub use layout::{Layout, Prefix, PrefixError};
pub use settings::{Settings, open};

use self::{
    bucket::{Bucket, Object},
    recent::Recent,
};
use super::{
    Swept, Target, TargetError,
    decode::{self, Decoded},
};
use crate::{
    canary::{Address, Carries, Marker, Mode, Run, Sighting, Tally, Timestamp, sample::COLUMNS},
    http::Wire,
};

/// The platform writes files: it adds one, or writes over one.
pub const MODES: &[Mode] = &[Mode::Append, Mode::Replace];

/// Longest look, control or step of a sweep: the agent gives them 20 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// Objects read at once.
const AT_ONCE: usize = 8;
/// Objects of one run, or under one replaced path, that are looked at. Engines write a file per
/// worker at most.
const MOST_OBJECTS: usize = 1000;
/// Whether a prefix is a canary's is asked again after this.
const TRUSTED: Duration = Duration::from_secs(60);
/// Objects from the start of the prefix by which that is told.
const FIRST: usize = 100;
/// Keys in one answer.
const PAGE: usize = 1000;
/// Other runs told of a replaced path.
const STRANGERS_TOLD: usize = 5;
/// Objects removed in one sweep; the next one goes on.
const MOST_SWEPT: usize = 20_000;

/// A prefix in a bucket, and the prefixes beside it that `replace` and controls write to.
#[derive(Debug)]
pub struct ObjectStore {
    settings: Settings,
    bucket: Bucket,
    carries: Carries,
    recent: Mutex<Recent>,
    trusted: Mutex<Option<Instant>>,
}

/// What the objects of some runs hold.
struct Count<'a> {
    tally: Tally<'a>,
    strangers: Vec<Marker>,
    /// Bytes that may still be read.
    room: usize,
    /// Something was not read, because there was too much.
    more: bool,
}

/// An object to be read for a run: the run's place in the question, and how much of the object.
struct Part {
    run: usize,
    object: Object,
    bytes: usize,
}

impl ObjectStore {
    /// Opens a bucket. Touches no network.
    pub fn new(settings: Settings, wire: &Wire) -> Result<Self, String> {
        let bucket = Bucket::new(&settings, wire)?;
        let carries = settings.layout.carries();
        Ok(Self { settings, bucket, carries, recent: Mutex::default(), trusted: Mutex::default() })
    }

    fn prefix(&self) -> &Prefix {
        &self.settings.prefix
    }

    /// Refuses a prefix that holds other things than canaries' objects. What its first objects are
    /// tells it; nothing else is ever read or removed than objects named after a marker.
    async fn trust(&self) -> Result<(), TargetError> {
        let lock = || self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().is_some_and(|since| since.elapsed() < TRUSTED) {
            return Ok(());
        }
        for object in self.bucket.list(&self.prefix().folder(), None, FIRST).await?.objects {
            if !self.prefix().is_ours(&object.key) {
                let key: String = object.key.chars().take(200).collect();
                let detail = format!("`{key}` is no canary's object; a canary needs a prefix of its own");
                return Err(TargetError::Foreign { detail });
            }
        }
        *lock() = Some(Instant::now());
        Ok(())
    }

    /// Objects of runs that append. Keys sort by time because markers do: one listing from the
    /// oldest run on finds all of them, and skips what lies between.
    async fn appended(&self, wanted: &[Marker]) -> Result<BTreeMap<Marker, Vec<Object>>, TargetError> {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        wanted.dedup();
        let mut found: BTreeMap<Marker, Vec<Object>> = BTreeMap::new();
        let folder = self.prefix().folder();
        let mut after = match wanted.first() {
            Some(first) => self.prefix().before(*first),
            None => return Ok(found),
        };
        loop {
            let page = self.bucket.list(&folder, Some(&after), PAGE).await?;
            let last = page.objects.last().map(|object| object.key.clone());
            for object in page.objects {
                let Some(marker) = self.prefix().marker(&object.key) else { continue };
                if wanted.binary_search(&marker).is_ok() {
                    let objects = found.entry(marker).or_default();
                    if objects.len() <= MOST_OBJECTS {
                        objects.push(object);
                    }
                }
            }
            let Some(last) = last.filter(|_| page.more) else { return Ok(found) };
            // The next key that matters: more of the run that the page ended in, or the next run.
            let ended_in = self.prefix().marker(&last);
            let full = |marker| found.get(&marker).is_some_and(|objects| objects.len() > MOST_OBJECTS);
            let next = wanted.iter().find(|marker| match ended_in {
                Some(ended_in) if **marker == ended_in => !full(ended_in),
                _ => self.prefix().before(**marker) > last,
            });
            after = match next {
                Some(next) if Some(*next) == ended_in => last,
                Some(next) => self.prefix().before(*next),
                None => return Ok(found),
            };
        }
    }

    /// Objects at paths that are written over, by path.
    async fn replaced(&self, runs: &[Arc<Run>]) -> Result<BTreeMap<String, Vec<Object>>, TargetError> {
        let mut folders: Vec<String> =
            runs.iter().filter(|run| run.route.mode.displaces()).map(|run| self.prefix().replaced(run)).collect();
        folders.sort();
        folders.dedup();
        stream::iter(folders)
            .map(|folder| async move {
                let page = self.bucket.list(&folder, None, MOST_OBJECTS + 1).await?;
                Ok((folder, page.objects))
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
        let mut counts: Vec<Count<'_>> = runs
            .iter()
            .map(|run| Count {
                tally: Tally::new(run.marker, run.sample, &self.carries),
                strangers: Vec::new(),
                room: decode::room(run.sample),
                more: false,
            })
            .collect();
        let mut parts = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            let objects = match run.route.mode.displaces() {
                true => replaced.get(&self.prefix().replaced(run)),
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
                let decoded = self.read(&part, decode::room(runs[part.run].sample), enough).await?;
                Ok::<_, TargetError>((part.run, decoded))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((at, decoded)) = read.try_next().await? {
            counts[at].add(&runs[at], &decoded);
        }
        drop(read);
        Ok(runs.iter().zip(counts).map(|(run, count)| count.finish(run)).collect())
    }

    /// Reads one object, unless it is remembered. One that went away since it was listed is
    /// nothing.
    async fn read(&self, part: &Part, room: usize, enough: usize) -> Result<Arc<Decoded>, TargetError> {
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&part.object, part.bytes, enough) {
            return Ok(known);
        }
        let Some(bytes) = self.bucket.read(&part.object, part.bytes).await? else {
            return Ok(Arc::default());
        };
        let cut_off = (bytes.len() as u64) < part.object.size;
        let Layout { format, delimiter, .. } = self.settings.layout;
        // Unpacking and parsing megabytes must not hold up everything else.
        let decode = move || decode::file(&bytes, format, delimiter as u8, room, enough);
        let mut decoded = tokio::task::spawn_blocking(decode).await.unwrap_or_else(|_| Decoded::garbage());
        decoded.broken |= cut_off;
        let decoded = Arc::new(decoded);
        lock().keep(&part.object, part.bytes, enough, decoded.clone());
        Ok(decoded)
    }

    async fn prove(&self) -> Result<(), TargetError> {
        // Minted at the epoch: never a run's marker.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..)).to_string();
        let key = format!("{}{marker}", self.prefix().control());
        self.bucket.write(&key, &marker).await?;
        let listed = self.bucket.list(&key, None, 1).await?.objects.pop();
        let found = match &listed {
            Some(object) => self.bucket.read(object, marker.len()).await?,
            None => None,
        };
        self.bucket.remove(vec![key]).await?;
        match found {
            Some(found) if found == marker.as_bytes() => Ok(()),
            Some(_) => Err(TargetError::Nonsense { detail: "a control object came back changed".to_owned() }),
            None => Err(TargetError::Nonsense { detail: "a control object was written and is not there".to_owned() }),
        }
    }

    /// Removes objects from the start of a folder on, as long as they are old.
    async fn clear(
        &self,
        folder: &str,
        old: impl Fn(&Object) -> Option<bool>,
        most: usize,
    ) -> Result<u64, TargetError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let listing = self.bucket.list(folder, after.as_deref(), PAGE);
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
            removed += keys.len();
            if !keys.is_empty() {
                within(PATIENCE, self.bucket.remove(keys)).await?;
            }
            if done || after.is_none() || removed >= most {
                return Ok(removed as u64);
            }
        }
    }
}

impl Count<'_> {
    fn add(&mut self, run: &Run, decoded: &Decoded) {
        if !run.route.mode.displaces() {
            decoded.count(&mut self.tally, run.sample);
            return;
        }
        // Where only ours may stand, rows of other runs are no rows of ours with other values.
        let (mut others, mut ours) = (Vec::new(), Vec::new());
        for row in &decoded.rows {
            match marker_of(row) {
                Some(other) if other != run.marker => others.push(other),
                _ => ours.push(row.clone()),
            }
        }
        // Someone else's file that cannot be read to its end is no row of ours either.
        let broken = decoded.broken && others.is_empty();
        self.strangers.append(&mut others);
        Decoded { rows: ours, broken }.count(&mut self.tally, run.sample);
    }

    fn finish(mut self, run: &Run) -> Sighting {
        if self.more {
            self.tally.add(&[]);
        }
        // A later run's rows are where they should be.
        self.strangers.retain(|other| *other < run.marker);
        self.strangers.sort_by(|one, other| other.cmp(one));
        self.strangers.dedup();
        self.strangers.truncate(STRANGERS_TOLD);
        // No `landed_at`: Last-Modified is another machine's clock, rounded down to a second. One
        // that is wrong would call rows late that were seen in time, so our own looks decide.
        Sighting { rows: self.tally.finish(), strangers: self.strangers, landed_at: None }
    }
}

fn marker_of(row: &[crate::canary::Cell]) -> Option<Marker> {
    let at = COLUMNS.iter().position(|column| column.name == "marker")?;
    match row.get(at)? {
        crate::canary::Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    match timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(TargetError::Unreachable { detail: format!("no answer within {} s", patience.as_secs()) }),
    }
}

#[async_trait]
impl Target for ObjectStore {
    fn address(&self, run: &Run) -> Address {
        self.settings.address(run)
    }

    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        within(PATIENCE, self.see(runs)).await
    }

    async fn control(&self) -> Result<(), TargetError> {
        within(PATIENCE, self.prove()).await
    }

    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        // Keys sort by time: the first young one ends it. Other people's objects are passed over.
        let runs =
            |object: &Object| self.prefix().marker(&object.key).map(|marker| marker < Marker::mint(older_than, 0));
        let mut removed = self.clear(&self.prefix().folder(), runs, MOST_SWEPT).await?;
        // Controls are removed as they end; what a killed agent left has the store's own time.
        let control = self.prefix().control();
        let left = |object: &Object| {
            let marker: Option<Marker> = object.key.strip_prefix(&control)?.parse().ok();
            let old = object.modified.is_some_and(|at| at < older_than) && marker.is_some();
            old.then_some(true)
        };
        removed += self.clear(&control, left, PAGE).await?;
        Ok(Swept { removed })
    }
}

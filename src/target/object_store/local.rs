//! A folder on this machine, or one that is mounted: what an engine writes with a path.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::settings::{Fs, Place};
use crate::{
    canary::{Address, Mode, Timestamp},
    target::{
        TargetError, cut,
        files::{Entry, Folders, Object, What},
    },
};

/// A folder.
#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
    place: Place,
}

impl Local {
    pub(super) fn new(place: Fs) -> Self {
        Self { root: place.root.clone(), place: Place::Fs(place) }
    }

    /// Does something with a path where it may take long: a folder may be mounted from far away.
    async fn with<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, TargetError> {
        let path = self.root.join(key);
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        match done {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(TargetError::Nonsense { detail: "the reader broke".to_owned() }),
        }
    }
}

fn told(error: &io::Error) -> TargetError {
    let detail = cut(&error.to_string());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => TargetError::Denied { detail },
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => TargetError::Nonsense { detail },
        _ => TargetError::Unreachable { detail },
    }
}

/// What changes when a file does, unless that is within one tick of the clock.
fn state(about: &fs::Metadata) -> (u64, u64, i64, i64, u64) {
    (about.dev(), about.ino(), about.ctime(), about.ctime_nsec(), about.len())
}

fn modified(about: &fs::Metadata) -> Timestamp {
    Timestamp::from_millis(about.mtime().saturating_mul(1000).saturating_add(about.mtime_nsec() / 1_000_000))
}

#[async_trait]
impl Folders for Local {
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address {
        self.place.address(key, options, mode)
    }

    fn typed(&self, begins: &str) -> String {
        self.place.typed(begins)
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.place.schemes()
    }

    async fn entries(&self, folder: &str, most: usize) -> Result<Option<Vec<Entry>>, TargetError> {
        let read = move |path: &Path| {
            let mut entries = Vec::new();
            for entry in fs::read_dir(path)?.take(most) {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                // Of the entry itself: links are not followed.
                let about = match entry.metadata() {
                    Ok(about) => about,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let what = match about.file_type() {
                    kind if kind.is_dir() => What::Folder,
                    // No tag: a file that is written twice within a tick looks as if it were not.
                    kind if kind.is_file() => {
                        What::File { size: about.len(), tag: None, modified: Some(modified(&about)) }
                    }
                    _ => What::Other,
                };
                entries.push(Entry { name, what });
            }
            Ok(entries)
        };
        let found = self.with(folder, read).await?;
        // A folder of a run may come and go. If the root itself is gone, nobody can see anything: a
        // mount that is not there looks just so.
        if found.is_none() && self.with("", |path| fs::metadata(path)).await?.is_none() {
            let detail = cut(&format!("folder `{}` is not there", self.root.display()));
            return Err(TargetError::Unreachable { detail });
        }
        Ok(found)
    }

    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError> {
        let listed = (object.size, object.modified);
        let read = move |path: &Path| {
            let file = fs::File::open(path)?;
            let mut found = Vec::new();
            let before = file.metadata()?;
            (&file).take(bytes as u64).read_to_end(&mut found)?;
            let same = listed == (before.len(), Some(modified(&before))) && state(&before) == state(&file.metadata()?);
            Ok((found, same))
        };
        match self.with(&object.key, read).await? {
            Some((found, true)) => Ok(Some(found)),
            // Half of one state and half of another would be a wrong that nobody did.
            Some((_, false)) => Err(TargetError::Unreachable { detail: "a file changed while it was read".to_owned() }),
            None => Ok(None),
        }
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError> {
        let (text, root) = (text.to_owned(), self.root.clone());
        let write = move |path: &Path| {
            // The root is put there by whoever keeps the place: a mount that is gone must not be
            // written beside.
            fs::metadata(root)?;
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(path)?.write_all(text.as_bytes())
        };
        match self.with(key, write).await? {
            Some(()) => Ok(()),
            None => {
                Err(TargetError::Unreachable { detail: cut(&format!("folder `{}` is not there", self.root.display())) })
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<(), TargetError> {
        self.with(key, |path| fs::remove_file(path)).await.map(|_| ())
    }

    async fn remove_folder(&self, folder: &str) {
        // One with something in it stays, and that is all there is to it.
        let _ = self.with(folder, |path| fs::remove_dir(path)).await;
    }
}

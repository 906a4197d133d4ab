//! A temporary folder that goes away with its owner, or, if the owner was killed, with the next one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// Something may still be written for a moment after its writer was told to stop.
const TRIES: u32 = 5;

/// A folder that only its owner can read.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held for as long as the owner lives, however it ends: who finds it free sweeps the folder.
    _lock: File,
}

impl Folder {
    /// A new one, `KIND.…` in the temporary folder of the system. Those of the same kind whose owners
    /// were killed go, beside whatever the owner does: there may be much in them.
    pub fn new(kind: &str) -> io::Result<Self> {
        let mut dice = fastrand::Rng::new();
        let name: String = std::iter::repeat_with(|| dice.lowercase()).take(12).collect();
        let all = std::env::temp_dir();
        // It gets its name when it is locked: until then nobody takes it for an abandoned one.
        let (new, path) = (all.join(format!("new-{kind}-{name}")), all.join(format!("{kind}.{name}")));
        fs::DirBuilder::new().mode(0o700).create(&new)?;
        let locked = File::open(&new).and_then(|lock| {
            lock.lock()?;
            fs::rename(&new, &path)?;
            Ok(lock)
        });
        let lock = locked.inspect_err(|_| drop(fs::remove_dir(&new)))?;
        let (prefix, user) = (format!("{kind}."), lock.metadata()?.uid());
        std::thread::spawn(move || sweep(&all, &prefix, user));
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it.
    pub(super) fn room(&self, name: &str) -> io::Result<PathBuf> {
        let room = self.path.join(name);
        fs::create_dir(&room)?;
        Ok(room)
    }
}

/// Removes folders with this prefix, of this user, that nobody holds.
fn sweep(all: &Path, prefix: &str, user: u32) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        let Ok(about) = entry.metadata() else { continue };
        if !ours || !about.is_dir() || about.uid() != user {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            // What cannot be removed stays for the next.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Folder {
    #[expect(clippy::disallowed_methods, reason = "a drop cannot wait otherwise; it comes when all is over")]
    fn drop(&mut self) {
        for _ in 1..TRIES {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => break,
            }
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "could not remove `{}`", self.path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_whose_owner_was_killed_is_swept_and_one_that_is_held_is_not() {
        let kind = format!("landfall-test-folder-{:016x}", fastrand::u64(..));
        let abandoned = std::env::temp_dir().join(format!("{kind}.abandoned"));
        fs::create_dir(&abandoned).expect("made");
        fs::write(abandoned.join("file"), "x").expect("written");
        let held = Folder::new(&kind).expect("a folder");
        let gone = async {
            while abandoned.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the one before goes");
        let other = Folder::new(&kind).expect("a folder");
        assert!(held.path().exists() && other.path().exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}

//! A temporary folder that goes away with its owner.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder that only its owner can read.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let mut dice = fastrand::Rng::new();
        let name: String = std::iter::repeat_with(|| dice.lowercase()).take(12).collect();
        let path = std::env::temp_dir().join(format!("landfall-sandbox-{name}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    /// A folder in it.
    pub(super) fn room(&self, name: &str) -> io::Result<PathBuf> {
        let room = self.0.join(name);
        fs::create_dir(&room)?;
        Ok(room)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(%error, "could not remove `{}`", path.display());
        }
    }
}

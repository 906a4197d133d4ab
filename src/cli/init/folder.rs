//! The folder of a first config: what must not be in it, whether it can be written, the writing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::cli::exit::Usage;

/// Nothing is written over, and nothing that stands there is watched by accident.
pub(super) fn refuse_what_is_there(folder: &Path) -> Result<()> {
    let elsewhere = "choose another folder: landfall init DIR";
    if folder.join("landfall.toml").symlink_metadata().is_ok() {
        let path = folder.join("landfall.toml");
        return Err(
            Usage(format!("`{}` is there already, and is not written over; {elsewhere}", path.display())).into()
        );
    }
    let probes = folder.join("probes");
    for entry in fs::read_dir(&probes).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "toml") {
            let path = entry.path();
            return Err(
                Usage(format!("`{}` is there already, and would be watched too; {elsewhere}", path.display())).into()
            );
        }
    }
    Ok(())
}

/// Whoever answers every question shall not hear at the end that it was in vain.
pub(super) fn refuse_what_cannot_be_written(folder: &Path) -> Result<()> {
    for wanted in [folder.to_owned(), folder.join("probes")] {
        // What is not there is made in what is.
        let there = wanted.ancestors().find(|path| path.symlink_metadata().is_ok());
        let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Passing::within(there).map_err(|error| Usage(format!("`{}` cannot be written: {error}", wanted.display())))?;
    }
    Ok(())
}

/// A folder that goes with its value.
pub(super) struct Passing(pub(super) PathBuf);

impl Passing {
    /// A new one below another.
    pub(super) fn within(folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = folder.join(format!("landfall-init-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes files that were not there; none, if one of them cannot be.
pub(super) fn write(folder: &Path, files: &[(PathBuf, String)]) -> io::Result<Vec<PathBuf>> {
    use io::Write;
    let mut written = Vec::new();
    for (path, text) in files {
        let path = folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
            written.push(path.clone());
            file.write_all(text.as_bytes())
        });
        if let Err(error) = made {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(io::Error::new(error.kind(), format!("`{}` cannot be written: {error}", path.display())));
        }
    }
    Ok(written)
}

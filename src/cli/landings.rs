//! The intake, wired: bodies are kept in the ledger, passwords in a file beside it, so that they
//! outlive a restart and stand in no ledger.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{canary::Secret, store::Store, target::webhook::Intake, web::Kept};

/// Gives the intake its ledger, and its passwords of before a restart: platforms still deliver
/// with those.
pub fn open(intake: &Arc<Intake>, store: &Arc<dyn Store>, ledger: &Path) -> Result<()> {
    intake.stored_in(Arc::new(Kept(Arc::clone(store))));
    admit(intake, ledger)
}

/// Passwords for the targets of the intake, those of before where there are any. Called again after
/// a reload, which may bring targets.
pub fn admit(intake: &Arc<Intake>, ledger: &Path) -> Result<()> {
    let targets = intake.targets();
    if targets.is_empty() {
        return Ok(());
    }
    let path = beside(ledger);
    let shown = path.display();
    let mut known: BTreeMap<String, String> = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("`{shown}` is not what the agent wrote"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("passwords in `{shown}` cannot be read")),
    };
    let before = known.len();
    for target in targets {
        match known.get(target.as_str()) {
            Some(password) => intake.set_password(&target, Secret::new(password.as_str())),
            None => {
                let password = intake.password(&target).map(|password| password.reveal().to_owned());
                known.extend(password.map(|password| (target.to_string(), password)));
            }
        }
    }
    if known.len() > before {
        write(&path, &serde_json::to_string(&known)?).with_context(|| format!("`{shown}` cannot be written"))?;
    }
    Ok(())
}

fn beside(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".intake-passwords");
    name.into()
}

/// Whole or not at all, and readable by nobody else.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

//! The folder: what the agent asks of an SFTP server.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use russh_sftp::{
    client::{RawSftpSession, error::Error as SftpError},
    protocol::{File, FileAttributes, OpenFlags},
};

use super::{
    session::{Sessions, is_end, is_gone},
    settings::{Outlet, Server},
};
use crate::{
    canary::{Address, Mode, Timestamp},
    target::{
        TargetError,
        files::{Entry, Folders, Object, Prefix, What},
        shell,
    },
};

/// Bytes asked for at once: what every server gives.
const CHUNK: usize = 32 * 1024;
/// Chunks of one file that are under way together.
const AHEAD: usize = 8;

/// A server's tree of folders.
#[derive(Debug)]
pub(super) struct Folder {
    sessions: Sessions,
    /// What a person types who logs in there.
    login: [String; 3],
    outlet: Outlet,
    prefix: Prefix,
    absolute: bool,
}

impl Folder {
    pub(super) fn new(server: Server, outlet: Outlet, prefix: Prefix, absolute: bool) -> Self {
        let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
        let login = ["-P".to_owned(), server.port.to_string(), format!("{}@{host}", server.login.user)];
        Self { sessions: Sessions::new(server), login, outlet, prefix, absolute }
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", if self.absolute { "/" } else { "" })
    }
}

fn entry(file: File) -> Entry {
    const KIND: u32 = 0o170_000;
    let FileAttributes { size, permissions, mtime, .. } = file.attrs;
    let kind = match permissions.unwrap_or_default() & KIND {
        // Some servers tell the kind in words only.
        0 if file.longname.starts_with('d') => 0o040_000,
        0 if file.longname.starts_with('l') => 0o120_000,
        0 => 0o100_000,
        kind => kind,
    };
    let what = match kind {
        0o040_000 => What::Folder,
        0o100_000 => What::File {
            size: size.unwrap_or_default(),
            // Times are whole seconds here: a file written twice in one could not be told.
            tag: None,
            modified: mtime.map(|at| Timestamp::from_secs(i64::from(at))),
        },
        _ => What::Other,
    };
    Entry { name: file.filename, what }
}

/// Something, or nothing if it is not there.
fn there<T>(done: Result<T, SftpError>) -> Result<Option<T>, SftpError> {
    match done {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_folder(sftp: &RawSftpSession, handle: &str, most: usize) -> Result<Vec<Entry>, SftpError> {
    let mut entries = Vec::new();
    while entries.len() < most {
        match sftp.readdir(handle).await {
            Ok(names) if names.files.is_empty() => break,
            Ok(names) => {
                let named = names.files.into_iter().filter(|file| ![".", ".."].contains(&&*file.filename));
                entries.extend(named.map(entry));
            }
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// A part of a file, or less if the file ends before.
async fn read_chunk(sftp: &RawSftpSession, handle: &str, from: usize, bytes: usize) -> Result<Vec<u8>, SftpError> {
    let mut found = Vec::new();
    while found.len() < bytes {
        match sftp.read(handle, (from + found.len()) as u64, (bytes - found.len()) as u32).await {
            Ok(more) if more.data.is_empty() => break,
            Ok(more) => found.extend_from_slice(&more.data),
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error),
        }
    }
    found.truncate(bytes);
    Ok(found)
}

async fn read_file(sftp: &RawSftpSession, handle: &str, bytes: usize) -> Result<Vec<u8>, SftpError> {
    let chunks: Vec<Vec<u8>> = stream::iter((0..bytes).step_by(CHUNK))
        .map(|from| read_chunk(sftp, handle, from, CHUNK.min(bytes - from)))
        .buffered(AHEAD)
        .try_collect()
        .await?;
    Ok(chunks.concat())
}

#[async_trait]
impl Folders for Folder {
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address {
        self.outlet.address(key, &self.prefix, options, mode)
    }

    fn typed(&self, begins: &str) -> String {
        // As its client reads names. Within quotes the star at the end would stand for itself.
        let mut all = String::new();
        for c in self.path(begins).chars() {
            if matches!(c, '\\' | '*' | '?' | '[' | ']' | ' ' | '\'' | '"' | '#') {
                all.push('\\');
            }
            all.push(c);
        }
        let [flag, port, login] = &self.login;
        shell::fed(&["sftp", flag, port, login], &format!("ls -l {all}*\nget -r {all}*"))
    }

    fn schemes(&self) -> &'static [&'static str] {
        super::SCHEMES
    }

    async fn entries(&self, folder: &str, most: usize) -> Result<Option<Vec<Entry>>, TargetError> {
        let path = self.path(folder);
        self.sessions
            .with(async |sftp| {
                let Some(opened) = there(sftp.opendir(&path).await)? else { return Ok(None) };
                let entries = read_folder(sftp, &opened.handle, most).await;
                // However it went, the server need not remember it.
                let _ = sftp.close(&opened.handle).await;
                entries.map(Some)
            })
            .await
    }

    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError> {
        let path = self.path(&object.key);
        let found = self
            .sessions
            .with(async |sftp| {
                let opened = there(sftp.open(&path, OpenFlags::READ, FileAttributes::empty()).await)?;
                let Some(opened) = opened else { return Ok(None) };
                let found = read_file(sftp, &opened.handle, bytes).await;
                let about = sftp.fstat(&opened.handle).await;
                let _ = sftp.close(&opened.handle).await;
                Ok(Some((found?, about?.attrs)))
            })
            .await?;
        let Some((found, about)) = found else { return Ok(None) };
        let modified = about.mtime.map(|at| Timestamp::from_secs(i64::from(at)));
        if about.size.is_some_and(|size| size != object.size) || (modified.is_some() && modified != object.modified) {
            // Half of one state and half of another would be a wrong that nobody did.
            return Err(TargetError::Unreachable { detail: "a file changed while it was read".to_owned() });
        }
        Ok(Some(found))
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError> {
        let path = self.path(key);
        let folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let flags = OpenFlags::CREATE | OpenFlags::WRITE | OpenFlags::TRUNCATE;
        let written = self
            .sessions
            .with(async |sftp| {
                let opened = match (there(sftp.open(&path, flags, FileAttributes::empty()).await)?, folder) {
                    (Some(opened), _) => opened,
                    (None, Some(folder)) => {
                        sftp.mkdir(&folder, FileAttributes::empty()).await?;
                        sftp.open(&path, flags, FileAttributes::empty()).await?
                    }
                    (None, None) => sftp.open(&path, flags, FileAttributes::empty()).await?,
                };
                let written = sftp.write(&opened.handle, 0, text.as_bytes().to_vec()).await;
                sftp.close(&opened.handle).await?;
                written
            })
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(TargetError::Denied { detail }) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let why = format!(
                    "the agent may not write to its control folder `{folder}`: make it and let it, or say control = \"read\": {detail}"
                );
                Err(TargetError::Denied { detail: crate::target::cut(&why) })
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), TargetError> {
        let path = self.path(key);
        self.sessions.with(async |sftp| there(sftp.remove(&path).await)).await.map(|_| ())
    }

    async fn remove_folder(&self, folder: &str) {
        let path = self.path(folder);
        // One with something in it stays, and that is all there is to it.
        let _ = self.sessions.with(async |sftp| sftp.rmdir(&path).await).await;
    }
}

//! Output to an SFTP server: a file under a name of its own while it is written, renamed when it is
//! whole, so that nobody reads half of it.

use std::{sync::Arc, time::Duration};

use russh::{client, keys::PublicKeyOrCertificate};
use russh_sftp::{client::SftpSession, protocol::OpenFlags};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{DeliveryError, Outlets, Parcel, address::Sftp, copied, neighbour};
use crate::canary::Mode;

/// Takes any host key: the sandbox pretends to be a platform whose connection was set up long ago, and
/// writes to loopback unless its user named more.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// Writes the rows as one file.
pub(super) async fn put(outlets: &Outlets, to: &Sftp, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
    // Written again: a replaced file is written with both copies, and an appended one gets a neighbour.
    let both = parcel.again && to.mode == Mode::Replace;
    let rowset = copied(parcel.rowset, if both { parcel.copies.saturating_add(1) } else { parcel.copies });
    let body = to.layout.file(&rowset);
    let path = path(to, parcel);
    let ssh = connect(outlets, to).await?;
    let channel = ssh.channel_open_session().await.map_err(unreachable)?;
    channel.request_subsystem(true, "sftp").await.map_err(unreachable)?;
    let sftp = SftpSession::new(channel.into_stream()).await.map_err(refused)?;
    let written = write(&sftp, &path, &body).await;
    // What counts is written, or is not.
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = sftp.close().await;
        ssh.disconnect(russh::Disconnect::ByApplication, "", "").await
    })
    .await;
    written
}

async fn connect(outlets: &Outlets, to: &Sftp) -> Result<client::Handle<Trusting>, DeliveryError> {
    let mut last = DeliveryError::Unreachable("no address".to_owned());
    for address in outlets.resolve(&to.host, to.port).await? {
        let stream = match tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                last = DeliveryError::Unreachable(error.to_string());
                continue;
            }
            Err(_) => {
                last = DeliveryError::Unreachable("no connection within 5 s".to_owned());
                continue;
            }
        };
        let config = Arc::new(client::Config::default());
        let mut ssh = client::connect_stream(config, stream, Trusting).await.map_err(unreachable)?;
        let login = ssh.authenticate_password(&to.user, to.password.reveal()).await.map_err(unreachable)?;
        return match login.success() {
            true => Ok(ssh),
            false => Err(DeliveryError::Refused(format!("the server refused the login of `{}`", to.user))),
        };
    }
    Err(last)
}

async fn write(sftp: &SftpSession, path: &str, body: &[u8]) -> Result<(), DeliveryError> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let unfinished = if folder.is_empty() && !path.starts_with('/') {
        format!(".{name}.tmp")
    } else {
        format!("{folder}/.{name}.tmp")
    };
    make_folders(sftp, folder).await;
    let flags = OpenFlags::CREATE | OpenFlags::WRITE | OpenFlags::TRUNCATE;
    let mut file = sftp.open_with_flags(&unfinished, flags).await.map_err(refused)?;
    file.write_all(body).await.map_err(|error| DeliveryError::Refused(error.to_string()))?;
    file.shutdown().await.map_err(|error| DeliveryError::Refused(error.to_string()))?;
    // Not every server renames over a file that is there.
    if sftp.rename(&unfinished, path).await.is_err() {
        let _ = sftp.remove_file(path).await;
        sftp.rename(&unfinished, path).await.map_err(refused)?;
    }
    Ok(())
}

/// Makes a folder and those above it. One that is there, or may not be made, shows when it is written to.
async fn make_folders(sftp: &SftpSession, folder: &str) {
    let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
    for end in ends.filter(|end| *end > 0) {
        let _ = sftp.create_dir(&folder[..end]).await;
    }
}

/// A path that ends with a slash gets a name in it: the job's, or for `replace` always the same.
fn path(to: &Sftp, parcel: &Parcel<'_>) -> String {
    let ending = to.layout.ending();
    let path = match (to.path.ends_with('/'), to.mode) {
        (true, Mode::Replace) => format!("{}result.{ending}", to.path),
        (true, _) => format!("{}{}.{ending}", to.path, parcel.job),
        (false, _) => to.path.clone(),
    };
    if parcel.again && to.mode != Mode::Replace { neighbour(&path) } else { path }
}

fn unreachable(error: russh::Error) -> DeliveryError {
    DeliveryError::Unreachable(error.to_string().chars().take(300).collect())
}

fn refused(error: russh_sftp::client::error::Error) -> DeliveryError {
    DeliveryError::Refused(error.to_string().chars().take(300).collect())
}

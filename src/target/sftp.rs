//! A folder on an SFTP server as a target.
//!
//! The agent's login needs to list and read the folder and `PATH__…` beside it; to delete there, to
//! sweep; and to make and write `PATH__control/`, unless the target says `control = "read"`. The
//! server must show a host key that the config knows; otherwise nothing is sent to it, no login either.
//! Links are not followed.

mod folder;
mod host_key;
mod login;
mod session;
mod settings;
mod written;

use std::sync::Arc;

pub use host_key::HostKeys;
pub use login::{Login, Proof};
pub use settings::{Outlet, Server, Settings};
pub use written::{Keys, open};

pub use super::files::MODES;

/// What leads into it.
pub const SCHEMES: &[&str] = &["sftp", "sftp_v2"];

/// Its table with all that has to be filled in.
pub const EXAMPLE: &str = r#"[target.NAME.sftp]
url        = "sftp://landfall@sftp.example.com/incoming/landfall"
password   = { env = "LANDFALL_ENV_PASSWORD" }     # or key = { file = "id_ed25519" }
host_key   = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"   # put the server's own here
result_url = { env = "LANDFALL_ENV_RESULT_URL" }   # how the platform writes: sftp://USER:PASSWORD@HOST/PATH
"#;
use super::{
    Target,
    files::{Files, Walk},
};

/// A target on an SFTP server. Touches no network.
pub fn target(settings: Settings) -> Arc<dyn Target> {
    let Settings { server, outlet, prefix, absolute, dialect, control } = settings;
    let folder = folder::Folder::new(server, outlet, prefix.clone(), absolute);
    Arc::new(Files::new(Walk(folder), prefix, dialect, control))
}

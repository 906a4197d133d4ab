//! Settings of an SFTP target, and the address that follows from them.

use super::{host_key::HostKeys, login::Login};
use crate::{
    canary::{Address, Mode, Secret},
    target::{ControlBy, dialect::Dialect, encoded, files::Prefix},
};

/// Everything that an SFTP target is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server, and how the agent logs in.
    pub server: Server,
    /// How the platform reaches the same.
    pub outlet: Outlet,
    /// The folder, without slashes at its ends.
    pub prefix: Prefix,
    /// Whether the folder's path begins at the server's root, not in the folder where a login starts.
    pub absolute: bool,
    /// How rows stand in files.
    pub dialect: Dialect,
    /// How the agent proves that it can see.
    pub control: ControlBy,
}

/// An SFTP server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who the agent is there.
    pub login: Login,
    /// By which the server is known.
    pub host_keys: HostKeys,
}

/// How the platform reaches the folder.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password; none: the platform has a key of its own.
    pub password: Option<Secret>,
    /// The folder as the platform sees it, if it sees it elsewhere.
    pub path: Option<String>,
    /// Whether its path begins at the server's root.
    pub absolute: bool,
}

impl Outlet {
    /// Where a key is that the agent sees below `prefix`, as the platform sees it.
    fn key(&self, key: String, prefix: &Prefix) -> String {
        match &self.path {
            // The prefix of the agent, not its folder: `PREFIX__ROUTE/…` moves with it.
            Some(path) => format!("{}{}", path.trim_matches('/'), prefix.rest(&key)),
            None => key,
        }
    }

    /// `sftp://user:password@host:port/path?format=…&…&user_directory_is_root=…&mode=…`, and the path
    /// that the key stands at.
    pub(super) fn address(
        &self,
        key: String,
        prefix: &Prefix,
        mut options: Vec<(&'static str, String)>,
        mode: Mode,
    ) -> Address {
        let key = self.key(key, prefix);
        let at = options.len().saturating_sub(1);
        options.insert(at, ("user_directory_is_root", (!self.absolute).to_string()));
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let path: Vec<_> = key.split('/').map(encoded).collect();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let rest = format!("@{host}:{}/{}?{}", self.port, path.join("/"), options.join("&"));
        let user = encoded(&self.user);
        let (url, shown) = match &self.password {
            Some(password) => {
                (format!("sftp://{user}:{}{rest}", encoded(password.reveal())), format!("sftp://{user}:…{rest}"))
            }
            None => (format!("sftp://{user}{rest}"), format!("sftp://{user}{rest}")),
        };
        let place = format!("{}{key}", if self.absolute { "/" } else { "" });
        Address { url: Secret::new(url), shown, place, mode }
    }
}

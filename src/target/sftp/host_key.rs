//! Host keys: by which a server is known. One that shows another may be anybody.

use std::{borrow::Cow, path::Path};

use russh::{
    Preferred,
    keys::{Algorithm, HashAlg, PublicKey, known_hosts::known_host_keys_path, ssh_key::Fingerprint},
};

/// The keys that a server may show.
#[derive(Clone, Debug, PartialEq)]
pub enum HostKeys {
    /// Any of these, by their SHA-256.
    Fingerprints(Vec<Fingerprint>),
    /// Any of these.
    Keys(Vec<PublicKey>),
}

impl HostKeys {
    /// `SHA256:…`, as `ssh-keygen -l` writes it.
    pub fn fingerprint(text: &str) -> Option<Fingerprint> {
        text.trim().parse::<Fingerprint>().ok().filter(|print| print.is_sha256())
    }

    /// The keys of a server in a file of known hosts. None in it is an error: the library that reads it
    /// takes a file that is not there for an empty one.
    pub fn known(path: &Path, host: &str, port: u16) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        if text.len() > 8 << 20 {
            return Err(format!("`{shown}` is larger than 8 MB"));
        }
        let found = known_host_keys_path(&host.to_ascii_lowercase(), port, path)
            .map_err(|error| format!("`{shown}`: {error}"))?;
        // Lines that take a key back are passed over by the library.
        let revoked = |line: &str| {
            line.starts_with("@revoked").then(|| line.split_whitespace().nth(3)).flatten().map(str::to_owned)
        };
        let revoked: Vec<String> = text.lines().filter_map(revoked).collect();
        let mut keys: Vec<PublicKey> = found.into_iter().map(|(_, key)| key).collect();
        keys.retain(|key| {
            let text = key.to_openssh().unwrap_or_default();
            !text.split(' ').nth(1).is_some_and(|key| revoked.iter().any(|revoked| revoked == key))
        });
        match keys.is_empty() {
            true => Err(format!("`{shown}` has no key of {host} port {port}")),
            false => Ok(Self::Keys(keys)),
        }
    }

    /// Whether a key is one of these.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        match self {
            HostKeys::Fingerprints(known) => known.contains(&key.fingerprint(HashAlg::Sha256)),
            HostKeys::Keys(known) => known.iter().any(|known| known.key_data() == key.key_data()),
        }
    }

    /// What is asked of a server: to show a key that is known, if it has several.
    pub(super) fn preferred(&self) -> Preferred {
        let HostKeys::Keys(known) = self else { return Preferred::DEFAULT };
        let algorithms: Vec<Algorithm> = known
            .iter()
            .flat_map(|key| match key.algorithm() {
                Algorithm::Rsa { .. } => {
                    [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
                }
                other => vec![other],
            })
            .collect();
        Preferred { key: Cow::Owned(algorithms), ..Preferred::DEFAULT }
    }
}

/// A key as people compare it: `ssh-ed25519 SHA256:…`.
pub(super) fn shown(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

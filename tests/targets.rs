//! Targets against real servers. The test plays the platform: it writes rows, or does not.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

mod folder;
#[cfg(feature = "sandbox")]
mod object_store;
mod postgresql;
mod sftp;
mod webhook;

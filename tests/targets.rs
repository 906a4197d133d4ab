//! Targets against real servers. The test plays the platform: it writes rows, or does not.

#[cfg(feature = "sandbox")]
mod object_store;
mod postgresql;
mod webhook;

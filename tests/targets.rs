//! Targets against real servers. The test plays the platform: it writes rows, or does not.

mod postgresql;
mod webhook;

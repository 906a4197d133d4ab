//! Notifiers: what they say, and that whoever should hear it does.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

mod alertmanager;
mod config;
mod email;
mod pagerduty;
mod text;
mod webhook;

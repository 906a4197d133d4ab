//! Landfall proves that query results land.

pub mod agent;
pub mod canary;
pub mod cli;
pub mod config;
pub mod detect;
pub mod http;
pub mod metrics;
pub mod platform;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod store;
pub mod target;
pub mod web;

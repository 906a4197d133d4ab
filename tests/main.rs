//! The one integration binary: Landfall as its users and its neighbours meet it.

mod blame;
#[cfg(feature = "sandbox")]
mod commands;
mod config;
#[cfg(feature = "sandbox")]
mod daemon;
#[cfg(feature = "sandbox")]
mod demo;
mod fixtures;
mod house;
#[cfg(feature = "sandbox")]
mod maintenance;
mod notify;
#[cfg(feature = "sandbox")]
mod operations;
#[cfg(feature = "sandbox")]
mod paging;
mod postgres;
mod replay;
mod sandbox_http;
#[cfg(feature = "sandbox")]
mod scenarios;
mod store;
mod targets;
mod treasure_data;
mod web;

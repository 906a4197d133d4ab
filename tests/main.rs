//! The one integration binary: Landfall as its users and its neighbours meet it.

mod blame;
#[cfg(feature = "sandbox")]
mod browser;
#[cfg(feature = "sandbox")]
mod commands;
mod config;
#[cfg(feature = "sandbox")]
mod coverage;
#[cfg(feature = "sandbox")]
mod daemon;
#[cfg(feature = "sandbox")]
mod demo;
mod dialects;
#[cfg(feature = "sandbox")]
mod dogfood;
mod fixtures;
mod hiveserver2;
#[cfg(feature = "sandbox")]
mod hostile;
mod house;
mod http_job;
#[cfg(feature = "sandbox")]
mod impact;
#[cfg(feature = "sandbox")]
mod maintenance;
mod mysql;
mod notify;
#[cfg(feature = "sandbox")]
mod operations;
#[cfg(feature = "sandbox")]
mod paging;
mod postgres;
#[cfg(feature = "sandbox")]
mod power;
mod replay;
#[cfg(feature = "sandbox")]
mod report;
mod sandbox_http;
#[cfg(feature = "sandbox")]
mod scenarios;
mod sftp;
mod store;
mod targets;
mod terminal;
mod treasure_data;
mod treasure_data_table;
mod trino;
#[cfg(feature = "sandbox")]
mod verify;
mod web;

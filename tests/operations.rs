//! The second path as operators run it: the shipped rules, examples, dashboards and unit file, with
//! the real Prometheus, Alertmanager, promtool, amtool and systemd-analyze.

mod containers;
mod dashboards;
mod events;
mod guide;
mod handbook;
mod links;
mod package;
mod packaging;
mod paging;
mod reader;
mod rules;
mod service;
mod shell;
mod stack;

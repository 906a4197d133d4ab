//! The second path as operators run it: the shipped rules, examples, dashboards and unit file, with
//! the real Prometheus, Alertmanager, promtool, amtool and systemd-analyze.

mod dashboards;
mod events;
mod packaging;
mod paging;
mod rules;
mod stack;

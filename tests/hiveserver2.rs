//! The driver of HiveServer2 against a real one, Spark's Thrift Server, that writes to a real
//! PostgreSQL; and against servers that do not behave.

mod agent;
mod config;
mod dogfood;
mod flows;
mod malice;
mod mariadb;
mod scene;

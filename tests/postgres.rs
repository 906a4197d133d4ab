//! The whole line with a real PostgreSQL: the sandbox's HTTP door runs the queries and writes the
//! rows, PostgreSQL has its own way with them, the agent reads them back and judges. What goes
//! wrong here goes wrong at the server; the sandbox is healthy throughout.

#![cfg(feature = "sandbox")]

mod blind;
mod green;
mod rows;

use crate::fixtures::watch;

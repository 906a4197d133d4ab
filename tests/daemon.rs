//! The daemon as its users run it: the real binary against a sandbox of its own, killed, stopped
//! and reloaded.

mod kills;
mod manners;

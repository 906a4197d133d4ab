//! The daemon as its users run it: the real binary against a sandbox of its own, killed, stopped,
//! reloaded, and shown every kind of fault.

mod faults;
mod kills;
mod manners;

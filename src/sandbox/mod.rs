//! FLOOR 3, the sandbox: a pretend platform that can be broken on purpose. One engine decides what
//! happens to a job; two doors lead to it: `direct` (in process, on virtual time) and `http`.
//! Reading order: world (what it pretends to be), fault (what goes wrong), engine, direct, scenario.

pub mod bucket;
pub mod deliver;
pub mod direct;
pub mod engine;
pub mod fault;
pub mod http;
pub mod place;
pub mod scenario;
pub mod sql;
mod tree;
pub mod world;

pub use direct::Direct;
pub use engine::{Answer, Delivery, Ending, Engine, Life, Output, Ticket, Work, Written};
pub use fault::{Fault, FaultId, FaultKind};
pub use place::Place;
pub use scenario::Scenario;
pub use world::{Guesses, Spread, World, WorldCanary, WorldPlatform};

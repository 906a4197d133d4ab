//! FLOOR 3, the agent. Left of the waist many runs fly at once and only look (`run`, `sight`);
//! right of it one task takes verdicts in one order (`desk`), and another tells people (`outbox`).
//! `maintenance` keeps what people silence and pause.
//! Reading order: clock, sight, run, after, scheduler, desk, outbox.

pub mod after;
pub mod baseline;
pub mod clock;
mod course;
pub mod coverage;
pub mod craft;
pub mod desk;
pub mod dogfood;
pub mod errand;
pub mod ground;
pub mod hearer;
mod heartbeat;
pub mod impact;
pub mod lifecycle;
pub mod maintenance;
pub mod once;
pub mod outbox;
pub mod past;
mod pulse;
pub mod run;
pub mod scheduler;
mod scribe;
pub mod sight;
pub mod verify;

pub use clock::Clock;
pub use craft::{Craft, Dice};
pub use desk::Confirms;
pub use hearer::Hearer;
pub use lifecycle::Agent;
pub use maintenance::Denied;

#[cfg(test)]
mod tests;

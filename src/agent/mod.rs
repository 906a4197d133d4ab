//! FLOOR 3, the agent. Left of the waist many runs fly at once and only look (`run`, `sight`);
//! right of it one task takes verdicts in one order (`desk`), and another tells people (`outbox`).
//! `maintenance` keeps what people silence and pause.
//! Reading order: clock, sight, run, after, scheduler, desk, outbox.
//!
//! Words of its own: a *flight* is a run with its eyes and its way to the platform; it is *grounded* when nobody can
//! see any more what becomes of it. An *errand* is what one verification asks for and hears, a *course* what that says
//! of one route. A *hearer* hears verdicts and notices as they are made. The *shelf* of a platform has what was written
//! there for reports: *entries*, in *batches* of a *book*, which the platform keeps as a *diary*.

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

//! FLOOR 1, pure thought: a fold over verdicts, controls, deploys and time. It never learns what
//! the sandbox breaks; it has no async, clock, environment, file or log.

pub mod baseline;
pub mod board;
pub mod case;
pub mod causes;
pub mod chance;
pub mod coverage;
pub mod detector;
pub mod end;
pub mod field;
pub mod hush;
pub mod impact;
pub mod incident;
pub mod input;
pub mod power;
pub mod scope;
pub mod strip;
pub mod summary;
pub mod suspects;
pub mod trail;
pub mod verification;

pub use board::{AgentHealth, Board, Standing};
pub use detector::Detector;
pub use hush::silenced_until;
pub use incident::{Deploy, Incident, IncidentId, Onset, Severity, Step};
pub use input::{Change, Input};
pub use summary::Summary;

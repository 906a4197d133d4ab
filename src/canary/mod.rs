//! FLOOR 0, the words: what a canary is, what a run saw, and what that means. Pure: no async,
//! clock, environment, file or log. Reading order: names, time, route, run, sample, evidence, verdict.

pub mod address;
pub mod by_hand;
pub mod evidence;
pub mod judge;
pub mod looks;
pub mod maintenance;
pub mod marker;
pub mod name;
pub mod pause;
pub mod report;
pub mod route;
pub mod run;
pub mod sample;
pub mod schedule;
pub mod secret;
pub mod selector;
pub mod silence;
pub mod stages;
pub mod tally;
pub mod time;
pub mod usual;
pub mod verdict;
pub mod wait;

pub use address::Address;
pub use by_hand::ByHand;
pub use evidence::{Away, Claim, Control, Evidence, Look, Phase, Sighting};
pub use judge::{Judgement, judge};
pub use maintenance::Maintenance;
pub use marker::Marker;
pub use name::{CanaryName, LabelName, NameError, NotifierName, PlatformName, TargetName};
pub use pause::Pause;
pub use report::Report;
pub use route::{Labels, Mode, Route, RouteId};
pub use run::{Run, Terms, Why};
pub use sample::{Cell, Column, Sample, Value};
pub use schedule::Schedule;
pub use secret::Secret;
pub use selector::Selector;
pub use silence::Silence;
pub use tally::{Carries, Rows, Tally};
pub use time::Timestamp;
pub use usual::Usual;
pub use verdict::{Family, Outcome, State, Verdict};

//! A Treasure Data table as a target: against the sandbox's HTTP door, which writes it for real, and against
//! a stand-in that says what a test makes it say.

mod calls;
#[cfg(feature = "sandbox")]
mod line;

//! Exit codes, everywhere the same.

/// Yes.
pub const YES: u8 = 0;
/// The answer is no: a regression, an expectation missed, an objective that cannot be met.
pub const NO: u8 = 1;
/// Usage or config.
pub const USAGE: u8 = 2;
/// Could not determine.
pub const UNSURE: u8 = 3;

/// Something was wrong with what the user gave: exit 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Nobody could tell: exit 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsure(pub String);

/// The exit code of an error.
pub fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Unsure>() { UNSURE } else { USAGE }
}

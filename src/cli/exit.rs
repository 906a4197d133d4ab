//! Exit codes, everywhere the same.

use std::{error::Error, io};

use crate::store::StoreError;

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

/// The exit code of an error. What was asked may be right, and something in the world around keeps it
/// from being done now: a port or a ledger that another process holds, a disk. That is 3, not 2.
pub fn code_of(error: &anyhow::Error) -> u8 {
    let is_taken = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse)
    };
    let unsure = error.is::<Unsure>() || error.is::<StoreError>() || error.chain().any(is_taken);
    if unsure { UNSURE } else { USAGE }
}

/// Whether the reader of stdout has gone: commands write there and nowhere else with plain `?`.
pub fn is_enough(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The code of an answer that was written. Whoever closed stdout early (`| head`) gets the same one: it comes from
/// the answer, not from who read it.
pub fn answered(written: io::Result<()>, code: u8) -> anyhow::Result<u8> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    }
}

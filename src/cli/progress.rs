//! Progress on stderr: one line that changes on a terminal, else a line at the start and no more.

use std::io::{self, IsTerminal, Write};

/// The line.
pub(super) struct Line {
    last: Option<String>,
    lively: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { last: None, lively: io::stderr().is_terminal() }
    }

    /// Shows how far it is; in a log only that it began.
    pub(super) fn show(&mut self, begins: &str, stands: String) {
        if self.last.as_ref() == Some(&stands) {
            return;
        }
        // Whoever closed stderr does not want to know.
        let _ = match (self.lively, &self.last) {
            (true, _) => write!(io::stderr(), "\r\x1b[2K{stands}"),
            (false, None) => writeln!(io::stderr(), "{begins}"),
            (false, Some(_)) => Ok(()),
        };
        self.last = Some(stands);
    }
}

impl Drop for Line {
    /// What is written next finds an empty line.
    fn drop(&mut self) {
        if self.lively && self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

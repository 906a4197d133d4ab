//! How far something is, on stderr: one line that changes on a terminal, else a line whenever it changes.

use std::io::{self, IsTerminal, Write};

/// What is shown.
pub(super) struct Shown {
    last: Option<String>,
    lively: bool,
}

impl Shown {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { last: None, lively: io::stderr().is_terminal() }
    }

    /// Shows it, if it is news. Whoever closed stderr does not want to know.
    pub(super) fn show(&mut self, text: &str) {
        if self.last.as_deref() == Some(text) {
            return;
        }
        self.last = Some(text.to_owned());
        let _ = match self.lively {
            true => write!(io::stderr(), "\r\x1b[2K{text}"),
            false => writeln!(io::stderr(), "{text}"),
        };
    }
}

impl Drop for Shown {
    /// What comes next begins on an empty line.
    fn drop(&mut self) {
        if self.lively && self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

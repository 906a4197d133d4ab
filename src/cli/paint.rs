//! Paint: whether there is colour at all, and which. Never alone: a symbol or a word always says the same.

use std::{env, io::IsTerminal};

use crate::canary::State;

/// Decides on colour for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// For what is written there: colour on a terminal that knows any, unless `NO_COLOR` is set to something.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: is_lively(stream) && !is_unwanted }
    }

    /// None, wherever it goes.
    pub const fn none() -> Self {
        Self { is_on: false }
    }

    /// Whether there is colour.
    pub fn is_on(self) -> bool {
        self.is_on
    }

    /// In the colour of a state.
    pub fn state(self, state: State, text: &str) -> String {
        self.with(code(state), text)
    }

    /// What is looked at first.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is looked at last.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether a line there can be changed after it was written.
pub fn is_lively(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

fn code(state: State) -> &'static str {
    match state {
        State::Green => "32",
        State::Amber => "33",
        State::Red => "1;31",
        State::Grey => "90",
    }
}

/// What says the same without colour.
pub fn symbol(state: State) -> char {
    match state {
        State::Green => '✓',
        State::Amber => '▲',
        State::Red => '✗',
        State::Grey => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_added_to_words_and_takes_none_away() {
        let (on, off) = (Paint { is_on: true }, Paint::none());
        for state in [State::Green, State::Amber, State::Red, State::Grey] {
            assert_eq!(on.state(state, "lost"), format!("\x1b[{}mlost\x1b[0m", code(state)));
            assert_eq!(off.state(state, "lost"), "lost");
        }
        assert_eq!(off.strong("a") + &off.faint("b"), "ab");
    }
}

//! Problems: what is wrong in a config, where, and what would be right.

use std::{fmt, path::PathBuf};

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Line and column, from 1; none if the file as a whole is meant.
    pub place: Option<(u32, u32)>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// Everything that is wrong, in the order of files and places.
pub type Problems = Vec<Problem>;

impl fmt::Display for Problem {
    /// `file:line:column: what`, and the hint on a line of its own. Control characters that came
    /// with the file are shown escaped, so that no config can write to the reader's terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Tame(&self.file.display().to_string()))?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", Tame(&self.what))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", Tame(hint)),
            None => Ok(()),
        }
    }
}

struct Tame<'a>(&'a str);

impl fmt::Display for Tame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// Line and column, from 1, of a byte in a text. Columns count characters.
pub fn place(text: &str, byte: usize) -> (u32, u32) {
    let before = text.get(..text.floor_char_boundary(byte)).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    (count(before.bytes().filter(|byte| *byte == b'\n').count()), count(before[line_start..].chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = "a\nüb\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 2), (2, 1));
        assert_eq!(place(text, 3), (2, 1), "inside the ü");
        assert_eq!(place(text, 4), (2, 2));
        assert_eq!(place(text, 6), (3, 1));
        assert_eq!(place(text, 99), (3, 1));
    }

    #[test]
    fn a_problem_is_a_place_and_a_hint_and_no_escape_codes() {
        let problem = Problem {
            file: "a.toml".into(),
            place: Some((12, 14)),
            what: "`deadline = \"\u{1b}[2J\"` has no unit".into(),
            hint: Some("write \"90s\"".into()),
        };
        assert_eq!(problem.to_string(), "a.toml:12:14: `deadline = \"\\u{1b}[2J\"` has no unit\n  hint: write \"90s\"");
    }
}

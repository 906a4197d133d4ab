//! Names as checked newtypes: once built they need no further checks.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest name accepted. Names become parts of table names, URLs and metric labels, all of
/// which have limits near 63 bytes.
pub const LONGEST: usize = 63;
/// What a name looks like, for schemas.
pub const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$";

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name is empty")]
    Empty,
    /// More than [`LONGEST`] bytes.
    #[error("`{0}…` is longer than {LONGEST} characters")]
    TooLong(String),
    /// A character that names do not have.
    #[error("`{name}` contains {found:?}; names have letters, digits, `-` and `_`, and start with a letter or digit")]
    Character {
        /// The text given.
        name: String,
        /// The first character that does not fit.
        found: char,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > LONGEST {
        return Err(NameError::TooLong(text.chars().take(20).collect()));
    }
    let wrong = |(at, c): &(usize, char)| !(c.is_ascii_alphanumeric() || (*at > 0 && matches!(c, '-' | '_')));
    match text.char_indices().find(wrong) {
        Some((_, found)) => Err(NameError::Character { name: text.chars().take(LONGEST).collect(), found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the text and keeps it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.to_string()
            }
        }
    };
}

name!(
    /// The name of a canary: `[canary.NAME]`.
    CanaryName
);
name!(
    /// The name of a platform: `[platform.NAME]`.
    PlatformName
);
name!(
    /// The name of a target: `[target.NAME]`.
    TargetName
);
name!(
    /// The name of a notifier: `[notify.NAME]`.
    NotifierName
);
name!(
    /// The name of a label (`engine`, `worker`, …).
    LabelName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_dashes_and_underscores() {
        for good in ["a", "hadoop1", "result-output", "a_b", "9lives", "A"] {
            assert!(CanaryName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "a b", "a/b", "a.b", "ä", "a\n", &"x".repeat(64)] {
            assert!(CanaryName::new(bad).is_err(), "{bad}");
        }
    }
}

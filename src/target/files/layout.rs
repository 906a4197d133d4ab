//! Layout: what the files of runs are called, and which of the names that engines leave are no files
//! of anybody.

use crate::{
    canary::{Marker, Run, Why},
    target::dialect::Dialect,
};

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

    /// What of a key stands behind the prefix.
    pub(in crate::target) fn rest<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.0).unwrap_or(key)
    }

    /// Where appended files are.
    pub(super) fn folder(&self) -> String {
        format!("{}/", self.0)
    }

    /// Where controls are.
    pub(super) fn control(&self) -> String {
        format!("{}__control/", self.0)
    }

    /// What every key begins with that stands beside the folder.
    pub(super) fn beside(&self) -> String {
        format!("{}__", self.0)
    }

    /// Where a route's files are that are written over.
    pub(super) fn replaced(&self, run: &Run) -> String {
        let verify = if run.why == Why::Verify { "__verify" } else { "" };
        format!("{}__{}{verify}/", self.0, run.route.id)
    }

    /// The key that a run is delivered to. More files may come beside it: `MARKER-2.csv`,
    /// `MARKER.001.csv`, `MARKER/part-0`, `MARKER.csv/part-0` all belong to the run.
    pub(in crate::target) fn key(&self, run: &Run, dialect: &Dialect) -> String {
        match run.route.mode.displaces() {
            true => format!("{}data{}", self.replaced(run), dialect.ending()),
            false => format!("{}{}", self.appended(run.marker), dialect.ending()),
        }
    }

    /// What the keys of all files of a run begin with.
    pub(super) fn of(&self, run: &Run) -> String {
        match run.route.mode.displaces() {
            true => self.replaced(run),
            false => self.appended(run.marker),
        }
    }

    fn appended(&self, marker: Marker) -> String {
        format!("{}{marker}", self.folder())
    }

    /// A key that sorts right before every key of a run.
    pub(super) fn before(&self, marker: Marker) -> String {
        let mut key = self.appended(marker);
        key.pop();
        key
    }

    /// What the keys of all runs from one to another begin with: the first digits are the time.
    pub(super) fn common(&self, first: Marker, last: Marker) -> String {
        let (first, last) = (first.to_string(), last.to_string());
        let same = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
        format!("{}{}", self.folder(), &first[..same])
    }

    /// The run that an appended file belongs to, by its name, hidden or not.
    pub(super) fn marker(&self, key: &str) -> Option<Marker> {
        self.named(key.strip_prefix(&self.0)?.strip_prefix('/')?)
    }

    /// The same, also if the name is hidden: engines write under a name with a dot or underscore
    /// before it, and rename.
    pub(super) fn hidden_marker(&self, key: &str) -> Option<Marker> {
        self.named(key.strip_prefix(&self.0)?.strip_prefix('/')?.trim_start_matches(['_', '.']))
    }

    fn named(&self, name: &str) -> Option<Marker> {
        let (marker, rest) = name.split_at_checked(Marker::LENGTH)?;
        // A longer word is another word.
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
        marker.parse().ok().filter(|_| ends)
    }

    /// Whether a file under the prefix is a canary's, or one of those that stores and engines leave:
    /// the folder itself, `_SUCCESS`, `.keep`, what is not finished.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        let name = key.strip_prefix(&self.folder()).unwrap_or_default();
        name.is_empty() || unfinished(name) || self.marker(key).is_some()
    }
}

/// What programs write under before they rename.
const UNFINISHED: [&str; 7] = [".tmp", ".temp", ".part", ".partial", ".filepart", ".inprogress", "._copying_"];

/// Whether a name, or a folder above it, is one that engines use for what is not there yet, or is no
/// data: `_temporary/…`, `_SUCCESS`, `.part-0.csv.crc`, `x.csv.tmp`.
pub(super) fn unfinished(name: &str) -> bool {
    let hidden = |part: &str| {
        part.starts_with(['_', '.'])
            || UNFINISHED.iter().any(|ending| {
                part.len()
                    .checked_sub(ending.len())
                    .and_then(|at| part.get(at..))
                    .is_some_and(|end| end.eq_ignore_ascii_case(ending))
            })
    };
    name.split('/').any(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Timestamp;

    #[test]
    fn what_engines_leave_is_neither_data_nor_somebody_elses() {
        let prefix = Prefix::new("/in/canary/").expect("a prefix");
        let marker = Marker::mint(Timestamp::from_secs(1), 7);
        for name in
            ["_SUCCESS", ".keep", "_temporary/0/task/part-0.csv", "x.csv.TMP", "tmp.filepart", "a/_SUCCESS", "b.tmp/c"]
        {
            let key = format!("in/canary/{name}");
            assert!(prefix.is_ours(&key) && unfinished(name) && prefix.marker(&key).is_none(), "{name}");
        }
        for rest in [".csv", "/part-00000-1b4e28ba-c000.csv", ".csv/part-0", "-2.csv.gz", "_x", ""] {
            let name = format!("{marker}{rest}");
            assert_eq!(prefix.marker(&format!("in/canary/{name}")), Some(marker), "{name}");
            assert!(!unfinished(&name), "{name}");
        }
        for name in ["customers.csv", "customers/_SUCCESS.csv", "part-0.csv", "tmp"] {
            assert!(name.contains('/') || !prefix.is_ours(&format!("in/canary/{name}")), "{name}");
        }
        assert_eq!(prefix.hidden_marker(&format!("in/canary/.{marker}.csv.tmp")), Some(marker));
    }
}

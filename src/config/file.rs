//! Files: the config file and the probes beside it, read and parsed.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    problem::{self, Problem, Problems},
    section::Section,
};

/// Largest config file: a thousand canaries fit in a tenth of it.
const LARGEST: u64 = 1_000_000;
/// Most files in the folder of probes.
const MOST_FILES: usize = 1000;
/// Lines with syntax errors told of one file: what follows the first few is mostly their echo.
const MOST_SYNTAX: usize = 3;

/// A file's path as the user named it, and its whole text.
pub type Text = (PathBuf, String);

/// Reads one file.
pub fn read(path: &Path) -> Result<Text, Problems> {
    let whole = |what: String, hint: Option<&str>| {
        vec![Problem { file: path.to_owned(), place: None, what, hint: hint.map(str::to_owned) }]
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(format!("cannot be read: {}", reason(&error)), None))?;
    if bytes.len() as u64 > LARGEST {
        return Err(whole("is larger than 1 MB".to_owned(), Some("split it into files in the folder of probes")));
    }
    String::from_utf8(bytes).map(|text| (path.to_owned(), text)).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let place = Some(problem::place(&good, good.len()));
        let (what, hint) = ("is not UTF-8 from here on".to_owned(), Some("save it as UTF-8".to_owned()));
        vec![Problem { file: path.to_owned(), place, what, hint }]
    })
}

/// Parses one file. A file with syntax errors has no tables.
pub(super) fn parse(text: &Text) -> Result<Section<'_>, Problems> {
    let (table, errors) = DeTable::parse_recoverable(&text.1);
    let file = Section { file: text, table };
    let mut problems: Problems = errors.iter().map(|error| syntax(&file, error)).collect();
    problems.sort_by_key(|problem| problem.place);
    problems.dedup_by_key(|problem| problem.place.map(|(line, _)| line));
    problems.truncate(MOST_SYNTAX);
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

fn syntax(file: &Section<'_>, error: &toml::de::Error) -> Problem {
    let at = error.span().unwrap_or(0..0);
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, expected)) => (what, Some(format!("expected {expected}"))),
        None => (error.message(), None),
    };
    let (what, hint) = match what {
        "duplicate key" => {
            let key = file.file.1.get(at.clone()).unwrap_or_default();
            (format!("`{key}` is written twice"), Some("keep one of them".to_owned()))
        }
        "string values must be quoted" if at.is_empty() => ("not TOML: a value is missing".to_owned(), None),
        "string values must be quoted" => {
            ("not TOML: a value without quotes".to_owned(), Some("write \"…\"".to_owned()))
        }
        _ => (format!("not TOML: {what}"), expected),
    };
    file.problem(at, what, hint)
}

/// The `*.toml` files of a folder, sorted by name, hidden ones left out.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
        if paths.len() > MOST_FILES {
            return Err(io::Error::other(format!("more than {MOST_FILES} files in it")));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Why the operating system refused, without its error number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The entries of a table in the order of the file; the parser sorts them by name.
pub(super) fn in_order<'a, 't>(table: &'a DeTable<'t>) -> Vec<(&'a Spanned<DeString<'t>>, &'a Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

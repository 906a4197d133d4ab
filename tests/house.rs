//! The rules of the house: imports go strictly down the floors, siblings never import each other,
//! and the pure floors stay pure.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules by floor, from the ground up. Within one row nobody imports a neighbour.
const FLOORS: [(&str, u8); 15] = [
    ("canary", 0),
    ("detect", 1),
    ("http", 1),
    ("veil", 1),
    ("config", 2),
    ("treasure_data_api", 2),
    ("platform", 3),
    ("target", 3),
    ("store", 3),
    ("metrics", 3),
    ("notify", 3),
    ("agent", 4),
    ("web", 4),
    ("sandbox", 4),
    ("cli", 5),
];

/// Words that pure modules do not have.
const IMPURE: [&str; 14] = [
    "async fn",
    ".await",
    "tokio::",
    "std::fs",
    "std::env",
    "std::net",
    "SystemTime",
    "Instant::now",
    "tracing::",
    "println!",
    // Sharing work among threads that end with it is pure; waiting, and asking how many there are, is not.
    "thread::sleep",
    "thread::spawn",
    "thread::current",
    "available_parallelism",
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let within = path.strip_prefix(&src).expect("inside src");
            let module = within.iter().next().expect("a file").to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            (module, path, text)
        })
        .collect()
}

/// Modules named after `crate::`, groups included: `use crate::{canary::X, store::{A, B}}`.
fn imported(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut start) = (0, 0);
            for (place, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        found.push(group[start..place].to_owned());
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.push(group[start..place].to_owned());
                        start = place + 1;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(rest.to_owned());
        }
    }
    let first_word =
        |text: &String| text.trim().split(|c: char| !(c.is_alphanumeric() || c == '_')).next().map(str::to_owned);
    found.iter().filter_map(first_word).filter(|word| !word.is_empty()).collect()
}

fn upward(module: &str, text: &str) -> Vec<String> {
    let Some(own) = floor(module) else { return Vec::new() };
    let wrong = |other: &String| other != module && floor(other).is_some_and(|floor| floor >= own);
    imported(text).into_iter().filter(wrong).collect()
}

#[test]
fn imports_go_strictly_down_the_floors() {
    for (module, path, text) in all() {
        let wrong = upward(&module, &text);
        assert!(wrong.is_empty(), "{} (in `{module}`) imports {wrong:?}", path.display());
    }
}

#[test]
fn an_upward_import_is_found_in_any_spelling() {
    assert_eq!(upward("detect", "use crate::store::Store;"), ["store"]);
    assert_eq!(upward("detect", "use crate::{canary::{Run, Marker},\n    store::{A, B}, agent};"), ["store", "agent"]);
    assert_eq!(upward("platform", "fn f() { crate::target::x() }"), ["target"]);
    assert!(upward("cli", "use crate::{agent, store::Store};").is_empty());
}

#[test]
fn every_module_has_a_floor() {
    for (module, path, _) in all() {
        assert!(floor(&module).is_some() || matches!(module.as_str(), "lib" | "main" | "notify"), "{}", path.display());
    }
}

#[test]
fn the_pure_floors_have_no_async_clock_environment_file_or_log() {
    for (module, path, text) in all() {
        if !matches!(module.as_str(), "canary" | "detect") {
            continue;
        }
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let found = IMPURE.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{}: {}", path.display(), n + 1, found.unwrap_or(&""));
        }
    }
}

#[test]
fn every_file_begins_by_saying_what_lives_there() {
    for (_, path, text) in all() {
        assert!(text.starts_with("//!"), "{} has no head line", path.display());
    }
}

//! Scenario files: those that are shipped, one for each kind of fault, and broken ones.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use landfall::{
    config::Problem,
    sandbox::{FaultKind, Scenario},
};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn read(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).unwrap();
    Scenario::parse(file, &text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A problem as people read it, the file by its name alone.
fn told(problem: &Problem) -> String {
    let file = problem.file.file_name().unwrap().to_string_lossy();
    let place = problem.place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    format!("{file}{place}: {}{hint}\n", problem.what)
}

#[test]
fn every_kind_of_fault_has_a_scenario_in_which_it_is_alone_and_total() {
    let mut alone = BTreeSet::new();
    for file in files("tests/scenarios", "toml") {
        let scenario = read(&file);
        assert!(scenario.expect.incidents.is_some(), "{}: what is expected?", file.display());
        if let [fault] = &scenario.faults[..]
            && fault.rate >= 1.0
        {
            assert!(scenario.name.starts_with(fault.kind.as_str()), "{}", scenario.name);
            alone.insert(fault.kind.as_str());
        }
    }
    assert_eq!(alone, BTreeSet::from(FaultKind::NAMES));
}

#[test]
fn every_scenario_of_a_real_incident_is_compiled_in() {
    let shipped: Vec<String> = files("probes/incidents", "toml").iter().map(|file| read(file).name).collect();
    assert_eq!(shipped, Scenario::builtin_names().collect::<Vec<_>>());
}

/// Set `LANDFALL_BLESS=1` to write what is said now; read it before you believe it.
#[test]
fn a_broken_scenario_is_told_all_that_is_wrong_with_it_and_where() {
    for file in files("tests/bad-scenarios", "toml") {
        let text = fs::read_to_string(&file).unwrap();
        let said = match Scenario::parse(&file, &text) {
            Ok(_) => panic!("{} reads", file.display()),
            Err(problems) => problems.iter().map(told).collect::<String>(),
        };
        let expected = file.with_extension("txt");
        if std::env::var_os("LANDFALL_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{}", file.display());
    }
}

#[test]
fn any_text_is_a_scenario_or_says_why_not() {
    let good = Scenario::builtin_text("2015-08-24").unwrap();
    // Every prefix, and every byte turned into a few others: nothing may panic.
    for cut in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
        let _ = Scenario::parse(Path::new("cut.toml"), &good[..cut]);
    }
    for at in (0..good.len()).filter(|at| good.is_char_boundary(*at) && good.is_char_boundary(at + 1)) {
        for other in ["\0", "]", "=", "\"", "-", "9999999999999999999", "é", "{", "\n"] {
            let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
            if let Err(problems) = Scenario::parse(Path::new("changed.toml"), &changed) {
                assert!(!problems.is_empty());
            }
        }
    }
    assert!(Scenario::parse(Path::new("deep.toml"), &"[".repeat(100_000)).is_err());
    let nested = format!("title = {}{}", "[".repeat(60), "]".repeat(60));
    assert!(Scenario::parse(Path::new("nested.toml"), &nested).is_err());
    assert!(Scenario::parse(Path::new("large.toml"), &" ".repeat(2 << 20)).is_err());
}

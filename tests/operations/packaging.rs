//! The unit file, by systemd's own tools. It is not started here: that needs a systemd that runs
//! the machine.

use std::fs;

use tempfile::TempDir;

use super::stack::{replaced, root, run, shipped};

const UNIT: &str = "packaging/landfall.service";
const COMMAND: &str = "ExecStart=landfall ";

/// The unit in a folder of its own, with a binary that is there.
fn copy(changes: &[(&str, &str)]) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let unit = replaced(shipped(UNIT), &[(COMMAND, concat!("ExecStart=", env!("CARGO_BIN_EXE_landfall"), " "))]);
    let file = folder.path().join("landfall.service");
    fs::write(&file, replaced(unit, changes)).expect("written");
    let file = file.to_str().expect("UTF-8").to_owned();
    (folder, file)
}

fn verify(changes: &[(&str, &str)]) -> Result<String, String> {
    let (folder, file) = copy(changes);
    run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", &file], folder.path())
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let said = verify(&[]).unwrap();
    assert!(said.trim().is_empty(), "{said}");
    verify(&[("WatchdogSec=", "WatchdogSecs=")]).expect_err("the check itself can fail");
    verify(&[("ProtectSystem=strict", "ProtectSystem=stricter")]).expect_err("the check itself can fail");
}

#[test]
fn the_unit_exposes_at_most_two_points_of_ten() {
    let (folder, file) = copy(&[]);
    let score = |threshold: &str| {
        let threshold = format!("--threshold={threshold}");
        run("systemd-analyze", &["security", "--offline=true", "--no-pager", &threshold, &file], folder.path())
    };
    score("20").unwrap();
    score("5").expect_err("the check itself can fail");
}

#[test]
fn the_unit_is_watched_and_its_secrets_are_credentials() {
    let unit = shipped(UNIT);
    for line in ["Type=notify", "WatchdogSec=60s", "User=landfall", "StateDirectory=landfall", "Restart=always"] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
    assert!(unit.lines().any(|line| line.starts_with("LoadCredential=")));
    assert!(!unit.lines().any(|line| line.starts_with("Environment=")), "a secret's place is no environment");
    assert!(root().join("docs/runbooks.md").exists());
}

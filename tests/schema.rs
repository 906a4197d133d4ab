//! The schema and the reference of a config: made from the types that decode it, and held to what is decoded.

mod bases;
mod keys;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use landfall::{cli::kinds::kinds, config, target::webhook::Intake};
use serde_json::{Value as Json, json};

/// Mistakes that no schema can see, by the file in `tests/bad`, and why not.
const UNSEEN: [(&str, &str); 57] = [
    ("agent-ca-bundle", "a file"),
    ("agent-coverage-every", "a length between others"),
    ("agent-drill-heartbeat", "what a cron expression or an address means"),
    ("agent-in-a-probe", "which file it is"),
    ("broken-probe", "what other files hold"),
    ("agent-hosts", "what a host is"),
    ("agent-intake-is-listen", "two keys that are the same"),
    ("agent-name-empty", "blanks"),
    ("agent-probes-missing", "a folder"),
    ("agent-proxy", "what an address means"),
    ("agent-proxy-password-in-the-open", "what an address means"),
    ("cron-never", "what a cron expression means"),
    ("cron-wrong", "what a cron expression means"),
    ("cron-zone", "what a time zone is"),
    ("deadline-shorter-than-objective", "a length between others"),
    ("deadline-shorter-than-the-default-objective", "a length between others"),
    ("dogfood-beside-a-canary-of-that-name", "a name in another table"),
    ("dogfood-of-too-much", "a sum"),
    ("dogfood-where-nothing-can-be-written", "the kind of what is named"),
    ("environment-variable-missing", "a secret"),
    ("every-too-short", "a length between others"),
    ("hiveserver2-mode", "the kind of what is named"),
    ("http-job-date-in-json", "a date, which to an editor is a text"),
    ("http-job-output-missing", "a name in another table"),
    ("http-job-says-not-which-job", "what a template means"),
    ("length-too-long", "a length between others"),
    ("mode-impossible", "the kind of what is named"),
    ("mysql-settings", "a secret"),
    ("nothing-to-watch", "what other files hold"),
    ("notify-second-itself", "a name in another table"),
    ("notify-second-unknown", "a name in another table"),
    ("notify-where", "a name in another table"),
    ("object-store-azblob-key", "a secret"),
    ("object-store-dialect-without-quotes", "two keys that do not go together"),
    ("object-store-mode", "the kind of what is named"),
    ("objective-longer-than-the-default-deadline", "a length between others"),
    ("platform-unknown", "a name in another table"),
    ("postgresql-urls", "a secret"),
    ("product-empty-after-skipping", "the kind of what is named"),
    ("secret-file-empty", "a file"),
    ("secret-file-is-a-folder", "a file"),
    ("secret-file-missing", "a file"),
    ("secrets-in-the-clear", "what an address means"),
    ("sftp-known-hosts", "a file"),
    ("target-unknown", "a name in another table"),
    ("treasure-data-endpoint", "what an address means"),
    ("treasure-data-endpoint-scheme", "what an address means"),
    ("treasure-data-endpoint-with-a-key", "what an address means"),
    ("treasure-data-key-of-two-lines", "a secret"),
    ("treasure-data-table-mode", "the kind of what is named"),
    ("trino-password-in-the-clear", "what an address means"),
    ("webhook-url-with-a-password", "what an address means"),
    ("double-name", "what other files hold"),
    ("web-in-a-probe", "which file it is"),
    ("web-listen", "two keys that are the same"),
    ("web-not-public", "two keys that do not go together"),
    ("web-title", "blanks"),
];

/// What an editor says of texts in TOML; none: nothing is wrong.
fn validated(texts: &[String]) -> Vec<Option<String>> {
    let python = std::env::var("LANDFALL_TEST_PYTHON")
        .expect("LANDFALL_TEST_PYTHON names a Python with jsonschema (tests/run sets it)");
    let asked = json!({ "schema": config::schema(&kinds(&Intake::new())), "texts": texts });
    let mut child = Command::new(python)
        .arg("tests/schema/validate.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut to = child.stdin.take().expect("a pipe");
    to.write_all(asked.to_string().as_bytes()).expect("it reads");
    drop(to);
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "the validator failed");
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn printed(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_landfall")).arg("schema").args(arguments).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn the_schema_and_the_reference_that_ship_are_those_of_this_landfall() {
    let rewrite = std::env::var_os("LANDFALL_TEST_REWRITE").is_some();
    for (file, now) in
        [("landfall.schema.json", printed(&[])), ("docs/configuration.md", printed(&["--format", "markdown"]))]
    {
        if rewrite {
            fs::write(file, &now).expect("writable");
        }
        let shipped = fs::read_to_string(file).unwrap_or_default();
        assert!(shipped == now, "{file} is of another Landfall (LANDFALL_TEST_REWRITE=1 writes it)");
    }
}

#[test]
fn the_reference_has_a_heading_for_every_kind_and_a_word_on_every_key() {
    let reference = printed(&["--format", "markdown"]);
    let intake = Intake::new();
    let kinds = kinds(&intake);
    let names = kinds.platforms.iter().map(|kind| ("platform", kind.name));
    let names = names.chain(kinds.targets.iter().map(|kind| ("target", kind.name)));
    for (what, name) in names.chain(kinds.notifiers.iter().map(|kind| ("notify", kind.name))) {
        assert!(reference.contains(&format!("\n### `[{what}.NAME.{name}]`\n")), "{what} {name}");
    }
    let rows: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 200, "{} keys", rows.len());
    for row in rows {
        let says = row.trim_end_matches(" |").rsplit_once(" | ").map_or("", |(_, says)| says);
        assert!(says.len() > 3, "nothing is said of: {row}");
    }
}

/// Files that ship, with the folder from which the schema is seen as it will be where they are used.
fn shipped() -> Vec<PathBuf> {
    let probes = fs::read_dir("probes").expect("the folder of probes").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = probes.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.push("packaging/landfall.toml".into());
    files.sort();
    files
}

/// The file that the first line of a config names.
fn named_in(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a config");
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{} names no schema", file.display())).to_owned()
}

#[test]
fn every_config_that_ships_is_right_to_an_editor() {
    let files = shipped();
    assert!(files.len() > 10);
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).expect("a config")).collect();
    for (file, wrong) in files.iter().zip(validated(&texts)) {
        assert_eq!(wrong, None, "{}", file.display());
    }
}

#[test]
fn every_config_that_ships_names_the_schema_that_stands_beside_the_config_file() {
    for file in shipped() {
        let named = named_in(&file);
        match file.starts_with("probes") {
            // They are copied into the folder of probes beside a landfall.toml.
            true => {
                assert!(Path::new("probes").join(&named).is_file() && named == "../landfall.schema.json", "{named}")
            }
            // Where the package puts it.
            false => {
                let cargo: toml::Table = fs::read_to_string("Cargo.toml").expect("there").parse().expect("TOML");
                let assets = cargo["package"]["metadata"]["deb"]["assets"].as_array().expect("a list");
                let put = assets.iter().find(|asset| asset[0].as_str() == Some("landfall.schema.json"));
                let put = put.and_then(|asset| asset[1].as_str()).expect("the package has it");
                assert_eq!(format!("/{put}landfall.schema.json"), named);
            }
        }
    }
}

#[cfg(feature = "sandbox")]
#[test]
fn the_config_of_a_sandbox_comes_with_the_schema_and_is_right_by_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sandbox = Command::new(env!("CARGO_BIN_EXE_landfall"))
        .args(["sandbox", "--listen", "127.0.0.1:0", "--write-config"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    // The config is there before it says anything.
    let mut greeting = BufReader::new(sandbox.stdout.take().expect("a pipe"));
    let said = greeting.read_line(&mut String::new()).expect("a line");
    sandbox.kill().expect("it ends");
    sandbox.wait().expect("it ends");
    assert_ne!(said, 0, "it ended");
    let files = ["landfall.toml", "probes/sandbox.toml"].map(|name| folder.path().join(name));
    assert_eq!(fs::read_to_string(folder.path().join("landfall.schema.json")).expect("a schema"), printed(&[]));
    let texts = files.clone().map(|file| fs::read_to_string(file).expect("a config"));
    for ((file, text), wrong) in files.iter().zip(&texts).zip(validated(&texts)) {
        assert_eq!(wrong, None, "{}", file.display());
        let line = text.lines().find_map(|line| line.strip_prefix("#:schema ")).expect("it names the schema");
        assert!(file.parent().expect("a folder").join(line).is_file(), "{line}");
    }
}

#[test]
fn every_broken_config_is_wrong_to_an_editor_too_if_a_schema_can_see_it() {
    let unseen = BTreeMap::from(UNSEEN);
    let files: Vec<_> = super::config::bad();
    let texts: Vec<_> = files
        .iter()
        .map(|(file, _)| String::from_utf8_lossy(&fs::read(file).expect("a config")).into_owned())
        .collect();
    let mut wrong = String::new();
    let mut known = 0;
    for ((file, expected), said) in files.iter().zip(validated(&texts)) {
        let name = expected.file_stem().expect("a name").to_string_lossy();
        let reason = unseen.get(&*name);
        known += usize::from(reason.is_some());
        match (said, reason) {
            (None, None) => wrong += &format!("{} is accepted\n", file.display()),
            (Some(said), Some(reason)) => wrong += &format!("{} is seen, beside {reason}: {said}\n", file.display()),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(known, unseen.len(), "each is a file");
}

/// Of a text in JSON, for messages.
fn short(value: &Json) -> String {
    value.to_string().chars().take(200).collect()
}

//! Keys: those of the schema are those of the decoder, in both directions, for every table; and what the one
//! makes of a value is what the other does.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use landfall::{
    canary::Timestamp,
    cli::kinds::kinds,
    config::{
        self, Options,
        schema::{ORDER, ordered},
    },
    target::webhook::Intake,
};
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{
    bases::{COMMON, CRON, KINDS},
    short, validated,
};

/// A key that nothing has.
const STRANGER: &str = "landfall-has-no-such-key";
/// So many keys an error lists.
const LISTED: usize = 12;

/// Where a table stands: keys, and places in lists.
type At = Vec<String>;

/// What is wrong with a config, without its secrets.
fn load(folder: &Path, config: &Table) -> (String, Vec<(String, String)>) {
    let (file, text) = (folder.join("landfall.toml"), toml::to_string(config).expect("TOML"));
    fs::write(&file, &text).expect("written");
    let options = Options { without_secrets: true, now: Timestamp::from_secs(1_440_452_640) };
    let problems = config::load(&file, &kinds(&Intake::new()), options).err().unwrap_or_default();
    (text, problems.into_iter().map(|problem| (problem.what, problem.hint.unwrap_or_default())).collect())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let key = "sftp.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE4m5Gq0Vh4gr3Qd0mN1V6ZVjPPXQdkVLYWFQYwMmRqr\n";
    fs::write(folder.path().join("known_hosts"), key).expect("written");
    fs::copy("tests/fixtures/smtp/ca.pem", folder.path().join("ca.pem")).expect("copied");
    fs::create_dir(folder.path().join("nothing")).expect("made");
    folder
}

/// A schema of tables, as it is walked: a table below a name, a list or a choice.
fn below<'s>(at: &At, schema: &'s Json, found: &mut Vec<(At, &'s Json)>) {
    let step = |name: &str| at.iter().cloned().chain([name.to_owned()]).collect::<At>();
    if schema.get(ORDER).is_some() {
        found.push((at.clone(), schema));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        below(&step(name), inner, found);
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        below(at, inner, found);
    }
    below_if(&step("x"), &schema["additionalProperties"], found);
    below_if(&step("0"), &schema["items"], found);
}

fn below_if<'s>(at: &At, schema: &'s Json, found: &mut Vec<(At, &'s Json)>) {
    if schema.is_object() {
        below(at, schema, found);
    }
}

fn tables(schema: &Json) -> Vec<(At, &Json)> {
    let mut found = Vec::new();
    below(&Vec::new(), schema, &mut found);
    found
}

/// Bases, each with where its own tables begin: the first is everybody's.
fn bases() -> Vec<(At, Table)> {
    let common: Table = COMMON.parse().expect("TOML");
    let mut cron = common.clone();
    cron.extend(CRON.parse::<Table>().expect("TOML"));
    let mut bases = vec![(Vec::new(), common.clone()), (Vec::new(), cron)];
    for (family, kind, text) in KINDS {
        let mut base = common.clone();
        let own: Table = text.parse().unwrap_or_else(|error| panic!("{kind}: {error}"));
        base[family]["x"] = Value::Table(Table::from_iter([(kind.to_owned(), Value::Table(own))]));
        // No report goes through what takes no rows of the agent's own.
        if kind == "http-job" {
            base.remove("dogfood");
        }
        bases.push((vec![family.to_owned(), "x".to_owned(), kind.to_owned()], base));
    }
    bases
}

/// Whether a base shows a table: a kind's own stands in the bases of that kind alone.
fn shows(own: &At, at: &At) -> bool {
    let is_of_a_kind = at.len() > 2 && KINDS.iter().any(|(family, kind, _)| at[0] == *family && at[2] == *kind);
    if own.is_empty() { !is_of_a_kind } else { at.starts_with(own) }
}

fn table_at<'t>(config: &'t mut Table, at: &At) -> Option<&'t mut Table> {
    let Some((first, rest)) = at.split_first() else { return Some(config) };
    let mut value = config.get_mut(first)?;
    for step in rest {
        value = match value {
            Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?)?,
            value => value.get_mut(step.as_str())?,
        };
    }
    value.as_table_mut()
}

#[test]
fn every_base_is_right_to_both() {
    let folder = folder();
    let mut texts = Vec::new();
    for (own, base) in bases() {
        let (text, problems) = load(folder.path(), &base);
        assert!(problems.is_empty(), "{own:?}: {problems:?}");
        texts.push(text);
    }
    for ((own, _), wrong) in bases().iter().zip(validated(&texts)) {
        assert_eq!(wrong, None, "{own:?}");
    }
}

#[test]
fn every_table_has_the_keys_that_its_type_decodes_and_no_other() {
    let schema = ordered(&kinds(&Intake::new()));
    let tables = tables(&schema);
    assert!(tables.len() > 30, "{} tables", tables.len());
    for (at, table) in &tables {
        let keys: BTreeSet<&str> = table["properties"].as_object().expect("keys").keys().map(String::as_str).collect();
        let decoded: BTreeSet<&str> =
            table[ORDER].as_array().expect("a list").iter().map(|key| key.as_str().expect("a text")).collect();
        assert_eq!(keys, decoded, "the keys of {at:?} are not those that are decoded");
        assert_eq!(table["additionalProperties"], false, "{at:?}");
    }
    // A table that refuses keys, and does not say in which order it has them, is one whose type was not asked.
    let mut silent = Vec::new();
    unasked(&schema, &mut silent);
    assert!(silent.is_empty(), "{silent:?}");
}

fn unasked(schema: &Json, found: &mut Vec<String>) {
    // The places of secrets are decoded by hand.
    let is_secret = schema["properties"].get("env").is_some();
    if schema.get("properties").is_some_and(Json::is_object)
        && schema["additionalProperties"] == false
        && schema.get(ORDER).is_none()
        && !is_secret
    {
        found.push(short(schema));
    }
    match schema {
        Json::Object(object) => object.values().for_each(|inner| unasked(inner, found)),
        Json::Array(list) => list.iter().for_each(|inner| unasked(inner, found)),
        _ => {}
    }
}

#[test]
fn the_type_that_is_described_is_the_one_that_is_decoded() {
    let schema = ordered(&kinds(&Intake::new()));
    let folder = folder();
    let bases = bases();
    for (at, table) in tables(&schema) {
        if at.is_empty() {
            continue;
        }
        let base = bases.iter().filter(|(own, _)| shows(own, &at)).find_map(|(_, base)| {
            let mut config = base.clone();
            table_at(&mut config, &at)?.insert(STRANGER.to_owned(), Value::Boolean(true));
            Some(config)
        });
        let (_, problems) = load(folder.path(), &base.unwrap_or_else(|| panic!("no base has {at:?}")));
        // An output may be a text or a table, and which keys it has is then not said.
        if at.last().is_some_and(|last| last == "x") && at.contains(&"trino".to_owned()) {
            assert!(problems.iter().any(|(_, hint)| hint.is_empty() || hint.contains("schema")), "{problems:?}");
            continue;
        }
        let unknown = format!("unknown key `{STRANGER}`");
        let said = problems.iter().find(|(what, _)| *what == unknown);
        let hint = &said.unwrap_or_else(|| panic!("{at:?} takes any key: {problems:?}")).1;
        let list = hint.strip_prefix("keys here are ").unwrap_or_else(|| panic!("{at:?}: {hint}"));
        let list = list.split("; ").next().unwrap_or_default().trim_end_matches(", …");
        let said: Vec<&str> = list.split(", ").collect();
        // Kinds are told from keys before keys are looked at.
        let is_kind =
            |key: &str| KINDS.iter().any(|(family, kind, _)| at[0] == *family && at.len() == 2 && key == *kind);
        let keys = table[ORDER].as_array().expect("a list").iter().filter_map(Json::as_str);
        let keys: Vec<&str> = keys.filter(|key| !is_kind(key)).take(LISTED).collect();
        assert_eq!(said, keys, "{at:?}");
    }
}

/// Values of every type, and what is near to right where such a value is taken.
fn samples(schema: &Json) -> Vec<Value> {
    let types = ["'x'", "1", "1.5", "true", "[]", "['x']", "{}", "{ x = 'y' }", "{ env = 'X' }"];
    let mut samples = parsed(&types);
    let own: Vec<&Json> = [schema].into_iter().chain(schema["anyOf"].as_array().into_iter().flatten()).collect();
    let takes = |of: &str| own.iter().any(|schema| schema["type"] == of);
    for schema in &own {
        let words = schema["enum"].as_array().into_iter().flatten().chain(schema.get("default"));
        samples.extend(words.filter_map(|word| Value::try_from(word).ok()));
    }
    if takes("string") {
        samples.extend(parsed(&["''", "'90'", "'5 m'", "'0s'", "'1d'"]));
    }
    if takes("integer") {
        samples.extend([-1, 0, 400, 70_000, 5_000_000_000].map(Value::Integer));
    }
    if takes("array") {
        samples.extend(parsed(&["['x', 'x']", "[1]", "[{ account = 'x' }]"]));
    }
    if takes("object") {
        let tables = ["{ x = 1 }", "{ 'x y' = 'z' }", "{ mode = 'append' }", "{ file = 'x' }"];
        samples.extend(parsed(&tables));
        samples.extend(parsed(&["{ env = 'X', file = 'x' }", "{ env = 'X', landfall = 'x' }"]));
    }
    samples
}

/// What is right somewhere, tried until a key has taken something.
fn right_somewhere() -> Vec<Value> {
    parsed(&[
        "'90s'",
        "'10s'",
        "'2h'",
        "'example'",
        "'ca.pem'",
        "'nothing'",
        "'/mnt/results'",
        "'/id'",
        "'a.b'",
        "'127.0.0.1:9999'",
        "'https://landfall.example.com'",
        "'https://events.example.com/enqueue'",
        "'*/5 * * * *'",
        "'Asia/Tokyo'",
        "'|'",
        "'2026-11-23T12:00:00Z'",
        "['append', 'replace']",
        "['critical']",
        "['postgresql']",
        "['real_no']",
        "['landfall.example.com']",
        "[{ type = 'presto' }]",
        "{ x = 'export' }",
        "{ x = 'done', y = 'queued' }",
        "{ x = { env = 'X' } }",
    ])
}

fn parsed(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

/// Whether a mistake is one that a schema sees: of type, of range, of shape, of words that are listed, of absence.
fn is_seen(what: &str) -> bool {
    let types = ["a string", "an integer", "a float", "a boolean", "an array", "a table"];
    let is_of_type = types.iter().any(|of| what.starts_with('`') && what.ends_with(&format!("` is {of}")));
    let ends = ["is out of range", "has no unit", "has an unknown unit", "is not a length of time", "is missing"];
    let starts =
        ["unknown key ", "unknown value ", "unknown engine ", "unknown dialect ", "unknown flavor ", "unknown auth "];
    is_of_type
        || ends.iter().any(|end| what.ends_with(end))
        || starts.iter().any(|start| what.starts_with(start))
        || what.contains("places of one secret")
        || what.contains("no place of a secret")
}

/// The heart, in a process of its own: opening a driver reads all CAs of the system, which takes most of the time,
/// and nobody is called: here there is one.
#[test]
fn what_the_decoder_takes_the_schema_takes_and_what_it_refuses_for_its_shape_the_schema_refuses() {
    let nothing = tempfile::tempdir().expect("a folder");
    let done = Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--exact", "schema::keys::each_key_with_every_value", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/smtp/ca.pem"))
        .env("SSL_CERT_DIR", nothing.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// One key of one table with one value, or without it.
struct Try {
    what: String,
    /// What the decoder says is wrong.
    problems: Vec<(String, String)>,
    text: String,
}

/// Each key of each table with values of every type, and without it.
#[test]
#[ignore = "the test above runs it"]
fn each_key_with_every_value() {
    let schema = ordered(&kinds(&Intake::new()));
    let folder = folder();
    let mut tries = Vec::new();
    let (mut all, mut taken): (BTreeSet<String>, BTreeSet<String>) = Default::default();
    for (own, base) in bases() {
        for (at, table) in tables(&schema).into_iter().filter(|(at, _)| !at.is_empty() && shows(&own, at)) {
            let mut here = base.clone();
            let Some(written) = table_at(&mut here, &at).cloned() else { continue };
            for (key, of) in table["properties"].as_object().expect("keys") {
                // Tables of kinds are tried by themselves.
                if at.len() == 2 && KINDS.iter().any(|(family, kind, _)| at[0] == *family && key == kind) {
                    continue;
                }
                let name = format!("{}.{key}", at.join("."));
                all.insert(name.clone());
                // Once is enough: where a kind has several bases, for keys that exclude each other.
                if taken.contains(&name) {
                    continue;
                }
                let mut attempt = |value: Option<&Value>| {
                    let mut config = base.clone();
                    let table = table_at(&mut config, &at).expect("it was there");
                    match value {
                        Some(value) => table.insert(key.clone(), value.clone()),
                        None => table.remove(key),
                    };
                    let (text, problems) = load(folder.path(), &config);
                    let unknown = format!("unknown key `{key}`");
                    assert!(problems.iter().all(|(what, _)| *what != unknown), "{name} is not decoded: {problems:?}");
                    let is_taken = problems.is_empty() && value.is_some();
                    let value = value.map_or("absent".to_owned(), Value::to_string);
                    tries.push(Try { what: format!("{name} = {value}"), problems, text });
                    is_taken
                };
                if written.contains_key(key) {
                    attempt(None);
                }
                let values: Vec<Value> = written.get(key).cloned().into_iter().chain(samples(of)).collect();
                // Every one of them, also when one was taken.
                let n_taken = values.iter().filter(|value| attempt(Some(value))).count();
                if n_taken > 0 || right_somewhere().iter().any(|value| attempt(Some(value))) {
                    taken.insert(name);
                }
            }
        }
    }
    let texts: Vec<String> = tries.iter().map(|one| one.text.clone()).collect();
    let mut wrong = Vec::new();
    for (Try { what, problems, .. }, said) in tries.iter().zip(validated(&texts)) {
        match said {
            Some(said) if problems.is_empty() => wrong.push(format!("{what} is taken, but: {said}")),
            None => {
                let seen = problems.iter().find(|(problem, _)| is_seen(problem));
                wrong.extend(seen.map(|(problem, _)| format!("{what} is not seen: {problem}")));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), texts.len(), wrong.join("\n"));
    let never: Vec<_> = all.difference(&taken).collect();
    assert!(never.is_empty(), "no value was right for: {never:?}");
}

//! A folder as a target: what engines write with a path.

use std::{path::Path, sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Run, Sighting, Timestamp, Value},
    http::Wire,
    target::{
        ControlBy, Target, TargetError,
        decode::Format,
        dialect::{Dialect, Newline},
        files::Prefix,
        object_store::{Fs, Place, Settings, target},
    },
};
use tempfile::TempDir;

use crate::fixtures::rows::{NOON, csv, run, run_at, values};

fn folder(root: &Path, dialect: Dialect, control: ControlBy) -> Arc<dyn Target> {
    let place = Place::Fs(Fs { root: root.to_owned(), result_root: None });
    let prefix = Prefix::new("in/canary").unwrap();
    target(Settings { place, prefix, dialect, control }, &Wire::default()).unwrap()
}

fn start() -> (TempDir, Arc<dyn Target>) {
    let root = TempDir::new().unwrap();
    let target = folder(root.path(), Dialect::of(Format::Csv), ControlBy::Write);
    (root, target)
}

fn put(root: &TempDir, path: &str, bytes: &[u8]) {
    let path = root.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn look(target: &Arc<dyn Target>, run: &Arc<Run>) -> Sighting {
    target.look(std::slice::from_ref(run)).await.unwrap().remove(0)
}

fn counts(seen: &Sighting) -> (u32, u32, u32, u32) {
    (seen.rows.right, seen.rows.missing, seen.rows.copies, seen.rows.changed)
}

fn key(run: &Run, rest: &str) -> String {
    format!("in/canary/{}{rest}", run.marker)
}

/// Rows as Spark's CSV writer writes them by default: a quote in quotes is escaped, NULL is nothing and the
/// empty string is quoted; the text that begins and ends with spaces is written as it is.
fn spark(rows: &[Vec<Value>]) -> Vec<u8> {
    let field = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Text("") => "\"\"".to_owned(),
        Value::Text(text) if text.contains(['"', ',', '\n']) => format!("\"{}\"", text.replace('"', "\\\"")),
        Value::Text(text) => (*text).to_owned(),
        Value::Marker(marker) => marker.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(n) => format!("{n:E}"),
    };
    let names = landfall::canary::sample::COLUMNS.map(|column| column.name).join(",");
    let line = |row: &Vec<Value>| row.iter().map(field).collect::<Vec<_>>().join(",");
    let lines: Vec<String> = std::iter::once(names).chain(rows.iter().map(line)).collect();
    (lines.join("\n") + "\n").into_bytes()
}

#[tokio::test]
async fn a_folder_that_an_engine_wrote_for_a_run_is_the_run() {
    let root = TempDir::new().unwrap();
    let dialect = Dialect { escape: Some('\\'), newline: Some(Newline::Lf), ..Dialect::of(Format::Csv) };
    let target = folder(root.path(), dialect, ControlBy::Write);
    let uuid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    for under in ["", ".csv"] {
        let run = run(Mode::Append);
        let rows = values(&run);
        // While it is written.
        put(
            &root,
            &key(&run, &format!("{under}/_temporary/0/_temporary/attempt_0/part-00000-{uuid}-c000.csv")),
            &spark(&rows),
        );
        put(&root, &key(&run, &format!("{under}/.part-00000-{uuid}-c000.csv.crc")), b"crc\0");
        assert!(look(&target, &run).await.rows.nothing());
        // When it is there. One of the workers had no rows.
        for (n, rows) in [&rows[..7], &rows[7..7], &rows[7..]].iter().enumerate() {
            put(&root, &key(&run, &format!("{under}/part-{n:05}-{uuid}-c000.csv")), &spark(rows));
        }
        put(&root, &key(&run, &format!("{under}/part-00003-{uuid}-c000.csv")), b"");
        put(&root, &key(&run, &format!("{under}/_SUCCESS")), b"");
        assert_eq!(counts(&look(&target, &run).await), (20, 0, 0, 0));
        std::fs::remove_file(root.path().join(key(&run, &format!("{under}/part-00000-{uuid}-c000.csv")))).unwrap();
        assert_eq!(counts(&look(&target, &run).await), (13, 7, 0, 0));
        put(&root, &key(&run, &format!("{under}/part-00004-{uuid}-c000.csv")), &spark(&rows[..8]));
        assert_eq!(counts(&look(&target, &run).await), (20, 0, 1, 0));
    }
    let (old, new) = (run_at(Mode::Replace, NOON), run_at(Mode::Replace, NOON.plus(Duration::from_secs(60))));
    let place = target.address(&new).place;
    put(&root, &format!("{place}/part-00000-{uuid}-c000.csv"), &spark(&values(&old)));
    put(&root, &format!("{place}/_SUCCESS"), b"");
    assert_eq!(look(&target, &new).await.strangers, [old.marker]);
    put(&root, &format!("{place}/part-00000-{uuid}-c000.csv"), &spark(&values(&new)));
    assert!(look(&target, &new).await.complete());
}

#[tokio::test]
async fn what_happens_to_files_is_seen_even_within_one_tick() {
    let (root, target) = start();
    let run = run(Mode::Append);
    let rows = values(&run);
    let whole = String::from_utf8(csv(&rows)).unwrap();
    for n in 0..50 {
        put(&root, &key(&run, ".csv"), whole.as_bytes());
        assert!(look(&target, &run).await.complete(), "{n}");
        put(&root, &key(&run, ".csv"), whole.replace("plain", "qlain").as_bytes());
        assert_eq!(counts(&look(&target, &run).await), (18, 0, 0, 2), "{n}");
    }
    put(&root, &key(&run, ".csv"), &csv(&rows[..3]));
    assert_eq!(counts(&look(&target, &run).await), (3, 17, 0, 0));
    std::fs::remove_dir_all(root.path().join("in")).unwrap();
    assert!(look(&target, &run).await.rows.nothing());
}

#[tokio::test]
async fn a_root_that_is_not_there_is_out_of_sight_and_not_a_loss() {
    let (root, target) = start();
    let run = run(Mode::Append);
    let root = root.keep();
    std::fs::remove_dir(&root).unwrap();
    assert!(matches!(target.look(&[run]).await, Err(TargetError::Unreachable { .. })));
    assert!(matches!(target.control().await, Err(TargetError::Unreachable { .. })));
    assert!(!root.exists(), "nothing was made beside a mount that is gone");
}

#[tokio::test]
async fn controls_and_sweeps_touch_canary_files_alone_and_links_lead_nowhere() {
    let (root, target) = start();
    target.control().await.unwrap();
    assert_eq!(std::fs::read_dir(root.path().join("in/canary__control")).unwrap().count(), 0);
    let (old, new) = (run_at(Mode::Append, NOON), run_at(Mode::Append, NOON.plus(Duration::from_secs(60))));
    for run in [&old, &new] {
        put(&root, &key(run, "/part-0.csv"), &csv(&values(run)));
        put(&root, &key(run, "/_SUCCESS"), b"");
    }
    put(&root, "elsewhere.csv", &csv(&values(&old)));
    let link = run_at(Mode::Append, NOON);
    std::os::unix::fs::symlink(root.path().join("elsewhere.csv"), root.path().join(key(&link, ".csv"))).unwrap();
    assert!(look(&target, &link).await.rows.nothing());
    assert_eq!(target.sweep(NOON.plus(Duration::from_secs(60))).await.unwrap().removed, 2);
    assert!(!root.path().join(key(&old, "")).exists() && root.path().join(key(&new, "/_SUCCESS")).exists());
    assert!(root.path().join("elsewhere.csv").exists());
    put(&root, "in/canary/report.csv", b"x");
    let other = folder(root.path(), Dialect::of(Format::Csv), ControlBy::Write);
    assert!(matches!(other.look(std::slice::from_ref(&new)).await, Err(TargetError::Foreign { .. })));
    std::fs::remove_file(root.path().join("in/canary/report.csv")).unwrap();
    let reader = folder(root.path(), Dialect::of(Format::Csv), ControlBy::Read);
    reader.control_since(NOON).await.unwrap();
    let late = Timestamp::from_secs(2_000_000_000);
    assert!(matches!(reader.control_since(late).await, Err(TargetError::Unproven { .. })));
}

#[test]
fn platforms_get_the_whole_path() {
    let run = run(Mode::Append);
    let place = |result_root: Option<&str>| {
        let place = Place::Fs(Fs { root: "/mnt/re sults".into(), result_root: result_root.map(str::to_owned) });
        let prefix = Prefix::new("canary").unwrap();
        let settings = Settings { place, prefix, dialect: Dialect::of(Format::Tsv), control: ControlBy::Write };
        target(settings, &Wire::default()).unwrap().address(&run)
    };
    let rest = format!("canary/{}.tsv?format=tsv&compression=none&header=true&mode=append", run.marker);
    assert_eq!(place(None).shown, format!("file:///mnt/re%20sults/{rest}"));
    assert_eq!(place(Some("/data")).url.reveal(), format!("file:///data/{rest}"));
    assert_eq!(place(None).place, format!("canary/{}.tsv", run.marker));
}

#[tokio::test]
async fn what_is_typed_by_hand_reads_what_a_look_reads() {
    let root = TempDir::with_prefix("it's [a] *place ").unwrap();
    let target = folder(root.path(), Dialect::of(Format::Csv), ControlBy::Write);
    for mode in [Mode::Append, Mode::Replace] {
        let (run, other) = (run(mode), run(Mode::Append));
        for run in [&run, &other] {
            let path = target.address(run).place;
            put(&root, &path, &csv(&values(run)));
        }
        assert_eq!(look(&target, &run).await.rows.right, 20);
        let typed = target.by_hand(&run).expect("a folder can be read");
        let read = std::process::Command::new("sh").args(["-c", &typed]).output().unwrap();
        let (read, said) = (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
        let rows = |run: &Run| read.lines().filter(|line| line.starts_with(&run.marker.to_string())).count();
        assert_eq!((rows(&run), rows(&other)), (20, 0), "{typed}\n{read}{said}");
    }
}

//! `landfall init`: from flags, and asked at a real terminal.

use std::{fs, path::Path, process::Output};

use super::{landfall, run, text};
use crate::fixtures::terminal::Terminal;

/// Platforms, and the kinds of targets that each can write to.
const PRODUCT: [(&str, &[&str]); 6] = [
    ("treasure-data", &["mysql", "object-store", "postgresql", "sftp", "treasure-data-table", "webhook"]),
    ("trino", &["mysql", "postgresql"]),
    ("presto", &["mysql", "postgresql"]),
    ("hiveserver2", &["mysql", "object-store", "postgresql"]),
    ("spark", &["postgresql"]),
    ("http-job", &["mysql", "object-store", "postgresql", "sftp", "treasure-data-table", "webhook"]),
];
const TARGETS: [&str; 6] = ["mysql", "object-store", "postgresql", "sftp", "treasure-data-table", "webhook"];

async fn init(folder: &Path, more: &[&str]) -> Output {
    run(landfall(&[&["init", folder.to_str().expect("UTF-8")], more].concat())).await
}

async fn check(folder: &Path) -> Output {
    let config = folder.join("landfall.toml");
    run(landfall(&["check", "--no-secrets", "-c", config.to_str().expect("UTF-8")])).await
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path.display().to_string()),
        }
    }
    found
}

#[tokio::test]
async fn whatever_can_be_chosen_passes_the_check_and_what_cannot_be_is_said() {
    let all = tempfile::tempdir().expect("a folder");
    for (platform, possible) in PRODUCT {
        for target in TARGETS {
            let folder = all.path().join(format!("{platform}-{target}"));
            let output = init(&folder, &["--yes", "--platform", platform, "--target", target]).await;
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            if !possible.contains(&target) {
                assert_eq!(output.status.code(), Some(2), "{platform} to {target}: {err}");
                assert!(err.contains(&format!("{platform} cannot write to {target}")), "{err}");
                assert!(!folder.exists(), "nothing is begun");
                continue;
            }
            assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{platform} to {target}");
            assert!(out.contains("1 route, 1440 runs a day") && out.contains("\nNext:\n"), "{out}");
            assert!(out.contains("environment variable LANDFALL_TOKEN: token in landfall.toml"), "{out}");
            let output = check(&folder).await;
            assert_eq!(output.status.code(), Some(0), "{platform} to {target}: {}", text(&output.stderr));
            assert_eq!(files(&folder).len(), 3, "{:?}", files(&folder));
        }
    }
}

#[tokio::test]
async fn flags_answer_every_question() {
    let all = tempfile::tempdir().expect("a folder");
    let folder = all.path().join("mon");
    let output = init(
        &folder,
        &[
            "--platform",
            "trino",
            "--platform-name",
            "lake-1",
            "--label",
            "cluster=c 1",
            "--label",
            "worker=v6",
            "--endpoint",
            "http://trino.internal:8080",
            "--platform-set",
            "password=-",
            "--platform-set",
            "user=probe",
            "--platform-set",
            "seed=hive.canaries",
            "--target",
            "postgresql",
            "--target-name",
            "dwh",
            "--target-set",
            "url=env:DWH_URL",
            "--target-set",
            "result_url=file:dwh.url",
            "--target-set",
            "table=canaries",
            "--every",
            "30s",
            "--objective",
            "90s",
            "--deadline",
            "4m",
            "--listen",
            "127.0.0.1:9999",
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let probe = fs::read_to_string(folder.join("probes/lake-1.toml")).expect("written");
    for line in [
        "[platform.lake-1.trino]",
        "labels    = { cluster = \"c 1\", worker = \"v6\" }",
        "endpoint = \"http://trino.internal:8080\"",
        "# password = { env",
        "seed     = \"hive.canaries\"",
        "dwh = \"postgresql.public\"",
        "[canary.lake-1]",
        "platforms = [\"lake-1\"]",
        "every     = \"30s\"",
        "deadline  = \"4m\"",
        "url        = { env = \"DWH_URL\" }",
        "result_url = { file = \"dwh.url\" }",
        "table      = \"canaries\"",
    ] {
        assert!(probe.lines().any(|found| found.starts_with(line)), "{line} is not in\n{probe}");
    }
    assert!(fs::read_to_string(folder.join("landfall.toml")).expect("written").contains("127.0.0.1:9999"));
    let out = text(&output.stdout);
    assert!(out.contains("file probes/dwh.url: result_url in probes/lake-1.toml") && out.contains("DWH_URL"), "{out}");
}

#[tokio::test]
async fn secrets_that_are_there_are_read_by_the_check_and_never_written() {
    let all = tempfile::tempdir().expect("a folder");
    let folder = all.path().join("mon");
    let folder = folder.to_str().expect("UTF-8");
    let mut command = landfall(&["init", folder, "--yes", "--target", "webhook"]);
    command.env("LANDFALL_TOKEN", "0123456789abcdef0123456789abcdef").env("TD_API_KEY", "1/s3cr3t");
    let output = run(command).await;
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!out.contains("Secrets that it needs"), "{out}");
    for file in files(Path::new(folder)) {
        assert!(!fs::read_to_string(&file).expect("text").contains("s3cr3t"), "{file}");
    }
}

#[tokio::test]
async fn nothing_is_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("landfall.toml"), "mine").expect("written");
    let output = init(folder.path(), &["--yes"]).await;
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("not written over"), "{output:?}");
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(fs::read_to_string(folder.path().join("landfall.toml")).expect("there"), "mine");

    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("probes")).expect("made");
    fs::write(folder.path().join("probes/other.toml"), "").expect("written");
    let output = init(folder.path(), &["--yes"]).await;
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("would be watched too"), "{output:?}");
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn bad_flags_are_said_and_write_nothing() {
    let all = tempfile::tempdir().expect("a folder");
    let folder = all.path().join("mon");
    for (args, words) in [
        (&[][..], "--platform is not said"),
        (&["--platform", "trino", "--target", "mysql"], "--platform-name is not said"),
        (&["--yes", "--platform", "tirno"], "did you mean `trino`?"),
        (&["--yes", "--target", "oracle"], "--target: that is none of mysql, object-store"),
        (&["--yes", "--platform-name", "a b"], "--platform-name: `a b` contains"),
        (&["--yes", "--target-name", ""], "--target-name: a name is empty"),
        (&["--yes", "--label", "worker"], "--label: write NAME=VALUE"),
        (&["--yes", "--label", "platform=x"], "probes/presto.toml:"),
        (&["--yes", "--endpoint", "ftp://x"], "endpoint"),
        (&["--yes", "--platform-set", "endpiont=x"], "did you mean `endpoint`?"),
        (&["--yes", "--platform-set", "endpoint"], "--platform-set: write KEY=VALUE"),
        (&["--yes", "--platform-set", "a.b=x"], "a key has lower-case letters"),
        (
            &["--yes", "--endpoint", "https://a.b", "--platform-set", "endpoint=https://a.b"],
            "`endpoint` is there twice",
        ),
        (&["--yes", "--platform-set", "api_key=1/hunter2"], "never the secret itself"),
        (&["--yes", "--platform-set", "api_key=-"], "api_key"),
        (&["--yes", "--every", "sometimes"], "--every: `every = \"sometimes\"` is not"),
        (&["--yes", "--deadline", "1s"], "deadline"),
        (&["--yes", "--listen", "here"], "--listen: that is not an address"),
        (&["--yes", "--platform", "trino", "--endpoint", "http://trino.example.com"], "password"),
    ] {
        let output = init(&folder, args).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("landfall-init-"), "{args:?}: {said}");
        assert!(!folder.exists(), "{args:?}");
    }
    fs::write(&folder, "a file").expect("written");
    let output = init(&folder, &["--yes"]).await;
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("cannot be written"), "{output:?}");
}

/// Begins a conversation.
fn asked(folder: &Path) -> Terminal {
    Terminal::run(&["init", folder.to_str().expect("UTF-8")], (50, 120), &[("NO_COLOR", "1")])
}

#[tokio::test]
async fn a_conversation_ends_with_a_config_that_passes_and_wrong_answers_are_asked_again() {
    let all = tempfile::tempdir().expect("a folder");
    let folder = all.path().join("mon");
    let mut terminal = asked(&folder);
    for (question, answer) in [
        ("  http-job ", ""),
        ("Platform [treasure-data]: ", "tirno"),
        ("did you mean `trino`?", ""),
        ("Platform [treasure-data]: ", "trino"),
        ("Its name [trino]: ", "lake one"),
        ("contains ' '", ""),
        ("Its name [trino]: ", "lake"),
        ("Target [postgresql]: ", "sftp"),
        ("that is none of mysql, postgresql", ""),
        ("Target [postgresql]: ", "\n"),
        ("[engine=trino cluster=trino]: ", "engine=trino worker"),
        ("write NAME=VALUE", ""),
        ("[engine=trino cluster=trino]: ", "engine=trino worker=v6"),
        ("[https://trino.example.com]: ", "http://trino.example.com"),
        ("user [landfall]: ", "\n"),
        ("[LANDFALL_TRINO_PASSWORD]: ", "hunter2"),
        ("never the secret itself", ""),
        ("[LANDFALL_TRINO_PASSWORD]: ", "\n"),
        ("[memory.default]: ", "\n"),
        // A password over plain HTTP: what was said is asked again.
        ("`password`", ""),
        ("[https://trino.example.com]: ", "https://lake.example.com"),
        ("user [landfall]: ", "\n"),
        ("[LANDFALL_TRINO_PASSWORD]: ", "file:lake.password"),
        ("[memory.default]: ", "\n"),
        ("Name of the target [warehouse]: ", "\n"),
        ("[LANDFALL_WAREHOUSE_URL]: ", "\n"),
        ("[LANDFALL_WAREHOUSE_RESULT_URL]: ", "-"),
        ("table [landfall_canary]: ", "\n"),
        ("Every ", ""),
        ("[1m]: ", "often"),
        ("is not a length of time", ""),
        ("[1m]: ", "30s"),
        ("[127.0.0.1:9440]: ", "\n"),
    ] {
        terminal.until(question).await;
        if !answer.is_empty() {
            terminal.types(&format!("{}\n", answer.trim_end()));
        }
    }
    let (code, all) = terminal.ends().await;
    assert_eq!(code, 0, "{all}");
    assert!(
        all.contains("2880 runs a day") && all.contains("file probes/lake.password") && all.contains("Next:"),
        "{all}"
    );
    assert_eq!(files(&folder).len(), 3);
    let probe = fs::read_to_string(folder.join("probes/lake.toml")).expect("written");
    assert!(probe.contains("https://lake.example.com") && probe.contains("# result_url = "), "{probe}");
    assert!(!probe.contains("hunter2"));
    assert_eq!(check(&folder).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_conversation_that_is_broken_off_leaves_nothing() {
    let all = tempfile::tempdir().expect("a folder");
    let folder = all.path().join("mon");
    for (keys, code) in [("\x04", 2), ("\x03", 130)] {
        let mut terminal = asked(&folder);
        terminal.until("Platform [treasure-data]: ").await;
        terminal.types("\n");
        terminal.until("Its name [presto]: ").await;
        terminal.types("\n");
        terminal.until("Target [postgresql]: ").await;
        terminal.types(keys);
        let (ended, all) = terminal.ends().await;
        assert_eq!(ended, code, "{all:?}");
        assert!(code != 2 || all.contains("broken off: nothing was written"), "{all:?}");
        assert!(!folder.exists());
    }
}

#[tokio::test]
async fn nobody_is_asked_what_could_not_be_written() {
    let all = tempfile::tempdir().expect("a folder");
    fs::write(all.path().join("file"), "mine").expect("written");
    fs::create_dir(all.path().join("mon")).expect("made");
    fs::write(all.path().join("mon/probes"), "mine").expect("written");
    for folder in ["file", "file/mon", "mon"] {
        let (code, said) = asked(&all.path().join(folder)).ends().await;
        assert!(code == 2 && said.contains("cannot be written") && !said.contains("Platform ["), "{folder}: {said}");
    }
    assert_eq!(files(all.path()).len(), 2);
}

//! The whole line with a real OpenSSH: the sandbox's HTTP door runs the queries and writes the files,
//! somebody has his own way with them on the server, the agent reads them back and judges. What goes
//! wrong here goes wrong at the server; the sandbox is healthy throughout.

#![cfg(feature = "sandbox")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use landfall::canary::{Claim, Outcome, Verdict};

use crate::fixtures::{
    sshd::{Sshd, left_out},
    watch::{Between, Scene, Watch},
};

/// Runs of every route: the second and third meet what the one before left.
const RUNS: usize = 3;
const TERMS: &str = "modes = [\"append\"]\nevery = \"4s\"\nobjective = \"4s\"\ndeadline = \"10s\"";

/// A folder on the server that the agent opens with a key and the platform with a password.
fn folder(scene: &mut Scene, server: &Sshd, name: &str, dialect: &str) {
    let (user, port, print) = (&server.user, server.port, server.fingerprint("host_ed25519"));
    let key = scene.secret(&server.key("user_ed25519"));
    let result_url =
        scene.secret(&format!("sftp://{user}:{}@127.0.0.1:{port}/~/drop/{name}", server.password.replace(' ', "%20")));
    scene.section(&format!(
        "[target.{name}.sftp]\nurl = \"sftp://{user}@127.0.0.1:{port}/~/drop/{name}\"\nkey = {key}\n\
         host_key = \"{print}\"\nresult_url = {result_url}\n{dialect}"
    ));
}

/// The files of runs in a target's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    found
        .filter(|path| path.is_file() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .collect()
}

/// Changes every file of a target that was not changed before.
fn meddle(server: &Sshd, name: &str, change: impl Fn(&Path, &str) + Send + Sync + 'static) -> Between {
    let (folder, change) = (server.home().join("drop").join(name), Arc::new(change));
    let done: Arc<std::sync::Mutex<Vec<PathBuf>>> = Arc::default();
    Box::new(move || {
        let (folder, change, done) = (folder.clone(), change.clone(), done.clone());
        Box::pin(async move {
            for file in files(&folder) {
                let mut done = done.lock().expect("whole");
                if !done.contains(&file) {
                    change(&file, &std::fs::read_to_string(&file).expect("readable"));
                    done.push(file);
                }
            }
        })
    })
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_in_every_mode_and_dialect() {
    if left_out() {
        return;
    }
    let server = Sshd::start();
    server.put("drop/.keep", b"");
    let mut scene = Scene::new().await;
    scene.platform("p");
    let dialects = [
        ("plain", ""),
        ("packed", "format = \"tsv\"\ncompression = \"gz\"\nheader = false\nnull_text = \"\\\\N\""),
        ("squeezed", "compression = \"bzip2\"\nquote_policy = \"all\"\nnewline = \"lf\"\ndelimiter = \";\""),
        ("bare", "quote_policy = \"none\"\nnull_text = \"NULL\"\nnewline = \"crlf\"\ndelimiter = \"|\""),
        ("escaped", "quote_policy = \"none\"\nescape = \"\\\\\"\nnewline = \"lf\""),
        ("lines", "format = \"jsonl\""),
    ];
    for (name, dialect) in dialects {
        folder(&mut scene, &server, name, dialect);
    }
    // A login with a password, known by a file, and the whole path.
    let known = scene.secret(&server.known_hosts("host_rsa"));
    let (known, password) = (known.replace("{ file = ", "").replace(" }", ""), scene.secret(&server.password));
    let path = server.home().join("drop/whole");
    scene.section(&format!(
        "[target.whole.sftp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\npath = {path:?}\npassword = {password}\n\
         known_hosts = {known}",
        server.port, server.user
    ));
    let names: Vec<&str> = dialects.iter().map(|(name, _)| *name).chain(["whole"]).collect();
    let terms = "modes = [\"append\", \"replace\"]\nevery = \"10s\"\nobjective = \"40s\"\ndeadline = \"80s\"";
    scene.canary("files", "p", &names, terms);
    let watch = scene.watch().await;
    assert_eq!(watch.routes.len(), 14);
    watch
        .until("every route lands again and again, and nothing else", |record| {
            let wrong = record.verdicts.iter().any(|heard| heard.verdict.outcome != Outcome::Landed);
            assert!(!wrong, "{}", record.text());
            let landed = |id| record.verdicts.iter().filter(|heard| heard.route.id == id).count();
            watch.routes.iter().all(|route| landed(route.id) >= RUNS).then_some(())
        })
        .await;
    watch.stop().await;
    for name in names {
        assert!(files(&server.home().join("drop").join(name)).len() >= RUNS, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_does_to_files_is_called_by_its_name() {
    if left_out() {
        return;
    }
    let server = Sshd::start();
    server.put("drop/.keep", b"");
    let cases: [(&str, Between, Outcome); 5] = [
        ("deleted", meddle(&server, "deleted", |file, _| std::fs::remove_file(file).expect("removed")), Outcome::Lost),
        ("emptied", meddle(&server, "emptied", |file, _| write(file, "")), Outcome::Lost),
        (
            "cut",
            meddle(&server, "cut", |file, text| write(file, &text[..text.floor_char_boundary(text.len() / 2)])),
            Outcome::Partial,
        ),
        (
            "doubled",
            meddle(&server, "doubled", |file, text| write(&file.with_extension("001.csv"), text)),
            Outcome::Duplicated,
        ),
        (
            "edited",
            meddle(&server, "edited", |file, text| write(file, &text.replace("plain", "qlain"))),
            Outcome::Corrupted,
        ),
    ];
    let mut scene = Scene::new().await;
    let mut expected = Vec::new();
    for (name, between, outcome) in cases {
        scene.platform(name);
        scene.between(name, between);
        folder(&mut scene, &server, name, "");
        scene.canary(name, name, &[name], TERMS);
        expected.push((name, outcome));
    }
    let watch = scene.watch().await;
    for (name, outcome) in expected {
        judged(&watch, name, outcome).await;
    }
    watch.stop().await;
}

/// Two runs are judged for good as they should be, with a control that began after the claim, and none is
/// called landed or another silent loss.
async fn judged(watch: &Watch, target: &str, outcome: Outcome) {
    let proven = |verdict: &Verdict| {
        let claimed = verdict.evidence.claimed_at;
        let control = |after| verdict.evidence.controls.iter().any(|c| c.passed.is_ok() && c.started_at >= after);
        matches!(verdict.evidence.claim, Claim::Done { .. }) && claimed.is_some_and(control)
    };
    watch
        .until(&format!("{target} is {outcome}"), |record| {
            (record.finals(target).filter(|verdict| verdict.outcome == outcome && proven(verdict)).count() >= 2)
                .then_some(())
        })
        .await;
    watch.look(|record| {
        let other = |verdict: &Verdict| verdict.outcome.is_silent() || verdict.outcome == Outcome::Landed;
        let right = record.on(target).all(|verdict| verdict.outcome == outcome || !other(verdict));
        assert!(right, "{target} was to be {outcome}\n{}", record.text());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_an_earlier_run_in_the_place_of_ours_is_stale() {
    if left_out() {
        return;
    }
    let server = Sshd::start();
    server.put("drop/.keep", b"");
    let mut scene = Scene::new().await;
    scene.platform("p");
    folder(&mut scene, &server, "restored", "");
    let drop = server.home().join("drop");
    let old: Arc<std::sync::Mutex<Option<String>>> = Arc::default();
    scene.between(
        "p",
        Box::new(move || {
            let (drop, old) = (drop.clone(), old.clone());
            Box::pin(async move {
                let routes =
                    std::fs::read_dir(&drop).expect("readable").flatten().map(|entry| entry.path().join("data.csv"));
                for file in routes.filter(|file| file.is_file()) {
                    let mut old = old.lock().expect("whole");
                    match &*old {
                        // Whatever comes, the first one's rows come back.
                        Some(text) => write(&file, text),
                        None => *old = std::fs::read_to_string(&file).ok(),
                    }
                }
            })
        }),
    );
    scene.canary(
        "c",
        "p",
        &["restored"],
        "modes = [\"replace\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"",
    );
    let watch = scene.watch().await;
    watch
        .until("it is stale", |record| {
            (record.finals("restored").filter(|verdict| verdict.outcome == Outcome::Stale).count() >= 2).then_some(())
        })
        .await;
    watch.look(|record| {
        let wrong = |outcome: Outcome| outcome.is_silent() && outcome != Outcome::Stale;
        assert!(!record.on("restored").any(|verdict| wrong(verdict.outcome)), "{}", record.text());
        let landed = record.finals("restored").filter(|verdict| verdict.outcome == Outcome::Landed).count();
        assert!(landed <= 1, "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_is_what_nobody_can_see_and_no_loss() {
    if left_out() {
        return;
    }
    let server = Arc::new(Sshd::start());
    server.put("drop/.keep", b"");
    let mut scene = Scene::new().await;
    scene.platform("p");
    folder(&mut scene, &server, "stopped", "");
    scene.canary(
        "c",
        "p",
        &["stopped"],
        "modes = [\"append\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"",
    );
    // Stopped when rows were written and not yet read.
    let (stops, of) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), server.clone());
    let stop = stops.clone();
    scene.between(
        "p",
        Box::new(move || {
            let (stop, of) = (stop.clone(), of.clone());
            Box::pin(async move {
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    of.stop();
                }
            })
        }),
    );
    let watch = scene.watch().await;
    let landed = |n: usize| {
        move |record: &crate::fixtures::watch::Record| {
            (record.finals("stopped").filter(|verdict| verdict.outcome == Outcome::Landed).count() > n).then_some(())
        }
    };
    watch.until("it lands", landed(0)).await;
    stops.store(true, std::sync::atomic::Ordering::SeqCst);
    watch
        .until("it is unknown", |record| record.finals("stopped").any(|v| v.outcome == Outcome::Unknown).then_some(()))
        .await;
    stops.store(false, std::sync::atomic::Ordering::SeqCst);
    server.run();
    let before = watch.look(|record| record.finals("stopped").filter(|v| v.outcome == Outcome::Landed).count());
    watch.until("it lands again", landed(before)).await;
    watch.look(|record| {
        assert!(!record.on("stopped").any(|verdict| verdict.outcome.is_silent()), "{}", record.text());
    });
    watch.stop().await;
}

//! A folder on an SFTP server as a target, on a real OpenSSH.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Run, Secret, Sighting, Timestamp, Value},
    target::{
        ControlBy, Target, TargetError,
        decode::Format,
        dialect::{Compression, Dialect, Newline, Quotes},
        files::Prefix,
        sftp::{HostKeys, Login, Outlet, Proof, Server, Settings, target},
    },
};

use crate::fixtures::{
    rows::{NOON, csv, delimited, run, run_at, values},
    sshd::{Sshd, left_out},
};

fn settings(server: &Sshd) -> Settings {
    let password = Secret::new(server.password.as_str());
    let known = HostKeys::fingerprint(&server.fingerprint("host_ed25519")).unwrap();
    Settings {
        server: Server {
            host: "127.0.0.1".to_owned(),
            port: server.port,
            login: Login { user: server.user.clone(), proofs: vec![Proof::Password(password.clone())] },
            host_keys: HostKeys::Fingerprints(vec![known]),
        },
        outlet: Outlet {
            host: "127.0.0.1".to_owned(),
            port: server.port,
            user: server.user.clone(),
            password: Some(password),
            path: None,
            absolute: false,
        },
        prefix: Prefix::new("in/canary").unwrap(),
        absolute: false,
        dialect: Dialect::of(Format::Csv),
        control: ControlBy::Write,
    }
}

/// A server, whose user has the folder above the canary's.
fn start() -> Sshd {
    let server = Sshd::start();
    server.put("in/.keep", b"");
    server
}

fn with(server: &Sshd, change: impl FnOnce(&mut Settings)) -> Arc<dyn Target> {
    let mut settings = settings(server);
    change(&mut settings);
    target(settings)
}

async fn look(target: &Arc<dyn Target>, run: &Arc<Run>) -> Sighting {
    target.look(std::slice::from_ref(run)).await.unwrap().remove(0)
}

async fn failure(target: &Arc<dyn Target>, run: &Arc<Run>) -> TargetError {
    target.look(std::slice::from_ref(run)).await.unwrap_err()
}

fn key(run: &Run, rest: &str) -> String {
    format!("in/canary/{}{rest}", run.marker)
}

fn counts(seen: &Sighting) -> (u32, u32, u32, u32) {
    (seen.rows.right, seen.rows.missing, seen.rows.copies, seen.rows.changed)
}

#[tokio::test]
async fn every_key_and_password_opens_the_folder_and_every_known_host_key_is_trusted() {
    if left_out() {
        return;
    }
    let (server, run) = (start(), run(Mode::Append));
    server.put(&key(&run, ".csv"), &csv(&values(&run)));
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known_hosts");
    for host_key in ["host_ed25519", "host_rsa"] {
        std::fs::write(
            &known,
            format!("# a comment\nother.example.com ssh-ed25519 AAAA\n{}", server.known_hosts(host_key)),
        )
        .unwrap();
        for name in ["user_ed25519", "user_rsa", "user_ecdsa", "user_locked", ""] {
            let target = with(&server, |settings| {
                settings.server.host_keys = HostKeys::known(&known, "127.0.0.1", server.port).unwrap();
                if !name.is_empty() {
                    let passphrase = (name == "user_locked").then(|| Secret::new("hunter2"));
                    let key = Proof::key(&Secret::new(server.key(name)), passphrase.as_ref()).unwrap();
                    settings.server.login.proofs = vec![key];
                }
            });
            assert!(look(&target, &run).await.complete(), "{host_key} {name}");
        }
    }
    // A key that is refused is no reason not to try the password.
    let stranger = folder.path().join("stranger");
    let mut keygen = std::process::Command::new("ssh-keygen");
    assert!(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&stranger).status().unwrap().success());
    let text = Secret::new(std::fs::read_to_string(&stranger).unwrap());
    let key = Proof::key(&text, None).unwrap();
    let both = with(&server, |settings| settings.server.login.proofs.insert(0, key.clone()));
    assert!(look(&both, &run).await.complete());
    let alone = with(&server, |settings| settings.server.login.proofs = vec![key]);
    assert!(
        matches!(failure(&alone, &run).await, TargetError::Denied { detail } if detail.contains("refused the login"))
    );
}

#[tokio::test]
async fn a_server_with_another_host_key_is_told_nothing() {
    if left_out() {
        return;
    }
    let (server, run) = (start(), run(Mode::Append));
    let strange = HostKeys::fingerprint("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let known = folder.path().join("known_hosts");
    std::fs::write(&known, server.known_hosts("user_ed25519")).unwrap();
    for host_keys in [HostKeys::Fingerprints(vec![strange]), HostKeys::known(&known, "127.0.0.1", server.port).unwrap()]
    {
        let target = with(&server, |settings| settings.server.host_keys = host_keys);
        for error in [failure(&target, &run).await, target.control().await.unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(error, TargetError::Denied { .. }), "{text}");
            assert!(text.contains(&server.fingerprint("host_ed25519")) && !text.contains("hunter2"), "{text}");
        }
    }
    assert_eq!(server.logins(), 0, "{}", server.log());
    assert!(!server.log().contains("Failed password"), "no password was tried");
    assert!(HostKeys::known(&known, "other.example.com", 22).is_err());
    assert!(HostKeys::known(&folder.path().join("nosuch"), "127.0.0.1", server.port).is_err());
}

#[tokio::test]
async fn what_happens_to_files_is_seen() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let run = run(Mode::Append);
    let rows = values(&run);
    let file = key(&run, ".csv");
    assert!(look(&target, &run).await.rows.nothing(), "before anything is there");
    let mut edited = rows.clone();
    edited[3][2] = Value::Int(5);
    let whole = csv(&rows);
    for (bytes, expected) in [
        (whole.clone(), (20, 0, 0, 0)),
        (csv(&rows[..19]), (19, 1, 0, 0)),
        (csv(&[rows.clone(), rows.clone()].concat()), (20, 0, 20, 0)),
        (csv(&edited), (19, 0, 0, 1)),
        (Vec::new(), (0, 20, 0, 0)),
        (csv(&[]), (0, 20, 0, 0)),
        // Written again in the same second, with the same length.
        (String::from_utf8(whole.clone()).unwrap().replace("plain", "qlain").into_bytes(), (18, 0, 0, 2)),
        (whole.clone(), (20, 0, 0, 0)),
    ] {
        server.put(&file, &bytes);
        assert_eq!(counts(&look(&target, &run).await), expected);
    }
    server.put(&file, &whole[..whole.len() / 2]);
    let cut = look(&target, &run).await.rows;
    assert!(cut.right > 3 && cut.missing > 3 && cut.copies == 0, "{cut}");
    server.put(&file, &whole);
    server.put(&key(&run, "-2.csv"), &csv(&rows[..7]));
    assert_eq!(counts(&look(&target, &run).await), (20, 0, 7, 0), "a second file");
    server.remove(&key(&run, "-2.csv"));
    server.remove(&file);
    assert!(look(&target, &run).await.rows.nothing(), "deleted");
    std::fs::remove_dir(server.home().join("in/canary")).unwrap();
    assert!(look(&target, &run).await.rows.nothing(), "its folder gone");
    assert_eq!(server.logins(), 1, "one connection for all of it");
}

#[tokio::test]
async fn what_is_not_finished_is_neither_landed_nor_somebody_elses() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let run = run(Mode::Append);
    let whole = csv(&values(&run));
    for name in [".csv.tmp", ".csv.filepart", "/_temporary/0/part-0.csv", "/.part-0.csv.crc", "/_SUCCESS"] {
        server.put(&key(&run, name), &whole);
    }
    for name in [
        format!(".{}.csv", run.marker),
        format!("_{}.csv", run.marker),
        "_temporary/0/x.csv".to_owned(),
        "upload.tmp".to_owned(),
        "_SUCCESS".to_owned(),
    ] {
        server.put(&format!("in/canary/{name}"), &whole);
    }
    assert!(look(&target, &run).await.rows.nothing());
    server.put(&key(&run, "/part-00000-1b4e28ba-2fa1-11d2-883f-0016d3cca427-c000.csv"), &csv(&values(&run)[..11]));
    server.put(&key(&run, "/part-00001-1b4e28ba-2fa1-11d2-883f-0016d3cca427-c000.csv"), &csv(&values(&run)[11..]));
    server.put(&key(&run, "/part-00002-1b4e28ba-2fa1-11d2-883f-0016d3cca427-c000.csv"), b"");
    assert!(look(&target, &run).await.complete());
}

#[tokio::test]
async fn many_runs_are_one_listing_and_a_read_each_on_one_connection() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let runs: Vec<_> = (0..100).map(|n| run_at(Mode::Append, NOON.plus(Duration::from_secs(n)))).collect();
    for run in &runs[1..] {
        server.put(&key(run, ".csv"), &csv(&values(run)));
    }
    let (one, two) = tokio::join!(target.look(&runs), target.look(&runs));
    for seen in [one.unwrap(), two.unwrap()] {
        assert!(seen[0].rows.nothing() && seen[1..].iter().all(Sighting::complete));
    }
    assert_eq!(server.logins(), 1);
}

#[tokio::test]
async fn a_large_file_is_read_whole_and_one_too_large_in_part() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let mut large = (*run(Mode::Append)).clone();
    large.sample.rows = 3000;
    let large = Arc::new(large);
    let bytes = csv(&values(&large));
    assert!(bytes.len() > 8 * 32 * 1024);
    server.put(&key(&large, ".csv"), &bytes);
    assert!(look(&target, &large).await.complete());
    let run = run(Mode::Append);
    server.put(&key(&run, ".csv"), &[csv(&values(&run)), vec![b'\n'; 30_000_000]].concat());
    assert!(!look(&target, &run).await.complete());
}

#[tokio::test]
async fn rows_of_an_earlier_run_are_strangers_where_only_ours_may_stand() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let (old, new) = (run_at(Mode::Replace, NOON), run_at(Mode::Replace, NOON.plus(Duration::from_secs(60))));
    let path = format!("in/canary__{}/data.csv", old.route.id);
    assert_eq!(target.address(&old).place, path);
    assert!(look(&target, &old).await.rows.nothing());
    server.put(&path, &csv(&values(&old)));
    let seen = target.look(&[old.clone(), new.clone()]).await.unwrap();
    assert!(seen[0].complete());
    assert_eq!((seen[1].rows.missing, &seen[1].strangers), (20, &vec![old.marker]));
    server.put(&path, &csv(&[values(&new), values(&old)].concat()));
    let seen = look(&target, &new).await;
    assert!(seen.rows.complete() && !seen.complete());
    // A directory at the path, as engines leave it.
    server.remove(&path);
    server.put(&format!("{path}/part-00000-c000.csv"), &csv(&values(&new)));
    server.put(&format!("{path}/_SUCCESS"), b"");
    assert!(look(&target, &new).await.complete());
}

#[tokio::test]
async fn a_folder_that_is_not_a_canarys_is_refused_and_left_alone() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let run = run_at(Mode::Append, NOON);
    server.put(&key(&run, ".csv"), &csv(&values(&run)));
    server.put("in/canary/customers/2015.csv", b"id\r\n1\r\n");
    let error = failure(&target, &run).await;
    assert!(matches!(&error, TargetError::Foreign { detail } if detail.contains("customers/2015.csv")), "{error}");
    target.sweep(NOON.plus(Duration::from_secs(1))).await.unwrap();
    assert!(server.has("in/canary/customers/2015.csv") && !server.has(&key(&run, ".csv")));
}

#[tokio::test]
async fn a_control_writes_reads_and_removes_a_file_of_its_own() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    for _ in 0..2 {
        target.control().await.unwrap();
        assert_eq!(std::fs::read_dir(server.home().join("in/canary__control")).unwrap().count(), 0);
    }
    assert_eq!(server.logins(), 1);
}

#[tokio::test]
async fn a_control_that_may_only_read_reads_back_a_run_that_is_young_enough() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |settings| settings.control = ControlBy::Read);
    let unproven = async || matches!(target.control_since(NOON).await, Err(TargetError::Unproven { .. }));
    assert!(unproven().await);
    let (old, other) = (run_at(Mode::Append, NOON.minus(Duration::from_secs(1))), run_at(Mode::Append, NOON));
    server.put(&key(&old, ".csv"), &csv(&values(&old)));
    assert!(unproven().await, "too old");
    server.put(&key(&other, ".csv"), &csv(&values(&old)));
    assert!(unproven().await, "not its rows");
    server.put(&key(&other, ".csv.tmp"), &csv(&values(&other)));
    server.put(&key(&other, "-2.csv"), b"");
    assert!(unproven().await, "not there yet");
    server.put(&key(&other, ".csv"), &csv(&values(&other)[4..5]));
    target.control_since(NOON).await.unwrap();
    server.remove(&key(&other, ".csv"));
    let replaced = run_at(Mode::Replace, NOON);
    server.put(&format!("in/canary__{}/data.csv", replaced.route.id), &csv(&values(&replaced)));
    target.control_since(NOON).await.unwrap();
    assert!(!server.has("in/canary__control"));
    assert_eq!(target.sweep(NOON).await.unwrap().removed, 0);
    assert!(server.has(&key(&old, ".csv")));
}

#[tokio::test]
async fn a_sweep_removes_old_canary_files_and_nothing_else() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let at = |n: u64| run_at(Mode::Append, NOON.plus(Duration::from_secs(n)));
    let (old, new): (Vec<_>, Vec<_>) = ((0..300).map(at).collect(), (3600..3603).map(at).collect());
    for run in old.iter().chain(&new) {
        server.put(&key(run, ".csv"), b"");
    }
    for rest in ["/part-0.csv", "/_SUCCESS", "/.part-0.csv.crc", "/_temporary/0/part-1.csv"] {
        server.put(&key(&old[0], rest), b"x");
    }
    server.put(&format!("in/canary/.{}.csv.tmp", old[1].marker), b"x");
    let replaced = format!("in/canary__{}/data.csv", run(Mode::Replace).route.id);
    let left = format!("in/canary__control/{}", landfall::canary::Marker::mint(Timestamp::EPOCH, 7));
    let others = [
        "in/canary/.keep",
        "in/canary/_SUCCESS",
        "in/canary/zz.tmp",
        "in/canary2/x.csv",
        "in/canary__control/other",
        &format!("in/canary/{}0.csv", old[0].marker),
        &format!("in/{}.csv", old[0].marker),
        &left,
        &replaced,
    ];
    for other in others {
        server.put(other, b"x");
    }
    let swept = target.sweep(NOON.plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(swept.removed, 305);
    assert!(!server.has(&key(&old[0], "")), "its folder, too");
    assert!(new.iter().all(|run| server.has(&key(run, ".csv"))));
    for other in others {
        assert!(server.has(other), "{other}");
    }
    let swept = target.sweep(Timestamp::from_secs(4_000_000_000)).await.unwrap();
    assert_eq!(swept.removed, 4);
    assert!(!server.has(&left) && server.has("in/canary__control/other") && server.has(&replaced));
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_told_apart_and_holds_no_password() {
    if left_out() {
        return;
    }
    let (server, run) = (start(), run(Mode::Append));
    server.put(&key(&run, ".csv"), &csv(&values(&run)));
    let good = with(&server, |_| {});
    let wrong = with(&server, |settings| {
        settings.server.login.proofs = vec![Proof::Password(Secret::new("hunter2hunter2"))];
    });
    let nobody = with(&server, |settings| settings.server.login.user = "nobody-here".to_owned());
    let away = with(&server, |settings| settings.server.port = 1);
    for (target, kind) in [(wrong, "access denied"), (nobody, "access denied"), (away, "unreachable")] {
        for error in [failure(&target, &run).await, target.control().await.unwrap_err()] {
            let text = format!("{error} {error:?} {target:?}");
            assert!(text.starts_with(kind) && !text.contains("hunter2"), "{text}");
        }
    }
    assert!(look(&good, &run).await.complete());
    let may = |path: &str, mode: u32| {
        std::fs::set_permissions(server.home().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    may("in/canary", 0o000);
    let error = failure(&good, &run).await;
    assert!(matches!(error, TargetError::Denied { .. }), "{error}");
    may("in/canary", 0o755);
    // It is this one file then, and no other is kept from being read.
    may(&key(&run, ".csv"), 0o000);
    let error = failure(&good, &run).await;
    assert!(matches!(&error, TargetError::Nonsense { detail } if detail.contains("cannot be read")), "{error}");
    may(&key(&run, ".csv"), 0o644);
    may("in", 0o555);
    assert!(look(&good, &run).await.complete(), "looking takes no right to write");
    let error = good.control().await.unwrap_err();
    assert!(matches!(&error, TargetError::Denied { detail } if detail.contains("control = \"read\"")), "{error}");
    may("in", 0o755);
    server.stop();
    for error in [failure(&good, &run).await, good.control().await.unwrap_err()] {
        assert!(matches!(error, TargetError::Unreachable { .. }), "{error}");
    }
    server.run();
    assert!(look(&good, &run).await.complete(), "back again");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let known = HostKeys::fingerprint("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU").unwrap();
    let port = silent.local_addr().unwrap().port();
    let login = Login { user: "u".to_owned(), proofs: vec![Proof::Password(Secret::new("p"))] };
    let target = target(Settings {
        server: Server { host: "127.0.0.1".to_owned(), port, login, host_keys: HostKeys::Fingerprints(vec![known]) },
        outlet: Outlet { host: "h".to_owned(), port, user: "u".to_owned(), password: None, path: None, absolute: true },
        prefix: Prefix::new("canary").unwrap(),
        absolute: true,
        dialect: Dialect::of(Format::Csv),
        control: ControlBy::Write,
    });
    let runs = [run(Mode::Append)];
    let (looked, control) = tokio::join!(target.look(&runs), target.control());
    assert!(matches!(looked, Err(TargetError::Unreachable { .. })));
    assert!(matches!(control, Err(TargetError::Unreachable { .. })));
    // One that answers with something else than SSH, without end.
    let noisy = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        loop {
            let Ok((mut stream, _)) = silent.accept().await else { return };
            tokio::spawn(async move { while stream.write_all(&[b'x'; 65536]).await.is_ok() {} });
        }
    });
    assert!(target.look(&runs).await.is_err());
    noisy.abort();
}

#[tokio::test]
async fn links_are_not_followed() {
    if left_out() {
        return;
    }
    let server = start();
    let target = with(&server, |_| {});
    let run = run(Mode::Append);
    server.put("elsewhere/rows.csv", &csv(&values(&run)));
    server.put("in/canary/.keep", b"");
    for rest in [".csv", "/"] {
        let link = server.home().join(key(&run, rest.trim_end_matches('/')));
        std::os::unix::fs::symlink(
            server.home().join(if rest == "/" { "elsewhere" } else { "elsewhere/rows.csv" }),
            &link,
        )
        .unwrap();
    }
    assert!(look(&target, &run).await.rows.nothing());
}

#[tokio::test]
async fn platforms_get_a_url_with_login_and_dialect_and_people_one_without_the_password() {
    if left_out() {
        return;
    }
    let (server, append) = (start(), run(Mode::Append));
    let dialect = Dialect {
        compression: Compression::Bzip2,
        delimiter: '|',
        quotes: Quotes::All,
        escape: Some('\\'),
        null_text: Some("\\N".to_owned()),
        newline: Some(Newline::Lf),
        header: false,
        ..Dialect::of(Format::Csv)
    };
    let target = with(&server, |settings| {
        settings.dialect = dialect.clone();
        settings.outlet = Outlet {
            host: "::1".to_owned(),
            port: 2222,
            user: "us@er".to_owned(),
            password: Some(Secret::new("hunter2/+")),
            path: Some("/up load/canary/".to_owned()),
            absolute: true,
        };
    });
    let rest = "format=csv&compression=bzip2&header=false&delimiter=%7C&quote_policy=ALL&escape=%5C&null=%5CN&newline=LF\
                &user_directory_is_root=false";
    let address = target.address(&append);
    let file = format!("@[::1]:2222/up%20load/canary/{}.csv.bz2?{rest}&mode=append", append.marker);
    assert_eq!(address.url.reveal(), format!("sftp://us%40er:hunter2%2F%2B{file}"));
    assert_eq!(address.shown, format!("sftp://us%40er:…{file}"));
    assert_eq!(address.place, format!("/up load/canary/{}.csv.bz2", append.marker));
    let replace = run(Mode::Replace);
    let address = target.address(&replace);
    let file = format!("/up%20load/canary__{}/data.csv.bz2?{rest}&mode=replace", replace.route.id);
    assert!(address.shown.ends_with(&file), "{}", address.shown);
    assert!(!format!("{address:?}").contains("hunter2"));
    server.put(&key(&append, ".csv"), &delimited(&values(&append), b'|', false, "\\N"));
    assert!(look(&target, &append).await.complete(), "quoted or not, packed or not: the rows are what counts");
}

#[tokio::test]
async fn what_is_typed_by_hand_reads_what_a_look_reads() {
    if left_out() {
        return;
    }
    let server = start();
    let (folder, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = |name: &str, text: &str| {
        let path = bin.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    // Whoever types it has a login, and knows the server.
    let asked = program("asked", &format!("#!/bin/sh\necho '{}'\n", server.password));
    let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no";
    program("sftp", &format!("#!/bin/sh\nexec /usr/bin/sftp {options} \"$@\"\n"));
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    for prefix in ["in/canary", "in/a [b] *it's \"c\" #d", r"in/e\f"] {
        let target = with(&server, |settings| settings.prefix = Prefix::new(prefix).unwrap());
        let (run, other) = (run(Mode::Append), run(Mode::Append));
        for run in [&run, &other] {
            server.put(&target.address(run).place, &csv(&values(run)));
        }
        assert_eq!(look(&target, &run).await.rows.right, 20);
        let typed = target.by_hand(&run).expect("a folder can be read");
        assert!(!typed.contains(&server.password), "{typed}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &typed]).current_dir(&folder).env("PATH", &path);
        shell.env("SSH_ASKPASS", &asked).env("SSH_ASKPASS_REQUIRE", "force");
        let read = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&read.stdout).into_owned() + &String::from_utf8_lossy(&read.stderr);
        let got = |run: &Run| std::fs::read(folder.path().join(format!("{}.csv", run.marker))).ok();
        assert!(got(&run).is_some_and(|bytes| bytes == csv(&values(&run))), "{typed}\n{said}");
        assert_eq!(got(&other), None, "{typed}\n{said}");
    }
}

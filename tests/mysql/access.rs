//! Why a look or a control fails, told apart: no right, no server, a lock, somebody else's table, nonsense.

use std::{sync::Arc, time::Duration};

use landfall::{
    agent::{Clock, sight::Sight},
    canary::{Mode, Secret, Timestamp},
    http::Wire,
    target::{
        Target, TargetError,
        mysql::{MySql, Outlet, Place, Tables},
    },
};
use tokio::io::AsyncWriteExt;

use super::{database, land, look, target};
use crate::fixtures::{
    mariadb::{MariaDb, create, is_left_out, raw},
    rows::run,
};

#[tokio::test]
async fn a_table_that_is_not_a_canarys_is_refused_and_left_alone() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    for table in ["(id int, name text)", "(marker text, name text)", "(row_no int)"] {
        database.sql(&format!("DROP TABLE IF EXISTS canary; CREATE TABLE canary {table}")).await;
        database.sql("INSERT INTO canary VALUES ()").await;
        let target = target(&database);
        let error = target.look(std::slice::from_ref(&run)).await.unwrap_err();
        assert!(matches!(&error, TargetError::Foreign { detail } if detail.contains("`canary`")), "{error}");
        assert_eq!(target.sweep(Timestamp::from_secs(4_000_000_000)).await.unwrap().removed, 0);
        assert_eq!(database.count("SELECT COUNT(*) FROM canary").await, 1);
    }
    database.sql("DROP TABLE canary; CREATE TABLE canary__control (id int)").await;
    let error = target(&database).control().await.unwrap_err();
    assert!(matches!(error, TargetError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_locked_table_is_told_and_not_waited_for() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    land(&database, &run).await;
    let target = MySql::at(&database.agent(), &database.platform(), "canary", Duration::from_secs(2)).unwrap();
    let mut other = database.session().await;
    raw(&mut other, "LOCK TABLES canary WRITE").await;
    let error = target.look(std::slice::from_ref(&run)).await.unwrap_err();
    assert!(matches!(&error, TargetError::Unreachable { detail } if detail.starts_with("locked")), "{error}");
    target.control().await.unwrap();
    raw(&mut other, "UNLOCK TABLES").await;
    assert!(look(&target, &run).await.complete());
}

#[tokio::test]
async fn a_table_in_trouble_blinds_only_its_own_routes() {
    let Some(database) = database().await else { return };
    let (appended, replaced) = (run(Mode::Append), run(Mode::Replace));
    land(&database, &appended).await;
    let target = Arc::new(target(&database));
    let sight = Sight::open(Arc::clone(&target) as Arc<dyn Target>, Clock::System, Duration::ZERO);
    let table = target.apart(&replaced).unwrap();
    let look = |run: &Arc<_>| sight.look(Arc::clone(run), &Clock::System);

    database.sql(&format!("CREATE TABLE `{table}` (id int)")).await;
    let (seen, blind) = tokio::join!(look(&appended), look(&replaced));
    assert!(seen.found.unwrap().complete());
    assert!(blind.found.unwrap_err().contains("not a canary's"));

    database.sql(&format!("DROP TABLE `{table}`; {}", create(&table))).await;
    let mut other = database.session().await;
    raw(&mut other, &format!("LOCK TABLES `{table}` WRITE")).await;
    let (seen, blind) = tokio::join!(look(&appended), look(&replaced));
    assert!(seen.found.unwrap().complete());
    assert!(blind.found.unwrap_err().contains("locked"));
    raw(&mut other, "UNLOCK TABLES").await;
    assert!(look(&replaced).await.found.unwrap().rows.nothing());
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_repeated() {
    let Some(database) = database().await else { return };
    for url in [database.url("agent", "hunter2"), database.url("nobody-known", "hunter2")] {
        let target = MySql::at(&url, &url, "canary", Duration::from_secs(5)).unwrap();
        let run = run(Mode::Append);
        for error in [target.look(&[run]).await.unwrap_err(), target.control().await.unwrap_err()] {
            assert!(matches!(error, TargetError::Denied { .. }), "{error}");
            assert!(!format!("{error} {error:?} {target:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_table_that_may_not_be_read_is_denied_and_not_taken_for_none() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    let user = format!("lodger{:x}", fastrand::u64(..));
    database.root(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'")).await;
    let url = database.url(&user, "x");
    let target = MySql::at(&url, &url, "canary", Duration::from_secs(5)).unwrap();
    let denied = |looked: Result<_, TargetError>| match looked {
        Err(TargetError::Denied { detail }) => detail,
        other => panic!("{other:?}"),
    };
    assert!(denied(target.look(std::slice::from_ref(&run)).await).contains("1044"), "no database is theirs");
    database.root(&format!("CREATE TABLE theirs (id int); GRANT SELECT ON theirs TO {user}@'%'")).await;
    // The server does not even say whether there is such a table.
    assert!(denied(target.look(std::slice::from_ref(&run)).await).contains("1142"));
    land(&database, &run).await;
    assert!(denied(target.look(std::slice::from_ref(&run)).await).contains("1142"));
    database.root(&format!("GRANT SELECT ON canary TO {user}@'%'")).await;
    assert!(look(&target, &run).await.complete());
    database.root(&format!("DROP USER {user}@'%'")).await;
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_ended_by_the_server() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    land(&database, &run).await;
    database.sql("RENAME TABLE canary TO slow; CREATE VIEW canary AS SELECT * FROM slow WHERE SLEEP(30) = 0").await;
    let target = MySql::at(&database.agent(), &database.platform(), "canary", Duration::from_secs(1)).unwrap();
    let error = target.look(std::slice::from_ref(&run)).await.unwrap_err();
    assert!(matches!(&error, TargetError::Unreachable { detail } if detail.contains("(1969)")), "{error}");
    database.sql("DROP VIEW canary; RENAME TABLE slow TO canary").await;
    assert!(look(&target, &run).await.complete());
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_and_seen_again_when_it_is_back() {
    if is_left_out() {
        return;
    }
    let server = Arc::new(MariaDb::start(|_| Vec::new()));
    let (database, run) = (server.database().await, run(Mode::Append));
    land(&database, &run).await;
    let target = target(&database);
    assert!(look(&target, &run).await.complete());
    target.control().await.unwrap();
    server.stop();
    for _ in 0..2 {
        let looked = target.look(std::slice::from_ref(&run)).await;
        assert!(matches!(looked, Err(TargetError::Unreachable { .. })), "{looked:?}");
        assert!(matches!(target.control().await, Err(TargetError::Unreachable { .. })));
    }
    server.run();
    assert!(look(&target, &run).await.complete());
    // Restarted between two looks: the kept connection is dead, the server is not.
    server.stop();
    server.run();
    assert!(look(&target, &run).await.complete());
    target.control().await.unwrap();
}

#[tokio::test]
async fn servers_that_are_none_are_given_up_in_bounded_time_and_without_harm() {
    let greeting = b"\x4a\0\0\0\x0a8.0.40\0\x01\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xff\x15".as_slice();
    for (says, closes) in [
        (b"".as_slice(), false),
        (b"\0\0\0\0", false),
        (b"\x01\0\0\0\x0a", false),
        (b"\xff\xff\xff\0\x0a", true),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true),
        (b"\x05\0\0\0\xff\x10\x04#0", true),
        (greeting, true),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mysql://u:p@{}/d", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.write_all(says).await;
                if !closes {
                    kept.push(socket);
                }
            }
        });
        let target = MySql::at(&url, &url, "canary", Duration::from_millis(200)).unwrap();
        let looked = target.look(&[run(Mode::Append)]).await;
        let given_up = matches!(
            looked,
            Err(TargetError::Unreachable { .. } | TargetError::Nonsense { .. } | TargetError::Denied { .. })
        );
        assert!(given_up, "{says:?}: {looked:?}");
        server.abort();
    }
}

#[tokio::test]
async fn a_server_is_believed_by_the_authorities_that_the_agent_was_told_of() {
    if is_left_out() {
        return;
    }
    let mut certificate = None;
    let server = MariaDb::start(|folder| {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=landfall test", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args([std::ffi::OsStr::new("-keyout"), key.as_os_str(), std::ffi::OsStr::new("-out"), cert.as_os_str()])
            .output()
            .expect("openssl is installed: apt-get install openssl");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        certificate = Some(cert.clone());
        vec![
            format!("--ssl-cert={}", cert.display()),
            format!("--ssl-key={}", key.display()),
            "--require-secure-transport=ON".to_owned(),
        ]
    });
    let (server, certificate) = (Arc::new(server), certificate.unwrap());
    let (database, run) = (server.database().await, run(Mode::Append));
    land(&database, &run).await;
    let look = async |options: &str, bundle: Option<&std::path::Path>| {
        let url = Secret::new(format!("{}?{options}", database.agent()));
        let wire = Wire { ca_bundle: bundle.map(Into::into), ..Wire::default() };
        let place = Place::new(&url, &wire).unwrap();
        let (outlet, tables) = (Outlet::new(&url).unwrap(), Tables::new("canary").unwrap());
        MySql::new(place, outlet, tables, Duration::from_secs(5)).look(std::slice::from_ref(&run)).await
    };
    let known = Some(certificate.as_path());
    let named = format!("ssl-mode=verify_identity&ssl-ca={}", certificate.display());
    for (options, bundle) in [("ssl-mode=verify_identity", known), ("ssl-mode=verify-ca", known), (&named, None)] {
        assert!(look(options, bundle).await.unwrap()[0].complete(), "{options}");
    }
    assert!(look("ssl-mode=required", None).await.unwrap()[0].complete(), "encrypted, to whomever");
    let stranger = look("ssl-mode=verify_identity", None).await;
    assert!(matches!(stranger, Err(TargetError::Unreachable { .. })), "{stranger:?}");
    let plain = look("ssl=false", None).await;
    assert!(matches!(plain, Err(TargetError::Denied { .. })), "{plain:?}");
}

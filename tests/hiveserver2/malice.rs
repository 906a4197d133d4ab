//! Servers that are silent, lie about lengths, never end, or break off: bounded in time and memory,
//! and named for what they are.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

use std::sync::Arc;

use landfall::{
    canary::{Mode, Sample},
    platform::{Platform, PlatformError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::scene::{alone, job, ready};
use crate::fixtures::{
    hiveserver2::{Door, Spark},
    stand_in::{Answer, StandIn, hangs_up, nobody},
};

const SECRET: &str = "hunter2-secret";

/// A driver that may try for six seconds, the least that can be set.
fn driver(endpoint: &str, auth: &str) -> Arc<dyn Platform> {
    let password = std::env::temp_dir().join(format!("password{:x}", fastrand::u64(..)));
    std::fs::write(&password, SECRET).unwrap();
    let login = if auth == "plain" { format!("password = {{ file = {password:?} }}") } else { String::new() };
    let keys = format!("auth = \"{auth}\"\ntimeout = \"6s\"\n{login}");
    let driver = alone(endpoint, &keys, "t = { table = \"t\" }\n").driver();
    std::fs::remove_file(password).unwrap();
    driver
}

/// A server that reads a request, says this, and then perhaps this for ever.
async fn says(first: Vec<u8>, ever: Option<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (first, ever) = (first.clone(), ever.clone());
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&first).await;
                while let Some(more) = &ever {
                    if stream.write_all(more).await.is_err() {
                        return;
                    }
                }
                // Open, and silent.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {}
            });
        }
    });
    format!("tcp://{address}")
}

/// The beginning of an answer to the first call.
fn reply(rest: &[u8]) -> Vec<u8> {
    let head: &[u8] = b"\x80\x01\x00\x02\x00\x00\x00\x0bOpenSession\x00\x00\x00\x01";
    [head, rest].concat()
}

async fn told(driver: &dyn Platform) -> PlatformError {
    let error = driver.prepare(Sample::default()).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_is_silent_or_gone_is_unreachable_and_nothing_has_arrived() {
    for auth in ["plain", "nosasl"] {
        let silent = says(Vec::new(), None).await;
        for endpoint in [silent, hangs_up().await.replace("http", "tcp"), nobody().await.replace("http", "tcp")] {
            let driver = driver(&endpoint, auth);
            let error = told(&*driver).await;
            assert!(matches!(error, PlatformError::Unreachable { .. }), "{endpoint} {auth}: {error}");
            match driver.submit(&job(Mode::Append, "canary")).await {
                Err(PlatformError::Unreachable { never_arrived: true, .. }) => {}
                other => panic!("{endpoint} {auth}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn lengths_that_lie_and_answers_without_end_are_nonsense() {
    let far = i32::MAX.to_be_bytes();
    let login = b"\x05\x00\x00\x00\x00".to_vec();
    let cases = [
        ("plain", [&login[..], &far].concat(), None),
        ("plain", [&login[..], b"\xff\xff\xff\xff"].concat(), None),
        ("plain", b"\x05\x7f\xff\xff\xff".to_vec(), None),
        ("plain", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), None),
        // Frames that never make an answer.
        (
            "plain",
            login.clone(),
            Some([&4096u32.to_be_bytes()[..], &reply(b"\x0f\x00\x00\x03\x7f\xff\xff\xff"), &[0; 4065]].concat()),
        ),
        ("nosasl", reply(&[&[11, 0, 0][..], &far].concat()), None),
        ("nosasl", reply(&[&[11, 0, 0][..], &(-1i32).to_be_bytes()].concat()), None),
        ("nosasl", reply(b"\x0f\x00\x00\x03\x7f\xff\xff\xff"), Some(vec![0; 4096])),
        ("nosasl", reply(b""), Some(b"\x0c\x00\x00".repeat(100))),
        ("nosasl", reply(b"\x00"), None),
        ("nosasl", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), None),
    ];
    for (n, (auth, first, ever)) in cases.into_iter().enumerate() {
        let driver = driver(&says(first, ever).await, auth);
        let error = told(&*driver).await;
        assert!(matches!(error, PlatformError::Nonsense { .. }), "{n}: {error}");
    }
}

#[tokio::test]
async fn a_refused_login_is_denied_and_its_password_not_repeated() {
    let words = format!("Error validating the login {SECRET}");
    let refusal = [&[3][..], &u32::try_from(words.len()).unwrap().to_be_bytes(), words.as_bytes()].concat();
    let error = told(&*driver(&says(refusal, None).await, "plain")).await;
    assert!(matches!(&error, PlatformError::Denied { detail } if detail.contains("validating")), "{error}");
}

#[tokio::test]
async fn what_http_says_is_told_apart() {
    let stand_in = StandIn::start().await;
    let driver = driver(&format!("{}/cliservice", stand_in.url), "plain");
    let kind = |error: &PlatformError| match error {
        PlatformError::Denied { .. } => "denied",
        PlatformError::Refused { .. } => "refused",
        PlatformError::Throttled { .. } => "throttled",
        PlatformError::Broken { .. } => "broken",
        PlatformError::Unreachable { .. } => "unreachable",
        PlatformError::Nonsense { .. } => "nonsense",
        PlatformError::NotFound => "not found",
    };
    for (answer, expected) in [
        (Answer::raw(401, format!("no {SECRET}")), "denied"),
        (Answer::raw(403, ""), "denied"),
        (Answer::raw(404, ""), "refused"),
        (Answer::raw(429, ""), "throttled"),
        (Answer::raw(503, "down"), "broken"),
        (Answer::raw(302, "").with("location", "http://127.0.0.1:1/"), "nonsense"),
        (Answer::raw(200, "<html>"), "nonsense"),
        (Answer::raw(200, ""), "nonsense"),
        (Answer::huge(200, 3), "nonsense"),
        (Answer::breaks_off(), "unreachable"),
        (Answer::slow(), "unreachable"),
        (Answer::nothing(), "unreachable"),
    ] {
        stand_in.says("POST /cliservice", [answer]);
        let error = told(&*driver).await;
        assert_eq!(kind(&error), expected, "{error}");
    }
    let heard = stand_in.heard();
    assert!(heard.iter().all(|heard| heard.headers.contains_key("authorization")), "each call brings the login");
}

#[tokio::test]
async fn cookies_are_brought_back_until_a_login_is_wanted_again() {
    let stand_in = StandIn::start().await;
    let driver = driver(&format!("{}/cliservice", stand_in.url), "plain");
    // A session is opened, the next call is refused.
    let opened = reply(b"\x0c\x00\x00\x0c\x00\x01\x08\x00\x01\x00\x00\x00\x00\x00\x0c\x00\x03\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x01x\x0b\x00\x02\x00\x00\x00\x01y\x00\x00\x00\x00");
    let opened = Answer::raw(200, opened).with("set-cookie", "hive.server2.auth=abc; Path=/; HttpOnly");
    stand_in.says("POST /cliservice", [opened, Answer::raw(401, "expired")]);
    told(&*driver).await;
    let heard = stand_in.heard();
    assert_eq!(heard.len(), 3);
    assert!(!heard[0].headers.contains_key("cookie"));
    assert_eq!(heard[1].headers["cookie"], "hive.server2.auth=abc");
    assert!(!heard[2].headers.contains_key("cookie"), "once more with the login alone");
    assert_eq!(heard[1].body, heard[2].body);
}

/// Stands before a real server, and hangs up on both when it has passed on a statement that inserts.
pub(super) async fn cuts(server: String) -> (String, Arc<std::sync::Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<std::sync::Mutex<Vec<Vec<u8>>>>::default();
    let inserts = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, inserts) = (server.clone(), inserts.clone());
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(&server).await.unwrap();
                let (mut ask, mut said) = ([0; 65_536], [0; 65_536]);
                loop {
                    tokio::select! {
                        n = client.read(&mut ask) => match n {
                            Ok(n @ 1..) => {
                                upstream.write_all(&ask[..n]).await.unwrap();
                                if ask[..n].windows(18).any(|words| words == b"INSERT INTO TABLE ") {
                                    inserts.lock().unwrap().push(ask[..n].to_vec());
                                    // The server has it; its answer is lost.
                                    let _ = upstream.read(&mut said).await;
                                    return;
                                }
                            }
                            _ => return,
                        },
                        n = upstream.read(&mut said) => match n {
                            Ok(n @ 1..) => client.write_all(&said[..n]).await.unwrap(),
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    (format!("tcp://{address}"), seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_statement_is_not_taken_for_one_that_never_arrived() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let (endpoint, inserts) = cuts(spark.endpoint().replace("tcp://", "")).await;
    let keys = format!("seed_location = {:?}", spark.files());
    let driver = alone(&endpoint, &keys, "t = { table = \"nowhere\" }\n").driver();
    ready(&*driver).await;
    match driver.submit(&job(Mode::Append, "canary")).await {
        Err(PlatformError::Unreachable { never_arrived: false, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(inserts.lock().unwrap().len(), 1, "sent once");
}

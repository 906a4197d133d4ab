//! The sandbox's HTTP door: the vendor's own client, faults over HTTP, and hostile requests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall::{
    canary::{
        Address, CanaryName, Carries, Cell, Labels, Marker, Mode, PlatformName, Route, Run, Sample, Secret, Tally,
        TargetName, Terms, Timestamp, Why,
    },
    http::Wire,
    platform::{
        Job, Platform, Progress,
        treasure_data::{Account, Engine, TreasureData},
    },
    sandbox::{
        Guesses, World, bucket,
        http::{Running, Settings, accounts, serve},
    },
};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::fixtures::{mariadb, postgres::Postgres};

#[expect(clippy::disallowed_methods, reason = "tests have no agent to ask for the time")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

async fn sandbox() -> Running {
    sandbox_with(Guesses::default()).await
}

async fn sandbox_with(guesses: Guesses) -> Running {
    let any = "127.0.0.1:0".parse().expect("an address");
    let settings = Settings {
        listen: any,
        bucket_listen: any,
        allow_output: Vec::new(),
        world: World { guesses, ..World::brisk() },
        seed: 1,
        now: Arc::new(now),
    };
    serve(settings).await.expect("a sandbox")
}

/// The Python that has td-client: the one `tests/run` made, or one made here the same way.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("LANDFALL_TEST_PYTHON") {
        return python.into();
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/td-client-1.7.0");
    let python = venv.join("bin/python");
    let has_it = |python: &Path| {
        python.exists() && Command::new(python).args(["-c", "import tdclient"]).status().is_ok_and(|s| s.success())
    };
    if !has_it(&python) {
        let ran = |command: &mut Command| assert!(command.status().expect("python3 is installed").success());
        ran(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        ran(Command::new(&python).args(["-m", "pip", "install", "--quiet", "td-client==1.7.0"]));
    }
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_own_client_runs_unchanged() {
    let running = sandbox().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/td_client/flows.py");
    let [one, two] = accounts();
    let mut command = Command::new(python());
    command
        .arg(script)
        .env("SANDBOX", running.endpoint())
        .env("KEY_ONE", one.key.reveal())
        .env("KEY_TWO", two.key.reveal())
        .env("S3_ENDPOINT", running.bucket.endpoint())
        .env("S3_BUCKET", bucket::NAME)
        .env("S3_PLATFORM_KEY", &running.bucket.platform.id)
        .env("S3_PLATFORM_SECRET", running.bucket.platform.secret.reveal())
        .env("S3_AGENT_KEY", &running.bucket.agent.id)
        .env("S3_AGENT_SECRET", running.bucket.agent.secret.reveal());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("ran").expect("python runs");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("all flows passed"), "{told}");
    running.stop().await;
}

/// Sends bytes as they are and answers with the first line and the body, or with nothing if the
/// connection was closed without a word.
async fn raw(running: &Running, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(running.address).await.expect("connects");
    // A server that has answered may close before it has read everything.
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await.expect("in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_4xx_and_the_sandbox_goes_on() {
    let running = sandbox().await;
    let key = format!("Authorization: TD1 {}\r\nConnection: close\r\n", accounts()[0].key.reveal());
    let host = format!("Host: {}\r\n", running.address);
    let faults = "POST /sandbox/faults HTTP/1.1\r\n";
    for (name, request) in [
        ("foreign host", format!("GET /v3/system/server_status HTTP/1.1\r\nHost: evil.example\r\n{key}\r\n")),
        ("no host", format!("GET /v3/system/server_status HTTP/1.1\r\n{key}\r\n")),
        ("two hosts", format!("GET / HTTP/1.1\r\n{host}Host: evil.example\r\n{key}\r\n")),
        ("foreign authority", format!("GET http://evil.example/ HTTP/1.1\r\n{host}{key}\r\n")),
        ("foreign origin", format!("{faults}{host}{key}Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n")),
        ("climbing", format!("GET /v3/table/list/../../../etc/passwd HTTP/1.1\r\n{host}{key}\r\n")),
        ("encoded climbing", format!("GET /v3/table/list/%2e%2e HTTP/1.1\r\n{host}{key}\r\n")),
        ("encoded slash", format!("GET /v3/table/list/a%2f%2e%2e%2fb HTTP/1.1\r\n{host}{key}\r\n")),
        ("NUL in the path", format!("GET /v3/table/list/a%00 HTTP/1.1\r\n{host}{key}\r\n")),
        ("no UTF-8", format!("GET /v3/table/list/%ff HTTP/1.1\r\n{host}{key}\r\n")),
        ("long path", format!("GET /{} HTTP/1.1\r\n{host}{key}\r\n", "x/".repeat(5000))),
        ("long header", format!("GET / HTTP/1.1\r\n{host}X: {}\r\n{key}\r\n", "x".repeat(200_000))),
        ("many headers", format!("GET / HTTP/1.1\r\n{host}{}{key}\r\n", "X: y\r\n".repeat(5000))),
        (
            "declared too large",
            format!("POST /v3/job/issue/hive/d HTTP/1.1\r\n{host}{key}Content-Length: 99999999999\r\n\r\n"),
        ),
        (
            "large upload",
            format!("PUT /v3/table/import/d/t/msgpack.gz HTTP/1.1\r\n{host}{key}Content-Length: 33554433\r\n\r\n"),
        ),
        (
            "too large in chunks",
            format!(
                "POST /v3/job/issue/hive/d HTTP/1.1\r\n{host}{key}Transfer-Encoding: chunked\r\n\r\n700001\r\n{}",
                "x".repeat(0x0070_0001)
            ),
        ),
        ("length that is none", format!("POST / HTTP/1.1\r\n{host}{key}Content-Length: -1\r\n\r\n")),
        ("both lengths", format!("POST / HTTP/1.1\r\n{host}{key}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
        (
            "wrong type",
            format!(
                "POST /v3/job/issue/hive/d HTTP/1.1\r\n{host}{key}Content-Type: text/xml\r\nContent-Length: 3\r\n\r\n<x>"
            ),
        ),
        (
            "wrong type of a fault",
            format!("{faults}{host}{key}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"),
        ),
        (
            "no boundary",
            format!(
                "POST /v3/job/issue/hive/d HTTP/1.1\r\n{host}{key}Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
            ),
        ),
        ("no key", format!("GET /v3/job/list HTTP/1.1\r\n{host}Connection: close\r\n\r\n")),
        ("no such call", format!("GET /v3/nothing HTTP/1.1\r\n{host}{key}\r\n")),
        ("other verb", format!("BREW /v3/job/list HTTP/1.1\r\n{host}{key}\r\n")),
        ("not HTTP", "\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned()),
    ] {
        let answer = raw(&running, request.as_bytes()).await;
        assert!((400..500).contains(&status(&answer)), "{name}: {answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        if let Ok(body) = serde_json::from_str::<Json>(body) {
            let fields = ["error", "message", "text", "severity", "status_code"];
            assert!(fields.iter().all(|field| !body[field].is_null()), "{name}: {body}");
        }
    }
    let slow = format!("POST /v3/job/issue/hive/d HTTP/1.1\r\n{host}{key}Content-Length: 10\r\n\r\nabc");
    assert_eq!(status(&raw(&running, slow.as_bytes()).await), 408);
    let bucket = TcpStream::connect(running.bucket.address).await.expect("connects");
    let mut bucket = tokio::io::BufStream::new(bucket);
    bucket
        .write_all(b"GET /landfall/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    bucket.flush().await.expect("sent");
    let mut answer = String::new();
    bucket.read_to_string(&mut answer).await.expect("answered");
    assert_eq!(status(&answer), 403);
    let fine = format!("GET //v3//system/server_status/ HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    assert!(raw(&running, fine.as_bytes()).await.contains("{\"status\":\"ok\"}"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_is_not_waited_for_while_others_are_answered() {
    let running = sandbox().await;
    let client = landfall::http::Wire::default().client().expect("a client");
    for address in [running.address, running.bucket.address] {
        let mut half = TcpStream::connect(address).await.expect("connects");
        half.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Slow: ").as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let ended = async { drop(half.read_to_end(&mut rest).await) };
        tokio::pin!(ended);
        let mut answered = 0;
        let went_on = async {
            loop {
                let answer = client.get(format!("http://{address}/")).send().await.expect("others are answered");
                assert!(answer.status() == 200 || answer.status() == 403, "{}", answer.status());
                answered += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = &mut ended => {}
            () = went_on => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{address} still waits for the rest"),
        }
        assert!(answered > 0);
    }
    running.stop().await;
}

/// A client of the sandbox's own, for account one or two.
struct Client {
    http: reqwest::Client,
    endpoint: String,
    key: String,
}

impl Client {
    fn of(running: &Running, account: usize) -> Self {
        let http = landfall::http::Wire::default().client().expect("a client");
        let key = format!("TD1 {}", accounts()[account].key.reveal());
        Self { http, endpoint: running.endpoint(), key }
    }

    async fn send(&self, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.endpoint));
        request = request.header("authorization", &self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).unwrap_or(Json::Null))
    }

    async fn get(&self, path: &str) -> Json {
        let (status, body) = self.send("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Issues a query and waits for its end; the answer is its `job/show`.
    async fn run(&self, kind: &str, result: &str) -> Json {
        let body = json!({ "query": QUERY, "result": result });
        let (status, issued) = self.send("POST", &format!("/v3/job/issue/{kind}/house"), Some(body)).await;
        assert_eq!(status, 200, "{issued}");
        self.end(issued["job_id"].as_str().expect("an id")).await
    }

    async fn end(&self, id: &str) -> Json {
        for _ in 0..200 {
            let job = self.get(&format!("/v3/job/show/{id}")).await;
            if !["queued", "running"].contains(&job["status"].as_str().expect("a status")) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("job {id} does not end")
    }

    async fn inject(&self, fault: Json) -> String {
        let (status, body) = self.send("POST", "/sandbox/faults", Some(fault)).await;
        assert_eq!(status, 200, "{body}");
        body["id"].to_string()
    }

    async fn mend(&self, id: &str) {
        assert_eq!(self.send("DELETE", &format!("/sandbox/faults/{id}"), None).await.0, 200);
    }
}

const QUERY: &str = "SELECT * FROM (VALUES ('m', 1), ('m', 2), ('m', 3), ('m', 4)) AS t(marker, n)";

/// A receiver that keeps the rows of every delivery.
struct Receiver {
    url: String,
    got: Arc<std::sync::Mutex<Vec<Json>>>,
}

impl Receiver {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("web://{}/", listener.local_addr().expect("an address"));
        let got = Arc::new(std::sync::Mutex::new(Vec::new()));
        let keep = got.clone();
        let app = axum::Router::new().fallback(move |body: axum::body::Bytes| {
            let body: Json = serde_json::from_slice(&body).expect("JSON");
            keep.lock().expect("not poisoned").push(body["data"].clone());
            async {}
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, got }
    }

    /// What was delivered since the last time.
    fn take(&self) -> Vec<Json> {
        std::mem::take(&mut *self.got.lock().expect("not poisoned"))
    }

    async fn next(&self) -> Vec<Json> {
        for _ in 0..100 {
            let got = self.take();
            if !got.is_empty() {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing came")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_injected_over_http_spoil_what_they_name_and_nothing_else() {
    let running = sandbox().await;
    let (one, two) = (Client::of(&running, 0), Client::of(&running, 1));
    for client in [&one, &two] {
        assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
    }
    let receiver = Receiver::new().await;
    let all = json!([["m", 1], ["m", 2], ["m", 3], ["m", 4]]);

    // As in 2015: everything on v5 says success and writes nothing; v6 is fine.
    let id = one.inject(json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    for (client, kind) in [(&one, "hive"), (&one, "presto"), (&two, "trino")] {
        let job = client.run(kind, &receiver.url).await;
        assert_eq!((&job["status"], &job["num_records"]), (&json!("success"), &json!(4)), "{job}");
        let export = client.get(&format!("/v3/job/show/{}", job["linked_result_export_job_id"])).await;
        assert_eq!(export["status"], "success");
    }
    assert_eq!(receiver.take(), Vec::<Json>::new());
    assert_eq!(two.run("hive", &receiver.url).await["status"], "success");
    assert_eq!(receiver.take(), std::slice::from_ref(&all));
    one.mend(&id).await;
    assert_eq!(one.send("DELETE", &format!("/sandbox/faults/{id}"), None).await.0, 404);
    one.run("hive", &receiver.url).await;
    assert_eq!(receiver.take(), std::slice::from_ref(&all));

    for (fault, rows) in [
        (json!({ "kind": "partial-output" }), json!([["m", 1], ["m", 2]])),
        (
            json!({ "kind": "duplicate-output" }),
            json!([["m", 1], ["m", 1], ["m", 2], ["m", 2], ["m", 3], ["m", 3], ["m", 4], ["m", 4]]),
        ),
        (json!({ "kind": "corrupt-output" }), json!([["m", -2], ["m", -3], ["m", -4], ["m", -5]])),
    ] {
        let id = one.inject(fault).await;
        assert_eq!(one.run("presto", &receiver.url).await["status"], "success");
        assert_eq!(receiver.take(), [rows]);
        one.mend(&id).await;
    }

    for fault in [json!({ "kind": "delay-output", "by": "1s" }), json!({ "kind": "duplicate-output", "after": "1s" })] {
        let id = one.inject(fault.clone()).await;
        assert_eq!(one.run("hive", &receiver.url).await["status"], "success");
        let at_once = receiver.take();
        assert_eq!(at_once.len(), usize::from(fault["kind"] == "duplicate-output"));
        one.mend(&id).await;
        assert_eq!(receiver.next().await, std::slice::from_ref(&all));
    }

    for (fault, says, delivered) in [
        (json!({ "kind": "stale-output" }), "success", 0),
        (json!({ "kind": "fail-job" }), "error", 0),
        (json!({ "kind": "target-down", "where": { "target": "web" } }), "error", 0),
        (json!({ "kind": "false-error" }), "error", 1),
        (json!({ "kind": "false-killed" }), "killed", 1),
    ] {
        let id = one.inject(fault.clone()).await;
        let job = one.run("hive", &receiver.url).await;
        assert_eq!((&job["status"], receiver.take().len()), (&json!(says), delivered), "{fault}: {job}");
        let is_export = job["linked_result_export_job_id"].is_number();
        assert_eq!(is_export, fault["kind"] != "fail-job", "{fault}: {job}");
        one.mend(&id).await;
    }

    // A job that hangs ends when it is killed; one whose status is frozen works on.
    let id = one.inject(json!({ "kind": "hang-job" })).await;
    let body = json!({ "query": QUERY, "result": receiver.url });
    let (_, hanging) = one.send("POST", "/v3/job/issue/hive/house", Some(body.clone())).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    one.mend(&id).await;
    let path = format!("/v3/job/kill/{}", hanging["job_id"].as_str().expect("an id"));
    assert_eq!(one.send("POST", &path, None).await.1["former_status"], "running");
    let id = one.inject(json!({ "kind": "freeze-status", "where": { "platform": "hadoop1" } })).await;
    let (_, frozen) = one.send("POST", "/v3/job/issue/hive/house", Some(body)).await;
    assert_eq!(receiver.next().await, [all]);
    let path = format!("/v3/job/show/{}", frozen["job_id"].as_str().expect("an id"));
    let shown = one.get(&path).await;
    assert_eq!((&shown["status"], &shown["linked_result_export_job_id"]), (&json!("queued"), &Json::Null));
    one.mend(&id).await;
    assert_eq!(one.end(frozen["job_id"].as_str().expect("an id")).await["status"], "success");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_api_hit_the_calls_of_their_platform() {
    let running = sandbox().await;
    let (one, two) = (Client::of(&running, 0), Client::of(&running, 1));
    for client in [&one, &two] {
        assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
    }
    let submit = json!({ "query": QUERY, "domain_key": "key" });
    let path = "/v3/job/issue/hive/house";

    let id = one.inject(json!({ "kind": "refuse-submit", "where": { "cluster": "hadoop1" }, "status": 429 })).await;
    assert_eq!(one.send("POST", path, Some(submit.clone())).await.0, 429);
    assert_eq!(one.get("/sandbox/jobs").await["jobs"], json!([]));
    assert_eq!(two.send("POST", path, Some(submit.clone())).await.0, 200);
    one.mend(&id).await;
    assert_eq!(one.send("POST", path, Some(submit.clone())).await.0, 200);
    let (status, conflict) = one.send("POST", path, Some(submit)).await;
    assert_eq!((status, &conflict["details"]["conflicts_with"]), (409, &json!("2")));

    let id = one.inject(json!({ "kind": "api-error", "where": { "worker": "v5" } })).await;
    assert_eq!(one.send("GET", "/v3/job/show/2", None).await.0, 500);
    assert_eq!(two.send("GET", "/v3/job/show/1", None).await.0, 200);
    one.mend(&id).await;
    let id = one.inject(json!({ "kind": "api-unreachable", "where": { "platform": "hadoop1" } })).await;
    let dead = one.http.get(format!("{}/v3/job/show/2", running.endpoint())).header("authorization", &one.key);
    assert!(dead.send().await.is_err());
    one.mend(&id).await;
    let jobs = one.get("/sandbox/jobs").await;
    let keys: Vec<(&Json, &Json)> =
        jobs["jobs"].as_array().expect("a list").iter().map(|job| (&job["account"], &job["domain_key"])).collect();
    assert_eq!(keys, [(&json!(1), &json!("key")), (&json!(2), &json!("key"))]);

    for wrong in [
        json!({}),
        json!({ "kind": "no-such-fault" }),
        json!({ "kind": "drop-output", "wheer": {} }),
        json!({ "kind": "drop-output", "where": { "wroker": "v5" } }),
        json!({ "kind": "drop-output", "where": { "worker": "v7" } }),
        json!({ "kind": "drop-output", "rate": 2 }),
        json!({ "kind": "agent-blind", "where": { "target": "web" } }),
        json!({ "kind": "agent-blind" }),
        json!({ "kind": "slow-target", "where": { "target": "bucket" } }),
    ] {
        let (status, body) = one.send("POST", "/sandbox/faults", Some(wrong.clone())).await;
        assert_eq!(status, 422, "{wrong}: {body}");
    }
    assert_eq!(one.get("/sandbox/faults").await, json!({ "faults": [] }));
    assert_eq!(one.send("DELETE", "/sandbox/faults/99", None).await.0, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_land_in_postgresql_as_the_mode_says() {
    let database = Postgres::shared().database().await;
    let running = sandbox().await;
    let client = Client::of(&running, 0);
    assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
    let to = |mode: &str| format!("{}/landed?mode={mode}", database.platform());
    let deliver = async |mode: &str| {
        let job = client.run("presto", &to(mode)).await;
        assert_eq!(job["status"], "success", "{job}");
        assert!(!job.to_string().contains("platform-secret"));
        database.count("SELECT count(*) FROM landed").await
    };
    assert_eq!(deliver("append").await, 4);
    assert_eq!(deliver("append").await, 8);
    assert_eq!(deliver("replace").await, 4);
    assert_eq!(deliver("truncate").await, 4);
    assert_eq!(deliver("update&unique=marker,n").await, 4);
    assert_eq!(database.count("SELECT sum(n)::int8 FROM landed WHERE marker = 'm'").await, 10);

    // What an earlier run wrote stays; `replace` that drops leaves an empty table.
    let id = client.inject(json!({ "kind": "stale-output", "where": { "target": "postgresql" } })).await;
    assert_eq!(deliver("replace").await, 4);
    client.mend(&id).await;
    let id = client.inject(json!({ "kind": "drop-output", "where": { "mode": "replace" } })).await;
    assert_eq!(deliver("replace").await, 0);
    client.mend(&id).await;
    let id = client.inject(json!({ "kind": "duplicate-output", "copies": 3, "after": "500ms" })).await;
    assert_eq!(deliver("replace").await, 4);
    client.mend(&id).await;
    for _ in 0..100 {
        if database.count("SELECT count(*) FROM landed").await == 12 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(database.count("SELECT count(*) FROM landed").await, 12);

    // Jobs that make the table at the same time do not stand in each other's way.
    database.sql("DROP TABLE landed").await;
    let url = to("append");
    let jobs = futures_util::future::join_all((0..4).map(|_| client.run("presto", &url))).await;
    assert!(jobs.iter().all(|job| job["status"] == "success"), "{jobs:?}");
    assert_eq!(database.count("SELECT count(*) FROM landed").await, 16);

    // A table of other types takes what fits; what does not is the job's error, in the server's words.
    database.sql("DROP TABLE landed; CREATE TABLE landed (n numeric, marker varchar(10), more int)").await;
    assert_eq!(deliver("append").await, 4);
    database.sql("ALTER TABLE landed RENAME marker TO other").await;
    let job = client.run("hive", &to("append")).await;
    assert!(job["status"] == "error" && job.to_string().contains("marker"), "{job}");
    let wrong = to("append").replace("platform-secret", "wrong-secret");
    let job = client.run("hive", &wrong).await;
    assert!(job["status"] == "error" && !job.to_string().contains("wrong-secret"), "{job}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_land_in_mysql_as_the_mode_says() {
    if mariadb::is_left_out() {
        return;
    }
    let database = mariadb::MariaDb::shared().database().await;
    let running = sandbox().await;
    let client = Client::of(&running, 0);
    assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
    let to = |mode: &str| format!("{}/landed?mode={mode}", database.platform());
    let deliver = async |mode: &str| {
        let job = client.run("presto", &to(mode)).await;
        assert_eq!(job["status"], "success", "{job}");
        assert!(!job.to_string().contains("platform-secret"));
        database.count("SELECT COUNT(*) FROM landed").await
    };
    assert_eq!(deliver("append").await, 4);
    assert_eq!(deliver("append").await, 8);
    assert_eq!(deliver("replace").await, 4);
    assert_eq!(deliver("truncate").await, 4);
    assert_eq!(deliver("update&unique=marker,n").await, 4);
    assert_eq!(database.count("SELECT CAST(SUM(n) AS SIGNED) FROM landed WHERE marker = 'm'").await, 10);
    database.sql("INSERT INTO landed VALUES ('m', 5), ('M', 1)").await;
    assert_eq!(deliver("update&unique=marker,n").await, 6, "rows of other keys stay");

    // Faults that name this type hit it, in each way of spoiling.
    let spoiled = async |mut fault: Json, mode: &str| {
        fault["where"] = json!({ "target": "mysql" });
        let id = client.inject(fault).await;
        let count = deliver(mode).await;
        client.mend(&id).await;
        count
    };
    assert_eq!(spoiled(json!({ "kind": "stale-output" }), "replace").await, 6);
    assert_eq!(spoiled(json!({ "kind": "drop-output" }), "replace").await, 0);
    assert_eq!(spoiled(json!({ "kind": "partial-output" }), "replace").await, 2);
    assert_eq!(spoiled(json!({ "kind": "duplicate-output" }), "truncate").await, 8);
    assert_eq!(spoiled(json!({ "kind": "corrupt-output" }), "truncate").await, 4);
    assert_eq!(database.count("SELECT CAST(SUM(n) AS SIGNED) FROM landed").await, -14);
    assert_eq!(spoiled(json!({ "kind": "delay-output", "by": "500ms" }), "append").await, 4);
    let there = async |rows: i64| {
        for _ in 0..100 {
            if database.count("SELECT COUNT(*) FROM landed").await == rows {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(database.count("SELECT COUNT(*) FROM landed").await, rows);
    };
    there(8).await;
    assert_eq!(spoiled(json!({ "kind": "duplicate-output", "copies": 3, "after": "500ms" }), "replace").await, 4);
    there(12).await;
    let id = client.inject(json!({ "kind": "drop-output", "where": { "target": "postgresql" } })).await;
    assert_eq!(deliver("replace").await, 4, "another type's fault is not its");
    client.mend(&id).await;

    // Jobs that make the table at the same time do not stand in each other's way.
    database.sql("DROP TABLE landed").await;
    let url = to("append");
    let jobs = futures_util::future::join_all((0..4).map(|_| client.run("presto", &url))).await;
    assert!(jobs.iter().all(|job| job["status"] == "success"), "{jobs:?}");
    assert_eq!(database.count("SELECT COUNT(*) FROM landed").await, 16);

    // A table of other types takes what fits; what does not is the job's error, in the server's words.
    database.sql("DROP TABLE landed; CREATE TABLE landed (n decimal(5), marker varchar(10), more int)").await;
    assert_eq!(deliver("append").await, 4);
    database.sql("ALTER TABLE landed CHANGE marker other varchar(10)").await;
    let job = client.run("hive", &to("append")).await;
    assert!(job["status"] == "error" && job.to_string().contains("marker"), "{job}");
    let wrong = to("append").replace("platform-secret", "wrong-secret");
    let job = client.run("hive", &wrong).await;
    assert!(job["status"] == "error" && !job.to_string().contains("wrong-secret"), "{job}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn td_tables_take_results_too_and_other_accounts_by_key() {
    let running = sandbox().await;
    let (one, two) = (Client::of(&running, 0), Client::of(&running, 1));
    for client in [&one, &two] {
        assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
    }
    let count = async |client: &Client| client.get("/v3/table/show/house/landed").await["count"].clone();
    for (mode, rows) in [("append", 4), ("append", 8), ("replace", 4)] {
        one.run("presto", &format!("td://@/house/landed?mode={mode}")).await;
        assert_eq!(count(&one).await, json!(rows), "{mode}");
    }
    let key = accounts()[1].key.reveal().replace('/', "%2F");
    let job = one.run("hive", &format!("td://{key}@/house/landed")).await;
    assert!(job["status"] == "success" && job["result"] == "td://@/house/landed", "{job}");
    assert_eq!(count(&two).await, json!(4));
    running.stop().await;
}

/// What is imported, queried and delivered is what the judge expects, hard values included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_s_sample_comes_through_whole() {
    let running = sandbox().await;
    let receiver = Receiver::new().await;
    for (engine, name) in [(Engine::Presto, "presto"), (Engine::Hive, "hive"), (Engine::Trino, "trino")] {
        let account = Account::new(&running.endpoint(), accounts()[0].key.clone(), "landfall", engine);
        let driver = TreasureData::new(account.expect("right settings"), &Wire::default()).expect("a client");
        let route = Route::new(
            CanaryName::new("c").expect("valid"),
            PlatformName::new(name).expect("valid"),
            TargetName::new("web").expect("valid"),
            Mode::Append,
            Labels::default(),
        );
        let (sample, second) = (Sample::default(), Duration::from_secs(1));
        let terms = Terms { due: now(), objective: second, deadline: second };
        let marker = Marker::mint(now(), u128::from(fastrand::u64(..)));
        let run = Arc::new(Run { marker, route: Arc::new(route), terms, sample, why: Why::Scheduled, report: None });
        let deliver_to = Address {
            url: Secret::new(&*receiver.url),
            shown: String::new(),
            place: String::new(),
            mode: Mode::Append,
        };
        let job = Job { run: run.clone(), deliver_to, deadline: now().plus(second) };
        driver.prepare(sample).await.expect("seeded");
        let mut handle = driver.submit(&job).await.expect("taken");
        assert_eq!(driver.submit(&job).await.expect("taken once"), handle);
        let found = driver.find(&run).await.expect("answered");
        assert_eq!(found.as_ref(), Some(&handle));
        let state = loop {
            let (state, newest) = driver.look(&handle).await.expect("shown");
            handle = newest;
            match state.progress {
                Progress::Running(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => break state,
            }
        };
        assert_eq!(state.progress, Progress::Done { rows: Some(20) });
        assert_eq!(state.jobs.len(), 2, "the query and its export");
        let deliveries = receiver.take();
        assert_eq!(deliveries.len(), 1);
        let carries = Carries::default();
        let mut tally = Tally::new(marker, sample, &carries);
        for row in deliveries[0].as_array().expect("rows") {
            let cells: Vec<Cell> = row.as_array().expect("values").iter().map(cell).collect();
            tally.add(&cells);
        }
        let rows = tally.finish();
        assert!(rows.complete(), "{rows:?}");
    }
    running.stop().await;
}

fn cell(value: &Json) -> Cell {
    match value {
        Json::Null => Cell::Null,
        Json::Bool(b) => Cell::Bool(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Cell::Float(n.as_f64().expect("a double")), Cell::Int),
        Json::String(text) => Cell::Text(text.clone()),
        other => panic!("{other}"),
    }
}

/// Nobody outside knows how the real platform does it, so the sandbox can do it either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_guessed_of_the_real_platform_is_a_switch() {
    for (guesses, query_says, is_linked) in [
        (Guesses::default(), "error", true),
        (Guesses { failed_export_fails_query: false, ..Guesses::default() }, "success", true),
        (Guesses { success_waits_for_export: false, ..Guesses::default() }, "success", true),
        (Guesses { export_is_linked: false, ..Guesses::default() }, "error", false),
        (Guesses { link_appears_after: Duration::from_secs(3600), ..Guesses::default() }, "error", false),
    ] {
        let running = sandbox_with(guesses).await;
        let client = Client::of(&running, 0);
        assert_eq!(client.send("POST", "/v3/database/create/house", None).await.0, 200);
        let job = client.run("presto", "web://127.0.0.1:1/").await;
        let link = &job["linked_result_export_job_id"];
        assert_eq!((&job["status"], link.is_number()), (&json!(query_says), is_linked), "{guesses:?}: {job}");
        if is_linked {
            let export = client.end(&link.to_string()).await;
            assert_eq!((&export["status"], &export["type"]), (&json!("error"), &json!("result_export")), "{export}");
            assert!(export["debug"]["stderr"].to_string().contains("cannot reach the target"), "{export}");
        }
        running.stop().await;
    }
}
/// A `landfall sandbox` of its own, ended with its value.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_command_writes_a_config_that_stands_and_ends_when_asked() {
    use std::{
        io::{BufRead, BufReader},
        os::unix::fs::PermissionsExt,
        process::Stdio,
    };
    let landfall = || Command::new(env!("CARGO_BIN_EXE_landfall"));
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("landfall.toml");
    let start = || {
        let mut command = landfall();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:19441", "--write-config"]);
        command.arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut sandbox = Daemon(start().spawn().expect("started"));
    let mut told = BufReader::new(sandbox.0.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("Ctrl-C") {
        line.clear();
        assert_ne!(told.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    let check = landfall().arg("check").arg("-c").arg(&config).output().expect("ran");
    let said = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert_eq!(check.status.code(), Some(0), "{said}");
    for name in ["presto", "hadoop1", "hadoop2", "web", "bucket"] {
        assert!(said.contains(name), "{said}");
    }
    for entry in std::fs::read_dir(folder.path().join("secrets")).expect("secrets") {
        let mode = entry.expect("a file").metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let ended = Command::new("kill").args(["-TERM", &sandbox.0.id().to_string()]).status();
    assert!(ended.is_ok_and(|status| status.success()));
    assert_eq!(sandbox.0.wait().expect("ended").code(), Some(0));

    // A config that somebody else wrote is not written over.
    std::fs::write(&config, "[agent]\n").expect("written");
    let refused = start().output().expect("ran");
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&config).expect("still there"), "[agent]\n");
    let open = landfall().args(["sandbox", "--listen", "0.0.0.0:0"]).output().expect("ran");
    assert_eq!(open.status.code(), Some(2), "{}", String::from_utf8_lossy(&open.stderr));
}

//! The programs of a run, each in a process of its own that ends with its value.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use landfall::{canary::Timestamp, http::Wire};
use reqwest::Client;
use serde_json::{Value as Json, json};

use crate::time;

pub(crate) struct Process(Child);

impl Process {
    fn start(program: &str, args: &[&str]) -> Self {
        let quiet =
            Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(quiet.unwrap_or_else(|error| panic!("{program} cannot be started: {error}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever has ended already is as dead.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A sandbox, and the daemon that monitors it.
pub(crate) struct Watched {
    _sandbox: Process,
    _daemon: Process,
    _folder: tempfile::TempDir,
    pub(crate) agent: String,
    platform: String,
    client: Client,
}

impl Watched {
    /// `notifiers` is added to the config.
    pub(crate) async fn start(notifiers: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (listen, agent) = (free().to_string(), free().to_string());
        let program = env!("CARGO_BIN_EXE_landfall");
        let at = folder.path().to_str().expect("UTF-8");
        let sandbox =
            Process::start(program, &["sandbox", "--listen", &listen, "--agent-listen", &agent, "--write-config", at]);
        let client = Wire::default().client().expect("a client");
        let config = folder.path().join("landfall.toml");
        until("the sandbox", async || {
            is_there(&client, &format!("http://{listen}/v3/system/server_status")).await && config.exists()
        })
        .await;
        let text = std::fs::read_to_string(&config).expect("the sandbox wrote it");
        std::fs::write(&config, text + notifiers).expect("written");
        let daemon = Process::start(program, &["run", "-c", config.to_str().expect("UTF-8")]);
        let (agent, platform) = (format!("http://{agent}"), format!("http://{listen}"));
        until("the daemon", async || is_there(&client, &format!("{agent}/readyz")).await).await;
        Self { _sandbox: sandbox, _daemon: daemon, _folder: folder, agent, platform, client }
    }

    async fn list(&self, name: &str) -> Vec<Json> {
        let url = format!("{}/api/v1/{name}?limit=1000", self.agent);
        let Ok(answer) = self.client.get(url).send().await else { return Vec::new() };
        answer.json::<Json>().await.ok().and_then(|all| all[name].as_array().cloned()).unwrap_or_default()
    }

    /// Until every route has landed.
    pub(crate) async fn landed(&self) {
        let all = async || {
            let routes = self.list("routes").await;
            !routes.is_empty() && routes.iter().all(|route| route["outcome"] == "landed")
        };
        until("every route has landed", all).await;
    }

    pub(crate) async fn break_v5(&self) {
        let fault = json!({"kind": "drop-output", "where": {"worker": "v5"}});
        let url = format!("{}/sandbox/faults", self.platform);
        let answer = self.client.post(url).json(&fault).send().await.expect("the sandbox answers");
        assert_eq!(answer.status(), 200);
    }

    /// When the first incident was one to be told.
    pub(crate) async fn detected_at(&self) -> Timestamp {
        self.list("incidents")
            .await
            .iter()
            .filter_map(|incident| time(&incident["detected_at"]))
            .min()
            .expect("an incident")
    }
}

/// Prometheus and Alertmanager with what is shipped.
pub(crate) struct Programs {
    _alertmanager: Process,
    _prometheus: Process,
    _folder: tempfile::TempDir,
}

impl Programs {
    pub(crate) async fn start(watched: &Watched, receiver: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (prometheus, alertmanager) = (free().to_string(), free().to_string());
        let agent = watched.agent.trim_start_matches("http://");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let shipped = |name: &str| {
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts").join(name))
                .expect("is shipped")
        };
        write("landfall.rules.yml", shipped("landfall.rules.yml"));
        let scrape =
            shipped("prometheus.example.yml").replace("127.0.0.1:9440", agent).replace("127.0.0.1:9093", &alertmanager);
        let scrape = write("prometheus.yml", scrape);
        // The shipped grouping and waiting; all receivers are this process.
        let route = shipped("alertmanager.example.yml");
        let route = write("alertmanager.yml", to_one_receiver(&route, receiver));
        let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let alerting = Process::start(
            "prometheus-alertmanager",
            &[
                &format!("--config.file={route}"),
                &format!("--storage.path={}", at("am")),
                &format!("--web.listen-address={alertmanager}"),
                "--cluster.listen-address=",
            ],
        );
        let scraping = Process::start(
            "prometheus",
            &[
                &format!("--config.file={scrape}"),
                &format!("--storage.tsdb.path={}", at("prom")),
                &format!("--web.listen-address={prometheus}"),
            ],
        );
        let ready = format!("http://{prometheus}/api/v1/query?query=up");
        let is_up = async || {
            let Ok(answer) = watched.client.get(&ready).send().await else { return false };
            let answer: Json = answer.json().await.unwrap_or_default();
            let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            results.iter().any(|result| result["value"][1] == "1")
        };
        until("Prometheus has scraped the agent", is_up).await;
        // Alertmanagers are found five seconds after the start; an alert before that would be sent late.
        tokio::time::sleep(Duration::from_secs(6)).await;
        Self { _alertmanager: alerting, _prometheus: scraping, _folder: folder }
    }
}

/// The shipped routes, with one receiver in place of each that is shipped.
fn to_one_receiver(shipped: &str, receiver: &str) -> String {
    let mut names = Vec::new();
    let mut kept = String::new();
    let mut in_receivers = false;
    for line in shipped.lines() {
        let is_key = line.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
        if is_key {
            in_receivers = line.starts_with("receivers:");
        }
        if !in_receivers {
            kept.push_str(line);
            kept.push('\n');
        } else if let Some(name) = line.trim().strip_prefix("- name:") {
            names.push(name.trim().trim_matches(|c| c == '"' || c == '\'').to_owned());
        }
    }
    kept.push_str("receivers:\n");
    for name in names {
        kept.push_str(&format!("  - name: {name}\n    webhook_configs:\n      - url: {receiver}/{name}\n"));
    }
    kept
}

async fn is_there(client: &Client, url: &str) -> bool {
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("waited in vain: {what}");
}

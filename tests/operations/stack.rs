//! Prometheus, Alertmanager and a mail server on ports of their own, with the shipped settings but
//! for addresses, and for durations where a test says so; stand-ins for PagerDuty and the dead-man's
//! service.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use landfall::http::Wire;
use reqwest::Client;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::events::{self, Event};
use crate::fixtures::{
    daemon::free_ports,
    pagerduty::PagerDuty,
    stand_in::{Answer, StandIn},
};

/// A program that is not ready by then will not be: machines are busy.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(50);

/// A file of the repository.
pub(super) fn shipped(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The repository.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Replaces each of these, all of which must be there: a test of other settings than the shipped
/// ones must not go on unnoticed when those change.
pub(super) fn replaced(mut text: String, changes: &[(&str, &str)]) -> String {
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the shipped file any more");
        text = text.replace(from, to);
    }
    text
}

/// The Python that tests may use.
pub(super) fn python() -> String {
    std::env::var("LANDFALL_TEST_PYTHON").expect("LANDFALL_TEST_PYTHON names a Python with PyYAML (tests/run sets it)")
}

/// A YAML file as JSON.
pub(super) fn yaml(path: &str) -> Json {
    let read = "import sys, json, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let done = Command::new(python()).args(["-c", read]).arg(root().join(path)).output().expect("Python runs");
    assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// A running program of ours, killed by its own pid with its value.
struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(program: &str, args: &[&str], log: PathBuf) -> Self {
        let file = File::create(&log).expect("a log");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
        Self { child, log }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whoever has ended already is as dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which durations it runs with.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// The shipped ones.
    Shipped,
    /// Shorter ones in the same proportions, where what is shown is an order and not a time.
    Short,
}

/// The second path.
pub(super) struct Stack {
    prometheus: Option<Program>,
    alertmanager: Program,
    mail: Program,
    /// PagerDuty's stand-in.
    pager: PagerDuty,
    /// The dead-man's service's.
    deadman: StandIn,
    /// `http://…` of Prometheus.
    pub(super) url: String,
    client: Client,
    folder: TempDir,
}

impl Stack {
    /// Starts everything; answers when Prometheus has scraped the agent and knows Alertmanager.
    pub(super) async fn start(agent: &str, pager: PagerDuty, pace: Pace) -> Self {
        let folder = TempDir::new().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let port = free_ports::<3>();
        let [prometheus, alertmanager, mail] = [port, port + 1, port + 2].map(|port| format!("127.0.0.1:{port}"));
        let deadman = StandIn::start().await;
        deadman.says("POST /deadman", [Answer::json(200, json!({}))]);

        let short = |text: String, changes: &[(&str, &str)]| match pace {
            Pace::Shipped => text,
            Pace::Short => replaced(text, changes),
        };
        let rules =
            short(shipped("alerts/landfall.rules.yml"), &[("interval: 5s", "interval: 1s"), ("for: 30s", "for: 3s")]);
        fs::write(at("landfall.rules.yml"), rules).expect("written");
        let config = replaced(
            shipped("alerts/prometheus.example.yml"),
            &[("127.0.0.1:9440", agent.trim_start_matches("http://")), ("127.0.0.1:9093", &alertmanager)],
        );
        let config = short(
            config,
            &[("scrape_interval: 5s", "scrape_interval: 1s"), ("scrape_timeout: 4s", "scrape_timeout: 1s")],
        );
        fs::write(at("prometheus.yml"), config).expect("written");
        fs::write(at("pagerduty.key"), "0123456789abcdef0123456789abcdef").expect("written");
        let config = replaced(
            shipped("alerts/alertmanager.example.yml"),
            &[
                ("global:\n", &format!("global:\n  pagerduty_url: {}\n  smtp_require_tls: false\n", pager.url)),
                ("mail.example.com:587", &mail),
                // The sink knows nobody; that mail is sent with a name and a password is not shown here.
                ("  smtp_auth_username: \"alertmanager@example.com\"\n", ""),
                ("  smtp_auth_password_file: /etc/alertmanager/smtp-password\n", ""),
                ("/etc/alertmanager/pagerduty.key", &at("pagerduty.key")),
                ("https://deadman.example.com/landfall", &format!("{}/deadman", deadman.url)),
            ],
        );
        let config = short(
            config,
            &[
                ("group_interval: 10s", "group_interval: 1s"),
                ("group_interval: 30s", "group_interval: 1s"),
                ("repeat_interval: 1m", "repeat_interval: 1s"),
            ],
        );
        fs::write(at("alertmanager.yml"), config).expect("written");

        let (host, mail_port) = mail.split_once(':').expect("host and port");
        let mail = Program::start(
            &python(),
            &[
                "-m",
                "aiosmtpd",
                "-n",
                "-l",
                &format!("{host}:{mail_port}"),
                "-c",
                "aiosmtpd.handlers.Mailbox",
                &at("mail"),
            ],
            folder.path().join("mail.log"),
        );
        let am = Program::start(
            "prometheus-alertmanager",
            &[
                &format!("--config.file={}", at("alertmanager.yml")),
                &format!("--storage.path={}", at("alertmanager")),
                &format!("--web.listen-address={alertmanager}"),
                // Else it opens a port for other Alertmanagers on every address.
                "--cluster.listen-address=",
            ],
            folder.path().join("alertmanager.log"),
        );
        let stack = Self {
            prometheus: Some(Program::start(
                "prometheus",
                &[
                    &format!("--config.file={}", at("prometheus.yml")),
                    &format!("--storage.tsdb.path={}", at("prometheus")),
                    &format!("--web.listen-address={prometheus}"),
                    match pace {
                        Pace::Shipped => "--rules.alert.resend-delay=10s",
                        Pace::Short => "--rules.alert.resend-delay=1s",
                    },
                ],
                folder.path().join("prometheus.log"),
            )),
            alertmanager: am,
            mail,
            pager,
            deadman,
            url: format!("http://{prometheus}"),
            client: Wire::default().client().expect("a client"),
            folder,
        };
        // An alert that fires before it knows Alertmanager is dropped, and said again much later.
        let known = r#"up{job="landfall"} == 1 and on () landfall_build_info"#;
        stack
            .until("Prometheus has scraped the agent", STARTS_WITHIN, async |s| s.has(known).await.then_some(()))
            .await;
        let found = async |s: &Self| {
            let found = s.get("/api/v1/alertmanagers").await?;
            found["data"]["activeAlertmanagers"].as_array().is_some_and(|found| !found.is_empty()).then_some(())
        };
        stack.until("Prometheus knows Alertmanager", STARTS_WITHIN, found).await;
        stack
    }

    /// What the pager was sent.
    pub(super) fn events(&self) -> Vec<Event> {
        events::events(&self.pager)
    }

    /// How often the dead-man's service was called.
    pub(super) fn watchdog(&self) -> usize {
        self.deadman.times_heard("POST /deadman")
    }

    /// Every mail, as it came.
    pub(super) fn mail(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.folder.path().join("mail/new")) else { return Vec::new() };
        folder.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok()).collect()
    }

    /// SIGKILL to Prometheus.
    pub(super) fn kill_prometheus(&mut self) {
        self.prometheus = None;
    }

    async fn get(&self, path: &str) -> Option<Json> {
        let answer =
            self.client.get(format!("{}{path}", self.url)).timeout(Duration::from_secs(20)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// One of Prometheus' answers to a form; the error it names, if there is one.
    pub(super) async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Json, String> {
        let url = format!("{}{path}", self.url);
        let answer = self.client.post(url).timeout(Duration::from_secs(20)).form(form).send().await;
        let json: Json = answer.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        if json["status"] == "success" { Ok(json["data"].clone()) } else { Err(json["error"].to_string()) }
    }

    /// The series that a query finds now.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Json>, String> {
        let data = self.ask("/api/v1/query", &[("query", query)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Rules that could not be evaluated, with the reason.
    pub(super) async fn unhealthy_rules(&self) -> Vec<String> {
        let rules = self.get("/api/v1/rules").await.expect("Prometheus answers");
        let groups = rules["data"]["groups"].as_array().expect("groups").iter();
        let rules: Vec<&Json> = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
        assert!(rules.len() > 20, "the rules are not loaded");
        rules.into_iter().filter(|rule| rule["health"] != "ok").map(Json::to_string).collect()
    }

    /// Whether it finds any.
    pub(super) async fn has(&self, query: &str) -> bool {
        self.query(query).await.is_ok_and(|found| !found.is_empty())
    }

    /// Asks until there is an answer; the time it took beside it.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        ask: impl AsyncFn(&Self) -> Option<T>,
    ) -> (T, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self).await {
                return (answer, begun.elapsed());
            }
            if begun.elapsed() > within {
                let words = [self.prometheus.as_ref(), Some(&self.alertmanager), Some(&self.mail)];
                let words: Vec<String> = words.into_iter().flatten().map(Program::last_words).collect();
                panic!(
                    "waited {within:?} in vain until {what}\nevents: {:#?}\n{}",
                    self.events(),
                    words.join("\n---\n")
                );
            }
            sleep(BEAT).await;
        }
    }

    /// Waits for an event.
    pub(super) async fn event(&self, what: &str, within: Duration, is: impl Fn(&Event) -> bool) -> (Event, Duration) {
        self.until(what, within, async |s| s.events().into_iter().find(|event| is(event))).await
    }
}

/// Runs a program to its end; what it said, if it was content.
pub(super) fn run(program: &str, args: &[&str], folder: &Path) -> Result<String, String> {
    let done = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(said) } else { Err(format!("{program} {args:?}: {}\n{said}", done.status)) }
}

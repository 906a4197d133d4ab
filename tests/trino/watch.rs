//! A config with a real cluster in it, opened driver by driver, or watched by a whole agent.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use landfall::{
    agent::{Agent, Clock, Confirms, Dice, Hearer, coverage::WITHIN, impact::Asked, lifecycle::Parts},
    canary::{Route, Run, Verdict},
    cli::kinds,
    detect::{Change, Incident, coverage::Coverage, impact::Impact},
    platform::Platform,
    store::{Notice, memory::Memory},
    target::{Target, webhook::Intake},
};
use tempfile::TempDir;

use crate::fixtures::{
    mariadb,
    matrix::Named,
    postgres::Database,
    trino::{PASSWORD, Server},
};

/// Longest wait for anything: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(150);

/// A config that grows.
pub(super) struct Scene {
    folder: TempDir,
    config: String,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), config: "[agent]\nname = \"trino\"\n".to_owned() }
    }

    fn secret(&self, text: &str) -> String {
        let path = self.folder.path().join(format!("secret{:x}", fastrand::u64(..)));
        std::fs::write(&path, text).expect("written");
        format!("{{ file = {path:?} }}")
    }

    /// A platform at a URL; `more` are further keys.
    pub(super) fn platform_at(&mut self, name: &str, server: &Server, url: &str, more: &str, outputs: &[(&str, &str)]) {
        let _ = writeln!(
            self.config,
            "[platform.{name}.trino]\nflavor = \"{}\"\nendpoint = \"{url}\"\n{more}\n[platform.{name}.trino.outputs]",
            server.flavor.name()
        );
        for (target, schema) in outputs {
            // Both engines make a tinyint of a boolean there, and then take no boolean for it.
            let is_tinyint = schema.starts_with("my");
            let output = if is_tinyint {
                format!("{{ schema = \"{schema}\", booleans = \"tinyint\" }}")
            } else {
                format!("\"{schema}\"")
            };
            let _ = writeln!(self.config, "{target} = {output}");
        }
    }

    /// A platform that keeps its seeds in a schema.
    pub(super) fn platform(&mut self, name: &str, server: &Server, seed: &str, outputs: &[(&str, &str)]) {
        let more = format!("user = \"landfall\"\nseed = \"{seed}\"\ntimeout = \"10s\"");
        self.platform_at(name, server, &server.url(), &more, outputs);
    }

    /// A platform that is asked for a password, right or wrong.
    pub(super) fn locked_platform(&mut self, name: &str, server: &Server, right: bool) {
        let password = self.secret(if right { PASSWORD } else { "wrong-secret" });
        let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smtp/ca.pem");
        let more = format!("user = \"agent\"\nseed = \"memory.default\"\npassword = {password}\nca = {ca:?}");
        self.platform_at(name, server, &server.tls_url(), &more, &[("t", "pg.public")]);
    }

    /// A table that the agent reads.
    pub(super) fn table(&mut self, target: &str, table: &str, database: &Database) {
        let url = self.secret(&database.agent());
        let _ = writeln!(self.config, "[target.{target}.postgresql]\nurl = {url}\ntable = \"{table}\"\n");
    }

    /// The same in MariaDB.
    pub(super) fn mysql_table(&mut self, target: &str, table: &str, database: &mariadb::Database) {
        let (url, deliver) = (self.secret(&database.agent()), self.secret(&database.platform()));
        let _ = writeln!(
            self.config,
            "[target.{target}.mysql]\nurl = {url}\nresult_url = {deliver}\ntable = \"{table}\"\n"
        );
    }

    /// Tables of any kind, as a config has them.
    pub(super) fn section(&mut self, section: &str) {
        let _ = writeln!(self.config, "{section}\n");
    }

    /// A canary; `terms` are its other keys.
    pub(super) fn canary(&mut self, name: &str, platform: &str, targets: &[&str], terms: &str) {
        let _ =
            writeln!(self.config, "[canary.{name}]\nplatforms = [\"{platform}\"]\ntargets = {targets:?}\n{terms}\n");
    }

    /// `[dogfood]` with these keys.
    pub(super) fn dogfood(&mut self, keys: &str) {
        let _ = writeln!(self.config, "[dogfood]\n{keys}\n");
    }

    fn plan(&self) -> landfall::agent::lifecycle::OpenPlan {
        let file = self.folder.path().join("landfall.toml");
        std::fs::write(&file, &self.config).expect("written");
        match kinds::load(&file, &Intake::new(), false) {
            Ok(plan) => plan,
            Err(problems) => panic!("{problems:#?}\n{}", self.config),
        }
    }

    /// The drivers of the first platform and the first target, each call a process of its own.
    pub(super) fn drivers(&self) -> (Arc<dyn Platform>, Arc<dyn Target>) {
        let mut plan = self.plan();
        (plan.platforms.remove(0).driver, plan.targets.remove(0).driver)
    }

    /// Starts an agent.
    pub(super) async fn watch(self) -> Watch {
        let plan = self.plan();
        let ear = Arc::new(Ear(Mutex::default(), Named::of(&self.config)));
        let parts = Parts {
            plan,
            store: Arc::new(Memory::new()),
            clock: Clock::System,
            dice: Dice::new(),
            metrics: None,
            hearer: ear.clone(),
            is_daemon: true,
            confirms: Confirms::Asked,
        };
        Watch { agent: Agent::start(parts).await.expect("started"), ear, _folder: self.folder }
    }
}

/// What was heard so far.
#[derive(Default)]
pub(super) struct Record {
    pub(super) verdicts: Vec<(Arc<Route>, Verdict)>,
    pub(super) notices: Vec<Notice>,
}

impl Record {
    /// Verdicts on a target.
    pub(super) fn on<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.verdicts.iter().filter(move |(route, _)| route.target.as_str() == target).map(|(_, verdict)| verdict)
    }

    /// Final ones.
    pub(super) fn finals<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.on(target).filter(|verdict| !verdict.provisional)
    }

    /// Incidents that were opened or changed, as `outcome on suspects`.
    pub(super) fn named(&self) -> Vec<String> {
        let told = self.notices.iter().filter(|notice| !matches!(notice.change, Change::Resolved(_)));
        told.map(|notice| format!("{} on {}", notice.incident.outcome, notice.incident.suspects_text())).collect()
    }

    /// What was concluded, for a test that fails.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (route, verdict) in &self.verdicts {
            let when = if verdict.provisional { "so far" } else { "final" };
            let rows = verdict.evidence.last_sighting().map(|(seen, _)| seen);
            let reason = verdict.reason.as_deref().unwrap_or_default();
            let (outcome, claim) = (verdict.outcome, &verdict.evidence.claim);
            let _ = writeln!(text, "{route}: {} {outcome} {when} {reason:?} {claim:?} {rows:?}", verdict.run);
        }
        text + &self.named().join("\n")
    }
}

struct Ear(Mutex<Record>, Named);

impl Hearer for Ear {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        self.1.heard(&run.route, verdict);
        self.0.lock().expect("whole").verdicts.push((run.route.clone(), verdict.clone()));
    }

    fn notice(&self, notice: &Notice) {
        self.0.lock().expect("whole").notices.push(notice.clone());
    }
}

/// A running agent.
pub(super) struct Watch {
    agent: Agent,
    ear: Arc<Ear>,
    _folder: TempDir,
}

impl Watch {
    /// Waits until what was heard holds something.
    pub(super) async fn until<T>(&self, what: &str, found: impl Fn(&Record) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = self.look(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}\n{}", self.look(Record::text)),
        }
    }

    /// What was heard so far.
    pub(super) fn look<T>(&self, with: impl FnOnce(&Record) -> T) -> T {
        with(&self.ear.0.lock().expect("whole"))
    }

    /// What an incident did to customers.
    pub(super) async fn impact(&self, incident: Incident) -> Impact {
        let asked = Asked { incident, longest_job: Duration::from_secs(3_600), check: false };
        self.agent.impact(&asked, |_| ()).await.expect("an answer")
    }

    /// What customers use, and what of it is covered.
    pub(super) async fn coverage(&self) -> Coverage {
        self.agent.coverage(WITHIN, |_| ()).await.expect("a daemon")
    }

    pub(super) async fn stop(self) {
        self.agent.stop().await;
    }
}

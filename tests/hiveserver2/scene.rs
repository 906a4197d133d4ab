//! What these tests share: a platform opened from a config, jobs for it, and an agent that watches.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use landfall::{
    agent::{Agent, Clock, Confirms, Dice, Hearer, lifecycle::Parts},
    canary::{Address, Mode, Route, Run, Sample, Secret, Verdict},
    cli::kinds,
    platform::{Handle, Job, JobState, Platform, PlatformError, Progress},
    store::{Notice, memory::Memory},
    target::{Target, webhook::Intake},
};
use tempfile::TempDir;

use crate::fixtures::{
    hiveserver2::{Door, Spark},
    mariadb,
    matrix::Named,
    postgres::{Database, PLATFORM},
    rows::run_at,
};

/// Longest wait for anything: the machine may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// What the engine is told to make of a target's place.
pub(super) fn create(database: &Database) -> String {
    let url = database.url("platform", PLATFORM);
    let place = url.split_once('@').unwrap().1;
    format!(
        "CREATE TABLE IF NOT EXISTS {{table}} USING org.apache.spark.sql.jdbc OPTIONS (\
         url 'jdbc:postgresql://{place}?connectTimeout=3&socketTimeout=60', dbtable '{{place}}', user 'platform', \
         password '{{password}}', driver 'org.postgresql.Driver', truncate '{{truncate}}')"
    )
}

/// The same of a place in MariaDB. Spark writes names as MySQL does only if it takes it for one.
fn create_in_mariadb(database: &mariadb::Database) -> String {
    let url = database.platform();
    let place = url.split_once('@').unwrap().1;
    format!(
        "CREATE TABLE IF NOT EXISTS {{table}} USING org.apache.spark.sql.jdbc OPTIONS (\
         url 'jdbc:mysql://{place}?connectTimeout=3000&socketTimeout=60000', dbtable '{{place}}', user 'platform', \
         password '{{password}}', driver 'org.mariadb.jdbc.Driver', truncate '{{truncate}}')"
    )
}

/// A config on its way to be opened.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) config: String,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), config: "[agent]\nname = \"hs2\"\n".to_owned() }
    }

    /// Trusts a server's certificate. Stands in `[agent]`: right after `new`.
    pub(super) fn trusting(mut self, spark: &Spark) -> Self {
        let _ = writeln!(self.config, "ca_bundle = {:?}", spark.certificate());
        self
    }

    pub(super) fn secret(&self, text: &str) -> String {
        let path = self.folder.path().join(format!("secret{:x}", fastrand::u64(..)));
        std::fs::write(&path, text).unwrap();
        format!("{{ file = {path:?} }}")
    }

    /// A platform; `keys` are what its kind's table has besides endpoint and dialect.
    pub(super) fn platform(&mut self, name: &str, endpoint: &str, keys: &str) {
        let _ = writeln!(
            self.config,
            "[platform.{name}.hiveserver2]\nendpoint = \"{endpoint}\"\ndialect = \"spark\"\n{keys}\n[platform.{name}.hiveserver2.outputs]"
        );
    }

    /// The same at a real server.
    pub(super) fn spark(&mut self, name: &str, spark: &Spark, door: Door) {
        let auth = if door == Door::Tls { "auth = \"nosasl\"\n" } else { "" };
        // Its catalog is in memory: what it made before a restart it would not make again.
        self.platform(name, &spark.endpoint(), &format!("{auth}seed_location = {:?}", spark.files()));
    }

    /// An output of the platform that was written last, through a table to a database.
    pub(super) fn output(&mut self, target: &str, table: &str, database: &Database, password: &str) {
        self.output_made(target, table, &create(database), password);
    }

    /// The same to MariaDB.
    pub(super) fn mysql_output(&mut self, target: &str, table: &str, database: &mariadb::Database) {
        self.mysql_output_as(target, table, database, "platform", mariadb::PLATFORM);
    }

    /// The same as a user.
    pub(super) fn mysql_output_as(
        &mut self,
        target: &str,
        table: &str,
        database: &mariadb::Database,
        user: &str,
        password: &str,
    ) {
        let create = create_in_mariadb(database).replace("user 'platform'", &format!("user '{user}'"));
        self.output_made(target, table, &create, password);
    }

    fn output_made(&mut self, target: &str, table: &str, create: &str, password: &str) {
        let password = self.secret(password);
        let _ = writeln!(
            self.config,
            "{target} = {{ table = \"{table}\", create = \"\"\"{create}\"\"\", secrets = {{ password = {password} }} }}"
        );
    }

    /// A table that the agent reads.
    pub(super) fn target(&mut self, target: &str, table: &str, database: &Database) {
        let url = self.secret(&database.agent());
        let _ = writeln!(self.config, "[target.{target}.postgresql]\nurl = {url}\ntable = \"{table}\"\n");
    }

    /// The same in MariaDB.
    pub(super) fn mysql_target(&mut self, target: &str, table: &str, database: &mariadb::Database) {
        let (url, result_url) = (self.secret(&database.agent()), self.secret(&database.platform()));
        let _ = writeln!(
            self.config,
            "[target.{target}.mysql]\nurl = {url}\nresult_url = {result_url}\ntable = \"{table}\"\n"
        );
    }

    pub(super) fn canary(&mut self, name: &str, platforms: &[&str], targets: &[&str], terms: &str) {
        let _ = writeln!(self.config, "[canary.{name}]\nplatforms = {platforms:?}\ntargets = {targets:?}\n{terms}\n");
    }

    /// `[dogfood]` with these keys.
    pub(super) fn dogfood(&mut self, keys: &str) {
        let _ = writeln!(self.config, "[dogfood]\n{keys}\n");
    }

    fn plan(&self) -> landfall::agent::lifecycle::OpenPlan {
        let file = self.folder.path().join("landfall.toml");
        std::fs::write(&file, &self.config).unwrap();
        match kinds::load(&file, &Intake::new(), false) {
            Ok(plan) => plan,
            Err(problems) => panic!("{problems:#?}\n{}", self.config),
        }
    }

    /// The first platform's driver alone.
    pub(super) fn driver(&self) -> Arc<dyn Platform> {
        self.plan().platforms[0].driver.clone()
    }

    /// The first target's.
    pub(super) fn reader(&self) -> Arc<dyn Target> {
        self.plan().targets[0].driver.clone()
    }

    /// Starts the agent.
    pub(super) async fn watch(self) -> Watch {
        let (store, ear) = (Arc::new(Memory::new()), Arc::new(Ear(Mutex::default(), Named::of(&self.config))));
        Watch { agent: self.agent(&store, &ear).await, store, ear, scene: self }
    }

    async fn agent(&self, store: &Arc<Memory>, ear: &Arc<Ear>) -> Agent {
        let parts = Parts {
            plan: self.plan(),
            store: store.clone(),
            clock: Clock::System,
            dice: Dice::new(),
            metrics: None,
            hearer: ear.clone(),
            is_daemon: true,
            confirms: Confirms::Asked,
        };
        Agent::start(parts).await.expect("started")
    }
}

/// A config for a platform alone, whose output `t` leads to a table.
pub(super) fn alone(endpoint: &str, keys: &str, outputs: &str) -> Scene {
    let mut scene = Scene::new();
    scene.platform("p", endpoint, keys);
    scene.config += outputs;
    let url = scene.secret("postgresql://u:p@127.0.0.1:1/d");
    let _ = write!(scene.config, "\n[target.t.postgresql]\nurl = {url}\ntable = \"canary\"\n");
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    scene
}

/// The same at a real server.
pub(super) fn at(spark: &Spark, outputs: &str) -> Scene {
    alone(&spark.endpoint(), &format!("seed_location = {:?}", spark.files()), outputs)
}

/// A run of target `t` and what a platform is asked to do for it.
pub(super) fn job(mode: Mode, place: &str) -> Job {
    let run: Arc<Run> = run_at(mode, crate::fixtures::rows::NOON);
    let deliver_to = Address { url: Secret::new("unused"), shown: String::new(), place: place.to_owned(), mode };
    Job { deadline: run.terms.deadline_at(None), run, deliver_to }
}

/// Submits as the agent does: made ready first.
pub(super) async fn sent(driver: &dyn Platform, job: &Job) -> Handle {
    ready(driver).await;
    driver.submit(job).await.unwrap()
}

/// Made ready, however long the engine needs.
pub(super) async fn ready(driver: &dyn Platform) {
    for _ in 0..20 {
        match driver.prepare(Sample::default()).await {
            Ok(()) => return,
            // Still at it, or the first to open a session there: the agent would try again.
            Err(PlatformError::Unreachable { .. }) => {}
            // Another test fills the same table at the same moment, or the machine is so busy that a session
            // was given up: the agent would try again, too.
            Err(error @ (PlatformError::Broken { .. } | PlatformError::Nonsense { .. })) => {
                eprintln!("not ready: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never ready");
}

/// Looks until the job has ended.
pub(super) async fn ended(driver: &dyn Platform, handle: &Handle) -> JobState {
    let looking = async {
        loop {
            let (state, _) = driver.look(handle).await.unwrap();
            if !matches!(state.progress, Progress::Running(_)) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it ends")
}

/// What was heard so far.
#[derive(Default)]
pub(super) struct Record {
    pub(super) verdicts: Vec<(Arc<Route>, Verdict)>,
    pub(super) notices: Vec<Notice>,
}

impl Record {
    /// Final verdicts on a target.
    pub(super) fn finals<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.on(target).filter(|verdict| !verdict.provisional)
    }

    /// All verdicts on a target.
    pub(super) fn on<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.verdicts.iter().filter(move |(route, _)| route.target.as_str() == target).map(|(_, verdict)| verdict)
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
        for notice in &self.notices {
            let incident = &notice.incident;
            let _ = writeln!(text, "{}: {} on {}", notice.key, incident.outcome, incident.suspects_text());
        }
        text
    }
}

struct Ear(Mutex<Record>, Named);

impl Hearer for Ear {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        self.1.heard(&run.route, verdict);
        self.0.lock().unwrap().verdicts.push((run.route.clone(), verdict.clone()));
    }

    fn notice(&self, notice: &Notice) {
        self.0.lock().unwrap().notices.push(notice.clone());
    }
}

/// A running agent.
pub(super) struct Watch {
    agent: Agent,
    store: Arc<Memory>,
    ear: Arc<Ear>,
    scene: Scene,
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
        with(&self.ear.0.lock().unwrap())
    }

    /// Ends the agent and starts another with its ledger.
    pub(super) async fn restart(&mut self) {
        self.agent.stop().await;
        self.agent = self.scene.agent(&self.store, &self.ear).await;
    }

    pub(super) async fn stop(self) {
        self.agent.stop().await;
    }
}

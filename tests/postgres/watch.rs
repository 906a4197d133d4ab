//! A watch: a sandbox and an agent that watches it, and what the agent concluded so far.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use landfall::{
    agent::{Agent, Clock, Confirms, Dice, Hearer, lifecycle::Parts},
    canary::{Route, Run, Sample, Timestamp, Verdict},
    cli::kinds,
    platform::{Handle, Job, JobState, Platform, PlatformError, Progress, Resume},
    sandbox::{
        World,
        bucket::NAME as BUCKET,
        http::{Running, Settings, accounts, serve},
    },
    store::{Notice, memory::Memory},
    target::webhook::Intake,
};
use tempfile::TempDir;

/// Longest wait for anything: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that happens at the server after a job's rows were written, and before the agent hears
/// that the job is done.
pub(super) type Between = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A verdict and whose it is.
#[derive(Clone)]
pub(super) struct Heard {
    pub(super) route: Arc<Route>,
    pub(super) verdict: Verdict,
}

/// What was heard so far.
#[derive(Default)]
pub(super) struct Record {
    pub(super) verdicts: Vec<Heard>,
    pub(super) notices: Vec<Notice>,
}

impl Record {
    /// Final verdicts on a target.
    pub(super) fn finals<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.on(target).filter(|verdict| !verdict.provisional)
    }

    /// All verdicts on a target.
    pub(super) fn on<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Verdict> {
        self.verdicts.iter().filter(move |heard| heard.route.target.as_str() == target).map(|heard| &heard.verdict)
    }

    /// What was concluded, for a test that fails.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Heard { route, verdict } in &self.verdicts {
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

struct Ear(Mutex<Record>);

impl Hearer for Ear {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        let heard = Heard { route: run.route.clone(), verdict: verdict.clone() };
        self.0.lock().expect("whole").verdicts.push(heard);
    }

    fn notice(&self, notice: &Notice) {
        self.0.lock().expect("whole").notices.push(notice.clone());
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox is given the time by whoever starts it")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

/// A sandbox and its config, before it is watched.
pub(super) struct Scene {
    folder: TempDir,
    sandbox: Running,
    config: String,
    between: HashMap<String, Between>,
}

impl Scene {
    /// A sandbox that nothing uses yet.
    pub(super) async fn new() -> Self {
        let any = "127.0.0.1:0".parse().expect("an address");
        let settings = Settings {
            listen: any,
            bucket_listen: any,
            allow_output: Vec::new(),
            world: World::brisk(),
            seed: 1,
            now: Arc::new(now),
        };
        let sandbox = serve(settings).await.expect("a sandbox");
        let folder = TempDir::new().expect("a folder");
        Self { folder, sandbox, config: "[agent]\nname = \"pg\"\n".to_owned(), between: HashMap::new() }
    }

    fn secret(&self, text: &str) -> String {
        let path = self.folder.path().join(format!("secret{:x}", fastrand::u64(..)));
        std::fs::write(&path, text).expect("written");
        format!("{{ file = {path:?} }}")
    }

    /// A platform.
    pub(super) fn platform(&mut self, name: &str) {
        let [account, _] = accounts();
        let (endpoint, key) = (self.sandbox.endpoint(), self.secret(account.key.reveal()));
        let _ = writeln!(
            self.config,
            "[platform.{name}.treasure-data]\nendpoint = \"{endpoint}\"\napi_key = {key}\n\
             database = \"landfall\"\nengine = \"presto\"\n"
        );
    }

    /// Makes something happen after the rows of each of a platform's jobs were written.
    pub(super) fn between(&mut self, platform: &str, happens: Between) {
        self.between.insert(platform.to_owned(), happens);
    }

    /// A table that the agent reads at one URL and the platform writes at another.
    pub(super) fn table(&mut self, target: &str, table: &str, agent: &str, platform: &str) {
        let (url, result_url) = (self.secret(agent), self.secret(platform));
        let _ = writeln!(
            self.config,
            "[target.{target}.postgresql]\nurl = {url}\nresult_url = {result_url}\ntable = \"{table}\"\n"
        );
    }

    /// The sandbox's bucket.
    pub(super) fn bucket(&mut self, target: &str, format: &str, compression: &str) {
        let place = &self.sandbox.bucket;
        let (agent, platform) = (self.secret(place.agent.secret.reveal()), self.secret(place.platform.secret.reveal()));
        let _ = writeln!(
            self.config,
            "[target.{target}.object-store]\nendpoint = \"{}\"\nregion = \"us-east-1\"\nbucket = \"{BUCKET}\"\n\
             prefix = \"{target}\"\naccess_key_id = \"{}\"\nsecret_access_key = {agent}\n\
             result_access_key_id = \"{}\"\nresult_secret_access_key = {platform}\n\
             format = \"{format}\"\ncompression = \"{compression}\"\n",
            place.endpoint(),
            place.agent.id,
            place.platform.id,
        );
    }

    /// A canary; `terms` are its other keys.
    pub(super) fn canary(&mut self, name: &str, platform: &str, targets: &[&str], terms: &str) {
        let _ =
            writeln!(self.config, "[canary.{name}]\nplatforms = [\"{platform}\"]\ntargets = {targets:?}\n{terms}\n");
    }

    /// Starts the agent.
    pub(super) async fn watch(mut self) -> Watch {
        let file = self.folder.path().join("landfall.toml");
        std::fs::write(&file, &self.config).expect("written");
        let mut plan = match kinds::load(&file, &Intake::new(), false) {
            Ok(plan) => plan,
            Err(problems) => panic!("{problems:#?}\n{}", self.config),
        };
        for platform in &mut plan.platforms {
            if let Some(happens) = self.between.remove(platform.name.as_str()) {
                let driver = platform.driver.clone();
                platform.driver = Arc::new(Meddled { driver, happens, one_by_one: tokio::sync::Mutex::default() });
            }
        }
        let routes = plan.routes.clone();
        let ear = Arc::new(Ear(Mutex::default()));
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
        let agent = Agent::start(parts).await.expect("started");
        Watch { agent, sandbox: self.sandbox, ear, routes, _folder: self.folder }
    }
}

/// A running agent and its sandbox.
pub(super) struct Watch {
    agent: Agent,
    sandbox: Running,
    ear: Arc<Ear>,
    pub(super) routes: Vec<Arc<Route>>,
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

    /// Ends both.
    pub(super) async fn stop(self) {
        self.agent.stop().await;
        self.sandbox.stop().await;
    }
}

/// A platform after whose writing something happens at the server, before anybody hears that the
/// job is done.
struct Meddled {
    driver: Arc<dyn Platform>,
    happens: Between,
    one_by_one: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.driver.fmt(f)
    }
}

#[async_trait]
impl Platform for Meddled {
    fn resume(&self) -> Resume {
        self.driver.resume()
    }

    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        self.driver.prepare(sample).await
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        self.driver.submit(job).await
    }

    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        self.driver.find(run).await
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let seen = self.driver.look(handle).await?;
        if matches!(seen.0.progress, Progress::Done { .. }) {
            let _turn = self.one_by_one.lock().await;
            (self.happens)().await;
        }
        Ok(seen)
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        self.driver.cancel(handle).await
    }
}

//! The driver against real servers: what it writes, how it finds runs again, what it says of trouble.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Phase, Run, Sample, Sighting, Timestamp},
    platform::{Handle, Job, Platform, PlatformError, Progress},
    target::Target,
};

use super::watch::Scene;
use crate::fixtures::{
    rows::{NOON, create, run, run_at},
    trino::{Flavor, Server},
};

/// A platform with seeds of its own, and a table of its own.
struct Stage {
    server: Arc<Server>,
    table: String,
    schema: String,
    scene: Scene,
}

impl Stage {
    async fn new(flavor: Flavor, mode: Mode) -> Option<Self> {
        let server = Server::shared(flavor).await?;
        let (table, schema) = (format!("t{:x}", fastrand::u32(..)), format!("s{:x}", fastrand::u32(..)));
        server.sql(&format!("CREATE SCHEMA memory.{schema}")).await;
        let url = server.url();
        Some(Self::at(server, &url, table, schema, mode))
    }

    fn at(server: Arc<Server>, url: &str, table: String, schema: String, mode: Mode) -> Self {
        let mut scene = Scene::new();
        let more = format!("user = \"landfall\"\nseed = \"memory.{schema}\"\ntimeout = \"5s\"");
        scene.platform_at("p", &server, url, &more, &[("t", "pg.public")]);
        scene.table("t", &table, &server.database);
        scene.canary("c", "p", &["t"], &format!("modes = [\"{mode}\"]\nevery = \"1h\""));
        Self { server, table, schema, scene }
    }

    /// The same platform, reached at another address.
    fn through(&self, url: &str) -> Self {
        Self::at(self.server.clone(), url, self.table.clone(), self.schema.clone(), Mode::Append)
    }

    /// As a process that was just started sees them.
    fn drivers(&self) -> (Arc<dyn Platform>, Arc<dyn Target>) {
        self.scene.drivers()
    }

    async fn seeds(&self) -> Vec<String> {
        let rows = self.server.sql(&format!("SHOW TABLES FROM memory.{}", self.schema)).await;
        rows.iter().map(|row| row[0].as_str().expect("a name").to_owned()).collect()
    }
}

fn job(run: &Arc<Run>, target: &Arc<dyn Target>) -> Job {
    Job { run: run.clone(), deliver_to: target.address(run), deadline: NOON }
}

/// Looks until the job is over.
async fn end_of(platform: &Arc<dyn Platform>, mut handle: Handle) -> (Progress, Handle) {
    for _ in 0..200 {
        let (state, newest) = platform.look(&handle).await.expect("it answers");
        handle = newest;
        if !matches!(state.progress, Progress::Running(_)) {
            assert!(!state.jobs.is_empty(), "people want to know the query");
            return (state.progress, handle);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no end: {handle:?}");
}

/// Made ready; on a busy machine not at once, and the agent would try again.
async fn prepared(platform: &Arc<dyn Platform>, sample: Sample) {
    for _ in 0..10 {
        match platform.prepare(sample).await {
            Ok(()) => return,
            Err(PlatformError::Unreachable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never ready");
}

async fn fly(platform: &Arc<dyn Platform>, job: &Job) -> Progress {
    prepared(platform, job.run.sample).await;
    let handle = platform.submit(job).await.expect("accepted");
    end_of(platform, handle).await.0
}

async fn seen(target: &Arc<dyn Target>, run: &Arc<Run>) -> Sighting {
    target.look(std::slice::from_ref(run)).await.expect("it reads").remove(0)
}

pub(super) async fn every_hard_value_arrives_in_every_mode(flavor: Flavor) {
    for mode in [Mode::Append, Mode::Replace, Mode::Truncate] {
        let Some(stage) = Stage::new(flavor, mode).await else { return };
        carries_everything(|| stage.drivers(), flavor, "postgresql", mode).await;
    }
}

/// Runs of a mode land whole at a target of this kind, one after another. `drivers` are as a process that
/// was just started has them.
pub(super) async fn carries_everything(
    drivers: impl Fn() -> (Arc<dyn Platform>, Arc<dyn Target>),
    flavor: Flavor,
    kind: &str,
    mode: Mode,
) {
    let (platform, target) = drivers();
    let mut last = None;
    // The second meets what the first left, the third comes from a process that was just started.
    for n in 0..3 {
        let platform = if n == 2 { drivers().0 } else { platform.clone() };
        let run = run_at(mode, NOON.plus(Duration::from_secs(60 * n)));
        assert_eq!(fly(&platform, &job(&run, &target)).await, Progress::Done { rows: Some(20) }, "{mode}");
        let found = seen(&target, &run).await;
        assert!(found.complete(), "{mode}: {found:#?}");
        crate::fixtures::matrix::landed(flavor.name(), kind, mode);
        if let Some(last) = last.replace(run) {
            let kept = seen(&target, &last).await.rows;
            assert!(if mode == Mode::Append { kept.complete() } else { kept.nothing() }, "{mode}: {kept}");
        }
    }
}

pub(super) async fn a_seed_table_that_is_gone_or_half_filled_is_filled_again(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, target) = stage.drivers();
    assert_eq!(fly(&platform, &job(&run(Mode::Append), &target)).await, Progress::Done { rows: Some(20) });
    let [seed]: [String; 1] = stage.seeds().await.try_into().expect("one seed table");
    let seed = format!("memory.{}.{seed}", stage.schema);

    stage.server.sql(&format!("DROP TABLE {seed}")).await;
    let lost = run(Mode::Append);
    let handle = platform.submit(&job(&lost, &target)).await.expect("accepted");
    let (progress, _) = end_of(&platform, handle).await;
    assert!(matches!(progress, Progress::Error { phase: Phase::Execute, .. }), "{progress:?}");
    let again = run(Mode::Append);
    assert_eq!(fly(&platform, &job(&again, &target)).await, Progress::Done { rows: Some(20) });

    // Emptied under way: the engine says that it is done, with no rows. That is nobody's loss.
    stage.server.sql(&format!("CREATE TABLE {seed}_empty AS SELECT * FROM {seed} WHERE false")).await;
    stage.server.sql(&format!("DROP TABLE {seed}")).await;
    stage.server.sql(&format!("ALTER TABLE {seed}_empty RENAME TO {seed}")).await;
    let handle = platform.submit(&job(&run(Mode::Append), &target)).await.expect("accepted");
    let (progress, _) = end_of(&platform, handle).await;
    let told = |detail: &str| detail.contains("had lost rows");
    assert!(matches!(&progress, Progress::Error { phase: Phase::Execute, detail } if told(detail)), "{progress:?}");
    assert_eq!(fly(&platform, &job(&run(Mode::Append), &target)).await, Progress::Done { rows: Some(20) });

    // Half of it, and another process that has heard nothing.
    let half = format!("memory.{}.half", stage.schema);
    stage.server.sql(&format!("CREATE TABLE {half} AS SELECT * FROM {seed} WHERE n < 7")).await;
    stage.server.sql(&format!("DROP TABLE {seed}")).await;
    stage.server.sql(&format!("ALTER TABLE {half} RENAME TO {seed}")).await;
    let (platform, _) = stage.drivers();
    let whole = run(Mode::Append);
    assert_eq!(fly(&platform, &job(&whole, &target)).await, Progress::Done { rows: Some(20) });
    for run in [again, whole] {
        assert!(seen(&target, &run).await.complete());
    }
    // One that has more rows than one statement can fill.
    prepared(&platform, Sample::of(2_500)).await;
    let mut large = (*run(Mode::Append)).clone();
    large.sample = Sample::of(2_500);
    let large = Arc::new(large);
    assert_eq!(fly(&platform, &job(&large, &target)).await, Progress::Done { rows: Some(2_500) });
    assert!(seen(&target, &large).await.complete());
}

pub(super) async fn a_run_is_found_again_by_any_process_and_its_end_too(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, target) = stage.drivers();
    let run = run(Mode::Append);
    platform.prepare(run.sample).await.expect("prepared");
    let first = platform.submit(&job(&run, &target)).await.expect("accepted");
    assert!(matches!(end_of(&platform, first.clone()).await.0, Progress::Done { rows: Some(20) }));
    // The pages that the old handle knows are used up; what became of the query is known all the same.
    let (other, _) = stage.drivers();
    let (progress, newest) = end_of(&other, first).await;
    assert!(matches!(progress, Progress::Done { .. }), "{progress:?}");
    assert_eq!(platform.look(&newest).await.expect("known").0.progress, progress);
    let found = other.find(&run).await.expect("it answers").expect("it is there");
    assert!(matches!(end_of(&other, found).await.0, Progress::Done { .. }));
    let rows = seen(&target, &run).await;
    assert!(rows.complete(), "nothing was sent again: {rows:?}");
}

pub(super) async fn what_was_never_sent_is_not_known_rather_than_not_there(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, _) = stage.drivers();
    let error = platform.find(&run(Mode::Append)).await.expect_err("the list is short, and forgets");
    assert!(matches!(&error, PlatformError::Unreachable { never_arrived: false, .. }), "{error}");
    assert!(!error.answered(), "the run becomes unknown, and not failed");
    // Nor is a query of a server that was restarted since.
    let mut handle = stale_handle(&stage);
    let mut stale = None;
    for _ in 0..3 {
        match platform.look(&handle).await {
            Ok((seen, newest)) => {
                assert!(matches!(seen.progress, Progress::Running(_)), "{seen:?}");
                handle = newest;
            }
            Err(error) => stale = Some(error),
        }
    }
    let stale = stale.expect("nobody knows it");
    assert!(matches!(&stale, PlatformError::Unreachable { never_arrived: false, .. }), "{stale}");
}

/// The handle of a query that the server has never heard of, as it would be after a restart.
fn stale_handle(stage: &Stage) -> Handle {
    let query = "20200101_000000_00000_aaaaa";
    let next = format!("{}/v1/statement/executing/{query}/y0000/1", stage.server.url());
    let json = serde_json::json!({
        "marker": run(Mode::Append).marker, "course": null, "step": 0, "of": 1,
        "query": query, "next": next, "rows": null, "jobs": [query], "end": null,
    });
    Handle::new(json.to_string()).expect("short")
}

pub(super) async fn a_lost_answer_is_found_again_and_never_sent_twice(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, target) = stage.drivers();
    assert_eq!(fly(&platform, &job(&run(Mode::Append), &target)).await, Progress::Done { rows: Some(20) });
    // A proxy that hands statements on, asks for their first page, and loses the answer.
    let lossy = lossy::Proxy::start(stage.server.url()).await;
    let (behind, _) = stage.through(&lossy.url).drivers();
    let run = run(Mode::Append);
    behind.prepare(run.sample).await.expect("prepared");
    lossy.lose();
    let error = behind.submit(&job(&run, &target)).await.expect_err("the answer is lost");
    assert!(!error.answered() || matches!(error, PlatformError::Broken { .. }), "{error}");
    let mut found = None;
    for _ in 0..100 {
        match behind.submit(&job(&run, &target)).await {
            Ok(handle) => {
                found = Some(handle);
                break;
            }
            Err(error) => assert!(matches!(error, PlatformError::Unreachable { never_arrived: false, .. }), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (progress, _) = end_of(&behind, found.expect("it was found by its marker")).await;
    assert!(matches!(progress, Progress::Done { .. }), "{progress:?}");
    // The table was made, and written to, each once.
    assert_eq!(lossy.sent(&run.marker.to_string()), ["1/2", "2/2"]);
    assert_eq!(stage.server.queries(&run.marker.to_string()).await.len(), 2);
    let rows = seen(&target, &run).await;
    assert!(rows.complete(), "{rows:?}");
}

pub(super) async fn a_job_is_stopped_by_us_and_by_others(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, target) = stage.drivers();
    assert_eq!(fly(&platform, &job(&run(Mode::Append), &target)).await, Progress::Done { rows: Some(20) });
    let table = &stage.table;
    let sleeps = format!(
        "CREATE FUNCTION sleep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$; \
         CREATE TRIGGER sleeps BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION sleep_{table}()"
    );
    stage.server.database.sql(&sleeps).await;
    for by_us in [true, false] {
        let run = run(Mode::Append);
        let mut handle = platform.submit(&job(&run, &target)).await.expect("accepted");
        let marker = run.marker.to_string();
        let query = loop {
            let (state, newest) = platform.look(&handle).await.expect("it answers");
            handle = newest;
            assert!(matches!(state.progress, Progress::Running(_)), "{state:?}");
            let queries = stage.server.queries(&marker).await;
            if let Some((query, _)) = queries.iter().find(|(_, state)| state == "RUNNING" || state == "FINISHING") {
                break query.clone();
            }
        };
        if by_us {
            platform.cancel(&handle).await.expect("stopped");
        } else {
            let kill = format!("CALL system.runtime.kill_query(query_id => '{query}', message => 'no')");
            stage.server.sql(&kill).await;
        }
        let (progress, last) = end_of(&platform, handle).await;
        assert!(matches!(progress, Progress::Killed { .. }), "{by_us}: {progress:?}");
        platform.cancel(&last).await.expect("stopping what is over is no error");
        let queries = stage.server.queries(&marker).await;
        assert!(queries.iter().all(|(_, state)| state == "FAILED"), "{queries:?}");
    }
}

pub(super) async fn what_cannot_be_written_is_an_error_of_the_export(flavor: Flavor) {
    let Some(stage) = Stage::new(flavor, Mode::Append).await else { return };
    let (platform, target) = stage.drivers();
    // Another column's type, and a column that is not there.
    let columns = create(&stage.table).replace("row_no BIGINT", "row_no DATE");
    stage.server.database.sql(&columns).await;
    let progress = fly(&platform, &job(&run(Mode::Append), &target)).await;
    let Progress::Error { phase, detail } = &progress else { panic!("{progress:?}") };
    assert!(detail.to_lowercase().contains("mismatch") || detail.contains("row_no"), "{detail}");
    assert!(matches!(phase, Phase::Export | Phase::Execute), "{phase}");
    // A table that was there and is gone is not made anew in silence.
    stage.server.database.sql(&format!("ALTER TABLE {} RENAME TO {}_away", stage.table, stage.table)).await;
    let progress = fly(&platform, &job(&run(Mode::Append), &target)).await;
    assert!(matches!(&progress, Progress::Error { phase: Phase::Export, .. }), "{progress:?}");
    assert_eq!(
        stage.server.database.count(&format!("SELECT count(*) FROM pg_class WHERE relname = '{}'", stage.table)).await,
        0
    );
    // What it does not write at all is refused before anything is sent.
    let update = run_at(Mode::Update, Timestamp::from_secs(1));
    let error = platform.submit(&job(&update, &target)).await.expect_err("not a mode of this platform");
    assert!(matches!(error, PlatformError::Refused { .. }), "{error}");
    assert!(stage.server.queries(&update.marker.to_string()).await.is_empty());
}

pub(super) async fn a_password_goes_over_tls_and_a_wrong_one_is_denied(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let table = format!("t{:x}", fastrand::u32(..));
    for right in [true, false] {
        let mut scene = Scene::new();
        scene.locked_platform("p", &server, right);
        scene.table("t", &table, &server.database);
        scene.canary("c", "p", &["t"], "every = \"1h\"");
        let (platform, target) = scene.drivers();
        let run = run(Mode::Append);
        if right {
            assert_eq!(fly(&platform, &job(&run, &target)).await, Progress::Done { rows: Some(20) });
            assert!(seen(&target, &run).await.complete());
        } else {
            for error in [
                platform.prepare(run.sample).await.expect_err("denied"),
                platform.submit(&job(&run, &target)).await.expect_err("denied"),
            ] {
                assert!(matches!(error, PlatformError::Denied { .. }), "{error}");
                assert!(!error.to_string().contains("wrong-secret"), "{error}");
            }
        }
    }
}

mod lossy {
    //! A proxy that may lose the answer to a statement, after it was handed on and begun.

    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use axum::{
        Router,
        body::{Body, to_bytes},
        extract::{Request, State},
        http::{Method, Response},
    };
    use landfall::http::Wire;
    use reqwest::Client;
    use tokio::{net::TcpListener, task::JoinHandle};

    struct Shared {
        behind: String,
        own: String,
        client: Client,
        loses: AtomicBool,
        sent: Mutex<Vec<String>>,
    }

    pub(super) struct Proxy {
        pub(super) url: String,
        shared: Arc<Shared>,
        task: JoinHandle<()>,
    }

    impl Proxy {
        pub(super) async fn start(behind: String) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let shared = Arc::new(Shared {
                behind,
                own: url.clone(),
                client: Wire::default().client().expect("a client"),
                loses: AtomicBool::new(false),
                sent: Mutex::default(),
            });
            let router = Router::new().fallback(pass).with_state(shared.clone());
            let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
            Self { url, shared, task }
        }

        /// From now on the answers to the runs' statements are lost.
        pub(super) fn lose(&self) {
            self.shared.loses.store(true, Ordering::SeqCst);
        }

        /// Which of a run's statements came by, each time they did.
        pub(super) fn sent(&self, marker: &str) -> Vec<String> {
            let label = format!("/* landfall {marker} ");
            let sent = self.shared.sent.lock().expect("whole");
            let number = |text: &String| Some(text.strip_prefix(&label)?.split_once(' ')?.0.to_owned());
            sent.iter().filter_map(number).collect()
        }
    }

    impl Drop for Proxy {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 8 << 20).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        shared.sent.lock().expect("whole").push(text.clone());
        let url = format!("{}{}", shared.behind, parts.uri);
        let mut headers = parts.headers.clone();
        headers.remove("host");
        headers.remove("accept-encoding");
        let sent = shared.client.request(parts.method.clone(), url).headers(headers).body(body).send();
        let answer = sent.await.expect("the server answers");
        let (status, page) = (answer.status(), answer.text().await.expect("a page"));
        let is_run = parts.method == Method::POST && text.starts_with("/* landfall ");
        if is_run && shared.loses.load(Ordering::SeqCst) {
            // The statement is begun, and runs to its end; whoever sent it hears nothing.
            let mut next = next_of(&page);
            while let Some(url) = next {
                let Ok(answer) = shared.client.get(url).send().await else { break };
                next = next_of(&answer.text().await.unwrap_or_default());
            }
            let mut gone = Response::new(Body::from("upstream went away"));
            *gone.status_mut() = axum::http::StatusCode::BAD_GATEWAY;
            return gone;
        }
        let mut response = Response::new(Body::from(page.replace(&shared.behind, &shared.own)));
        *response.status_mut() = status;
        response
    }

    fn next_of(page: &str) -> Option<String> {
        let page: serde_json::Value = serde_json::from_str(page).ok()?;
        page["nextUri"].as_str().map(str::to_owned)
    }
}

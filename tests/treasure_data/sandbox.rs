//! The driver against the sandbox's HTTP door: rows really computed, really delivered, and whatever
//! the platform's secret habits are, the same answers.

use std::time::SystemTime;

use landfall::{
    canary::{Carries, Cell, Rows, Tally, sample::COLUMNS},
    sandbox::{
        World,
        http::{Running, Settings, accounts, serve},
        world::{Guesses, Spread},
    },
};

use super::*;

#[expect(clippy::disallowed_methods, reason = "tests have no agent to ask for the time")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

async fn sandbox(guesses: Guesses) -> Running {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut world = World { guesses, ..World::brisk() };
    for platform in &mut world.platforms {
        platform.job_time = Spread::Always(Duration::from_millis(100));
    }
    let settings =
        Settings { listen: any, bucket_listen: any, allow_output: Vec::new(), world, seed: 1, now: Arc::new(now) };
    serve(settings).await.expect("a sandbox")
}

fn driver(running: &Running, engine: Engine) -> TreasureData {
    let [account, _] = accounts();
    let account = Account::new(&running.endpoint(), account.key, "landfall", engine).expect("right settings");
    TreasureData::new(account, &Wire::default()).expect("a client")
}

/// A job that delivers to a stand-in.
fn job(receiver: &StandIn, chance: u128) -> Job {
    let run = Run { marker: Marker::mint(now(), chance), ..run() };
    let url = receiver.url.replace("http://", "web://user:hunter2@");
    let deliver_to = Address {
        url: Secret::new(format!("{url}/landing")),
        shown: "web://…/landing".into(),
        place: "/landing".into(),
        mode: Mode::Append,
    };
    Job { run: Arc::new(run), deliver_to, deadline: now().plus(Duration::from_secs(60)) }
}

/// Prepares and submits, as an agent does, and looks until the job says its last word.
async fn fly(driver: &TreasureData, job: &Job) -> Progress {
    while let Err(error) = driver.prepare(job.run.sample).await {
        assert!(error.may_pass(), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let handle = driver.submit(job).await.expect("accepted");
    follow(driver, handle).await
}

async fn follow(driver: &TreasureData, mut handle: Handle) -> Progress {
    let looking = async {
        loop {
            let (state, newest) = driver.look(&handle).await.expect("an answer");
            handle = newest;
            match state.progress {
                Progress::Running(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                last => return last,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect("an end")
}

/// What stands in the deliveries that a stand-in took, against what a run must bring.
fn landed(receiver: &StandIn, run: &Run) -> Rows {
    let carries = Carries::default();
    let mut tally = Tally::new(run.marker, run.sample, &carries);
    for heard in receiver.heard() {
        let body: Json = serde_json::from_slice(&heard.body).expect("JSON");
        let names = body["column_names"].as_array().expect("names");
        for row in body["data"].as_array().expect("rows") {
            let cell = |name: &str| match names.iter().position(|known| known == name).map(|at| &row[at]) {
                None => Cell::Absent,
                Some(Json::Null) => Cell::Null,
                Some(Json::Bool(set)) => Cell::Bool(*set),
                Some(Json::String(text)) => Cell::Text(text.clone()),
                Some(number) => {
                    number.as_i64().map_or_else(|| Cell::Float(number.as_f64().expect("a number")), Cell::Int)
                }
            };
            let cells: Vec<Cell> = COLUMNS.iter().map(|column| cell(column.name)).collect();
            if cells[0] == Cell::Text(run.marker.to_string()) {
                tally.add(&cells);
            }
        }
    }
    tally.finish()
}

fn every_guess() -> impl Iterator<Item = Guesses> {
    (0..16).map(|bits| Guesses {
        success_waits_for_export: bits & 1 == 0,
        export_is_linked: bits & 2 == 0,
        failed_export_fails_query: bits & 4 == 0,
        link_appears_after: if bits & 8 == 0 { Duration::ZERO } else { Duration::from_millis(700) },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_a_sample_lands_once_and_right_from_every_engine() {
    let (running, receiver) = (sandbox(Guesses::default()).await, StandIn::start().await);
    receiver.says("PUT /landing", [Answer::raw(200, "")]);
    for (chance, engine) in [Engine::Hive, Engine::Presto, Engine::Trino].into_iter().enumerate() {
        let job = job(&receiver, chance as u128);
        assert_eq!(fly(&driver(&running, engine), &job).await, Progress::Done { rows: Some(20) }, "{engine:?}");
        let rows = landed(&receiver, &job.run);
        assert!(rows.complete(), "{engine:?}: {rows:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_success_and_links_mean_done_is_said_after_the_rows_and_a_failed_export_is_told() {
    let flights: Vec<_> = every_guess().map(|guesses| tokio::spawn(land_and_fail(guesses))).collect();
    for flight in flights {
        flight.await.expect("both told right");
    }
}

async fn land_and_fail(guesses: Guesses) {
    let (running, receiver) = (sandbox(guesses).await, StandIn::start().await);
    let driver = driver(&running, Engine::Hive);
    // The first job that a driver follows must be told right, not only those it has learned from.
    receiver.says("PUT /landing", [Answer::raw(403, "not here")]);
    let last = fly(&driver, &job(&receiver, 1)).await;
    let Progress::Error { phase: Phase::Export, detail } = last else { panic!("{guesses:?}: {last:?}") };
    assert!(!detail.contains("hunter2"), "{detail}");

    receiver.says("PUT /landing", [Answer::raw(200, "")]);
    let landing = job(&receiver, 2);
    assert_eq!(fly(&driver, &landing).await, Progress::Done { rows: Some(20) }, "{guesses:?}");
    assert!(landed(&receiver, &landing.run).complete(), "{guesses:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_prepare_at_once_fill_one_table_once() {
    let (running, receiver) = (sandbox(Guesses::default()).await, StandIn::start().await);
    receiver.says("PUT /landing", [Answer::raw(200, "")]);
    let drivers: Vec<Arc<TreasureData>> = (0..8).map(|_| Arc::new(driver(&running, Engine::Presto))).collect();
    let flights = drivers.iter().enumerate().map(|(chance, driver)| {
        let (driver, job) = (driver.clone(), job(&receiver, chance as u128));
        tokio::spawn(async move { (fly(&driver, &job).await, job) })
    });
    for flight in flights.collect::<Vec<_>>() {
        let (last, job) = flight.await.expect("a flight");
        assert_eq!(last, Progress::Done { rows: Some(20) });
        assert!(landed(&receiver, &job.run).complete());
    }
    let [account, _] = accounts();
    let tables = reqwest::Client::new()
        .get(format!("{}/v3/table/list/landfall", running.endpoint()))
        .header("authorization", format!("TD1 {}", account.key.reveal()))
        .send()
        .await
        .expect("an answer")
        .bytes()
        .await
        .expect("a body");
    let tables: Json = serde_json::from_slice(&tables).expect("JSON");
    let counts: Vec<&Json> = tables["tables"].as_array().expect("tables").iter().map(|table| &table["count"]).collect();
    assert_eq!(counts, [20], "one table, filled once");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_submitted_twice_is_one_job_and_one_that_is_stopped_says_so() {
    let (running, receiver) = (sandbox(Guesses::default()).await, StandIn::start().await);
    receiver.says("PUT /landing", [Answer::raw(200, "")]);
    let driver = driver(&running, Engine::Hive);
    let job = job(&receiver, 1);
    assert_eq!(driver.find(&job.run).await.expect("an answer"), None);
    while driver.prepare(job.run.sample).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = driver.submit(&job).await.expect("accepted");
    assert_eq!(driver.submit(&job).await.expect("there already"), first);
    assert_eq!(driver.find(&job.run).await.expect("an answer"), Some(first.clone()));
    driver.cancel(&first).await.expect("stopped");
    let last = follow(&driver, first.clone()).await;
    assert!(matches!(last, Progress::Killed { .. } | Progress::Done { .. }), "{last:?}");
    driver.cancel(&first).await.expect("finished already");
    running.stop().await;
}

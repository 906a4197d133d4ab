//! A little job API of its own making: takes SQL, runs it on PostgreSQL after a while, says how it is. It
//! shares no code with the driver, nor with the sandbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{net::TcpListener, task::JoinHandle};

/// The token that it wants.
pub(super) const TOKEN: &str = "jobs-s3cret-token";

/// Between two statements of one that pauses: long enough for several looks of an agent that is busy.
const PAUSE: Duration = Duration::from_secs(6);

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing.
    Honest,
    /// It says DONE and runs nothing.
    Lies,
    /// Its SQL meets a table that is not there.
    Fails,
    /// Jobs run for ever.
    NeverEnds,
    /// 503 to everything.
    Busy,
    /// It takes the first submit of a job and never answers it.
    Forgets,
    /// It runs what stands between `;;` one after the other, each for itself, with a pause between.
    Pauses,
    /// It neither takes nor answers the first submit of a job.
    Loses,
}

struct Job {
    id: u64,
    key: String,
    status: &'static str,
    rows: Option<u64>,
    error: Option<String>,
}

struct House {
    habit: Habit,
    database: String,
    jobs: Mutex<Vec<Job>>,
    /// How often each key was submitted.
    submits: Mutex<HashMap<String, usize>>,
}

/// The server, on a port of its own, stopped with its value.
pub(super) struct JobApi {
    pub(super) url: String,
    house: Arc<House>,
    task: JoinHandle<()>,
}

impl JobApi {
    /// One that runs SQL in a database.
    pub(super) async fn start(habit: Habit, database: String) -> Self {
        let house = Arc::new(House { habit, database, jobs: Mutex::default(), submits: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/api", listener.local_addr().expect("bound"));
        let router = Router::new()
            .route("/api/jobs", post(submit).get(list))
            .route("/api/jobs/{id}", get(show).delete(cancel))
            .with_state(house.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, house, task }
    }

    /// How often each job was submitted, and how many jobs there are of each key.
    pub(super) fn counts(&self) -> Vec<(usize, usize)> {
        let (submits, jobs) = (self.house.submits.lock().expect("whole"), self.house.jobs.lock().expect("whole"));
        submits.iter().map(|(key, times)| (*times, jobs.iter().filter(|job| job.key == *key).count())).collect()
    }

    /// How many jobs were stopped.
    pub(super) fn cancelled(&self) -> usize {
        self.house.jobs.lock().expect("whole").iter().filter(|job| job.status == "CANCELLED").count()
    }
}

impl Drop for JobApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn said(status: StatusCode, json: &Value) -> Response {
    (status, [("content-type", "application/json")], json.to_string()).into_response()
}

/// An answer instead of the one that was asked for.
fn refused(house: &House, headers: &HeaderMap) -> Option<Response> {
    let told = headers.get("authorization").and_then(|value| value.to_str().ok());
    if told != Some(&*format!("Bearer {TOKEN}")) {
        return Some(said(StatusCode::UNAUTHORIZED, &json!({"message": "who are you?"})));
    }
    (house.habit == Habit::Busy).then(|| (StatusCode::SERVICE_UNAVAILABLE, "try later").into_response())
}

async fn submit(State(house): State<Arc<House>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(answer) = refused(&house, &headers) {
        return answer;
    }
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let (key, sql) = (text("key"), text("sql"));
    let first = {
        let mut submits = house.submits.lock().expect("whole");
        let times = submits.entry(key.clone()).or_default();
        *times += 1;
        *times == 1
    };
    if first && house.habit == Habit::Loses {
        return std::future::pending().await;
    }
    let id = {
        let mut jobs = house.jobs.lock().expect("whole");
        let id = 1 + jobs.len() as u64;
        jobs.push(Job { id, key, status: "QUEUED", rows: None, error: None });
        id
    };
    let running = house.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.change(id, "RUNNING", None, None);
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.work(id, &sql).await;
    });
    if first && house.habit == Habit::Forgets {
        return std::future::pending().await;
    }
    said(StatusCode::CREATED, &json!({"job": {"id": id}}))
}

impl House {
    async fn work(&self, id: u64, sql: &str) {
        match self.habit {
            Habit::NeverEnds => return,
            Habit::Lies => return self.change(id, "DONE", Some(20), None),
            _ => {}
        }
        let done = async {
            let mut database = PgConnection::connect(&self.database).await?;
            if self.habit != Habit::Pauses {
                let whole = sql.replace(";;", ";");
                return sqlx::raw_sql(AssertSqlSafe(whole)).execute(&mut database).await;
            }
            let (first, last) = sql.rsplit_once(";;").unwrap_or(("SELECT 1", sql));
            sqlx::raw_sql(AssertSqlSafe(first.to_owned())).execute(&mut database).await?;
            tokio::time::sleep(PAUSE).await;
            sqlx::raw_sql(AssertSqlSafe(last.to_owned())).execute(&mut database).await
        };
        match done.await {
            Ok(done) => self.change(id, "DONE", Some(done.rows_affected()), None),
            Err(error) => self.change(id, "FAILED", None, Some(error.to_string())),
        }
    }

    fn change(&self, id: u64, status: &'static str, rows: Option<u64>, error: Option<String>) {
        let mut jobs = self.jobs.lock().expect("whole");
        if let Some(job) = jobs.iter_mut().find(|job| job.id == id && job.status != "CANCELLED") {
            (job.status, job.rows, job.error) = (status, rows, error);
        }
    }
}

fn shown(job: &Job) -> Value {
    json!({"id": job.id, "state": {"word": job.status}, "written": job.rows, "error": job.error})
}

async fn list(State(house): State<Arc<House>>, headers: HeaderMap, asked: Query<HashMap<String, String>>) -> Response {
    if let Some(answer) = refused(&house, &headers) {
        return answer;
    }
    let jobs = house.jobs.lock().expect("whole");
    let found: Vec<Value> = jobs.iter().filter(|job| asked.get("key") == Some(&job.key)).map(shown).collect();
    said(StatusCode::OK, &json!({ "jobs": found }))
}

async fn show(State(house): State<Arc<House>>, headers: HeaderMap, Path(id): Path<u64>) -> Response {
    if let Some(answer) = refused(&house, &headers) {
        return answer;
    }
    let jobs = house.jobs.lock().expect("whole");
    match jobs.iter().find(|job| job.id == id) {
        Some(job) => said(StatusCode::OK, &shown(job)),
        None => said(StatusCode::NOT_FOUND, &json!({"message": "no such job"})),
    }
}

async fn cancel(State(house): State<Arc<House>>, headers: HeaderMap, Path(id): Path<u64>) -> Response {
    if let Some(answer) = refused(&house, &headers) {
        return answer;
    }
    house.change(id, "CANCELLED", None, None);
    StatusCode::NO_CONTENT.into_response()
}

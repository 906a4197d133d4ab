//! A daemon among platforms and targets that answer with a gigabyte, or never: it reads little of it, calls
//! nothing lost that it cannot see, and watches everybody else as if nothing were.

use std::time::Duration;

use crate::fixtures::{
    daemon::Watched,
    stand_in::{Answer, StandIn},
};

/// An answer of that many megabytes is no answer.
const GIGABYTE: usize = 1024;
/// A quarter of one such answer, and several of them come at once.
const MOST_MEMORY: u64 = 256 << 20;

/// A platform of each kind that speaks HTTP, and a bucket, all at one address.
fn platforms(url: &str, name: &str) -> String {
    format!(
        r#"
[platform.{name}-td.treasure-data]
endpoint = "{url}"
api_key  = {{ file = "../secrets/account1.key" }}
database = "landfall"
engine   = "presto"
[platform.{name}-trino.trino]
endpoint = "{url}"
user     = "landfall"
seed     = "memory.default"
[platform.{name}-trino.trino.outputs]
bucket = "hive.default"
[platform.{name}-job.http-job]
endpoint = "{url}"
dialect  = "postgresql"
submit   = {{ path = "/jobs", json = {{ sql = "{{query}}", to = "{{address}}" }}, id = "/id" }}
look     = {{ path = "/jobs/{{id}}", status = "/status", statuses = {{ DONE = "done", BROKE = "error" }} }}
[target.{name}-bucket.object-store]
endpoint          = "{url}"
region            = "us-east-1"
bucket            = "canaries"
prefix            = "{name}"
access_key_id     = "landfall"
secret_access_key = {{ file = "../secrets/bucket-agent.secret" }}
[canary.{name}-platforms]
platforms = ["{name}-td", "{name}-trino", "{name}-job"]
targets   = ["bucket"]
skip_impossible = true
every     = "5s"
objective = "5s"
deadline  = "12s"
[canary.{name}-targets]
platforms = ["presto"]
targets   = ["{name}-bucket"]
every     = "5s"
objective = "5s"
deadline  = "12s"
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_and_silent_answers_cost_no_memory_and_blind_to_nobody_else() {
    let (huge, silent) = (StandIn::start().await, StandIn::start().await);
    huge.always_says(Answer::huge(200, GIGABYTE));
    silent.always_says(Answer::nothing());
    let probes = platforms(&huge.url, "huge") + &platforms(&silent.url, "silent");
    let mut watched = Watched::start(|text| text + &probes).await;
    let judged = async |w: &Watched| {
        let (routes, runs) = (w.list("routes").await?, w.list("runs").await?);
        let names = |of: &serde_json::Value| ["canary", "platform", "target"].map(|name| of[name].clone());
        let final_of = |route: &serde_json::Value| {
            let mut own = runs.iter().filter(|run| names(run) == names(route));
            own.find(|run| run["outcome"].is_string() && run["provisional"] != true).cloned()
        };
        routes.iter().map(final_of).collect::<Option<Vec<_>>>()
    };
    let (runs, _) = watched.until("every route has a final verdict", Duration::from_secs(120), judged).await;
    for run in &runs {
        let canary = run["canary"].as_str().expect("a name");
        let outcome = run["outcome"].as_str().expect("a name");
        match canary {
            "result-output" => assert_eq!(outcome, "landed", "{run:#}"),
            // The platform may say itself that it cannot write there; nobody else can say anything.
            _ => assert!(["unknown", "failed"].contains(&outcome), "{run:#}"),
        }
    }
    let lost = ["lost", "partial", "stale", "duplicated", "corrupted"];
    let incidents = watched.list("incidents").await.expect("it answers");
    assert!(incidents.iter().all(|one| !lost.contains(&one["outcome"].as_str().unwrap_or_default())), "{incidents:#?}");
    assert!(watched.most_memory() < MOST_MEMORY, "{} MB", watched.most_memory() >> 20);
    watched.kill();
}

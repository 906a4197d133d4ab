//! The whole line: an agent, a job API that the config declares, a PostgreSQL that both know.

use std::fmt::Write as _;

use landfall::canary::{CanaryName, Labels, Mode, Outcome, Phase, PlatformName, Route, TargetName, Verdict};

use super::api::{Habit, JobApi, TOKEN};
use crate::fixtures::{
    postgres::Postgres,
    rows::create,
    watching::{Heard, Watching},
};

const REPLACES: &str = "modes = [\"replace\"]\nevery = \"15s\"\nobjective = \"20s\"\ndeadline = \"40s\"";
const FIND: &str = "find = { path = \"/jobs?key={marker}\", id = \"/jobs/0/id\" }\n";

/// A platform of this name whose runs write into a table of the same name.
fn declared(name: &str, api: &JobApi, more: &str) -> String {
    format!(
        r#"
[platform.{name}.http-job]
endpoint = "{}"
dialect = "postgresql"
bearer = {{ file = "token" }}
timeout = "1s"
{more}
submit = {{ path = "/jobs", json = {{ sql = "INSERT INTO {{place}} {{query}}", key = "{{marker}}" }}, id = "/job/id" }}
cancel = {{ method = "DELETE", path = "/jobs/{{id}}" }}
[platform.{name}.http-job.look]
path = "/jobs/{{id}}"
status = "/state/word"
rows = "/written"
error = "/error"
statuses = {{ QUEUED = "queued", RUNNING = "running", DONE = "done", FAILED = "error", CANCELLED = "killed" }}

[target.{name}.postgresql]
url = {{ file = "agent.url" }}
table = "{name}"

[canary.{name}]
platforms = ["{name}"]
targets = ["{name}"]
every = "6s"
objective = "4s"
deadline = "12s"
"#,
        api.url
    )
}

fn first(heard: &Heard, platform: &str) -> Option<Verdict> {
    heard.finals(platform).next().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_job_api_does_is_named_right() {
    let database = Postgres::shared().database().await;
    let cases = [
        ("honest", Habit::Honest, FIND, Outcome::Landed),
        ("seeded", Habit::Honest, "seed_table = \"landfall_seed\"", Outcome::Landed),
        ("lies", Habit::Lies, FIND, Outcome::Lost),
        ("fails", Habit::Fails, "", Outcome::Failed),
        ("never_ends", Habit::NeverEnds, "", Outcome::Stuck),
        ("busy", Habit::Busy, FIND, Outcome::Failed),
        // Nobody heard that it was taken, and without a way to find it nobody asks again.
        ("forgets", Habit::Forgets, "", Outcome::Unknown),
        ("forgets_findable", Habit::Forgets, FIND, Outcome::Landed),
        ("loses", Habit::Loses, "", Outcome::Unknown),
        ("loses_findable", Habit::Loses, FIND, Outcome::Landed),
    ];
    let seeds = landfall::platform::http_job::Sql::PostgreSql.seeds(landfall::canary::Sample::of(25));
    database.sql(&format!("CREATE TABLE landfall_seed AS {seeds}")).await;
    let (mut config, mut apis) = (String::new(), Vec::new());
    for (name, habit, more, _) in &cases {
        if *habit != Habit::Fails {
            database.sql(&create(name)).await;
        }
        let api = JobApi::start(*habit, database.platform()).await;
        config.push_str(&declared(name, &api, more));
        apis.push(api);
    }
    let watching = Watching::start(&config, &[("token", TOKEN), ("agent.url", &database.agent())]).await;
    let verdicts = watching
        .until("every platform has its verdict", |heard| {
            cases.iter().map(|(name, ..)| first(heard, name)).collect::<Option<Vec<_>>>()
        })
        .await;
    let told = watching.heard(Heard::text);
    watching.stop().await;
    let mut wrong = String::new();
    for ((name, .., outcome), verdict) in cases.iter().zip(&verdicts) {
        if verdict.outcome != *outcome {
            let _ = writeln!(wrong, "{name}: expected {outcome}, found {}", verdict.outcome);
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{told}");
    let of = |wanted: &str| {
        let at = cases.iter().position(|(name, ..)| *name == wanted).expect("a case");
        (&verdicts[at], &apis[at])
    };
    assert_eq!(of("fails").0.phase, Some(Phase::Execute));
    assert!(format!("{:?}", of("fails").0.evidence.claim).contains("does not exist"), "{told}");
    assert_eq!(of("honest").0.evidence.jobs, ["1"], "people find the job by its id");
    for never_again in ["honest", "forgets", "forgets_findable", "loses"] {
        assert!(of(never_again).1.counts().iter().all(|(submits, _)| *submits == 1), "{never_again}");
    }
    assert!(of("loses_findable").1.counts().contains(&(2, 1)), "sent again, since nobody has it");
    assert!(of("loses_findable").1.counts().iter().all(|(_, jobs)| *jobs <= 1));
    assert!(of("never_ends").1.cancelled() >= 1, "what is stuck is stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_readers_found_a_replaced_table_empty_is_counted() {
    let database = Postgres::shared().database().await;
    let (mut config, mut apis) = (String::new(), Vec::new());
    for (name, habit) in [("at_once", Habit::Honest), ("in_two_steps", Habit::Pauses)] {
        let api = JobApi::start(habit, database.platform()).await;
        let platform = declared(name, &api, FIND)
            .replace(
                "\"INSERT INTO {place} {query}\"",
                "\"DELETE FROM {place};; INSERT INTO {place} {query}\", mode = \"{mode}\"",
            )
            .replace("every = \"6s\"\nobjective = \"4s\"\ndeadline = \"12s\"", REPLACES);
        config.push_str(&platform);
        apis.push(api);
        let names = (
            CanaryName::new(name).expect("valid"),
            PlatformName::new(name).expect("valid"),
            TargetName::new(name).expect("valid"),
        );
        let route = Route::new(names.0, names.1, names.2, Mode::Replace, Labels::default());
        database.sql(&create(&format!("{name}__{}", route.id))).await;
    }
    let watching = Watching::start(&config, &[("token", TOKEN), ("agent.url", &database.agent())]).await;
    // The first run finds an empty table: nothing that was there is gone.
    let second = |heard: &Heard, platform: &str| heard.finals(platform).nth(1).cloned();
    let (whole, gap) = watching
        .until("both have replaced their own rows", |heard| {
            Some((second(heard, "at_once")?, second(heard, "in_two_steps")?))
        })
        .await;
    let told = watching.heard(Heard::text);
    watching.stop().await;
    assert_eq!((whole.outcome, gap.outcome), (Outcome::Landed, Outcome::Landed), "{told}");
    assert!(whole.evidence.half_empty.is_zero(), "{:?}\n{told}", whole.evidence.half_empty);
    assert!(!gap.evidence.half_empty.is_zero(), "{told}");
}

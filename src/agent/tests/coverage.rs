//! What platforms are asked about customers, and what is made of their answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{S, scene::Scene};
use crate::{
    canary::{Labels, Mode, PlatformName, Run, Sample, Timestamp},
    config::PlatformPlan,
    detect::coverage::{Coverage, Landing},
    platform::{
        Handle, Job, JobState, Platform, PlatformError, Resume,
        past::{Ended, Output, Page, Past, PastJob, Standing},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// A platform that remembers, and runs nothing.
#[derive(Debug, Default)]
struct Remembers {
    engine: &'static str,
    access: &'static str,
    tenant: &'static str,
    /// Newest first.
    jobs: Mutex<Vec<PastJob>>,
    standing: Vec<Standing>,
    /// How often it was asked what stands: once in each look.
    asked: Mutex<usize>,
    /// It fails so many times first.
    fails: Mutex<Vec<PlatformError>>,
    /// A job comes in while a page is being read.
    grows: bool,
    /// It says nothing of what stands.
    hides: bool,
    most: usize,
}

fn refused() -> PlatformError {
    PlatformError::Refused { detail: "this platform runs nothing".to_owned() }
}

#[async_trait]
impl Platform for Remembers {
    fn resume(&self) -> Resume {
        Resume::Not
    }
    async fn prepare(&self, _: Sample) -> Result<(), PlatformError> {
        Err(refused())
    }
    async fn submit(&self, _: &Job) -> Result<Handle, PlatformError> {
        Err(refused())
    }
    async fn find(&self, _: &Run) -> Result<Option<Handle>, PlatformError> {
        Ok(None)
    }
    async fn look(&self, _: &Handle) -> Result<(JobState, Handle), PlatformError> {
        Err(refused())
    }
    async fn cancel(&self, _: &Handle) -> Result<(), PlatformError> {
        Ok(())
    }
    fn past(&self) -> Option<&dyn Past> {
        Some(self)
    }
}

#[async_trait]
impl Past for Remembers {
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError> {
        if let Some(error) = lock(&self.fails).pop() {
            return Err(error);
        }
        let mut jobs = lock(&self.jobs);
        let page: Vec<_> = jobs.iter().skip(skip).take(most.min(self.most)).cloned().collect();
        let is_last = skip + page.len() == jobs.len();
        if self.grows {
            let (newest, n) = (jobs[0].clone(), jobs.len());
            jobs.insert(0, PastJob { id: format!("new-{n}"), ..newest });
        }
        Ok(Page { jobs: page, is_last })
    }
    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        *lock(&self.asked) += 1;
        match self.hides {
            true => Err(PlatformError::Denied { detail: "403".to_owned() }),
            false => Ok(self.standing.clone()),
        }
    }
    fn again(&self, _: &PastJob) -> Option<String> {
        None
    }
    fn account(&self) -> Option<String> {
        Some(self.access.to_owned())
    }
    fn own(&self) -> Vec<(&'static str, String)> {
        vec![("type", self.engine.to_owned())]
    }
    fn tenant(&self) -> Option<String> {
        Some(self.tenant.to_owned())
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn output(scheme: &str, mode: Mode, shown: &str) -> Output {
    Output { scheme: scheme.to_owned(), mode: Some(mode), shown: shown.to_owned() }
}

/// A customer's job, so long ago.
fn job(id: &str, engine: &str, ago: Duration, output: Option<Output>) -> PastJob {
    PastJob {
        id: id.to_owned(),
        owner: Some("ann".to_owned()),
        fields: vec![("type", engine.to_owned())],
        ended: Ended::Success,
        created_at: Some(now().minus(ago)),
        started_at: None,
        ended_at: None,
        rows: None,
        output,
        hides_output: false,
        is_canary: false,
    }
}

/// When the scene begins.
fn now() -> Timestamp {
    Scene::new(&["web"], |_| {}).clock.now()
}

/// An agent with these platforms. Each is called by its engine and its access.
async fn agent(platforms: Vec<Arc<Remembers>>, every: Option<Duration>) -> Scene {
    let scene = Scene::new(&["web"], |plan| {
        plan.agent.coverage_every = every;
        let (in_flight, per_hour, labels) = (1, 1, Labels::default());
        let remembering = platforms.iter().map(|driver| PlatformPlan {
            name: PlatformName::new(&format!("{}-{}", driver.engine, driver.access)).expect("a name"),
            kind: "remembers",
            labels: labels.clone(),
            in_flight,
            per_hour,
            outputs: None,
            jobs: Vec::new(),
            driver: Arc::clone(driver) as Arc<dyn Platform>,
        });
        plan.platforms.extend(remembering);
        plan.landings = vec![
            Landing { kind: "table", modes: &Mode::ALL, schemes: &["sql"], example: "[target.NAME.table]\n" },
            Landing { kind: "pretend", modes: &Mode::ALL, schemes: &["web"], example: "" },
        ];
    });
    scene.start().await
}

/// What an agent with these platforms says of its coverage.
async fn coverage(platforms: Vec<Arc<Remembers>>) -> Coverage {
    agent(platforms, None).await.agent.coverage(30 * DAY, |_| ()).await.expect("a daemon")
}

/// Jobs by platform, schemes and mode.
fn counted(found: &Coverage) -> HashMap<String, u64> {
    let mode = |mode: Option<Mode>| mode.map_or("?", Mode::as_str);
    let key = |line: &crate::detect::coverage::Line| {
        format!("{} {} > {} {}", line.platform, line.engine, line.schemes.join(","), mode(line.mode))
    };
    found.ways.iter().map(|line| (key(line), line.jobs)).collect()
}

fn counts<const N: usize>(of: [(&str, u64); N]) -> HashMap<String, u64> {
    of.into_iter().map(|(way, jobs)| (way.to_owned(), jobs)).collect()
}

fn remembers(engine: &'static str, access: &'static str, tenant: &'static str, jobs: Vec<PastJob>) -> Remembers {
    Remembers { engine, access, tenant, jobs: Mutex::new(jobs), most: 1000, ..Remembers::default() }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_customers_are_counted_once_however_the_pages_shift_and_who_else_is_told_them() {
    let sql = || Some(output("sql", Mode::Append, "sql://db/t"));
    let mut jobs: Vec<_> = (0..100).map(|n| job(&format!("{n}"), "hive", HOUR, sql())).collect();
    jobs[3].is_canary = true;
    jobs[4].output = None;
    jobs[5].ended = Ended::Error;
    jobs[6].fields = vec![("type", "presto".to_owned())];
    jobs.extend([job("old", "hive", 31 * DAY, sql()), job("older", "hive", 40 * DAY, sql())]);
    let pages = Arc::new(Remembers { grows: true, most: 7, ..remembers("hive", "k1", "1", jobs.clone()) });
    // Another key of the same account, and another platform with the first.
    let other = Arc::new(remembers("presto", "k2", "1", jobs[..50].to_vec()));
    let same = Arc::new(remembers("trino", "k1", "1", jobs));
    let found = coverage(vec![Arc::clone(&pages), Arc::clone(&other), Arc::clone(&same)]).await;
    assert_eq!(counted(&found), counts([("hive-k1 hive > sql append", 97), ("presto-k2 presto > sql append", 1)]));
    assert_eq!((*lock(&other.asked), *lock(&same.asked)), (1, 0), "who is told the same is not asked");
    assert_eq!(found.ways[0].failed, 1);
    assert!(found.unheard.is_empty(), "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_export_is_the_jobs_own_way_unless_it_goes_elsewhere() {
    let export = |id: &str, of: &str, to: Output| PastJob {
        fields: vec![("type", "result_export".to_owned()), ("result_export_target_job_id", of.to_owned())],
        ..job(id, "", HOUR, Some(to))
    };
    let linked = |id: &str, link: &str, to: Option<Output>| PastJob {
        fields: vec![("type", "hive".to_owned()), ("linked_result_export_job_id", link.to_owned())],
        ..job(id, "", HOUR, to)
    };
    let sql = || output("sql", Mode::Append, "sql://db/t");
    let jobs = vec![
        // Made again, to the same place.
        export("10", "2", sql()),
        export("9", "1", sql()),
        export("8", "3", output("web", Mode::Append, "web://h")),
        export("7", "4", sql()),
        export("6", "gone", sql()),
        export("5", "2", output("sql", Mode::Replace, "sql://db/t?mode=replace")),
        PastJob { is_canary: true, ..linked("4", "7", Some(sql())) },
        linked("3", "", None),
        linked("2", "", Some(sql())),
        linked("1", "9", Some(sql())),
    ];
    let found = coverage(vec![Arc::new(remembers("hive", "k", "1", jobs))]).await;
    let wanted = [("hive-k hive > sql append", 2), ("hive-k hive > sql replace", 1), ("hive-k hive > web append", 1)];
    assert_eq!(counted(&found), counts(wanted));
}

#[tokio::test(start_paused = true)]
async fn a_saved_connection_leads_where_it_leads_and_a_saved_query_counts_when_it_comes() {
    let standing = |name: &str, output: Output, next_at: Option<Timestamp>, is_scheduled: bool| Standing {
        name: name.to_owned(),
        fields: if is_scheduled { vec![("type", "hive".to_owned())] } else { Vec::new() },
        output,
        is_scheduled,
        owner: Some("bob".to_owned()),
        next_at,
    };
    let named = |mode: Option<Mode>| Output { scheme: "name".to_owned(), mode, shown: "shop:…".to_owned() };
    let lost = Output { scheme: "name".to_owned(), mode: None, shown: "gone:…".to_owned() };
    let platform = Remembers {
        standing: vec![
            standing("shop", output("sql", Mode::Append, "sql://db"), None, false),
            standing("idle", output("tableau", Mode::Append, "tableau://h"), None, false),
            standing("nightly", named(Some(Mode::Update)), Some(now().plus(DAY)), true),
            standing("waits", named(Some(Mode::Truncate)), None, true),
        ],
        ..remembers(
            "hive",
            "k",
            "1",
            vec![
                job("3", "hive", HOUR, Some(named(None))),
                job("2", "hive", HOUR, Some(named(Some(Mode::Replace)))),
                job("1", "hive", HOUR, Some(lost)),
            ],
        )
    };
    let found = coverage(vec![Arc::new(platform)]).await;
    let wanted = [
        ("hive-k hive > sql append", 1),
        ("hive-k hive > sql replace", 1),
        ("hive-k hive > sql update", 0),
        ("hive-k hive > name ?", 1),
        ("hive-k  > tableau ?", 0),
    ];
    assert_eq!(counted(&found), counts(wanted), "{found:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_answers_badly_is_asked_again_and_one_that_refuses_is_named() {
    let jobs = || vec![job("1", "hive", HOUR, Some(output("sql", Mode::Append, "sql://db/t")))];
    let throttled = || PlatformError::Throttled { retry_after: Some(S(30)) };
    let broken = || PlatformError::Broken { detail: "500".to_owned() };
    let stumbles = remembers("hive", "k1", "1", jobs());
    *lock(&stumbles.fails) = vec![broken(), throttled(), broken()];
    let denies = remembers("hive", "k2", "2", jobs());
    *lock(&denies.fails) = vec![PlatformError::Denied { detail: "403".to_owned() }];
    let breaks = remembers("hive", "k3", "3", jobs());
    *lock(&breaks.fails) = (0..1000).map(|_| broken()).collect();
    let hides = Remembers { hides: true, ..remembers("hive", "k4", "4", jobs()) };
    let found = coverage(vec![Arc::new(stumbles), Arc::new(denies), Arc::new(breaks), Arc::new(hides)]).await;
    let heard = [("hive-k1 hive > sql append", 1), ("hive-k4 hive > sql append", 1)];
    assert_eq!(counted(&found), counts(heard));
    let unheard: Vec<_> = found.unheard.iter().map(|of| (of.platform.as_str(), &*of.because)).collect();
    let half = "its connections and schedules cannot be read: access denied: 403";
    assert_eq!(unheard, [("hive-k2", "access denied: 403"), ("hive-k3", "broken: 500"), ("hive-k4", half)]);
}

#[tokio::test(start_paused = true)]
async fn the_agent_looks_by_itself_as_often_as_it_is_told_and_a_reload_makes_it_look_no_sooner() {
    let jobs = || vec![job("1", "hive", HOUR, Some(output("sql", Mode::Append, "sql://db/t")))];
    let (looked, never) =
        (Arc::new(remembers("hive", "k", "1", jobs())), Arc::new(remembers("hive", "k", "1", jobs())));
    let scene = agent(vec![Arc::clone(&looked)], Some(S(1200))).await;
    let _idle = agent(vec![Arc::clone(&never)], None).await;
    tokio::time::sleep(S(290)).await;
    assert_eq!(*lock(&looked.asked), 0, "runs come first");
    tokio::time::sleep(S(20)).await;
    assert_eq!(*lock(&looked.asked), 1);
    tokio::time::sleep(S(900)).await;
    scene.agent.reload(&scene.plan).await;
    tokio::time::sleep(S(240)).await;
    assert_eq!(*lock(&looked.asked), 1);
    tokio::time::sleep(S(60)).await;
    assert_eq!((*lock(&looked.asked), *lock(&never.asked)), (2, 0));
}

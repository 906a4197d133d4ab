//! What customers wrote through real servers: read back from the list of queries, matched with an outage that
//! an agent saw, and held against its routes.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use landfall::{
    agent::{
        Clock, Dice,
        past::{Bounds, read},
    },
    canary::{Mode, Outcome, Timestamp},
    detect::{
        Change, Incident,
        coverage::{Coverage, Line, Watch as Watched},
    },
    platform::{
        PlatformError,
        past::{Ended, Page, Past, PastJob, Standing},
    },
};

use super::{
    losses::{TERMS, unique},
    watch::{Record, Scene},
};
use crate::fixtures::trino::{Flavor, Server};

#[expect(clippy::disallowed_methods, reason = "tests have no agent to ask for the time")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

/// A platform that tells of a few jobs at a time only.
struct Few<'a>(&'a dyn Past, usize);

#[async_trait]
impl Past for Few<'_> {
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError> {
        self.0.jobs(skip, most.min(self.1)).await
    }

    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        self.0.standing().await
    }

    fn again(&self, job: &PastJob) -> Option<String> {
        self.0.again(job)
    }

    fn forgets(&self) -> bool {
        self.0.forgets()
    }
}

/// A cluster with a target that may be written to.
fn cluster(server: &Server) -> Scene {
    let mut scene = Scene::new();
    scene.platform("cluster", server, "memory.default", &[("t", "pg.public")]);
    scene.table("t", &unique("t"), &server.database);
    scene.canary("c", "cluster", &["t"], "every = \"1h\"");
    scene
}

/// The jobs of whoever called itself so.
fn of<'a>(jobs: &'a [PastJob], user: &str) -> Vec<&'a PastJob> {
    jobs.iter().filter(|job| job.field("user") == Some(user)).collect()
}

pub(super) async fn a_list_that_shifts_while_it_is_read_tells_each_query_once(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (ann, table, since) = (unique("ann"), unique("shifting"), now());
    server.sql(&format!("CREATE TABLE memory.default.{table} (x bigint)")).await;
    for n in 0..25 {
        server.sql_as(&ann, &[], &format!("INSERT INTO memory.default.{table} SELECT {n}")).await.expect("written");
    }
    // Somebody else goes on all the while: everything in the list moves.
    let (bob, over, came) = (unique("bob"), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let going_on = tokio::spawn({
        let (server, over, came) = (Arc::clone(&server), Arc::clone(&over), Arc::clone(&came));
        async move {
            while !over.load(Ordering::Relaxed) {
                server.sql_as(&bob, &[], "SELECT 1").await.expect("read");
                came.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (platform, _) = cluster(&server).drivers();
    let past = platform.past().expect("it remembers");
    // Far fewer at a time than there are, and far more than come meanwhile.
    let (few, before) = (Few(past, 12), came.load(Ordering::Relaxed));
    let all = read(&few, since, Bounds::default(), &Clock::System, &Dice::seeded(1)).await;
    let came = came.load(Ordering::Relaxed) - before;
    over.store(true, Ordering::Relaxed);
    going_on.await.expect("it ends");
    assert!(came > 1, "nothing moved");
    assert_eq!(all.cut, None);
    let written = of(&all.jobs, &ann);
    let ids: BTreeSet<&str> = written.iter().map(|job| job.id.as_str()).collect();
    assert_eq!((written.len(), ids.len()), (25, 25));
    for job in written {
        let output = job.output.as_ref().expect("an output");
        let shown = format!("memory.default.{table}");
        assert_eq!((&*output.scheme, output.mode, &*output.shown), ("memory", Some(Mode::Append), &*shown));
        assert_eq!((job.ended, job.owner.as_deref()), (Ended::Success, Some(&*ann)));
        assert!(job.created_at <= job.started_at && job.started_at <= job.ended_at && job.ended_at.is_some());
    }
    // What the driver asks itself is nobody's job: else each look would move the list.
    assert!(of(&all.jobs, "landfall").iter().all(|job| job.is_canary), "{all:#?}");

    // What was over before it began to read has gone since, or has not: it says back to when nothing has.
    let server_began = all.jobs.iter().filter_map(|job| job.created_at).min().expect("some");
    assert_eq!(all.lacks(now()), None);
    let whole = read(past, Timestamp::EPOCH, Bounds::default(), &Clock::System, &Dice::seeded(1)).await;
    assert!(whole.cut.is_none() && whole.lacks(server_began.minus(Duration::from_secs(3_600))).is_some());
}

pub(super) async fn a_statement_says_where_its_rows_go_whatever_it_is_written_like(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (ann, a, b) = (unique("ann"), unique("a"), unique("b"));
    let session = [("catalog", "memory"), ("schema", "default"), ("source", "nightly")];
    let say = async |statement: &str| server.sql_as(&ann, &session, statement).await;
    let good = [
        (format!("CREATE TABLE {a} AS SELECT 1 AS x"), format!("memory replace memory.default.{a}")),
        (
            format!("-- INSERT INTO x\n/* it's */ insert into \"Default\".\"{a}\" select 2"),
            format!("memory append memory.default.{a}"),
        ),
        (
            format!("CREATE TABLE IF NOT EXISTS pg.public.{b} (y) AS WITH z AS (SELECT 1) SELECT * FROM z"),
            format!("pg replace pg.public.{b}"),
        ),
        (format!("INSERT INTO \"pg\".public /* o */ . {b} (y) VALUES 3"), format!("pg append pg.public.{b}")),
        (format!("SELECT 'INSERT INTO pg.public.{b}'"), "nothing".to_owned()),
        (format!("EXPLAIN INSERT INTO {a} SELECT 4"), "nothing".to_owned()),
        (format!("EXPLAIN ANALYZE INSERT INTO {a} SELECT 5"), format!("memory append memory.default.{a}")),
    ];
    for (statement, _) in &good {
        say(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let long = format!("/* {} */ INSERT INTO {a} SELECT 6", "x".repeat(4_000));
    say(&long).await.expect("written");
    let prepared = format!("Nightly=INSERT%20INTO%20{a}%20SELECT%207");
    let prepares = [&session[..], &[("prepared-statement", &*prepared)]].concat();
    server.sql_as(&ann, &prepares, "EXECUTE \"Nightly\"").await.expect("written");
    assert!(say(&format!("INSERT INTO {a} SELECT 1 / (x - x) FROM {a}")).await.is_err());

    let (platform, _) = cluster(&server).drivers();
    let page = platform.past().expect("it remembers").jobs(0, 100).await.expect("a page");
    let mut jobs = of(&page.jobs, &ann);
    jobs.reverse();
    let told = |job: &PastJob| match &job.output {
        Some(output) => format!("{} {} {}", output.scheme, output.mode.expect("known"), output.shown),
        None if job.hides_output => "hidden".to_owned(),
        None => "nothing".to_owned(),
    };
    let wanted: Vec<String> = good.into_iter().map(|(_, wanted)| wanted).collect();
    assert_eq!(jobs.iter().take(wanted.len()).map(|job| told(job)).collect::<Vec<_>>(), wanted);
    let rest: Vec<_> = jobs[wanted.len()..].iter().map(|job| (told(job), job.ended)).collect();
    let failed = (format!("memory append memory.default.{a}"), Ended::Error);
    let executed = (format!("memory append memory.default.{a}"), Ended::Success);
    assert_eq!(rest, [("hidden".to_owned(), Ended::Success), executed, failed]);
    let fields = ["type", "user", "source", "resource_group_id", "catalog", "schema"];
    let fields = fields.map(|name| jobs[1].field(name).unwrap_or_default());
    assert_eq!(fields, [flavor.name(), &*ann, "nightly", "global", "memory", "default"]);
}

pub(super) async fn exactly_the_customers_whose_rows_the_target_lost_are_named(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (leaky, open, ann) = (unique("leaky"), unique("open"), unique("ann"));
    let mut scene = Scene::new();
    let outputs = [("leaky", "lodger.public"), ("open", "pg.public")];
    scene.platform("cluster", &server, "memory.default", &outputs);
    scene.table("leaky", &leaky, &server.database);
    scene.table("open", &open, &server.database);
    scene.canary("c", "cluster", &["leaky", "open"], TERMS);
    let watch = scene.watch().await;
    // A run that is sent from now on comes to this.
    let next = async |outcome: Outcome| {
        let since = now();
        let is_it = |record: &Record| record.finals("leaky").any(|v| v.outcome == outcome && v.due > since);
        watch.until(&format!("the next is {outcome}"), |record| is_it(record).then_some(())).await;
    };
    next(Outcome::Landed).await;
    let [into, beside] = ["lodger", "pg"].map(|catalog| format!("{catalog}.public.{}", unique("customers")));
    let write = async |statement: String| server.sql_as(&ann, &[], &statement).await;
    write(format!("CREATE TABLE {into} AS SELECT CAST('before' AS varchar) AS x")).await.expect("written");
    write(format!("CREATE TABLE {beside} AS SELECT CAST('before' AS varchar) AS x")).await.expect("written");
    next(Outcome::Landed).await;

    // What the target does to the canary's rows it does to everybody's; the customers' are not looked at.
    let swallow = format!(
        "CREATE FUNCTION f_{leaky}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
         CREATE TRIGGER meddle BEFORE INSERT ON {leaky} FOR EACH ROW EXECUTE FUNCTION f_{leaky}()"
    );
    server.database.root(&swallow).await;
    next(Outcome::Lost).await;
    for n in 0..3 {
        write(format!("INSERT INTO {into} SELECT 'hit' || '{n}'")).await.expect("written");
        write(format!("INSERT INTO {beside} SELECT 'spared' || '{n}'")).await.expect("written");
    }
    assert!(
        write(format!("INSERT INTO {into} SELECT CAST(1 / (length(x) - length(x)) AS varchar) FROM {into}"))
            .await
            .is_err()
    );
    write(format!("SELECT 'INSERT INTO' FROM {into}")).await.expect("read");
    next(Outcome::Lost).await;
    watch
        .until("it is named", |record| record.named().iter().any(|name| name == "lost on target=leaky").then_some(()))
        .await;
    server.database.root(&format!("DROP TRIGGER meddle ON {leaky}")).await;
    next(Outcome::Landed).await;
    write(format!("INSERT INTO {into} SELECT 'after'")).await.expect("written");

    // While it goes on nobody can say that these are all.
    let over = |record: &Record| {
        let mut notices = record.notices.iter();
        notices.any(|notice| matches!(notice.change, Change::Resolved(_))).then_some(())
    };
    watch.until("it is over", over).await;
    let incident = watch.look(|record| record.notices.last().expect("one").incident.clone());
    let found = watch.impact(incident.clone()).await;
    let list = format!(
        "SELECT query_id FROM system.runtime.queries WHERE \"user\" = '{ann}' AND strpos(query, 'SELECT ''hit''') > 0"
    );
    let hit: BTreeSet<String> =
        server.sql(&list).await.iter().map(|row| row[0].as_str().expect("an id").to_owned()).collect();
    let listed: BTreeSet<String> = found.jobs.iter().map(|job| job.job_id.clone()).collect();
    assert_eq!((hit.len(), &listed), (3, &hit), "{found:#?}");
    assert!(found.is_whole && found.notes.is_empty(), "{found:#?}");
    for job in &found.jobs {
        assert!(
            job.certain && job.platform.as_deref() == Some("cluster") && job.owner.as_ref() == Some(&ann),
            "{job:#?}"
        );
        assert_eq!((&*job.scheme, job.mode, job.address.as_str()), ("lodger", Some(Mode::Append), into.as_str()));
        // The statement may hold secrets, and would write again what others wrote since.
        assert_eq!(job.again, None);
    }

    // Of one that lasts since before the server began, nobody can say that these are all.
    let mut older = Incident { routes: Vec::new(), runs: Vec::new(), ..incident };
    older.onset.first_bad = older.onset.first_bad.minus(Duration::from_secs(86_400));
    older.onset.last_good = Some(older.onset.first_bad.minus(Duration::from_secs(10)));
    let found = watch.impact(older).await;
    let cut = found.accounts[0].cut.as_deref().unwrap_or_default();
    assert!(!found.is_whole && cut.contains("may have forgotten"), "{found:#?}");
    watch.stop().await;
}

/// How it stands with a way.
fn way<'a>(found: &'a Coverage, schemes: &[&str], mode: Mode) -> Option<&'a Line> {
    found.ways.iter().find(|line| line.schemes == schemes && line.mode == Some(mode))
}

pub(super) async fn what_customers_write_and_no_route_covers_comes_with_what_closes_it(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let ann = unique("ann");
    let cluster = || {
        let mut scene = Scene::new();
        scene.platform("cluster", &server, "memory.default", &[("t", "pg.public")]);
        scene.table("t", &unique("t"), &server.database);
        scene.canary("c", "cluster", &["t"], TERMS);
        scene
    };
    let table = unique("reports");
    for statement in [
        format!("CREATE TABLE pg.public.{table} AS SELECT 1 AS x"),
        format!("INSERT INTO pg.public.{table} SELECT 2"),
        format!("CREATE TABLE memory.default.{table} AS SELECT 1 AS x"),
    ] {
        server.sql_as(&ann, &[], &statement).await.expect("written");
    }
    let watch = cluster().watch().await;
    let found = watch.coverage().await;
    watch.stop().await;
    let covered = way(&found, &["pg"], Mode::Append).expect("used");
    assert_eq!((covered.watch, &*covered.engine), (Watched::Covered, flavor.name()), "{found:#?}");
    let gap = way(&found, &["pg"], Mode::Replace).expect("used");
    assert_eq!((gap.watch, gap.target_kind.as_deref()), (Watched::Gap, Some("postgresql")), "{found:#?}");
    let unnamed = way(&found, &["memory"], Mode::Replace).expect("used");
    let because = unnamed.because.as_deref().unwrap_or_default();
    assert!(because.contains("schemes = [\"memory\"]") && unnamed.toml.is_none(), "{found:#?}");
    // A month is more than such a server remembers.
    assert!(found.unheard.iter().any(|one| one.because.contains("may have forgotten")), "{found:#?}");

    let mut closed = cluster();
    closed.section(gap.toml.as_deref().expect("closable"));
    let watch = closed.watch().await;
    let after = watch.coverage().await;
    let line = way(&after, &["pg"], Mode::Replace).expect("used");
    assert_eq!((line.watch, line.routes.len()), (Watched::Covered, 1), "{after:#?}");
    // And the route lands.
    watch
        .until("it lands", |record| {
            let replaces = |(route, verdict): &&(Arc<_>, landfall::canary::Verdict)| {
                let route: &Arc<landfall::canary::Route> = route;
                route.mode == Mode::Replace && verdict.outcome == Outcome::Landed
            };
            record.verdicts.iter().find(replaces).map(|_| ())
        })
        .await;
    watch.stop().await;
}

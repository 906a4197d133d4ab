//! What a server does to rows between write and read, each the right outcome; and that they land when it
//! does nothing.

use std::sync::Arc;

use landfall::canary::{Claim, Outcome, Verdict};

use super::database;
use crate::{
    fixtures::mariadb::{Database, create},
    fixtures::watch::{Between, Scene, Watch},
};

/// Looks at the deadline come soon; rows that are missing are judged then.
const TERMS: &str = "modes = [\"append\"]\nevery = \"5s\"\nobjective = \"4s\"\ndeadline = \"12s\"";
/// Runs of every route: the second and third meet what the one before left.
const RUNS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_in_every_mode() {
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.target("mysql", "warehouse", "canary", &database.agent(), &database.platform(), "");
    let modes = "modes = [\"append\", \"replace\", \"truncate\", \"update\"]";
    scene.canary(
        "tables",
        "p",
        &["warehouse"],
        &format!("{modes}\nevery = \"4s\"\nobjective = \"40s\"\ndeadline = \"80s\""),
    );
    let watch = scene.watch().await;
    assert_eq!(watch.routes.len(), 4);
    watch
        .until("every route lands again and again, and nothing else", |record| {
            let wrong = record.verdicts.iter().any(|heard| heard.verdict.outcome != Outcome::Landed);
            assert!(!wrong, "{}", record.text());
            let landed = |id| record.verdicts.iter().filter(|heard| heard.route.id == id).count();
            watch.routes.iter().all(|route| landed(route.id) >= RUNS).then_some(())
        })
        .await;
    let routes = watch.routes.clone();
    watch.stop().await;
    let markers = async |table: &str| database.count(&format!("SELECT COUNT(DISTINCT marker) FROM {table}")).await;
    assert!(markers("canary").await >= RUNS as i64);
    for route in routes.iter().filter(|route| route.mode.displaces()) {
        let table = format!("canary__{}", route.id);
        assert_eq!(markers(&table).await, 1, "{route}: only the newest run's rows are there");
    }
    assert_eq!(database.count("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'landfall%'").await, 0, "nothing is left lying about");
}

/// How a case goes wrong, each on a table of its name.
enum Fault {
    /// After the writing.
    Between(&'static str),
    /// While it is written.
    Trigger(&'static str),
}

fn statements(database: &Arc<Database>, sql: &'static str) -> Between {
    let database = database.clone();
    Box::new(move || {
        let database = database.clone();
        Box::pin(async move { database.sql(sql).await })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_does_to_rows_between_write_and_read_is_named_right() {
    use Fault::{Between, Trigger};
    let cases = [
        ("dropped", Between("DROP TABLE IF EXISTS dropped"), Outcome::Lost),
        (
            "renamed",
            Between("DROP TABLE IF EXISTS elsewhere; ALTER TABLE IF EXISTS renamed RENAME TO elsewhere"),
            Outcome::Lost,
        ),
        ("deleted", Between("DELETE FROM deleted"), Outcome::Lost),
        ("thinned", Between("DELETE FROM thinned WHERE row_no < 5"), Outcome::Partial),
        ("edited", Between("UPDATE edited SET hard_text = 'edited' WHERE row_no = 7"), Outcome::Corrupted),
        (
            "doubled",
            Between(
                "INSERT INTO doubled SELECT * FROM doubled WHERE marker = (SELECT m FROM (SELECT MAX(marker) AS m FROM doubled) AS newest)",
            ),
            Outcome::Duplicated,
        ),
        // A trigger cannot drop a row there, but it can make it nobody's.
        ("swallowed", Trigger("SET NEW.marker = 'gone'"), Outcome::Lost),
        ("one_in_three", Trigger("SET NEW.marker = IF(NEW.row_no % 3 = 0, 'gone', NEW.marker)"), Outcome::Partial),
        ("trimmed", Trigger("SET NEW.hard_text = TRIM(NEW.hard_text)"), Outcome::Corrupted),
        ("shortened", Trigger("SET NEW.hard_text = LEFT(NEW.hard_text, 255)"), Outcome::Corrupted),
    ];
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    for (name, fault, _) in &cases {
        let route = name.replace('_', "-");
        match fault {
            Trigger(body) => {
                database.sql(&create(name)).await;
                database.trigger(name, "BEFORE INSERT", body).await;
            }
            Between(sql) => scene.between(&route, statements(&database, sql)),
        }
        scene.platform(&route);
        scene.target("mysql", &route, name, &database.agent(), &database.platform(), "");
        scene.canary(&route, &route, &[&route], TERMS);
    }
    let watch = scene.watch().await;
    for (name, _, outcome) in cases {
        judged(&watch, &name.replace('_', "-"), outcome).await;
    }
    watch.stop().await;
}

/// Two runs are judged for good as they should be, with a control that began after the claim, and
/// none is called landed or another silent loss. A job that met the server in the middle of a change
/// may say `error`.
async fn judged(watch: &Watch, target: &str, outcome: Outcome) {
    let proven = |verdict: &Verdict| {
        let claimed = verdict.evidence.claimed_at;
        let control = |after| verdict.evidence.controls.iter().any(|c| c.passed.is_ok() && c.started_at >= after);
        matches!(verdict.evidence.claim, Claim::Done { .. }) && claimed.is_some_and(control)
    };
    watch
        .until(&format!("{target} is {outcome}"), |record| {
            (record.finals(target).filter(|verdict| verdict.outcome == outcome && proven(verdict)).count() >= 2)
                .then_some(())
        })
        .await;
    watch.look(|record| {
        let other = |verdict: &Verdict| verdict.outcome.is_silent() || verdict.outcome == Outcome::Landed;
        let right = record.on(target).all(|verdict| verdict.outcome == outcome || !other(verdict));
        assert!(right, "{target} was to be {outcome}\n{}", record.text());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_earlier_run_in_the_place_of_ours_are_stale() {
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.target("mysql", "kept", "kept", &database.agent(), &database.platform(), "");
    scene.canary("c", "p", &["kept"], "modes = [\"truncate\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"");
    let watch = scene.watch().await;
    watch
        .until("a run landed", |record| record.finals("kept").any(|v| v.outcome == Outcome::Landed).then_some(()))
        .await;
    // The new rows get the marker of a run of long ago: what should come does not, and the old is back.
    let table = format!("kept__{}", watch.routes[0].id);
    database.trigger(&table, "BEFORE INSERT", "SET NEW.marker = 'lf00000000000000000000000001'").await;
    watch
        .until("it is stale", |record| {
            (record.finals("kept").filter(|verdict| verdict.outcome == Outcome::Stale).count() >= 2).then_some(())
        })
        .await;
    watch.look(|record| {
        let other = |outcome: Outcome| outcome.is_silent() && outcome != Outcome::Stale;
        assert!(record.on("kept").all(|verdict| !other(verdict.outcome)), "{}", record.text());
    });
    watch.stop().await;
}

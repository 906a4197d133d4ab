//! The agent's own report through a real Spark.

use landfall::canary::{CanaryName, Labels, Mode, Outcome, PlatformName, Route, TargetName, Verdict};

use super::{
    agent::{own, warm},
    scene::{Record, Scene},
};
use crate::fixtures::{
    diary,
    hiveserver2::{Door, Spark},
    postgres::{PLATFORM, Postgres},
    rows::create,
};

const TERMS: &str = "every = \"10s\"\nobjective = \"40s\"\ndeadline = \"80s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_into_its_diary_is_summed_and_reported_exactly() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    warm(&spark).await;
    let database = Postgres::shared().database().await;
    let mut scene = Scene::new();
    scene.spark("p", &spark, Door::Plain);
    scene.output("t", &own("t"), &database, PLATFORM);
    scene.target("t", "t", &database);
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    diary::holds(&*scene.driver()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_report_lands() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    warm(&spark).await;
    let database = Postgres::shared().database().await;
    let mut scene = Scene::new();
    scene.spark("p", &spark, Door::Plain);
    scene.output("c", &own("c"), &database, PLATFORM);
    // Spark makes no table before it is told to write: a report's is made there, once.
    scene.output("report", &format!("{}_{{place}}", own("r")), &database, PLATFORM);
    let route = Route::new(
        CanaryName::new("dogfood").expect("valid"),
        PlatformName::new("p").expect("valid"),
        TargetName::new("report").expect("valid"),
        Mode::Replace,
        Labels::default(),
    );
    let columns = diary::postgresql_columns();
    database.sql(&format!("{}; CREATE TABLE report__{} ({columns})", create("c"), route.id)).await;
    // It drops the table and makes it anew: it has to be its own.
    database.sql(&format!("ALTER TABLE report__{} OWNER TO platform", route.id)).await;
    scene.target("c", "c", &database);
    scene.target("report", "report", &database);
    scene.canary("c", &["p"], &["c"], TERMS);
    let verdicts = own("verdicts");
    scene.dogfood(&format!("platforms = [\"p\"]\ntargets = [\"report\"]\ntable = \"{verdicts}\"\n{TERMS}"));
    let watch = scene.watch().await;
    let whole = |record: &Record| {
        let rows = |verdict: &Verdict| verdict.evidence.last_sighting().map_or(0, |(seen, _)| seen.rows.expected);
        record.finals("report").any(|v| v.outcome == Outcome::Landed && rows(v) >= 3).then_some(())
    };
    watch.until("the report tells of the canary and of itself", whole).await;
    watch.look(|record| {
        assert!(record.finals("report").all(|verdict| verdict.outcome == Outcome::Landed), "{}", record.text());
    });
    watch.stop().await;
}

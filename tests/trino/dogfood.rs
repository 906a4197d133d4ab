//! The agent's own report through a real cluster.

use std::sync::Arc;

use landfall::canary::{Outcome, Verdict};

use super::watch::{Record, Scene};
use crate::fixtures::{
    diary,
    trino::{Flavor, Server},
};

const TERMS: &str = "every = \"5s\"\nobjective = \"40s\"\ndeadline = \"80s\"";

pub(super) async fn what_is_written_into_its_diary_is_summed_and_reported_exactly(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let mut scene = Scene::new();
    scene.platform("p", &server, "memory.default", &[("t", "pg.public")]);
    scene.table("t", "report", &server.database);
    scene.canary("c", "p", &["t"], "every = \"1m\"");
    diary::holds(&*scene.drivers().0).await;
}

/// Reports that were judged for good.
fn reports(record: &Record) -> impl Iterator<Item = &Verdict> {
    let ours = |(route, verdict): &&(Arc<_>, Verdict)| is_report(route) && !verdict.provisional;
    record.verdicts.iter().filter(ours).map(|(_, verdict)| verdict)
}

fn is_report(route: &landfall::canary::Route) -> bool {
    route.canary.as_str() == "dogfood"
}

/// How many rows it had, if it landed whole.
fn rows(verdict: &Verdict) -> Option<u32> {
    let (seen, _) = verdict.evidence.last_sighting()?;
    (verdict.outcome == Outcome::Landed).then_some(seen.rows.expected)
}

pub(super) async fn its_report_lands_and_rows_that_were_lost_on_their_way_in_are_told(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let verdicts = format!("v{:x}", fastrand::u32(..));
    let target = format!("r{:x}", fastrand::u32(..));
    let mut scene = Scene::new();
    // Entries are kept in PostgreSQL, where a trigger can lose them.
    scene.platform("p", &server, "pg.public", &[("t", "pg.public")]);
    scene.table("t", &target, &server.database);
    scene.canary("c", "p", &["t"], TERMS);
    scene.dogfood(&format!("platforms = [\"p\"]\ntargets = [\"t\"]\ntable = \"{verdicts}\"\n{TERMS}"));
    let watch = scene.watch().await;
    // A row for all, one for the canary and one for the report itself.
    let whole = |record: &Record| reports(record).any(|verdict| rows(verdict) >= Some(3)).then_some(());
    watch.until("the report tells of the canary and of itself", whole).await;
    watch.look(|record| assert!(reports(record).all(|verdict| rows(verdict).is_some()), "{}", record.text()));

    let today = landfall::agent::Clock::System.now().to_utc().format("%Y%m%d");
    server
        .database
        .sql(&format!(
            "CREATE FUNCTION f_{verdicts}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF random() < 0.7 THEN RETURN NULL; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER meddle BEFORE INSERT ON {verdicts}_{today} FOR EACH ROW EXECUTE FUNCTION f_{verdicts}()"
        ))
        .await;
    let told = |record: &Record| {
        let of_import = |verdict: &Verdict| verdict.reason.as_deref().is_some_and(|why| why.starts_with("import: "));
        reports(record).any(|verdict| verdict.outcome.is_silent() && of_import(verdict)).then_some(())
    };
    watch.until("rows are missed", told).await;
    let named = |record: &Record| {
        record.notices.iter().any(|notice| notice.incident.suspects_text().contains("sends=report")).then_some(())
    };
    watch.until("the report is named, and not the platform", named).await;

    server.database.sql(&format!("DROP TRIGGER meddle ON {verdicts}_{today}")).await;
    let seen = std::cell::Cell::new(0);
    watch.look(|record| seen.set(reports(record).count()));
    let again = |record: &Record| {
        let later: Vec<&Verdict> = reports(record).skip(seen.get()).collect();
        (later.len() >= 3 && later[later.len() - 2..].iter().all(|verdict| rows(verdict).is_some())).then_some(())
    };
    watch.until("all was written anew", again).await;
    watch.stop().await;
}

//! The report of an incident, from the real binaries: a release, a loss, whom it hit, the end of it.

mod hostile;

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::fixtures::{daemon::Watched, markdown::rendered};

/// Rows of the table with this head, without it.
fn table<'r>(rendered: &'r Json, head: &[&str]) -> Vec<&'r Json> {
    let rows = rendered["rows"].as_array().expect("rows").iter();
    let mut after = rows.skip_while(|row| **row != json!(head)).skip(1);
    let is_head = |row: &Json| ["Job", "Platform", "Owner", "Kind of output", "Run"].iter().any(|head| row[0] == *head);
    after.by_ref().take_while(|row| !is_head(row)).collect()
}

/// What of the report speaks of customers is what `landfall impact` answers.
fn tells_whom_it_hit(text: &str, impact: &Json) {
    let read = rendered(text);
    let jobs = impact["jobs"].as_array().expect("jobs");
    for (head, field) in [("Platform", "platform"), ("Owner", "owner"), ("Kind of output", "scheme")] {
        let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for job in jobs {
            counts.entry(job[field].as_str().unwrap_or("not known")).or_default()
                [usize::from(job["certain"] == false)] += 1;
        }
        let counts: Vec<Json> =
            counts.iter().map(|(name, [hit, unsure])| json!([name, hit.to_string(), unsure.to_string()])).collect();
        let mut told = table(&read, &[head, "Jobs hit", "May have been hit"]);
        told.sort_by_key(|row| row[0].to_string());
        assert_eq!(told, counts.iter().collect::<Vec<_>>(), "{text}");
    }
    let head = ["Job", "Platform", "Owner", "Query began", "Over", "Output to"];
    for (certain, head) in [(true, &head[..]), (false, &[&head[..], &["Why it is not certain"]].concat())] {
        let of = jobs.iter().filter(|job| job["certain"] == certain);
        let listed: Vec<&Json> = of.clone().map(|job| &job["job_id"]).take(50).collect();
        let told: Vec<&Json> = table(&read, head).into_iter().map(|row| &row[0]).collect();
        assert_eq!(told, listed, "{text}");
        if let Some(more) = of.count().checked_sub(50).filter(|more| *more > 0) {
            assert!(text.contains(&format!("\nAnd {more} more.\n")), "{text}");
        }
    }
}

#[tokio::test]
async fn an_incident_is_reported_in_markdown_from_the_deploy_to_its_end() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let (code, said) = watched.command(&["deploy", "worker", "v6|<b>`x`"]);
    assert_eq!(code, 0, "{said}");
    let broken = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    // Customers go on working meanwhile.
    let customers = json!({ "jobs": 900, "every": "100ms", "seed": 8 });
    let url = format!("{}/sandbox/customers", watched.platform);
    assert_eq!(watched.ask(Method::POST, &url, None, Some(customers)).await.0, 200);
    let v5 = json!({ "worker": "v5" });
    let told = async |w: &Watched| w.list("incidents").await?.into_iter().find(|told| told["suspects"] == v5);
    let (incident, _) = watched.until("the loss is an incident", Duration::from_secs(60), told).await;
    let id = incident["id"].as_str().expect("an id").to_owned();

    let report = |watched: &Watched, wanted: i32| {
        let (code, text) = watched.command(&["incidents", &id, "--format", "markdown"]);
        assert_eq!(code, wanted, "{text}");
        text
    };
    // More customers may be hit yet.
    let while_it_goes_on = report(&watched, 3);
    assert!(while_it_goes_on.contains("\nIt goes on.\n"), "{while_it_goes_on}");

    // So long that customers' jobs are lost too.
    tokio::time::sleep(Duration::from_secs(12)).await;
    watched.mend(broken).await;
    let over = async |w: &Watched| {
        let known = w.list("incidents").await?;
        known.into_iter().find(|known| known["id"] == json!(id) && known["resolved_at"].is_string())
    };
    let (incident, _) = watched.until("it is over", Duration::from_secs(120), over).await;
    let text = report(&watched, 0);
    let has = |part: &str| assert!(text.contains(part), "{part}\n---\n{text}");
    has(&format!("# Incident {id}: lost on worker=v5\n"));
    has("| Deploy before it | worker v6\\|&lt;b&gt;\\`x\\` at ");
    has(" | First bad run was due |\n");
    has(" | Detected, suspects named: ");
    has(" | Resolved: ");
    has("- worker=v6\n");
    has("| done, 20 rows | 0 of 20 rows, 20 missing | lost");
    has(&format!("landfall impact {id} --agent {}/ --format csv`", watched.agent));
    let (_, said) = watched.command(&["impact", &id, "--format", "json"]);
    let impact = said.lines().find(|line| line.starts_with('{')).expect("an answer");
    let impact: Json = serde_json::from_str(impact).expect("JSON");
    let hit = impact["jobs"].as_array().expect("jobs").iter().filter(|job| job["certain"] == true).count();
    assert!(hit > 5, "{impact:#}");
    tells_whom_it_hit(&text, &impact);
    assert!(!text.contains("<b>") && !text.contains("It goes on."), "{text}");
    let rows = |head: &str| -> Vec<&str> {
        let from = text.find(head).unwrap_or_else(|| panic!("no {head} in {text}"));
        text[from..].lines().skip(2).take_while(|line| line.starts_with('|')).collect()
    };
    let runs = incident["runs"].as_array().map_or(0, Vec::len);
    assert_eq!(rows("| Run | Route |").len(), runs.min(20), "{text}");
    assert_eq!(rows("| Canary | Platform |").len(), 4, "{text}");
    let times: Vec<&str> = rows("| Time (UTC) |").into_iter().map(|row| &row[..26]).collect();
    assert!(times.len() >= 6 && times.is_sorted(), "{times:?}");

    for (args, hint) in [
        (&["incidents", "--format", "markdown"][..], "landfall incidents ID --format markdown"),
        (&["incidents", &id, "resolve", "--because", "x", "--format", "markdown"], "the report of one incident"),
        (&["incidents", &id, "--no-impact"], "--format markdown"),
        (&["status", "--format", "markdown"], "invalid value 'markdown'"),
        (&["incidents", "inc-none", "--format", "markdown"], "there is no such incident"),
    ] {
        let (code, said) = watched.command(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(hint), "{args:?}: {said}");
    }
    // Nobody is paged by this config: the report does not say that anybody was.
    let opening: Json = watched.list("notifications").await.into_iter().flatten().next().unwrap_or_default();
    assert!(opening["letters"].as_array().is_none_or(Vec::is_empty), "{opening:#}");
    has("The first page: no notifier has taken one.");
    watched.kill();
}

//! The report of an incident, from the real binaries: a release, a loss, the end of it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::fixtures::daemon::Watched;

#[tokio::test]
async fn an_incident_is_reported_in_markdown_from_the_deploy_to_its_end() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let (code, said) = watched.command(&["deploy", "worker", "v6|<b>`x`"]);
    assert_eq!(code, 0, "{said}");
    let broken = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let v5 = json!({ "worker": "v5" });
    let told = async |w: &Watched| w.list("incidents").await?.into_iter().find(|told| told["suspects"] == v5);
    let (incident, _) = watched.until("the loss is an incident", Duration::from_secs(60), told).await;
    let id = incident["id"].as_str().expect("an id").to_owned();

    let report = |watched: &Watched| {
        let (code, text) = watched.command(&["incidents", &id, "--format", "markdown"]);
        assert_eq!(code, 0, "{text}");
        text
    };
    let while_it_goes_on = report(&watched);
    assert!(while_it_goes_on.contains("\nIt goes on.\n"), "{while_it_goes_on}");

    watched.mend(broken).await;
    let over = async |w: &Watched| {
        let known = w.list("incidents").await?;
        known.into_iter().find(|known| known["id"] == json!(id) && known["resolved_at"].is_string())
    };
    let (incident, _) = watched.until("it is over", Duration::from_secs(120), over).await;
    let text = report(&watched);
    let has = |part: &str| assert!(text.contains(part), "{part}\n---\n{text}");
    has(&format!("# Incident {id}: lost on worker=v5\n"));
    has("| Deploy before it | worker v6\\|&lt;b&gt;\\`x\\` at ");
    has(" | First bad run was due |\n");
    has(" | Detected, suspects named: ");
    has(" | Resolved: ");
    has("- worker=v6\n");
    has("| done, 20 rows | 0 of 20 rows, 20 missing | lost");
    has(&format!("landfall impact {id} --agent"));
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

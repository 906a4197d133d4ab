//! Exit codes of commands whose stdout somebody closed: the answer's, whoever read it.

use std::fs;

use serde_json::{Value as Json, json};

use super::{agent, code_unread, hostile, landfall, route};
use crate::fixtures::stand_in::{Answer, StandIn};

/// A gap, and a platform that could not be asked.
fn coverage(gap: bool, unheard: bool) -> Json {
    let way = json!({
        "watch": if gap { "gap" } else { "covered" }, "platform": "presto", "engine": "presto", "engine_version": null,
        "pool": null, "schemes": ["salesforce"], "target_kind": null, "mode": "append", "jobs": 1, "failed": 0,
        "owners": 1, "schedules": 0, "connections": 0, "last_used_at": null, "routes": [], "because": null, "toml": null,
    });
    let unheard = if unheard { json!([{ "platform": "presto", "because": "denied" }]) } else { json!([]) };
    json!({
        "at": "2026-09-21T13:13:20Z", "within_seconds": 60, "ways": [way], "unheard": unheard, "left_out": 0,
        "toml": null,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_answered_keeps_its_exit_code() {
    let lost = agent("red", "lost", &[route("hadoop1", "lost")]).await;
    let asking = StandIn::start().await;
    let url = asking.url.as_str();
    let code = async |args: &[&str]| code_unread(landfall(&[args, &["--agent", url]].concat())).await;
    for format in ["text", "json"] {
        let status = landfall(&["status", "--agent", &lost.url, "--format", format]);
        assert_eq!(code_unread(status).await, 1, "status as {format}");
        let impact = json!({ "id": "i1", "impact": hostile::impact() });
        asking.says("POST /api/v1/incidents/inc%2D1/impact", [Answer::json(200, impact)]);
        assert_eq!(code(&["impact", "inc-1", "--format", format]).await, 3, "impact as {format}");
        let found = |gap, unheard| Answer::json(200, json!({ "id": "c1", "coverage": coverage(gap, unheard) }));
        asking.says("POST /api/v1/coverage", [found(true, false)]);
        assert_eq!(code(&["coverage", "--fail-on-gap", "--format", format]).await, 1, "coverage as {format}");
        asking.says("POST /api/v1/coverage", [found(false, true)]);
        assert_eq!(code(&["coverage", "--format", format]).await, 3, "coverage as {format}");
    }
    assert_eq!(code(&["impact", "inc-1", "--format", "csv"]).await, 3);
    let refused = json!({ "drill": "d", "notifiers": [{ "notifier": "a", "answer": "refused", "millis": 1 }] });
    asking.says("POST /api/v1/drill", [Answer::json(200, refused)]);
    assert_eq!(code(&["drill"]).await, 1);
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn what_was_found_here_keeps_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scenario, config) = (folder.path().join("missed.toml"), folder.path().join("landfall.toml"));
    let text = "title = \"t\"\nstart = 2015-08-24T14:00:00Z\nlasts = \"10m\"\nseed = 1\n[expect]\nincidents = 7\n";
    fs::write(&scenario, text).expect("written");
    let scenario = scenario.to_str().expect("UTF-8");
    for more in [&[][..], &["--format", "json"], &["--seeds", "2"], &["--story"]] {
        assert_eq!(code_unread(landfall(&[&["replay", scenario], more].concat())).await, 1, "{more:?}");
    }
    let text = "[agent]\ndetect_within = \"1m\"\n[platform.p.treasure-data]\nendpoint = \"http://127.0.0.1:1\"\n\
                api_key = { env = \"NONE\" }\ndatabase = \"landfall\"\nengine = \"presto\"\n[target.web.webhook]\n\
                [canary.c]\nplatforms = [\"p\"]\ntargets = [\"web\"]\nevery = \"1m\"\n";
    fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    for format in ["text", "json"] {
        let check = landfall(&["check", "--no-secrets", "-c", config, "--format", format]);
        assert_eq!(code_unread(check).await, 1, "check as {format}");
    }
    let table = folder.path().join("jobs.csv");
    fs::write(&table, "region,green,red\nus,1,2\n").expect("written");
    assert_eq!(code_unread(landfall(&["blame", table.to_str().expect("UTF-8")])).await, 0);
}

//! The report of an agent whose every text is hostile, and of agents that cannot say whom an incident hit.

use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::fixtures::{
    markdown::rendered,
    stand_in::{Answer, StandIn},
};

/// Whatever might be markup anywhere.
const HOSTILE: &str = "1. x|y \\| `z` ``` <img src=q onerror=a()> <!-- **b** _i_ ~~s~~ [l](http://evil.example) ![i](u) \
    [r]: <https://evil.example> &lt;&#124; \\\\ $m$ ^2 @me www.evil.example\r\n- item\n| a | b |\n|---|---|\n\n# head\n===\n> q";

/// It as text on one line.
fn as_text() -> String {
    HOSTILE.replace(['\r', '\n'], " ")
}

fn incident() -> Json {
    let route = json!({ "canary": HOSTILE, "platform": HOSTILE, "target": HOSTILE, "mode": HOSTILE });
    json!({
        "id": "inc-1", "severity": "critical", "outcome": "lost", "provisional": false,
        "suspects": { "worker": HOSTILE }, "also": [{ "labels": { "worker": HOSTILE } }], "routes": [route],
        "unaffected": [{ "labels": { "worker": HOSTILE } }],
        "onset": { "last_good": "2015-08-24T21:43:20Z", "first_bad": "2015-08-24T21:44:20Z" },
        "deploy": { "service": HOSTILE, "version": HOSTILE, "at": "2015-08-24T21:43:00Z" },
        "opened_at": "2015-08-24T21:44:30Z", "detected_at": "2015-08-24T21:44:40Z",
        "resolved_at": "2015-08-24T23:30:00Z", "resolved_because": HOSTILE, "runs": ["lf-a", HOSTILE],
        "history": [{ "at": "2015-08-24T21:44:50Z", "text": HOSTILE }],
    })
}

fn impact() -> Json {
    let job = |certain: bool| {
        json!({
            "job_id": HOSTILE, "platform": HOSTILE, "owner": HOSTILE, "query_start": "2015-08-24T21:50:00Z",
            "end": "2015-08-24T21:51:00Z", "scheme": HOSTILE, "address": HOSTILE, "mode": "append", "rows": 1,
            "certain": certain, "because": if certain { Json::Null } else { json!(HOSTILE) }, "again": HOSTILE,
        })
    };
    json!({
        "incident": "inc-1", "outcome": "lost", "suspects": { "worker": HOSTILE },
        "bracket": {
            "last_good": "2015-08-24T21:43:21Z", "first_bad": "2015-08-24T21:44:22Z",
            "last_bad": "2015-08-24T23:20:00Z", "first_good": "2015-08-24T23:21:00Z", "is_intermittent": false,
            "asked_at": "2015-08-24T23:59:00Z",
        },
        "brackets": [{
            "last_good": "2015-08-24T21:43:21Z", "first_bad": "2015-08-24T21:44:22Z",
            "last_bad": "2015-08-24T23:20:00Z", "first_good": "2015-08-24T23:21:00Z", "is_intermittent": false,
            "asked_at": "2015-08-24T23:59:00Z",
        }],
        "jobs": [job(true), job(false)],
        "accounts": [{ "platforms": [HOSTILE], "jobs": 2, "since": "2015-08-24T15:43:21Z", "cut": "|" }],
        "notes": [HOSTILE], "is_whole": false,
    })
}

/// An agent that tells all that, but of customers' jobs what it is told to.
async fn agent(asked: Answer, looked_at: Answer) -> StandIn {
    let agent = StandIn::start().await;
    let letter = json!({ "notifier": HOSTILE, "paged_at": null, "held": [], "failure": HOSTILE });
    let opening = json!({ "incident": "inc-1", "at": "2015-08-24T21:44:40Z", "letters": [letter] });
    let run = json!({
        "run_id": "lf-a", "canary": HOSTILE, "platform": HOSTILE, "target": HOSTILE, "mode": HOSTILE,
        "due": "2015-08-24T21:44:20Z", "claim": { "error": { "phase": "export", "detail": HOSTILE } },
        "outcome": "failed", "rows": null, "reason": HOSTILE,
    });
    agent
        .says("GET /api/v1/incidents/inc%2D1", [Answer::json(200, json!({ "incidents": [incident()] }))])
        .says("GET /api/v1/notifications?limit=1000", [Answer::json(200, json!({ "notifications": [opening] }))])
        .says("GET /api/v1/deploys?limit=1000", [Answer::json(200, json!({ "deploys": [] }))])
        .says("POST /api/v1/incidents/inc%2D1/impact", [asked])
        .says("GET /api/v1/incidents/inc%2D1/impact/i1", [looked_at])
        .always_says(Answer::json(200, json!({ "runs": [run] })));
    agent
}

fn stands(impact: Json, error: Json) -> Json {
    json!({ "id": "i1", "read": 0, "of": 1, "impact": impact, "error": error })
}

/// Exit code, report, and what was said beside it.
async fn report(agent: &StandIn, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["incidents", "inc-1", "--format", "markdown", "--agent", &agent.url]).args(more);
    command.env("LANDFALL_TOKEN", "t").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it ends").expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn hostile_text_is_text_in_a_report_and_every_cell_stays_in_its_column() {
    let (asked, found) = (stands(Json::Null, Json::Null), stands(impact(), Json::Null));
    let agent = agent(Answer::json(202, asked), Answer::json(200, found)).await;
    let (code, text, said) = report(&agent, &[]).await;
    // Some jobs could not be read, as the agent says.
    assert_eq!((code, &*said), (3, "reading customers' jobs\n"), "{text}");
    let read = rendered(&text);
    let markup = ["bullet_list", "code_inline", "heading", "inline", "list_item", "paragraph", "table", "tbody", "td"];
    let markup = [&markup[..], &["text", "th", "thead", "tr"]].concat();
    assert_eq!(read["kinds"], json!(markup), "{text}");
    let rows = read["rows"].as_array().expect("rows");
    let h = as_text();
    for row in [
        json!([h, h, h, "2015-08-24T21:50:00.000Z", "2015-08-24T21:51:00.000Z", h]),
        json!([h, h, h, "2015-08-24T21:50:00.000Z", "2015-08-24T21:51:00.000Z", h, h]),
        json!([h, "1", "1"]),
        json!([h, h, h, h, "1 of 1"]),
        json!(["2015-08-24T21:44:50.000Z", format!("Noted: {h}")]),
        json!(["Suspects", format!("worker={h}")]),
        json!([h, "not known", "not known", "not known", "not known", "not known"]),
    ] {
        assert!(rows.contains(&row), "{row}\n---\n{text}");
    }
    let lines = read["lines"].as_array().expect("lines");
    for line in
        [h.clone(), format!("worker={h}"), format!("{h}: not all jobs since 2015-08-24T15:43:21.000Z were read: |")]
    {
        assert!(lines.contains(&json!(line)), "{line}\n---\n{text}");
    }
}

#[tokio::test]
async fn a_report_says_why_an_agent_could_not_tell_whom_an_incident_hit() {
    let (begun, broke) = (stands(Json::Null, Json::Null), stands(Json::Null, json!("the ledger is down")));
    for (asked, looked_at, why) in [
        (Answer::json(503, json!({ "error": "others are under way" })), None, "others are under way"),
        (Answer::json(401, json!({ "error": "no token" })), None, "401 Unauthorized: no token"),
        (Answer::json(202, begun), Some(broke), "nothing was found: the ledger is down"),
    ] {
        let agent = agent(asked, Answer::json(200, looked_at.unwrap_or_default())).await;
        let (code, text, _) = report(&agent, &[]).await;
        assert_eq!(code, 3, "{text}");
        let lines = &rendered(&text)["lines"];
        let (said, again) =
            ("Which customers' jobs it hit could not be found out: ", "This asks again: landfall impact inc-1");
        for (begins, has) in [(said, why), (again, "--agent")] {
            let has = |line: &Json| line.as_str().is_some_and(|line| line.starts_with(begins) && line.contains(has));
            assert!(lines.as_array().expect("lines").iter().any(has), "{begins}{why}\n---\n{text}");
        }
        let posts = agent.times_heard("POST /api/v1/incidents/inc%2D1/impact");
        let (code, text, said) = report(&agent, &["--no-impact"]).await;
        assert_eq!((code, &*said), (0, ""), "{text}");
        assert!(text.contains("were not asked for. This lists them: `landfall impact inc-1"), "{text}");
        assert_eq!((posts, agent.times_heard("POST /api/v1/incidents/inc%2D1/impact")), (1, 1));
    }
}

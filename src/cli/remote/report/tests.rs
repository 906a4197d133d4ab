//! A report over an answer as an agent gave it, and over one that tells nothing.

use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("2015-08-24T{text}Z")).expect("a time")
}

fn run(id: &str, due: &str, outcome: &str, landed: u32) -> Value {
    json!({
        "run_id": id, "canary": "result-output", "platform": "presto", "target": "web", "mode": "append",
        "due": format!("2015-08-24T{due}Z"), "claim": { "done": { "rows": 20 } }, "outcome": outcome,
        "rows": { "expected": 20, "landed": landed, "missing": 20 - landed, "duplicated": 0, "corrupted": 0 },
        "reason": null,
    })
}

/// As an agent answered it, with a version that somebody made up.
fn report() -> Report {
    let incident = json!({
        "id": "inc-1", "severity": "critical", "outcome": "lost", "provisional": false,
        "suspects": { "worker": "v5" }, "also": [],
        "routes": [{ "canary": "result-output", "platform": "presto", "target": "web", "mode": "append" }],
        "unaffected": [{ "labels": { "worker": "v6" } }],
        "onset": { "last_good": "2015-08-24T21:43:20Z", "first_bad": "2015-08-24T21:44:20Z" },
        "deploy": { "service": "worker", "version": "v6|<b>\n**2015**", "at": "2015-08-24T21:43:00Z" },
        "opened_at": "2015-08-24T21:44:30Z", "detected_at": "2015-08-24T21:44:40Z",
        "resolved_at": "2015-08-24T23:30:00Z", "resolved_because": "3 greens on every route",
        "runs": ["lf-a", "lf-gone"],
        "history": [
            { "at": "2015-08-24T21:44:40Z", "text": "lost on worker=v5 target=web: 2 bad runs" },
            { "at": "2015-08-24T21:46:00Z",
              "text": "now lost on worker=v5 (was lost on worker=v5 target=web), because of 4 runs up to lf-b" },
            { "at": "2015-08-24T23:30:00Z", "text": "resolved: 3 greens on every route" },
        ],
    });
    let opening = json!({
        "incident": "inc-1", "at": "2015-08-24T21:44:40Z", "over": true,
        "letters": [
            { "notifier": "oncall", "paged_at": "2015-08-24T21:44:41Z", "told_at": "2015-08-24T23:30:01Z",
              "held": [{ "severity": "critical", "state": "closed" }] },
            { "notifier": "mail", "paged_at": null, "told_at": null, "held": [], "failure": "refused | <it>" },
        ],
    });
    let all = vec![
        run("lf-d", "23:40:20", "landed", 20),
        run("lf-c", "21:46:20", "landed", 20),
        run("lf-b", "21:45:20", "lost", 0),
        run("lf-a", "21:44:20", "lost", 0),
        run("lf-0", "21:43:20", "landed", 20),
    ];
    Report {
        agent: "http://127.0.0.1:9440/".to_owned(),
        now: at("23:59:00"),
        incident,
        openings: vec![opening],
        deploys: vec![json!({ "service": "api", "version": "7", "at": "2015-08-24T21:30:00Z" })],
        runs: Runs { all, gaps: Vec::new() },
    }
}

#[test]
fn a_report_says_what_happened_in_the_order_of_time() {
    let text = report().markdown();
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| *line == "## Timeline").expect("a timeline") + 4;
    assert_eq!(
        lines[begin..begin + 12],
        [
            "| 2015-08-24T21:30:00.000Z | Deploy: api 7 |",
            "| 2015-08-24T21:43:00.000Z | Deploy: worker v6\\|&lt;b&gt; \\*\\*2015\\*\\*, the one that the incident names |",
            "| 2015-08-24T21:43:20.000Z | Last good run was due, over the routes that were hit |",
            "| 2015-08-24T21:44:20.000Z | First bad run was due |",
            "| 2015-08-24T21:44:30.000Z | A run was judged bad for the first time |",
            "| 2015-08-24T21:44:40.000Z | Detected, suspects named: lost on worker=v5 target=web: 2 bad runs |",
            "| 2015-08-24T21:44:40.000Z | mail has not taken it; its last failure: refused \\| &lt;it&gt; |",
            "| 2015-08-24T21:44:41.000Z | Paged: oncall took it |",
            "| 2015-08-24T21:46:00.000Z | Widened: now lost on worker=v5 (was lost on worker=v5 target=web), because of 4 \
             runs up to lf-b |",
            "| 2015-08-24T23:30:00.000Z | Resolved: 3 greens on every route |",
            "| 2015-08-24T23:30:01.000Z | oncall took that it is over |",
            "",
        ],
        "{text}"
    );
}

#[test]
fn a_report_counts_and_proves() {
    let text = report().markdown();
    for line in [
        "# Incident inc-1: lost on worker=v5",
        "| Outcome | lost: jobs say success, and nothing is written |",
        "| Cause | not known |",
        "| result-output | presto | web | append | 2 of 3 |",
        "- worker=v6",
        "| Duration, from the first bad run due to the end | 1h45m |",
        "| From the first bad run due to the detection | 20s |",
        "| From the deploy to the detection | 1m40s |",
        "| From the detection to the first page taken | 1s |",
        "| Runs over the routes hit, due from the first bad one to the end | 3: 1 landed, 2 lost |",
        "| lf-a | result-output/presto/web/append | 2015-08-24T21:44:20.000Z | done, 20 rows | 0 of 20 rows, 20 missing | lost |",
        "| lf-gone | not known | not known | not known | not known | not known |",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n---\n{text}");
    }
    assert!(text.ends_with("lists them: `landfall impact inc-1 --agent http://127.0.0.1:9440/`\n"), "{text}");
}

#[test]
fn what_an_agent_does_not_tell_is_not_known() {
    let report = Report {
        agent: "http://127.0.0.1:9440/".to_owned(),
        now: at("23:59:00"),
        incident: json!({ "id": "inc-2" }),
        openings: Vec::new(),
        deploys: Vec::new(),
        runs: Runs::default(),
    };
    let text = report.markdown();
    for line in [
        "# Incident inc-2: not known on not known",
        "| Since | not known |",
        "| Duration, from the first bad run due to the end | not known |",
        "| Runs over the routes hit, due from the first bad one to the end | not known |",
        "The detection: not known.",
        "No run is named.",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n---\n{text}");
    }
}

#[test]
fn every_row_of_every_table_has_as_many_cells_as_its_head() {
    let text = report().markdown();
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut head = None;
    for line in text.lines() {
        match (line.starts_with('|'), head) {
            (true, None) => head = Some(cells(line)),
            (true, Some(n)) => assert_eq!(cells(line), n, "{line}"),
            (false, _) => head = None,
        }
    }
}

//! A report over an answer as an agent gave it, and over one that tells nothing.

use serde_json::json;

use super::*;
use crate::detect::{
    Incident,
    impact::{Account, Bracket, Hit, Impact},
    verification::Pairs,
};

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

/// So many jobs that were hit for certain, and that may have been.
fn impact(hit: usize, unsure: usize) -> Impact {
    let job = |n: usize| Hit {
        job_id: n.to_string(),
        platform: Some("presto".to_owned()),
        owner: (n != 0).then(|| format!("a|{}*<b>@example.com", n % 2)),
        query_start: Some(at("21:50:00")),
        end: None,
        scheme: "s3".to_owned(),
        address: "s3://***@/bucket/`x`|[y](z).csv".to_owned(),
        mode: None,
        rows: Some(20),
        certain: n < hit,
        because: (n >= hit).then(|| "it may have been written before the first bad run".to_owned()),
        again: None,
        check: None,
    };
    let bracket = Bracket {
        last_good: Some(at("21:43:21")),
        first_bad: at("21:44:22"),
        last_bad: at("23:20:00"),
        first_good: None,
        is_intermittent: false,
        asked_at: at("23:59:00"),
    };
    let account = Account { platforms: vec!["presto".to_owned()], jobs: 5_000, since: at("15:43:21"), cut: None };
    Impact {
        incident: "inc-1".to_owned(),
        outcome: Outcome::Lost,
        suspects: Pairs(vec![("worker".to_owned(), "v5".to_owned())]),
        bracket,
        brackets: vec![bracket],
        jobs: (0..hit + unsure).map(job).collect(),
        accounts: vec![account],
        notes: Vec::new(),
        is_whole: true,
    }
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
        customers: Customers::Found(Box::new(impact(3, 1))),
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
}

#[test]
fn a_report_counts_whom_it_hit_and_lists_them() {
    let text = report().markdown();
    for line in [
        "3 jobs were hit, 1 more may have been, of the customers' jobs with an output that ended well, as their platform \
         says. What was read:",
        "- presto: 5000 jobs were read, back to 2015-08-24T15:43:21.000Z",
        "By what canaries wrote, the fault began between 2015-08-24T21:43:21.000Z and 2015-08-24T21:44:22.000Z and ended \
         between 2015-08-24T23:20:00.000Z and 2015-08-24T23:59:00.000Z, when this was asked, if it has.",
        "| Platform | Jobs hit | May have been hit |",
        "| presto | 3 | 1 |",
        "| a\\|1\\*&lt;b&gt;\\@example.com | 1 | 1 |",
        "| not known | 1 | 0 |",
        "| s3 | 3 | 1 |",
        "| 0 | presto | not known | 2015-08-24T21:50:00.000Z | not known | s3&#58;//\\*\\*\\*\\@/bucket/\\`x\\`\\|\\[y\\](z).csv |",
        "All jobs, with what exports each result again: \
         `landfall impact inc-1 --agent http://127.0.0.1:9440/ --format csv`",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n---\n{text}");
    }
    let unsure = text.split("### May have been hit\n").nth(1).expect("apart");
    assert!(unsure.contains("| 3 | presto |") && !unsure.contains("| 2 | presto |"), "{text}");
    assert!(unsure.contains(" | it may have been written before the first bad run |\n"), "{text}");
}

#[test]
fn a_list_is_bounded_and_says_of_how_many_it_is() {
    let report = Report { customers: Customers::Found(Box::new(impact(51, 300))), ..report() };
    let text = report.markdown();
    let rows = text.lines().filter(|line| line.contains("bucket/")).count();
    assert_eq!(rows, 100, "{text}");
    assert!(text.contains("\nAnd 1 more.\n") && text.contains("\nAnd 250 more.\n"), "{text}");
}

#[test]
fn what_nobody_could_see_is_never_shown_as_nobody() {
    let cut = Some("jobs back to 15:00 were read".to_owned());
    let blind =
        Impact { is_whole: false, notes: vec!["platform `trino` remembers nothing".to_owned()], ..impact(0, 0) };
    let unread = Impact { accounts: Vec::new(), ..blind.clone() };
    let mut short = impact(1, 0);
    (short.is_whole, short.accounts[0].cut) = (false, cut);
    let found = |impact| Customers::Found(Box::new(impact));
    for (customers, whole, says) in [
        (found(impact(0, 0)), true, "No job was hit, of the customers' jobs"),
        (found(blind.clone()), false, "No job is known to have been hit, "),
        (found(blind), false, "\n- platform \\`trino\\` remembers nothing\n"),
        (found(unread), false, "\nNo platform's jobs were read:\n\n- platform \\`trino\\` remembers nothing\n"),
        (found(short.clone()), false, "At least 1 jobs were hit, "),
        (found(short), false, "not all jobs since 2015-08-24T15:43:21.000Z were read: jobs back to 15:00 were read\n"),
        (Customers::Unseen("no answer <b>".to_owned()), false, "could not be found out: no answer &lt;b&gt;\n"),
        (Customers::NotAsked, true, "were not asked for. This lists them: `landfall impact inc-1 --agent"),
    ] {
        let report = Report { customers, ..report() };
        let text = report.markdown();
        assert!(text.contains(says), "{says}\n---\n{text}");
        assert_eq!(report.is_whole(), whole, "{text}");
    }
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
        customers: Customers::NotAsked,
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
fn a_report_says_that_not_all_runs_are_kept() {
    let with = |n: usize| {
        let mut report = report();
        report.incident["runs"] = (0..n).map(|n| json!(format!("lf-{n}"))).collect();
        report.markdown()
    };
    let (some, full) = (with(Incident::RUNS - 1), with(Incident::RUNS));
    assert!(some.contains("| Runs that prove it, as named by the agent | 59 |"), "{some}");
    assert!(some.contains("\nAnd 39 runs more between them.\n"), "{some}");
    let kept = "60 runs are kept: the first ones and the newest";
    assert!(full.contains(&format!("| Runs that prove it, as named by the agent | {kept} |")), "{full}");
    assert!(full.contains(&format!("\nAnd 40 runs more between them. Of all runs that prove it, {kept}.\n")), "{full}");
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

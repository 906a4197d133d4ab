//! The pages of one incident and of one run: what they say, and that nobody else's words do anything there.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod house;

use landfall::{
    canary::{
        Claim, Control, Evidence, Look, Marker, NotifierName, Outcome, Phase, Rows, Sighting, Verdict,
        tally::Difference,
    },
    detect::{Deploy, Incident, IncidentId, Onset, Severity, Step},
    store::{Holding, Letter, Opening},
};

use self::house::{EVIL, House, Seen, at, route, run, text};

/// Claimed as done, and this was found; a control came through after it.
fn done(found: Result<Sighting, String>) -> Evidence {
    let mut evidence = Evidence { submitted_at: Some(at(-59)), accepted_at: Some(at(-58)), ..Evidence::default() };
    evidence.phases = vec![(Phase::Queue, at(-58)), (Phase::Execute, at(-57)), (Phase::Land, at(-54))];
    evidence.heard(Claim::Done { rows: Some(20) }, at(-54));
    evidence.jobs = vec!["job-17".to_owned()];
    evidence.saw(Look { started_at: at(-50), found });
    evidence.controlled(Control { started_at: at(-52), passed: Ok(()) });
    evidence
}

fn found(rows: Rows) -> Result<Sighting, String> {
    Ok(Sighting { rows, ..Sighting::default() })
}

fn lost(seen: &Seen) -> Verdict {
    seen.judged(Outcome::Lost, Some(Phase::Land))
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn incident(runs: &[Marker], routes: &[&Seen]) -> Incident {
    Incident {
        id: IncidentId::of(runs[0]),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Outcome::Lost.family().unwrap(),
        provisional: false,
        suspects: labels(&[("worker", "v5")]),
        also: Vec::new(),
        routes: routes.iter().map(|seen| seen.run.route.id).collect(),
        unaffected: vec![labels(&[("worker", "v6")])],
        onset: Onset { last_good: Some(at(-120)), first_bad: at(-60) },
        deploy: Some(Deploy { service: "worker".into(), version: "v6.2015".into(), at: at(-140) }),
        opened_at: at(-49),
        detected_at: Some(at(-40)),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: runs.to_vec(),
        history: vec![Step { at: at(-40), text: "lost on worker=v5, because of 2 runs".into() }],
    }
}

fn paged(incident: &Incident, name: &str, after: i64) -> Opening {
    let mut opening = Opening::new(incident.id.clone(), incident.opening(), incident.severity);
    let mut letter = Letter::new(NotifierName::new(name).unwrap(), "here", None);
    letter.set(incident.severity, Holding::Open);
    (letter.paged_at, letter.told_at) = (Some(at(after)), Some(at(after)));
    opening.letters.push(letter);
    opening
}

#[tokio::test]
async fn a_lost_run_shows_claim_against_sighting_and_what_convicts() {
    let seen = Seen::new(run(&route("presto", "v5"), -60), done(found(Rows::none(20))));
    let verdict = lost(&seen);
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let page = house.run(0).await;
    for sentence in [
        "✗ lost jobs say success, and nothing is written",
        "over result-output/presto/web/append, due 21:43:00",
        "The job said success, 20 rows first heard at 21:43:06 job job-17",
        "The target held nothing of 20 rows, 20 missing as of 21:43:10",
        "✓ A row of our own came through at 21:43:08, 2s after the job's last word: target and eyes work",
        "submit 21:43:01",
        "execute 21:43:03 +3s 3s",
        "land ✗ 21:43:06 +6s 5s",
        "1 ✗ not whole",
        "SELECT the query of presto",
        "postgresql://user:…@host/table",
        "psql 'the read'",
    ] {
        assert!(text(&page).contains(sentence), "no `{sentence}` in {}", text(&page));
    }
    assert!(page.contains("data-live=\"whole\""), "its deadline has not passed: it may be corrected");
}

#[tokio::test]
async fn a_run_that_is_not_judged_for_good_shows_what_its_verdict_rests_on() {
    let whole = done(found(Rows::none(20)));
    // Of the pending run less was kept than it was judged by.
    let kept = Evidence { looks: Vec::new(), controls: Vec::new(), ..whole.clone() };
    let seen = Seen::new(run(&route("presto", "v5"), -60), kept);
    let verdict = Verdict { provisional: true, evidence: whole.into(), ..lost(&seen) };
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let page = text(&house.run(0).await);
    for sentence in ["The target held nothing of 20 rows, 20 missing", "✓ A row of our own came through at 21:43:08"]
    {
        assert!(page.contains(sentence), "no `{sentence}` in {page}");
    }
}

#[tokio::test]
async fn a_corrupted_run_shows_which_values_are_wrong() {
    let examples = vec![Difference { row: 7, column: "day".into(), expected: "2012-02-29".into(), found: EVIL.into() }];
    let rows = Rows { expected: 20, right: 19, changed: 1, examples, ..Rows::default() };
    let long_ago = Evidence { accepted_at: Some(at(-600)), ..done(found(rows)) };
    let seen = Seen::new(run(&route("presto", "v5"), -600), long_ago);
    let verdict = seen.judged(Outcome::Corrupted, Some(Phase::Land));
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let page = house.run(0).await;
    let said = text(&page);
    assert!(said.contains("✗ corrupted jobs say success, and values are changed"), "{said}");
    assert!(said.contains("19 of 20 rows right, 1 changed"), "{said}");
    assert!(said.contains(&format!("row column expected found 7 day 2012-02-29 {EVIL}")), "{said}");
    assert!(page.contains("data-live=\"not\""), "its deadline has passed");
}

#[tokio::test]
async fn a_stale_run_shows_whose_rows_stand_in_its_place() {
    let before = Marker::mint(at(-120), 9);
    let sighting = Sighting { rows: Rows::none(20), strangers: vec![before], ..Sighting::default() };
    let seen = Seen::new(run(&route("presto", "v5"), -60), done(Ok(sighting)));
    let verdict = seen.judged(Outcome::Stale, Some(Phase::Land));
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let page = house.run(0).await;
    assert!(text(&page).contains("in their place stand rows of an earlier run"), "{}", text(&page));
    assert!(page.contains(&format!("href=\"/runs/{before}\"")), "{page}");
}

#[tokio::test]
async fn an_unknown_run_says_why_nobody_could_see() {
    let mut evidence = done(Err("connection refused".to_owned()));
    evidence.controls = vec![Control { started_at: at(-52), passed: Err("connection refused too".to_owned()) }];
    let seen = Seen::new(run(&route("presto", "v5"), -60), evidence);
    let mut verdict = seen.judged(Outcome::Unknown, Some(Phase::Land));
    verdict.reason = Some("the target cannot be read".to_owned());
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let said = text(&house.run(0).await);
    for sentence in [
        "? unknown nobody can see whether results land",
        "Reason the target cannot be read",
        "The target held no look could see ? at 21:43:10 nobody could see: connection refused",
        "? The control at 21:43:08 failed: connection refused too",
        "1 ? blind",
    ] {
        assert!(said.contains(sentence), "no `{sentence}` in {said}");
    }
    assert!(!said.contains("✗"), "what nobody saw is not called red: {said}");
}

#[tokio::test]
async fn a_run_that_is_not_judged_yet_is_watched_and_stands_among_its_neighbours() {
    let route = route("presto", "v5");
    let old = Seen::new(run(&route, -120), done(found(Rows::all_right(20))));
    let landed = old.judged(Outcome::Landed, None);
    let mut evidence = Evidence { submitted_at: Some(at(-59)), ..Evidence::default() };
    evidence.heard(Claim::Running { phase: Phase::Execute }, at(-30));
    let (now, next) = (Seen::new(run(&route, -60), evidence), Seen::new(run(&route, -5), Evidence::default()));
    let house = House::of(vec![old.with(landed), now, next], Vec::new(), Vec::new()).await;
    let page = house.run(1).await;
    let said = text(&page);
    assert!(said.contains("· not judged yet"), "{said}");
    assert!(said.contains("The job said still at it in execute"), "{said}");
    assert!(said.contains("The target held no look could see: none was made yet"), "{said}");
    assert!(page.contains("data-live=\"whole\""), "{page}");
    let strip = &page[page.find("<nav").unwrap()..page.find("</nav>").unwrap()];
    let links: Vec<usize> = (0..3).filter_map(|n| strip.find(&format!("/runs/{}", house.markers[n]))).collect();
    assert!(links.len() == 3 && links.is_sorted(), "before, itself, after: {strip}");
    assert_eq!(strip.matches("aria-current=\"page\"").count(), 1, "{strip}");
}

#[tokio::test]
async fn a_route_that_is_watched_no_more_is_said_to_be() {
    let seen = Seen::new(run(&route("gone", "v5"), -60), done(found(Rows::none(20))));
    let verdict = lost(&seen);
    let house = House::of(vec![seen.with(verdict)], Vec::new(), Vec::new()).await;
    let said = text(&house.run(0).await);
    assert!(said.contains("Platform and target of this route are not in the config any more"), "{said}");
    assert!(!said.contains("SELECT"), "{said}");
}

#[tokio::test]
async fn an_incident_says_in_its_head_what_is_broken_and_since_when() {
    let (red, green) = (
        Seen::new(run(&route("presto", "v5"), -60), done(found(Rows::none(20)))),
        Seen::new(run(&route("hadoop2", "v6"), -60), done(found(Rows::all_right(20)))),
    );
    let (lost, landed) = (lost(&red), green.judged(Outcome::Landed, None));
    let gone = Marker::mint(at(-61), 3);
    let told = incident(&[red.run.marker, gone], &[&red]);
    let opening = paged(&told, "oncall", -38);
    let house = House::of(vec![red.with(lost), green.with(landed)], vec![told], vec![opening]).await;
    let page = house.incident(0).await;
    let said = text(&page);
    for sentence in [
        "✗ Critical jobs say success, and nothing is written on worker=v5 since 21:43:00, for 1m",
        "Began between 21:42:00 (last good run due) and 21:43:00 (first bad run due)",
        "Deploy before it worker v6.2015 at 21:41:40",
        "Still lands ✓ worker=v6",
        "oncall took it at 2015-08-24T21:43:22.000Z",
        // From deploy to page, each with its distance to the one before.
        "21:41:40 Deploy of worker v6.2015 21:42:00 +20s The last good run was due",
        "21:43:00 +1m The first bad run was due",
        "21:43:20 +9s Detected: suspects named 21:43:22 +2s Paged: oncall took it",
        "now: it goes on",
        // The small multiple.
        "worker value ✗ hit ✓ fine ? other v5 suspect 1 – – v6 – 1 –",
        "✗ lost · due 21:43:00 · result-output/presto/web/append",
        "The job said success, 20 rows",
        "The target held nothing of 20 rows, 20 missing",
        "is gone from the ledger",
    ] {
        assert!(said.contains(sentence), "no `{sentence}` in {said}");
    }
    for part in [
        "data-live=\"whole\"".to_owned(),
        "role=\"img\"".to_owned(),
        format!("href=\"/runs/{}\"", house.markers[0]),
        "href=\"https://wiki.example.com/landfall\"".to_owned(),
    ] {
        assert!(page.contains(&part), "no `{part}` in {page}");
    }
    assert!(!page.contains("javascript:"), "a link leads to a page or nowhere: {page}");
}

#[tokio::test]
async fn an_incident_that_was_over_and_came_again_tells_both() {
    let red = Seen::new(run(&route("presto", "v5"), -60), done(found(Rows::none(20))));
    let verdict = lost(&red);
    let mut told = incident(&[red.run.marker], &[&red]);
    told.history.push(Step { at: at(-30), text: "resolved: 3 greens on every route".into() });
    told.history.push(Step { at: at(-20), text: "open again: 2 bad runs".into() });
    told.history.push(Step { at: at(-10), text: "resolved: 3 greens once more".into() });
    (told.reopened_at, told.resolved_at) = (Some(at(-20)), Some(at(-10)));
    told.resolved_because = Some("3 greens once more".into());
    let house = House::of(vec![red.with(verdict)], vec![told], Vec::new()).await;
    let page = house.incident(0).await;
    let said = text(&page);
    for sentence in [
        "✓ Over it was: jobs say success, and nothing is written on worker=v5 from 21:43:00 until 21:43:50, for 50s",
        "Over because 3 greens once more",
        "21:43:30 +10s Resolved: 3 greens on every route 21:43:40 +10s Open again: 2 bad runs 21:43:50 +10s Resolved: 3 greens \
         once more",
        "Nobody: no notifier is configured",
    ] {
        assert!(said.contains(sentence), "no `{sentence}` in {said}");
    }
    assert!(page.contains("data-live=\"polled\"") && !said.contains("it goes on"), "{said}");
}

/// All of a fault's words come from somewhere else.
#[tokio::test]
async fn nobody_elses_words_do_anything_on_these_pages() {
    const TURNED: &str = "a\u{202e}b\u{1b}[31m";
    let mut evidence = done(Err(format!("{EVIL}{TURNED}")));
    evidence.jobs = vec![EVIL.to_owned()];
    evidence.heard(Claim::Error { phase: Phase::Export, detail: EVIL.to_owned() }, at(-50));
    evidence.controls = vec![Control { started_at: at(-40), passed: Err(EVIL.to_owned()) }];
    let red = Seen::new(run(&route("presto", EVIL), -60), evidence);
    let mut verdict = lost(&red);
    verdict.reason = Some(format!("{EVIL}{TURNED}"));
    let mut told = incident(&[red.run.marker], &[&red]);
    told.suspects = labels(&[("worker", EVIL)]);
    told.also = vec![labels(&[("engine", EVIL)])];
    told.unaffected = vec![labels(&[("engine", TURNED)])];
    told.deploy = Some(Deploy { service: EVIL.into(), version: TURNED.into(), at: at(-140) });
    told.history = vec![Step { at: at(-40), text: format!("resolved: {EVIL}") }];
    let mut opening = paged(&told, "oncall", -38);
    opening.letters[0].failure = Some(EVIL.into());
    let house = House::of(vec![red.with(verdict)], vec![told], vec![opening]).await;
    for page in [house.incident(0).await, house.run(0).await] {
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "our own file: {page}");
        for never in ["<script>", "\u{202e}", "\u{1b}", " style=", " onclick", "<img"] {
            assert!(!page.contains(never), "{never:?} in {page}");
        }
    }
}

#[tokio::test]
async fn the_report_to_copy_is_the_one_that_the_command_writes() {
    let red = Seen::new(run(&route("presto", "v5"), -60), done(found(Rows::none(20))));
    let late = Seen::new(run(&route("presto", "v5"), -30), Evidence::default());
    let verdict = lost(&red);
    let mut told = incident(&[red.run.marker], &[&red]);
    told.deploy = Some(Deploy { service: "worker".into(), version: "v6|<b>".into(), at: at(-140) });
    (told.resolved_at, told.resolved_because) = (Some(at(-10)), Some("3 greens".into()));
    let opening = paged(&told, "oncall", -38);
    let id = told.id.clone();
    let house = House::of(vec![red.with(verdict), late], vec![told], vec![opening]).await;
    let (kind, raw) = house.raw(&format!("/incidents/{id}/report.md")).await;
    assert_eq!(kind, "text/markdown; charset=utf-8");
    assert!(raw.contains("| Deploy before it | worker v6\\|&lt;b&gt; at "), "{raw}");
    assert!(raw.contains("2: 1 lost, 1 not judged yet"), "a run that is not judged is counted: {raw}");
    let page = house.incident(0).await;
    let from = page.find("<pre id=\"markdown\"").unwrap();
    let copied = text(&page[from..from + page[from..].find("</pre>").unwrap()]);
    assert_eq!(copied, text(&house::escaped(&raw)), "what is copied is what is served");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["incidents", id.as_str(), "--format", "markdown", "--no-impact", "--agent", &house.url("")]);
    let command = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let written = String::from_utf8(command.stdout).unwrap();
    // But for when it was asked.
    let rest = |text: &str| text.lines().filter(|line| !line.starts_with("Draft of")).collect::<Vec<_>>().join("\n");
    assert_eq!(rest(&written), rest(&raw));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let seen = Seen::new(run(&route("presto", "v5"), -60), done(found(Rows::none(20))));
    let house = House::of(vec![seen], Vec::new(), Vec::new()).await;
    for path in
        ["/incidents/inc-none", "/incidents/inc-none/report.md", "/runs/lf00000000000000000000000000", "/runs/x"]
    {
        assert_eq!(house.status(path).await, 404, "{path}");
    }
}

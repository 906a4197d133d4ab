//! Scenario files: those that are shipped, one for each kind of fault, and broken ones.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use landfall::{
    canary::{
        Claim, Control, Evidence, Look, Marker, Outcome, Run, Selector, Terms, Usual, judge, run::Why, wait::is_over,
    },
    config::Problem,
    platform::{Handle, Job, Platform, PlatformError, Progress},
    sandbox::{Direct, FaultKind, Scenario},
    target::Target,
};
use tokio::time::{Instant, sleep, timeout};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    // The last of the open ones may have been moved.
    if !folder.exists() && folder.ends_with("scenarios-open") {
        return Vec::new();
    }
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder that can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn read(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).expect("a file that can be read");
    Scenario::parse(file, &text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A problem as people read it, the file by its name alone.
fn told(problem: &Problem) -> String {
    let file = problem.file.file_name().expect("a name").into();
    format!("{}\n", Problem { file, ..problem.clone() })
}

#[test]
fn every_kind_of_fault_has_a_scenario_in_which_it_is_alone_and_total() {
    let mut alone = BTreeSet::new();
    for file in files("tests/scenarios", "toml") {
        let scenario = read(&file);
        assert!(scenario.expect.incidents.is_some(), "{}: what is expected?", file.display());
        if let [fault] = &scenario.faults[..]
            && fault.rate >= 1.0
            && scenario.agent.is_empty()
        {
            assert!(scenario.name.starts_with(fault.kind.as_str()), "{}", scenario.name);
            alone.insert(fault.kind.as_str());
        }
    }
    // Nothing is uploaded in a scenario, nor queried of it.
    let over_http = FaultKind::OVER_HTTP;
    assert_eq!(alone, FaultKind::NAMES.into_iter().filter(|kind| !over_http.contains(kind)).collect());
}

#[test]
fn a_scenario_that_is_not_passed_yet_reads_and_says_on_top_why() {
    for file in files("tests/scenarios-open", "toml") {
        assert!(fs::read_to_string(&file).unwrap().starts_with("# Open: "), "{}", file.display());
        assert!(read(&file).expect.incidents.is_some(), "{}: what is expected?", file.display());
    }
}

#[test]
fn every_scenario_of_a_real_incident_is_compiled_in() {
    let shipped: Vec<String> = files("probes/incidents", "toml").iter().map(|file| read(file).name).collect();
    assert_eq!(shipped, Scenario::builtin_names().collect::<Vec<_>>());
}

/// Set `LANDFALL_BLESS=1` to write what is said now; read it before you believe it.
#[test]
fn a_broken_scenario_is_told_all_that_is_wrong_with_it_and_where() {
    for file in files("tests/bad-scenarios", "toml") {
        let text = fs::read_to_string(&file).unwrap();
        let said = match Scenario::parse(&file, &text) {
            Ok(_) => panic!("{} reads", file.display()),
            Err(problems) => problems.iter().map(told).collect::<String>(),
        };
        let expected = file.with_extension("txt");
        if std::env::var_os("LANDFALL_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{}", file.display());
    }
}

#[test]
fn any_text_is_a_scenario_or_says_why_not() {
    let good = Scenario::builtin_text("2015-08-24").unwrap();
    // Every prefix, and every byte turned into a few others: nothing may panic.
    for cut in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
        let _ = Scenario::parse(Path::new("cut.toml"), &good[..cut]);
    }
    for at in (0..good.len()).filter(|at| good.is_char_boundary(*at) && good.is_char_boundary(at + 1)) {
        for other in ["\0", "]", "=", "\"", "-", "9999999999999999999", "é", "{", "\n"] {
            let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
            if let Err(problems) = Scenario::parse(Path::new("changed.toml"), &changed) {
                assert!(!problems.is_empty());
            }
        }
    }
    assert!(Scenario::parse(Path::new("deep.toml"), &"[".repeat(100_000)).is_err());
    let nested = format!("title = {}{}", "[".repeat(60), "]".repeat(60));
    assert!(Scenario::parse(Path::new("nested.toml"), &nested).is_err());
    assert!(Scenario::parse(Path::new("large.toml"), &" ".repeat(2 << 20)).is_err());
}

/// One run, flown in the plainest way: every second a try to submit or a look at the job, a look at
/// the target and a control, until waiting is over; and once more at three times the deadline.
async fn fly(door: &Direct, scenario: &Scenario, selector: &Selector) -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(30);
    let route = scenario.routes.iter().find(|route| selector.covers(route)).expect("a route");
    let canary = &scenario.world.canary;
    let due = door.now();
    let terms = Terms { due, objective: canary.objective, deadline: canary.deadline };
    let marker = Marker::mint(due, route.id.0.into());
    let run =
        Arc::new(Run { marker, route: route.clone(), terms, sample: canary.sample, why: Why::Scheduled, report: None });
    let (platform, target) = (door.platform(&route.platform), door.target(&route.target));
    let job = Job { run: run.clone(), deliver_to: target.address(&run), deadline: terms.deadline_at(None) };
    let (mut evidence, mut handle): (Evidence, Option<Handle>) = Default::default();
    let mut judged: Option<Outcome> = None;
    loop {
        let heard = match &handle {
            None => timeout(PATIENCE, platform.submit(&job)).await.map(|answer| {
                answer.map(|known| {
                    handle = Some(known);
                    evidence.accepted_at = Some(door.now());
                    None
                })
            }),
            Some(handle) => {
                let answer = timeout(PATIENCE, platform.look(handle)).await;
                answer.map(|answer| answer.map(|(state, _)| Some(state.progress)))
            }
        };
        if !evidence.claim.is_last_word()
            && let Some(claim) = claimed(heard.ok())
        {
            evidence.heard(claim, door.now());
        }
        let now = door.now();
        let found = target.look(std::slice::from_ref(&run)).await;
        evidence.saw(Look {
            started_at: now,
            found: found.map(|mut seen| seen.remove(0)).map_err(|error| error.to_string()),
        });
        let (now, passed) = (door.now(), target.control().await.map_err(|error| error.to_string()));
        evidence.controlled(Control { started_at: now, passed });
        let now = door.now();
        let first_over = judged.is_none() && is_over(&terms, &evidence, &Usual::default(), now);
        if first_over || now > terms.deadline_at(evidence.accepted_at).plus(canary.deadline * 2) {
            let judgement = judge(&terms, &evidence, now);
            match judged {
                // What cannot be seen later changes nothing, nor do rows that are gone again.
                Some(Outcome::Landed | Outcome::Lost) if judgement.outcome != Outcome::Unknown => {
                    return judgement.outcome;
                }
                Some(first) => return first,
                None => judged = Some(judgement.outcome),
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn claimed(heard: Option<Result<Option<Progress>, PlatformError>>) -> Option<Claim> {
    Some(match heard {
        None => Claim::Unheard { detail: "no answer".into() },
        Some(Err(error)) if error.answered() => {
            Claim::Refused { phase: landfall::canary::Phase::Submit, for_good: false, detail: error.to_string() }
        }
        Some(Err(error)) => Claim::Unheard { detail: error.to_string() },
        Some(Ok(None)) => return None,
        Some(Ok(Some(Progress::Running(phase)))) => Claim::Running { phase },
        Some(Ok(Some(Progress::Done { rows }))) => Claim::Done { rows },
        Some(Ok(Some(Progress::Error { phase, detail }))) => Claim::Error { phase, detail },
        Some(Ok(Some(Progress::Killed { phase }))) => Claim::Killed { phase },
    })
}

/// What the whole agent makes of these scenarios is `replay`'s to show; here one run each, judged
/// by the judge alone, before the fault, under it, and beside it.
#[tokio::test(start_paused = true)]
async fn a_run_under_each_fault_comes_to_what_its_scenario_expects() {
    for file in files("tests/scenarios", "toml") {
        let scenario = read(&file);
        let [fault] = &scenario.faults[..] else { continue };
        // Its own trouble needs the whole agent, and so does what only a control may say.
        let only_for_the_agent = !scenario.agent.is_empty() || scenario.name == "slow-target-half-a-minute";
        if fault.rate < 1.0 || only_for_the_agent {
            continue;
        }
        let origin = Instant::now();
        let door = Direct::new(scenario.world.clone(), scenario.faults.clone(), scenario.seed, scenario.start, origin);
        assert_eq!(fly(&door, &scenario, &fault.selector).await, Outcome::Landed, "{}: before", scenario.name);
        sleep(fault.from.since(door.now()) + Duration::from_secs(1)).await;
        let expected = scenario.expect.outcome.unwrap_or(Outcome::Landed);
        assert_eq!(fly(&door, &scenario, &fault.selector).await, expected, "{}", scenario.name);
        if let [(name, value)] = fault.selector.pairs() {
            let routes = &scenario.routes;
            let other = routes.iter().filter_map(|route| route.facet(name)).find(|found| found != value);
            let beside = Selector::new([(name.clone(), other.expect("another value").to_owned())]);
            assert_eq!(fly(&door, &scenario, &beside).await, Outcome::Landed, "{}: beside", scenario.name);
        }
    }
}

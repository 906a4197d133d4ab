//! The ledger: what it promises, in the file and in memory, over restarts and kills.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use landfall::{
    canary::{
        Away, CanaryName, Claim, Evidence, Labels, Look, Marker, Mode, Outcome, Phase, PlatformName, Route, Rows, Run,
        Sample, Sighting, TargetName, Terms, Timestamp, Verdict, Why,
    },
    detect::{Change, Deploy, Incident, IncidentId, Input, Onset, Severity},
    store::{Delivery, JournalEntry, Notice, Opening, Settlement, Store, StoreError, memory::Memory, sqlite::Sqlite},
};

const S: fn(u64) -> Duration = Duration::from_secs;
const HOUR: u64 = 3_600;
const T0: Timestamp = Timestamp::from_secs(1_440_450_000);
const LAST: Outcome = Outcome::Unknown;

fn at(seconds: u64) -> Timestamp {
    T0.plus(S(seconds))
}

fn route(target: &str) -> Arc<Route> {
    Arc::new(Route::new(
        CanaryName::new("c").unwrap(),
        PlatformName::new("p").unwrap(),
        TargetName::new(target).unwrap(),
        Mode::Append,
        Labels::default(),
    ))
}

fn run(route: &Arc<Route>, due: u64) -> Run {
    Run {
        // A run is begun a little after it is due; the chance tells routes apart.
        marker: Marker::mint(at(due).plus(Duration::from_millis(30)), u128::from(route.id.0)),
        route: route.clone(),
        terms: Terms { due: at(due), objective: S(120), deadline: S(300) },
        sample: Sample::of(20),
        why: Why::Scheduled,
        report: None,
    }
}

fn evidence(due: u64, rows: Rows) -> Evidence {
    let mut evidence = Evidence { submitted_at: Some(at(due)), accepted_at: Some(at(due + 1)), ..Evidence::default() };
    evidence.entered(Phase::Execute, at(due + 2));
    evidence.heard(Claim::Done { rows: Some(20) }, at(due + 5));
    evidence.saw(Look { started_at: at(due + 6), found: Ok(Sighting { rows, ..Sighting::default() }) });
    evidence
}

fn verdict(run: &Run, outcome: Outcome, provisional: bool, judged: u64) -> Verdict {
    let due = run.terms.due.since(T0).as_secs();
    let rows = if outcome == Outcome::Landed { Rows::all_right(20) } else { Rows::none(20) };
    Verdict {
        run: run.marker,
        route: run.route.id,
        due: run.terms.due,
        why: run.why,
        outcome,
        phase: (outcome == Outcome::Failed).then_some(Phase::Export),
        reason: (outcome == Outcome::Failed).then(|| "because \u{1f600}".to_owned()),
        also: if outcome == Outcome::Lost { vec![Outcome::Corrupted] } else { Vec::new() },
        provisional,
        seen_late: false,
        agent_away: false,
        at: at(judged),
        evidence: Arc::new(evidence(due, rows)),
    }
}

fn settled(verdict: Verdict) -> Settlement {
    Settlement { verdicts: vec![verdict], ..Settlement::default() }
}

fn incident(run: &Run, opened: u64) -> Incident {
    Incident {
        id: IncidentId::of(run.marker),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Outcome::Lost.family().unwrap(),
        provisional: true,
        suspects: vec![("worker".into(), "v5".into())],
        also: Vec::new(),
        routes: vec![run.route.id],
        unaffected: Vec::new(),
        onset: Onset { last_good: None, first_bad: run.terms.due },
        deploy: None,
        opened_at: at(opened),
        detected_at: Some(at(opened)),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: vec![run.marker],
        history: Vec::new(),
    }
}

fn notice(incident: &Incident, key: &str, when: u64) -> Notice {
    Notice { key: key.into(), at: at(when), change: Change::Opened(incident.id.clone()), incident: incident.clone() }
}

fn open(folder: &Path) -> Sqlite {
    // One call after the other, thousands of them: they need not wait for company.
    Sqlite::open_with(&folder.join("ledger.db"), T0, Duration::ZERO).unwrap()
}

/// Everything that can be asked, as text.
async fn everything(store: &dyn Store, now: Timestamp, targets: &[TargetName], runs: &[Run]) -> Vec<String> {
    let markers: Vec<Marker> = runs.iter().map(|run| run.marker).collect();
    let routes: HashSet<_> = runs.iter().map(|run| run.route.id).collect();
    let mut all = vec![
        format!("{:?}", store.pending().await.unwrap()),
        format!("{:?}", store.watched(now).await.unwrap()),
        format!("{:?}", store.runs(None, 1_000).await.unwrap()),
        format!("{:?}", store.runs(None, 3).await.unwrap()),
        format!("{:?}", store.incidents(100).await.unwrap()),
        format!("{:?}", store.deploys(3).await.unwrap()),
        format!("{:?}", store.away(T0).await.unwrap()),
        format!("{:?}", store.last_beat().await.unwrap()),
        format!("{:?}", store.snapshot().await.unwrap()),
        format!("{:?}", store.journal(0).await.unwrap()),
        format!("{:?}", store.untold().await.unwrap()),
        format!("{:?}", store.open_letters().await.unwrap()),
        format!("{:?}", store.openings(7).await.unwrap()),
        format!("{:?}", store.counts().await.unwrap()),
        format!("{:?}", store.setting("a").await.unwrap()),
    ];
    for run in runs.iter().take(20) {
        all.push(format!("{:?}", store.run(run.marker).await.unwrap()));
        all.push(format!("{:?}", store.incident(&IncidentId::of(run.marker)).await.unwrap()));
    }
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort();
    for route in routes {
        all.push(format!("{:?}", store.runs(Some(route), 5).await.unwrap()));
    }
    for target in targets {
        all.push(format!("{:?}", store.deliveries(target, &markers).await.unwrap()));
    }
    all
}

/// One call with made-up arguments; the same for both ledgers.
async fn anything(
    stores: [&dyn Store; 2],
    dice: &mut fastrand::Rng,
    routes: &[Arc<Route>],
    begun: &mut Vec<Run>,
    step: u64,
) {
    let pick = |dice: &mut fastrand::Rng, begun: &[Run]| begun[dice.usize(..begun.len())].clone();
    let now = at(step * 60);
    let what = if begun.is_empty() { 0 } else { dice.u32(..16) };
    let (seed, mut order) = (dice.u64(..), Vec::new());
    for store in stores {
        let dice = &mut fastrand::Rng::with_seed(seed);
        let mut made = begun.clone();
        match what {
            0..=3 => {
                let route = &routes[dice.usize(..routes.len())];
                let mut run = run(route, step * 60);
                run.marker = Marker::mint(now, dice.u128(..));
                run.why = if dice.bool() { Why::Deploy } else { Why::Scheduled };
                store.begin(&run).await.unwrap();
                store.begin(&run).await.unwrap();
                made.push(run);
            }
            4 | 5 => {
                let run = pick(dice, begun);
                let seen = evidence(step, Rows::none(20));
                let handle = dice.bool().then(|| format!("job-{step}"));
                store.progress(run.marker, handle.as_deref(), &seen).await.unwrap();
            }
            6..=9 => {
                let mut settlement = Settlement::default();
                for _ in 0..dice.usize(1..4) {
                    let run = pick(dice, begun);
                    let outcome = Outcome::ALL[dice.usize(..Outcome::ALL.len())];
                    // Most are landed, as they are.
                    let outcome = if dice.u8(..4) > 0 { Outcome::Landed } else { outcome };
                    // Corrections never make a run green: `judge` knows only late landings.
                    let known = store.run(run.marker).await.unwrap().and_then(|record| record.verdict);
                    let known = settlement.verdicts.iter().filter(|verdict| verdict.run == run.marker).chain(&known);
                    let red = known.clone().any(|known| !known.provisional && known.outcome != Outcome::Landed);
                    let outcome = if red && outcome == Outcome::Landed { Outcome::Late } else { outcome };
                    settlement.verdicts.push(verdict(&run, outcome, dice.u8(..5) == 0, step));
                }
                settlement.journal = (settlement.verdicts.iter())
                    .enumerate()
                    .map(|(n, verdict)| JournalEntry {
                        seq: step * 4 + n as u64 + 1,
                        at: now,
                        input: Input::Verdict(Box::new(verdict.clone())),
                    })
                    .collect();
                store.settle(settlement.clone()).await.unwrap();
                store
                    .settle(Settlement {
                        verdicts: settlement.verdicts.split_off(settlement.verdicts.len() - 1),
                        ..settlement
                    })
                    .await
                    .unwrap();
            }
            10 => {
                let run = pick(dice, begun);
                let changed = incident(&run, step * 60);
                let key = format!("{}/{}", changed.id, dice.u8(..3));
                let deploy = Deploy { service: "s".into(), version: dice.u8(..3).to_string(), at: at(dice.u64(..5)) };
                store
                    .settle(Settlement {
                        notices: vec![notice(&changed, &key, step)],
                        incidents: vec![changed],
                        deploys: vec![deploy],
                        journal: vec![JournalEntry { seq: step * 4 + 1, at: now, input: Input::Tick }],
                        ..Settlement::default()
                    })
                    .await
                    .unwrap();
            }
            11 => {
                let untold = store.untold().await.unwrap();
                let taken = untold.iter().take(1).map(|notice| notice.key.clone()).chain(["no such key".to_owned()]);
                let openings = untold.iter().take(2).map(|notice| Opening {
                    done: dice.bool(),
                    ..Opening::new(notice.incident.id.clone(), notice.incident.opening(), notice.incident.severity)
                });
                store.keep_openings(openings.collect(), taken.collect(), now).await.unwrap();
            }
            12 => {
                let run = pick(dice, begun);
                let body = step.to_string().into_bytes();
                store.keep_delivery(&run.route.target, Delivery { marker: run.marker, at: now, body }).await.unwrap();
            }
            13 => {
                let since = if dice.bool() { now } else { at(60) };
                store.beat(since, now).await.unwrap();
            }
            14 => {
                store.keep_snapshot(step * 3, vec![1, 2, 3]).await.unwrap();
                store.keep_setting("a", &step.to_string()).await.unwrap();
                let target = &routes[0].target;
                let swept = store.sweep_deliveries(target, now.minus(S(40 * 60))).await.unwrap();
                order.push(swept);
            }
            _ => store.thin(now).await.unwrap(),
        }
        if order.len() == 2 {
            assert_eq!(order[0], order[1], "both swept as many");
        }
        if std::ptr::addr_eq(store, stores[1]) {
            *begun = made;
        }
    }
}

async fn assert_same(
    one: &dyn Store,
    other: &dyn Store,
    now: Timestamp,
    targets: &[TargetName],
    runs: &[Run],
    place: &str,
) {
    let (one, other) = (everything(one, now, targets, runs).await, everything(other, now, targets, runs).await);
    for (n, (one, other)) in one.iter().zip(&other).enumerate() {
        let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| text.chars().skip(same.saturating_sub(300)).take(600).collect::<String>();
        assert!(one == other, "{place}, answer {n}:\n{}\n{}", from(one), from(other));
    }
}

#[tokio::test]
async fn the_file_and_the_memory_answer_the_same_to_any_sequence_of_calls() {
    for seed in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let (memory, mut file) = (Memory::new(), open(folder.path()));
        let mut dice = fastrand::Rng::with_seed(seed);
        let routes = [route("web"), route("bucket")];
        let targets = routes.clone().map(|route| route.target.clone());
        let mut begun = Vec::new();
        // A day and a half, in steps that now and then jump, so that retention has something to do.
        let mut step = 0;
        for n in 0..250 {
            step += if dice.u8(..20) == 0 { 30 } else { 1 };
            anything([&memory, &file], &mut dice, &routes, &mut begun, step).await;
            if n % 25 == 0 {
                let now = at(step * 60);
                assert_same(&memory, &file, now, &targets, &begun, &format!("seed {seed}, call {n}")).await;
            }
            if n % 100 == 99 {
                drop(file);
                file = open(folder.path());
            }
        }
        let now = at(step * 60 + 7 * HOUR);
        memory.thin(now).await.unwrap();
        file.thin(now).await.unwrap();
        assert_same(&memory, &file, now, &targets, &begun, &format!("seed {seed}, at the end")).await;
    }
}

#[tokio::test]
async fn a_provisional_verdict_never_stands_in_for_a_final_one_and_a_later_final_one_does() {
    let folder = tempfile::tempdir().unwrap();
    for store in [&Memory::new() as &dyn Store, &open(folder.path())] {
        let run = run(&route("web"), 0);
        let outcome =
            async || store.run(run.marker).await.unwrap().unwrap().verdict.map(|v| (v.outcome, v.provisional));
        store.begin(&run).await.unwrap();
        assert_eq!(outcome().await, None);
        store.settle(settled(verdict(&run, Outcome::Lost, true, 9))).await.unwrap();
        assert_eq!(outcome().await, Some((Outcome::Lost, true)));
        assert_eq!(store.pending().await.unwrap().len(), 1, "a provisional verdict settles nothing");
        store.settle(settled(verdict(&run, Outcome::Lost, false, 300))).await.unwrap();
        store.settle(settled(verdict(&run, Outcome::Failed, true, 301))).await.unwrap();
        assert_eq!(outcome().await, Some((Outcome::Lost, false)));
        store.settle(settled(verdict(&run, Outcome::Late, false, 400))).await.unwrap();
        assert_eq!(outcome().await, Some((Outcome::Late, false)));
        assert!(store.pending().await.unwrap().is_empty());
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.started, counts.settled, counts.corrections, counts.pending), (1, 1, 1, 0));
        let route = run.route.id;
        assert_eq!(counts.outcomes, [(route, Outcome::Late, 1), (route, Outcome::Lost, 1)]);
    }
}

#[tokio::test]
async fn landed_runs_are_watched_until_their_deadline_and_lost_ones_for_three() {
    let folder = tempfile::tempdir().unwrap();
    for store in [&Memory::new() as &dyn Store, &open(folder.path())] {
        let (landed, lost, failed) = (run(&route("a"), 0), run(&route("b"), 0), run(&route("c"), 0));
        for (run, outcome) in [(&landed, Outcome::Landed), (&lost, Outcome::Lost), (&failed, Outcome::Failed)] {
            store.begin(run).await.unwrap();
            store.settle(settled(verdict(run, outcome, false, 300))).await.unwrap();
        }
        let watched = async |seconds| {
            let records = store.watched(at(seconds)).await.unwrap();
            let mut markers: Vec<Marker> = records.into_iter().map(|record| record.run.marker).collect();
            markers.sort();
            markers
        };
        let mut both = [landed.marker, lost.marker];
        both.sort();
        // Accepted one second after due: the deadlines count from there.
        assert_eq!(watched(301).await, both);
        assert_eq!(watched(302).await, [lost.marker]);
        assert_eq!(watched(901).await, [lost.marker]);
        assert_eq!(watched(902).await, []);
    }
}

#[tokio::test]
async fn greens_thin_out_to_one_an_hour_and_reds_and_counts_stay() {
    let folder = tempfile::tempdir().unwrap();
    for store in [&Memory::new() as &dyn Store, &open(folder.path())] {
        let routes = [route("web"), route("bucket")];
        let hours = 8;
        for minute in 0..hours * 60 {
            for route in &routes {
                let run = run(route, minute * 60);
                let outcome = if minute % 60 == 30 { Outcome::Lost } else { Outcome::Landed };
                store.begin(&run).await.unwrap();
                store.settle(settled(verdict(&run, outcome, false, minute * 60 + 10))).await.unwrap();
            }
        }
        let counts = store.counts().await.unwrap();
        let end = hours * HOUR;
        store.thin(at(end)).await.unwrap();
        assert_eq!(store.counts().await.unwrap(), counts);
        let left = store.runs(None, 10_000).await.unwrap();
        let of = |outcome, young: bool| {
            let of = left.iter().filter(|record| {
                (record.run.terms.due >= at(end - 6 * HOUR)) == young
                    && record.verdict.as_ref().is_some_and(|verdict| verdict.outcome == outcome)
            });
            of.count() as u64
        };
        assert_eq!(of(Outcome::Lost, false), 2 * 2);
        assert_eq!((of(Outcome::Landed, true), of(Outcome::Lost, true)), (2 * 6 * 59, 2 * 6));
        assert_eq!(of(Outcome::Landed, false), 2 * 2);
        store.thin(at(end + 91 * 24 * HOUR)).await.unwrap();
        assert!(store.runs(None, 10).await.unwrap().is_empty());
        assert_eq!(store.counts().await.unwrap(), counts, "counters go on after everything was thinned");
    }
}

#[tokio::test]
async fn a_run_that_settles_late_is_thinned_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let web = route("web");
    let runs: Vec<Run> = (0..10).map(|n| run(&web, n * 60)).collect();
    for run in &runs {
        store.begin(run).await.unwrap();
    }
    for run in &runs[1..] {
        store.settle(settled(verdict(run, Outcome::Landed, false, 1))).await.unwrap();
    }
    store.thin(at(8 * HOUR)).await.unwrap();
    let left = async || store.runs(None, 100).await.unwrap().len();
    assert_eq!(left().await, 2, "the pending one, and one green");
    store.settle(settled(verdict(&runs[0], Outcome::Landed, false, 1))).await.unwrap();
    store.thin(at(8 * HOUR)).await.unwrap();
    assert_eq!(left().await, 1);
}

#[tokio::test]
async fn deliveries_of_runs_that_wait_stay_and_the_rest_goes_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    for store in [&Memory::new() as &dyn Store, &open(folder.path())] {
        let web = route("web");
        let runs = [run(&web, 0), run(&web, 60), run(&web, 120)];
        for run in &runs {
            store.begin(run).await.unwrap();
            let delivery = Delivery { marker: run.marker, at: run.terms.due, body: b"rows".to_vec() };
            store.keep_delivery(&web.target, delivery).await.unwrap();
        }
        store.settle(settled(verdict(&runs[0], Outcome::Landed, false, 10))).await.unwrap();
        store.settle(settled(verdict(&runs[1], Outcome::Lost, false, 400))).await.unwrap();
        let left = async || {
            let markers = runs.clone().map(|run| run.marker);
            let left = store.deliveries(&web.target, &markers).await.unwrap();
            left.into_iter().map(|delivery| delivery.marker).collect::<Vec<_>>()
        };
        store.thin(at(1_800)).await.unwrap();
        assert_eq!(left().await, runs.clone().map(|run| run.marker));
        store.thin(at(2 * HOUR)).await.unwrap();
        assert_eq!(left().await, [runs[1].marker, runs[2].marker]);
        store.thin(at(25 * HOUR)).await.unwrap();
        assert_eq!(left().await, [runs[2].marker], "a run that waits needs its rows");
    }
}

#[tokio::test]
async fn gaps_between_beats_are_told_and_a_clock_that_jumped_hides_none() {
    let folder = tempfile::tempdir().unwrap();
    for store in [&Memory::new() as &dyn Store, &open(folder.path())] {
        assert_eq!(store.last_beat().await.unwrap(), None);
        for (since, now) in [(0, 10), (0, 20), (50, 60), (90_000, 90_010), (100, 110), (130, 140)] {
            store.beat(at(since), at(now)).await.unwrap();
        }
        let gap = |from, until| Away { from: at(from), until: at(until) };
        let gaps = [gap(20, 50), gap(60, 90_000), gap(110, 130)];
        assert_eq!(store.away(T0).await.unwrap(), gaps);
        assert_eq!(store.away(at(60)).await.unwrap(), gaps[1..]);
        assert_eq!(store.last_beat().await.unwrap(), Some(at(140)));
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = open(folder.path());
    let second = Sqlite::open(&path, T0).map(drop);
    let Err(StoreError::InUse { by }) = second else { panic!("{second:?}") };
    assert_eq!(by, format!("process {}", std::process::id()));
    #[cfg(unix)]
    {
        let other = folder.path().join("other-name.db");
        std::os::unix::fs::symlink(&path, &other).unwrap();
        assert!(matches!(Sqlite::open(&other, T0).map(drop), Err(StoreError::InUse { .. })), "by another name too");
    }
    drop(first);
    assert!(Sqlite::open(&path, T0).is_ok());
}

#[tokio::test]
async fn a_ledger_that_cannot_be_there_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no/such/folder/ledger.db");
    assert!(matches!(Sqlite::open(&nowhere, T0).map(drop), Err(StoreError::Unavailable { .. })));
    assert!(matches!(Sqlite::open(folder.path(), T0).map(drop), Err(StoreError::Unavailable { .. })), "a folder");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_ledger() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.keep_setting("password", "x").await.unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn many_callers_at_once_keep_the_order_in_which_each_of_them_called() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let callers = (0..50).map(|caller| {
        let store = store.clone();
        tokio::spawn(async move {
            let run = run(&route(&format!("t{caller}")), 0);
            store.begin(&run).await.unwrap();
            for n in 0..20 {
                let handle = n.to_string();
                store.progress(run.marker, Some(&handle), &Evidence::default()).await.unwrap();
                let known = store.run(run.marker).await.unwrap().unwrap();
                assert_eq!(known.handle.as_deref(), Some(&*handle), "what was written can be read at once");
            }
            store.settle(settled(verdict(&run, LAST, false, 9))).await.unwrap();
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.started, counts.settled, counts.pending), (50, 50, 0));
}

#[tokio::test]
async fn what_a_caller_gave_up_waiting_for_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let runs: Vec<Run> = (0..100).map(|n| run(&route("web"), n)).collect();
    for run in &runs {
        // Polled once, so that it is on its way, and then dropped.
        let mut begin = store.begin(run);
        assert!(futures_util::poll!(begin.as_mut()).is_pending());
    }
    drop(store);
    assert_eq!(open(folder.path()).counts().await.unwrap().started, 100);
}

const CHILD: &str = "LANDFALL_TEST_LEDGER";

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "is started and killed by a_killed_process_loses_nothing_that_it_was_told_is_kept"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Sqlite::open(Path::new(&path), T0).unwrap();
    let from = store.counts().await.unwrap().started;
    let web = route("web");
    for n in from..from + 100_000 {
        let run = run(&web, n);
        store.begin(&run).await.unwrap();
        println!("begun {}", run.marker);
        let body = run.marker.to_string().into_bytes();
        store.keep_delivery(&web.target, Delivery { marker: run.marker, at: at(n), body }).await.unwrap();
        println!("kept {}", run.marker);
        let incident = incident(&run, n);
        let notices = vec![notice(&incident, &run.marker.to_string(), n)];
        let verdicts = vec![verdict(&run, Outcome::Lost, false, n)];
        let journal = vec![JournalEntry { seq: n + 1, at: at(n), input: Input::Tick }];
        store.settle(Settlement { verdicts, journal, notices, ..Settlement::default() }).await.unwrap();
        println!("settled {}", run.marker);
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_told_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut said: Vec<(String, Marker)> = Vec::new();
    for lines in [20, 57, 111] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::writes_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let words = output.lines().map_while(Result::ok).filter_map(|line| {
            let (word, marker) = line.split_once(' ')?;
            Some((word.to_owned(), marker.parse().ok()?))
        });
        said.extend(words.take(lines));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(said.len(), 20 + 57 + 111);
    let store = Sqlite::open(&path, T0).unwrap();
    let web = route("web").target.clone();
    let untold: HashSet<String> = store.untold().await.unwrap().into_iter().map(|notice| notice.key).collect();
    for (word, marker) in &said {
        let record = store.run(*marker).await.unwrap().expect("was begun");
        match word.as_str() {
            "begun" => {}
            "kept" => assert_eq!(store.deliveries(&web, &[*marker]).await.unwrap().len(), 1),
            _ => {
                assert_eq!(record.verdict.map(|verdict| verdict.outcome), Some(Outcome::Lost));
                assert!(untold.contains(&marker.to_string()));
            }
        }
    }
    // What was in flight when the process died is there whole or not at all.
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.settled, untold.len() as u64);
    assert_eq!(counts.settled, store.journal(0).await.unwrap().len() as u64);
    assert_eq!(counts.started, counts.settled + counts.pending);
}

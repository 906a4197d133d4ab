//! Configs as users write them: good ones load, and each broken one gets the message that stands
//! beside it in `bad/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use landfall::{
    canary::{Mode, Schedule, Timestamp},
    cli::kinds::kinds,
    config::{self, Options, Plan, Problem, Problems},
    notify::Notifier,
    platform::Platform,
    target::{Target, webhook::Intake},
};

const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);

type Opened = Plan<Arc<dyn Platform>, Arc<dyn Target>, Arc<dyn Notifier>>;

fn load(path: &Path) -> Result<Opened, Problems> {
    load_with(path, Options { without_secrets: false, now: NOW })
}

fn load_with(path: &Path, options: Options) -> Result<Opened, Problems> {
    config::load(path, &kinds(&Intake::new()), options)
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Every broken config: `NAME.toml`, or `NAME/landfall.toml` where it takes several files.
fn bad() -> Vec<(PathBuf, PathBuf)> {
    let mut cases: Vec<_> = fs::read_dir("tests/bad")
        .expect("the folder of broken configs")
        .map(|entry| entry.expect("readable").path())
        .filter_map(|path| match path.extension() {
            Some(ending) if ending == "toml" => Some((path.clone(), path.with_extension("err"))),
            None if path.join("landfall.toml").is_file() => {
                Some((path.join("landfall.toml"), path.with_extension("err")))
            }
            _ => None,
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn each_broken_config_gets_the_message_beside_it() {
    let cases = bad();
    assert!(cases.len() >= 25, "only {} broken configs", cases.len());
    let rewrite = std::env::var_os("LANDFALL_TEST_REWRITE").is_some();
    let mut wrong = String::new();
    for (config, expected) in cases {
        let found = match load(&config) {
            Ok(_) => "it loads\n".to_owned(),
            Err(problems) => shown(&problems).replace("tests/bad/", ""),
        };
        assert!(!found.contains("hunter2") && !found.contains("0123456789abcdef"), "a secret is shown: {found}");
        if rewrite {
            fs::write(&expected, &found).expect("writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if found != expected {
            wrong += &format!("{}\n--- expected\n{expected}--- found\n{found}\n", config.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n(LANDFALL_TEST_REWRITE=1 writes what is found)");
}

/// A folder with a config and its probes.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    folder
}

const MAIN: &str = r#"
[agent]
name          = "mon-1"
listen        = "127.0.0.1:9440"
intake        = "0.0.0.0:9441"
store         = "landfall.db"
probes        = "probes"
detect_within = "6m"
token         = { file = "token" }
proxy         = "http://proxy.example.com:3128"
"#;

const PROBE: &str = r#"
[platform.presto]
labels = { engine = "presto", cluster = "presto", worker = "v5" }
[platform.presto.treasure-data]
endpoint = "https://api.treasuredata.com"
api_key  = { file = "../td.key" }
database = "landfall"
engine   = "presto"

[platform.hadoop1]
labels = { worker = "v5", engine = "hive", cluster = "hadoop1" }
in_flight = 5
per_hour = 100
[platform.hadoop1.treasure-data]
endpoint = "https://api.treasuredata.com"
api_key  = { file = "../td.key" }
database = "landfall"
engine   = "hive"

[target.warehouse.postgresql]
url   = { file = "../warehouse.url" }
table = "landfall_canary"
[target.web]
labels = { region = "us", engine = "none" }
[target.web.webhook]

[canary.result-output]
platforms = ["presto", "hadoop1"]
targets   = ["warehouse", "web"]
modes     = ["append"]
every     = "1m"
objective = "2m"
deadline  = "5m"
sample    = { rows = 20 }
"#;

fn designed() -> tempfile::TempDir {
    folder(&[
        ("landfall.toml", MAIN),
        ("probes/td.toml", PROBE),
        ("probes/.hidden.toml", "not toml"),
        ("probes/notes.txt", "not toml"),
        ("token", "t0ken\n"),
        ("warehouse.url", "postgresql://landfall@127.0.0.1/landfall\n"),
        ("td.key", "1/0123456789abcdef0123456789abcdef01234567\n"),
    ])
}

#[test]
fn the_config_of_the_design_is_the_plan_it_says() {
    let folder = designed();
    let plan = load(&folder.path().join("landfall.toml")).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert_eq!(plan.agent.name, "mon-1");
    assert_eq!(plan.agent.store, folder.path().join("landfall.db"));
    assert_eq!(plan.agent.token.as_ref().expect("a token").reveal(), "t0ken");
    assert_eq!(plan.agent.wire.proxy.as_ref().expect("a proxy").host_str(), Some("proxy.example.com"));
    let caps: Vec<_> = plan.platforms.iter().map(|p| (p.name.as_str(), p.in_flight, p.per_hour)).collect();
    assert_eq!(caps, [("presto", 20, 3600), ("hadoop1", 5, 100)], "in file order");
    let targets: Vec<_> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(targets, ["warehouse", "web"]);
    let routes: Vec<_> = plan.routes.iter().map(|route| route.to_string()).collect();
    assert_eq!(
        routes,
        [
            "result-output/presto/warehouse/append",
            "result-output/presto/web/append",
            "result-output/hadoop1/warehouse/append",
            "result-output/hadoop1/web/append"
        ]
    );
    let labels: Vec<_> = plan.routes[3].labels.iter().collect();
    assert_eq!(
        labels,
        [("worker", "v5"), ("engine", "none"), ("cluster", "hadoop1"), ("region", "us")],
        "in file order"
    );
}

#[test]
fn everything_may_stand_in_one_file_and_almost_everything_may_be_left_out() {
    let text = PROBE
        .replace("../", "")
        .lines()
        .filter(|line| !["modes", "objective", "deadline", "sample"].iter().any(|key| line.starts_with(key)))
        .fold(String::new(), |text, line| text + line + "\n");
    let folder = folder(&[
        ("landfall.toml", &text),
        ("td.key", "1/ab"),
        ("warehouse.url", "postgresql://landfall@127.0.0.1/landfall"),
    ]);
    let plan = load(&folder.path().join("landfall.toml")).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    assert_eq!((plan.agent.name.as_str(), plan.agent.listen.to_string().as_str()), ("landfall", "127.0.0.1:9440"));
    let canary = &plan.canaries[0];
    assert_eq!((canary.objective.as_secs(), canary.deadline.as_secs(), canary.sample.rows), (120, 300, 20));
    assert!(plan.routes.iter().all(|route| route.mode == Mode::Append));
}

#[test]
fn impossible_modes_are_skipped_if_the_canary_says_so() {
    let probe = PROBE.replace("[\"append\"]", "[\"append\", \"replace\"]\nskip_impossible = true");
    let folder = designed();
    fs::write(folder.path().join("probes/td.toml"), probe).expect("written");
    let plan = load(&folder.path().join("landfall.toml")).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    let of = |target: &str| plan.routes.iter().filter(|route| route.target.as_str() == target).count();
    assert_eq!((of("warehouse"), of("web")), (4, 2));
}

#[test]
fn without_secrets_none_is_read_but_the_rest_is_checked() {
    let folder = designed();
    fs::remove_file(folder.path().join("token")).expect("removed");
    fs::remove_file(folder.path().join("td.key")).expect("removed");
    let options = Options { without_secrets: true, now: NOW };
    let path = folder.path().join("landfall.toml");
    assert!(load_with(&path, options).is_ok());
    assert_eq!(load(&path).expect_err("secrets are gone").len(), 3);
    fs::write(folder.path().join("probes/td.toml"), PROBE.replace("{ file = \"../td.key\" }", "{}")).expect("written");
    assert_eq!(load_with(&path, options).expect_err("no secret named").len(), 2);
}

#[test]
fn files_that_are_not_text_or_far_too_large_are_refused_at_once() {
    let folder = designed();
    let path = folder.path().join("landfall.toml");
    let first = |path: &Path| load(path).expect_err("refused").remove(0);
    fs::write(&path, b"[agent]\nname = \"\xff\"").expect("written");
    assert_eq!((first(&path).place, first(&path).what.as_str()), (Some((2, 9)), "is not UTF-8 from here on"));
    fs::write(&path, "#".repeat(1_000_001)).expect("written");
    assert_eq!((first(&path).place, first(&path).what.as_str()), (None, "is larger than 1 MB"));
    assert_eq!(first(&folder.path().join("absent.toml")).what, "cannot be read: no such file or directory");
    assert_eq!(first(folder.path()).what, "cannot be read: is a directory");
    fs::write(&path, MAIN).expect("written");
    fs::create_dir(folder.path().join("probes/folder.toml")).expect("made");
    assert_eq!(first(&path).file, folder.path().join("probes/folder.toml"));
}

#[test]
fn a_plan_that_is_printed_shows_no_secret() {
    let folder = designed();
    let main = MAIN.replace("\"http://proxy.example.com:3128\"", "{ file = \"proxy\" }");
    fs::write(folder.path().join("landfall.toml"), main).expect("written");
    fs::write(folder.path().join("proxy"), "http://landfall:hunter2@proxy.example.com:3128").expect("written");
    let plan = load(&folder.path().join("landfall.toml")).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
    let printed = format!("{plan:?}");
    assert!(printed.contains("proxy.example.com"));
    for secret in ["hunter2", "t0ken", "0123456789abcdef0123"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}

/// The probes that ship are for a real account; all of them together make one plan.
#[test]
fn the_probes_that_ship_load_together_and_keep_six_minutes() {
    let folder = folder(&[("landfall.toml", "[agent]\ndetect_within = \"6m\"\n")]);
    fs::create_dir(folder.path().join("probes")).expect("made");
    for entry in fs::read_dir("probes").expect("the folder of probes") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            fs::copy(&path, folder.path().join("probes").join(path.file_name().expect("a file"))).expect("copied");
        }
    }
    let said = check(&folder.path().join("landfall.toml"), &["--no-secrets", "--format", "json"]);
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "", "no warnings");
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let platforms: Vec<_> = said["routes"].as_array().expect("routes").iter().map(|route| &route["platform"]).collect();
    assert_eq!(
        platforms,
        [
            "hadoop1",
            "hadoop2",
            "hiveserver2",
            "jobs",
            "presto-selfhosted",
            "presto",
            "spark-thrift",
            "trino",
            // Those that report.
            "presto",
            "hadoop1",
            "hadoop2"
        ]
    );
    assert_eq!(said["runs_per_day"], 8 * 1440 + 3 * 288);
}

fn check(config: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.arg("check").arg("-c").arg(config).args(more).env_remove("RUST_LOG").output().expect("it runs")
}

const SMALL: &str = r#"
[agent]
detect_within = "6m"
[platform.presto]
labels = { worker = "v5", engine = "presto" }
[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:1"
api_key = { file = "td.key" }
database = "landfall"
engine = "presto"
[target.web.webhook]
[canary.result-output]
platforms = ["presto"]
targets = ["web"]
every = "1m"
"#;

#[test]
fn check_says_for_each_route_what_it_costs_and_how_soon_it_pages() {
    let folder = folder(&[("landfall.toml", SMALL), ("td.key", "1/ab")]);
    let path = folder.path().join("landfall.toml");
    let said = check(&path, &["--format", "json"]);
    assert_eq!(said.status.code(), Some(0));
    let mut json: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let power = json.as_object_mut().and_then(|json| json.remove("power")).expect("a list");
    // Of one route no label can be suspected rather than another.
    assert_eq!((power.as_array().map(Vec::len), &power[0]["labels"]), (Some(1), &serde_json::json!({})));
    assert_eq!(
        json,
        serde_json::json!({
            "routes": [{
                "canary": "result-output", "platform": "presto", "target": "web", "mode": "append",
                "labels": { "worker": "v5", "engine": "presto" },
                // 60 until the next run, 120 objective, 5 control, 120 of the confirming run, 5 to tell.
                "runs_per_day": 1440, "worst_detection_s": 310,
            }],
            "runs_per_day": 1440, "detect_within_s": 360, "ok": true,
        })
    );
    let table = String::from_utf8(check(&path, &[]).stdout).expect("UTF-8");
    assert!(table.contains("5m10s") && table.contains("worker=v5 engine=presto"), "{table}");
}

/// Two platforms, two targets.
const TWO: &str = r#"
[agent]
[platform.presto]
labels = { worker = "v5" }
[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:1"
api_key = { file = "td.key" }
database = "landfall"
engine = "presto"
[platform.hive]
labels = { worker = "v6" }
[platform.hive.treasure-data]
endpoint = "http://127.0.0.1:1"
api_key = { file = "td.key" }
database = "landfall"
engine = "hive"
[target.web.webhook]
[target.more.webhook]
[canary.result-output]
platforms = ["presto", "hive"]
targets = ["web", "more"]
every = "1m"
"#;

#[test]
fn check_says_for_each_suspect_how_long_a_fault_of_each_share_stays_unnoticed() {
    let power = |text: &str, more: &[&str]| {
        let folder = folder(&[("landfall.toml", text), ("td.key", "1/ab")]);
        let said = check(&folder.path().join("landfall.toml"), &[&["--format", "json"], more].concat());
        let json: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
        (said.status.code(), json)
    };
    let (code, usual) = power(TWO, &[]);
    assert_eq!((code, &usual["ok"], usual.get("objectives")), (Some(0), &true.into(), None));
    let suspects = usual["power"].as_array().expect("a list");
    let labels: Vec<_> = suspects.iter().map(|suspect| suspect["labels"].to_string()).collect();
    assert_eq!(labels, [r#"{"worker":"v5"}"#, r#"{"worker":"v6"}"#, r#"{"target":"web"}"#, r#"{"target":"more"}"#]);
    assert_eq!(
        (&suspects[0]["also"], &suspects[0]["routes"], &suspects[0]["runs_per_hour"]),
        (&serde_json::json!([{ "labels": { "platform": "presto" } }]), &2.into(), &120.into())
    );
    let seconds = |json: &serde_json::Value, nth: usize, name: &str| json["power"][0]["shares"][nth][name].as_f64();
    let shares: Vec<_> = (0..5).map(|nth| seconds(&usual, nth, "share").expect("a share")).collect();
    assert_eq!(shares, [1.0, 0.1, 0.01, 0.001, 0.000_1]);
    // Of two runs a minute one in a hundred: the first that is lost, and then its deadline.
    let median = seconds(&usual, 2, "median_s").expect("a time");
    assert!((2_000.0..2_500.0).contains(&median), "{median}");
    for (text, more) in [(TWO.replace("\"1m\"", "\"30s\""), &[][..]), (TWO.to_owned(), &["--job-time", "4s,15s"])] {
        let (_, better) = power(&text, more);
        assert!(seconds(&better, 0, "p95_s") < seconds(&usual, 0, "p95_s"), "{better}");
    }

    // What a shorter interval buys is what it would say if it were so; what it says of what is stays.
    let (code, what_if) = power(TWO, &["--what-if", "every=30s"]);
    let (_, edited) = power(&TWO.replace("\"1m\"", "\"30s\""), &[]);
    assert_eq!((code, &what_if["what_if"]["every_s"]), (Some(0), &30.into()));
    for (told, wanted) in [(&what_if, &usual), (&what_if["what_if"], &edited)] {
        for nth in 0..5 {
            // Where in a minute it is asked is seen in the first digits after the point.
            let times = [told, wanted].map(|json| seconds(json, nth, "p95_s").expect("a time"));
            assert!((times[0] / times[1] - 1.0).abs() < 0.02, "{times:?}");
        }
    }

    // What is asked of a share.
    let (code, asked) = power(TWO, &["--objective", "0.5%=1d", "--objective", "1%=1h"]);
    assert_eq!((code, &asked["ok"]), (Some(1), &false.into()));
    assert_eq!(
        (&asked["objectives"][0], &asked["objectives"][1]["ok"], &asked["objectives"][1]["missed_by"][0]),
        (
            &serde_json::json!({ "share": 0.005, "within_s": 86_400, "ok": true, "missed_by": [] }),
            &false.into(),
            &serde_json::json!({ "worker": "v5" })
        )
    );
    assert_eq!(power(TWO, &["--objective", "100%=3m", "--objective", "1%=1d"]).0, Some(0));
}

#[test]
fn check_shows_people_what_is_asked_of_shares_and_refuses_what_it_cannot_read() {
    let folder = folder(&[("landfall.toml", TWO), ("td.key", "1/ab")]);
    let path = folder.path().join("landfall.toml");
    let said = check(&path, &["--objective", "1%=1h", "--objective", "100%=3m", "--job-time", "hive=30s,2m"]);
    let table = String::from_utf8(said.stdout).expect("UTF-8");
    assert_eq!(said.status.code(), Some(1), "{table}");
    for part in ["SUSPECT    ", "100%", "0.01%", " !", "30s in the median, 2m at 99 % on hive"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(table.contains("a fault of 100% is noticed within 3m in 95 of a hundred cases\n"), "{table}");
    assert!(table.contains("a fault of 1% is not noticed within 1h in 95"), "{table}");
    for (more, hint) in [
        (["--objective", "1=12h"], "1%=12h"),
        (["--objective", "1%=0s"], "1%=12h"),
        (["--job-time", "4s,"], "4s alone"),
        (["--job-time=hive=4s", "--job-time=hive=5s"], "platform `hive` has two"),
        (["--what-if", "30s"], "every=30s"),
        (["--objective", "1%=12"], "no unit"),
        (["--job-time", "spark=4s"], "there is no platform `spark`"),
        (["--job-time", "20s,10s"], "no shorter"),
    ] {
        let said = check(&path, &more);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0), "{more:?}: {told}");
        assert!(told.contains(hint), "{more:?}: {told}");
    }
}

#[test]
fn check_answers_no_if_a_route_would_page_too_late() {
    let folder = folder(&[("landfall.toml", &SMALL.replace("\"1m\"", "\"2m\"")), ("td.key", "1/ab")]);
    let said = check(&folder.path().join("landfall.toml"), &["--format", "json"]);
    assert_eq!(said.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&json["ok"], &json["routes"][0]["worst_detection_s"]), (&false.into(), &370.into()));
}

#[test]
fn check_warns_of_a_cap_below_what_its_routes_need() {
    let text = SMALL.replace("[platform.presto]", "[platform.presto]\nper_hour = 50");
    let folder = folder(&[("landfall.toml", &text), ("td.key", "1/ab")]);
    let said = check(&folder.path().join("landfall.toml"), &[]);
    assert_eq!(said.status.code(), Some(0));
    let warning = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        warning.contains("platform `presto` may begin 50 runs an hour (per_hour), its routes need 60"),
        "{warning}"
    );
}

#[test]
fn check_tells_every_mistake_on_stderr_and_answers_usage() {
    let folder = folder(&[("landfall.toml", &SMALL.replace("every", "evry")), ("td.key", "1/ab")]);
    let said = check(&folder.path().join("landfall.toml"), &["--format", "json"]);
    assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(2), b"".as_slice()));
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(told.contains(":15:1: unknown key `evry`\n  hint: did you mean `every`?\n"), "{told}");
    assert!(!told.contains("no schedule"), "what was mistyped is not missing too: {told}");
}

#[test]
fn check_live_cannot_tell_if_nobody_answers() {
    let folder = folder(&[("landfall.toml", SMALL), ("td.key", "1/ab")]);
    let said = check(&folder.path().join("landfall.toml"), &["--live", "--format", "json"]);
    assert_eq!(said.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&json["live"][0]["name"], &json["live"][0]["state"]), (&"presto".into(), &"not heard".into()));
    assert_eq!((&json["live"][1]["name"], &json["live"][1]["state"]), (&"web".into(), &"not tried".into()));
}

/// Bytes of good and broken configs, changed, cut, doubled and spliced: any answer but a panic.
#[test]
fn no_text_makes_it_panic() {
    let mut corpus = vec![MAIN.to_owned(), PROBE.replace("../", "")];
    corpus.push(corpus.concat());
    corpus.extend(bad().iter().filter_map(|(config, _)| fs::read_to_string(config).ok()));
    let folder = designed();
    fs::remove_dir_all(folder.path().join("probes")).expect("removed");
    let path = folder.path().join("landfall.toml");
    let bytes = b"\"'[]{}=.,#\n\r\0 \\-+_:0159aeinftuxTZ\x7f\x80\xc3\xff*/?";
    let mut dice = fastrand::Rng::with_seed(2015);
    for _ in 0..1000 {
        let mut text = corpus[dice.usize(..corpus.len())].clone().into_bytes();
        for _ in 0..dice.usize(1..6) {
            if text.is_empty() {
                break;
            }
            let at = dice.usize(..text.len());
            let till = (at + dice.usize(..40)).min(text.len());
            match dice.u8(..5) {
                0 => text[at] = bytes[dice.usize(..bytes.len())],
                1 => text.insert(at, bytes[dice.usize(..bytes.len())]),
                2 => drop(text.drain(at..till)),
                3 => text.extend_from_within(at..till),
                _ => {
                    let other = corpus[dice.usize(..corpus.len())].as_bytes();
                    let from = dice.usize(..other.len());
                    let piece = &other[from..(from + dice.usize(..40)).min(other.len())];
                    text.splice(at..till, piece.iter().copied());
                }
            }
        }
        fs::write(&path, &text).expect("written");
        if let Err(problems) = load(&path) {
            assert!(!problems.is_empty() && problems.len() < 1000);
            assert!(problems.iter().all(|problem| !problem.to_string().contains("0123456789abcdef")));
        }
    }
}

/// Cron expressions are parsed by a crate of others: nothing written there may take it down either.
#[test]
fn no_cron_expression_makes_it_panic() {
    let mut dice = fastrand::Rng::with_seed(2015);
    let words = [
        "*",
        "*/5",
        "*/0",
        "0/0",
        "5-1",
        "1-5",
        "60",
        "99999999999",
        "2099",
        "MON",
        "JAN",
        "?",
        "L",
        ",",
        "-",
        "1,2,3",
        "/",
    ];
    for _ in 0..3000 {
        let fields = dice.usize(4..8);
        let text: Vec<&str> = (0..fields).map(|_| words[dice.usize(..words.len())]).collect();
        if let Ok(schedule) = Schedule::cron(&text.join(" "), "Europe/Berlin", NOW) {
            let _ = schedule.longest_gap(NOW);
        }
    }
    assert!(Schedule::cron("*/0 * * * *", "UTC", NOW).is_err());
}

#[test]
fn the_public_page_is_shown_only_where_it_is_wanted() {
    let public = |web: &str| {
        let kind = "endpoint = \"https://api.treasuredata.com\"\napi_key = { file = \"td.key\" }\ndatabase = \"landfall\"\nengine = \"hive\"";
        let rest = "[target.web.webhook]\n[canary.c]\nplatforms = [\"p\"]\ntargets = [\"web\"]\nevery = \"1m\"";
        let text = format!("{web}\n[platform.p.treasure-data]\n{kind}\n{rest}\n");
        let folder = folder(&[("landfall.toml", text.as_str()), ("td.key", "1/0123456789")]);
        let plan = load(&folder.path().join("landfall.toml")).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
        plan.agent.public.map(|public| (public.title, public.listen.map(|listen| listen.to_string())))
    };
    assert_eq!(public(""), None);
    assert_eq!(public("[web]"), None);
    assert_eq!(public("[web]\npublic = false"), None);
    assert_eq!(public("[web]\npublic = true"), Some(("Result Output".to_owned(), None)));
    let own = "[web]\npublic = true\ntitle = \"Exports\"\nlisten = \"0.0.0.0:9442\"";
    assert_eq!(public(own), Some(("Exports".to_owned(), Some("0.0.0.0:9442".to_owned()))));
}

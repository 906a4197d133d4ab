//! `landfall coverage`: the real binary, beside a sandbox whose customers use what no route covers.

use std::{fs, time::Duration};

use landfall::{
    agent::{
        coverage::{account_of, compare},
        lifecycle::OpenPlan,
    },
    canary::{Mode, Timestamp},
    cli::kinds,
    detect::coverage::{Fields, Survey, Watch, Way},
    target::webhook::Intake,
};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::fixtures::daemon::Watched;

/// Somebody who works on the sandbox's platform with an account's key.
struct Customer<'a> {
    watched: &'a Watched,
    key: String,
}

impl<'a> Customer<'a> {
    fn of(watched: &'a Watched, account: u32) -> Self {
        let key = fs::read_to_string(watched.file(&format!("secrets/account{account}.key"))).expect("a key");
        Self { watched, key }
    }

    async fn call(&self, path: &str, form: &[(&str, &str)]) -> Json {
        let client = landfall::http::Wire::default().client().expect("a client");
        let url = format!("{}/v3/{path}", self.watched.platform);
        let request = client.post(url).header("Authorization", format!("TD1 {}", self.key)).form(form);
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Submits a query whose result goes there.
    async fn query(&self, engine: &str, result: &str) {
        let form = [("query", "SELECT 1 AS one"), ("result", result)];
        self.call(&format!("job/issue/{engine}/landfall"), &form).await;
    }
}

/// Where the platform writes into the sandbox's bucket.
fn bucket(watched: &Watched, mode: &str) -> String {
    let probe = fs::read_to_string(watched.file("probes/sandbox.toml")).expect("a probe");
    let probe: toml::Table = probe.parse().expect("TOML");
    let table = &probe["target"]["bucket"]["object-store"];
    let text = |key: &str| table[key].as_str().expect("a text").to_owned();
    let secret = fs::read_to_string(watched.file("secrets/bucket-platform.secret")).expect("a secret");
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    format!(
        "s3://{}:{}@/{}/reports/daily.csv?endpoint={}&region={}&mode={mode}",
        encoded(&text("result_access_key_id")),
        encoded(&secret),
        text("bucket"),
        encoded(&text("endpoint")),
        text("region"),
    )
}

/// Nobody listens there: that jobs fail makes them no less used.
const WAREHOUSE: &str = "postgresql://reports:secret@127.0.0.1:9/shop/daily";

/// `landfall coverage --format json`: exit code and answer.
fn coverage(watched: &Watched, more: &[&str]) -> (i32, Json) {
    let (code, said) = watched.command(&[&["coverage", "--format", "json"], more].concat());
    let answer = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no answer: {said}"));
    let answer: Json = serde_json::from_str(answer).expect("JSON");
    assert_eq!(answer["exit_code"], code, "{answer:#}");
    (code, answer)
}

/// Ways that stand so, as `platform engine kind mode jobs`.
fn ways(answer: &Json, watch: &str) -> Vec<String> {
    let ways = answer["ways"].as_array().expect("ways");
    let line = |way: &Json| {
        let text = |key: &str| way[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {} {}", text("platform"), text("engine"), text("target_kind"), text("mode"), way["jobs"])
    };
    ways.iter().filter(|way| way["watch"] == watch).map(line).collect()
}

async fn reload(watched: &Watched) {
    let url = format!("{}/-/reload", watched.agent);
    let (status, text) = watched.ask(Method::POST, &url, Some(&watched.token()), None).await;
    assert!(status.is_success(), "{status} {text}");
}

/// The series of gaps, without the metric's name.
async fn gap_series(watched: &Watched) -> Vec<String> {
    let metrics = watched.metrics().await;
    metrics.lines().filter_map(|line| line.strip_prefix("landfall_coverage_gap")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_customers_use_and_no_route_covers_is_reported_and_closed_by_the_toml_that_comes_with_it() {
    // What the answer will ask to be filled in.
    let warehouse = "postgresql://landfall@127.0.0.1:9/shop";
    let filled =
        ["POSTGRESQL_URL", "POSTGRESQL_RESULT_URL"].map(|name| (format!("LANDFALL_{name}"), warehouse.to_owned()));
    let watched = Watched::start_with(|probes| probes, "", filled.to_vec()).await;
    watched.landed(1).await;
    let (code, before) = coverage(&watched, &["--fail-on-gap"]);
    assert_eq!((code, ways(&before, "gap").len(), &before["toml"]), (0, 0, &Json::Null), "{before:#}");

    let (one, two) = (Customer::of(&watched, 1), Customer::of(&watched, 2));
    for _ in 0..3 {
        one.query("presto", &bucket(&watched, "replace")).await;
    }
    one.query("presto", &bucket(&watched, "append")).await;
    for _ in 0..2 {
        two.query("hive", &format!("{WAREHOUSE}?mode=replace")).await;
    }
    let schedule = [
        ("type", "hive"),
        ("cron", "@daily"),
        ("query", "SELECT 1 AS one"),
        ("database", "landfall"),
        ("result", WAREHOUSE),
    ];
    one.call("schedule/create/nightly", &schedule).await;
    one.call("result/create/board", &[("url", "tableau://ann:secret@127.0.0.1/board")]).await;

    let (code, gaps) = coverage(&watched, &[]);
    let wanted = [
        "presto presto object-store replace 3",
        "hadoop2 hive postgresql replace 2",
        "hadoop1 hive postgresql append 0",
    ];
    assert_eq!((code, ways(&gaps, "gap")), (0, wanted.map(str::to_owned).to_vec()), "{gaps:#}");
    assert_eq!(ways(&gaps, "covered"), ["presto presto object-store append 1"], "{gaps:#}");
    assert_eq!(ways(&gaps, "unused"), ["presto  - - 0"], "{gaps:#}");
    assert!(!gaps.to_string().contains("secret@"), "{gaps:#}");
    assert_eq!(coverage(&watched, &["--fail-on-gap"]).0, 1);
    assert_eq!(
        gap_series(&watched).await,
        [
            r#"{platform="presto",engine="presto",target_kind="object-store",mode="replace"} 3"#,
            r#"{platform="hadoop2",engine="hive",target_kind="postgresql",mode="replace"} 2"#,
            r#"{platform="hadoop1",engine="hive",target_kind="postgresql",mode="append"} 0"#,
        ]
    );
    let (_, text) = watched.command(&["coverage"]);
    assert!(text.starts_with("in the last 30d: gaps 3, of which can be closed 3; covered 1\n"), "{text}");
    assert!(text.contains("\n[canary.covers-presto-bucket-replace]\nplatforms = [\"presto\"]\n"), "{text}");

    // The first closes by itself, as it is.
    let first = gaps["ways"][0]["toml"].as_str().expect("TOML");
    fs::write(watched.file("probes/first.toml"), first).expect("written");
    let (code, said, err) = watched.on_config(&["check", "--no-secrets"]).await;
    assert_eq!(code, 0, "{said}{err}");
    reload(&watched).await;
    assert_eq!(gap_series(&watched).await.len(), 2, "held against the new config without asking again");
    let (_, closing) = coverage(&watched, &[]);
    assert_eq!(ways(&closing, "gap"), wanted[1..].to_vec(), "{closing:#}");

    // All that are left, in one file.
    let (_, rest) = watched.command(&["coverage", "--format", "toml"]);
    // How far it is goes to stderr.
    let rest = rest.split_once("reading customers' jobs").map_or(&*rest, |(toml, _)| toml);
    fs::write(watched.file("probes/rest.toml"), rest).expect("written");
    let (code, said, err) = watched.on_config(&["check", "--no-secrets"]).await;
    assert_eq!(code, 0, "{said}{err}");
    reload(&watched).await;
    let (code, after) = coverage(&watched, &["--fail-on-gap"]);
    assert_eq!((code, ways(&after, "gap").len()), (0, 0), "{after:#}");
    assert_eq!(gap_series(&watched).await, [] as [&str; 0]);
    // And it is watched: the route that closes the first gap lands.
    let landed = async |w: &Watched| {
        let routes = w.list("routes").await?;
        let route = routes.iter().find(|route| route["canary"] == "covers-presto-bucket-replace")?;
        (route["outcome"] == "landed").then_some(())
    };
    watched.until("the new route has landed", Duration::from_secs(60), landed).await;
}

#[tokio::test]
async fn a_platform_that_cannot_be_asked_is_no_answer_and_a_gap_elsewhere_still_a_no() {
    let watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    watched.inject(&json!({ "kind": "api-error", "status": 403, "where": { "cluster": "hadoop2" } })).await;
    let (code, answer) = coverage(&watched, &["--fail-on-gap"]);
    let unheard = answer["unheard"].as_array().expect("a list");
    assert_eq!((code, unheard.len(), &unheard[0]["platform"]), (3, 1, &json!("hadoop2")), "{answer:#}");
    Customer::of(&watched, 1).query("presto", WAREHOUSE).await;
    assert_eq!(coverage(&watched, &["--fail-on-gap"]).0, 1);
    assert_eq!(coverage(&watched, &[]).0, 3);
}

#[tokio::test]
async fn only_who_has_the_token_has_the_platforms_asked() {
    let watched = Watched::start(|probes| probes).await;
    let url = format!("{}/api/v1/coverage", watched.agent);
    let (status, _) = watched.ask(Method::POST, &url, None, Some(json!({}))).await;
    assert_eq!(status, 401);
    for bad in [json!({ "within_seconds": 1 }), json!({ "within_seconds": -1 }), json!({ "within": "1d" }), json!("x")]
    {
        let (status, text) = watched.ask(Method::POST, &url, Some(&watched.token()), Some(bad.clone())).await;
        assert!((400..=422).contains(&status.as_u16()), "{bad}: {status} {text}");
    }
    let (status, text) = watched.ask(Method::GET, &format!("{url}/nothing"), None, None).await;
    assert_eq!(status, 404, "{text}");
    for bad in ["0s", "367d", "soon"] {
        let (code, said) = watched.command(&["coverage", "--within", bad]);
        assert_eq!(code, 2, "{bad}: {said}");
    }
}

/// A config with two platforms of one account, and a plan of it with what else is in the folder of probes.
fn plan(folder: &TempDir) -> OpenPlan {
    kinds::load(&folder.path().join("landfall.toml"), &Intake::new(), true).unwrap_or_else(|problems| {
        let closing = fs::read_to_string(folder.path().join("probes/closing.toml")).unwrap_or_default();
        panic!("{}\n{closing}", kinds::text(&problems))
    })
}

#[test]
fn whatever_kind_of_target_is_missing_what_closes_the_gap_loads_and_closes_it() {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("probes")).expect("a folder");
    let config = r#"
        [platform.hadoop1.treasure-data]
        endpoint = "https://api.treasuredata.com"
        api_key  = { env = "TD_KEY" }
        database = "landfall"
        engine   = "hive"
        [target.web.webhook]
        [canary.result-output]
        platforms = ["hadoop1"]
        targets   = ["web"]
        every     = "90s"
    "#;
    fs::write(folder.path().join("landfall.toml"), config).expect("written");
    let now = Timestamp::from_secs(1_790_000_000);
    let before = plan(&folder);
    let driver = &before.platforms[0];
    let account = account_of(&driver.name, driver.driver.past().expect("it remembers"));
    let mut survey = Survey::new(now, Duration::from_secs(30 * 24 * 3600));
    let schemes = ["postgresql", "mysql", "s3", "sftp", "td", "web", "webs"];
    for engine in ["hive", "presto", "trino"] {
        for (scheme, mode) in schemes.iter().flat_map(|scheme| Mode::ALL.map(|mode| (scheme, mode))) {
            for version in [None, Some("350".to_owned())] {
                let fields: Fields = [Some(engine.to_owned()), version, None];
                let way = Way { account, fields, scheme: (*scheme).to_owned(), mode: Some(mode) };
                survey.job(way, Some(now), false, None);
            }
        }
    }
    let found = compare(&before, &survey, now);
    let closable = found.gaps().filter(|gap| gap.can_close()).count();
    // Three engines in two versions: PostgreSQL and MySQL in four modes, S3, SFTP and TD in two, the web in one,
    // of which one is covered.
    assert_eq!(closable, 6 * (4 + 4 + 2 + 2 + 2 + 1) - 1, "{found:#?}");
    let write = |text: &str| fs::write(folder.path().join("probes/closing.toml"), text).expect("written");
    for gap in found.gaps().filter(|gap| gap.can_close()) {
        write(gap.toml.as_deref().expect("closable"));
        let after = compare(&plan(&folder), &survey, now);
        let same = after.ways.iter().find(|way| {
            let of = |way: &landfall::detect::coverage::Line| {
                (way.engine.clone(), way.engine_version.clone(), way.target_kind.clone(), way.mode)
            };
            of(way) == of(gap)
        });
        assert_eq!(same.map(|way| way.watch), Some(Watch::Covered), "{gap:#?}");
        assert_eq!(after.gaps().filter(|gap| gap.can_close()).count(), closable - 1, "{gap:#?}");
    }
    write(found.toml.as_deref().expect("closable"));
    let after = compare(&plan(&folder), &survey, now);
    assert_eq!(after.gaps().filter(|gap| gap.can_close()).count(), 0, "{after:#?}");
    assert_eq!(after.ways.len(), found.ways.len());
}

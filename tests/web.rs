//! The agent's doors, over real sockets: what they answer, and what they refuse.

#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod live;
mod overview;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use landfall::{
    canary::{
        ByHand, CanaryName, Claim, Evidence, LabelName, Labels, Look, Maintenance, Marker, Mode, NotifierName, Outcome,
        Pause, Phase, PlatformName, Route, Rows, Run, Sample, Secret, Selector, Sighting, Silence, TargetName, Terms,
        Timestamp, Verdict, Why,
    },
    detect::{AgentHealth, Board, Deploy, Incident, IncidentId, Onset, Severity, Step},
    metrics::{BuildInfo, Metrics},
    store::{Holding, Letter, Opening, Settlement, Store, memory::Memory},
    target::webhook::Intake,
    web::{Accounts, Clear, Declined, Doors, Hosts, Kept, Links, Order, Read, intake_router, router, serve},
};
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
};

use crate::fixtures::strangers;

const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);
const TOKEN: &str = "a-token";
/// The one script that pages have.
const OUR_SCRIPT: &str = "<script src=\"/live.js\" defer></script>";
const EVIL: &str = "<script>alert(\"x\")</script>&'";

/// A server over a ledger in memory: no agent stands behind it. It ends with the value.
pub(crate) struct House {
    address: SocketAddr,
    client: Client,
    orders: Arc<Mutex<Vec<String>>>,
    runs: Vec<Run>,
    incident: Incident,
    doors: Doors,
    /// What the board is, and how it is changed.
    show: watch::Sender<Arc<Board>>,
    stop: Option<oneshot::Sender<()>>,
}

/// What a house shows.
pub(crate) struct Scene {
    /// Of these routes.
    pub(crate) routes: Vec<Arc<Route>>,
    /// Runs, all of which were begun.
    pub(crate) runs: Vec<Run>,
    /// What became of them, oldest first.
    pub(crate) verdicts: Vec<Verdict>,
    /// Incidents that people were told of. The first is the house's own.
    pub(crate) incidents: Vec<Incident>,
    /// One that they were not.
    pub(crate) untold: Option<Incident>,
    /// Deploys, oldest first.
    pub(crate) deploys: Vec<Deploy>,
    /// What is silenced and paused.
    pub(crate) maintenance: Maintenance,
    /// Who was told, and who was not.
    pub(crate) letters: Vec<Opening>,
    /// How the agent itself is.
    pub(crate) health: AgentHealth,
}

/// One red and one green route, and an incident.
fn scene() -> Scene {
    let routes = [route("hadoop1", "v5"), route("hadoop2", "v6")];
    let runs = routes.clone().map(|route| run(&route));
    let incident = incident(&runs[0]);
    Scene {
        verdicts: vec![verdict(&runs[0], Outcome::Lost), verdict(&runs[1], Outcome::Landed)],
        untold: Some(Incident { id: IncidentId::typed("inc-untold"), detected_at: None, ..incident.clone() }),
        deploys: vec![Deploy { service: "worker".into(), version: "v6".into(), at: at(-100) }],
        maintenance: maintenance(),
        letters: vec![opening(&incident)],
        health: AgentHealth { store_up: true, ..AgentHealth::default() },
        incidents: vec![incident],
        routes: routes.into(),
        runs: runs.into(),
    }
}

/// So many seconds after what a house calls now.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000)
}

fn route(platform: &str, worker: &str) -> Arc<Route> {
    let labels =
        [("worker", worker), ("engine", "hive")].map(|(name, value)| (LabelName::new(name).unwrap(), value.into()));
    Arc::new(Route::new(
        CanaryName::new("result-output").unwrap(),
        PlatformName::new(platform).unwrap(),
        TargetName::new("web").unwrap(),
        Mode::Append,
        Labels::new(labels),
    ))
}

pub(crate) fn run(route: &Arc<Route>) -> Run {
    Run {
        marker: Marker::mint(at(-60), u128::from(route.id.0)),
        route: route.clone(),
        terms: Terms { due: at(-60), objective: Duration::from_secs(120), deadline: Duration::from_secs(300) },
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    }
}

fn verdict(run: &Run, outcome: Outcome) -> Verdict {
    let mut evidence = Evidence { submitted_at: Some(at(-60)), accepted_at: Some(at(-59)), ..Evidence::default() };
    evidence.heard(Claim::Done { rows: Some(20) }, at(-55));
    evidence.jobs = vec![EVIL.to_owned()];
    let rows = if outcome == Outcome::Landed { Rows::all_right(20) } else { Rows::none(20) };
    evidence.saw(Look { started_at: at(-50), found: Ok(Sighting { rows, ..Sighting::default() }) });
    Verdict {
        run: run.marker,
        route: run.route.id,
        due: run.terms.due,
        why: run.why,
        outcome,
        phase: (outcome != Outcome::Landed).then_some(Phase::Land),
        reason: (outcome != Outcome::Landed).then(|| EVIL.to_owned()),
        also: Vec::new(),
        provisional: outcome != Outcome::Landed,
        seen_late: false,
        agent_away: false,
        at: at(-49),
        evidence: Arc::new(evidence),
    }
}

fn incident(run: &Run) -> Incident {
    let labels = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    Incident {
        id: IncidentId::of(run.marker),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Outcome::Lost.family().unwrap(),
        provisional: true,
        suspects: vec![("worker".into(), "v5".into()), ("engine".into(), EVIL.into())],
        also: vec![labels("platform", "hadoop1")],
        routes: vec![run.route.id],
        unaffected: vec![labels("worker", "v6")],
        onset: Onset { last_good: Some(at(-120)), first_bad: at(-60) },
        deploy: Some(Deploy { service: "worker".into(), version: EVIL.into(), at: at(-100) }),
        opened_at: at(-49),
        detected_at: Some(at(-48)),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: vec![run.marker],
        history: vec![Step { at: at(-48), text: EVIL.to_owned() }],
    }
}

/// Of worker v6, which is green, nobody is paged, and nothing is sent over it.
fn maintenance() -> Maintenance {
    let only: Selector = "worker=v6".parse().unwrap();
    let silence =
        Silence { id: "sil-1".into(), only: only.clone(), from: at(-60), until: at(60), because: EVIL.to_owned() };
    let pause = Pause { only, except: Vec::new(), from: at(-60), until: None, because: Some(EVIL.to_owned()) };
    Maintenance { silences: vec![silence], pauses: vec![pause] }
}

/// Nobody took its page.
fn opening(incident: &Incident) -> Opening {
    let mut opening = Opening::new(incident.id.clone(), incident.opening(), incident.severity);
    let mut letter = Letter::new(NotifierName::new("oncall").unwrap(), "here", None);
    letter.set(incident.severity, Holding::Refused);
    letter.failure = Some(EVIL.to_owned());
    opening.letters.push(letter);
    opening
}

impl House {
    async fn new() -> Self {
        Self::with(Some(TOKEN)).await
    }

    async fn with(token: Option<&str>) -> Self {
        Self::showing(token, |_| {}).await
    }

    /// With a board that is as somebody wants it.
    async fn showing(token: Option<&str>, change: impl FnOnce(&mut Board)) -> Self {
        Self::of(scene(), token, change).await
    }

    /// Of another scene.
    pub(crate) async fn of(scene: Scene, token: Option<&str>, change: impl FnOnce(&mut Board)) -> Self {
        let Scene { routes, runs, verdicts, incidents, untold, deploys, maintenance, letters, health } = scene;
        let store = Arc::new(Memory::new());
        let incident = incidents[0].clone();
        let mut board = Board::default();
        board.watch(&routes);
        verdicts.iter().for_each(|verdict| board.learn(verdict, Duration::from_secs(120)));
        board.incidents = incidents.iter().filter(|incident| incident.is_open()).cloned().map(Arc::new).collect();
        board.agent = health;
        change(&mut board);
        for run in &runs {
            store.begin(run).await.unwrap();
        }
        let incidents = incidents.into_iter().chain(untold).collect();
        store.settle(Settlement { verdicts, incidents, deploys, ..Settlement::default() }).await.unwrap();

        let (ordered, mut to_do) = mpsc::channel(8);
        let orders = Arc::new(Mutex::new(Vec::new()));
        let noted = orders.clone();
        tokio::spawn(async move {
            while let Some(order) = to_do.recv().await {
                let mut noted = noted.lock().unwrap();
                let answered = match order {
                    Order::Silence { silence, reply } => {
                        noted.push(format!(
                            "silence {} {} {} {}",
                            silence.only, silence.from, silence.until, silence.because
                        ));
                        drop(reply.send(Ok(Silence { id: "sil-1".into(), ..silence })));
                        Ok(())
                    }
                    Order::Unsilence { id, reply } => {
                        noted.push(format!("unsilence {id}"));
                        reply.send(Err(Declined::NotFound("there is no such silence".into())))
                    }
                    Order::Pause { pause, reply } => {
                        noted.push(format!("pause {} {:?} {:?}", pause.only, pause.until, pause.because));
                        reply.send(Ok(()))
                    }
                    Order::Resume { only, reply } => {
                        noted.push(format!("resume {only}"));
                        drop(reply.send(Ok(2)));
                        Ok(())
                    }
                    Order::Drill { notifier, reply } => {
                        noted.push(format!("drill {notifier:?}"));
                        drop(reply.send(Err(Declined::Invalid("there is nobody to tell".into()))));
                        Ok(())
                    }
                    Order::ConfirmDrill { code, reply } => {
                        noted.push(format!("confirm {code}"));
                        drop(reply.send(Err(Declined::Invalid("that is not the code".into()))));
                        Ok(())
                    }
                    Order::Deploy { deploy, first, verifying, reply } => {
                        let routes = verifying.iter().flat_map(|verifying| &verifying.0.routes);
                        let verified: String = routes.map(|route| format!(", verify {route}")).collect();
                        let Deploy { service, version, at } = deploy;
                        noted.push(format!("deploy {service} {version} {at} {first}{verified}"));
                        reply.send(Ok(()))
                    }
                    Order::Verify { request, under, reply } => {
                        let routes: Vec<String> = request.routes.iter().map(ToString::to_string).collect();
                        let (rounds, within, strict) = (request.rounds, request.within, request.strict);
                        noted.push(format!("verify {} {rounds} {within:?} {strict}", routes.join(" ")));
                        under.is_at(Clear { clear: 1, bad: 0, of: 2 });
                        reply.send(Ok(()))
                    }
                    Order::Impact { question, asking, reply } => {
                        noted.push(format!(
                            "impact {} {:?} {}",
                            question.incident.id, question.longest_job, question.check
                        ));
                        asking.is_at(Accounts { read: 1, of: 2, ..Accounts::default() });
                        reply.send(Ok(()))
                    }
                    Order::Coverage { within, surveying, reply } => {
                        noted.push(format!("coverage {within:?}"));
                        surveying.is_at(Read { jobs: 3, ..Read::default() });
                        reply.send(Ok(()))
                    }
                    Order::Reload { reply } => {
                        noted.push("reload".to_owned());
                        let refused = Declined::Invalid("landfall.toml:3:1: unknown key `lissten`".to_owned());
                        reply.send(if noted.len() == 1 { Ok(()) } else { Err(refused) })
                    }
                    Order::Resolve { id, because, reply } => {
                        noted.push(format!("resolve {id} {because}"));
                        reply.send(Ok(()))
                    }
                };
                answered.unwrap();
            }
        });
        let metrics = Arc::new(Metrics::new(&BuildInfo { version: "0".into(), revision: String::new() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (show, shown) = watch::channel(Arc::new(board));
        let doors = Doors {
            store,
            metrics,
            board: shown,
            maintenance: watch::channel(Arc::new(maintenance)).1,
            letters: watch::channel(Arc::new(letters)).1,
            orders: ordered,
            token: token.map(Secret::new),
            verifications: Arc::default(),
            surveys: Arc::default(),
            askings: Arc::default(),
            hosts: Hosts::new(address.ip(), ["mon-1.example".to_owned()]),
            agent: EVIL.to_owned(),
            public: Some("Exports".to_owned()),
            now: Arc::new(|| NOW),
            by_hand: Arc::new(|_| ByHand::default()),
            links: Links::default(),
            scheduled_at: Arc::new(|| Some(at(-5))),
        };
        let (stop, stopped) = oneshot::channel();
        let served = router(doors.clone());
        tokio::spawn(async move { serve(listener, served, async { drop(stopped.await) }).await });
        // Nothing of the machine's proxies, and no redirects: what the agent's own clients are.
        let client = landfall::http::Wire::default().client().unwrap();
        Self { address, client, orders, runs, incident, doors, show, stop: Some(stop) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> (StatusCode, String) {
        let mut request = self.client.post(self.url(path)).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }

    /// Sends bytes as they are; answers the status line's number, or none if there was no answer.
    async fn raw(&self, bytes: &[u8]) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while !answer.contains(&b'\n') {
            match stream.read(&mut chunk).await {
                Ok(n) if n > 0 => answer.extend(&chunk[..n]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }
}

#[tokio::test]
async fn routes_are_told_as_they_stand() {
    let house = House::new().await;
    let expected = json!({ "routes": [
        { "canary": "result-output", "platform": "hadoop1", "target": "web", "mode": "append",
          "labels": { "worker": "v5", "engine": "hive" }, "outcome": "lost", "up": false,
          "last_landed_at": null, "last_verdict_at": "2015-08-24T21:43:11.000Z", "run_id": house.runs[0].marker, "paused": false },
        { "canary": "result-output", "platform": "hadoop2", "target": "web", "mode": "append",
          "labels": { "worker": "v6", "engine": "hive" }, "outcome": "landed", "up": true,
          "last_landed_at": "2015-08-24T21:43:10.000Z", "last_verdict_at": "2015-08-24T21:43:11.000Z",
          "run_id": house.runs[1].marker, "paused": true },
    ] });
    assert_eq!(house.json("/api/v1/routes").await, expected);
    let (_, text) = house.get("/api/v1/routes").await;
    assert!(text.contains(r#""labels":{"worker":"v5","engine":"hive"}"#), "labels keep the order of the file: {text}");
}

#[tokio::test]
async fn everything_is_summed_up_in_one_sentence() {
    let house = House::new().await;
    let text = format!(
        "Result Output is silently lost on worker=v5 engine={EVIL} since 21:43 UTC (not final yet), no route fine, 1 paused"
    );
    assert_eq!(house.json("/api/v1/summary").await, json!({ "summary": { "state": "red", "text": text } }));
}

#[tokio::test]
async fn incidents_are_told_once_they_were_told_to_people() {
    let house = House::new().await;
    let shape = json!({
        "id": house.incident.id.as_str(), "severity": "critical", "outcome": "lost", "provisional": true,
        "suspects": { "worker": "v5", "engine": EVIL }, "also": [{ "labels": { "platform": "hadoop1" } }],
        "routes": [{ "canary": "result-output", "platform": "hadoop1", "target": "web", "mode": "append" }],
        "unaffected": [{ "labels": { "worker": "v6" } }],
        "onset": { "last_good": "2015-08-24T21:42:00.000Z", "first_bad": "2015-08-24T21:43:00.000Z" },
        "deploy": { "service": "worker", "version": EVIL, "at": "2015-08-24T21:42:20.000Z" },
        "opened_at": "2015-08-24T21:43:11.000Z", "detected_at": "2015-08-24T21:43:12.000Z", "resolved_at": null,
        "runs": [house.runs[0].marker],
        "silenced_until": null, "routes_paused": 0, "undelivered": true,
    });
    assert_eq!(house.json("/api/v1/incidents").await, json!({ "incidents": [shape] }));
    let mut whole = shape.clone();
    whole["history"] = json!([{ "at": "2015-08-24T21:43:12.000Z", "text": EVIL }]);
    let path = format!("/api/v1/incidents/{}", house.incident.id);
    assert_eq!(house.json(&path).await, json!({ "incidents": [whole] }));
    for unknown in ["inc-untold", "inc-nothing", "x"] {
        assert_eq!(house.get(&format!("/api/v1/incidents/{unknown}")).await.0, StatusCode::NOT_FOUND, "{unknown}");
        assert_eq!(house.get(&format!("/incidents/{unknown}")).await.0, StatusCode::NOT_FOUND, "{unknown}");
    }
}

#[tokio::test]
async fn runs_are_told_newest_first_and_by_route() {
    let house = House::new().await;
    let all = house.json("/api/v1/runs").await;
    assert_eq!(all["runs"].as_array().unwrap().len(), 2);
    let one = house.json("/api/v1/runs?route=result-output/hadoop2/web/append").await;
    let run = &one["runs"][0];
    assert_eq!((one["runs"].as_array().unwrap().len(), &run["platform"]), (1, &json!("hadoop2")));
    assert_eq!(run["rows"], json!({ "expected": 20, "landed": 20, "missing": 0, "duplicated": 0, "corrupted": 0 }));
    let by_id = house.json(&format!("/api/v1/runs?route={}", house.runs[1].route.id)).await;
    assert_eq!(by_id, one);
    assert_eq!(house.json("/api/v1/runs?limit=1").await["runs"].as_array().unwrap().len(), 1);
    for bad in ["limit=0", "limit=-1", "limit=x", "limit=99999999999", "route=a/b", "route=a/b/c/sideways", "route=%ff"]
    {
        assert_eq!(house.get(&format!("/api/v1/runs?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(house.json("/api/v1/runs?limit=4000000000").await, all, "more than is answered is no error");
}

#[tokio::test]
async fn a_key_that_no_list_knows_is_refused_with_what_could_be_meant() {
    let house = House::new().await;
    let incident = format!("/api/v1/incidents/{}?limit=1", house.incident.id);
    for (path, what) in [
        ("/api/v1/runs?bogus=1", "unknown key `bogus`: keys are limit, route"),
        ("/api/v1/runs?rout=a/b/c/append", "unknown key `rout`: did you mean `route`?"),
        ("/api/v1/runs?limit=1&Limit=2", "unknown key `Limit`: did you mean `limit`?"),
        ("/api/v1/runs?limit=1&limit=2", "`limit` is there twice"),
        ("/api/v1/incidents?route=a/b/c/append", "unknown key `route`: keys are limit"),
        ("/api/v1/deploys?limt=1", "unknown key `limt`: did you mean `limit`?"),
        ("/api/v1/routes?route=x", "unknown key `route`: keys are limit"),
        ("/api/v1/routes?limit=0", "`limit` is not a number from 1 on"),
        (incident.as_str(), "unknown key `limit`: this list takes none"),
    ] {
        let (status, text) = house.get(path).await;
        assert_eq!((status, text), (StatusCode::BAD_REQUEST, json!({ "error": what }).to_string()), "{path}");
    }
    assert_eq!(house.json("/api/v1/routes?limit=1").await["routes"].as_array().unwrap().len(), 1);
    for path in ["/api/v1/runs?", "/api/v1/routes?", "/api/v1/incidents?limit=1", "/api/v1/deploys?limit=1"] {
        assert_eq!(house.get(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_deploy_is_handed_on_and_told() {
    let house = House::new().await;
    let told = json!({ "deploys": [{ "service": "worker", "version": "v6", "at": "2015-08-24T21:42:20.000Z" }] });
    assert_eq!(house.json("/api/v1/deploys").await, told);
    let (status, text) = house.post("/api/v1/deploys", Some(TOKEN), &json!({ "service": "api", "version": "7" })).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let at = "2015-08-24T14:00:00-07:00";
    let body = json!({ "service": "api", "version": "8", "at": at, "where": { "worker": "v6" } });
    assert_eq!(house.post("/api/v1/deploys", Some(TOKEN), &body).await.0, StatusCode::CREATED);
    let expected =
        ["deploy api 7 2015-08-24T21:44:00.000Z everything", "deploy api 8 2015-08-24T21:00:00.000Z worker=v6"];
    assert_eq!(house.orders(), expected);
}

#[tokio::test]
async fn a_deploy_may_be_verified_and_is_noted_even_if_too_much_is_verified_already() {
    let house = House::new().await;
    let body = json!({ "service": "api", "version": "8", "verify": { "where": { "platform": "hadoop2" } } });
    for n in 0..6 {
        let (status, text) = house.post("/api/v1/deploys", Some(TOKEN), &body).await;
        assert_eq!(status, StatusCode::CREATED, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["deploys"][0]["version"], "8", "{text}");
        let noted = "deploy api 8 2015-08-24T21:44:00.000Z everything";
        if n < 5 {
            let id = answer["verify"]["id"].as_str().unwrap_or_else(|| panic!("no id in {text}"));
            assert_eq!(house.json(&format!("/api/v1/verify/{id}")).await, answer["verify"]);
            assert!(house.orders()[n].starts_with(&format!("{noted}, verify ")), "{:?}", house.orders());
        } else {
            let why = json!({ "error": "others are under way: ask again in a minute" });
            assert_eq!((&answer["verify"], &*house.orders()[n]), (&why, noted));
        }
    }
}

#[tokio::test]
async fn a_deploy_that_makes_no_sense_is_refused_and_not_handed_on() {
    let house = House::new().await;
    for body in [
        json!({}),
        json!([]),
        json!({ "service": "api" }),
        json!({ "service": "", "version": "7" }),
        json!({ "service": "  ", "version": "7" }),
        json!({ "service": "a\nb", "version": "7" }),
        json!({ "service": "x".repeat(201), "version": "7" }),
        json!({ "service": 1, "version": "7" }),
        json!({ "service": "api", "version": "7", "at": "yesterday" }),
        json!({ "service": "api", "version": "7", "at": "2035-01-01T00:00:00Z" }),
        json!({ "service": "api", "version": "7", "more": true }),
        json!({ "service": "api", "version": "7", "where": { "wroker": "v6" } }),
        json!({ "service": "api", "version": "7", "where": { "worker": "v7" } }),
        json!({ "service": "api", "version": "7", "where": ["worker"] }),
        json!({ "service": "api", "version": "7", "verify": { "rounds": 0 } }),
        json!({ "service": "api", "version": "7", "verify": { "where": { "wroker": "v6" } } }),
        json!({ "service": "api", "version": "7", "verify": { "how": "well" } }),
    ] {
        let (status, text) = house.post("/api/v1/deploys", Some(TOKEN), &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {text}");
        assert!(serde_json::from_str::<Value>(&text).unwrap()["error"].is_string());
    }
    assert_eq!(house.orders(), [""; 0]);
}

#[tokio::test]
async fn an_incident_is_closed_by_hand_with_a_reason() {
    let house = House::new().await;
    let path = format!("/api/v1/incidents/{}/resolve", house.incident.id);
    assert_eq!(house.post(&path, Some(TOKEN), &json!({ "because": "drill" })).await.0, StatusCode::OK);
    assert_eq!(house.post(&path, Some(TOKEN), &json!({ "because": "" })).await.0, StatusCode::BAD_REQUEST);
    let other = house.post("/api/v1/incidents/inc-other/resolve", Some(TOKEN), &json!({ "because": "x" })).await;
    assert_eq!(other.0, StatusCode::NOT_FOUND);
    assert_eq!(house.orders(), [format!("resolve {} drill", house.incident.id)]);
}

#[tokio::test]
async fn a_reload_says_what_is_wrong_with_the_new_config() {
    let house = House::new().await;
    let reload = || house.client.post(house.url("/-/reload")).bearer_auth(TOKEN).send();
    assert_eq!(reload().await.unwrap().status(), StatusCode::OK);
    let refused = reload().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("unknown key `lissten`"));
}

#[tokio::test]
async fn nothing_is_changed_without_the_token() {
    let (with, without) = (House::new().await, House::with(None).await);
    let paths = ["/api/v1/deploys", "/-/reload", "/api/v1/incidents/x/resolve", "/nowhere"];
    let body = json!({ "service": "api", "version": "7" });
    for path in paths {
        for token in [None, Some(""), Some("a-toke"), Some("a-token2"), Some("A-TOKEN")] {
            assert_eq!(with.post(path, token, &body).await.0, StatusCode::UNAUTHORIZED, "{path} {token:?}");
        }
        for token in [None, Some(""), Some(TOKEN)] {
            assert_eq!(without.post(path, token, &body).await.0, StatusCode::FORBIDDEN, "{path} {token:?}");
        }
        for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let answer = with.client.request(method.clone(), with.url(path)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
    let basic = with.client.post(with.url("/-/reload")).basic_auth("x", Some(TOKEN)).send().await.unwrap();
    assert_eq!(basic.status(), StatusCode::UNAUTHORIZED);
    assert_eq!((with.orders(), without.orders()), (vec![], vec![]));
    assert_eq!(without.get("/api/v1/routes").await.0, StatusCode::OK, "looking needs no token");
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing_even_with_the_token() {
    let house = House::new().await;
    let reload = |origin: &str| {
        let request = house.client.post(house.url("/-/reload")).bearer_auth(TOKEN).header(header::ORIGIN, origin);
        async move { request.send().await.unwrap().status() }
    };
    for foreign in
        ["http://evil.example", "null", "https://127.0.0.1.evil.example", "file://", "http://localhost@evil.example"]
    {
        assert_eq!(reload(foreign).await, StatusCode::FORBIDDEN, "{foreign}");
    }
    assert_eq!(reload("http://localhost:9440").await, StatusCode::OK);
}

#[tokio::test]
async fn a_foreign_host_gets_nothing_anywhere() {
    let house = House::new().await;
    for path in ["/", "/metrics", "/healthz", "/api/v1/routes", "/nowhere", "/style.css"] {
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost:x", "", "a b"] {
            let status = house.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            assert!((400..500).contains(&status), "{host} {path}: {status}");
        }
        for host in ["localhost", "127.0.0.1:1", "[::1]:9440", "MON-1.example:9440"] {
            let status = house.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            assert_eq!(status, if path == "/nowhere" { 404 } else { 200 }, "{host} {path}");
        }
    }
    assert_eq!(house.raw(b"GET / HTTP/1.1\r\n\r\n").await, Some(400), "no Host at all");
    assert_eq!(house.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").await, Some(400), "two");
    let absolute = b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(house.raw(absolute).await, Some(421), "the address in the request line counts too");
}

#[tokio::test]
async fn bodies_of_the_wrong_kind_or_size_are_refused() {
    let house = House::new().await;
    let post = |content_type: Option<&'static str>, body: Vec<u8>| {
        let mut request = house.client.post(house.url("/api/v1/deploys")).bearer_auth(TOKEN);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        async move { request.body(body).send().await.unwrap().status() }
    };
    let good = br#"{"service":"api","version":"7"}"#.to_vec();
    for wrong in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("")]
    {
        assert_eq!(post(wrong, good.clone()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong:?}");
    }
    let json = Some("application/json; charset=utf-8");
    for broken in [b"".to_vec(), b"{".to_vec(), vec![0xff; 10], b"{}{}".to_vec(), "[".repeat(60_000).into_bytes()] {
        assert_eq!(post(json, broken).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(post(json, vec![b' '; 64 * 1024 + 1]).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post(json, good).await, StatusCode::CREATED);
    let head = format!(
        "POST /api/v1/deploys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    );
    let announced = format!("{head}Content-Length: 99999999999\r\n\r\n");
    assert_eq!(house.raw(announced.as_bytes()).await, Some(413), "refused before it is sent");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(house.raw(chunked.as_bytes()).await, Some(413), "nobody said how large it would be");
    assert_eq!(house.orders().len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let house = House::new().await;
    let slow = format!(
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10\r\n\r\nabc"
    );
    let waited = tokio::time::timeout(Duration::from_secs(30), house.raw(slow.as_bytes())).await;
    assert_eq!(waited.expect("an answer"), Some(408));
    assert_eq!(house.get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn path_tricks_lead_nowhere() {
    let house = House::new().await;
    for path in [
        "/../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/incidents/..%2f..%2fetc%2fpasswd",
        "/incidents/%00",
        "/runs/%2e%2e",
        "/runs/lf00000000000000000000000000",
        "/runs/%ff%fe",
        "/api/v1/incidents/%ff",
        "/api/v1/incidents/a%0d%0aX-Evil:%20yes",
        "/api/v2/routes",
        "/API/V1/ROUTES",
        "/metrics/",
        "/landing/web/lf00000000000000000000000000",
        "/style.css/..",
        "*",
    ] {
        let status = house.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        assert!(status.is_some_and(|status| (400..500).contains(&status)), "{path}: {status:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(200_000));
    let status = house.raw(long.as_bytes()).await;
    assert!(status.is_none_or(|status| (400..500).contains(&status)), "{status:?}");
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GARBAGE\r\n\r\n", b"\r\n\r\n\r\n\r\n"] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        drop(stream);
    }
    assert_eq!(house.get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn pages_allow_nothing_and_show_the_worst_first() {
    let house = House::new().await;
    let pages =
        ["/".to_owned(), format!("/incidents/{}", house.incident.id), format!("/runs/{}", house.runs[0].marker)];
    for path in pages {
        let answer = house.client.get(house.url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let page = answer.text().await.unwrap();
        assert_eq!(page.replace(OUR_SCRIPT, "").matches("<script").count(), 0, "{path}: {page}");
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)"), "{path}: {page}");
    }
    let (_, page) = house.get("/").await;
    let place = |outcome: &str| page.find(&format!("data-outcome=\"{outcome}\"")).unwrap();
    assert!(place("lost") < place("landed"), "what is red comes first");
    assert!(page.contains(&format!("href=\"/incidents/{}\"", house.incident.id)));
}

/// What a browser makes of what is written as text; `<` and `"` that are markup to it are others now.
fn unescaped(page: &str) -> String {
    let named =
        [("<", "\u{e000}"), ("\"", "\u{e001}"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\"")];
    let named = named.into_iter().chain([("&#39;", "'"), ("&amp;", "&")]);
    strangers::shown(&named.fold(page.to_owned(), |page, (written, meant)| page.replace(written, meant)))
}

#[tokio::test]
async fn strangers_words_are_text_on_pages() {
    let scene = strangers::scene();
    let incidents: Vec<IncidentId> = scene.incidents.iter().map(|incident| incident.id.clone()).collect();
    let house = House::of(scene, Some(TOKEN), |_| {}).await;
    let status = unescaped(&house.get("/").await.1);
    for (nth, word) in strangers::words().iter().enumerate() {
        let incident = unescaped(&house.get(&format!("/incidents/{}", incidents[nth])).await.1);
        let run = unescaped(&house.get(&format!("/runs/{}", house.runs[nth].marker)).await.1);
        let begins: String = strangers::shown(word).chars().take(60).collect();
        for (name, page) in [("/", &status), ("incident", &incident), ("run", &run)] {
            assert!(page.contains(&begins), "{name} lacks {word:?}");
            for (text, markup) in [("<", "\u{e000}"), ("\"", "\u{e001}")] {
                let broken = begins.replace(text, markup);
                assert!(broken == begins || !page.contains(&broken), "{name} has {word:?} as markup");
            }
        }
    }
}

#[tokio::test]
async fn metrics_and_health_are_answered() {
    let house = House::new().await;
    let answer = house.client.get(house.url("/metrics")).send().await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().await.unwrap().contains("landfall_build_info{"));
    assert_eq!(house.get("/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(house.get("/readyz").await, (StatusCode::OK, "ready\n".into()));
}

#[tokio::test]
async fn a_server_that_is_stopped_answers_what_it_was_asked_and_ends() {
    let mut house = House::new().await;
    // A connection that is open and idle does not hold the end up.
    let idle = TcpStream::connect(house.address).await.unwrap();
    assert_eq!(house.get("/healthz").await.0, StatusCode::OK);
    house.stop.take().unwrap().send(()).unwrap();
    let ended = async {
        while TcpStream::connect(house.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the listener is closed");
    drop(idle);
}

/// The intake on its own listener, with one run that is waited for.
async fn porch() -> (SocketAddr, Arc<Memory>, Arc<Intake>, TargetName, Marker, oneshot::Sender<()>) {
    let (store, intake, web) = (Arc::new(Memory::new()), Intake::new(), TargetName::new("web").unwrap());
    let marker = run(&route("hadoop1", "v5")).marker;
    intake.admit(&web);
    intake.expect(&web, marker, Timestamp::EPOCH, Timestamp::from_micros(i64::MAX));
    intake.stored_in(Arc::new(Kept(store.clone())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let router = intake_router(intake.clone(), Arc::new(|| NOW));
    tokio::spawn(serve(listener, router, async { drop(stopped.await) }));
    (address, store, intake, web, marker, stop)
}

#[tokio::test]
async fn a_delivery_that_is_waited_for_is_stored_before_it_is_acknowledged() {
    let (address, store, intake, web, marker, _stop) = porch().await;
    let client = landfall::http::Wire::default().client().unwrap();
    let password = intake.password(&web).unwrap();
    for method in [Method::PUT, Method::POST] {
        let request = client.request(method, format!("http://{address}/landing/web/{marker}"));
        // A proxy may have changed the name by which it is reached.
        let request = request.basic_auth("landfall", Some(password.reveal())).header(header::HOST, "proxy.example");
        assert_eq!(request.body("rows").send().await.unwrap().status(), StatusCode::OK);
    }
    let kept = store.deliveries(&web, &[marker]).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].at, kept[0].body.as_slice()), (NOW, &b"rows"[..]));
}

#[tokio::test]
async fn deliveries_that_come_together_are_all_taken() {
    let (address, store, intake, web, _, _stop) = porch().await;
    let password = intake.password(&web).unwrap();
    let login = BASE64_STANDARD.encode(format!("landfall:{}", password.reveal()));
    let markers: Vec<Marker> = (0..200).map(|nth| Marker::mint(NOW, 1_000 + nth)).collect();
    let mut open = Vec::new();
    for marker in &markers {
        intake.expect(&web, *marker, Timestamp::EPOCH, Timestamp::from_micros(i64::MAX));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT /landing/web/{marker} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {login}\r\ncontent-length: 4\r\n\r\nro"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // Each is half there before the first is whole.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for stream in &mut open {
        stream.write_all(b"ws").await.unwrap();
    }
    for stream in &mut open {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"HTTP/1.1 200");
    }
    assert_eq!(store.deliveries(&web, &markers).await.unwrap().len(), markers.len());
}

#[tokio::test]
async fn other_deliveries_are_turned_away_and_nothing_else_is_there() {
    let (address, store, intake, web, marker, _stop) = porch().await;
    let client = landfall::http::Wire::default().client().unwrap();
    let password = intake.password(&web).unwrap();
    let other = Marker::mint(NOW, 1);
    let put = |path: String, user: &str, password: &str, size: usize| {
        let request = client.put(format!("http://{address}{path}")).basic_auth(user, Some(password));
        async move { request.body(vec![b'x'; size]).send().await.unwrap().status().as_u16() }
    };
    let right = password.reveal();
    let here = format!("/landing/web/{marker}");
    assert_eq!(put(here.clone(), "landfall", "wrong", 1).await, 401);
    assert_eq!(put(here.clone(), "admin", right, 1).await, 401);
    assert_eq!(put(format!("/landing/web/{other}"), "landfall", right, 1).await, 404);
    assert_eq!(put(format!("/landing/bucket/{marker}"), "landfall", right, 1).await, 404);
    assert_eq!(put("/landing/web/..%2f..".to_owned(), "landfall", right, 1).await, 404);
    assert_eq!(put(format!("{here}/more"), "landfall", right, 1).await, 404);
    for _ in 0..5 {
        // The whole of it is sent, and still the answer arrives.
        assert_eq!(put(here.clone(), "landfall", right, 16 * 1024 * 1024 + 1).await, 413);
        assert_eq!(put(here.clone(), "landfall", "wrong", 16 * 1024 * 1024 + 1).await, 401);
    }
    for (method, path) in
        [(Method::GET, here.as_str()), (Method::DELETE, &here), (Method::GET, "/metrics"), (Method::GET, "/")]
    {
        let answer = client.request(method.clone(), format!("http://{address}{path}")).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{method} {path}");
    }
    for login in ["", "Basic", "Basic !!!", "Bearer x", "Basic bGFuZGZhbGw="] {
        let answer = client.put(format!("http://{address}{here}")).header(header::AUTHORIZATION, login).send().await;
        assert_eq!(answer.unwrap().status().as_u16(), 401, "{login}");
    }
    assert!(store.deliveries(&web, &[marker]).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_asked_about_silences_pauses_and_drills_is_read_with_care() {
    let house = House::new().await;
    let hour = json!({ "where": { "worker": "v5" }, "for": "1h", "because": "moved" });
    let (status, text) = house.post("/api/v1/silences", Some(TOKEN), &hour).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    assert_eq!(house.orders(), ["silence worker=v5 2015-08-24T21:44:00.000Z 2015-08-24T22:44:00.000Z moved"]);
    let long = "x".repeat(201);
    for (path, body) in [
        ("silences", json!({ "where": { "worker": "v7" }, "for": "1h", "because": "x" })),
        ("silences", json!({ "for": "1h", "because": "x" })),
        ("silences", json!({ "where": { "worker": "v5" }, "all": true, "for": "1h", "because": "x" })),
        ("silences", json!({ "all": true, "because": "x" })),
        ("silences", json!({ "all": true, "for": "1h" })),
        ("silences", json!({ "all": true, "for": "1h", "because": long })),
        ("silences", json!({ "all": true, "for": "1h", "because": "two\nlines" })),
        ("silences", json!({ "all": true, "for": "1h", "until": "2015-08-24T22:00:00Z", "because": "x" })),
        ("silences", json!({ "all": true, "for": "0s", "because": "x" })),
        ("silences", json!({ "all": true, "for": "10000d", "because": "x" })),
        ("silences", json!({ "all": true, "forr": "1h", "because": "x" })),
        ("pauses", json!({})),
        ("pauses", json!({ "all": true, "from": "2015-08-24T22:00:00Z" })),
        ("pauses", json!({ "all": true, "for": "1" })),
        ("resume", json!({})),
        ("resume", json!({ "where": { "wroker": "v5" } })),
        ("drill/confirm", json!({ "code": long })),
        ("drill", json!({ "notifier": 7 })),
    ] {
        let (status, text) = house.post(&format!("/api/v1/{path}"), Some(TOKEN), &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {text}");
        let (status, _) = house.post(&format!("/api/v1/{path}"), None, &body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {body}");
    }
    assert_eq!(house.orders().len(), 1, "{:?}", house.orders());
    let silences = house.json("/api/v1/silences").await;
    assert_eq!(silences["silences"][0]["where"], json!({ "worker": "v6" }));
    assert_eq!(silences["silences"][0]["active"], json!(true));
    let pauses = house.json("/api/v1/pauses").await;
    assert_eq!((&pauses["pauses"][0]["routes"], &pauses["pauses"][0]["until"]), (&json!(1), &Value::Null));
    let told = house.json("/api/v1/notifications").await;
    let opening = &told["notifications"][0];
    assert_eq!((&opening["undelivered"], &opening["letters"][0]["failure"]), (&json!(true), &json!(EVIL)));
    assert_eq!(opening["letters"][0]["held"], json!([{ "severity": "critical", "state": "refused" }]));
    let (_, page) = house.get("/").await;
    for words in [
        "nobody has taken its page yet",
        "oncall refused it",
        "Nobody is paged of <bdi>worker=v6</bdi>",
        "paused, landed",
    ] {
        assert!(page.contains(words), "no `{words}` in {page}");
    }
    assert_eq!(page.replace(OUR_SCRIPT, "").matches("<script").count(), 0, "{page}");
}

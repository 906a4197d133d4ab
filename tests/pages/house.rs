//! A web server over a ledger in memory, and what it shows as a person reads it.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{
        ByHand, CanaryName, Evidence, LabelName, Labels, Maintenance, Marker, Mode, Outcome, Phase, PlatformName,
        Route, Run, Sample, TargetName, Terms, Timestamp, Verdict, Why,
    },
    detect::{Board, Incident},
    metrics::{BuildInfo, Metrics},
    store::{Opening, Settlement, Store, memory::Memory},
    web::{Doors, Hosts, Links, router, serve},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);
pub(super) const EVIL: &str = "<script>alert(\"x\")</script>&'";

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000)
}

/// Platform `gone` is not watched.
pub(super) fn route(platform: &str, worker: &str) -> Arc<Route> {
    Arc::new(Route::new(
        CanaryName::new("result-output").unwrap(),
        PlatformName::new(platform).unwrap(),
        TargetName::new("web").unwrap(),
        Mode::Append,
        Labels::new([(LabelName::new("worker").unwrap(), worker.into())]),
    ))
}

pub(super) fn run(route: &Arc<Route>, due: i64) -> Run {
    Run {
        marker: Marker::mint(at(due), u128::from(route.id.0)),
        route: route.clone(),
        terms: Terms { due: at(due), objective: Duration::from_secs(120), deadline: Duration::from_secs(300) },
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    }
}

/// A run and what it saw.
pub(super) struct Seen {
    pub(super) run: Run,
    evidence: Arc<Evidence>,
    verdict: Option<Verdict>,
}

impl Seen {
    pub(super) fn new(run: Run, evidence: Evidence) -> Self {
        Self { run, evidence: Arc::new(evidence), verdict: None }
    }

    /// A verdict for good.
    pub(super) fn judged(&self, outcome: Outcome, phase: Option<Phase>) -> Verdict {
        Verdict {
            run: self.run.marker,
            route: self.run.route.id,
            due: self.run.terms.due,
            why: self.run.why,
            outcome,
            phase,
            reason: None,
            also: Vec::new(),
            provisional: false,
            seen_late: false,
            agent_away: false,
            at: at(-49),
            evidence: Arc::clone(&self.evidence),
        }
    }

    pub(super) fn with(self, verdict: Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }
}

/// The server. It ends with the value.
pub(super) struct House {
    address: std::net::SocketAddr,
    client: reqwest::Client,
    pub(super) markers: Vec<Marker>,
    incidents: Vec<Incident>,
    stop: Option<oneshot::Sender<()>>,
}

impl House {
    pub(super) async fn of(seen: Vec<Seen>, incidents: Vec<Incident>, openings: Vec<Opening>) -> Self {
        let store = Arc::new(Memory::new());
        let mut board = Board::default();
        let watched: Vec<Arc<Route>> = seen.iter().map(|seen| Arc::clone(&seen.run.route)).collect();
        let watched: Vec<Arc<Route>> = watched.into_iter().filter(|route| route.platform.as_str() != "gone").collect();
        board.watch(&watched);
        let markers = seen.iter().map(|seen| seen.run.marker).collect();
        for Seen { run, evidence, verdict } in seen {
            store.begin(&run).await.unwrap();
            store.progress(run.marker, None, &evidence).await.unwrap();
            if let Some(verdict) = verdict {
                board.learn(&verdict, run.terms.objective);
                store.settle(Settlement { verdicts: vec![verdict], ..Settlement::default() }).await.unwrap();
            }
        }
        store.settle(Settlement { incidents: incidents.clone(), ..Settlement::default() }).await.unwrap();
        let by_hand = |run: &Run| match run.route.platform.as_str() {
            "gone" => ByHand::default(),
            platform => ByHand {
                query: Some(format!("SELECT the query of {platform}")),
                address: Some("postgresql://user:…@host/table".to_owned()),
                read: Some("psql 'the read'".to_owned()),
            },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, ordered) = mpsc::channel(1);
        let doors = Doors {
            store,
            metrics: Arc::new(Metrics::new(&BuildInfo { version: "0".into(), revision: String::new() })),
            board: watch::channel(Arc::new(board)).1,
            maintenance: watch::channel(Arc::new(Maintenance::default())).1,
            letters: watch::channel(Arc::new(openings)).1,
            orders,
            token: None,
            verifications: Arc::default(),
            surveys: Arc::default(),
            askings: Arc::default(),
            hosts: Hosts::new(address.ip(), []),
            agent: "mon-1".to_owned(),
            public: None,
            now: Arc::new(|| NOW),
            by_hand: Arc::new(by_hand),
            links: Links {
                agent: format!("http://{address}"),
                runbook: Some("https://wiki.example.com/landfall".to_owned()),
                dashboard: Some("javascript:alert(1)".to_owned()),
            },
            scheduled_at: Arc::new(|| Some(at(-5))),
        };
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(async move {
            let _ordered = ordered;
            serve(listener, router(doors), async { drop(stopped.await) }).await;
        });
        let client = landfall::http::Wire::default().client().unwrap();
        Self { address, client, markers, incidents, stop: Some(stop) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn status(&self, path: &str) -> u16 {
        self.client.get(self.url(path)).send().await.unwrap().status().as_u16()
    }

    /// Content type and text.
    pub(super) async fn raw(&self, path: &str) -> (String, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, answer.text().await.unwrap())
    }

    pub(super) async fn run(&self, n: usize) -> String {
        self.raw(&format!("/runs/{}", self.markers[n])).await.1
    }

    pub(super) async fn incident(&self, n: usize) -> String {
        self.raw(&format!("/incidents/{}", self.incidents[n].id)).await.1
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }
}

/// A page as a person reads it: no markup, one space between words.
pub(super) fn text(page: &str) -> String {
    let mut out = String::new();
    let (mut is_tag, mut name) = (false, String::new());
    for c in page.chars() {
        match c {
            '<' => (is_tag, name) = (true, String::new()),
            '>' if is_tag => {
                is_tag = false;
                let name = name.trim_start_matches('/');
                let word: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
                // Within a line these part no words.
                if !["span", "bdi", "strong", "code", "time", "a"].contains(&word.as_str()) {
                    out.push(' ');
                }
            }
            c if is_tag => name.push(c),
            c => out.push(c),
        }
    }
    let out = out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    out.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",")
}

/// Text as it stands within a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! `landfall demo`: sandbox, agent and status page in one process, over real sockets on loopback.
//! Breaks worker v5 as in 2015, shows the detection, mends it, shows the recovery. The agent learns
//! of the fault as it would of any: from what lands.

use std::{
    collections::HashMap,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{
    Format,
    end::End,
    exit::{NO, Unsure, YES, answered},
    kinds,
    paint::Paint,
    progress::{self, Stand},
    replay::{play::Played, report::Report},
    run::Daemon,
    sandbox::config as sandbox_config,
    systemd::Systemd,
};
use crate::{
    agent::{Clock, Hearer},
    canary::{Outcome, RouteId, Run, Selector, State, Timestamp, Verdict, time::Brief},
    detect::{Change, Deploy, incident::write_labels},
    http::{self, Wire},
    sandbox::{
        Fault, FaultKind, World,
        http::{Folder, Settings, bind},
        scenario::{Expect, ExpectDeploy, Scenario},
    },
    store::Notice,
    target::webhook::Intake,
};

/// Shows the 2015 outage being caught: a pretend platform and the agent in one process, nothing
/// else installed, nothing left behind.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends once the fault is mended and the incident is over.
    #[arg(long)]
    exit_after_recovery: bool,
    /// json: the story goes to stderr, and stdout ends with one line, as of replay.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Landed runs of every route before something is broken.
const RUNS_BEFORE: u32 = 3;
/// The outage lasts this long after the page, so that its extent is seen.
const SHOWN_FOR: Duration = Duration::from_secs(10);
/// Nothing here takes longer; if it does, the machine is too slow to tell.
const PATIENCE: Duration = Duration::from_secs(180);
const SERVICE: &str = "worker";
const VERSION: &str = "v6.20150824";

enum Heard {
    Verdict(Verdict, Arc<str>),
    Notice(Box<Notice>),
}

struct Ear(mpsc::UnboundedSender<Heard>);

impl Hearer for Ear {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        let _ = self.0.send(Heard::Verdict(verdict.clone(), run.route.to_string().into()));
    }

    fn notice(&self, notice: &Notice) {
        let _ = self.0.send(Heard::Notice(Box::new(notice.clone())));
    }
}

/// The story, told as it happens.
struct Story {
    format: Format,
    begin: Timestamp,
    paint: Paint,
    /// So many are watched.
    routes: usize,
    /// What is waited for, on a terminal.
    waits: progress::Line,
}

impl Story {
    fn line(&self, now: Timestamp, text: &str) {
        let at = now.since(self.begin).as_secs_f64();
        let line = format!("{at:6.1}s  {text}\n");
        self.waits.hide();
        // Whoever closed the pipe does not want to hear the story.
        let _ = match self.format {
            Format::Text => std::io::stdout().write_all(line.as_bytes()),
            Format::Json => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn plain(&self, text: &str) {
        self.waits.hide();
        let _ = match self.format {
            Format::Text => std::io::stdout().write_all(text.as_bytes()),
            Format::Json => std::io::stderr().write_all(text.as_bytes()),
        };
    }

    fn paint(&self, state: State, text: &str) -> String {
        self.paint.state(state, text)
    }
}

/// What was heard so far.
#[derive(Default)]
struct Seen {
    landed: HashMap<RouteId, u32>,
    notices: Vec<Notice>,
    red_on: Vec<Arc<str>>,
    runs: u64,
}

/// `landfall demo`.
pub async fn demo(args: Args) -> Result<u8> {
    let clock = Clock::System;
    let paint = match args.format {
        Format::Text => Paint::of(&std::io::stdout()),
        Format::Json => Paint::of(&std::io::stderr()),
    };
    let story = Story {
        format: args.format,
        begin: clock.now(),
        paint,
        routes: World::brisk().routes().len(),
        waits: progress::Line::new(),
    };
    let ended = End::of_commands().came();
    tokio::pin!(ended);
    let folder = Folder::new("landfall-demo").context("cannot make a temporary folder")?;
    let sandbox_clock = clock.clone();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = bind(Settings {
        listen: loopback,
        bucket_listen: loopback,
        allow_output: Vec::new(),
        world: World::brisk(),
        seed: fastrand::u64(..),
        now: Arc::new(move || sandbox_clock.now()),
    })
    .await?;
    let agent_listen = free_address()?;
    let written = sandbox_config::write(folder.path(), &bound.addresses, agent_listen)?;
    let running = bound.open();
    let intake = Intake::new();
    let plan = kinds::load(&written.file, &intake, false).map_err(|problems| anyhow!(kinds::text(&problems)))?;
    let routes = plan.routes.clone();
    let (ear, mut heard) = mpsc::unbounded_channel();
    let daemon = Daemon::start(plan, intake, Arc::new(Ear(ear)), Some(written.file.clone())).await?;
    let (address, agent) = (daemon.address, daemon.agent());
    let (stop, stopping) = watch::channel(false);
    let served = tokio::spawn(daemon.serve(stopping, Arc::new(Systemd::none())));

    story.plain(&format!(
        "A pretend data platform ({}) with three clusters, and the agent that watches it.\n\
         Status page: http://{address}/\n\n  {:38} engine   cluster   worker\n",
        running.endpoint(),
        "route",
    ));
    for route in &routes {
        let label = |name: &str| route.labels.get(name).unwrap_or("-").to_owned();
        let line =
            format!("  {:38} {:8} {:9} {}\n", route.to_string(), label("engine"), label("cluster"), label("worker"));
        story.plain(&line);
    }
    story.plain("\n");

    let endpoint = running.endpoint();
    let told = tokio::select! {
        told = tell(&story, &clock, &mut heard, &agent, &endpoint, routes.len()) => Some(told),
        () = &mut ended => None,
    };
    story.waits.done();
    let code = match told {
        Some(Ok(told)) => {
            let report = report(told, clock.now().since(story.begin));
            if args.exit_after_recovery {
                finish(&story, args.format, &report)
            } else {
                story.plain(&format!(
                    "\nStill running: http://{address}/ shows how every route stands. Ctrl-C ends it.\n\
                     Next: landfall replay 2015-08-24 --seeds 100   (the same outage on virtual time)\n      \
                     landfall sandbox --write-config try      (break things yourself)\n"
                ));
                ended.await;
                Ok(YES)
            }
        }
        Some(Err(error)) => Err(error),
        None => Err(Unsure("interrupted before the story was told".to_owned()).into()),
    };
    // However it ended: nothing is left behind.
    stop.send_replace(true);
    let _ = served.await;
    running.stop().await;
    drop(folder);
    code
}

/// A port that is free now. Somebody else may take it before the agent does; then the demo says so.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What the story came to.
struct Told {
    seen: Seen,
    broke_at: Timestamp,
    mended_at: Timestamp,
    deploy: Deploy,
    incidents: Vec<crate::detect::Incident>,
}

async fn tell(
    story: &Story,
    clock: &Clock,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
    agent: &crate::agent::Agent,
    endpoint: &str,
    routes: usize,
) -> Result<Told> {
    let mut seen = Seen::default();
    story.line(clock.now(), "canaries fly; every row is read back from the target");
    wait(story, clock, heard, &mut seen, "every route lands", |seen| {
        seen.landed.len() == routes && seen.landed.values().all(|n| *n >= RUNS_BEFORE)
    })
    .await?;
    story.line(clock.now(), &story.paint(State::Green, &format!("all {routes} routes land")));

    let deploy = Deploy { service: SERVICE.into(), version: VERSION.into(), at: clock.now() };
    story.line(clock.now(), &format!("deploy: {SERVICE} {VERSION}, to v6 and the API, not to v5"));
    agent.deploy(deploy.clone(), Selector::default()).await;
    let fault = json!({ "kind": "drop-output", "where": { "worker": "v5" } });
    let broke_at = clock.now();
    let id = ask(reqwest::Method::POST, &format!("{endpoint}/sandbox/faults"), Some(fault)).await?["id"].clone();
    story.line(clock.now(), "from now on jobs on v5 say `success` and write nothing; the agent is not told");

    let is_opened = |notice: &Notice| matches!(notice.change, Change::Opened(_));
    wait(story, clock, heard, &mut seen, "somebody is paged", |seen| seen.notices.iter().any(is_opened)).await?;
    let until = clock.now().plus(SHOWN_FOR);
    wait(story, clock, heard, &mut seen, "the outage is seen in full", |_| clock.now() >= until).await?;

    let mended_at = clock.now();
    ask(reqwest::Method::DELETE, &format!("{endpoint}/sandbox/faults/{id}"), None).await?;
    story.line(clock.now(), "mended: jobs on v5 write their output again");
    let is_resolved = |notice: &Notice| matches!(notice.change, Change::Resolved(_));
    wait(story, clock, heard, &mut seen, "it is over", |seen| {
        let count = |of: &dyn Fn(&Notice) -> bool| seen.notices.iter().filter(|n| of(n)).count();
        count(&is_resolved) > 0 && count(&is_resolved) >= count(&is_opened)
    })
    .await?;
    // As they stand at the end: the newest word on each.
    let mut incidents: Vec<crate::detect::Incident> = Vec::new();
    for notice in &seen.notices {
        match incidents.iter_mut().find(|known| known.id == notice.incident.id) {
            Some(known) => *known = notice.incident.clone(),
            None => incidents.push(notice.incident.clone()),
        }
    }
    Ok(Told { seen, broke_at, mended_at, deploy, incidents })
}

/// Tells what is heard until something holds.
async fn wait(
    story: &Story,
    clock: &Clock,
    heard: &mut mpsc::UnboundedReceiver<Heard>,
    seen: &mut Seen,
    what: &str,
    holds: impl Fn(&Seen) -> bool,
) -> Result<()> {
    let give_up = clock.now().plus(PATIENCE);
    while !holds(seen) {
        let landed = seen.landed.values().map(|n| u64::from((*n).min(RUNS_BEFORE))).sum();
        let wanted = story.routes as u64 * u64::from(RUNS_BEFORE);
        // Until all of it landed that is counted; later nobody knows how long it takes.
        let stand = match landed < wanted {
            true => Stand { what: "canaries".to_owned(), count: Some((landed, wanted)), rest: "landed".to_owned() },
            false => Stand { what: format!("waiting until {what}"), ..Stand::default() },
        };
        story.waits.show("", stand);
        if clock.now() >= give_up {
            return Err(Unsure(format!("waited {} in vain until {what}", Brief(PATIENCE))).into());
        }
        let Ok(Some(word)) = tokio::time::timeout(Duration::from_millis(200), heard.recv()).await else { continue };
        let now = clock.now();
        match word {
            Heard::Verdict(verdict, route) => {
                if !verdict.provisional {
                    seen.runs += 1;
                }
                let state = verdict.outcome.state();
                if verdict.outcome == Outcome::Landed {
                    *seen.landed.entry(verdict.route).or_default() += 1;
                } else if verdict.provisional || state != State::Red {
                    let so_far = if verdict.provisional { " so far" } else { "" };
                    let word = story.paint(state, verdict.outcome.as_str());
                    story.line(now, &format!("  {word} on {route}{so_far}: {}", verdict.outcome.meaning()));
                }
                if state == State::Red && !seen.red_on.contains(&route) {
                    seen.red_on.push(route);
                }
            }
            Heard::Notice(notice) => {
                tell_notice(story, now, &notice);
                seen.notices.push(*notice);
            }
        }
    }
    Ok(())
}

fn tell_notice(story: &Story, now: Timestamp, notice: &Notice) {
    let incident = &notice.incident;
    let suspects = incident.suspects_text();
    match notice.change {
        Change::Resolved(_) => {
            let text = format!("RESOLVED  {} on {suspects}", incident.outcome);
            story.line(now, &story.paint(State::Green, &text));
        }
        _ => {
            let kind = if matches!(notice.change, Change::Raised(_)) { "RAISED" } else { "PAGE" };
            let text = format!("{kind}  {}: {} on {suspects}", incident.severity.as_str(), incident.outcome);
            story.line(now, &story.paint(State::Red, &text));
            story.line(now, &format!("      {}", incident.outcome.meaning()));
            let last_good = incident.onset.last_good.map_or("-".to_owned(), |at| at.to_string());
            story.line(now, &format!("      since: last good run {last_good}, first bad {}", incident.onset.first_bad));
            if let Some(deploy) = &incident.deploy {
                story.line(now, &format!("      after: {} {} at {}", deploy.service, deploy.version, deploy.at));
            }
            let fine: Vec<String> = incident.unaffected.iter().map(write_labels).collect();
            if !fine.is_empty() {
                story.line(now, &format!("      fine:  {}", fine.join(", ")));
            }
        }
    }
}

async fn ask(method: reqwest::Method, url: &str, body: Option<Value>) -> Result<Value> {
    let client = Wire::default().client()?;
    let mut request = client.request(method, url).timeout(Duration::from_secs(10));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await?.error_for_status()?;
    let bytes = http::body(answer, 1 << 20).await?;
    Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn report(told: Told, lasted: Duration) -> Report {
    let Told { seen, broke_at, mended_at, deploy, incidents } = told;
    let selector = Selector::new([("worker".to_owned(), "v5".to_owned())]);
    let fault = Fault { kind: FaultKind::DropOutput, selector, rate: 1.0, from: broke_at, until: Some(mended_at) };
    let scenario = Scenario {
        name: "demo".to_owned(),
        title: "Result Output skipped by worker v5, over real sockets".to_owned(),
        source: None,
        start: broke_at,
        lasts: lasted,
        seed: 0,
        routes: World::brisk().routes(),
        world: World::brisk(),
        deploys: vec![deploy],
        faults: vec![fault],
        agent: Vec::new(),
        expect: Expect {
            incidents: Some(1),
            outcome: Some(Outcome::Lost),
            suspects: Some(vec![("worker".to_owned(), "v5".to_owned())]),
            deploy: Some(ExpectDeploy::Service(SERVICE.to_owned())),
            ..Expect::default()
        },
    };
    let played = Played { notices: seen.notices, incidents, runs: seen.runs, ..Played::default() };
    let mut report = Report::of(&scenario, &played);
    for route in seen.red_on.iter().filter(|route| route.contains("/hadoop2/")) {
        report.misses.push(format!("{route} runs on v6 and was red"));
        report.pass = false;
    }
    report
}

fn finish(story: &Story, format: Format, report: &Report) -> Result<u8> {
    let code = if report.pass { YES } else { NO };
    if format == Format::Json {
        let line = serde_json::to_string(report)?;
        return answered(writeln!(std::io::stdout(), "{line}"), code);
    } else {
        let after = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1} s"));
        story.plain(&format!(
            "\npaged {} after it broke, resolved {} after it was mended. In 2015 it took 91 minutes.\n",
            after(report.detection_s),
            after(report.resolved_s)
        ));
        for miss in &report.misses {
            story.plain(&format!("missed: {miss}\n"));
        }
    }
    Ok(code)
}

//! `landfall run`: the daemon.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};
use tracing::{error, info};

use super::{
    end::End,
    exit::{self, USAGE, YES},
    kinds, landings,
    systemd::Systemd,
};
use crate::{
    agent::{
        Agent, Clock, Confirms, Denied, Dice, Hearer, coverage, impact,
        lifecycle::{OpenPlan, Parts},
        verify::{Asked, Progress},
    },
    metrics::{BuildInfo, Metrics},
    store::{Store, sqlite::Sqlite},
    target::webhook::Intake,
    web::{self, Declined, Doors, Hosts, Order},
};

/// Watches: the daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config.
    #[arg(short, long, default_value = "landfall.toml", value_name = "FILE")]
    config: PathBuf,
}

/// `landfall run`.
pub async fn run(args: Args) -> Result<u8> {
    let ended = End::of_daemon();
    let hangup = signal(SignalKind::hangup())?;
    let systemd = Arc::new(Systemd::from_environment());
    let intake = Intake::new();
    let plan = match kinds::load(&args.config, &intake, false) {
        Ok(plan) => plan,
        Err(problems) => {
            kinds::complain(&problems);
            return Ok(USAGE);
        }
    };
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        ended.came().await;
        stop.send_replace(true);
    });
    let daemon = match Daemon::start(plan, intake, Arc::new(crate::agent::hearer::Log), Some(args.config)).await {
        Ok(daemon) => daemon,
        Err(error) => {
            error!("cannot start: {error:#}");
            return Ok(exit::code_of(&error));
        }
    };
    info!("watching; pages and metrics on http://{}", daemon.address);
    tokio::spawn(hang_ups(hangup, daemon.doors.orders.clone()));
    daemon.serve(stopping, systemd).await;
    Ok(YES)
}

/// Has the config read again at each SIGHUP. How it ended, the log says.
async fn hang_ups(mut hangup: Signal, orders: mpsc::Sender<Order>) {
    while hangup.recv().await.is_some() {
        let (reply, _) = oneshot::channel();
        if orders.send(Order::Reload { reply }).await.is_err() {
            return;
        }
    }
}

/// A daemon that is up.
pub struct Daemon {
    /// Where pages and metrics are.
    pub address: SocketAddr,
    agent: Arc<Agent>,
    listener: TcpListener,
    intake_listener: Option<TcpListener>,
    public_listener: Option<TcpListener>,
    doors: Doors,
    now: Arc<dyn Fn() -> crate::canary::Timestamp + Send + Sync>,
    orders: mpsc::Receiver<Order>,
    intake: Arc<Intake>,
    config: Option<PathBuf>,
}

impl Daemon {
    /// Opens listeners and ledger, and starts the agent. `config` is read again on a reload.
    pub async fn start(
        plan: OpenPlan,
        intake: Arc<Intake>,
        hearer: Arc<dyn Hearer>,
        config: Option<PathBuf>,
    ) -> Result<Self> {
        let listen = |address: SocketAddr| async move {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let listener = listen(plan.agent.listen).await?;
        let address = listener.local_addr()?;
        let intake_listener = match plan.agent.intake {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let (title, public_listener) = match &plan.agent.public {
            None => (None, None),
            Some(public) => match public.listen {
                Some(address) => (Some(public.title.clone()), Some(listen(address).await?)),
                None => (Some(public.title.clone()), None),
            },
        };
        let clock = Clock::System;
        let ledger = plan.agent.store.clone();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&ledger, clock.now())?);
        landings::open(&intake, &store, &ledger)?;
        intake.listens_at(match &intake_listener {
            Some(listener) => listener.local_addr()?,
            None => address,
        });
        let build = BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), revision: String::new() };
        let metrics = Arc::new(Metrics::new(&build));
        metrics.store(true);
        metrics.reloaded(Some(clock.now()));
        let (token, name) = (plan.agent.token.clone(), plan.agent.name.clone());
        let hosts = plan.agent.hosts.clone();
        let parts = Parts {
            plan,
            store: Arc::clone(&store),
            clock: clock.clone(),
            dice: Dice::new(),
            metrics: Some(Arc::clone(&metrics)),
            hearer,
            is_daemon: true,
            confirms: Confirms::Asked,
        };
        let agent = Arc::new(Agent::start(parts).await?);
        let (orders, ordered) = mpsc::channel(64);
        let scheduled = Arc::clone(&agent);
        let now: Arc<dyn Fn() -> crate::canary::Timestamp + Send + Sync> = Arc::new(move || clock.now());
        let doors = Doors {
            store,
            metrics,
            board: agent.board(),
            maintenance: agent.maintenance(),
            letters: agent.letters(),
            orders,
            token,
            verifications: Arc::default(),
            surveys: Arc::default(),
            askings: Arc::default(),
            hosts: Hosts::new(address.ip(), hosts.into_iter().chain([name.clone()])),
            agent: name,
            public: title,
            now: Arc::clone(&now),
            scheduled_at: Arc::new(move || scheduled.round()),
        };
        Ok(Self {
            address,
            agent,
            listener,
            intake_listener,
            public_listener,
            doors,
            now,
            orders: ordered,
            intake,
            config,
        })
    }

    /// The agent, for those in the same process.
    pub fn agent(&self) -> Arc<Agent> {
        Arc::clone(&self.agent)
    }

    /// Serves until told to stop, then stops in order: no more orders, the agent, the doors.
    pub async fn serve(self, stopping: watch::Receiver<bool>, systemd: Arc<Systemd>) {
        let Self { agent, listener, intake_listener, public_listener, doors, now, mut orders, intake, config, .. } =
            self;
        let asked = |mut stopping: watch::Receiver<bool>| async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let landings = web::intake_router(Arc::clone(&intake), now);
        let public = public_listener.and_then(|own| Some((own, web::public_router(doors.clone())?)));
        let router = web::router(doors);
        // The doors close last: what is delivered while the agent stops is still stored.
        let (close, closing) = watch::channel(false);
        let mut served = Vec::new();
        if let Some((own, public)) = public {
            served.push(tokio::spawn(web::serve(own, public, asked(closing.clone()))));
        }
        match intake_listener {
            Some(own) => {
                served.push(tokio::spawn(web::serve(own, landings, asked(closing.clone()))));
                served.push(tokio::spawn(web::serve(listener, router, asked(closing))));
            }
            None => served.push(tokio::spawn(web::serve(listener, router.merge(landings), asked(closing)))),
        }
        let mut stop = std::pin::pin!(asked(stopping));
        // An order that waits for the ledger keeps nobody from seeing that the scheduler goes round.
        let report = {
            let (systemd, agent) = (Arc::clone(&systemd), Arc::clone(&agent));
            tokio::spawn(async move { systemd.report(&agent).await })
        };
        systemd.ready();
        loop {
            tokio::select! {
                () = &mut stop => break,
                order = orders.recv() => match order {
                    Some(Order::Reload { reply }) => {
                        systemd.reloading();
                        let _ = reply.send(reload(&agent, &intake, config.as_deref()).await);
                        systemd.ready();
                    }
                    Some(order) => carry_out(&agent, order).await,
                    None => break,
                },
            }
        }
        info!("stopping");
        report.abort();
        systemd.stopping();
        drop(orders);
        agent.stop().await;
        close.send_replace(true);
        for door in served {
            let _ = door.await;
        }
    }
}

async fn carry_out(agent: &Arc<Agent>, order: Order) {
    // Whoever asked may have gone; the order is carried out all the same.
    match order {
        Order::Deploy { deploy, first, verifying, reply } => {
            let stopping = || Err(Declined::Unavailable(Denied::Stopping.to_string()));
            let Some(verifying) = verifying else {
                let stored = agent.deploy(deploy, first).await;
                let _ = reply.send(if stored { Ok(()) } else { stopping() });
                return;
            };
            let (request, under) = *verifying;
            let asked = asked(request);
            let Some(errand) = agent.deploy_to_verify(deploy, first, &asked).await else {
                let _ = reply.send(stopping());
                return;
            };
            let _ = reply.send(Ok(()));
            let agent = Arc::clone(agent);
            tokio::spawn(async move {
                let found =
                    agent.verify_what_was_sent(&asked, errand, under.given_up(), |at| under.is_at(clear(at))).await;
                under.ends(found.map_err(|denied| denied.to_string()));
            });
        }
        Order::Resolve { id, because, reply } => {
            let closed = agent.close(id, because).await;
            let _ = reply.send(if closed { Ok(()) } else { Err(Declined::NotFound(NO_INCIDENT.to_owned())) });
        }
        Order::Silence { silence, reply } => {
            let _ = reply.send(agent.silence(silence).await.map_err(declined));
        }
        Order::Unsilence { id, reply } => {
            let _ = reply.send(agent.unsilence(id).await.map_err(declined));
        }
        Order::Pause { pause, reply } => {
            let _ = reply.send(agent.pause(pause).await.map_err(declined));
        }
        Order::Resume { only, reply } => {
            let _ = reply.send(agent.resume_sending(only).await.map_err(declined));
        }
        Order::Verify { request, under, reply } => {
            let _ = reply.send(Ok(()));
            let agent = Arc::clone(agent);
            tokio::spawn(async move {
                let found = agent.verify(&asked(request), under.given_up(), |at| under.is_at(clear(at))).await;
                under.ends(found.map_err(|denied| denied.to_string()));
            });
        }
        Order::Coverage { within, surveying, reply } => {
            let _ = reply.send(Ok(()));
            let agent = Arc::clone(agent);
            tokio::spawn(async move {
                let found = agent.coverage(within, |at| surveying.is_at(read(at))).await;
                surveying.ends(found.map_err(|denied| denied.to_string()));
            });
        }
        Order::Impact { question, asking, reply } => {
            let web::Question { incident, longest_job, check } = *question;
            let _ = reply.send(Ok(()));
            let agent = Arc::clone(agent);
            tokio::spawn(async move {
                let asked = impact::Asked { incident, longest_job, check };
                let found = agent.impact(&asked, |at| asking.is_at(accounts(at))).await;
                asking.ends(found.map_err(|denied| denied.to_string()));
            });
        }
        // It takes a while, and nobody else waits for it.
        Order::Drill { notifier, reply } => {
            let agent = Arc::clone(agent);
            tokio::spawn(async move {
                let _ = reply.send(agent.drill(notifier.as_deref()).await.map_err(declined));
            });
        }
        Order::ConfirmDrill { code, reply } => {
            let _ = reply.send(agent.confirm_drill(&code).await.map_err(declined));
        }
        // Whoever serves does that: it has the config.
        Order::Reload { .. } => {}
    }
}

fn asked(request: web::Request) -> Asked {
    let web::Request { routes, rounds, within, strict, accept } = request;
    Asked { routes, rounds, within, strict, accept }
}

fn clear(at: Progress) -> web::Clear {
    web::Clear { clear: at.clear, bad: at.bad, of: at.of }
}

/// How far the accounts of an impact are.
fn accounts(at: impact::Progress) -> web::Accounts {
    let impact::Progress { read, of, looked, to_look } = at;
    web::Accounts { read, of, looked, to_look }
}

/// How far those of a survey are.
fn read(at: coverage::Progress) -> web::Read {
    let coverage::Progress { jobs, read, of } = at;
    web::Read { jobs, read, of }
}

const NO_INCIDENT: &str = "there is no such open incident";

/// Why the agent did not do it, for whoever asked at the door.
fn declined(denied: Denied) -> Declined {
    let text = match &denied {
        // What the ledger says of itself is in the log; here it is enough that it was not done.
        Denied::Ledger(error) => format!("{denied}: {error}"),
        _ => denied.to_string(),
    };
    match denied {
        Denied::NotFound(_) => Declined::NotFound(text),
        Denied::Invalid(_) => Declined::Invalid(text),
        Denied::Busy(_) | Denied::Ledger(_) | Denied::Stopping => Declined::Unavailable(text),
    }
}

/// Reads the config again. One that is bad keeps the old one, and says so.
async fn reload(agent: &Agent, intake: &Arc<Intake>, config: Option<&Path>) -> Result<(), Declined> {
    let Some(config) = config else { return Err(Declined::Invalid("this agent has no config file".to_owned())) };
    match kinds::load(config, intake, false) {
        Ok(plan) => {
            if let Err(error) = landings::admit(intake, &plan.agent.store) {
                agent.reload_refused();
                return Err(Declined::Invalid(format!("{error:#}")));
            }
            agent.reload(&plan).await;
            info!(routes = plan.routes.len(), "config was read again");
            Ok(())
        }
        Err(problems) => {
            agent.reload_refused();
            let text = kinds::text(&problems);
            error!("config was not taken, the old one stays:\n{text}");
            Err(Declined::Invalid(text))
        }
    }
}

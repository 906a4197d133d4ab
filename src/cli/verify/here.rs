//! In this process: ledger, intake and runs of its own.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::watch};
use tracing::warn;

use super::{How, show};
use crate::{
    agent::{
        Clock, Dice, baseline,
        errand::Errand,
        lifecycle::OpenPlan,
        once::Once,
        verify::{self, Asked},
    },
    canary::{Route, Selector},
    cli::{end::End, exit::Usage, kinds, landings, progress},
    config::{CanaryPlan, check_selector},
    detect::verification::Verification,
    store::{Store, StoreError, sqlite::Sqlite},
    target::webhook::Intake,
    web,
};

pub(super) async fn verify(config: &Path, only: &Selector, how: &How) -> Result<Verification> {
    let ended = End::of_commands();
    let intake = Intake::new();
    let mut plan = kinds::load(config, &intake, false).map_err(|problems| {
        kinds::complain(&problems);
        Usage("nothing was verified".to_owned())
    })?;
    check_selector(only, &plan.routes).map_err(|why| Usage(format!("--where: {why}")))?;
    // A report takes what was loaded minutes ago, by an agent that goes on: here there is none.
    let wanted = |route: &&Arc<Route>| only.covers(route) && !plan.reports(route);
    plan.routes = plan.routes.iter().filter(wanted).cloned().collect();
    if plan.routes.is_empty() {
        return Err(
            Usage("nothing to verify: only the agent's own reports are selected; use --agent".to_owned()).into()
        );
    }
    let clock = Clock::System;
    let agent = plan.agent.listen;
    let store: Arc<dyn Store> = match Sqlite::open(&plan.agent.store, clock.now()) {
        Ok(store) => Arc::new(store),
        Err(error @ StoreError::InUse { .. }) => return Err(held(&error.to_string(), agent)),
        Err(error) => return Err(error.into()),
    };
    landings::open(&intake, &store, &plan.agent.store)?;
    let (close, door) = open_door(&plan, &intake, &clock).await?;
    warn_of_haste(&plan, how);
    let asked = Asked {
        routes: plan.routes.clone(),
        rounds: how.rounds(),
        within: how.within(),
        strict: how.strict,
        accept: how.accept,
    };
    let baselines = baseline::baselines(&*store, &plan.routes, clock.now()).await?;
    let dice = Dice::new();
    let (once, heard) = Once::start(&plan, Arc::clone(&store), clock.clone(), dice.clone());
    let mut errand = Errand::new(clock.clone(), dice, once.wants.clone(), heard);
    let line = progress::Line::new();
    // Whoever stops meanwhile hears of no run.
    errand.send(&plan.routes).await;
    let found = verify::verify(&asked, &baselines, &mut errand, ended.came(), |at| show(&line, at)).await;
    drop(line);
    baseline::remember(&*store, &asked, &found, clock.now()).await;
    errand.end().await;
    once.stop().await;
    close.send_replace(true);
    if let Some(door) = door {
        let _ = door.await;
    }
    Ok(found)
}

/// Who waits for less than the objective calls rows lost that are merely not there yet.
fn warn_of_haste(plan: &OpenPlan, how: &How) {
    let within = how.within();
    let hasty =
        |canary: &&CanaryPlan| canary.objective > within && plan.routes.iter().any(|route| route.canary == canary.name);
    for canary in plan.canaries.iter().filter(hasty) {
        let (name, objective) = (&canary.name, canary.objective.as_secs());
        warn!("--within {} s is shorter than the objective of canary `{name}`, {objective} s", within.as_secs());
    }
}

type Door = (watch::Sender<bool>, Option<tokio::task::JoinHandle<()>>);

/// Opens the intake, if a route leads there.
async fn open_door(plan: &OpenPlan, intake: &Arc<Intake>, clock: &Clock) -> Result<Door> {
    let (close, mut closing) = watch::channel(false);
    let doors = intake.targets();
    if !plan.routes.iter().any(|route| doors.contains(&route.target)) {
        return Ok((close, None));
    }
    let address = plan.agent.intake.unwrap_or(plan.agent.listen);
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(held(&format!("somebody listens on {address} already"), plan.agent.listen));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
    };
    intake.listens_at(listener.local_addr()?);
    let clock = clock.clone();
    let router = web::intake_router(Arc::clone(intake), Arc::new(move || clock.now()));
    let closed = async move {
        let _ = closing.wait_for(|closed| *closed).await;
    };
    Ok((close, Some(tokio::spawn(web::serve(listener, router, closed)))))
}

/// A daemon is there already.
fn held(what: &str, agent: SocketAddr) -> anyhow::Error {
    Usage(format!("{what}: if that is the agent, have it verify: --agent http://{agent}")).into()
}

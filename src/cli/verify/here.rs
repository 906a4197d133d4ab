//! In this process: ledger, intake and runs of its own.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::watch};

use super::{How, show};
use crate::{
    agent::{
        Clock, Dice, baseline,
        lifecycle::OpenPlan,
        once::Once,
        scheduler::Want,
        verify::{self, Asked},
    },
    canary::Selector,
    cli::{exit::Usage, kinds, landings, progress},
    config::check_selector,
    detect::verification::Verification,
    store::{Store, StoreError, sqlite::Sqlite},
    target::webhook::Intake,
    web,
};

pub(super) async fn verify(config: &Path, only: &Selector, how: &How) -> Result<Verification> {
    let intake = Intake::new();
    let mut plan = kinds::load(config, &intake, false).map_err(|problems| {
        kinds::complain(&problems);
        Usage("nothing was verified".to_owned())
    })?;
    check_selector(only, &plan.routes).map_err(|why| Usage(format!("--where: {why}")))?;
    plan.routes.retain(|route| only.covers(route));
    let clock = Clock::System;
    let agent = plan.agent.listen;
    let store: Arc<dyn Store> = match Sqlite::open(&plan.agent.store, clock.now()) {
        Ok(store) => Arc::new(store),
        Err(error @ StoreError::InUse { .. }) => return Err(held(&error.to_string(), agent)),
        Err(error) => return Err(error.into()),
    };
    landings::open(&intake, &store, &plan.agent.store)?;
    let (close, door) = open_door(&plan, &intake, &clock).await?;
    let asked = Asked {
        routes: plan.routes.clone(),
        rounds: how.rounds,
        within: how.within,
        strict: how.strict,
        accept: how.accept,
    };
    let began = clock.now();
    let pasts = baseline::pasts(&*store, &plan.routes, began).await?;
    let mut once = Once::start(&plan, Arc::clone(&store), clock.clone(), Dice::new());
    let mut line = progress::Line::new();
    let wants = once.wants.clone();
    // Whoever stops meanwhile hears of no run.
    let _ = wants.send(Want::Verify(plan.routes.iter().map(|route| route.id).collect())).await;
    let found = verify::verify(&asked, &pasts, began, &clock, &wants, &mut once.heard, |at| show(&mut line, at)).await;
    drop(line);
    baseline::remember(&*store, &asked, &found, clock.now()).await;
    drop(wants);
    once.stop().await;
    close.send_replace(true);
    if let Some(door) = door {
        let _ = door.await;
    }
    Ok(found)
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

//! Wishes: what a running agent shows, and what people and pipelines want of it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::Agent;
use crate::{
    agent::{
        baseline, coverage,
        desk::{Released, Told},
        errand::Errand,
        impact,
        maintenance::{Ask, Denied},
        verify::{self, Asked, Progress},
    },
    canary::{Maintenance, Marker, Pause, RouteId, Selector, Silence, Timestamp},
    detect::{Board, Deploy, IncidentId, coverage::Coverage, impact::Impact, verification::Verification},
    store::{Drill, Opening},
};

impl Agent {
    /// How everything stands.
    pub fn board(&self) -> watch::Receiver<Arc<Board>> {
        self.board.clone()
    }

    /// Openings of which something is still to be told, newest first.
    pub fn letters(&self) -> watch::Receiver<Arc<Vec<Opening>>> {
        self.letters.clone()
    }

    /// What is silenced and paused.
    pub fn maintenance(&self) -> watch::Receiver<Arc<Maintenance>> {
        self.maintenance.clone()
    }

    /// Nobody is paged of what it covers while it holds. Its id is made here.
    pub async fn silence(&self, silence: Silence) -> Result<Silence, Denied> {
        self.ask(|reply| Ask::Silence(silence, reply)).await
    }

    /// Takes a silence back.
    pub async fn unsilence(&self, id: String) -> Result<(), Denied> {
        self.ask(|reply| Ask::Unsilence(id, reply)).await
    }

    /// Sends nothing more over what it covers while it holds.
    pub async fn pause(&self, pause: Pause) -> Result<(), Denied> {
        self.ask(|reply| Ask::Pause(pause, reply)).await
    }

    /// Sends again over what is selected; answers how many routes were paused.
    pub async fn resume_sending(&self, only: Selector) -> Result<usize, Denied> {
        self.ask(|reply| Ask::Resume(only, reply)).await
    }

    /// Sends a fire drill through every notifier, or one of them. It takes up to half a minute; that
    /// it is over is told when somebody confirms it, or after two minutes.
    pub async fn drill(&self, notifier: Option<&str>) -> Result<Drill, Denied> {
        Arc::clone(self.drills.as_ref().ok_or(Denied::Stopping)?).send(notifier).await
    }

    /// Somebody got the newest drill, and says its code.
    pub async fn confirm_drill(&self, code: &str) -> Result<Drill, Denied> {
        self.drills.as_ref().ok_or(Denied::Stopping)?.confirm(code).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Denied>>) -> Ask) -> Result<T, Denied> {
        let (reply, answer) = oneshot::channel();
        let asks = self.asks.as_ref().ok_or(Denied::Stopping)?;
        asks.send(ask(reply)).await.map_err(|_| Denied::Stopping)?;
        answer.await.map_err(|_| Denied::Stopping)?
    }

    /// When the scheduler last went round; none before the first time.
    pub fn round(&self) -> Option<Timestamp> {
        let at = self.base.round.load(Ordering::Relaxed);
        (at > 0).then(|| Timestamp::from_micros(at))
    }

    /// Notes a deploy: stored, then every route runs at once, `first` first. False: the agent is stopping.
    pub async fn deploy(&self, deploy: Deploy, first: Selector) -> bool {
        self.release(deploy, first, HashMap::new()).await
    }

    /// Notes a deploy that is also verified. Each route runs once: the runs of those that are verified are the
    /// verification's. None: the agent is stopping.
    pub async fn deploy_to_verify(&self, deploy: Deploy, first: Selector, asked: &Asked) -> Option<Errand> {
        let mut errand = self.errand();
        let verified = asked.routes.iter().map(|route| (route.id, errand.name(route.id))).collect();
        self.release(deploy, first, verified).await.then_some(errand)
    }

    async fn release(&self, deploy: Deploy, first: Selector, verified: HashMap<RouteId, Marker>) -> bool {
        let (reply, answer) = oneshot::channel();
        let released = Released { deploy, first, verified, reply };
        self.told.send(Told::Deploy(Box::new(released))).await.is_ok() && answer.await.is_ok()
    }

    /// Verifies a release over some routes, against what the ledger knows of them. What the runs come to is
    /// also told to detection, like any other.
    pub async fn verify(
        &self,
        asked: &Asked,
        stop: impl Future<Output = ()>,
        show: impl FnMut(Progress),
    ) -> Result<Verification, Denied> {
        let mut errand = self.errand();
        if !errand.send(&asked.routes).await {
            return Err(Denied::Stopping);
        }
        self.verify_what_was_sent(asked, errand, stop, show).await
    }

    /// The same, of runs that are on their way.
    pub async fn verify_what_was_sent(
        &self,
        asked: &Asked,
        mut errand: Errand,
        stop: impl Future<Output = ()>,
        show: impl FnMut(Progress),
    ) -> Result<Verification, Denied> {
        let (store, clock) = (&*self.base.store, &self.base.clock);
        let found = match baseline::baselines(store, &asked.routes, errand.began).await {
            Ok(baselines) => Ok(verify::verify(asked, &baselines, &mut errand, stop, show).await),
            Err(error) => Err(error),
        };
        errand.end().await;
        let found = found?;
        let _one_at_a_time = self.base.found.lock().await;
        baseline::remember(store, asked, &found, clock.now()).await;
        Ok(found)
    }

    fn errand(&self) -> Errand {
        let (ear, heard) = mpsc::unbounded_channel();
        self.base.ears.lock().unwrap_or_else(PoisonError::into_inner).push(ear);
        Errand::new(self.base.clock.clone(), self.base.dice.clone(), self.wants.clone(), heard)
    }

    /// What customers use, and what of it no route covers. Asks every platform that remembers: it may take
    /// minutes. `show` is told how far it is.
    pub async fn coverage(
        &self,
        within: Duration,
        show: impl FnMut(coverage::Progress) + Send,
    ) -> Result<Coverage, Denied> {
        Ok(self.surveyor.as_ref().ok_or(Denied::Stopping)?.look(within, show).await)
    }

    /// What an incident did to customers. `show` is told how far it is.
    pub async fn impact(
        &self,
        asked: &impact::Asked,
        show: impl FnMut(impact::Progress) + Send,
    ) -> Result<Impact, Denied> {
        let craft = Arc::clone(&self.craft.borrow());
        Ok(impact::impact(asked, &craft, &*self.base.store, show).await?)
    }

    /// Closes an incident by hand. False: there is no such open incident.
    pub async fn close(&self, incident: IncidentId, because: String) -> bool {
        let (reply, answer) = oneshot::channel();
        self.told.send(Told::Close(incident, because, reply)).await.is_ok() && answer.await.unwrap_or(false)
    }
}

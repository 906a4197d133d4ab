//! Sight: reads a target for many runs at once, and proves with controls that reading works.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use crate::{
    canary::{Control, Look, Run, Timestamp},
    target::Target,
};

/// Longest wait for a read or a control: a target that takes longer cannot be seen.
const CALL: Duration = Duration::from_secs(20);
/// Most runs in one read, so that one answer stays small.
const MOST: usize = 500;
/// A control may serve another run if it began after that run's claim and is not older than this.
const FRESH: Duration = Duration::from_secs(5);
/// Questions waiting: beyond it those who ask wait as well.
const QUEUE: usize = 4096;

type LookFor = (Arc<Run>, oneshot::Sender<Look>);
type Prove = (Timestamp, oneshot::Sender<Control>);

/// The way to a target's readers. Controls wait for no read, and runs whose rows lie apart from the
/// others' have a reader of their own: one place that is locked blinds nobody else.
#[derive(Clone, Debug)]
pub struct Sight {
    target: Arc<dyn Target>,
    clock: Clock,
    together: mpsc::Sender<LookFor>,
    apart: Arc<Mutex<HashMap<String, mpsc::Sender<LookFor>>>>,
    controls: mpsc::Sender<Prove>,
}

impl Sight {
    /// Starts the readers of a target. They end when nobody can ask any more.
    pub fn open(target: Arc<dyn Target>, clock: Clock) -> Self {
        let together = reader(&target, &clock);
        let (controls, asked) = mpsc::channel(QUEUE);
        tokio::spawn(prove(Arc::clone(&target), clock.clone(), asked));
        Self { target, clock, together, apart: Arc::default(), controls }
    }

    /// Looks for one run.
    pub async fn look(&self, run: Arc<Run>, clock: &Clock) -> Look {
        let (reply, answer) = oneshot::channel();
        let asked = self.reader_of(&run).send((run, reply)).await.is_ok();
        match answer.await {
            Ok(look) if asked => look,
            _ => Look { started_at: clock.now(), found: Err("the agent is stopping".to_owned()) },
        }
    }

    /// A control that began after `after`.
    pub async fn control(&self, after: Timestamp, clock: &Clock) -> Control {
        let (reply, answer) = oneshot::channel();
        let asked = self.controls.send((after, reply)).await.is_ok();
        match answer.await {
            Ok(control) if asked => control,
            _ => Control { started_at: clock.now(), passed: Err("the agent is stopping".to_owned()) },
        }
    }

    fn reader_of(&self, run: &Run) -> mpsc::Sender<LookFor> {
        let Some(place) = self.target.apart(run) else { return self.together.clone() };
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        apart.entry(place).or_insert_with(|| reader(&self.target, &self.clock)).clone()
    }
}

/// A task that reads, one read at a time.
fn reader(target: &Arc<dyn Target>, clock: &Clock) -> mpsc::Sender<LookFor> {
    let (looks, asked) = mpsc::channel(QUEUE);
    tokio::spawn(read(Arc::clone(target), clock.clone(), asked));
    looks
}

async fn read(target: Arc<dyn Target>, clock: Clock, mut asked: mpsc::Receiver<LookFor>) {
    // Whoever asks while a read is under way shares the next one.
    let mut looks = Vec::new();
    while asked.recv_many(&mut looks, MOST).await > 0 {
        look(&target, &clock, std::mem::take(&mut looks)).await;
    }
}

async fn prove(target: Arc<dyn Target>, clock: Clock, mut asked: mpsc::Receiver<Prove>) {
    let mut last: Option<Control> = None;
    let mut wanted = Vec::new();
    while asked.recv_many(&mut wanted, QUEUE).await > 0 {
        let now = clock.now();
        let serves = |control: &&Control| {
            let since = wanted.iter().all(|(after, _)| control.started_at >= *after);
            since && now.since(control.started_at) < FRESH
        };
        let served = match last.as_ref().filter(serves) {
            Some(known) => known.clone(),
            None => control(&target, &clock).await,
        };
        for (_, reply) in wanted.drain(..) {
            // Whoever asked may have gone: its run was judged meanwhile.
            let _ = reply.send(served.clone());
        }
        last = Some(served);
    }
}

async fn look(target: &Arc<dyn Target>, clock: &Clock, asked: Vec<LookFor>) {
    let (runs, replies): (Vec<Arc<Run>>, Vec<_>) = asked.into_iter().unzip();
    let started_at = clock.now();
    let found = match tokio::time::timeout(CALL, target.look(&runs)).await {
        Ok(Ok(sightings)) if sightings.len() == runs.len() => Ok(sightings),
        Ok(Ok(sightings)) => Err(format!("asked for {} runs, answered for {}", runs.len(), sightings.len())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    };
    match found {
        Ok(sightings) => {
            for (reply, sighting) in replies.into_iter().zip(sightings) {
                let _ = reply.send(Look { started_at, found: Ok(sighting) });
            }
        }
        Err(detail) => {
            for reply in replies {
                let _ = reply.send(Look { started_at, found: Err(detail.clone()) });
            }
        }
    }
}

async fn control(target: &Arc<dyn Target>, clock: &Clock) -> Control {
    let started_at = clock.now();
    let passed = match tokio::time::timeout(CALL, target.control()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    };
    Control { started_at, passed }
}

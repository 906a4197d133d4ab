//! Sight: reads a target for many runs at once, and proves with controls that reading works.

use std::{sync::Arc, time::Duration};

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

enum Question {
    Look(Arc<Run>, oneshot::Sender<Look>),
    Control(Timestamp, oneshot::Sender<Control>),
}

/// The way to a target's reader.
#[derive(Clone, Debug)]
pub struct Sight {
    questions: mpsc::Sender<Question>,
}

impl Sight {
    /// Starts the reader of a target. It ends when nobody can ask any more.
    pub fn open(target: Arc<dyn Target>, clock: Clock) -> Self {
        let (questions, asked) = mpsc::channel(QUEUE);
        tokio::spawn(read(target, clock, asked));
        Self { questions }
    }

    /// Looks for one run.
    pub async fn look(&self, run: Arc<Run>, clock: &Clock) -> Look {
        let (reply, answer) = oneshot::channel();
        let asked = self.questions.send(Question::Look(run, reply)).await.is_ok();
        match answer.await {
            Ok(look) if asked => look,
            _ => Look { started_at: clock.now(), found: Err("the agent is stopping".to_owned()) },
        }
    }

    /// A control that began after `after`.
    pub async fn control(&self, after: Timestamp, clock: &Clock) -> Control {
        let (reply, answer) = oneshot::channel();
        let asked = self.questions.send(Question::Control(after, reply)).await.is_ok();
        match answer.await {
            Ok(control) if asked => control,
            _ => Control { started_at: clock.now(), passed: Err("the agent is stopping".to_owned()) },
        }
    }
}

async fn read(target: Arc<dyn Target>, clock: Clock, mut asked: mpsc::Receiver<Question>) {
    let mut last: Option<Control> = None;
    while let Some(first) = asked.recv().await {
        // Whoever asks while a read is under way shares the next one.
        let (mut looks, mut controls) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(question) = next {
            match question {
                Question::Look(run, reply) => looks.push((run, reply)),
                Question::Control(after, reply) => controls.push((after, reply)),
            }
            next = if looks.len() < MOST { asked.try_recv().ok() } else { None };
        }
        let now = clock.now();
        let served = |after: &Timestamp| {
            last.as_ref().is_some_and(|c| c.started_at >= *after && now.since(c.started_at) < FRESH)
        };
        let wanted = controls.iter().any(|(after, _)| !served(after));
        let (_, control) = tokio::join!(look(&target, &clock, looks), async {
            if wanted { Some(control(&target, &clock).await) } else { None }
        });
        last = control.or(last);
        for (_, reply) in controls {
            if let Some(control) = &last {
                // Whoever asked may have gone: its run was judged meanwhile.
                let _ = reply.send(control.clone());
            }
        }
    }
}

async fn look(target: &Arc<dyn Target>, clock: &Clock, asked: Vec<(Arc<Run>, oneshot::Sender<Look>)>) {
    if asked.is_empty() {
        return;
    }
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

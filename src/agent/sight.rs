//! Sight: reads a target for many runs at once, and proves with controls that reading works.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::clock::Clock;
use crate::{
    canary::{Control, Look, Run, Timestamp},
    target::{Target, TargetError},
};

/// Most runs in one read, so that one answer stays small.
const MOST: usize = 500;
/// Most reads that one is parted into: enough to find two troublemakers among [`MOST`] runs.
const MOST_READS: usize = 40;
/// A control may serve another run if it began after that run's claim and is not older than this.
const FRESH: Duration = Duration::from_secs(5);
/// A row of a run that is older than this proves nothing to a control that may only read: whatever broke
/// since then broke after it landed.
const TRACE: Duration = Duration::from_secs(600);
/// Questions waiting: beyond it those who ask wait as well.
const QUEUE: usize = 4096;

type LookFor = (Arc<Run>, oneshot::Sender<Look>);
type Prove = (Timestamp, oneshot::Sender<Option<Control>>);

/// The way to a target's readers. Controls wait for no read, and runs whose rows lie apart from the
/// others' have a reader of their own: one place that is locked blinds nobody else.
#[derive(Clone, Debug)]
pub struct Sight {
    target: Arc<dyn Target>,
    clock: Clock,
    pace: Pace,
    together: mpsc::Sender<LookFor>,
    apart: Arc<Mutex<HashMap<String, mpsc::Sender<LookFor>>>>,
    controls: mpsc::Sender<Prove>,
}

impl Sight {
    /// Starts the readers of a target. They end when nobody can ask any more.
    /// `pause`: reads are so long apart at least.
    pub fn open(target: Arc<dyn Target>, clock: Clock, pause: Duration) -> Self {
        let pace = Pace { pause, next: Arc::new(Mutex::new(Instant::now())) };
        let together = reader(&target, &clock, &pace);
        let (controls, asked) = mpsc::channel(QUEUE);
        tokio::spawn(prove(Arc::clone(&target), clock.clone(), asked));
        Self { target, clock, pace, together, apart: Arc::default(), controls }
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

    /// A control that began after `after`. None: the target can be seen, but may only be read, and held no
    /// row that is young enough to prove anything.
    pub async fn control(&self, after: Timestamp, clock: &Clock) -> Option<Control> {
        let (reply, answer) = oneshot::channel();
        let asked = self.controls.send((after, reply)).await.is_ok();
        match answer.await {
            Ok(control) if asked => control,
            _ => Some(Control { started_at: clock.now(), passed: Err("the agent is stopping".to_owned()) }),
        }
    }

    fn reader_of(&self, run: &Run) -> mpsc::Sender<LookFor> {
        let Some(place) = self.target.apart(run) else { return self.together.clone() };
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        apart.entry(place).or_insert_with(|| reader(&self.target, &self.clock, &self.pace)).clone()
    }
}

/// A task that reads, one read at a time.
fn reader(target: &Arc<dyn Target>, clock: &Clock, pace: &Pace) -> mpsc::Sender<LookFor> {
    let (looks, asked) = mpsc::channel(QUEUE);
    tokio::spawn(read(Arc::clone(target), clock.clone(), pace.clone(), asked));
    looks
}

/// How often a target is read at most, by all of its readers together.
#[derive(Clone, Debug)]
struct Pace {
    pause: Duration,
    /// When the next read may begin. No clock that can be set: nobody waits for the time that it loses.
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    /// Waits for a turn. Turns are given in the order in which they are asked for.
    async fn turn(&self) {
        if self.pause.is_zero() {
            return;
        }
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.pause;
            turn
        };
        sleep_until(turn).await;
    }
}

async fn read(target: Arc<dyn Target>, clock: Clock, pace: Pace, mut asked: mpsc::Receiver<LookFor>) {
    // Whoever asks while a read is under way shares the next one.
    let mut looks = Vec::new();
    while asked.recv_many(&mut looks, MOST).await > 0 {
        // Whoever has gone needs no turn.
        looks.retain(|(_, reply)| !reply.is_closed());
        if looks.is_empty() {
            continue;
        }
        pace.turn().await;
        while looks.len() < MOST
            && let Ok(one_more) = asked.try_recv()
        {
            looks.push(one_more);
        }
        let may_part = pace.pause.is_zero() && target.parts_reads();
        look(&target, &clock, std::mem::take(&mut looks), may_part).await;
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
            Some(known) => Some(known.clone()),
            None => control(&target, &clock).await,
        };
        for (_, reply) in wanted.drain(..) {
            // Whoever asked may have gone: its run was judged meanwhile.
            let _ = reply.send(served.clone());
        }
        last = served;
    }
}

/// Reads for many runs. What is wrong with what one of them left is not laid at the others' door: the
/// read is parted until it is found.
async fn look(target: &Arc<dyn Target>, clock: &Clock, asked: Vec<LookFor>, may_part: bool) {
    let (runs, mut replies): (Vec<Arc<Run>>, Vec<_>) = asked.into_iter().map(|(run, reply)| (run, Some(reply))).unzip();
    let (started_at, patience) = (clock.now(), target.patience());
    let (end, mut reads) = (Instant::now() + patience, 0);
    let mut parts = vec![(0, runs.len())];
    while let Some((from, to)) = parts.pop() {
        let part = from..to;
        reads += 1;
        let found = match tokio::time::timeout_at(end, target.look(&runs[part.clone()])).await {
            Ok(Ok(sightings)) if sightings.len() == part.len() => Ok(sightings),
            Ok(Ok(sightings)) => Err(format!("asked for {} runs, answered for {}", part.len(), sightings.len())),
            Ok(Err(error)) if may_part && part.len() > 1 && reads < MOST_READS && is_of_one(&error) => {
                let middle = from + part.len() / 2;
                parts.extend([(middle, to), (from, middle)]);
                continue;
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        };
        let mut sightings = found.map(Vec::into_iter);
        for reply in &mut replies[part] {
            let found = match &mut sightings {
                Ok(sightings) => Ok(sightings.next().unwrap_or_default()),
                Err(detail) => Err(detail.clone()),
            };
            if let Some(reply) = reply.take() {
                let _ = reply.send(Look { started_at, found });
            }
        }
    }
}

/// Whether a read may have failed because of what one run left: a file that cannot be read, a table that is
/// somebody else's. Refused access is nobody's: asked again and again, it would lock the agent out.
fn is_of_one(error: &TargetError) -> bool {
    matches!(error, TargetError::Foreign { .. } | TargetError::Nonsense { .. })
}

async fn control(target: &Arc<dyn Target>, clock: &Clock) -> Option<Control> {
    let (started_at, patience) = (clock.now(), target.patience());
    let passed = match tokio::time::timeout(patience, target.control_since(started_at.minus(TRACE))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(TargetError::Unproven { .. })) => return None,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    };
    Some(Control { started_at, passed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canary::{
            Address, CanaryName, Labels, Marker, Mode, PlatformName, Route, Rows, Sample, Sighting, TargetName, Terms,
            Why,
        },
        target::Swept,
    };

    /// Cannot read what these runs left.
    #[derive(Debug)]
    struct Picky(Vec<Marker>);

    #[async_trait::async_trait]
    impl Target for Picky {
        fn address(&self, _: &Run) -> Address {
            unreachable!("nobody delivers")
        }
        async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
            match runs.iter().find(|run| self.0.contains(&run.marker)) {
                Some(bad) => Err(TargetError::Nonsense { detail: format!("the file of {}", bad.marker) }),
                None => {
                    Ok(runs.iter().map(|_| Sighting { rows: Rows::all_right(20), ..Sighting::default() }).collect())
                }
            }
        }
        async fn control(&self) -> Result<(), TargetError> {
            Ok(())
        }
        async fn sweep(&self, _: Timestamp) -> Result<Swept, TargetError> {
            Ok(Swept::default())
        }
    }

    fn run(n: i64) -> Arc<Run> {
        let second = Duration::from_secs(1);
        Arc::new(Run {
            marker: Marker::mint(Timestamp::from_secs(1_000 + n), 7),
            route: Arc::new(Route::new(
                CanaryName::new("c").expect("a name"),
                PlatformName::new("p").expect("a name"),
                TargetName::new("t").expect("a name"),
                Mode::Append,
                Labels::default(),
            )),
            terms: Terms { due: Timestamp::from_secs(1_000 + n), objective: second, deadline: second },
            sample: Sample::default(),
            why: Why::Scheduled,
            report: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_run_left_and_nobody_can_read_blinds_to_no_other() {
        let runs: Vec<Arc<Run>> = (0..500).map(run).collect();
        let bad = vec![runs[249].marker, runs[499].marker];
        let target: Arc<dyn Target> = Arc::new(Picky(bad.clone()));
        let (asked, answers): (Vec<LookFor>, Vec<_>) = (runs.iter())
            .map(|run| {
                let (reply, answer) = oneshot::channel();
                ((run.clone(), reply), answer)
            })
            .unzip();
        look(&target, &Clock::System, asked, true).await;
        for (run, answer) in runs.iter().zip(answers) {
            let found = answer.await.expect("everybody is answered").found;
            assert_eq!(found.is_err(), bad.contains(&run.marker), "{found:?}");
        }
    }
}

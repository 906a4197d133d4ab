//! Reading a platform's past: all jobs back to a time, though its list changes while it is read.
//!
//! Jobs are numbered from the newest. What comes in meanwhile shifts the numbers up, what goes shifts them
//! down. So each look begins within what was seen before: it goes on from a job that is known, or it goes
//! back until one is met. Each job is told once, none is left out, and where a bound ended it that is said, and
//! so is how far back a platform remembers that forgets.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tracing::debug;

use super::{clock::Clock, craft::Dice, lifecycle::OpenPlan};
use crate::{
    canary::Timestamp,
    config::TargetPlan,
    platform::{
        PlatformError,
        past::{Ended, Page, Past, PastJob},
    },
    target::Target,
};

/// Jobs in one look: few enough for an answer of a few megabytes, queries included.
const PAGE: usize = 500;
/// A tenth of a look is what was seen before: so many may go between two looks before one must go back.
const OVERLAP: usize = 10;
/// After an answer that was too long, so many good ones come before more is asked for again.
const CALM: usize = 8;
/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(60);
/// Back-off between refused or unanswered looks.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Where reading ends, whatever comes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most jobs kept.
    pub jobs: usize,
    /// Most looks.
    pub looks: usize,
    /// Longest time.
    pub time: Duration,
    /// Longest time of nothing but failures, from the first look on: nobody is there.
    pub silence: Duration,
}

impl Default for Bounds {
    /// A busy account has some 100,000 jobs a day; they are read in minutes, and take some 100 MB.
    fn default() -> Self {
        Self { jobs: 200_000, looks: 5_000, time: Duration::from_secs(600), silence: Duration::from_secs(60) }
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Each job once, as it was told last.
    pub jobs: Vec<PastJob>,
    /// Why some that should have been read were not; none: all were.
    pub cut: Option<String>,
    /// Jobs that had ended by then may have been forgotten before they were read. None: the platform forgets none.
    pub remembers_from: Option<Timestamp>,
}

impl Read {
    /// Why some of the jobs that ended since then may not be here; none: all are.
    pub fn lacks(&self, since: Timestamp) -> Option<String> {
        let forgotten = |from| format!("the platform may have forgotten jobs that had ended by {from}");
        self.cut.clone().or_else(|| self.remembers_from.filter(|from| *from >= since).map(forgotten))
    }
}

/// Schemes of outputs that lead to a target's like: those that the config says, or those of its kind; and what
/// platforms with names of their own call it.
pub(super) fn schemes(plan: &OpenPlan, target: &TargetPlan<Arc<dyn Target>>) -> Vec<String> {
    let mut schemes = match &target.schemes[..] {
        [] => target.driver.schemes().iter().map(|scheme| (*scheme).to_owned()).collect(),
        written => written.to_vec(),
    };
    for platform in &plan.platforms {
        let called = platform.driver.past().and_then(|past| past.calls(target.name.as_str()));
        schemes.extend(called.filter(|scheme| !schemes.contains(scheme)));
    }
    schemes
}

/// Reads all jobs that were created at or after `since`, and some before.
pub async fn read(past: &dyn Past, since: Timestamp, bounds: Bounds, clock: &Clock, dice: &Dice) -> Read {
    let ends_at = clock.now().plus(bounds.time);
    let mut patience = Patience { silent_until: clock.now().plus(bounds.silence).min(ends_at), ends_at };
    let mut reading = Reading { known: HashMap::new(), read: Read::default(), looks: 0 };
    // Nothing is known yet of what a platform that forgets still has.
    reading.read.remembers_from = past.forgets().then_some(clock.now());
    let (mut skip, mut size, mut back) = (0, PAGE, 0);
    // How many one look has brought, so that fewer are the end of the list and no cap; and good looks in a row.
    let (mut proven, mut calm) = (0, 0);
    loop {
        if let Some(cut) = reading.is_enough(bounds, clock.now() >= ends_at) {
            reading.cut(cut);
            return reading.read;
        }
        reading.looks += 1;
        let page = match ask(past, skip, size, patience, clock, dice).await {
            Ok(page) => page,
            // Too long an answer looks like this, and so does one job that cannot be read.
            Err(PlatformError::Nonsense { .. }) if size > 1 => {
                (size, calm) = (size / 2, 0);
                continue;
            }
            Err(error @ PlatformError::Nonsense { .. }) => {
                reading.cut(format!("job number {skip} from the newest cannot be read: {error}"));
                skip += 1;
                continue;
            }
            Err(error) => {
                reading.cut(error.to_string());
                return reading.read;
            }
        };
        // Somebody is there.
        patience.silent_until = ends_at;
        let (told, asked) = (page.jobs.len(), size);
        let goes_on = skip == 0 || asked == 1 || page.jobs.iter().any(|job| reading.known.contains_key(&job.id));
        if !goes_on {
            // So many jobs have gone that something may lie between: back, ever further.
            back = (back * 2).max(asked / 2).max(1);
            skip = skip.saturating_sub(back);
            continue;
        }
        back = 0;
        let is_older = |job: &PastJob| job.created_at.is_some_and(|at| at < since);
        let reached = !page.jobs.is_empty() && page.jobs.iter().all(is_older);
        let is_last = page.is_last;
        reading.take(page, clock.now());
        if reached || (is_last && (asked <= proven || (skip == 0 && told == 0))) {
            return reading.read;
        }
        proven = proven.max(told);
        skip += if told == 1 { 1 } else { told - (told / OVERLAP).max(1).min(told) };
        calm += 1;
        if is_last {
            // The end, or as many as this platform tells at once: asked for no more than that, it shows.
            (size, calm) = (proven.max(1), 0);
        } else if calm >= CALM {
            (size, calm) = ((size * 2).min(PAGE), 0);
        }
    }
}

struct Reading {
    /// Where each job is kept.
    known: HashMap<String, usize>,
    read: Read,
    looks: usize,
}

impl Reading {
    /// Keeps what is new, and what is newer of what is known.
    fn take(&mut self, page: Page, now: Timestamp) {
        if let Some(from) = &mut self.read.remembers_from {
            // Of each look anew, the last of which is the furthest back: what it still has was there all the while.
            // What an earlier one had may have gone since, and more with it.
            let over = page.jobs.iter().filter(|job| job.ended != Ended::AtWork).filter_map(|job| job.ended_at);
            *from = over.min().unwrap_or(now);
        }
        for job in page.jobs {
            match self.known.get(&job.id) {
                Some(at) => self.read.jobs[*at] = job,
                None => {
                    self.known.insert(job.id.clone(), self.read.jobs.len());
                    self.read.jobs.push(job);
                }
            }
        }
    }

    fn is_enough(&self, bounds: Bounds, is_late: bool) -> Option<String> {
        let why = if self.read.jobs.len() >= bounds.jobs {
            format!("{} jobs are the most", bounds.jobs)
        } else if self.looks >= bounds.looks {
            format!("{} looks are the most", bounds.looks)
        } else if is_late {
            format!("{} s are the longest", bounds.time.as_secs())
        } else {
            return None;
        };
        let oldest = self.read.jobs.iter().filter_map(|job| job.created_at).min();
        let back_to = oldest.map_or_else(|| "nothing".to_owned(), |at| format!("jobs back to {at}"));
        Some(format!("{back_to} were read, then it was cut: {why}"))
    }

    fn cut(&mut self, why: String) {
        // The first says most; a hundred of them say no more.
        self.read.cut.get_or_insert(why);
    }
}

/// Until when it is asked again.
#[derive(Clone, Copy)]
struct Patience {
    /// If nobody answers.
    silent_until: Timestamp,
    /// If somebody does, and says when to ask again.
    ends_at: Timestamp,
}

/// One look, asked again while that may help.
async fn ask(
    past: &dyn Past,
    skip: usize,
    most: usize,
    patience: Patience,
    clock: &Clock,
    dice: &Dice,
) -> Result<Page, PlatformError> {
    let mut failures: u32 = 0;
    loop {
        let answer = tokio::time::timeout(CALL, past.jobs(skip, most)).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", CALL.as_secs());
            Err(PlatformError::Unreachable { detail, never_arrived: false })
        });
        let error = match answer {
            Err(error) if error.may_pass() && !matches!(error, PlatformError::Nonsense { .. }) => error,
            answer => return answer,
        };
        let own = dice.jitter((BACK_OFF.0 * 2u32.saturating_pow(failures.min(8))).min(BACK_OFF.1));
        let (pause, ends_at) = match &error {
            PlatformError::Throttled { retry_after } => (own.max(retry_after.unwrap_or_default()), patience.ends_at),
            _ => (own, patience.silent_until),
        };
        failures += 1;
        debug!(%error, failures, "a look at past jobs failed");
        if clock.now().plus(pause) >= ends_at {
            return Err(error);
        }
        clock.sleep_until(clock.now().plus(pause)).await;
    }
}

#[cfg(test)]
mod tests;

//! Reading a list that changes while it is read.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Mutex,
};

use async_trait::async_trait;

use super::*;
use crate::platform::past::{Ended, Standing};

/// A platform whose list shifts at each look.
struct Shifting(Mutex<State>);

struct State {
    /// Newest first.
    jobs: VecDeque<u64>,
    /// Jobs that were there from the first look to the last.
    gone: BTreeSet<u64>,
    next: u64,
    dice: fastrand::Rng,
    /// Most that come, and most that go, at each look.
    comes: usize,
    goes: usize,
    /// Most jobs in an answer, said or not.
    cap: usize,
    /// More jobs than this are too long an answer.
    longest: usize,
    /// Jobs whose entries cannot be read.
    broken: BTreeSet<u64>,
    /// One look in so many is refused.
    refuses: u32,
    /// What goes is what ended first.
    forgets: bool,
    looks: usize,
}

impl Shifting {
    fn of(n: u64, seed: u64) -> State {
        State {
            jobs: (0..n).rev().collect(),
            gone: BTreeSet::new(),
            next: n,
            dice: fastrand::Rng::with_seed(seed),
            comes: 0,
            goes: 0,
            cap: usize::MAX,
            longest: usize::MAX,
            broken: BTreeSet::new(),
            refuses: 0,
            forgets: false,
            looks: 0,
        }
    }
}

/// When a job ended: not in the order in which they began. None: it is still at work.
fn ended(number: u64) -> Option<u64> {
    (!number.is_multiple_of(97)).then_some(number + number * 7_919 % if number.is_multiple_of(13) { 900 } else { 23 })
}

fn job(number: u64) -> PastJob {
    let ended = ended(number);
    PastJob {
        id: number.to_string(),
        owner: None,
        fields: Vec::new(),
        ended: if ended.is_some() { Ended::Success } else { Ended::AtWork },
        created_at: Some(Timestamp::from_secs(number as i64)),
        started_at: None,
        ended_at: ended.map(|at| Timestamp::from_secs(at as i64)),
        rows: None,
        output: None,
        hides_output: false,
        is_canary: false,
    }
}

#[async_trait]
impl Past for Shifting {
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError> {
        let mut state = self.0.lock().expect("not poisoned");
        state.looks += 1;
        let refuses = state.refuses;
        if refuses > 0 && state.dice.u32(0..refuses) == 0 {
            return Err(match state.dice.bool() {
                true => PlatformError::Throttled { retry_after: Some(Duration::from_secs(7)) },
                false => PlatformError::Broken { detail: "500".into() },
            });
        }
        let (comes, goes) = (state.comes, state.goes);
        for _ in 0..state.dice.usize(0..=comes) {
            let number = state.next;
            state.next += 1;
            state.jobs.push_front(number);
        }
        for _ in 0..state.dice.usize(0..=goes).min(state.jobs.len()) {
            let n = state.jobs.len();
            // What has not ended yet, when the newest begins, is still at work.
            let over = |(at, job): (usize, &u64)| Some((ended(*job).filter(|ended| *ended <= state.next)?, at));
            let first = state.jobs.iter().enumerate().filter_map(over).min();
            let at = match first {
                Some((_, at)) if state.forgets => at,
                None if state.forgets => break,
                _ => state.dice.usize(..n),
            };
            let number = state.jobs.remove(at).expect("one");
            state.gone.insert(number);
        }
        let told: Vec<u64> = state.jobs.iter().skip(skip).take(most.min(state.cap)).copied().collect();
        if told.len() > state.longest || told.iter().any(|number| state.broken.contains(number)) {
            return Err(PlatformError::Nonsense { detail: "too long".into() });
        }
        Ok(Page { is_last: told.len() < most, jobs: told.into_iter().map(job).collect() })
    }

    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        Ok(Vec::new())
    }

    fn again(&self, _job: &PastJob) -> Option<String> {
        None
    }

    fn forgets(&self) -> bool {
        self.0.lock().expect("not poisoned").forgets
    }
}

/// Reads back to a job, and says what was left out of those that were there all the time.
async fn left_out(state: State, since: u64) -> (Read, Vec<u64>, usize) {
    let (first, past) = (state.next, Shifting(Mutex::new(state)));
    let clock = Clock::starting_at(Timestamp::from_secs(1_000_000));
    // Refused looks wait: here it is not time that ends it.
    let bounds = Bounds { looks: 50_000, time: Duration::from_secs(86_400), ..Bounds::default() };
    let read = read(&past, Timestamp::from_secs(since as i64), bounds, &clock, &Dice::seeded(1)).await;
    let ids: Vec<u64> = read.jobs.iter().map(|job| job.id.parse().expect("a number")).collect();
    let told: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(told.len(), ids.len(), "each once");
    let state = past.0.into_inner().expect("not poisoned");
    let out = (since..first).filter(|number| !state.gone.contains(number) && !told.contains(number)).collect();
    (read, out, state.looks)
}

#[tokio::test(start_paused = true)]
async fn each_job_is_read_once_and_none_is_left_out_however_the_list_shifts() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let n = dice.u64(0..6_000);
        let state = State {
            comes: [0, 3, 60, 300][dice.usize(..4)],
            goes: [0, 3, 60, 400][dice.usize(..4)],
            cap: [usize::MAX, 20, 100, 499, 500][dice.usize(..5)],
            longest: [usize::MAX, 7, 130][dice.usize(..3)],
            refuses: [0, 3][dice.usize(..2)],
            ..Shifting::of(n, seed)
        };
        let since = if dice.bool() { 0 } else { dice.u64(0..=n) };
        // Fewer come at a look than a look brings, or nobody would ever catch up.
        let state = State { comes: state.comes.min(state.cap.min(state.longest) / 2), ..state };
        let (read, out, looks) = left_out(state, since).await;
        assert_eq!((&out[..], &read.cut), (&[][..], &None), "seed {seed} of {n} since {since} in {looks} looks");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_platform_has_forgotten_is_never_called_read() {
    let mut proven = 0;
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let n = dice.u64(1..3_000);
        let state = State {
            comes: [0, 3, 60][dice.usize(..3)],
            goes: [0, 3, 60, 400][dice.usize(..4)],
            cap: [usize::MAX, 120, 500][dice.usize(..3)],
            forgets: true,
            ..Shifting::of(n, seed)
        };
        let (read, ..) = left_out(state, 0).await;
        let told: BTreeSet<u64> = read.jobs.iter().map(|job| job.id.parse().expect("a number")).collect();
        let from = read.remembers_from.expect("it forgets");
        // Whatever was there when it began to read and ended since then has been read.
        let since = |number: &u64| ended(*number).is_some_and(|at| Timestamp::from_secs(at as i64) > from);
        let missing: Vec<u64> = (0..n).filter(since).filter(|number| !told.contains(number)).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?} of {n} from {from}");
        proven += usize::from(from < Timestamp::from_secs(n as i64));
        assert!(read.lacks(from).is_some() && read.lacks(from.plus(Duration::from_secs(1))).is_none());
    }
    // And most of what is there is known to be.
    assert!(proven > 200, "{proven}");
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_further_back_than_it_must() {
    let (read, out, looks) = left_out(Shifting::of(100_000, 1), 99_000).await;
    assert!(out.is_empty() && read.jobs.len() < 2_000 && looks < 6, "{} jobs, {looks} looks", read.jobs.len());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_read_is_said_and_the_rest_is_read() {
    let state = State { broken: [777, 1_500].into(), ..Shifting::of(2_000, 1) };
    let (read, out, _) = left_out(state, 0).await;
    assert_eq!(out, [777, 1_500]);
    assert!(read.cut.is_some_and(|cut| cut.contains("cannot be read")));
}

#[tokio::test(start_paused = true)]
async fn what_a_bound_cuts_is_said() {
    let past = Shifting(Mutex::new(Shifting::of(5_000, 1)));
    let clock = Clock::starting_at(Timestamp::from_secs(1_000_000));
    for (bounds, why) in [
        (Bounds { jobs: 900, ..Bounds::default() }, "900 jobs are the most"),
        (Bounds { looks: 2, ..Bounds::default() }, "2 looks are the most"),
        (Bounds { time: Duration::ZERO, ..Bounds::default() }, "0 s are the longest"),
    ] {
        let read = read(&past, Timestamp::EPOCH, bounds, &clock, &Dice::seeded(1)).await;
        assert!(read.cut.as_ref().is_some_and(|cut| cut.ends_with(why)), "{:?}", read.cut);
        assert!(read.jobs.len() < 2_000);
    }
    let down = State { refuses: 1, ..Shifting::of(5, 1) };
    let read = read(&Shifting(Mutex::new(down)), Timestamp::EPOCH, Bounds::default(), &clock, &Dice::seeded(1)).await;
    assert!(read.cut.is_some() && read.jobs.is_empty());
}

/// What nobody answers for.
struct Dead;

#[async_trait]
impl Past for Dead {
    async fn jobs(&self, _: usize, _: usize) -> Result<Page, PlatformError> {
        Err(PlatformError::Unreachable { detail: "connection refused".into(), never_arrived: true })
    }

    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        Ok(Vec::new())
    }

    fn again(&self, _job: &PastJob) -> Option<String> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_never_answers_is_given_up_long_before_one_that_is_slow() {
    let begins = Timestamp::from_secs(1_000_000);
    let clock = Clock::starting_at(begins);
    let read = read(&Dead, Timestamp::EPOCH, Bounds::default(), &clock, &Dice::seeded(1)).await;
    assert!(read.cut.is_some_and(|cut| cut.contains("connection refused")));
    assert!(clock.now().since(begins) <= Duration::from_secs(60));
}

//! A run in flight: submit, follow, verify, until it can be judged. The only place that waits,
//! retries and times out on behalf of drivers.

mod eyes;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tracing::{Instrument, debug, error, info_span, warn};

use super::{
    after::After,
    craft::{Craft, Pad},
    desk::Told,
    dogfood::Chore,
    ground::ground,
    sight::Sight,
};
use crate::{
    canary::{
        Claim, Evidence, Judgement, Look, Outcome, Phase, Run, State, Timestamp, Verdict, Why,
        evidence::half_empty_for, judge, looks, wait,
    },
    platform::{Handle, Job, JobState, PlatformError, Progress, Resume},
    target::Target,
};

/// Longest wait for one answer of a platform.
const CALL: Duration = Duration::from_secs(20);
/// Back-off between refused or unanswered calls.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// A platform's time that is further from ours than this is not believed.
const DAY: Duration = Duration::from_secs(86_400);
/// A moment after the objective: a look that starts then can prove that rows came late.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// A run on its way, with what has been seen.
pub struct Flight {
    craft: Arc<Craft>,
    run: Arc<Run>,
    pad: Arc<Pad>,
    target: Arc<dyn Target>,
    sight: Sight,
    after: After,
    evidence: Evidence,
    /// What readers saw of a table that is displaced before the platform's last word. It proves nothing of
    /// our rows: they may be displaced once more.
    glances: Vec<Look>,
    handle: Option<Handle>,
    /// The ledger's handle or evidence is older than ours in something that a restart would want.
    unkept: bool,
    /// A submit was not answered, and may have started a job all the same.
    may_have_started: bool,
    /// Calls in a row that failed.
    failures: u32,
    /// Looks at the target since the platform's last word.
    sights: usize,
    /// What a provisional verdict last said.
    told: Option<Outcome>,
    /// What has to be done before a report's query is sent.
    chore: Chore,
    /// How often its stages were asked.
    located: u32,
}

impl Flight {
    /// A flight that begins, or goes on after a restart with what the ledger knows. None: its
    /// platform or target is no longer configured.
    pub fn new(
        craft: &Arc<Craft>,
        after: &After,
        run: Arc<Run>,
        handle: Option<Handle>,
        evidence: Evidence,
    ) -> Option<Self> {
        let pad = Arc::clone(craft.pads.get(&run.route.platform)?);
        let (target, sight) = craft.targets.get(&run.route.target)?.clone();
        // Asking for the address tells an intake that rows of this run may come.
        let _ = target.address(&run);
        Some(Self {
            craft: Arc::clone(craft),
            after: after.clone(),
            run,
            pad,
            target,
            sight,
            evidence,
            glances: Vec::new(),
            handle,
            unkept: false,
            may_have_started: false,
            failures: 0,
            sights: 0,
            told: None,
            chore: Chore::default(),
            located: 0,
        })
    }

    /// The same, with something to be done first.
    pub fn first_doing(self, chore: Chore) -> Self {
        Self { chore, ..self }
    }

    /// Flies to the final verdict. `resumed`: the agent was restarted meanwhile.
    pub async fn fly(self, resumed: bool) {
        let span = info_span!("run", run = %self.run.marker, route = %self.run.route);
        self.go(resumed).instrument(span).await;
    }

    async fn go(mut self, resumed: bool) {
        if resumed {
            if let Some(why) = self.is_beyond_recall() {
                return ground(&self.craft, &self.run, self.evidence, why).await;
            }
            self.find_again().await;
        }
        let mut poll_at = self.craft.clock.now();
        // A run whose deadline passed while nobody watched is asked once all the same.
        let mut owed = resumed;
        let mut sight_at: Option<Timestamp> = None;
        let mut overdue_seen = false;
        loop {
            let spoke = self.evidence.claim.is_last_word();
            let now = self.craft.clock.now();
            if !spoke && now >= poll_at && (now < self.deadline() || owed) {
                owed = false;
                self.watch_what_is_displaced().await;
                let pause = self.ask_platform().await;
                let now = self.craft.clock.now();
                poll_at = now.plus(pause);
                if self.evidence.claim.is_last_word() {
                    self.tell_who_verifies().await;
                    // Kept with the verdict, if the first look at the target settles the run.
                    self.unkept = true;
                    sight_at = Some(now);
                }
            }
            let usual = self.craft.usual(self.run.route.id);
            let overdue_at = wait::overdue_at(&self.run.terms, &self.evidence, &usual);
            let now = self.craft.clock.now();
            let (overdue, at_deadline) = (now >= overdue_at, now >= self.deadline());
            if sight_at.is_some_and(|at| now >= at) || (overdue && !overdue_seen) || at_deadline {
                self.look_at_target(overdue || at_deadline).await;
                if overdue && !overdue_seen {
                    self.doubt_success().await;
                }
                overdue_seen |= overdue;
                sight_at = self.next_sight(overdue_at);
                if at_deadline || wait::is_over(&self.run.terms, &self.evidence, &usual, self.craft.clock.now()) {
                    self.prove().await;
                    return self.settle().await;
                }
                self.keep_what_is_owed().await;
                if overdue {
                    self.tell_early().await;
                }
            }
            let mut next = self.deadline();
            if !self.evidence.claim.is_last_word() {
                next = next.min(poll_at);
            }
            if let Some(at) = sight_at {
                next = next.min(at);
            }
            if !overdue_seen {
                next = next.min(wait::overdue_at(&self.run.terms, &self.evidence, &usual));
            }
            self.craft.clock.sleep_until(next).await;
        }
    }

    fn deadline(&self) -> Timestamp {
        self.run.terms.deadline_at(self.evidence.accepted_at)
    }

    /// After a restart: why nobody can say any more what becomes of the job that was sent.
    fn is_beyond_recall(&self) -> Option<&'static str> {
        if self.evidence.claim.is_last_word() {
            return None;
        }
        match (self.pad.driver.resume(), &self.handle) {
            (Resume::ByMarker, _) | (Resume::ByHandle, Some(_)) => None,
            // That it was sent is written down only with the answer.
            (_, None) => Some("agent was restarted before the platform answered"),
            (Resume::Not, Some(_)) => {
                Some("agent was restarted: jobs of this platform are lost with the connection they were sent on")
            }
        }
    }

    /// After a restart: is there a job, and where is it?
    async fn find_again(&mut self) {
        if self.handle.is_some() || self.evidence.claim.is_last_word() {
            return;
        }
        loop {
            match self.call(self.pad.driver.find(&self.run)).await {
                Ok(Some(handle)) => return self.accepted(handle).await,
                // Submitting now would be a new run under an old due time.
                Ok(None) => return self.give_up("agent was restarted before it submitted"),
                Err(_) if self.craft.clock.now() >= self.deadline() => {
                    return self.give_up("agent was restarted, and the platform does not say whether it has the job");
                }
                Err(error) => {
                    self.hear_trouble(&error, Phase::Submit);
                    let pause = self.back_off(&error);
                    self.craft.clock.sleep_until(self.craft.clock.now().plus(pause).min(self.deadline())).await;
                }
            }
        }
    }

    fn give_up(&mut self, why: &str) {
        let now = self.craft.clock.now();
        // Refused for good by ourselves: nothing more will be heard, and the gap in watching makes
        // it `unknown`.
        self.evidence.heard(Claim::Refused { phase: Phase::Submit, for_good: true, detail: why.to_owned() }, now);
        self.evidence.away.push(crate::canary::Away { from: self.run.terms.due, until: now.plus(JUST_AFTER) });
    }

    /// Submits, or asks how the job is. Answers how long to wait before the next time.
    async fn ask_platform(&mut self) -> Duration {
        match self.handle.clone() {
            None => self.submit().await,
            Some(handle) => self.follow(handle).await,
        }
    }

    async fn submit(&mut self) -> Duration {
        let now = self.craft.clock.now();
        let ready = match &self.run.report {
            Some(_) => self.call(self.craft.reports.prepare(&self.pad, &self.chore, &self.craft.clock)).await,
            None => self.call(self.pad.prepare(self.run.sample, now)).await,
        };
        if let Err(error) = ready {
            return self.not_accepted(&error);
        }
        // Done once, however often the query has to be sent.
        self.chore = Chore::default();
        if self.may_have_started && self.pad.driver.resume() != Resume::ByMarker {
            // Never repeated blindly.
            return self.craft.clock.now().plus(self.run.terms.deadline).since(now);
        }
        self.evidence.submitted_at.get_or_insert(now);
        let job = Job {
            run: Arc::clone(&self.run),
            deliver_to: self.target.address(&self.run),
            deadline: self.run.terms.deadline_at(Some(now)),
        };
        match self.call(self.pad.driver.submit(&job)).await {
            Ok(handle) => {
                self.accepted(handle).await;
                looks::POLL.0
            }
            Err(error) => {
                self.may_have_started |= !error.never_started();
                self.not_accepted(&error)
            }
        }
    }

    async fn accepted(&mut self, handle: Handle) {
        let now = self.craft.clock.now();
        self.failures = 0;
        self.handle = Some(handle);
        self.evidence.accepted_at = Some(now);
        self.evidence.heard(Claim::Running { phase: Phase::Queue }, now);
        self.evidence.entered(Phase::Queue, now);
        self.keep().await;
    }

    fn not_accepted(&mut self, error: &PlatformError) -> Duration {
        self.hear_trouble(error, Phase::Submit);
        self.back_off(error)
    }

    async fn follow(&mut self, handle: Handle) -> Duration {
        // The newest handle is stored before the next look.
        self.keep_what_is_owed().await;
        match self.call(self.pad.driver.look(&handle)).await {
            Ok((state, newest)) => {
                self.failures = 0;
                if newest != handle {
                    self.handle = Some(newest);
                    self.unkept = true;
                    // What the marker finds again is not lost if the agent dies now. Any other
                    // handle is: the one that the ledger has may be used up.
                    if self.pad.driver.resume() != Resume::ByMarker {
                        self.keep().await;
                    }
                }
                self.hear(state).await;
                let age = self.craft.clock.now().since(self.run.terms.start(self.evidence.accepted_at));
                looks::poll_pause(age)
            }
            Err(error) => {
                let phase = self.evidence.phases.last().map_or(Phase::Queue, |(phase, _)| *phase);
                self.hear_trouble(&error, phase);
                self.back_off(&error)
            }
        }
    }

    /// Done, and overdue: perhaps the platform has thought better of it (an export that was linked
    /// late, and failed). Asked once; a claim that stands is not heard anew.
    async fn doubt_success(&mut self) {
        let stands = !matches!(self.evidence.claim, Claim::Done { .. }) || self.evidence.first_complete().is_some();
        let Some(handle) = self.handle.clone().filter(|_| !stands) else { return };
        self.keep_what_is_owed().await;
        if let Ok((state, newest)) = self.call(self.pad.driver.look(&handle)).await {
            self.handle = Some(newest);
            if !matches!(state.progress, Progress::Done { .. }) {
                self.hear(state).await;
                self.keep().await;
            }
        }
    }

    async fn hear(&mut self, state: JobState) {
        let now = self.craft.clock.now();
        // A clock that is a day off tells nothing of how long a phase took.
        for (phase, at) in state.phases.into_iter().filter(|(_, at)| at.since(now).max(now.since(*at)) < DAY) {
            self.evidence.entered(phase, at);
        }
        if !state.jobs.is_empty() {
            self.evidence.jobs = state.jobs;
        }
        let claim = match state.progress {
            Progress::Running(phase) => {
                self.evidence.entered(phase, now);
                Claim::Running { phase }
            }
            Progress::Done { rows } => Claim::Done { rows },
            Progress::Error { phase, detail } => Claim::Error { phase, detail },
            Progress::Killed { phase } => Claim::Killed { phase },
        };
        if claim.is_last_word() {
            self.evidence.entered(Phase::Land, now);
        }
        if matches!(claim, Claim::Error { .. }) {
            self.pad.doubt().await;
        }
        self.evidence.heard(claim, now);
    }

    fn hear_trouble(&mut self, error: &PlatformError, phase: Phase) {
        let now = self.craft.clock.now();
        self.failures += 1;
        debug!(%error, failures = self.failures, "platform call failed");
        let detail = error.to_string();
        let claim = if error.answered() {
            Claim::Refused { phase, for_good: !error.may_pass() && !matches!(error, PlatformError::NotFound), detail }
        } else {
            Claim::Unheard { detail }
        };
        self.evidence.heard(claim, now);
    }

    fn back_off(&self, error: &PlatformError) -> Duration {
        let doubled = BACK_OFF.0 * 2u32.saturating_pow(self.failures.saturating_sub(1).min(8));
        let own = self.craft.dice.jitter(doubled.min(BACK_OFF.1));
        match error {
            // Later than we would, if it asks for that; never at once.
            PlatformError::Throttled { retry_after: Some(after) } => own.max(*after),
            _ => own,
        }
    }

    /// One call with its deadline.
    async fn call<T>(&self, call: impl Future<Output = Result<T, PlatformError>>) -> Result<T, PlatformError> {
        let answer = tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", CALL.as_secs());
            Err(PlatformError::Unreachable { detail, never_arrived: false })
        });
        if let Some(metrics) = &self.craft.metrics {
            metrics.reached(&self.pad.name, answer.as_ref().err().is_none_or(PlatformError::answered));
        }
        answer
    }

    fn judge(&mut self, at: Timestamp) -> Judgement {
        let start = self.run.terms.start(self.evidence.accepted_at);
        for gap in self.craft.away(start, at) {
            if !self.evidence.away.contains(&gap) {
                self.evidence.away.push(gap);
            }
        }
        judge(&self.run.terms, &self.evidence, at)
    }

    /// A job that ended badly is news for whoever verifies, long before it can be judged. For nobody else: it is
    /// no verdict.
    async fn tell_who_verifies(&self) {
        let is_good = matches!(self.evidence.claim, Claim::Done { .. });
        if self.run.why == Why::Verify && !is_good {
            // A desk that is closed: nobody verifies any more.
            let _ = self.craft.desk.send(Told::EndedBadly(Arc::clone(&self.run))).await;
        }
    }

    /// Judges an overdue run for the time being.
    async fn tell_early(&mut self) {
        let now = self.craft.clock.now();
        let mut judgement = self.judge(now);
        if self.run.report.is_some() && judgement.outcome.is_silent() {
            self.locate().await;
            judgement = self.judge(now);
        }
        let counts = match judgement.outcome.state() {
            State::Red => true,
            // Nobody answers, or nobody can read: that is worth knowing before the deadline.
            State::Grey => !judgement.agent_away,
            State::Green | State::Amber => false,
        };
        if counts && self.told != Some(judgement.outcome) {
            self.told = Some(judgement.outcome);
            let verdict = verdict(&self.run, judgement, true, now, self.evidence.clone());
            self.send(verdict).await;
        }
    }

    /// Judges for good, and hands over to the later looks.
    async fn settle(mut self) {
        let now = self.craft.clock.now();
        let judgement = self.judge(now);
        if judgement.outcome.state() == State::Red {
            self.craft.reports.doubt(&self.run, self.evidence.stages.as_ref()).await;
        }
        let still_running = !self.evidence.claim.is_last_word();
        self.evidence.half_empty = half_empty_for(self.glances.iter().chain(&self.evidence.looks));
        let verdict = verdict(&self.run, judgement, false, now, std::mem::take(&mut self.evidence));
        self.after.watch(&self.run, &verdict);
        self.send(verdict).await;
        if still_running && let Some(handle) = &self.handle {
            // Judged it is: a driver that breaks down here takes nothing back.
            match AssertUnwindSafe(self.call(self.pad.driver.cancel(handle))).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "could not stop the job at its deadline"),
                Err(_) => error!("the agent broke down when it stopped a job at its deadline"),
            }
        }
    }

    async fn send(&self, verdict: Verdict) {
        if self.craft.desk.send(Told::Verdict(Box::new(verdict), self.run.clone())).await.is_err() {
            debug!("the desk is closed; the run is resumed at the next start");
        }
    }

    /// Keeps handle and evidence, so that a restart goes on from here.
    async fn keep(&mut self) {
        self.unkept = false;
        let handle = self.handle.as_ref().map(Handle::as_str);
        if let Err(error) = self.craft.store.progress(self.run.marker, handle, &self.evidence).await {
            warn!(%error, "could not keep progress");
        }
    }

    /// Keeps what was put off in the hope that the verdict would come first.
    async fn keep_what_is_owed(&mut self) {
        if self.unkept {
            self.keep().await;
        }
    }
}

/// A judgement made a verdict.
pub fn verdict(run: &Run, judgement: Judgement, provisional: bool, at: Timestamp, evidence: Evidence) -> Verdict {
    Verdict {
        run: run.marker,
        route: run.route.id,
        due: run.terms.due,
        why: run.why,
        outcome: judgement.outcome,
        phase: judgement.phase,
        reason: judgement.reason,
        also: judgement.also,
        provisional,
        seen_late: judgement.seen_late,
        agent_away: judgement.agent_away,
        at,
        evidence: Arc::new(evidence),
    }
}

//! Coverage: asks the platforms what customers use, and keeps what it was told, so that another config is held
//! against it without asking again.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future, stream};
use tracing::{info, warn};

use super::{
    clock::Clock,
    craft::Dice,
    lifecycle::OpenPlan,
    past::{self, Bounds, Read},
};
use crate::{
    canary::{PlatformName, Timestamp},
    config::{PlatformPlan, TargetPlan},
    detect::{
        coverage::{self, Coverage, DIFFER_BY, Fields, Fleet, Pace, Runner, Sends, Sink, Survey, Unheard, Way},
        incident::LabelSet,
    },
    metrics::{Metrics, Uncovered},
    platform::{
        Platform, PlatformError,
        past::{Ended, Output, Past, PastJob, Standing},
    },
    target::Target,
};

/// How far back the agent looks by itself: what comes once a month is seen.
pub const WITHIN: Duration = Duration::from_secs(30 * 24 * 3600);
/// The agent looks by itself so long after it has begun: runs come first.
const FIRST: Duration = Duration::from_secs(300);
/// What stands is asked for again after these.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];
/// What the API calls a job that writes another's result out.
const EXPORT: &str = "result_export";
/// The scheme of an output that names a saved connection.
const NAMED: &str = "name";

/// Accounts that are asked at once: each may take some 100 MB.
const AT_ONCE: usize = 4;
/// What stands is waited for so long: what jobs did says more.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Jobs that were read.
    pub jobs: u64,
    /// Accounts that have been read.
    pub read: usize,
    /// All of them.
    pub of: usize,
}

/// Asks, compares, and remembers.
pub struct Surveyor {
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    began: Timestamp,
    state: Mutex<State>,
    /// One at a time: each reads a month of jobs.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    watched: Arc<Watched>,
    /// The newest that looked as far back as the agent does by itself.
    last: Option<Survey>,
}

/// What is watched, and who can be asked.
struct Watched {
    platforms: Vec<(PlatformName, Arc<dyn Platform>)>,
    fleet: Fleet,
}

impl Surveyor {
    pub(super) fn new(plan: &OpenPlan, clock: Clock, dice: Dice, metrics: Option<Arc<Metrics>>) -> Arc<Self> {
        let state = State { watched: Arc::new(Watched::of(plan, clock.now())), last: None };
        let began = clock.now();
        Arc::new(Self { clock, dice, metrics, began, state: Mutex::new(state), turn: tokio::sync::Mutex::default() })
    }

    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another plan: what is known is held against it at once.
    pub(super) fn configure(&self, plan: &OpenPlan) {
        let watched = Arc::new(Watched::of(plan, self.clock.now()));
        let mut state = self.state();
        state.watched = Arc::clone(&watched);
        if let Some(last) = &state.last {
            self.export(&watched.compare(last));
        }
    }

    /// Asks every platform that remembers. `show` is told how far it is.
    pub async fn look(&self, within: Duration, mut show: impl FnMut(Progress) + Send) -> Coverage {
        let _turn = self.turn.lock().await;
        let watched = Arc::clone(&self.state().watched);
        let survey = watched.survey(within, &self.clock, &self.dice, &mut show).await;
        // The config may have changed meanwhile.
        let mut state = self.state();
        let found = state.watched.compare(&survey);
        if within == WITHIN {
            self.export(&found);
            state.last = Some(survey);
        }
        found
    }

    /// Looks again and again.
    pub(super) async fn keep_looking(self: Arc<Self>, every: Duration) {
        if !self.state().watched.platforms.iter().any(|(_, platform)| platform.past().is_some()) {
            return;
        }
        loop {
            let last = self.state().last.as_ref().map(|survey| survey.at);
            let due = last.map_or(self.began.plus(FIRST.min(every)), |last| last.plus(every));
            self.clock.sleep_until(due).await;
            let found = self.look(WITHIN, |_| ()).await;
            for Unheard { platform, because } in &found.unheard {
                warn!(%platform, "could not tell what customers use: {because}");
            }
            let closable = found.gaps().filter(|gap| gap.can_close()).count();
            info!(gaps = found.gaps().count(), closable, "looked for what customers use and no route covers");
        }
    }

    fn export(&self, found: &Coverage) {
        let Some(metrics) = &self.metrics else { return };
        let mut series: BTreeMap<Uncovered, u64> = BTreeMap::new();
        for gap in found.gaps() {
            let of = Uncovered {
                platform: gap.platform.clone(),
                engine: gap.engine.clone(),
                engine_version: gap.engine_version.clone(),
                pool: gap.pool.clone(),
                schemes: gap.target_kind.is_none().then(|| gap.schemes.join(",")),
                target_kind: gap.target_kind.clone(),
                mode: gap.mode,
            };
            *series.entry(of).or_default() += gap.jobs;
        }
        metrics.uncovered(series);
    }
}

/// Holds what customers use against a plan.
pub fn compare(plan: &OpenPlan, survey: &Survey, now: Timestamp) -> Coverage {
    Watched::of(plan, now).compare(survey)
}

impl Watched {
    fn of(plan: &OpenPlan, now: Timestamp) -> Self {
        let platforms: Vec<_> =
            plan.platforms.iter().map(|platform| (platform.name.clone(), Arc::clone(&platform.driver))).collect();
        let runners = plan.platforms.iter().filter_map(|platform| {
            let past = platform.driver.past()?;
            let route = plan.routes.iter().find(|route| route.platform == platform.name);
            let canary = route.and_then(|route| plan.canary(&route.canary));
            let pace = canary.map_or(Pace::USUAL, |canary| Pace {
                every: canary.schedule.longest_gap(now),
                objective: canary.objective,
                deadline: canary.deadline,
            });
            Some(Runner {
                platform: platform.name.clone(),
                kind: platform.kind,
                account: account_of(&platform.name, past),
                sends: sends(plan, platform, past),
                outputs: platform.outputs.clone(),
                pace,
            })
        });
        let fleet = Fleet {
            runners: runners.collect(),
            targets: plan.targets.iter().map(|target| sink(plan, target)).collect(),
            routes: plan.routes.clone(),
            landings: plan.landings.clone(),
            taken: [
                plan.platforms.iter().map(|platform| platform.name.to_string()).collect(),
                plan.targets.iter().map(|target| target.name.to_string()).collect(),
                plan.canaries.iter().map(|canary| canary.name.to_string()).collect(),
            ],
        };
        Self { platforms, fleet }
    }

    fn compare(&self, survey: &Survey) -> Coverage {
        let sibling = |beside: &PlatformName, name: &str, fields: &Fields| {
            let (_, platform) = self.platforms.iter().find(|(known, _)| known == beside)?;
            let given = DIFFER_BY.into_iter().zip(fields);
            let given: Vec<_> = given.filter_map(|(name, value)| Some((name, value.clone()?))).collect();
            platform.past()?.sibling(name, &given)
        };
        coverage::coverage(survey, &self.fleet, &sibling)
    }

    async fn survey(&self, within: Duration, clock: &Clock, dice: &Dice, show: &mut impl FnMut(Progress)) -> Survey {
        let mut reading = Reading {
            survey: Survey::new(clock.now(), within),
            seen: HashSet::new(),
            exports: HashMap::new(),
            connections: HashMap::new(),
        };
        let mut asked: HashSet<String> = HashSet::new();
        // One with the same access is told the same.
        let mut is_new = |past: &dyn Past| past.account().is_none_or(|account| asked.insert(account));
        let pasts: Vec<(&PlatformName, &dyn Past)> = (self.platforms.iter())
            .filter_map(|(name, platform)| Some((name, platform.past()?)))
            .filter(|(_, past)| is_new(*past))
            .collect();
        let mut at = Progress { of: pasts.len(), ..Progress::default() };
        show(at);
        let since = reading.survey.at.minus(within);
        let hearings: Vec<_> =
            pasts.into_iter().map(|(name, past)| hear(name, past, since, clock, dice).boxed()).collect();
        let mut heard = stream::iter(hearings).buffered(AT_ONCE);
        while let Some(heard) = heard.next().await {
            let platform = heard.platform.clone();
            if let Err(because) = reading.read(heard, since) {
                reading.survey.unheard.push(Unheard { platform, because });
            }
            (at.jobs, at.read) = (reading.seen.len() as u64, at.read + 1);
            show(at);
        }
        reading.survey
    }
}

/// Which jobs run on a platform: those that the config says, or those that the driver sends.
fn sends(plan: &OpenPlan, platform: &PlatformPlan<Arc<dyn Platform>>, past: &dyn Past) -> Vec<Sends> {
    if platform.jobs.is_empty() {
        let fields = fields(&past.own());
        return vec![Sends { account: account_of(&platform.name, past), fields, is_any_else: false }];
    }
    let set = |written: &LabelSet| {
        let value = |wanted: &str| written.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let shown_by = match value("account") {
            Some(other) => plan.platforms.iter().find(|known| known.name.as_str() == other)?,
            None => platform,
        };
        let account = account_of(&shown_by.name, shown_by.driver.past()?);
        let fields = DIFFER_BY.map(|name| value(name).map(str::to_owned));
        Some(Sends { account, fields, is_any_else: true })
    };
    platform.jobs.iter().filter_map(set).collect()
}

fn sink(plan: &OpenPlan, target: &TargetPlan<Arc<dyn Target>>) -> Sink {
    Sink { name: target.name.clone(), kind: target.kind, schemes: past::schemes(plan, target) }
}

/// Whose jobs a platform shows, as a number that holds for this process.
pub fn account_of(name: &PlatformName, past: &dyn Past) -> u64 {
    let mut hasher = DefaultHasher::new();
    match past.tenant() {
        Some(tenant) => (true, tenant).hash(&mut hasher),
        None => (false, name.as_str()).hash(&mut hasher),
    }
    hasher.finish()
}

fn fields(pairs: &[(&'static str, String)]) -> Fields {
    DIFFER_BY.map(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
}

/// A job that writes another's result out.
struct Export {
    output: Output,
    id: String,
    at: Option<Timestamp>,
    ended: Ended,
    owner: Option<String>,
}

/// What one account told.
struct Heard {
    platform: PlatformName,
    account: u64,
    standing: Result<Vec<Standing>, String>,
    read: Read,
}

/// All of one account, as far back as is asked for.
async fn hear(name: &PlatformName, past: &dyn Past, since: Timestamp, clock: &Clock, dice: &Dice) -> Heard {
    let standing = async {
        let late = || Err(format!("no answer within {} s", PATIENCE.as_secs()));
        let told = tokio::time::timeout(PATIENCE, standing(past, clock)).await;
        told.map_or_else(|_| late(), |told| told.map_err(|error| error.to_string()))
    };
    let read = past::read(past, since, Bounds::default(), clock, dice);
    let (standing, read) = future::join(standing, read).await;
    Heard { platform: name.clone(), account: account_of(name, past), standing, read }
}

/// What stands, asked again where that may help.
async fn standing(past: &dyn Past, clock: &Clock) -> Result<Vec<Standing>, PlatformError> {
    for pause in AGAIN {
        match past.standing().await {
            Err(error) if error.may_pass() => clock.sleep_until(clock.now().plus(pause)).await,
            answer => return answer,
        }
    }
    past.standing().await
}

/// What is being read.
struct Reading {
    survey: Survey,
    /// Jobs, by account and id: two keys may show the same.
    seen: HashSet<(u64, String)>,
    /// Exports by the job whose result they write: that one comes later, being older.
    exports: HashMap<(u64, String), Vec<Export>>,
    /// What saved connections lead to.
    connections: HashMap<(u64, String), Output>,
}

impl Reading {
    /// Takes in what an account told, or says what it did not tell.
    fn read(&mut self, heard: Heard, since: Timestamp) -> Result<(), String> {
        let Heard { account, standing, read, .. } = heard;
        let unread = match standing {
            Ok(standing) => {
                self.standing(account, standing);
                None
            }
            // The jobs say more than these.
            Err(error) => Some(format!("its connections and schedules cannot be read: {error}")),
        };
        let lacks = read.lacks(since);
        for job in read.jobs {
            self.job(account, job);
        }
        lacks.or(unread).map_or(Ok(()), Err)
    }

    fn standing(&mut self, account: u64, standing: Vec<Standing>) {
        let (saved, connections): (Vec<_>, Vec<_>) = standing.into_iter().partition(|standing| standing.is_scheduled);
        for connection in connections {
            self.survey.connection(account, &connection.output.scheme);
            self.connections.insert((account, connection.name), connection.output);
        }
        for saved in saved {
            let fields = fields(&saved.fields);
            self.survey.tells(account, &fields);
            if let Some(next_at) = saved.next_at {
                let way = self.way(account, fields, &saved.output);
                self.survey.schedule(way, next_at, saved.owner.as_deref());
            }
        }
    }

    fn job(&mut self, account: u64, job: PastJob) {
        if !self.seen.insert((account, job.id.clone())) {
            return;
        }
        let its = fields(&job.fields);
        if job.field("type") == Some(EXPORT) {
            let Some(target) = job.field("result_export_target_job_id").map(str::to_owned) else { return };
            let Some(output) = job.output else { return };
            let export = Export { output, id: job.id, at: job.created_at, ended: job.ended, owner: job.owner };
            self.exports.entry((account, target)).or_default().push(export);
            return;
        }
        self.survey.tells(account, &its);
        let exports = self.exports.remove(&(account, job.id.clone())).unwrap_or_default();
        if job.is_canary {
            return;
        }
        // What its own export does is the job's own way; one that was made again may go another.
        let again = exports.into_iter().filter(|export| {
            let own = job.field("linked_result_export_job_id") == Some(export.id.as_str());
            !own && job.output.as_ref().is_none_or(|output| output.shown != export.output.shown)
        });
        for export in again {
            let way = self.way(account, its.clone(), &export.output);
            self.survey.job(way, export.at, ended_badly(export.ended), export.owner.as_deref());
        }
        if let Some(output) = &job.output {
            let way = self.way(account, its, output);
            self.survey.job(way, job.created_at, ended_badly(job.ended), job.owner.as_deref());
        }
    }

    /// The way of an output. One that names a saved connection leads where that leads.
    fn way(&self, account: u64, fields: Fields, output: &Output) -> Way {
        let named = (output.scheme == NAMED).then(|| output.shown.split(':').next().unwrap_or_default().to_owned());
        let connection = named.and_then(|name| self.connections.get(&(account, name)));
        let scheme = connection.unwrap_or(output).scheme.clone();
        let mode = output.mode.or_else(|| connection.and_then(|connection| connection.mode));
        Way { account, fields, scheme, mode }
    }
}

fn ended_badly(ended: Ended) -> bool {
    matches!(ended, Ended::Error | Ended::Killed)
}

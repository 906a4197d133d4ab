//! Impact: what an incident did to customers, from the ledger and from what platforms remember.

mod check;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};

use super::{
    craft::{Craft, Pad},
    lifecycle::OpenPlan,
    past::{self, Bounds},
};
use crate::{
    canary::{Outcome, Phase, PlatformName, RouteId, Timestamp, Verdict},
    detect::{
        Incident,
        impact::{
            self, Account, Bracket, Flown, Ground, Hit, Impact, Scene, Sink, Span, brackets, can_be_silent, hull,
            struck,
        },
        incident::LabelSet,
        verification::Pairs,
    },
    platform::past::{Ended, PastJob},
    store::{RunRecord, Store, StoreError},
};

/// Jobs on a list at most: more are no list of customers to call.
const MOST_HITS: usize = 20_000;
/// Runs of a route that are read at first, and at most.
const RUNS: (u32, u32) = (200, 10_000);
/// Routes whose runs are read: those of an incident are many only in large fleets, and each says the same.
const ROUTES: usize = 64;
/// Accounts that are read at once: each may take some 100 MB.
const AT_ONCE: usize = 4;
/// Platforms tell times in whole seconds, cut.
const CUT: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which incident.
    pub incident: Incident,
    /// A job whose query began this long before the bracket may still have been at work in it.
    pub longest_job: Duration,
    /// Whether targets are looked at too.
    pub check: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Accounts that have been read.
    pub read: usize,
    /// All of them.
    pub of: usize,
    /// Outputs that have been looked for at their targets.
    pub looked: usize,
    /// All of them that are to be.
    pub to_look: usize,
}

/// Tells somebody how far it is; several looks at once do.
struct Shown<F> {
    at: Progress,
    show: F,
}

impl<F: FnMut(Progress)> Shown<F> {
    fn tell(shown: &Mutex<Self>, change: impl FnOnce(&mut Progress)) {
        let mut shown: MutexGuard<'_, Self> = shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown.at);
        let at = shown.at;
        (shown.show)(at);
    }
}

/// How jobs map to what is watched, and by whose access they are read.
#[derive(Debug, Default)]
pub struct Scenery {
    scene: Scene,
    accounts: Vec<Access>,
    /// Platforms that remember nothing that could be asked.
    forgetful: Vec<PlatformName>,
}

/// An account, and who can read it.
#[derive(Debug)]
struct Access {
    platforms: Vec<PlatformName>,
    pad: Arc<Pad>,
}

impl Scenery {
    /// Of a plan.
    pub(super) fn of(plan: &OpenPlan, pads: &HashMap<PlatformName, Arc<Pad>>) -> Self {
        let mut scenery = Self::default();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for platform in &plan.platforms {
            let (Some(past), Some(pad)) = (platform.driver.past(), pads.get(&platform.name)) else {
                scenery.forgetful.push(platform.name.clone());
                continue;
            };
            let next = scenery.accounts.len();
            let number = past.account().map_or(next, |account| *known.entry(account).or_insert(next));
            if number == next {
                scenery.accounts.push(Access { platforms: Vec::new(), pad: Arc::clone(pad) });
            }
            scenery.accounts[number].platforms.push(platform.name.clone());
            numbers.insert(platform.name.as_str(), number);
        }
        for platform in &plan.platforms {
            let own = numbers.get(platform.name.as_str()).copied();
            let set = |written: &LabelSet| {
                let named = written.iter().find(|(name, _)| name == "account");
                let account = named.map_or(own, |(_, other)| numbers.get(other.as_str()).copied())?;
                Some((account, written.iter().filter(|(name, _)| name != "account").cloned().collect()))
            };
            let jobs: Vec<(usize, LabelSet)> = match (&platform.jobs[..], own, platform.driver.past()) {
                ([], Some(own), Some(past)) => {
                    vec![(own, past.own().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())]
                }
                (written, ..) => written.iter().filter_map(set).collect(),
            };
            let (name, labels) = (platform.name.to_string(), platform.labels.clone());
            scenery.scene.platforms.push(Ground { name, labels, jobs });
        }
        for target in &plan.targets {
            let schemes = past::schemes(plan, target);
            let (name, labels) = (target.name.to_string(), target.labels.clone());
            scenery.scene.targets.push(Sink { name, labels, schemes });
        }
        scenery
    }
}

/// Finds it. `show` is told how far it is.
pub(super) async fn impact(
    asked: &Asked,
    craft: &Craft,
    store: &dyn Store,
    show: impl FnMut(Progress) + Send,
) -> Result<Impact, StoreError> {
    let Asked { incident, longest_job, check } = asked;
    let (scenery, now) = (&craft.scenery, craft.clock.now());
    let runs = runs(incident, store).await?;
    let brackets = lasted(incident, &runs, now);
    let bracket = hull(&brackets);
    let sets: Vec<LabelSet> = [&incident.suspects].into_iter().chain(&incident.also).cloned().collect();
    let mut found = Impact {
        incident: incident.id.to_string(),
        outcome: incident.outcome,
        suspects: Pairs(incident.suspects.clone()),
        bracket,
        brackets,
        jobs: Vec::new(),
        accounts: Vec::new(),
        notes: Vec::new(),
        is_whole: true,
    };
    if incident.is_open() {
        found.notes.push("the incident is still open: ask again when it is over".to_owned());
        found.is_whole = false;
    }
    if let Err(why) = can_be_silent(incident.outcome) {
        found.notes.push(why.to_owned());
        found.is_whole &= incident.outcome != Outcome::Unknown;
        return Ok(found);
    }
    if bracket.last_good.is_none() {
        let first = bracket.from();
        found.notes.push(format!("no good run is known before the first bad one: jobs before {first} are not listed"));
        found.is_whole = false;
    }
    for name in scenery.forgetful.iter().filter(|name| scenery.scene.may_hit(name.as_str(), &sets)) {
        found.notes.push(format!("platform `{name}` remembers nothing that could be asked: its jobs are not listed"));
        found.is_whole = false;
    }
    let since = bracket.from().minus(*longest_job);
    let mut hits: Vec<(Timestamp, Hit)> = Vec::new();
    let shown = Mutex::new(Shown { at: Progress { of: scenery.accounts.len(), ..Progress::default() }, show });
    Shown::tell(&shown, |_| ());
    let pasts = scenery.accounts.iter().enumerate();
    let pasts = pasts.filter_map(|(number, access)| Some((number, access, access.pad.driver.past()?)));
    let reading: Vec<_> = pasts
        .map(|(number, access, past)| {
            let shown = &shown;
            let read = async move {
                let read = past::read(past, since, Bounds::default(), &craft.clock, &craft.dice).await;
                Shown::tell(shown, |at| at.read += 1);
                (number, access, past, read)
            };
            read.boxed()
        })
        .collect();
    let mut reading = stream::iter(reading).buffered(AT_ONCE);
    while let Some((number, access, past, read)) = reading.next().await {
        let outputs = outputs(number, &read.jobs);
        let hidden = |job: &&PastJob| {
            hidden(number, job).is_some_and(|job| struck(&job, &found.brackets, &sets, &scenery.scene).is_some())
        };
        let hidden = read.jobs.iter().filter(hidden).count();
        let mut at_work = 0;
        for output in outputs {
            if !output.is_over {
                at_work += usize::from(may_be_hit_yet(output.job, now, &found.brackets, &sets, &scenery.scene));
                continue;
            }
            let Some(struck) = struck(&output.job, &found.brackets, &sets, &scenery.scene) else { continue };
            let when = output.job.wrote.map_or(bracket.from(), |wrote| wrote.from);
            let again = past.again(output.past);
            hits.push((when, hit(output, struck, again)));
        }
        let platforms: Vec<String> = access.platforms.iter().map(ToString::to_string).collect();
        if at_work > 0 {
            let whose = platforms.join(", ");
            found
                .notes
                .push(format!("{at_work} jobs ({whose}) that may have been hit are still at work: ask again later"));
        }
        if hidden > 0 {
            let whose = platforms.join(", ");
            found.notes.push(format!(
                "{hidden} jobs ({whose}) may have written something, and the platform does not say where: not listed"
            ));
        }
        // What ended before the bracket was not hit, whoever has forgotten it.
        let cut = read.lacks(bracket.from());
        found.is_whole &= cut.is_none() && hidden == 0 && at_work == 0;
        found.accounts.push(Account { platforms, jobs: read.jobs.len(), since, cut });
    }
    hits.sort_by(|(one, a), (other, b)| (one, &a.job_id).cmp(&(other, &b.job_id)));
    if hits.len() > MOST_HITS {
        found.notes.push(format!("{} jobs were hit; the first {MOST_HITS} are listed", hits.len()));
        found.is_whole = false;
        hits.truncate(MOST_HITS);
    }
    found.jobs = hits.into_iter().map(|(_, hit)| hit).collect();
    if *check {
        check::look_at_targets(&mut found.jobs, craft, |looked, to_look| {
            Shown::tell(&shown, |at| (at.looked, at.to_look) = (looked, to_look));
        })
        .await;
    }
    Ok(found)
}

fn hit(output: Output<'_>, struck: impact::Struck, again: Option<String>) -> Hit {
    let Output { job, past, .. } = output;
    let shown = past.output.as_ref();
    Hit {
        job_id: job.id,
        platform: struck.platform,
        owner: job.owner,
        query_start: job.started_at,
        end: job.ended_at,
        scheme: shown.map(|output| output.scheme.clone()).unwrap_or_default(),
        address: shown.map(|output| output.shown.clone()).unwrap_or_default(),
        mode: job.mode,
        rows: past.rows,
        certain: struck.doubts.is_empty(),
        because: (!struck.doubts.is_empty()).then(|| struck.doubts.join("; ")),
        again,
        check: None,
    }
}

/// One output of a customer's job.
struct Output<'p> {
    job: impact::Job,
    past: &'p PastJob,
    /// Job and export have ended.
    is_over: bool,
}

/// The outputs of customers' jobs that ended well, or are still at work. An export that a platform made for a
/// query is the query's output; one that somebody asked for later is one of its own, where its query ran.
fn outputs(account: usize, read: &[PastJob]) -> Vec<Output<'_>> {
    let by_id: HashMap<&str, &PastJob> = read.iter().map(|job| (job.id.as_str(), job)).collect();
    let query_of = |job: &PastJob| job.field("result_export_target_job_id").map(|id| by_id.get(id).copied());
    let output = |past: &'_ PastJob| -> Option<(impact::Job, bool)> {
        let shown = past.output.as_ref()?;
        let query = query_of(past);
        if past.is_canary || query.flatten().is_some_and(|query| query.is_canary) {
            return None;
        }
        let linked = |query: &PastJob| query.field("linked_result_export_job_id") == Some(past.id.as_str());
        if query.flatten().is_some_and(linked) {
            return None;
        }
        let link = past.field("linked_result_export_job_id").map(|id| by_id.get(id).copied());
        let states = [Some(past.ended), link.flatten().map(|export| export.ended)];
        if states.into_iter().flatten().any(|ended| matches!(ended, Ended::Error | Ended::Killed)) {
            return None;
        }
        let is_over = states.into_iter().flatten().all(|ended| ended == Ended::Success);
        let wrote = match link {
            Some(Some(export)) => span(export),
            // It has an export, of which nothing is known.
            Some(None) => None,
            None => span(past),
        };
        // Where an export runs is where its query ran.
        let kind = match query {
            Some(Some(query)) => &query.fields[..],
            Some(None) => &[],
            None => &past.fields[..],
        };
        let scheme = Some(shown.scheme.clone()).filter(|scheme| !matches!(scheme.as_str(), "name" | "json"));
        let job = impact::Job {
            account,
            id: past.id.clone(),
            owner: past.owner.clone(),
            fields: kind.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            scheme,
            mode: shown.mode,
            started_at: past.started_at,
            ended_at: past.ended_at,
            wrote,
        };
        Some((job, is_over))
    };
    read.iter().filter_map(|past| output(past).map(|(job, is_over)| Output { job, past, is_over })).collect()
}

/// Whether a job that is still at work may have written its output already, where and while the fault was.
fn may_be_hit_yet(job: impact::Job, now: Timestamp, brackets: &[Bracket], sets: &[LabelSet], scene: &Scene) -> bool {
    // What has not begun has written nothing.
    let Some(from) = job.started_at else { return false };
    let wrote = Some(Span { from, until: now.max(from) });
    struck(&impact::Job { wrote, ..job }, brackets, sets, scene).is_some()
}

/// A customer's job that ended well, of which nobody knows whether it has an output.
fn hidden(account: usize, past: &PastJob) -> Option<impact::Job> {
    let may_have = past.hides_output && !past.is_canary && past.ended == Ended::Success;
    may_have.then(|| impact::Job {
        account,
        id: past.id.clone(),
        owner: None,
        fields: past.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        scheme: None,
        mode: None,
        started_at: past.started_at,
        ended_at: past.ended_at,
        wrote: span(past),
    })
}

fn span(job: &PastJob) -> Option<Span> {
    let from = job.started_at.or(job.created_at)?;
    Some(Span { from, until: job.ended_at?.plus(CUT).max(from) })
}

/// When its fault was there.
fn lasted(incident: &Incident, runs: &[Flown], now: Timestamp) -> Vec<Bracket> {
    let mut brackets = brackets(incident.onset, incident.resolved_at, runs, now);
    if let ([one], Some(_)) = (&mut brackets[..], incident.reopened_at) {
        // It was over in between, and the ledger no longer has the good runs that say when.
        one.is_intermittent = true;
    }
    brackets
}

/// What the ledger knows of the runs on an incident's routes.
async fn runs(incident: &Incident, store: &dyn Store) -> Result<Vec<Flown>, StoreError> {
    let mut records: Vec<RunRecord> = Vec::new();
    let mut seen = HashSet::new();
    for marker in &incident.runs {
        records.extend(store.run(*marker).await?);
    }
    seen.extend(records.iter().map(|record| record.run.marker));
    let before = incident.onset.last_good.unwrap_or(incident.onset.first_bad);
    for route in incident.routes.iter().take(ROUTES) {
        let read = back_to(store, *route, before).await?;
        records.extend(read.into_iter().filter(|record| seen.insert(record.run.marker)));
    }
    Ok(records.iter().filter_map(|record| flown(incident, record)).collect())
}

/// The runs of a route, back to a due time if the ledger has as many.
async fn back_to(store: &dyn Store, route: RouteId, before: Timestamp) -> Result<Vec<RunRecord>, StoreError> {
    let mut most = RUNS.0;
    loop {
        let read = store.runs(Some(route), most).await?;
        let reached = read.last().is_none_or(|oldest| oldest.run.terms.due < before);
        if reached || (read.len() as u32) < most || most >= RUNS.1 {
            return Ok(read);
        }
        most = (most * 5).min(RUNS.1);
    }
}

/// A run as evidence of the fault: hit by it, or landed; none if it is neither.
fn flown(incident: &Incident, record: &RunRecord) -> Option<Flown> {
    let verdict = record.verdict.as_ref().filter(|verdict| !verdict.agent_away)?;
    let due = record.run.terms.due;
    let within = due >= incident.onset.first_bad && incident.resolved_at.is_none_or(|over| due < over);
    let is_named = incident.runs.contains(&verdict.run);
    let is_bad = match verdict.outcome {
        Outcome::Landed => false,
        outcome if outcome.family() == Some(incident.family) && (is_named || within) => true,
        _ => return None,
    };
    Some(Flown { route: record.run.route.id, wrote: wrote(due, verdict), is_bad })
}

/// When a run's rows were written, or should have been. Phases are told by the platform where it can: its
/// query has begun before anything is written.
fn wrote(due: Timestamp, verdict: &Verdict) -> Span {
    let evidence = &verdict.evidence;
    let phase = |wanted| evidence.phases.iter().find(|(phase, _)| *phase == wanted).map(|(_, at)| *at);
    let from = phase(Phase::Execute).or(evidence.accepted_at).unwrap_or(due);
    let until = phase(Phase::Land).or(evidence.claimed_at).map_or(verdict.at, |at| at.plus(CUT));
    Span { from, until: until.max(from) }
}

#[cfg(test)]
mod tests;

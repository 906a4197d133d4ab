//! The scene: which jobs ran on which platform, and what holds for them of the names that faults are told by.
//! Three answers: it holds, it does not, nobody can tell.

use super::Job;
use crate::{
    canary::{Labels, Mode},
    detect::incident::LabelSet,
};

/// What is watched, as far as jobs can be mapped to it.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Platforms.
    pub platforms: Vec<Ground>,
    /// Targets.
    pub targets: Vec<Sink>,
}

/// A platform that jobs run on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Which jobs ran there: read with one account's access, and every field as it is here. One set is enough.
    pub jobs: Vec<(usize, LabelSet)>,
}

/// A target like which outputs are.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Schemes of addresses that lead to its like.
    pub schemes: Vec<String>,
}

/// All of them hold, one does not, or nobody can tell.
fn all(held: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    held.into_iter()
        .try_fold(true, |all, one| match one {
            Some(true) => Ok(all),
            Some(false) => Err(Some(false)),
            None => Ok(false),
        })
        .map_or_else(|no| no, |all| all.then_some(true))
}

/// One of them holds, none does, or nobody can tell.
fn any(held: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let not = |one: Option<bool>| one.map(|one| !one);
    not(all(held.into_iter().map(not)))
}

/// The same for all: that, else nobody can tell.
fn common(held: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut held = held.into_iter();
    let first = held.next()?;
    held.all(|one| one == first).then_some(first).flatten()
}

impl Scene {
    /// The platforms that a job may have run on, by their numbers.
    pub(super) fn grounds(&self, job: &Job) -> Vec<usize> {
        let ran = |ground: &Ground| {
            let sets = ground.jobs.iter().filter(|(account, _)| *account == job.account).map(|(_, set)| set);
            any(sets.map(|set| all(set.iter().map(|(name, value)| job.field(name).map(|own| own == value)))))
        };
        let may = |(at, ground)| (ran(ground) != Some(false)).then_some(at);
        self.platforms.iter().enumerate().filter_map(may).collect()
    }

    /// Whether a fault with these names can have hit jobs of a platform, whatever they are.
    pub fn may_hit(&self, platform: &str, suspects: &[LabelSet]) -> bool {
        let any = Job {
            account: usize::MAX,
            id: String::new(),
            owner: None,
            fields: Vec::new(),
            scheme: None,
            mode: None,
            started_at: None,
            ended_at: None,
            wrote: None,
        };
        let at = self.platforms.iter().position(|ground| ground.name == platform);
        at.is_none_or(|at| suspects.iter().any(|set| self.holds(&any, &[at], set) != Some(false)))
    }

    /// Whether every pair of a set holds for a job that ran on one of these.
    pub(super) fn holds(&self, job: &Job, grounds: &[usize], set: &LabelSet) -> Option<bool> {
        if grounds.is_empty() {
            // What does not name a platform can still be told.
            return match all(set.iter().map(|(name, value)| self.holds_at(job, None, name, value))) {
                Some(false) => Some(false),
                _ => None,
            };
        }
        let on = |at: &usize| {
            let ground = &self.platforms[*at];
            all(set.iter().map(|(name, value)| self.holds_at(job, Some(ground), name, value)))
        };
        common(grounds.iter().map(on))
    }

    fn holds_at(&self, job: &Job, ground: Option<&Ground>, name: &str, value: &str) -> Option<bool> {
        match name {
            "platform" => ground.map(|ground| ground.name == value),
            "mode" => job.mode.map(|mode: Mode| mode.as_str() == value),
            "target" => {
                let target = self.targets.iter().find(|target| target.name == value)?;
                self.leads_to(job, target)
            }
            // Nobody but us sends what a canary sends.
            "canary" => None,
            label => self.of_targets(job, label, value).or_else(|| Some(ground?.labels.get(label)? == value)),
        }
    }

    /// Whether an output goes to a target like this one.
    fn leads_to(&self, job: &Job, target: &Sink) -> Option<bool> {
        let scheme = job.scheme.as_ref()?;
        // Of a target without a scheme nobody knows what is like it.
        (!target.schemes.is_empty()).then(|| target.schemes.contains(scheme))
    }

    /// A label that targets have: what those say that are like the job's.
    fn of_targets(&self, job: &Job, label: &str, value: &str) -> Option<bool> {
        let like = |target: &&Sink| self.leads_to(job, target) == Some(true);
        let labelled = self.targets.iter().filter(|target| target.labels.get(label).is_some());
        common(labelled.filter(like).map(|target| target.labels.get(label).map(|own| own == value)))
    }
}

impl Job {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

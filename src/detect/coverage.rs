//! Coverage: the ways in which customers use the platforms, against those that routes watch.
//!
//! A way is what a fault can tell apart: which jobs (their type, their engine's version, their pool), into
//! which kind of target, written in which mode. A route covers a way if its platform runs such jobs, its
//! target is of that kind, and its mode is that mode. What was used within the time that is looked at, or
//! will be by a schedule within as long, and no route covers, is a gap.

mod closing;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::survey::{DIFFER_BY, Fields, Survey, Unheard, Use, Way};

use self::closing::{Closing, Names};
use crate::canary::{Mode, PlatformName, Route, TargetName, Timestamp, time::Brief};

/// A kind of target: what leads into it, and how one is written in a config.
#[derive(Clone, Copy, Debug)]
pub struct Landing {
    /// Its name in the config.
    pub kind: &'static str,
    /// Modes that it can be written in. Empty: any.
    pub modes: &'static [Mode],
    /// Schemes of Result Output addresses that lead into one, in lower case.
    pub schemes: &'static [&'static str],
    /// Its table with all that a user has to fill in. `NAME` is the target's name, `ENV` the same in names of
    /// environment variables.
    pub example: &'static str,
}

/// A platform that remembers, as far as its jobs are concerned.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Which.
    pub platform: PlatformName,
    /// Its kind: the engine of jobs that have no type.
    pub kind: &'static str,
    /// Whose jobs it shows.
    pub account: u64,
    /// Which jobs run there: those of any of these.
    pub sends: Vec<Sends>,
    /// The targets that it has a name for; none: it takes a target's own address.
    pub outputs: Option<Vec<String>>,
    /// How often its canaries are sent.
    pub pace: Pace,
}

/// Jobs that run on a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sends {
    /// Whose.
    pub account: u64,
    /// Which.
    pub fields: Fields,
    /// A field that is not said is any. Otherwise it is the account's default, and no other.
    pub is_any_else: bool,
}

/// A target, as far as what leads into it is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name.
    pub name: TargetName,
    /// Its kind.
    pub kind: &'static str,
    /// Schemes of the addresses that lead into targets like it.
    pub schemes: Vec<String>,
}

/// How often a canary is sent, and what it is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Its interval.
    pub every: Duration,
    /// Its objective.
    pub objective: Duration,
    /// Its deadline.
    pub deadline: Duration,
}

impl Pace {
    /// Where there is no canary yet.
    pub const USUAL: Pace = Pace {
        every: Duration::from_secs(300),
        objective: Duration::from_secs(120),
        deadline: Duration::from_secs(300),
    };
}

/// What watches.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Platforms that remember, in file order.
    pub runners: Vec<Runner>,
    /// Targets, in file order.
    pub targets: Vec<Sink>,
    /// The routes.
    pub routes: Vec<Arc<Route>>,
    /// The kinds of targets there are.
    pub landings: Vec<Landing>,
    /// Names that platforms, targets and canaries have.
    pub taken: [BTreeSet<String>; 3],
}

/// How it stands with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// Used, and no route covers it.
    Gap,
    /// A route covers it.
    Covered,
    /// A connection is there, and no job has used it.
    Unused,
}

/// A way, and how it stands with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How it stands.
    pub watch: Watch,
    /// The platform that runs such jobs, or the first of the same account if none does.
    pub platform: PlatformName,
    /// Type of the jobs; empty for a connection.
    pub engine: String,
    /// Version of the engine, if it is told and not the default.
    pub engine_version: Option<String>,
    /// Pool, likewise.
    pub pool: Option<String>,
    /// Schemes of the addresses.
    pub schemes: Vec<String>,
    /// The kind of target they lead into; none: there is none for them.
    pub target_kind: Option<String>,
    /// How it is written; none: nobody can tell.
    pub mode: Option<Mode>,
    /// Jobs within the time.
    pub jobs: u64,
    /// Of these, those that ended badly.
    pub failed: u64,
    /// Whose they are: so many people.
    pub owners: usize,
    /// Schedules that will use it.
    pub schedules: u64,
    /// Connections that lead there.
    pub connections: u64,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// The routes that cover it.
    pub routes: Vec<String>,
    /// Why a gap cannot be closed yet.
    pub because: Option<String>,
    /// What closes the gap, put into a file in the folder of probes.
    pub toml: Option<String>,
}

impl Line {
    /// A gap that can be closed.
    pub fn can_close(&self) -> bool {
        self.watch == Watch::Gap && self.toml.is_some()
    }

    /// Another account's jobs go the same way.
    fn joined_by(&mut self, other: Line, owners: usize) {
        self.jobs += other.jobs;
        self.failed += other.failed;
        self.owners = owners;
        self.schedules += other.schedules;
        self.connections += other.connections;
        self.last_used_at = self.last_used_at.max(other.last_used_at);
        self.schemes.extend(other.schemes);
        self.schemes.sort();
        self.schemes.dedup();
        self.routes.extend(other.routes);
        self.routes.sort();
        self.routes.dedup();
    }
}

/// What customers use, and what of it is covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// When the platforms were asked.
    pub at: Timestamp,
    /// How far back, in seconds.
    pub within_seconds: u64,
    /// The ways: gaps first, each by use.
    pub ways: Vec<Line>,
    /// Platforms that could not be asked.
    pub unheard: Vec<Unheard>,
    /// Jobs left out because they went more ways than can be told apart.
    pub left_out: u64,
    /// What closes all gaps that can be closed.
    pub toml: Option<String>,
}

impl Coverage {
    /// The gaps, most used first.
    pub fn gaps(&self) -> impl Iterator<Item = &Line> {
        self.ways.iter().filter(|line| line.watch == Watch::Gap)
    }
}

/// The table of a platform that has an account's jobs in common with this one and runs others, under this name.
pub type Sibling<'a> = &'a dyn Fn(&PlatformName, &str, &Fields) -> Option<String>;

/// What one line is of: schemes that lead into one kind of target are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    account: u64,
    fields: Fields,
    into: Result<&'static str, String>,
    mode: Option<Mode>,
}

/// Where a way goes, for whoever reads of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    watch: Watch,
    platform: PlatformName,
    is_run: bool,
    fields: Fields,
    into: Result<&'static str, String>,
    mode: Option<Mode>,
}

/// Compares what customers use with what is watched.
pub fn coverage(survey: &Survey, fleet: &Fleet, sibling: Sibling<'_>) -> Coverage {
    let mut uses: BTreeMap<Key, Use> = BTreeMap::new();
    for (way, used) in &survey.ways {
        let into = fleet.kind_of(&way.scheme).ok_or_else(|| way.scheme.clone());
        let key = Key { account: way.account, fields: way.fields.clone(), into, mode: way.mode };
        let all = uses.entry(key).or_default();
        all.jobs += used.jobs;
        all.failed += used.failed;
        all.last_at = all.last_at.max(used.last_at);
        all.schedules += used.schedules;
        all.owners.extend(used.owners.iter().cloned());
        all.schemes.insert(way.scheme.clone());
    }
    // Accounts whose jobs one platform runs are one way there: one route closes it.
    let mut lines: BTreeMap<Place, (Line, Key, BTreeSet<String>)> = BTreeMap::new();
    for (key, used) in uses {
        let owners = used.owners.clone();
        let Some((line, key)) = line(survey, fleet, key, used) else { continue };
        let is_run = fleet.running(survey, &key).next().is_some();
        let place = Place {
            watch: line.watch,
            platform: line.platform.clone(),
            is_run,
            fields: key.fields.clone(),
            into: key.into.clone(),
            mode: key.mode,
        };
        match lines.entry(place) {
            Entry::Vacant(free) => drop(free.insert((line, key, owners))),
            Entry::Occupied(mut there) => {
                let (known, _, people) = there.get_mut();
                people.extend(owners);
                known.joined_by(line, people.len());
            }
        }
    }
    let mut found: Vec<(Line, Key)> = lines.into_values().map(|(line, key, _)| (line, key)).collect();
    found.extend(unused(survey, fleet, &found));
    found.sort_by_cached_key(|(line, _)| {
        let by_use = (u64::MAX - line.jobs, u64::MAX - line.schedules, std::cmp::Reverse(line.last_used_at));
        (line.watch, by_use, line.platform.clone(), line.engine.clone(), line.schemes.clone(), line.mode)
    });
    let mut together = Names::of(fleet);
    let mut all = String::new();
    for (line, key) in found.iter_mut().filter(|(line, _)| line.watch == Watch::Gap) {
        let closing = Closing { survey, fleet, sibling, line, key };
        match closing.tables(&mut Names::of(fleet)) {
            Ok(tables) => {
                let why = reason(line, survey.within);
                // It went well with fresh names, and so it does with these.
                if let Ok(more) = closing.tables(&mut together) {
                    let _ = write!(all, "\n{why}{more}");
                }
                line.toml = Some(format!("{why}{tables}"));
            }
            Err(because) => line.because = Some(because),
        }
    }
    Coverage {
        at: survey.at,
        within_seconds: survey.within.as_secs(),
        ways: found.into_iter().map(|(line, _)| line).collect(),
        unheard: survey.unheard.clone(),
        left_out: survey.left_out,
        toml: (!all.is_empty()).then(|| format!("{HEAD}{all}")),
    }
}

/// First line of what closes all gaps.
const HEAD: &str =
    "# What customers use and no route covered, by `landfall coverage`: a file for the folder of probes.\n";

/// Why a gap is worth closing, as a comment.
fn reason(line: &Line, within: Duration) -> String {
    let into = line.target_kind.as_deref().unwrap_or("?");
    let mode = line.mode.map_or("?", Mode::as_str);
    let version = line.engine_version.iter().map(|version| format!(" {version}")).collect::<String>();
    let pool = line.pool.iter().map(|pool| format!(" in pool {pool}")).collect::<String>();
    let last = line.last_used_at.map(|at| format!(", the last at {at}")).unwrap_or_default();
    let come = match line.schedules {
        0 => String::new(),
        n => format!(", {n} to come by schedule"),
    };
    let s = if line.jobs == 1 { "" } else { "s" };
    let text = format!(
        "{}{version}{pool} into {into}, {mode}: {} job{s} in {}{last}{come}",
        line.engine,
        line.jobs,
        Brief(within)
    );
    // A version or a pool comes from outside: it must not begin a line of its own.
    format!("# {}\n", text.chars().filter(|c| !c.is_control()).collect::<String>())
}

fn line(survey: &Survey, fleet: &Fleet, key: Key, used: Use) -> Option<(Line, Key)> {
    let running: Vec<&Runner> = fleet.running(survey, &key).collect();
    let of_account = || fleet.runners.iter().find(|runner| runner.account == key.account);
    // Nobody can speak of an account whose last platform has been taken out of the config.
    let runner = running.first().copied().or_else(of_account)?;
    let covers = |route: &&Arc<Route>| {
        running.iter().any(|runner| runner.platform == route.platform)
            && Some(route.mode) == key.mode
            && fleet.sinks(&used.schemes).any(|sink| sink.name == route.target)
    };
    let routes: Vec<String> = fleet.routes.iter().filter(covers).map(ToString::to_string).collect();
    let [engine, engine_version, pool] = key.fields.clone();
    let connections = used.schemes.iter().filter_map(|scheme| survey.connections.get(&(key.account, scheme.clone())));
    let line = Line {
        watch: if routes.is_empty() { Watch::Gap } else { Watch::Covered },
        platform: runner.platform.clone(),
        engine: engine.unwrap_or_else(|| runner.kind.to_owned()),
        engine_version,
        pool,
        connections: connections.sum(),
        schemes: used.schemes.into_iter().collect(),
        target_kind: key.into.as_ref().ok().map(|kind| (*kind).to_owned()),
        mode: key.mode,
        jobs: used.jobs,
        failed: used.failed,
        owners: used.owners.len(),
        schedules: used.schedules,
        last_used_at: used.last_at,
        routes,
        because: None,
        toml: None,
    };
    Some((line, key))
}

/// Connections of schemes that no job went to.
fn unused(survey: &Survey, fleet: &Fleet, found: &[(Line, Key)]) -> Vec<(Line, Key)> {
    let is_used = |account: u64, scheme: &String| {
        found.iter().any(|(line, key)| key.account == account && line.schemes.contains(scheme))
            || survey.ways.keys().any(|way| way.account == account && way.scheme == *scheme)
    };
    let of = |((account, scheme), n): (&(u64, String), &u64)| {
        let runner = fleet.runners.iter().find(|runner| runner.account == *account)?;
        let into = fleet.kind_of(scheme).ok_or_else(|| scheme.clone());
        let line = Line {
            watch: Watch::Unused,
            platform: runner.platform.clone(),
            engine: String::new(),
            engine_version: None,
            pool: None,
            schemes: vec![scheme.clone()],
            target_kind: into.as_ref().ok().map(|kind| (*kind).to_owned()),
            mode: None,
            jobs: 0,
            failed: 0,
            owners: 0,
            schedules: 0,
            connections: *n,
            last_used_at: None,
            routes: Vec::new(),
            because: None,
            toml: None,
        };
        Some((line, Key { account: *account, fields: Fields::default(), into, mode: None }))
    };
    survey.connections.iter().filter(|((account, scheme), _)| !is_used(*account, scheme)).filter_map(of).collect()
}

impl Fleet {
    fn landing(&self, kind: &str) -> Option<&Landing> {
        self.landings.iter().find(|landing| landing.kind == kind)
    }

    /// The kind of target that a scheme leads into; that of a target that the config says so of first.
    fn kind_of(&self, scheme: &str) -> Option<&'static str> {
        let there = self.targets.iter().find(|sink| sink.schemes.iter().any(|of| of == scheme));
        let known = self.landings.iter().find(|landing| landing.schemes.contains(&scheme));
        there.map(|sink| sink.kind).or(known.map(|landing| landing.kind))
    }

    /// The targets that one of these leads into.
    fn sinks<'a>(&'a self, schemes: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Sink> {
        self.targets.iter().filter(|sink| sink.schemes.iter().any(|scheme| schemes.contains(scheme)))
    }

    fn outputs(&self, platform: &str) -> Option<&[String]> {
        self.runners.iter().find(|runner| runner.platform.as_str() == platform)?.outputs.as_deref()
    }

    /// The platforms that run such jobs. What the platform never tells of its jobs is not compared.
    fn running<'a>(&'a self, survey: &'a Survey, key: &'a Key) -> impl Iterator<Item = &'a Runner> {
        let told = |at: usize| at == 0 || survey.told.contains(&(key.account, at));
        let fits = move |sends: &Sends| {
            let same = |at: usize| match &sends.fields[at] {
                None if sends.is_any_else => true,
                field => *field == key.fields[at],
            };
            sends.account == key.account && (0..DIFFER_BY.len()).all(|at| !told(at) || same(at))
        };
        self.runners.iter().filter(move |runner| runner.sends.iter().any(fits))
    }
}

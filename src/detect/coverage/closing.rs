//! Closing: the tables that make a route of a gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Fields, Fleet, Key, Line, Pace, Runner, Sibling, Sink, Survey};
use crate::canary::Mode;

/// Longest name of a canary, before a number that tells it from another.
const LONGEST_NAME: usize = 58;

/// What stands for the scheme of an output whose place is not told.
const UNTOLD: &str = "name";

/// Names that are taken, and what was written already.
pub(super) struct Names {
    platforms: BTreeSet<String>,
    targets: BTreeSet<String>,
    canaries: BTreeSet<String>,
    new_platforms: Vec<(u64, Fields, String)>,
    new_targets: Vec<(&'static str, String)>,
    /// Canaries that were written, by platform, target and mode.
    closed: BTreeMap<(String, String, Mode), String>,
}

impl Names {
    pub(super) fn of(fleet: &Fleet) -> Self {
        let [platforms, targets, canaries] = fleet.taken.clone();
        let (new_platforms, new_targets, closed) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { platforms, targets, canaries, new_platforms, new_targets, closed }
    }
}

/// A name that nothing has yet; letters that names do not have become dashes.
fn fresh(taken: &mut BTreeSet<String>, wanted: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = wanted.chars().map(fits).take(LONGEST_NAME).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { format!("x{name}") };
    let mut numbered = (2..).map(|n| format!("{name}-{n}"));
    let free = if taken.contains(&name) { numbered.find(|name| !taken.contains(name)) } else { None };
    let name = free.unwrap_or(name);
    taken.insert(name.clone());
    name
}

/// One gap and all that is needed to close it.
pub(super) struct Closing<'a> {
    pub(super) survey: &'a Survey,
    pub(super) fleet: &'a Fleet,
    pub(super) sibling: Sibling<'a>,
    pub(super) line: &'a Line,
    pub(super) key: &'a Key,
}

impl Closing<'_> {
    /// The tables, or why there are none.
    pub(super) fn tables(&self, names: &mut Names) -> Result<String, String> {
        let kind = match &self.key.into {
            Ok(kind) => *kind,
            Err(name) if self.is_named() => return Err(unnamed(name)),
            Err(scheme) => return Err(format!("there is no kind of target for `{scheme}` yet")),
        };
        let mode = self.key.mode.ok_or("how it is written is not a mode that is known here")?;
        let landing = self.fleet.landing(kind).ok_or("its kind of target is not known here")?;
        if !landing.modes.is_empty() && !landing.modes.contains(&mode) {
            return Err(format!("a target of kind {kind} cannot be watched in mode {mode}"));
        }
        let (platform, pace, mut tables) = self.platform(names)?;
        let target = match self.fleet.outputs(&platform) {
            Some(outputs) => self.named_target(kind, &platform, outputs)?,
            None => self.target(names, kind, landing.example, &mut tables),
        };
        let route = (platform.clone(), target.clone(), mode);
        if let Some(canary) = names.closed.get(&route) {
            // Jobs of several types that run on one platform are watched by one route.
            return Ok(format!("# (canary.{canary} covers these as well)\n"));
        }
        let canary = fresh(&mut names.canaries, &format!("covers-{platform}-{target}-{mode}"));
        tables.push_str(&table(&canary, &platform, &target, mode, pace));
        names.closed.insert(route, canary);
        Ok(tables)
    }

    /// Its jobs run where targets have names of the platform's own.
    fn is_named(&self) -> bool {
        self.fleet.running(self.survey, self.key).any(|runner| runner.outputs.is_some())
    }

    /// A platform that runs such jobs: one that is there, or a new one beside those of the same account.
    fn platform(&self, names: &mut Names) -> Result<(String, Pace, String), String> {
        let pace = |runner: &Runner| runner.pace;
        if let Some(runner) = self.fleet.running(self.survey, self.key).next() {
            return Ok((runner.platform.to_string(), pace(runner), String::new()));
        }
        let of_account = self.fleet.runners.iter().find(|runner| runner.account == self.key.account);
        let pace = of_account.map_or(Pace::USUAL, pace);
        let (account, fields) = (self.key.account, &self.key.fields);
        let written = names.new_platforms.iter().find(|(of, with, _)| *of == account && with == fields);
        if let Some((.., name)) = written {
            return Ok((name.clone(), pace, String::new()));
        }
        let wanted: Vec<&str> = fields.iter().flatten().map(String::as_str).collect();
        let name = fresh(&mut names.platforms, &wanted.join("-"));
        let tables = (self.sibling)(&self.line.platform, &name, fields)
            .ok_or_else(|| format!("no platform of Landfall runs jobs of type `{}`", self.line.engine))?;
        names.new_platforms.push((account, fields.clone(), name.clone()));
        Ok((name, pace, format!("{tables}\n")))
    }

    /// The targets that its addresses lead into.
    fn sinks(&self) -> impl Iterator<Item = &Sink> {
        let leads = |scheme: &String| self.line.schemes.contains(scheme);
        self.fleet.targets.iter().filter(move |sink| sink.schemes.iter().any(leads))
    }

    /// A target of the kind that the platform has a name for. It cannot be given one from another file.
    fn named_target(&self, kind: &str, platform: &str, outputs: &[String]) -> Result<String, String> {
        let mut sinks = self.sinks().map(|sink| sink.name.to_string());
        sinks.find(|name| outputs.contains(name)).ok_or_else(|| {
            format!(
                "platform `{platform}` knows targets by names of its own: write one of kind {kind} into its `outputs`"
            )
        })
    }

    /// A target of the kind: one that is there, or a new one to be filled in.
    fn target(&self, names: &mut Names, kind: &'static str, example: &str, tables: &mut String) -> String {
        let there = self.sinks().next().map(|sink| sink.name.to_string());
        let written = || names.new_targets.iter().find(|(of, _)| *of == kind).map(|(_, name)| name.clone());
        if let Some(name) = there.or_else(written) {
            return name;
        }
        let name = fresh(&mut names.targets, kind);
        let in_environment = name.to_ascii_uppercase().replace('-', "_");
        tables.push_str(&example.replace("NAME", &name).replace("ENV", &in_environment));
        tables.push('\n');
        names.new_targets.push((kind, name.clone()));
        name
    }
}

/// Why a name of the platform's own leads nowhere yet. Its kind is nowhere told.
fn unnamed(name: &str) -> String {
    if name == UNTOLD {
        return "the platform does not say where it goes".to_owned();
    }
    format!(
        "nothing says what kind of target `{name}` is: write schemes = [\"{name}\"] into one, or what the platform calls \
         it into the platform's `outputs`"
    )
}

fn table(canary: &str, platform: &str, target: &str, mode: Mode, pace: Pace) -> String {
    let Pace { every, objective, deadline } = pace;
    format!(
        "[canary.{canary}]\nplatforms = [\"{platform}\"]\ntargets   = [\"{target}\"]\nmodes     = [\"{mode}\"]\n\
         every     = \"{}\"\nobjective = \"{}\"\ndeadline  = \"{}\"\n",
        length(every),
        length(objective),
        length(deadline)
    )
}

/// A length of time as configs have it: an integer and the largest unit that it is whole in.
fn length(length: Duration) -> String {
    let millis = length.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(each, _)| millis > 0 && millis.is_multiple_of(*each)).unwrap_or((1, "ms"));
    format!("{}{}", millis / unit.0, unit.1)
}

//! `[canary.NAME]`: what is sent and how often, and the product of its lists: the routes.

use std::{ops::Range, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Options, agent::brief, declared::Declared, decode::decode, labels, length::Length, named::Known, near,
    plan::CanaryPlan, problem::Problems, schema::keys_in_order, spanned::Spanned, upkeep::UTC,
};
use crate::canary::{
    CanaryName, Labels, Mode, PlatformName, Route, RouteId, Sample, Schedule, TargetName, sample::SEED_COLUMNS,
    schedule::ScheduleError, time::Brief,
};
use std::time::Duration;

/// How rows are written, unless the config says otherwise.
const MODE: Mode = Mode::Append;
/// Rows that customers wait for are late after this.
pub(super) const OBJECTIVE: Duration = Duration::from_secs(120);
/// Nothing that lands does so later than this on a good day.
pub(super) const DEADLINE: Duration = Duration::from_secs(300);
/// Shortest interval: a run costs a query.
const SHORTEST: Duration = Duration::from_secs(1);
/// Most names in one list that are told to be unknown.
const MOST_UNKNOWN: usize = 20;

/// What is sent and how often. The product of its three lists is its routes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend(
    "oneOf" = [{ "required": ["every"] }, { "required": ["cron"] }],
    "dependencies" = { "timezone": ["cron"] },
))]
pub(super) struct Written {
    /// Names of platforms.
    #[schemars(required, extend("minItems" = 1, "uniqueItems" = true))]
    platforms: Option<Spanned<Vec<Spanned<String>>>>,
    /// Names of targets.
    #[schemars(required, extend("minItems" = 1, "uniqueItems" = true))]
    targets: Option<Spanned<Vec<Spanned<String>>>>,
    /// How rows are written.
    #[schemars(extend("default" = [MODE], "minItems" = 1, "uniqueItems" = true))]
    modes: Option<Spanned<Vec<Spanned<Mode>>>>,
    /// A run of each route this often, at least 1s. Instead of `cron`.
    #[schemars(extend("pattern" = Length::SOME))]
    every: Option<Spanned<Length>>,
    /// When each route has a run: minute, hour, day, month, weekday. Instead of `every`.
    cron: Option<Spanned<String>>,
    /// Of `cron`.
    #[schemars(extend("default" = UTC))]
    timezone: Option<Spanned<String>>,
    /// Rows must be there this long after the submit, else the run is late.
    #[schemars(extend("default" = Length(OBJECTIVE), "pattern" = Length::SOME))]
    objective: Option<Spanned<Length>>,
    /// When waiting ends, longer than `objective`: what is not there then is lost.
    #[schemars(extend("default" = Length(DEADLINE), "pattern" = Length::SOME))]
    deadline: Option<Spanned<Length>>,
    /// What the rows of a run are.
    sample: Option<SampleTable>,
    /// Labels of its routes, after those of platform and target.
    #[schemars(transform = labels::describe)]
    labels: Option<labels::Written>,
    /// Leaves out what a platform or target cannot do, instead of refusing it.
    #[schemars(extend("default" = false))]
    skip_impossible: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
struct SampleTable {
    /// How many; 20 show every hard value.
    #[schemars(extend("default" = Sample::DEFAULT_ROWS), range(min = 1, max = Sample::MOST_ROWS))]
    rows: Option<Spanned<i64>>,
    /// Columns that are left out, for what a platform or target cannot carry.
    #[schemars(extend("items" = { "type": "string", "enum": SEED_COLUMNS.map(|column| column.name) }))]
    without: Option<Vec<Spanned<String>>>,
}

/// What canaries are read with.
pub(super) struct Reader<'a, 't> {
    pub platforms: &'a [Known<'t, PlatformName>],
    pub targets: &'a [Known<'t, TargetName>],
    /// Every file could be read: a name that is not known is really not there.
    pub all_read: bool,
    pub options: &'a Options,
    pub problems: &'a mut Problems,
}

/// A canary and its routes.
pub(super) fn read(
    declared: &Declared<'_>,
    name: Option<&CanaryName>,
    reader: &mut Reader<'_, '_>,
) -> Option<(CanaryPlan, Vec<Arc<Route>>)> {
    let before = reader.problems.len();
    let section = &declared.section;
    let decoded = decode::<Written>(&section.table, declared.name.span());
    reader.problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
    let written = decoded.value.unwrap_or_default();
    let mut reading = Reading { declared, wrong_keys: decoded.wrong, reader };

    let schedule = reading.schedule(written.every.as_ref(), written.cron.as_ref(), written.timezone.as_ref());
    let (objective, deadline) = reading.clocks(written.objective.as_ref(), written.deadline.as_ref());
    let sample = reading.sample(written.sample);
    let labels = labels::read(written.labels, section, reading.reader.problems);
    let platforms = reading.named("platform", "platforms", written.platforms, reading.reader.platforms);
    let targets = reading.named("target", "targets", written.targets, reading.reader.targets);
    let modes = reading.modes(written.modes);
    let skip = written.skip_impossible.unwrap_or(false);
    let mut product = Vec::new();
    for platform in &platforms {
        for target in &targets {
            for mode in &modes {
                product.push((platform.1, target.1, *mode.get_ref()));
            }
        }
    }
    if skip {
        product
            .retain(|(platform, target, mode)| can(platform, *mode) && can(target, *mode) && reaches(platform, target));
    } else {
        reading.refuse_impossible("target", &targets, &modes);
        reading.refuse_impossible("platform", &platforms, &modes);
        reading.refuse_unnamed(&platforms, &targets);
    }
    // A file that could not be read may hold what is missing here.
    if reading.reader.problems.len() > before || !reading.reader.all_read {
        return None;
    }
    let name = name?;
    if product.is_empty() {
        let hint = "none of its targets can be written in any of its modes: change `modes`";
        reading.wrong(declared.name.span(), format!("canary `{name}` has no routes"), hint);
        return None;
    }
    let routes = product
        .into_iter()
        .filter_map(|(platform, target, mode)| {
            let pairs = [&platform.labels, &target.labels, &labels].map(Labels::pairs).into_iter().flatten();
            let labels = Labels::new(pairs.cloned());
            let (platform, target) = (platform.name.clone()?, target.name.clone()?);
            Some(Arc::new(Route::new(name.clone(), platform, target, mode, labels)))
        })
        .collect();
    Some((CanaryPlan { name: name.clone(), schedule: schedule?, objective, deadline, sample, report: None }, routes))
}

/// Whether it writes, or is written, in a mode.
pub(super) fn can<N>(known: &Known<'_, N>, mode: Mode) -> bool {
    known.modes.is_empty() || known.modes.contains(&mode)
}

/// Whether the platform has a name for the target, or needs none.
pub(super) fn reaches(platform: &Known<'_, PlatformName>, target: &Known<'_, TargetName>) -> bool {
    platform.outputs.as_ref().is_none_or(|names| names.iter().any(|name| name == target.written))
}

/// A table that is read, and what is wrong with it.
pub(super) struct Reading<'a, 'b, 't> {
    pub declared: &'a Declared<'a>,
    /// Keys that are wrong already, and so not missing.
    pub wrong_keys: Vec<String>,
    pub reader: &'a mut Reader<'b, 't>,
}

impl<'b, 't> Reading<'_, 'b, 't> {
    pub(super) fn wrong(&mut self, at: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.reader.problems.push(self.declared.section.problem(at, what, Some(hint.into())));
    }

    fn is_wrong(&self, key: &str) -> bool {
        self.wrong_keys.iter().any(|wrong| wrong == key)
    }

    pub(super) fn schedule(
        &mut self,
        every: Option<&Spanned<Length>>,
        cron: Option<&Spanned<String>>,
        timezone: Option<&Spanned<String>>,
    ) -> Option<Schedule> {
        if let (Some(timezone), None) = (timezone, cron)
            && !self.is_wrong("cron")
        {
            self.wrong(
                timezone.span(),
                "`timezone` without `cron`",
                "write cron = \"…\" too, or leave `timezone` away",
            );
        }
        match (every, cron) {
            (Some(_), Some(cron)) => {
                self.wrong(cron.span(), "both `every` and `cron`", "keep one of them");
                None
            }
            (Some(every), None) if every.get_ref().0 < SHORTEST => {
                let what = format!("`every` is {}, shorter than 1s", Brief(every.get_ref().0));
                self.wrong(every.span(), what, "write \"1m\": each run of each route is a query");
                None
            }
            (Some(every), None) => Some(Schedule::Every(every.get_ref().0)),
            (None, Some(cron)) => self.cron(cron, timezone),
            (None, None) => {
                if !["every", "cron", "timezone"].iter().any(|key| self.is_wrong(key)) {
                    let what = format!("canary `{}` has no schedule", self.declared.name.get_ref());
                    self.wrong(self.declared.name.span(), what, "write every = \"1m\" or cron = \"*/5 * * * *\"");
                }
                None
            }
        }
    }

    fn cron(&mut self, cron: &Spanned<String>, timezone: Option<&Spanned<String>>) -> Option<Schedule> {
        let zone = timezone.map_or(UTC, |zone| zone.get_ref());
        let (at, what, hint) = match Schedule::cron(cron.get_ref(), zone, self.reader.options.now) {
            Ok(schedule) => {
                let now = self.reader.options.now;
                let first = schedule.next(RouteId(0), now)?;
                if schedule.next(RouteId(0), first).is_some() {
                    return Some(schedule);
                }
                (cron.span(), format!("`{}` comes only once more", brief(cron.get_ref())), "leave the year away")
            }
            Err(ScheduleError::Expression(text)) => (
                cron.span(),
                format!("`{}` is not a cron expression", brief(&text)),
                "write minute, hour, day, month, weekday: \"*/5 * * * *\"",
            ),
            Err(ScheduleError::Never(text)) => {
                (cron.span(), format!("`{}` never comes", brief(&text)), "choose a day that its months have")
            }
            Err(ScheduleError::Zone(text)) => (
                timezone.unwrap_or(cron).span(),
                format!("`{}` is not a time zone", brief(&text)),
                "write \"UTC\" or a name such as \"America/Los_Angeles\"",
            ),
        };
        self.wrong(at, what, hint);
        None
    }

    pub(super) fn clocks(
        &mut self,
        objective: Option<&Spanned<Length>>,
        deadline: Option<&Spanned<Length>>,
    ) -> (Duration, Duration) {
        let is_known = !self.is_wrong("objective") && !self.is_wrong("deadline");
        let (promised, ends) = (
            objective.map_or(OBJECTIVE, |length| length.get_ref().0),
            deadline.map_or(DEADLINE, |length| length.get_ref().0),
        );
        if let Some(objective) = objective.filter(|_| promised.is_zero()) {
            self.wrong(objective.span(), "`objective` is nothing", "write how soon rows must be there: \"2m\"");
        } else if is_known && ends <= promised {
            let at = deadline.or(objective).map_or(self.declared.name.span(), Spanned::span);
            let implied = |written: Option<&Spanned<Length>>| if written.is_some() { "" } else { " (the default)" };
            let what = format!(
                "`deadline` {}{} is not longer than `objective` {}{}",
                Brief(ends),
                implied(deadline),
                Brief(promised),
                implied(objective)
            );
            let hint = "after the objective rows are late, after the deadline they are lost: leave time between them";
            self.wrong(at, what, hint);
        }
        (promised, ends)
    }

    fn sample(&mut self, written: Option<SampleTable>) -> Sample {
        let mut sample = Sample::default();
        let Some(written) = written else { return sample };
        if let Some(rows) = written.rows {
            match u32::try_from(*rows.get_ref()) {
                Ok(n @ 1..=Sample::MOST_ROWS) => sample.rows = n,
                _ => {
                    let most = Sample::MOST_ROWS;
                    let hint = format!("write 1 to {most}; {} show every hard value", Sample::DEFAULT_ROWS);
                    self.wrong(rows.span(), format!("`rows = {}` is out of range", rows.get_ref()), hint);
                }
            }
        }
        for name in written.without.iter().flatten() {
            match sample.without.and(name.get_ref()) {
                Some(without) => sample.without = without,
                None => {
                    let names = SEED_COLUMNS.iter().map(|column| column.name);
                    let hint = near::hint(name.get_ref(), "columns that may be left out", names);
                    self.wrong(name.span(), format!("no column `{}` to leave out", brief(name.get_ref())), hint);
                }
            }
        }
        sample
    }

    /// A list of names of platforms or targets.
    pub(super) fn named<N>(
        &mut self,
        what: &str,
        key: &str,
        written: Option<Spanned<Vec<Spanned<String>>>>,
        known: &'b [Known<'t, N>],
    ) -> Vec<(Range<usize>, &'b Known<'t, N>)> {
        let Some(written) = written else {
            if !self.is_wrong(key) {
                let example = known.first().map_or("NAME", |known| known.written);
                let hint = format!("write {key} = [\"{example}\"]");
                self.wrong(self.declared.name.span(), format!("`{key}` is missing"), hint);
            }
            return Vec::new();
        };
        if written.get_ref().is_empty() {
            let hint = format!("name at least one {what}: the product of its lists is a canary's routes");
            self.wrong(written.span(), format!("`{key}` is empty"), hint);
        }
        let names = known.iter().map(|known| known.written);
        let mut found: Vec<(Range<usize>, &Known<'t, N>)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut unknown = 0;
        for name in written.get_ref() {
            let (text, at) = (name.get_ref().as_str(), name.span());
            if !seen.insert(text) {
                self.wrong(at, format!("{what} `{}` is named twice", brief(text)), "name it once");
                continue;
            }
            match known.iter().find(|known| known.written == text) {
                Some(known) => found.push((at, known)),
                None if self.reader.all_read && unknown < MOST_UNKNOWN => {
                    unknown += 1;
                    let hint = near::hint(text, &format!("{what}s"), names.clone());
                    self.wrong(at, format!("unknown {what} `{}`", brief(text)), hint);
                }
                None => {}
            }
        }
        found
    }

    fn modes(&mut self, written: Option<Spanned<Vec<Spanned<Mode>>>>) -> Vec<Spanned<Mode>> {
        let Some(written) = written else {
            return if self.is_wrong("modes") { Vec::new() } else { vec![Spanned::new(0..0, MODE)] };
        };
        if written.get_ref().is_empty() {
            self.wrong(written.span(), "`modes` is empty", "write modes = [\"append\"], or leave it away");
        }
        let mut modes: Vec<Spanned<Mode>> = Vec::new();
        for mode in written.into_inner() {
            if modes.iter().any(|known| known.get_ref() == mode.get_ref()) {
                self.wrong(mode.span(), format!("mode `{}` is named twice", mode.get_ref()), "name it once");
            } else {
                modes.push(mode);
            }
        }
        modes
    }

    fn refuse_impossible<N>(&mut self, what: &str, known: &[(Range<usize>, &Known<'_, N>)], modes: &[Spanned<Mode>]) {
        for (named_at, known) in known {
            for mode in modes.iter().filter(|mode| !can(known, *mode.get_ref())) {
                let at = if mode.span().is_empty() { named_at.clone() } else { mode.span() };
                let able: Vec<&str> = known.modes.iter().map(|mode| mode.as_str()).collect();
                let what = format!("{what} `{}` ({}) cannot do mode `{}`", known.written, known.kind, mode.get_ref());
                let hint = format!("it can do {}; or write skip_impossible = true", able.join(", "));
                self.wrong(at, what, hint);
            }
        }
    }

    /// A platform that knows targets by names of its own must have one for each target.
    pub(super) fn refuse_unnamed(
        &mut self,
        platforms: &[(Range<usize>, &Known<'_, PlatformName>)],
        targets: &[(Range<usize>, &Known<'_, TargetName>)],
    ) {
        for (_, platform) in platforms {
            for (at, target) in targets.iter().filter(|(_, target)| !reaches(platform, target)) {
                let what = format!("platform `{}` has no name for target `{}`", platform.written, target.written);
                let table = format!("[platform.{}.{}.outputs]", platform.written, platform.kind);
                let hint = format!("write {} = … in {table}; or write skip_impossible = true", target.written);
                self.wrong(at.clone(), what, hint);
            }
        }
    }
}

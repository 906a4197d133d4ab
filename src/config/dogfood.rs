//! `[dogfood]`: the agent's own report, made and brought by the platforms that it watches.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    agent::brief,
    canary::{DEADLINE, OBJECTIVE, Reader, Reading, can, reaches},
    declared::Declared,
    decode::decode,
    labels,
    length::Length,
    plan::CanaryPlan,
    schema::keys_in_order,
    spanned::Spanned,
    upkeep::UTC,
};
use crate::canary::{
    CanaryName, LabelName, Labels, Mode, Route, Sample, Schedule, Timestamp,
    report::{DOGFOOD, ReportPlan},
    time::Brief,
};

/// The label that its routes have and no other: unless the config gives it to others.
const SENDS: (&str, &str) = ("sends", "report");
/// A report every five minutes is the twelfth part of an hour behind at most, and costs 288 jobs a day.
const EVERY: Duration = Duration::from_secs(300);
/// The table of entries, unless the config says otherwise; the day follows.
const TABLE: &str = "landfall_verdicts";
/// Hours in a report, unless the config says otherwise.
const HOURS: u32 = 3;
/// The ledger keeps every green run for six hours, and the present hour is not over.
const MOST_HOURS: u32 = 5;

/// The agent's own report, made and brought by the platforms that it watches.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend(
    "not" = { "required": ["every", "cron"] },
    "dependencies" = { "timezone": ["cron"] },
))]
pub(super) struct Written {
    /// Names of platforms that take rows of the agent's own.
    #[schemars(required, extend("minItems" = 1, "uniqueItems" = true))]
    platforms: Option<Spanned<Vec<Spanned<String>>>>,
    /// Names of targets, where the report lands.
    #[schemars(required, extend("minItems" = 1, "uniqueItems" = true))]
    targets: Option<Spanned<Vec<Spanned<String>>>>,
    /// A report this often, at least 1s. Absent, and no `cron`: every 5m.
    #[schemars(extend("default" = Length(EVERY), "pattern" = Length::SOME))]
    every: Option<Spanned<Length>>,
    /// When there is a report. Instead of `every`.
    cron: Option<Spanned<String>>,
    /// Of `cron`.
    #[schemars(extend("default" = UTC))]
    timezone: Option<Spanned<String>>,
    /// A report must be there this long after the submit, else it is late.
    #[schemars(extend("default" = Length(OBJECTIVE), "pattern" = Length::SOME))]
    objective: Option<Spanned<Length>>,
    /// When waiting ends, longer than `objective`.
    #[schemars(extend("default" = Length(DEADLINE), "pattern" = Length::SOME))]
    deadline: Option<Spanned<Length>>,
    /// Labels of its routes.
    #[schemars(transform = labels::describe)]
    labels: Option<labels::Written>,
    /// The table of the agent's entries on a platform; the day follows.
    #[schemars(extend("default" = TABLE, "pattern" = "^[a-z_][a-z0-9_]{0,99}$"))]
    table: Option<Spanned<String>>,
    /// Hours in a report.
    #[schemars(extend("default" = HOURS), range(min = 1, max = MOST_HOURS))]
    hours: Option<Spanned<i64>>,
    /// How long after entries were written a query sees them. Absent: as the platform's kind needs it.
    settles: Option<Spanned<Length>>,
}

/// The canary that sends reports, and its routes.
pub(super) fn read(declared: &Declared<'_>, reader: &mut Reader<'_, '_>) -> Option<(CanaryPlan, Vec<Arc<Route>>)> {
    let before = reader.problems.len();
    let section = &declared.section;
    let decoded = decode::<Written>(&section.table, declared.name.span());
    reader.problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
    let written = decoded.value.unwrap_or_default();
    let mut reading = Reading { declared, wrong_keys: decoded.wrong, reader };

    let schedule = match (&written.every, &written.cron, &written.timezone) {
        (None, None, None) => Some(Schedule::Every(EVERY)),
        (every, cron, timezone) => reading.schedule(every.as_ref(), cron.as_ref(), timezone.as_ref()),
    };
    let (objective, deadline) = reading.clocks(written.objective.as_ref(), written.deadline.as_ref());
    let labels = labels::read(written.labels, section, reading.reader.problems);
    let platforms = reading.named("platform", "platforms", written.platforms, reading.reader.platforms);
    let targets = reading.named("target", "targets", written.targets, reading.reader.targets);
    let table = written.table.as_ref().map_or_else(|| Some(TABLE.to_owned()), |table| reading.table(table));
    let hours = written.hours.as_ref().map_or(Some(HOURS), |hours| reading.hours(hours));
    for (at, platform) in platforms.iter().filter(|(_, platform)| !platform.keeps_a_diary) {
        let what = format!("platform `{}` ({}) takes no rows of the agent's own", platform.written, platform.kind);
        let hint = "leave it out of [dogfood]: it has no way in for them";
        reading.wrong(at.clone(), what, hint);
    }
    reading.refuse_unnamed(&platforms, &targets);
    let mut product = Vec::new();
    for (_, platform) in &platforms {
        for (at, target) in &targets {
            // Replaced, as a report that people look at is; where that cannot be, each is delivered by itself.
            let mode =
                [Mode::Replace, Mode::Append].into_iter().find(|mode| can(platform, *mode) && can(target, *mode));
            match mode {
                Some(mode) if reaches(platform, target) => product.push((*platform, *target, mode)),
                Some(_) => {}
                None => {
                    let what = format!("target `{}` ({}) can take no report", target.written, target.kind);
                    reading.wrong(at.clone(), what, "name another");
                }
            }
        }
    }
    // A file that could not be read may hold what is missing here.
    if reading.reader.problems.len() > before || !reading.reader.all_read {
        return None;
    }
    let name = CanaryName::new(DOGFOOD).ok()?;
    // What hits nothing but reports is named so, and not by a mode that they may be the only ones to have.
    let own = LabelName::new(SENDS.0).ok().map(|label| (label, Arc::from(SENDS.1)));
    let own = own.filter(|(label, _)| labels.get(label.as_str()).is_none());
    let routes = product
        .into_iter()
        .filter_map(|(platform, target, mode)| {
            let pairs = [&platform.labels, &target.labels, &labels].map(Labels::pairs).into_iter().flatten();
            let labels = Labels::new(pairs.cloned().chain(own.clone()));
            Some(Arc::new(Route::new(name.clone(), platform.name.clone()?, target.name.clone()?, mode, labels)))
        })
        .collect();
    let settles = written.settles.map(|settles| settles.get_ref().0);
    let report = Some(ReportPlan { table: table?, hours: hours?, settles });
    Some((CanaryPlan { name, schedule: schedule?, objective, deadline, sample: Sample::default(), report }, routes))
}

impl Reading<'_, '_, '_> {
    /// A table's name stands unquoted in statements, since engines quote differently, and gets a day.
    fn table(&mut self, written: &Spanned<String>) -> Option<String> {
        let name = written.get_ref();
        let fits = (1..=100).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if fits {
            return Some(name.clone());
        }
        let hint = "write lower-case letters, digits and `_`, a letter first, at most 100";
        self.wrong(written.span(), format!("`{}` is no name for its table", brief(name)), hint);
        None
    }

    fn hours(&mut self, written: &Spanned<i64>) -> Option<u32> {
        let hours = u32::try_from(*written.get_ref()).ok().filter(|hours| (1..=MOST_HOURS).contains(hours));
        if hours.is_none() {
            let hint = format!("write 1 to {MOST_HOURS}: the ledger keeps every run for six hours");
            self.wrong(written.span(), format!("`hours = {}` is out of range", written.get_ref()), hint);
        }
        hours
    }
}

/// What is wrong with reports that have no end in rows or in runs, and what would be right.
pub(super) fn too_large(
    canaries: &[CanaryPlan],
    routes: &[Arc<Route>],
    now: Timestamp,
) -> Option<(String, &'static str)> {
    let canary = |route: &Route| canaries.iter().find(|canary| canary.name == route.canary);
    let reporting = |route: &&Arc<Route>| Some((Arc::clone(route), canary(route)?.report.as_ref()?));
    routes.iter().filter_map(|route| reporting(&route)).find_map(|(reporting, report)| {
        let platform = &reporting.platform;
        let own: Vec<&Arc<Route>> = routes.iter().filter(|route| route.platform == *platform).collect();
        let fewer = if report.hours > 1 { "write fewer `hours`" } else { "leave the platform out of [dogfood]" };
        let rows = report.rows(own.len());
        if rows > Sample::MOST_ROWS {
            let most = Sample::MOST_ROWS;
            let what = format!("the report of platform `{platform}` would have {rows} rows, and {most} are the most");
            return Some((what, fewer));
        }
        let an_hour: f64 = own.iter().filter_map(|route| Some(canary(route)?.schedule.pace(now).busiest_hour)).sum();
        let (runs, most) = (an_hour * f64::from(report.hours), ReportPlan::MOST_RUNS);
        (runs > f64::from(most)).then(|| {
            let hours = Brief(Duration::from_secs(3600) * report.hours);
            let told = format!("would tell of {runs:.0} runs in {hours}, and {most} are the most");
            (format!("the report of platform `{platform}` {told}"), fewer)
        })
    })
}

//! `landfall check`: whether a config is right, what it would watch, and how soon a fault pages.

mod power;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};

use self::power::{Foretold, JobTime, Objective, WhatIf, job_time, objective, what_if};
use super::{
    Format,
    exit::{NO, UNSURE, USAGE, Usage, YES, answered},
    kinds, live,
};
use crate::{
    agent::{clock::Clock, lifecycle::OpenPlan},
    canary::{PlatformName, Route, TargetName, Timestamp, schedule::Pace, time::Brief},
    config::{ACCOUNT, worst_detection},
    target::webhook::Intake,
};

/// Checks a config: every mistake with its place, then every route, the runs per day, and the worst
/// time from a total fault to the page. Then, for each suspect of one label, how long a fault that loses
/// only a share of its runs stays unnoticed.
///
/// Exit codes: 0 all is well · 1 a route cannot keep `detect_within`, or a suspect an `--objective` · 2 the
/// config is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file.
    #[arg(short, long, default_value = "landfall.toml", value_name = "FILE")]
    config: PathBuf,
    /// Read no secrets: for a release pipeline that has none.
    #[arg(long)]
    no_secrets: bool,
    /// Also connect: ask each platform for a job that is not there, write and read a row at each
    /// target.
    #[arg(long, conflicts_with = "no_secrets")]
    live: bool,
    /// What is asked of faults that hit a share of runs, such as 1%=12h or 100%=3m: 95 of a hundred such
    /// faults, on whichever suspect, must be noticed within that. May be given again.
    #[arg(long, value_name = "SHARE=TIME", value_parser = objective)]
    objective: Vec<Objective>,
    /// How long jobs take: half of them, and 99 % (three times as long, if that is not said). Of one
    /// platform, or of all. May be given again. [default: as the tightest objective there suggests]
    #[arg(long, value_name = "[PLATFORM=]P50[,P99]", value_parser = job_time)]
    job_time: Vec<JobTime>,
    /// What another interval buys: how long such faults would stay unnoticed if every route were sent so often,
    /// beside how it is. Decides nothing.
    #[arg(long, value_name = "every=TIME", value_parser = what_if)]
    what_if: Option<WhatIf>,
    /// How to write the answer.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Args {
    /// A config, and nothing else.
    pub(super) fn plain(config: &Path, no_secrets: bool) -> Self {
        Self {
            config: config.to_owned(),
            no_secrets,
            live: false,
            objective: Vec::new(),
            job_time: Vec::new(),
            what_if: None,
            format: Format::Text,
        }
    }
}

/// `landfall check`.
pub fn check(args: &Args) -> Result<u8> {
    let intake = Intake::new();
    let plan = match kinds::load(&args.config, &intake, args.no_secrets) {
        Ok(plan) => plan,
        Err(problems) => {
            kinds::complain(&problems);
            return Ok(USAGE);
        }
    };
    let now = Clock::System.now();
    let outlook = Outlook::of(&plan, now);
    let foretell = |what_if| Foretold::of(&plan, &args.objective, &args.job_time, what_if, now).map_err(Usage);
    let foretold = foretell(None)?;
    let other =
        args.what_if.as_ref().map(|other| foretell(Some(other)).map(|foretold| (other, foretold))).transpose()?;
    for warning in outlook.warnings(&plan) {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let looks = if args.live { Some(super::block_on(live::look(&plan, &intake))?) } else { None };
    let mut out = Vec::new();
    match args.format {
        Format::Json => {
            let mut answer = outlook.json(foretold.is_enough());
            if let Value::Object(answer) = &mut answer {
                let (power, objectives) = foretold.json();
                answer.insert("power".to_owned(), power);
                objectives.map(|objectives| answer.insert("objectives".to_owned(), objectives));
                if let Some((WhatIf::Every(every), other)) = &other {
                    let (power, objectives) = other.json();
                    let every = number(every.as_secs_f64());
                    let other = json!({ "every_s": every, "power": power, "objectives": objectives });
                    answer.insert("what_if".to_owned(), other);
                }
                looks.iter().for_each(|looks| drop(answer.insert("live".to_owned(), live::json(looks))));
            }
            writeln!(out, "{answer}")?;
        }
        Format::Text => {
            outlook.text(&mut out)?;
            foretold.text(&mut out)?;
            other.iter().try_for_each(|(what_if, other)| other.text_if(what_if, &mut out))?;
            looks.iter().try_for_each(|looks| live::text(looks, &mut out))?;
        }
    }
    let seen = looks.map_or(YES, |looks| live::code(&looks));
    // A clear no wins over what could not be seen.
    let code = match (outlook.is_kept() && foretold.is_enough(), seen) {
        (false, _) | (_, NO) => NO,
        (true, UNSURE) => UNSURE,
        (true, _) => YES,
    };
    answered(io::stdout().write_all(&out), code)
}

/// What a plan promises.
struct Outlook {
    lines: Vec<Line>,
    detect_within: Option<Duration>,
}

/// What it promises of one route.
struct Line {
    route: Arc<Route>,
    pace: Pace,
    worst: Duration,
    rows: u32,
    /// Its target may be sent fewer rows than its routes need: runs will be skipped.
    starved: bool,
    /// It brings the agent's own report, and canaries watch the same platform: they are to page in time.
    is_spared: bool,
}

impl Outlook {
    fn of(plan: &OpenPlan, now: Timestamp) -> Self {
        let canaries: BTreeMap<_, _> = plan
            .canaries
            .iter()
            .map(|canary| {
                let gap = canary.schedule.longest_gap(now);
                (&canary.name, (canary.schedule.pace(now), gap, canary))
            })
            .collect();
        let line = |route: &Arc<Route>| {
            let (pace, gap, canary) = *canaries.get(&route.canary)?;
            let worst = worst_detection(gap, canary.objective, plan.pause(&route.target));
            let beside = || plan.routes.iter().filter(|other| other.platform == route.platform);
            let is_spared = plan.reports(route) && beside().any(|other| !plan.reports(other));
            Some(Line { route: route.clone(), pace, worst, rows: plan.rows(route), starved: false, is_spared })
        };
        let lines = plan.routes.iter().filter_map(line).collect();
        let mut outlook = Self { lines, detect_within: plan.agent.detect_within };
        for target in &plan.targets {
            let starved = target.caps.rows_per_hour.is_some_and(|cap| outlook.rows(&target.name) > f64::from(cap));
            let own = outlook.lines.iter_mut().filter(|line| line.route.target == target.name);
            own.for_each(|line| line.starved = starved);
        }
        outlook
    }

    /// Rows that a target's routes need in their busiest hour.
    fn rows(&self, target: &TargetName) -> f64 {
        let own = self.lines.iter().filter(|line| line.route.target == *target);
        own.map(|line| line.pace.busiest_hour * f64::from(line.rows)).sum()
    }

    fn runs_per_day(&self) -> f64 {
        self.lines.iter().map(|line| line.pace.per_day).sum()
    }

    /// Whether every total fault pages soon enough.
    fn is_kept(&self) -> bool {
        self.lines.iter().all(|line| self.keeps(line))
    }

    fn keeps(&self, line: &Line) -> bool {
        self.detect_within.is_none_or(|within| (line.worst <= within || line.is_spared) && !line.starved)
    }

    fn warnings(&self, plan: &OpenPlan) -> Vec<String> {
        let mut needs: BTreeMap<&PlatformName, f64> = BTreeMap::new();
        for line in &self.lines {
            *needs.entry(&line.route.platform).or_default() += line.pace.busiest_hour;
        }
        let mut warnings = Vec::new();
        for platform in &plan.platforms {
            let (name, cap) = (&platform.name, platform.per_hour);
            match needs.get(name) {
                None => warnings.push(format!("platform `{name}` is in no canary's list")),
                Some(need) if *need > f64::from(cap) => warnings.push(format!(
                    "platform `{name}` may begin {cap} runs an hour (per_hour), its routes need {}: some will be skipped",
                    number(need.ceil())
                )),
                Some(_) => {}
            }
            let accounts = platform.jobs.iter().flatten().filter(|(name, _)| name == ACCOUNT).map(|(_, other)| other);
            for other in accounts.filter(|other| plan.platforms.iter().all(|known| known.name.as_str() != *other)) {
                warnings.push(format!("platform `{name}`: `jobs` has the account of `{other}`, which is no platform"));
            }
        }
        for target in &plan.targets {
            let rows = self.rows(&target.name);
            if !self.lines.iter().any(|line| line.route.target == target.name) {
                warnings.push(format!("target `{}` is in no canary's list", target.name));
            }
            if let Some(cap) = target.caps.rows_per_hour.filter(|cap| rows > f64::from(*cap)) {
                warnings.push(format!(
                    "target `{}` may be sent {cap} rows an hour (rows_per_hour), its routes need {}: some runs will be skipped",
                    target.name,
                    number(rows.ceil())
                ));
            }
        }
        warnings
    }

    fn json(&self, is_enough: bool) -> Value {
        let routes: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({
            "routes": routes,
            "runs_per_day": number(self.runs_per_day()),
            "detect_within_s": self.detect_within.map(|within| number(within.as_secs_f64())),
            "ok": self.is_kept() && is_enough,
        })
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows =
            vec![["CANARY", "PLATFORM", "TARGET", "MODE", "RUNS/DAY", "PAGES WITHIN", "LABELS"].map(str::to_owned)];
        rows.extend(self.lines.iter().map(|line| line.cells(self.keeps(line))));
        let widths: Vec<usize> =
            (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        let n = self.lines.len();
        writeln!(out, "\n{n} {}, {} runs a day", if n == 1 { "route" } else { "routes" }, number(self.runs_per_day()))?;
        let worst = self.lines.iter().map(|line| line.worst).max().unwrap_or_default();
        let late = self.lines.iter().filter(|line| !self.keeps(line)).count();
        match self.detect_within {
            None => writeln!(out, "a total fault pages within {} at worst; no detect_within is set", Brief(worst)),
            Some(within) if late == 0 => {
                writeln!(
                    out,
                    "a total fault pages within {} at worst, as detect_within = {} wants",
                    Brief(worst),
                    Brief(within)
                )
            }
            Some(within) => writeln!(
                out,
                "{late} of {n} cannot page within detect_within = {} (marked !): run them more often, or shorten their objective",
                Brief(within)
            ),
        }
    }
}

impl Line {
    fn json(&self) -> Value {
        let route = &self.route;
        let labels: serde_json::Map<String, Value> =
            route.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        json!({
            "canary": route.canary,
            "platform": route.platform,
            "target": route.target,
            "mode": route.mode,
            "labels": labels,
            "runs_per_day": number(self.pace.per_day),
            "worst_detection_s": number(self.worst.as_secs_f64()),
        })
    }

    fn cells(&self, keeps: bool) -> [String; 7] {
        let route = &self.route;
        let labels: Vec<String> = route.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [
            route.canary.to_string(),
            route.platform.to_string(),
            route.target.to_string(),
            route.mode.to_string(),
            number(self.pace.per_day).to_string(),
            format!("{}{}", Brief(self.worst), if keeps { "" } else { " !" }),
            labels.join(" "),
        ]
    }
}

/// A number without a fraction that nobody asked for.
fn number(value: f64) -> serde_json::Number {
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        return serde_json::Number::from(rounded as i64);
    }
    serde_json::Number::from_f64(rounded).unwrap_or_else(|| 0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_where_they_are() {
        assert_eq!(number(310.0).to_string(), "310");
        assert_eq!(number(12_342.857_142).to_string(), "12342.857");
        assert_eq!(number(f64::NAN).to_string(), "0");
    }
}

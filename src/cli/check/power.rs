//! How long a fault that silently loses a share of a suspect's runs would stay unnoticed, as `check`
//! prints it; and what is asked of that.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::number;
use crate::{
    agent::lifecycle::OpenPlan,
    canary::{
        PlatformName, Schedule, Timestamp,
        time::{Brief, parse_duration},
    },
    detect::{
        incident::write_labels,
        power::{Course, MOST_SUSPECTS, Power, SHARES, Unnoticed, Watched, power},
    },
};

/// The objective of a canary on a platform whose jobs take [`USUAL`]: where it is tighter, jobs are taken
/// to be as much shorter.
const USUAL_OBJECTIVE: Duration = Duration::from_secs(120);
/// Jobs of a platform of which nothing is said. As `replay -c` takes them.
const USUAL: Course =
    Course { p50: Duration::from_secs(20), p99: Duration::from_secs(60), land: Duration::from_secs(3) };
/// Suspects that people are shown; scripts get all.
const SHOWN: usize = 60;

/// `--objective SHARE=TIME`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Objective {
    share: f64,
    within: Duration,
}

/// `--what-if every=TIME`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum WhatIf {
    /// Every route were sent so often.
    Every(Duration),
}

/// `every=30s`.
pub(super) fn what_if(text: &str) -> Result<WhatIf, String> {
    let every = text.split_once('=').filter(|(name, _)| name.trim() == "every").map(|(_, every)| every.trim());
    let every = every.ok_or_else(|| format!("`{text}` is not of the form every=30s"))?;
    let every = parse_duration(every).map_err(|error| error.to_string())?;
    let fits = every >= Duration::from_secs(1);
    fits.then_some(WhatIf::Every(every)).ok_or_else(|| format!("`{text}`: once a second is the most"))
}

/// `--job-time [PLATFORM=]P50[,P99]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobTime {
    platform: Option<PlatformName>,
    p50: Duration,
    p99: Duration,
}

/// `1%=12h`.
pub(super) fn objective(text: &str) -> Result<Objective, String> {
    let wrong = || format!("`{text}` is not of the form 1%=12h: a share of runs from 0.0001% to 100%, and a time");
    let (share, within) = text.split_once('=').ok_or_else(wrong)?;
    let share = share.trim().strip_suffix('%').and_then(|share| share.trim().parse::<f64>().ok());
    let share = share.map(|share| share / 100.0).filter(|share| (1e-6..=1.0).contains(share)).ok_or_else(wrong)?;
    let within = parse_duration(within.trim()).map_err(|error| error.to_string())?;
    if within.is_zero() {
        return Err(format!("`{text}`: nothing is noticed within no time; write 1%=12h"));
    }
    Ok(Objective { share, within })
}

/// `presto=4s,15s`, `20s`.
pub(super) fn job_time(text: &str) -> Result<JobTime, String> {
    let (platform, times) = match text.split_once('=') {
        Some((name, times)) => (Some(PlatformName::new(name.trim()).map_err(|error| error.to_string())?), times),
        None => (None, text),
    };
    let (p50, p99) = times.split_once(',').map_or((times, None), |(p50, p99)| (p50, Some(p99)));
    let length = |text: &str| parse_duration(text.trim()).map_err(|error| error.to_string());
    let p50 = length(p50)?;
    // Three times as long is what jobs of the usual platform take that are slow.
    let p99 = match p99 {
        Some(p99) if p99.trim().is_empty() => {
            return Err(format!(
                "`{text}`: after the comma comes the time of 99 %: write {p50},15s or {p50} alone",
                p50 = times.trim_end_matches([',', ' '])
            ));
        }
        Some(p99) => length(p99)?,
        None => p50 * 3,
    };
    if p50.is_zero() || p99 < p50 {
        return Err(format!(
            "`{times}`: half of the jobs end within the first time, which is more than nothing, and 99 % within the second, which is no shorter"
        ));
    }
    Ok(JobTime { platform, p50, p99 })
}

/// What a plan sees of faults that hit a share of runs.
pub(super) struct Foretold {
    power: Vec<Power>,
    objectives: Vec<Objective>,
    shares: Vec<f64>,
    courses: BTreeMap<PlatformName, Course>,
}

impl Foretold {
    /// Of the plan's routes as they are scheduled, or as they would be.
    pub(super) fn of(
        plan: &OpenPlan,
        objectives: &[Objective],
        job_times: &[JobTime],
        what_if: Option<&WhatIf>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let courses = courses(plan, job_times)?;
        let other = what_if.map(|WhatIf::Every(every)| Schedule::Every(*every));
        let watched: Vec<Watched<'_>> = (plan.routes.iter())
            .filter_map(|route| {
                let canary = plan.canary(&route.canary)?;
                Some(Watched {
                    route,
                    schedule: other.as_ref().unwrap_or(&canary.schedule),
                    objective: canary.objective,
                    deadline: canary.deadline,
                    pause: plan.pause(&route.target),
                    course: courses.get(&route.platform).copied().unwrap_or(USUAL),
                })
            })
            .collect();
        let mut shares = SHARES.to_vec();
        shares.extend(objectives.iter().map(|objective| objective.share));
        shares.sort_by(|a, b| b.total_cmp(a));
        shares.dedup();
        Ok(Self { power: power(&watched, &shares, now), objectives: objectives.to_vec(), shares, courses })
    }

    /// Whether 95 of a hundred faults on every suspect would be noticed as soon as is asked.
    pub(super) fn is_enough(&self) -> bool {
        self.objectives.iter().all(|objective| self.misses(objective).next().is_none())
    }

    fn misses(&self, objective: &Objective) -> impl Iterator<Item = (&Power, &Unnoticed)> {
        let (share, within) = (objective.share, objective.within);
        let of = move |power| of_share(power, share).map(|unnoticed| (power, unnoticed));
        self.power.iter().filter_map(of).filter(move |(_, unnoticed)| unnoticed.p95 > within)
    }

    pub(super) fn json(&self) -> (Value, Option<Value>) {
        let objective = |objective: &Objective| {
            let missed: Vec<Value> = self.misses(objective).map(|(power, _)| labels(power)).collect();
            json!({
                "share": objective.share,
                "within_s": number(objective.within.as_secs_f64()),
                "ok": missed.is_empty(),
                "missed_by": missed,
            })
        };
        let power: Vec<Value> = self.power.iter().map(suspect).collect();
        let objectives: Vec<Value> = self.objectives.iter().map(objective).collect();
        (power.into(), (!objectives.is_empty()).then(|| objectives.into()))
    }

    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.power.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nHow long a fault that silently loses a share of a suspect's runs stays unnoticed (median / 95 %):\n"
        )?;
        self.table(out)?;
        writeln!(
            out,
            "\nUnnoticed until the first word: a page once two losses count together, or a warning of one alone at\n\
             its deadline. Jobs are taken to last {} (--job-time says otherwise).",
            self.times()
        )?;
        self.kept(out)
    }

    /// The same, had the routes another schedule.
    pub(super) fn text_if(&self, WhatIf::Every(every): &WhatIf, out: &mut impl Write) -> io::Result<()> {
        if self.power.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nThe same, if every route were sent each {}:\n", Brief(*every))?;
        self.table(out)?;
        self.kept(out)
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = vec![["SUSPECT", "ROUTES", "RUNS/H"].map(str::to_owned).to_vec()];
        rows[0].extend(self.shares.iter().map(|share| percent(*share)));
        rows.extend(self.power.iter().take(SHOWN).map(|power| self.cells(power)));
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        if let Some(more) = self.power.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let more_still = if self.power.len() == MOST_SUSPECTS { " at least" } else { "" };
            writeln!(out, "and {more} more{more_still}; --format json has them")?;
        }
        Ok(())
    }

    /// Whether what is asked would be kept.
    fn kept(&self, out: &mut impl Write) -> io::Result<()> {
        for objective in &self.objectives {
            let (share, within) = (percent(objective.share), Brief(objective.within));
            let missed: Vec<String> = self.misses(objective).map(|(power, _)| write_labels(&power.labels)).collect();
            match missed.as_slice() {
                [] => writeln!(out, "a fault of {share} is noticed within {within} in 95 of a hundred cases")?,
                [first, rest @ ..] => writeln!(
                    out,
                    "a fault of {share} is not noticed within {within} in 95 of a hundred cases (marked !): on {first}{}; \
                     run them more often, or over more routes",
                    if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) }
                )?,
            }
        }
        Ok(())
    }

    fn cells(&self, power: &Power) -> Vec<String> {
        let rate = if power.runs_per_hour < 10.0 { 10.0 } else { 1.0 };
        let runs = (power.runs_per_hour * rate).round() / rate;
        let mut cells = vec![write_labels(&power.labels), power.routes.to_string(), number(runs).to_string()];
        cells.extend(power.shares.iter().map(|unnoticed| {
            let missed = self.objectives.iter().any(|o| o.share == unnoticed.share && unnoticed.p95 > o.within);
            let mark = if missed { " !" } else { "" };
            format!("{} / {}{mark}", Brief(whole(unnoticed.median)), Brief(whole(unnoticed.p95)))
        }));
        cells
    }

    /// How long jobs are taken to last, by platform where that differs.
    fn times(&self) -> String {
        let mut by_time: Vec<(Course, Vec<&str>)> = Vec::new();
        for (platform, course) in &self.courses {
            match by_time.iter_mut().find(|(known, _)| known == course) {
                Some((_, platforms)) => platforms.push(platform.as_str()),
                None => by_time.push((*course, vec![platform.as_str()])),
            }
        }
        let is_one = by_time.len() == 1;
        let text = |(course, platforms): &(Course, Vec<&str>)| {
            let on = match platforms.as_slice() {
                _ if is_one => String::new(),
                [one] => format!(" on {one}"),
                [first, rest @ ..] => format!(" on {first} and {} more", rest.len()),
                [] => String::new(),
            };
            format!("{} in the median, {} at 99 %{on}", Brief(course.p50), Brief(course.p99))
        };
        by_time.iter().map(text).collect::<Vec<_>>().join("; ")
    }
}

fn of_share(power: &Power, share: f64) -> Option<&Unnoticed> {
    power.shares.iter().find(|unnoticed| unnoticed.share == share)
}

/// How long jobs of each platform take: as somebody said, else by the tightest objective there.
fn courses(plan: &OpenPlan, said: &[JobTime]) -> Result<BTreeMap<PlatformName, Course>, String> {
    let known = |name: &PlatformName| plan.platforms.iter().any(|platform| platform.name == *name);
    if let Some(unknown) = said.iter().filter_map(|said| said.platform.as_ref()).find(|name| !known(name)) {
        return Err(format!("--job-time: there is no platform `{unknown}`"));
    }
    for (at, one) in said.iter().enumerate() {
        if said[..at].iter().any(|before| before.platform == one.platform) {
            let of = one.platform.as_ref().map_or("all platforms".to_owned(), |name| format!("platform `{name}`"));
            return Err(format!("--job-time: {of} has two; give it once"));
        }
    }
    let course = |name: &PlatformName| {
        let tightest = (plan.routes.iter().filter(|route| route.platform == *name))
            .filter_map(|route| plan.canary(&route.canary))
            .map(|canary| canary.objective)
            .min();
        let share = tightest.map_or(1.0, |tightest| tightest.div_duration_f64(USUAL_OBJECTIVE).min(1.0));
        let own = said.iter().rfind(|said| said.platform.as_ref() == Some(name));
        let land = USUAL.land.mul_f64(share);
        match own.or_else(|| said.iter().rfind(|said| said.platform.is_none())) {
            Some(said) => Course { p50: said.p50, p99: said.p99, land },
            None => Course { p50: USUAL.p50.mul_f64(share), p99: USUAL.p99.mul_f64(share), land },
        }
    };
    let used = plan.platforms.iter().filter(|platform| plan.routes.iter().any(|r| r.platform == platform.name));
    Ok(used.map(|platform| (platform.name.clone(), course(&platform.name))).collect())
}

fn labels(power: &Power) -> Value {
    power.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<Map<_, _>>().into()
}

fn suspect(power: &Power) -> Value {
    let also: Vec<Value> =
        (power.also.iter()).map(|set| json!({ "labels": set.iter().cloned().collect::<BTreeMap<_, _>>() })).collect();
    let share = |unnoticed: &Unnoticed| {
        json!({
            "share": unnoticed.share,
            "median_s": number(tenths(unnoticed.median)),
            "p95_s": number(tenths(unnoticed.p95)),
        })
    };
    json!({
        "labels": labels(power),
        "also": also,
        "routes": power.routes,
        "runs_per_hour": number(power.runs_per_hour),
        "shares": power.shares.iter().map(share).collect::<Vec<_>>(),
    })
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Nobody can tell a fraction of a second here.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs_f64().round() as u64)
}

/// `1%`, `0.01%`.
fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0 * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_share_is_read_or_refused_with_an_example() {
        assert_eq!(objective("1%=12h"), Ok(Objective { share: 0.01, within: Duration::from_secs(12 * 3600) }));
        assert_eq!(objective("100% = 3m"), Ok(Objective { share: 1.0, within: Duration::from_secs(180) }));
        for text in ["1=12h", "1%", "0%=1h", "101%=1h", "NaN%=1h", "-1%=1h"] {
            assert!(objective(text).expect_err(text).contains("1%=12h"), "{text}");
        }
        assert!(objective("1%=12").expect_err("no unit").contains("no unit"));
        assert!(objective("1%=0s").expect_err("no time").contains("1%=12h"));
    }

    #[test]
    fn job_times_are_of_one_platform_or_of_all() {
        let time = |platform: Option<&str>, p50, p99| JobTime {
            platform: platform.map(|name| PlatformName::new(name).expect("a name")),
            p50: Duration::from_secs(p50),
            p99: Duration::from_secs(p99),
        };
        assert_eq!(job_time("presto=4s,15s"), Ok(time(Some("presto"), 4, 15)));
        assert_eq!(job_time("20s"), Ok(time(None, 20, 60)));
        for text in ["", "presto", "presto=", "20s,10s", "0s", "=4s", "4s,", "presto=4s, "] {
            assert!(job_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_if_is_an_interval_or_refused_with_an_example() {
        assert_eq!(what_if("every=30s"), Ok(WhatIf::Every(Duration::from_secs(30))));
        for text in ["30s", "each=30s", "every", "every=0s", "every=soon"] {
            assert!(what_if(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_written_as_people_ask_for_them() {
        assert_eq!([1.0, 0.1, 0.01, 0.000_1, 0.000_001].map(percent), ["100%", "10%", "1%", "0.01%", "0.0001%"]);
    }

    #[cfg(feature = "sandbox")]
    #[test]
    fn jobs_of_which_nothing_is_said_take_as_long_as_replay_takes_them_to() {
        use crate::sandbox::{Spread, world};
        assert_eq!(world::HIVE_TIME, Spread::LogNormal { p50: USUAL.p50, p99: USUAL.p99 });
        assert_eq!(world::LAND_TIME, Spread::Between(Duration::from_secs(1), USUAL.land));
        assert_eq!(world::WorldCanary::default().objective, USUAL_OBJECTIVE);
    }
}

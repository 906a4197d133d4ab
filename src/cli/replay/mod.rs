//! `landfall replay`: plays scenarios on virtual time through the real scheduler, judge and
//! detector, without real I/O.

mod own;
pub mod play;
pub mod report;

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;

use self::{
    play::{Play, Played},
    report::Report,
};
use super::{
    Format,
    exit::{NO, USAGE, YES, answered},
    kinds, progress,
};
use crate::{
    canary::Route,
    config::{self, Problems},
    sandbox::scenario::Scenario,
};

/// Plays scenarios on virtual time, and says whether what must be detected was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  landfall replay 2015-08-24               a real incident by name
  landfall replay tests/scenarios/*.toml   many at once
  landfall replay 2015-08-24 --seeds 100   median, 99 % and worst over a hundred worlds
  landfall replay -c landfall.toml my-incident.toml
                                           would our own canaries have caught it?")]
pub struct Args {
    /// Scenario files, or names of real incidents.
    #[arg(required = true, value_name = "FILE|NAME")]
    scenarios: Vec<PathBuf>,
    /// Plays them against the canaries of this config: their routes, labels, schedules and objectives,
    /// in a virtual world. Nothing is connected to and no secret is read.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Plays each with so many seeds, on every core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: Option<u64>,
    /// Tells each incident's story, line by line.
    #[arg(long, conflicts_with = "seeds")]
    story: bool,
    /// How results are written; json is one line a scenario.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A scenario file is a page of text.
const LARGEST: u64 = 1_000_000;

/// A scenario by its file or its name, for its own world's routes or for others.
fn find(name: &Path, routes: Option<&[Arc<Route>]>) -> Result<Scenario, String> {
    let told = |problems: Problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let text = match std::fs::metadata(name) {
        Ok(file) if !file.is_file() => {
            return Err(format!("{}: not a file\n  hint: name a scenario file", name.display()));
        }
        Ok(file) if file.len() > LARGEST => return Err(format!("{}: larger than 1 MB", name.display())),
        Ok(_) => config::read_text(name).map_err(told)?.1,
        Err(error) => {
            let text = Scenario::builtin_text(&name.to_string_lossy()).ok_or_else(|| {
                let known = Scenario::builtin_names().collect::<Vec<_>>().join(", ");
                format!("{}: {error}\n  hint: name a file, or one of {known}", name.display())
            });
            text?.to_owned()
        }
    };
    let read = match routes {
        Some(routes) => Scenario::parse_for(name, &text, routes),
        None => Scenario::parse(name, &text),
    };
    read.map_err(told)
}

/// `landfall replay`.
pub fn replay(args: &Args) -> Result<u8> {
    let watch = match args.config.as_deref().map(own::read).transpose() {
        Ok(watch) => watch,
        Err(problems) => {
            kinds::complain(&problems);
            return Ok(USAGE);
        }
    };
    let (mut scenarios, mut wrong) = (Vec::new(), false);
    for name in &args.scenarios {
        let found = find(name, watch.as_ref().map(|watch| &watch.routes[..])).and_then(|scenario| {
            let play = match &watch {
                Some(watch) => own::play(&scenario, watch)?,
                None => Play::of(&scenario),
            };
            Ok((scenario, play))
        });
        match found {
            Ok(found) => scenarios.push(found),
            Err(problems) => {
                wrong = true;
                // Whoever closed stderr does not want to know.
                let _ = writeln!(std::io::stderr(), "{problems}");
            }
        }
    }
    if wrong {
        return Ok(USAGE);
    }
    let mut all_pass = true;
    for (scenario, play) in &scenarios {
        let report = match args.seeds {
            None => {
                let played = play::play(play, scenario.seed)?;
                if args.story {
                    tell(&played);
                }
                Report::of(scenario, &played)
            }
            Some(n) => match Report::sum_up(play_many(scenario, play, n)?) {
                Some(report) => report,
                None => continue,
            },
        };
        all_pass &= report.pass;
        let mut out = std::io::stdout().lock();
        let written = match args.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?),
            Format::Text => write!(out, "{}", report.text()),
        };
        answered(written, YES)?;
    }
    Ok(if all_pass { YES } else { NO })
}

/// On stderr: stdout is for the answer.
fn tell(played: &Played) {
    for incident in &played.incidents {
        // Whoever closed stderr does not want to know.
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{}: {} on {}", incident.id, incident.outcome, incident.suspects_text());
        for step in &incident.history {
            let _ = writeln!(err, "  {}  {}", step.at, step.text);
        }
    }
}

/// Every seed from the scenario's own on, on every core; in the order of the seeds.
fn play_many(scenario: &Scenario, play: &Play, n: u64) -> Result<Vec<Report>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(n as usize);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let line = progress::Line::new();
    let work = || -> Result<Vec<(u64, Report)>> {
        let mut reports = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= n {
                return Ok(reports);
            }
            let played = play::play(play, scenario.seed.wrapping_add(nth))?;
            reports.push((nth, Report::of(scenario, &played)));
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let stand =
                progress::Stand { what: scenario.name.clone(), count: Some((done, n)), rest: "seeds".to_owned() };
            line.show(&format!("{}: playing {n} seeds", scenario.name), stand);
        }
    };
    let mut reports = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut reports = Vec::new();
        for thread in threads {
            reports.extend(thread.join().map_err(|_| anyhow::anyhow!("a replay panicked"))??);
        }
        anyhow::Ok(reports)
    })?;
    reports.sort_by_key(|(nth, _)| *nth);
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}

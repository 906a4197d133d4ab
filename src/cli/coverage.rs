//! `landfall coverage`: what customers use and no route covers, and what closes each gap.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::ValueEnum;
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    exit::{NO, UNSURE, YES, answered},
    plain::{self, plain, plain_lines},
    progress,
    remote::Where,
};
use crate::{
    canary::{
        Mode,
        time::{Brief, parse_duration},
    },
    detect::coverage::{Coverage, Line, Watch},
};

/// A month of a large account's jobs is read within this.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Longest text in a column.
const WIDEST: usize = 40;

/// Holds what customers use against what is watched: engines, versions, pools, kinds of targets and modes, from
/// the platforms' recent jobs, saved connections and schedules.
///
/// Through the running agent, which asks the platforms. Each gap comes with the TOML that closes it: put it into
/// a file in the folder of probes, fill in what it names, and reload.
///
/// Exit codes: 0 · 1 with --fail-on-gap, if there is a gap, whether or not it can be closed yet · 2 usage · 3 a platform could
/// not be asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ways that nobody has used for so long are no gaps.
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = within)]
    within: Duration,
    /// A gap is a no, also one that cannot be closed yet.
    #[arg(long)]
    fail_on_gap: bool,
    /// How the answer is written; `toml` is what closes all gaps, and nothing else.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Address of the running agent.
    #[arg(long, default_value = "http://127.0.0.1:9440", value_name = "URL")]
    agent: Url,
    /// File with the agent's token; without it LANDFALL_TOKEN is read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For scripts; stable.
    Json,
    /// For the folder of probes.
    Toml,
}

fn within(text: &str) -> Result<Duration, String> {
    let within = parse_duration(text).map_err(|_| format!("`{text}` is not a time such as 7d or 12h"))?;
    let fits = (Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600)).contains(&within);
    fits.then_some(within).ok_or_else(|| "must be from 1m to 366d".to_owned())
}

/// `landfall coverage`.
pub async fn coverage(args: Args) -> Result<u8> {
    let place = Where::at(args.agent.clone(), args.token_file.clone());
    let body = json!({ "within_seconds": args.within.as_secs() });
    let line = progress::Line::new();
    let found: Result<Coverage> = place
        .find("/api/v1/coverage", body, "coverage", PATIENCE, |stands| {
            line.show("reading customers' jobs", stage(stands))
        })
        .await;
    drop(line);
    let found = found?;
    let code = code(&found, args.fail_on_gap);
    let mut out = Vec::new();
    match args.format {
        Format::Text => write(&mut out, &found)?,
        Format::Json => {
            let mut object = json!(found);
            object["exit_code"] = code.into();
            writeln!(out, "{}", plain::json(&object))?;
        }
        Format::Toml => out.write_all(plain_lines(found.toml.as_deref().unwrap_or_default()).as_bytes())?,
    }
    let answered = answered(io::stdout().write_all(&out), code);
    // What could not be asked is news in every format; whoever closed stderr does not want to know.
    for unheard in found.unheard.iter().filter(|_| args.format != Format::Text) {
        let _ = writeln!(io::stderr(), "could not ask {}: {}", unheard.platform, plain(&unheard.because));
    }
    answered
}

/// How far the agent is.
fn stage(stands: &Value) -> progress::Stand {
    let count = |name: &str| stands[name].as_u64().unwrap_or(0);
    progress::Stand {
        what: "reading customers' jobs".to_owned(),
        count: Some((count("read"), count("of"))),
        rest: format!("accounts, {} jobs", count("jobs")),
    }
}

/// A no wins over not knowing.
fn code(found: &Coverage, fail_on_gap: bool) -> u8 {
    match () {
        () if fail_on_gap && found.gaps().next().is_some() => NO,
        () if !found.unheard.is_empty() || found.left_out > 0 => UNSURE,
        () => YES,
    }
}

fn write(out: &mut dyn Write, found: &Coverage) -> io::Result<()> {
    let time = Brief(Duration::from_secs(found.within_seconds));
    let (gaps, covered) = (found.gaps().count(), count(found, Watch::Covered));
    let closable = found.gaps().filter(|gap| gap.can_close()).count();
    writeln!(out, "in the last {time}: gaps {gaps}, of which can be closed {closable}; covered {covered}")?;
    for unheard in &found.unheard {
        writeln!(out, "could not ask {}: {}", unheard.platform, plain(&unheard.because))?;
    }
    if found.left_out > 0 {
        writeln!(out, "{} jobs went more ways than can be told apart, and are not counted", found.left_out)?;
    }
    if !found.ways.is_empty() {
        writeln!(out)?;
        table(out, &found.ways)?;
    }
    for gap in found.gaps().filter(|gap| gap.because.is_some()) {
        let (engine, into) = (plain(&engine(gap)), plain(&into(gap)));
        let because = plain(gap.because.as_deref().unwrap_or_default());
        writeln!(out, "\ncannot be closed yet: {engine} into {into}: {because}")?;
    }
    match &found.toml {
        Some(toml) => writeln!(out, "\n{}", plain_lines(toml).trim_end()),
        None => Ok(()),
    }
}

fn count(found: &Coverage, watch: Watch) -> usize {
    found.ways.iter().filter(|line| line.watch == watch).count()
}

fn engine(line: &Line) -> String {
    let version = line.engine_version.iter().map(|version| format!(" {version}"));
    let pool = line.pool.iter().map(|pool| format!(" ({pool})"));
    let text: String = [line.engine.clone()].into_iter().chain(version).chain(pool).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

fn into(line: &Line) -> String {
    line.target_kind.clone().unwrap_or_else(|| line.schemes.join(", "))
}

fn table(out: &mut dyn Write, lines: &[Line]) -> io::Result<()> {
    let head = ["", "PLATFORM", "ENGINE", "TARGET", "MODE", "JOBS", "FAILED", "OWNERS", "SCHEDULES", "LAST USED"];
    let row = |line: &Line| {
        let watch = match (line.watch, line.can_close()) {
            (Watch::Gap, true) => "gap",
            (Watch::Gap, false) => "gap, open",
            (Watch::Covered, _) => "covered",
            (Watch::Unused, _) => "unused",
        };
        [
            watch.to_owned(),
            line.platform.to_string(),
            engine(line),
            into(line),
            line.mode.map_or("-", Mode::as_str).to_owned(),
            line.jobs.to_string(),
            line.failed.to_string(),
            line.owners.to_string(),
            line.schedules.to_string(),
            line.last_used_at.map_or("-".to_owned(), |at| at.to_string()),
        ]
        // Names come from outside.
        .map(|text| plain(&text).chars().take(WIDEST).collect::<String>())
    };
    let rows: Vec<[String; 10]> = [head.map(str::to_owned)].into_iter().chain(lines.iter().map(row)).collect();
    let mut widths = [0; 10];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_no_whether_or_not_it_can_be_closed_yet() {
        let found = |toml: Option<&str>, watch: &str| -> Coverage {
            let line = json!({
                "watch": watch, "platform": "presto", "engine": "presto", "engine_version": null, "pool": null,
                "schemes": ["salesforce"], "target_kind": null, "mode": "append", "jobs": 1, "failed": 0, "owners": 1,
                "schedules": 0, "connections": 0, "last_used_at": null, "routes": [], "because": null, "toml": toml,
            });
            let all = json!({
                "at": "2026-09-21T13:13:20Z", "within_seconds": 60, "ways": [line], "unheard": [], "left_out": 0,
                "toml": toml,
            });
            serde_json::from_value(all).expect("an answer")
        };
        for toml in [None, Some("[canary.c]")] {
            assert_eq!((code(&found(toml, "gap"), true), code(&found(toml, "gap"), false)), (NO, YES));
            assert_eq!(code(&found(toml, "covered"), true), YES);
        }
    }
}

//! `landfall impact`: which customers' jobs an incident hit, for those who call them one by one.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use reqwest::Url;
use serde_json::{Value, json};

use super::{Where, escaped};
use crate::{
    canary::{Timestamp, time::parse_duration},
    cli::{
        exit::{UNSURE, YES, answered},
        plain::{self, plain},
        progress,
    },
    detect::{
        impact::{Hit, Impact},
        incident::write_labels,
    },
};

/// Reading the accounts of a large installation takes minutes; what takes longer was forgotten.
const LONGEST: Duration = Duration::from_secs(3600);

/// Lists the customers' jobs whose outputs an incident hit: each time from the last good run to the first green
/// one after it, where the suspects are, with a Result Output, ended well as their platform says.
///
/// A running agent reads the jobs from the platforms with the access that its canaries have. What it cannot
/// know for certain is marked; `--check` also looks at the targets that it can read.
///
/// Exit codes: 0 the list is whole · 2 usage · 3 jobs may be missing from it: some could not be read or are still
/// at work, or the incident is still open. Ask again then.
#[derive(Debug, clap::Args)]
pub struct ImpactArgs {
    /// The incident's id.
    incident: String,
    /// Also looks at those targets that the agent can read.
    #[arg(long)]
    check: bool,
    /// A job that began so long before the incident may still have been at work in it.
    #[arg(long, default_value = "6h", value_name = "TIME", value_parser = longest)]
    longest_job: Duration,
    /// Address of the running agent.
    #[arg(long, default_value = "http://127.0.0.1:9440", value_name = "URL")]
    agent: Url,
    /// File with the agent's token; without it LANDFALL_TOKEN is read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How the list is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A line a job, for a sheet.
    Csv,
    /// For scripts; stable.
    Json,
}

fn longest(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text).map_err(|_| format!("`{text}` is not a time such as 90m or 6h"))?;
    let fits = length <= Duration::from_secs(90 * 86_400);
    fits.then_some(length).ok_or_else(|| "must be at most 90d: no job is at work for longer".to_owned())
}

/// `landfall impact`.
pub async fn impact(args: ImpactArgs) -> Result<u8> {
    let place = Where::at(args.agent, args.token_file);
    let body = json!({ "check": args.check, "longest_job_seconds": args.longest_job.as_secs_f64() });
    let found = ask(&place, &args.incident, body, LONGEST).await?;
    let code = if found.is_whole { YES } else { UNSURE };
    let mut out = std::io::stdout().lock();
    let written = match args.format {
        Format::Json => writeln!(out, "{}", plain::json(&json!(found))),
        Format::Csv => {
            // A sheet has no place for it.
            remarks(&found).iter().for_each(|remark| {
                let _ = writeln!(std::io::stderr(), "{}", plain(remark));
            });
            out.write_all(csv(&found).as_bytes())
        }
        Format::Text => text(&mut out, &found),
    };
    answered(written, code)
}

/// Has the agent find it, and waits for so long.
pub(super) async fn ask(place: &Where, incident: &str, body: Value, within: Duration) -> Result<Impact> {
    let path = format!("/api/v1/incidents/{}/impact", escaped(incident));
    let line = progress::Line::new();
    let show = |stands: &Value| line.show("reading customers' jobs", stage(stands));
    place.find(&path, body, "impact", within, show).await
}

/// How far the agent is.
fn stage(stands: &Value) -> progress::Stand {
    let count = |name: &str| stands[name].as_u64().unwrap_or(0);
    let (what, count, rest) = match (count("looked"), count("to_look")) {
        (_, 0) => ("reading customers' jobs", (count("read"), count("of")), "accounts"),
        (looked, to_look) => ("looking at targets", (looked, to_look), "outputs"),
    };
    progress::Stand { what: what.to_owned(), count: Some(count), rest: rest.to_owned() }
}

/// What a reader of the list must know.
pub(super) fn remarks(found: &Impact) -> Vec<String> {
    let mut remarks = found.notes.clone();
    for account in &found.accounts {
        let whose = account.platforms.join(", ");
        remarks.push(match &account.cut {
            Some(cut) if account.jobs == 0 => format!("{whose} could not be asked: {cut}"),
            Some(cut) => format!("{whose}: not all jobs since {} were read: {cut}", account.since),
            None => format!("{whose}: {} jobs were read, back to {}", account.jobs, account.since),
        });
    }
    remarks
}

fn text(out: &mut impl Write, found: &Impact) -> std::io::Result<()> {
    let certain = found.jobs.iter().filter(|hit| hit.certain).count();
    let when = |at: Option<Timestamp>, none: &str| at.map_or(none.to_owned(), |at| at.to_string());
    writeln!(
        out,
        "{}: {} on {}",
        plain(&found.incident),
        found.outcome.as_str(),
        plain(&write_labels(&found.suspects.0))
    )?;
    for bracket in &found.brackets {
        writeln!(
            out,
            "  began between {} and {}, ended between {} and {}{}",
            when(bracket.last_good, "?"),
            bracket.first_bad,
            bracket.last_bad,
            when(bracket.first_good, "now, if it has"),
            if bracket.is_intermittent { "; not every run was hit" } else { "" },
        )?;
    }
    writeln!(out, "  {certain} jobs were hit, {} more may have been", found.jobs.len() - certain)?;
    for hit in &found.jobs {
        let platform = plain(hit.platform.as_deref().unwrap_or("-"));
        let owner = plain(hit.owner.as_deref().unwrap_or("-"));
        let mark = if hit.certain { " " } else { "?" };
        writeln!(
            out,
            "{mark} {}  {platform}  {owner}  {} to {}  {}",
            plain(&hit.job_id),
            when(hit.query_start, "-"),
            when(hit.end, "-"),
            plain(&hit.address)
        )?;
        for (what, line) in [("not certain", &hit.because), ("target", &hit.check), ("again", &hit.again)] {
            if let Some(line) = line {
                writeln!(out, "      {what}: {}", plain(line))?;
            }
        }
    }
    for remark in remarks(found) {
        writeln!(out, "  {}", plain(&remark))?;
    }
    if found.jobs.iter().any(|hit| hit.again.is_some()) {
        writeln!(out, "  TD_API_KEY is the account's key, RESULT_URL the job's address with its password")?;
    }
    Ok(())
}

const COLUMNS: [&str; 13] = [
    "job_id",
    "platform",
    "owner",
    "query_start",
    "end",
    "scheme",
    "address",
    "mode",
    "rows",
    "certain",
    "because",
    "again",
    "check",
];

fn csv(found: &Impact) -> String {
    let mut out = COLUMNS.join(",") + "\r\n";
    for hit in &found.jobs {
        let fields = columns(hit).map(|field| cell(&field));
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    out
}

fn columns(hit: &Hit) -> [String; 13] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    let when = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        hit.job_id.clone(),
        or_none(&hit.platform),
        or_none(&hit.owner),
        when(hit.query_start),
        when(hit.end),
        hit.scheme.clone(),
        hit.address.clone(),
        hit.mode.map(|mode| mode.to_string()).unwrap_or_default(),
        hit.rows.map(|rows| rows.to_string()).unwrap_or_default(),
        hit.certain.to_string(),
        or_none(&hit.because),
        or_none(&hit.again),
        or_none(&hit.check),
    ]
}

/// A cell that no reader takes for anything but text: quoted, and not a formula, which sheets take from any
/// cell that begins like one.
fn cell(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let is_formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_from_outside_breaks_a_sheet_or_is_a_formula() {
        for (text, written) in [
            ("plain", "\"plain\""),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("two\r\nlines", "\"two  lines\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            (" \t@SUM(1)", "\"'  @SUM(1)\""),
            ("-1", "\"'-1\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}

//! `landfall verify`: the post-deploy step of a release pipeline.

mod github;
mod here;
mod junit;
mod papers;
mod text;
mod there;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use reqwest::Url;
use serde_json::{Value, json};

pub(super) use self::{
    papers::Papers,
    there::{body, wait},
};
use super::{
    exit::{NO, UNSURE, Usage, YES},
    progress,
};
use crate::{
    agent::verify::Progress,
    canary::{Selector, time::parse_duration},
    detect::verification::{Answer, Verification},
};

/// Verifies a release: runs every selected route at once, reads the targets, and compares with how each
/// route was before.
///
/// In this process, from a config; its ledger is what knows how routes were, and learns how they are. Where a
/// daemon watches already, `--agent` has it do the same against its own history.
///
/// A silent loss is a no. A run that failed is repeated, and is a no if it fails again. Without
/// history a bad route is a regression.
///
/// How a route was: what runs on the schedule came to before the newest deploy marker of the last day or, if there
/// is none, before an open incident of the last hour; or what a verification since found, if it passed. One that
/// said no says no again when it is repeated, until the route lands, or --accept takes it for how it is.
///
/// Rows that are missing at their objective may be late, which is no regression: a route is called bad at its
/// deadline or, if several lose theirs, after ten times as long as rows ever took there.
///
/// Exit codes: 0 nothing got worse · 1 something did · 2 usage or config · 3 nobody could see all of it, or it was
/// broken off (Ctrl-C, SIGTERM).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config.
    #[arg(short, long, default_value = "landfall.toml", value_name = "FILE", conflicts_with = "agent")]
    config: PathBuf,
    /// Ask this agent instead, which knows how its routes were.
    #[arg(long, value_name = "URL")]
    agent: Option<Url>,
    /// File with the agent's token; without it LANDFALL_TOKEN is read.
    #[arg(long, value_name = "FILE", requires = "agent")]
    token_file: Option<PathBuf>,
    /// Only routes of which this holds, such as worker=v6; all that are given must.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    only: Vec<Selector>,
    /// Only routes of this canary.
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
    #[command(flatten)]
    how: How,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How to verify.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct How {
    /// How often each route is run [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// When to answer with what is known by then; rows that are overdue and not there count as lost [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = within)]
    within: Option<Duration>,
    /// What failed before and still does is a no, too.
    #[arg(long)]
    pub(super) strict: bool,
    /// Takes what is found for how routes are: bad ones are no regression now, nor the next time.
    #[arg(long, conflicts_with = "strict")]
    pub(super) accept: bool,
    /// Also writes the answer as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
}

impl How {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(1)
    }

    fn within(&self) -> Duration {
        self.within.unwrap_or(PATIENCE)
    }

    /// Whether anything was said of it.
    pub(super) fn is_given(&self) -> bool {
        let Self { rounds, within, strict, accept, junit } = self;
        rounds.is_some() || within.is_some() || *strict || *accept || junit.is_some()
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For scripts; stable.
    Json,
    /// Annotations for GitHub's runners, and a summary in Markdown.
    Github,
}

/// How long a pipeline waits if it does not say.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest that a pipeline waits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn within(text: &str) -> Result<Duration, String> {
    let within = parse_duration(text).map_err(|_| format!("`{text}` is not a time such as 90s or 5m"))?;
    let fits = (Duration::from_secs(1)..=LONGEST).contains(&within);
    fits.then_some(within).ok_or_else(|| "must be from 1s to 24h".to_owned())
}

/// `landfall verify`.
pub async fn verify(args: Args) -> Result<u8> {
    let only = selector(&args.only, args.canary.as_deref())?;
    let papers = Papers::open(&args.how, args.format)?;
    let verification = match &args.agent {
        Some(agent) => there::verify(agent, args.token_file.as_deref(), &only, &args.how).await?,
        None => here::verify(&args.config, &only, &args.how).await?,
    };
    Ok(papers.tell(&verification))
}

fn selector(only: &[Selector], canary: Option<&str>) -> Result<Selector> {
    let mut pairs: Vec<(String, String)> = only.iter().flat_map(|one| one.pairs().iter().cloned()).collect();
    pairs.extend(canary.map(|name| ("canary".to_owned(), name.to_owned())));
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(known, _)| known == name) {
            return Err(Usage(format!("`{name}` is there twice; all that is selected must hold at once")).into());
        }
    }
    Ok(Selector::new(pairs))
}

fn code(verification: &Verification) -> u8 {
    match verification.answer {
        Answer::Yes => YES,
        Answer::No => NO,
        Answer::Unsure => UNSURE,
    }
}

fn object(verification: &Verification) -> Value {
    let mut object = json!(verification);
    object["exit_code"] = code(verification).into();
    object
}

/// Shows how far it is.
fn show(line: &progress::Line, at: Progress) {
    let Progress { clear, bad, of } = at;
    let stand = progress::Stand {
        what: "verifying".to_owned(),
        count: Some((clear as u64, of as u64)),
        rest: format!("routes are clear, {bad} bad"),
    };
    line.show(&format!("verifying {of} routes"), stand);
}

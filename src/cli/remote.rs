//! Commands that talk to a running agent: how they ask, and `deploy` and `incidents`.

pub mod drill;
pub mod impact;
mod labels;
pub mod maintenance;
mod notifications;
mod report;
pub mod status;
mod story;

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::ValueEnum;
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Format,
    exit::{UNSURE, Unsure, Usage, YES, answered},
    plain::{self, tame},
    verify,
};
use crate::{
    canary::{Secret, Selector},
    http,
};

/// A list of customers' jobs, the longest answer, may have some 60 MB; what has more is not an agent.
const MOST: usize = 128 << 20;
/// Such a list comes slowly.
const LIST: Duration = Duration::from_secs(240);
const PATIENCE: Duration = Duration::from_secs(30);
/// What takes long is asked for this often.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where the agent is, and how its answer is written.
#[derive(Debug, clap::Args)]
pub struct Where {
    #[command(flatten)]
    reach: Reach,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
}

/// How an agent is reached.
#[derive(Debug, clap::Args)]
struct Reach {
    /// Address of the running agent.
    #[arg(long, global = true, default_value = "http://127.0.0.1:9440", value_name = "URL")]
    agent: Url,
    /// File with the agent's token; without it LANDFALL_TOKEN is read.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Tells a running agent of a deploy: it names it if something breaks, and sends every route at once.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    /// What was released.
    service: String,
    /// Which version.
    version: String,
    /// Routes to send first, such as worker=v6. All are sent, and with --verify verified: what is released to one may
    /// break another.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    first: Vec<String>,
    /// Also verifies: waits until every route has been run, and says what got worse. Exits as `landfall
    /// verify` does.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    how: verify::How,
    #[command(flatten)]
    reach: Reach,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: verify::Format,
}

/// Lists incidents, or shows or closes one.
///
/// Exit codes: 0 · 2 usage · 3 nobody could tell; of a report, it was written, and jobs may be missing from it.
#[derive(Debug, clap::Args)]
pub struct IncidentsArgs {
    /// The incident's id; without it all are listed.
    id: Option<String>,
    #[command(subcommand)]
    action: Option<IncidentAction>,
    /// Leaves customers' jobs out of the report: to read them takes minutes where they are many, and the token.
    #[arg(long)]
    no_impact: bool,
    #[command(flatten)]
    reach: Reach,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: IncidentFormat,
}

/// How incidents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IncidentFormat {
    /// For people.
    Text,
    /// For scripts; stable.
    Json,
    /// A report of one incident: the draft of a postmortem, facts only.
    Markdown,
}

#[derive(Debug, clap::Subcommand)]
enum IncidentAction {
    /// Closes the incident by hand.
    Resolve {
        /// Why it is over.
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
}

impl Where {
    /// An agent at an address, whose answers are taken as they are: whoever writes them makes them plain.
    pub(super) fn at(agent: Url, token_file: Option<PathBuf>) -> Self {
        Self { reach: Reach { agent, token_file }, format: Format::Json }
    }

    /// Its address.
    fn agent(&self) -> &Url {
        &self.reach.agent
    }

    fn token(&self) -> Result<Option<Secret>> {
        let text = match &self.reach.token_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| Usage(format!("token file `{}` cannot be read", path.display())))?,
            None => match std::env::var("LANDFALL_TOKEN") {
                Ok(token) => token,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Secret::new(text.trim())))
    }

    /// Asks; whatever the agent does not do is an error.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        self.ask_within(method, path, body, PATIENCE).await
    }

    async fn ask_within(&self, method: Method, path: &str, body: Option<Value>, patience: Duration) -> Result<Value> {
        let (status, value) = self.send(method, path, body, patience).await?;
        if status.is_success() {
            return Ok(value);
        }
        Err(refused(status, &value))
    }

    /// Has the agent find something that takes long, and waits for it. `name`: what the answer calls it; `show` is
    /// given every answer until it is there.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
        name: &str,
        within: Duration,
        show: impl FnMut(&Value),
    ) -> Result<T> {
        let stands = self.ask(Method::POST, path, Some(body)).await?;
        self.wait(stands, path, name, within, show).await
    }

    /// Waits for what the agent finds, as it stands now.
    pub(super) async fn wait<T: DeserializeOwned>(
        &self,
        mut stands: Value,
        path: &str,
        name: &str,
        within: Duration,
        mut show: impl FnMut(&Value),
    ) -> Result<T> {
        let ends = Instant::now() + within;
        let id = escaped(stands["id"].as_str().unwrap_or_default());
        loop {
            if let Some(error) = stands["error"].as_str() {
                return Err(Unsure(format!("nothing was found: {error}")).into());
            }
            show(&stands);
            let found = stands[name].take();
            if !found.is_null() {
                let unread = |error| Unsure(format!("the agent's answer cannot be read: {error}"));
                return Ok(serde_json::from_value(found).map_err(unread)?);
            }
            if Instant::now() >= ends {
                return Err(Unsure("the agent did not answer in time".to_owned()).into());
            }
            tokio::time::sleep(ASK_AGAIN).await;
            stands = self.ask_within(Method::GET, &format!("{path}/{id}"), None, LIST).await?;
        }
    }

    /// Asks, and hands over what was answered.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        patience: Duration,
    ) -> Result<(StatusCode, Value)> {
        let client = http::Wire::default().client().map_err(|error| Unsure(error.to_string()))?;
        let agent = &self.reach.agent;
        let url = agent.join(path).map_err(|error| Usage(format!("`{agent}`: {error}")))?;
        let mut request = client.request(method.clone(), url).timeout(patience);
        if method != Method::GET
            && let Some(token) = self.token()?
        {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unheard = |what: String| Unsure(format!("no answer from the agent at {agent}: {what}"));
        let answer = request.send().await.map_err(|error| unheard(reason(&error)))?;
        let status = answer.status();
        let bytes = http::body(answer, MOST).await.map_err(|error| unheard(error.to_string()))?;
        let said = || Value::String(String::from_utf8_lossy(&bytes).trim().to_owned());
        let mut value = serde_json::from_slice(&bytes).unwrap_or_else(|_| said());
        // For people, whose terminals obey some characters. Scripts get what was said.
        if self.format == Format::Text {
            tame(&mut value);
        }
        Ok((status, value))
    }

    /// Writes an answer. Whoever closed stdout has read enough, which changes nothing about the answer.
    fn print(&self, value: &Value, text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = match self.format {
            Format::Json => writeln!(out, "{}", plain::json(value)),
            Format::Text => text(&mut out),
        };
        answered(written, YES).map(drop)
    }
}

/// Why the agent did not do it, in its words.
fn refused(status: StatusCode, value: &Value) -> anyhow::Error {
    let said = plain::plain_lines(value["error"].as_str().or(value.as_str()).unwrap_or("nothing more"));
    let hint = match status {
        StatusCode::UNAUTHORIZED => "; --token-file FILE or LANDFALL_TOKEN gives it",
        _ => "",
    };
    let text = format!("the agent answered {status}: {said}{hint}");
    // What it cannot do now may be asked again as it is.
    match status.is_server_error() {
        true => Unsure(text).into(),
        false => Usage(text).into(),
    }
}

/// The innermost cause: "error sending request" says nothing.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// `landfall deploy`.
pub async fn deploy(args: DeployArgs) -> Result<u8> {
    // What is verified is written by `verify`, from what was said.
    let format = if args.verify || args.format == verify::Format::Json { Format::Json } else { Format::Text };
    let place = Where { reach: args.reach, format };
    if !args.verify && (args.how.is_given() || args.format == verify::Format::Github) {
        let what = "--rounds, --within, --strict, --accept, --junit and --format github say how to verify";
        return Err(Usage(format!("{what}: add --verify")).into());
    }
    let papers = verify::Papers::open(&args.how, args.format)?;
    let first = labels::pairs(&args.first)?;
    let mut body = json!({ "service": args.service, "version": args.version, "where": first });
    if args.verify {
        // Everything: in 2015 the release went to v6 and broke v5. `--where` says which routes go first.
        body["verify"] = verify::body(&Selector::default(), &args.how);
    }
    let mut answer = place.ask(Method::POST, "/api/v1/deploys", Some(body)).await?;
    if args.verify {
        let found = verify::wait(&place, answer["verify"].take(), &args.how).await;
        return Ok(papers.tell(&found.context("the deploy was noted, and not verified")?));
    }
    place.print(&answer, |out| writeln!(out, "noted: {} {}; every route is sent now", args.service, args.version))?;
    Ok(YES)
}

/// `landfall incidents`.
pub async fn incidents(args: IncidentsArgs) -> Result<u8> {
    let is_report = args.format == IncidentFormat::Markdown;
    if is_report && (args.id.is_none() || args.action.is_some()) {
        let how = "--format markdown is the report of one incident: landfall incidents ID --format markdown";
        return Err(Usage(how.to_owned()).into());
    }
    if args.no_impact && !is_report {
        return Err(Usage("--no-impact says what is in a report: --format markdown".to_owned()).into());
    }
    // A report takes what was said as it is: Markdown is written in ways of its own.
    let format = if args.format == IncidentFormat::Text { Format::Text } else { Format::Json };
    let (id, action, place) = (args.id, args.action, Where { reach: args.reach, format });
    match (&id, &action) {
        (None, Some(_)) => Err(Usage("which incident? landfall incidents ID resolve --because TEXT".to_owned()).into()),
        (None, None) => {
            let answer = place.ask(Method::GET, "/api/v1/incidents", None).await?;
            let list = answer["incidents"].as_array().cloned().unwrap_or_default();
            place.print(&answer, |out| {
                if list.is_empty() {
                    return writeln!(out, "no incidents");
                }
                list.iter().try_for_each(|incident| writeln!(out, "{}", line(incident)))
            })?;
            Ok(YES)
        }
        (Some(id), None) => {
            let answer = place.ask(Method::GET, &format!("/api/v1/incidents/{}", escaped(id)), None).await?;
            if is_report {
                let report = report::Report::gather(&place, answer["incidents"][0].clone(), !args.no_impact).await?;
                let written = write!(std::io::stdout().lock(), "{}", report.markdown());
                return answered(written, if report.is_whole() { YES } else { UNSURE });
            }
            let told = match place.format {
                // What is told of it is an answer of its own.
                Format::Json => Value::Null,
                Format::Text => place.ask(Method::GET, "/api/v1/notifications?limit=1000", None).await?,
            };
            place.print(&answer, |out| story::write(out, &answer["incidents"][0], &told["notifications"]))?;
            Ok(YES)
        }
        (Some(id), Some(IncidentAction::Resolve { because })) => {
            let path = format!("/api/v1/incidents/{}/resolve", escaped(id));
            let answer = place.ask(Method::POST, &path, Some(json!({ "because": because }))).await?;
            place.print(&answer, |out| writeln!(out, "closed {id}"))?;
            Ok(YES)
        }
    }
}

pub(super) fn escaped(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn line(incident: &Value) -> String {
    let suspects = labels::text(&incident["suspects"]);
    let text = |name: &str| incident[name].as_str().unwrap_or("-").to_owned();
    let until = incident["resolved_at"].as_str().unwrap_or("open");
    let since = incident["onset"]["first_bad"].as_str().unwrap_or("-");
    let quiet = story::quiet(incident).iter().map(|line| format!("  ({line})")).collect::<String>();
    format!("{}  {:8}  {:10}  {suspects}  since {since}  {until}{quiet}", text("id"), text("severity"), text("outcome"))
}

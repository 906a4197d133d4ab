//! Commands that talk to a running agent: `deploy`, `incidents`, `status`.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::{
    Format,
    exit::{NO, Unsure, Usage, YES},
};
use crate::{canary::Secret, http};

/// Answers of an agent are small; more is not an agent.
const MOST: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the agent is.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// Address of the running agent.
    #[arg(long, global = true, default_value = "http://127.0.0.1:9440", value_name = "URL")]
    agent: Url,
    /// File with the agent's token; without it LANDFALL_TOKEN is read.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
}

/// Tells a running agent of a deploy: it names it if something breaks, and sends every route at once.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    /// What was released.
    service: String,
    /// Which version.
    version: String,
    /// Routes to send first, such as worker=v6.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    first: Vec<String>,
    #[command(flatten)]
    place: Where,
}

/// Lists incidents, or shows or closes one.
#[derive(Debug, clap::Args)]
pub struct IncidentsArgs {
    /// The incident's id; without it all are listed.
    id: Option<String>,
    #[command(subcommand)]
    action: Option<IncidentAction>,
    #[command(flatten)]
    place: Where,
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

/// Shows how every route stands.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    place: Where,
}

impl Where {
    fn token(&self) -> Result<Option<Secret>> {
        let text = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| Usage(format!("token file `{}` cannot be read", path.display())))?,
            None => match std::env::var("LANDFALL_TOKEN") {
                Ok(token) => token,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Secret::new(text.trim())))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let client = http::Wire::default().client().map_err(|error| Unsure(error.to_string()))?;
        let url = self.agent.join(path).map_err(|error| Usage(format!("`{}`: {error}", self.agent)))?;
        let mut request = client.request(method.clone(), url).timeout(PATIENCE);
        if method != Method::GET
            && let Some(token) = self.token()?
        {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unheard = |what: String| Unsure(format!("no answer from the agent at {}: {what}", self.agent));
        let answer = request.send().await.map_err(|error| unheard(reason(&error)))?;
        let status = answer.status();
        let bytes = http::body(answer, MOST).await.map_err(|error| unheard(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let said =
            value["error"].as_str().map_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned(), str::to_owned);
        Err(Usage(format!("the agent answered {status}: {said}")).into())
    }

    fn print(&self, value: &Value, text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{value}")?,
            Format::Text => text(&mut out)?,
        }
        Ok(())
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
    let mut first = serde_json::Map::new();
    for pair in &args.first {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Usage(format!("`{pair}` is not NAME=VALUE, such as worker=v6")))?;
        first.insert(name.to_owned(), value.into());
    }
    let body = json!({ "service": args.service, "version": args.version, "where": first });
    let answer = args.place.ask(Method::POST, "/api/v1/deploys", Some(body)).await?;
    args.place
        .print(&answer, |out| writeln!(out, "noted: {} {}; every route is sent now", args.service, args.version))?;
    Ok(YES)
}

/// `landfall incidents`.
pub async fn incidents(args: IncidentsArgs) -> Result<u8> {
    match (&args.id, &args.action) {
        (None, Some(_)) => Err(Usage("which incident? landfall incidents ID resolve --because TEXT".to_owned()).into()),
        (None, None) => {
            let answer = args.place.ask(Method::GET, "/api/v1/incidents", None).await?;
            let list = answer["incidents"].as_array().cloned().unwrap_or_default();
            args.place.print(&answer, |out| {
                if list.is_empty() {
                    return writeln!(out, "no incidents");
                }
                list.iter().try_for_each(|incident| writeln!(out, "{}", line(incident)))
            })?;
            Ok(YES)
        }
        (Some(id), None) => {
            let answer = args.place.ask(Method::GET, &format!("/api/v1/incidents/{}", escaped(id)), None).await?;
            args.place.print(&answer, |out| writeln!(out, "{}", serde_json::to_string_pretty(&answer)?))?;
            Ok(YES)
        }
        (Some(id), Some(IncidentAction::Resolve { because })) => {
            let path = format!("/api/v1/incidents/{}/resolve", escaped(id));
            let answer = args.place.ask(Method::POST, &path, Some(json!({ "because": because }))).await?;
            args.place.print(&answer, |out| writeln!(out, "closed {id}"))?;
            Ok(YES)
        }
    }
}

fn escaped(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn line(incident: &Value) -> String {
    let suspects = incident["suspects"].as_object().filter(|labels| !labels.is_empty()).map_or(
        "everything".to_owned(),
        |labels| {
            labels
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" ")
        },
    );
    let text = |name: &str| incident[name].as_str().unwrap_or("-").to_owned();
    let until = incident["resolved_at"].as_str().unwrap_or("open");
    let since = incident["onset"]["first_bad"].as_str().unwrap_or("-");
    format!("{}  {:8}  {:10}  {suspects}  since {since}  {until}", text("id"), text("severity"), text("outcome"))
}

/// `landfall status`.
pub async fn status(args: StatusArgs) -> Result<u8> {
    let answer = args.place.ask(Method::GET, "/api/v1/routes", None).await?;
    let routes = answer["routes"].as_array().cloned().unwrap_or_default();
    let any_down = routes.iter().any(|route| route["up"] == Value::Bool(false));
    args.place.print(&answer, |out| {
        routes.iter().try_for_each(|route| {
            let text = |name: &str| route[name].as_str().unwrap_or("-");
            writeln!(
                out,
                "{:10}  {}/{}/{}/{}  last landed {}",
                text("outcome"),
                text("canary"),
                text("platform"),
                text("target"),
                text("mode"),
                text("last_landed_at"),
            )
        })
    })?;
    Ok(if any_down { NO } else { YES })
}

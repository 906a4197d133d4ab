//! `landfall silence`, `pause` and `resume`: be quiet about some routes, or leave them alone.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Where, escaped, labels};
use crate::cli::exit::{Usage, YES};

/// Has nobody paged of some routes for a while. Runs and incidents go on; what is still broken when
/// it ends is paged then.
#[derive(Debug, clap::Args)]
pub struct SilenceArgs {
    #[command(subcommand)]
    action: SilenceAction,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Subcommand)]
enum SilenceAction {
    /// Begins one.
    Add {
        #[command(flatten)]
        which: Which,
        /// How long, such as 2h.
        #[arg(long = "for", value_name = "LENGTH")]
        lasts: Option<String>,
        /// Until when, such as 2026-11-24T06:00:00+09:00, in the place of --for.
        #[arg(long, value_name = "TIME", conflicts_with = "lasts")]
        until: Option<String>,
        /// From when on; now if nothing is said.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Why: the pages show it.
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
    /// Lists those that hold and those that come, the config's too.
    List,
    /// Takes one back.
    Remove {
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// Which routes.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// A label, canary, platform, target or mode, such as worker=v6; several must all hold.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    only: Vec<String>,
    /// Every route.
    #[arg(long, conflicts_with = "only")]
    all: bool,
}

impl Which {
    fn pairs(&self) -> Result<Map<String, Value>> {
        if self.only.is_empty() && !self.all {
            return Err(Usage("which routes? --where NAME=VALUE, or --all".to_owned()).into());
        }
        labels::pairs(&self.only)
    }
}

/// Sends nothing over some routes until they are resumed. What is in flight still lands.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    which: Which,
    /// Resumes by itself after this long, such as 2h.
    #[arg(long = "for", value_name = "LENGTH")]
    lasts: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Sends again over routes that were paused.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Where,
}

/// `landfall silence`.
pub async fn silence(args: SilenceArgs) -> Result<u8> {
    let place = &args.place;
    match &args.action {
        SilenceAction::Add { which, lasts, until, from, because } => {
            if lasts.is_none() && until.is_none() {
                return Err(Usage("how long? --for 2h, or --until TIME".to_owned()).into());
            }
            let body = body(
                which.pairs()?,
                which.all,
                &[
                    ("for", lasts.as_ref()),
                    ("until", until.as_ref()),
                    ("from", from.as_ref()),
                    ("because", Some(because)),
                ],
            );
            let answer = place.ask(Method::POST, "/api/v1/silences", Some(body)).await?;
            place.print(&answer, |out| writeln!(out, "{}", silence_line(&answer["silences"][0])))?;
        }
        SilenceAction::List => {
            let answer = place.ask(Method::GET, "/api/v1/silences", None).await?;
            let list = answer["silences"].as_array().cloned().unwrap_or_default();
            place.print(&answer, |out| match list.is_empty() {
                true => writeln!(out, "no silences"),
                false => list.iter().try_for_each(|silence| writeln!(out, "{}", silence_line(silence))),
            })?;
        }
        SilenceAction::Remove { id } => {
            let answer = place.ask(Method::DELETE, &format!("/api/v1/silences/{}", escaped(id)), None).await?;
            place.print(&answer, |out| writeln!(out, "removed {id}; what is broken there is paged now"))?;
        }
    }
    Ok(YES)
}

fn silence_line(silence: &Value) -> String {
    let text = |name: &str| silence[name].as_str().unwrap_or("-");
    let when = match silence["active"] == true {
        true => format!("until {}", text("until")),
        false => format!("from {} until {}", text("from"), text("until")),
    };
    format!("{}  {}  {when}  {}", text("id"), labels::text(&silence["where"]), text("because"))
}

/// `landfall pause`.
pub async fn pause(args: PauseArgs) -> Result<u8> {
    let texts = [("for", args.lasts.as_ref()), ("because", args.because.as_ref())];
    let which = args.which.pairs()?;
    let shown = labels::text(&Value::Object(which.clone()));
    let body = body(which, args.which.all, &texts);
    let answer = args.place.ask(Method::POST, "/api/v1/pauses", Some(body)).await?;
    args.place.print(&answer, |out| {
        writeln!(out, "nothing more is sent over {shown}; what is in flight still lands. Go on: landfall resume")
    })?;
    Ok(YES)
}

/// `landfall resume`.
pub async fn resume(args: ResumeArgs) -> Result<u8> {
    let which = args.which.pairs()?;
    let shown = labels::text(&Value::Object(which.clone()));
    let answer = args.place.ask(Method::POST, "/api/v1/resume", Some(body(which, args.which.all, &[]))).await?;
    args.place.print(&answer, |out| writeln!(out, "{} routes of {shown} are sent again", answer["resumed"]))?;
    Ok(YES)
}

fn body(which: Map<String, Value>, all: bool, texts: &[(&str, Option<&String>)]) -> Value {
    let mut body = json!({ "where": which, "all": all });
    for (name, text) in texts {
        if let Some(text) = text {
            body[*name] = Value::String((*text).clone());
        }
    }
    body
}

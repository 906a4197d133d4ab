//! `landfall drill`: whether people can be reached, tried for real.

use std::time::Duration;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Where, refused};
use crate::cli::exit::{NO, UNSURE, Usage, YES};

/// Receivers that hang are tried several times.
const PATIENCE: Duration = Duration::from_secs(50);

/// Sends a fire drill through every notifier: a page that says it is one. That it is over follows when
/// somebody confirms it, or after two minutes.
/// Exit 0: all accepted it; 1: one refused; 3: one could not be reached. Accepted is not received:
/// whoever gets the page says the code in it with --confirm.
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    /// Only through this notifier.
    #[arg(long, value_name = "NAME", conflicts_with = "confirm")]
    notifier: Option<String>,
    /// You got the page: the code that stands in it. Exit 1: it is not that of the newest drill.
    #[arg(long, value_name = "CODE")]
    confirm: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// `landfall drill`.
pub async fn drill(args: DrillArgs) -> Result<u8> {
    let Some(code) = args.confirm else { return send(args.notifier, &args.place).await };
    let path = "/api/v1/drill/confirm";
    let (status, answer) = args.place.send(Method::POST, path, Some(json!({ "code": code })), PATIENCE).await?;
    match status {
        _ if status.is_success() => {
            let (drill, at) = (text(&answer, "drill"), text(&answer, "confirmed_at"));
            args.place.print(&answer, |out| writeln!(out, "confirmed: {drill} reached a person, {at}"))?;
            Ok(YES)
        }
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::NOT_FOUND => {
            args.place.print(&answer, |out| writeln!(out, "not confirmed: {}", text(&answer, "error")))?;
            Ok(NO)
        }
        _ => Err(refused(status, &answer)),
    }
}

async fn send(notifier: Option<String>, place: &Where) -> Result<u8> {
    let body = json!({ "notifier": notifier });
    let (status, answer) = place.send(Method::POST, "/api/v1/drill", Some(body), PATIENCE).await?;
    if status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::NOT_FOUND {
        return Err(Usage(text(&answer, "error").to_owned()).into());
    }
    if !status.is_success() {
        return Err(refused(status, &answer));
    }
    let notifiers = answer["notifiers"].as_array().cloned().unwrap_or_default();
    let any = |what: &str| notifiers.iter().any(|notifier| notifier["answer"] == what);
    place.print(&answer, |out| {
        for notifier in &notifiers {
            let said = notifier["said"].as_str().map(|said| format!(": {said}")).unwrap_or_default();
            let (name, took) = (text(notifier, "notifier"), text(notifier, "answer"));
            writeln!(out, "{name:12}  {took} in {} ms{said}", notifier["millis"])?;
        }
        writeln!(
            out,
            "accepted is not received: whoever got the page of {} says the code in it,",
            text(&answer, "drill")
        )?;
        writeln!(out, "  landfall drill --confirm CODE")?;
        writeln!(out, "then, or after two minutes, the receivers are told that it is over")
    })?;
    Ok(if any("refused") {
        NO
    } else if any("unreachable") || notifiers.is_empty() {
        UNSURE
    } else {
        YES
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

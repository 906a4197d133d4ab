//! By a running agent, against its own history.

use std::{path::Path, time::Duration};

use anyhow::Result;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use super::{How, Shown};
use crate::{
    agent::verify::Progress,
    canary::Selector,
    cli::{exit::Unsure, remote::Where},
    detect::verification::Verification,
};

/// The agent is asked this often how far it is.
const ASK: Duration = Duration::from_millis(500);
/// Past its time, the agent has so long to answer.
const LATER: Duration = Duration::from_secs(60);

/// How it stands.
#[derive(Deserialize)]
struct Standing {
    id: String,
    clear: usize,
    bad: usize,
    of: usize,
    verification: Option<Verification>,
}

pub(super) async fn verify(agent: &Url, token_file: Option<&Path>, only: &Selector, how: &How) -> Result<Verification> {
    ask(&Where::at(agent.clone(), token_file.map(Path::to_owned)), only, how).await
}

/// Has the agent verify, and waits for what it finds.
pub(in crate::cli) async fn ask(place: &Where, only: &Selector, how: &How) -> Result<Verification> {
    let only: serde_json::Map<_, _> =
        only.pairs().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let body = json!({
        "where": only,
        "rounds": how.rounds,
        "within_seconds": how.within.as_secs_f64(),
        "strict": how.strict,
    });
    let mut stands = place.ask(Method::POST, "/api/v1/verify", Some(body)).await?;
    let ends = tokio::time::Instant::now() + how.within + LATER;
    let mut shown = Shown::new();
    loop {
        let read: Standing = serde_json::from_value(stands)
            .map_err(|error| Unsure(format!("the agent's answer cannot be read: {error}")))?;
        shown.show(Progress { clear: read.clear, bad: read.bad, of: read.of });
        if let Some(found) = read.verification {
            shown.end();
            return Ok(found);
        }
        if tokio::time::Instant::now() >= ends {
            shown.end();
            return Err(Unsure("the agent did not answer in time".to_owned()).into());
        }
        tokio::time::sleep(ASK).await;
        stands = place.ask(Method::GET, &format!("/api/v1/verify/{}", read.id), None).await?;
    }
}

//! By a running agent, against its own history.

use std::{path::Path, time::Duration};

use anyhow::Result;
use reqwest::Url;
use serde_json::json;

use super::{How, show};
use crate::{
    agent::verify::Progress,
    canary::Selector,
    cli::{progress, remote::Where},
    detect::verification::Verification,
};

/// Past its time, the agent has so long to answer.
const LATER: Duration = Duration::from_secs(60);

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
    let mut line = progress::Line::new();
    place
        .find("/api/v1/verify", body, "verification", how.within + LATER, |stands| {
            let count = |name: &str| stands[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            show(&mut line, Progress { clear: count("clear"), bad: count("bad"), of: count("of") });
        })
        .await
}

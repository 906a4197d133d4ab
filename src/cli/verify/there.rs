//! By a running agent, against its own history.

use std::{path::Path, time::Duration};

use anyhow::Result;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::{How, show};
use crate::{
    agent::verify::Progress,
    canary::Selector,
    cli::{
        end::End,
        progress,
        remote::{Where, escaped},
    },
    detect::verification::Verification,
};

/// Past its time, the agent has so long to answer.
const LATER: Duration = Duration::from_secs(60);

pub(super) async fn verify(agent: &Url, token_file: Option<&Path>, only: &Selector, how: &How) -> Result<Verification> {
    let place = Where::at(agent.clone(), token_file.map(Path::to_owned));
    let stands = place.ask(Method::POST, "/api/v1/verify", Some(body(only, how))).await?;
    wait(&place, stands, how).await
}

/// What an agent is asked.
pub(in crate::cli) fn body(only: &Selector, how: &How) -> Value {
    let only: Map<_, _> = only.pairs().iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "where": only,
        "rounds": how.rounds(),
        "within_seconds": how.within().as_secs_f64(),
        "strict": how.strict,
        "accept": how.accept,
    })
}

/// Waits for what the agent finds. Whoever breaks it off has the agent do so, and hears how far it came.
pub(in crate::cli) async fn wait(place: &Where, stands: Value, how: &How) -> Result<Verification> {
    let path = "/api/v1/verify";
    let (ended, id) = (End::of_commands(), stands["id"].as_str().unwrap_or_default().to_owned());
    let line = progress::Line::new();
    let shown = |stands: &Value| {
        let count = |name: &str| stands[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        show(&line, Progress { clear: count("clear"), bad: count("bad"), of: count("of") });
    };
    tokio::select! {
        found = place.wait(stands, path, "verification", how.within() + LATER, shown) => return found,
        () = ended.came() => {}
    }
    drop(line);
    let stands = place.ask(Method::DELETE, &format!("{path}/{}", escaped(&id)), None).await?;
    place.wait(stands, path, "verification", LATER, |_| {}).await
}

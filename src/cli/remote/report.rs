//! What an incident's report is made of, asked from the agent.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Where, escaped, impact, labels};
use crate::{
    agent::clock::Clock,
    canary::Timestamp,
    web::report::{Customers, Report, Runs},
};

/// Entries of one list, as many as the agent gives.
const MOST: usize = 1_000;
/// Routes whose runs are asked for: each is a question of its own.
const ASKED: usize = 50;

/// One account is read within ten minutes. Who has many asks without a report.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Asks for everything about an incident; for customers' jobs, which may take long, only if they are wanted.
pub(super) async fn gather(place: &Where, incident: Value, with_impact: bool) -> Result<Report> {
    let of = async |name: &str, which: &str| -> Result<Vec<Value>> {
        let mut answer = place.ask(Method::GET, &format!("/api/v1/{name}?limit={MOST}{which}"), None).await?;
        Ok(match answer[name].take() {
            Value::Array(list) => list,
            _ => Vec::new(),
        })
    };
    let mut openings = of("notifications", "").await?;
    openings.retain(|opening| opening["incident"] == incident["id"]);
    openings.reverse();
    let deploys = of("deploys", "").await?;
    let mut runs = Runs::default();
    let (routes, first_bad) = (list(&incident["routes"]), time(&incident["onset"]["first_bad"]));
    for route in routes.iter().take(ASKED) {
        let own = of("runs", &format!("&route={}", escaped(&labels::route(route)))).await?;
        let oldest = own.last().and_then(|run| time(&run["due"]));
        if own.len() >= MOST && oldest > first_bad {
            runs.gaps.push(format!("of {} the agent gave the newest {MOST}", labels::route(route)));
        }
        runs.all.extend(own);
    }
    if routes.len() > ASKED {
        runs.gaps.push(format!("only those over {ASKED} of {} routes were asked for", routes.len()));
    }
    let (agent, now) = (place.reach.agent.to_string(), Clock::System.now());
    let customers = match with_impact {
        true => ask(place, incident["id"].as_str().unwrap_or_default()).await,
        false => Customers::NotAsked,
    };
    Ok(Report { agent, now, incident, openings, deploys, runs, customers })
}

/// Asks the agent whom it hit, which asks its platforms.
async fn ask(place: &Where, incident: &str) -> Customers {
    match impact::ask(place, incident, json!({}), PATIENCE).await {
        Ok(found) => Customers::Found(Box::new(found)),
        Err(error) => Customers::Unseen(format!("{error:#}")),
    }
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

fn time(of: &Value) -> Option<Timestamp> {
    of.as_str().and_then(Timestamp::parse_rfc3339)
}

//! What a report is made of, asked from the agent.

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use super::{Customers, Report, Runs, list, path, time};
use crate::{
    agent::clock::Clock,
    cli::remote::{Where, escaped},
};

/// Entries of one list, as many as the agent gives.
const MOST: usize = 1_000;
/// Routes whose runs are asked for: each is a question of its own.
const ASKED: usize = 50;

impl Report {
    /// Asks for everything about an incident; for customers' jobs, which may take long, only if they are wanted.
    pub(in crate::cli::remote) async fn gather(place: &Where, incident: Value, with_impact: bool) -> Result<Self> {
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
            let own = of("runs", &format!("&route={}", escaped(&path(route).join("/")))).await?;
            let oldest = own.last().and_then(|run| time(&run["due"]));
            if own.len() >= MOST && oldest > first_bad {
                runs.gaps.push(format!("of {} the agent gave the newest {MOST}", path(route).join("/")));
            }
            runs.all.extend(own);
        }
        if routes.len() > ASKED {
            runs.gaps.push(format!("only those over {ASKED} of {} routes were asked for", routes.len()));
        }
        let (agent, now) = (place.reach.agent.to_string(), Clock::System.now());
        let customers = match with_impact {
            true => Customers::ask(place, incident["id"].as_str().unwrap_or_default()).await,
            false => Customers::NotAsked,
        };
        Ok(Self { agent, now, incident, openings, deploys, runs, customers })
    }
}

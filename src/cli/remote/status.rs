//! `landfall status`: how every route stands, and what keeps people from hearing of it.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Where, labels, story};
use crate::cli::exit::{NO, UNSURE, YES};

/// Shows how every route stands. Exit 0: all up; 1: something is down, or an incident is open; 3:
/// nobody can tell.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    place: Where,
}

/// `landfall status`.
pub async fn status(args: StatusArgs) -> Result<u8> {
    let ask = async |name: &str, path: &str| -> Result<Vec<Value>> {
        let answer = args.place.ask(Method::GET, path, None).await?;
        Ok(answer[name].as_array().cloned().unwrap_or_default())
    };
    let routes = ask("routes", "/api/v1/routes").await?;
    let mut incidents = ask("incidents", "/api/v1/incidents?limit=1000").await?;
    incidents.retain(|incident| incident["resolved_at"].is_null());
    let silences = ask("silences", "/api/v1/silences").await?;
    let pauses = ask("pauses", "/api/v1/pauses").await?;
    let count = Count::of(&routes);
    let code = count.exit_code(!incidents.is_empty());
    let answer = json!({
        "routes": routes, "incidents": incidents, "silences": silences, "pauses": pauses, "exit_code": code,
    });
    args.place.print(&answer, |out| {
        for route in &routes {
            let text = |name: &str| route[name].as_str().unwrap_or("-");
            let paused = if route["paused"] == true { "  (paused)" } else { "" };
            let landed = text("last_landed_at");
            writeln!(out, "{:10}  {}  last landed {landed}{paused}", text("outcome"), labels::route(route))?;
        }
        let Count { up, down, unknown, paused } = count;
        writeln!(out, "\n{} routes: {up} up, {down} down, {unknown} unknown, {paused} paused", routes.len())?;
        for incident in &incidents {
            let (id, suspects) = (incident["id"].as_str().unwrap_or("-"), labels::text(&incident["suspects"]));
            writeln!(out, "incident {id}: {} on {suspects}", incident["outcome"].as_str().unwrap_or("-"))?;
            story::quiet(incident).iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        for silence in silences.iter().filter(|silence| silence["active"] == true) {
            let (of, text) = (labels::text(&silence["where"]), |name: &str| silence[name].as_str().unwrap_or("-"));
            writeln!(
                out,
                "silence of {of} until {}: what breaks there pages nobody before ({})",
                text("until"),
                text("because")
            )?;
        }
        for pause in &pauses {
            let until =
                pause["until"].as_str().map_or_else(|| "until it is resumed".to_owned(), |at| format!("until {at}"));
            writeln!(
                out,
                "pause of {} {until}: nothing is sent there, so nothing is known",
                labels::text(&pause["where"])
            )?;
        }
        Ok(())
    })?;
    Ok(code)
}

/// Routes by what is known of them. One that is paused is nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    up: usize,
    down: usize,
    unknown: usize,
    paused: usize,
}

impl Count {
    fn of(routes: &[Value]) -> Self {
        let mut count = Self::default();
        for route in routes {
            let of = match (&route["paused"], &route["up"]) {
                (Value::Bool(true), _) => &mut count.paused,
                (_, Value::Bool(true)) => &mut count.up,
                (_, Value::Bool(false)) => &mut count.down,
                _ => &mut count.unknown,
            };
            *of += 1;
        }
        count
    }

    /// What is not known is not fine; what is paused is nobody's question, unless there is nothing else.
    fn exit_code(self, is_incident_open: bool) -> u8 {
        match self {
            _ if is_incident_open => NO,
            Count { down: 1.., .. } => NO,
            Count { unknown: 1.., .. } | Count { up: 0, .. } => UNSURE,
            _ => YES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_is_no_unknown_is_unsure_and_what_is_paused_is_left_out() {
        let route = |up: Value, paused: bool| json!({ "up": up, "paused": paused });
        let code = |routes: &[Value]| Count::of(routes).exit_code(false);
        let (up, down, unknown) = (json!(true), json!(false), Value::Null);
        assert_eq!(code(&[route(up.clone(), false)]), YES);
        assert_eq!(code(&[route(up.clone(), false), route(unknown.clone(), false)]), UNSURE);
        assert_eq!(code(&[route(down.clone(), false), route(unknown.clone(), false)]), NO);
        assert_eq!(code(&[route(up.clone(), false), route(unknown, true)]), YES);
        assert_eq!(code(&[route(down, true)]), UNSURE, "nothing is watched");
        assert_eq!(code(&[]), UNSURE);
        assert_eq!(Count::of(&[route(up, false)]).exit_code(true), NO, "an incident outlives its last red run");
    }
}

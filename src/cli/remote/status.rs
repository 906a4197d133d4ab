//! `landfall status`: how every route stands, and what keeps people from hearing of it.

mod table;
mod watch;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::table::{Frame, Line};
use super::{Where, refused};
use crate::{
    agent::Clock,
    canary::{State, time::parse_duration},
    cli::{
        exit::{NO, UNSURE, Usage, YES},
        paint::Paint,
    },
};

/// Shows how every route stands, the worst first. Exit 0: all up; 1: something is down, or an incident is open; 3:
/// nobody can tell.
///
/// ✓ landed  ! late, or reported as what it is not  ✗ not as promised  ? not seen  · not judged yet  ‖ paused
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Goes on until Ctrl-C: shows it in place on a terminal, else prints it anew whenever something changed. The exit
    /// code is that of the last answer.
    #[arg(long)]
    watch: bool,
    /// How often the agent is asked.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = every, requires = "watch")]
    every: Duration,
    #[command(flatten)]
    place: Where,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text).map_err(|_| format!("`{text}` is not a time such as 5s or 1m"))?;
    let fits = (Duration::from_millis(200)..=Duration::from_secs(3600)).contains(&every);
    fits.then_some(every).ok_or_else(|| "must be from 200ms to 1h".to_owned())
}

/// `landfall status`.
pub async fn status(args: StatusArgs) -> Result<u8> {
    if args.watch {
        return watch::watch(&args.place, args.every).await;
    }
    let answer = gather(&args.place).await?;
    let paint = Paint::of(&io::stdout());
    args.place.print(&answer.json, |out| {
        let frame = Frame::of(&answer.json, Clock::System.now());
        frame.all().iter().try_for_each(|line| write_line(out, line, paint))
    })?;
    Ok(answer.code)
}

fn write_line(out: &mut dyn Write, line: &Line, paint: Paint) -> io::Result<()> {
    writeln!(out, "{}", line.painted(paint))
}

/// All that is shown.
#[derive(Debug)]
struct Answer {
    json: Value,
    code: u8,
}

/// Asks the agent for all of it.
async fn gather(place: &Where) -> Result<Answer> {
    let ask = async |name: &str, path: &str| -> Result<Vec<Value>> {
        let answer = place.ask(Method::GET, path, None).await?;
        let list = answer[name].as_array().cloned();
        // Whatever answers there, it is no agent: nothing watched is another answer than none.
        list.ok_or_else(|| Usage(format!("{} answers, and is no agent: it knows no {name}", place.agent())).into())
    };
    let routes = ask("routes", "/api/v1/routes").await?;
    let mut incidents = ask("incidents", "/api/v1/incidents?limit=1000").await?;
    incidents.retain(|incident| incident["resolved_at"].is_null());
    let silences = ask("silences", "/api/v1/silences").await?;
    let pauses = ask("pauses", "/api/v1/pauses").await?;
    // An agent of before has no such sentence; the rest says the same at length.
    let summary = match place.send(Method::GET, "/api/v1/summary", None, super::PATIENCE).await? {
        (StatusCode::NOT_FOUND, _) => Value::Null,
        (status, answer) if !status.is_success() => return Err(refused(status, &answer)),
        (_, mut answer) => answer["summary"].take(),
    };
    let code = Count::of(&routes).exit_code(!incidents.is_empty());
    let json = json!({
        "summary": summary, "routes": routes, "incidents": incidents, "silences": silences, "pauses": pauses,
        "exit_code": code,
    });
    Ok(Answer { json, code })
}

/// The state of a route's last outcome; none if it has not been judged, or as what nobody here knows.
fn state(route: &Value) -> Option<State> {
    let outcome = serde_json::from_value::<crate::canary::Outcome>(route["outcome"].clone()).ok()?;
    Some(outcome.state())
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

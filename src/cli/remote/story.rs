//! An incident as a person reads it.

use std::io::{Result, Write};

use serde_json::Value;

use super::{labels, notifications};

/// Routes and runs that are named; how many more there are is said.
const NAMED: usize = 12;

/// What a reader has to know who wonders why nobody was paged, or why it does not end.
pub(super) fn quiet(incident: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(until) = incident["silenced_until"].as_str() {
        lines.push(format!("silenced until {until}: nobody is paged of it before"));
    }
    let (paused, hit) =
        (incident["routes_paused"].as_u64().unwrap_or(0), incident["routes"].as_array().map_or(0, Vec::len));
    if paused > 0 {
        lines.push(format!("{paused} of its {hit} routes paused: it cannot show to be over before they are resumed"));
    }
    if incident["undelivered"] == true {
        lines.push("nobody has taken its page yet".to_owned());
    }
    lines
}

/// The whole story.
pub(super) fn write(out: &mut dyn Write, incident: &Value, notifications: &Value) -> Result<()> {
    let text = |name: &str| incident[name].as_str().unwrap_or("-");
    let provisional = if incident["provisional"] == true { " (not final yet)" } else { "" };
    let suspects = labels::text(&incident["suspects"]);
    writeln!(out, "{}: {} on {suspects}, {}{provisional}", text("id"), text("outcome"), text("severity"))?;
    let mut fact = |name: &str, value: &str| writeln!(out, "  {name:<12} {value}");
    for set in list(&incident["also"]) {
        fact("same routes", &labels::text(&set["labels"]))?;
    }
    for set in list(&incident["unaffected"]) {
        fact("unaffected", &labels::text(&set["labels"]))?;
    }
    let onset = &incident["onset"];
    let first_bad = onset["first_bad"].as_str().unwrap_or("-");
    match onset["last_good"].as_str() {
        Some(last_good) => fact("since", &format!("between {last_good} (last good) and {first_bad} (first bad)"))?,
        None => fact("since", &format!("{first_bad} or before: no good run is known"))?,
    }
    if let Some(deploy) = incident["deploy"].as_object() {
        let part = |name: &str| deploy.get(name).and_then(Value::as_str).unwrap_or("-");
        fact("after deploy", &format!("{} {} at {}", part("service"), part("version"), part("at")))?;
    }
    fact("detected", text("detected_at"))?;
    match incident["resolved_at"].as_str() {
        Some(at) => fact("over", &format!("{at}, {}", incident["resolved_because"].as_str().unwrap_or("it landed")))?,
        None => fact("over", "not yet")?,
    }
    for line in quiet(incident) {
        fact("quiet", &line)?;
    }
    for (name, entries) in [("routes", routes(incident)), ("proof", runs(incident))] {
        for entry in entries {
            fact(name, &entry)?;
        }
    }
    let told = list(notifications).into_iter().filter(|opening| opening["incident"] == incident["id"]);
    let told: Vec<Value> = told.collect();
    for opening in told.iter().rev() {
        for line in notifications::lines(opening) {
            fact("told", &line)?;
        }
    }
    if told.is_empty() {
        fact("told", "nobody")?;
    }
    for step in list(&incident["history"]) {
        writeln!(out, "  {} {}", step["at"].as_str().unwrap_or("-"), step["text"].as_str().unwrap_or("-"))?;
    }
    Ok(())
}

fn list(of: &Value) -> Vec<Value> {
    of.as_array().cloned().unwrap_or_default()
}

fn routes(incident: &Value) -> Vec<String> {
    shortened(list(&incident["routes"]).iter().map(labels::route).collect())
}

fn runs(incident: &Value) -> Vec<String> {
    let runs = list(&incident["runs"]);
    shortened(runs.iter().map(|run| format!("run {}", run.as_str().unwrap_or("-"))).collect())
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if let Some(more) = lines.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.truncate(NAMED);
        lines.push(format!("and {more} more"));
    }
    lines
}

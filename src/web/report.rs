//! An incident's report in Markdown: the draft of a postmortem. Facts only, as the agent knows them; what
//! it does not know is said to be not known. Made of what the API answers, so that the page, which has it at
//! hand, and the command, which asks for it, write one text.

mod evidence;
mod impact;
mod labels;
mod markdown;
mod numbers;
mod timeline;

use std::fmt::Write as _;

use serde_json::Value;

use self::markdown::{code, line, table};
pub use self::{
    impact::{Customers, remarks},
    labels::{route as write_route, text as write_labels},
};
use crate::canary::{Outcome, Timestamp};

/// Where something is not known.
const NOT_KNOWN: &str = "not known";
/// Routes shown.
const ROUTES: usize = 100;

/// Everything that the agent answered about one incident.
#[derive(Debug)]
pub struct Report {
    /// Where the agent is.
    pub agent: String,
    /// When it was asked.
    pub now: Timestamp,
    /// The incident.
    pub incident: Value,
    /// Openings of this incident, oldest first.
    pub openings: Vec<Value>,
    /// Deploys, if the agent told.
    pub deploys: Vec<Value>,
    /// Runs over the routes that it hit, with how complete that is.
    pub runs: Runs,
    /// Customers' jobs that it hit.
    pub customers: Customers,
}

/// Runs over the routes that an incident hit.
#[derive(Debug, Default)]
pub struct Runs {
    /// Each once, in any order.
    pub all: Vec<Value>,
    /// Why these are not all that were due since the first bad one.
    pub gaps: Vec<String>,
}

impl Report {
    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let (id, outcome) = (self.text("id"), self.text("outcome"));
        let suspects = self.suspects();
        let _ = writeln!(out, "# Incident {}: {} on {}\n", line(id), line(outcome), line(&suspects));
        let _ = writeln!(
            out,
            "Draft of a postmortem, from what the agent at {} knew at {}. Times are in UTC.\n",
            code(&self.agent),
            self.now
        );
        self.summary(&mut out);
        self.timeline(&mut out);
        self.scope(&mut out);
        self.numbers(&mut out);
        self.impact(&mut out);
        self.evidence(&mut out);
        out
    }

    fn text(&self, name: &str) -> &str {
        self.incident[name].as_str().unwrap_or(NOT_KNOWN)
    }

    fn suspects(&self) -> String {
        let suspects = &self.incident["suspects"];
        if suspects.is_object() { labels::text(suspects) } else { NOT_KNOWN.to_owned() }
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        time(&self.incident[name])
    }

    fn first_bad(&self) -> Option<Timestamp> {
        time(&self.incident["onset"]["first_bad"])
    }

    fn last_good(&self) -> Option<Timestamp> {
        time(&self.incident["onset"]["last_good"])
    }

    fn summary(&self, out: &mut String) {
        let meaning =
            serde_json::from_value::<Outcome>(self.incident["outcome"].clone()).map_or(NOT_KNOWN, Outcome::meaning);
        let is_final = if self.incident["provisional"] == true { " (no run of it is final yet)" } else { "" };
        let also: Vec<String> = list(&self.incident["also"]).iter().map(|set| labels::text(&set["labels"])).collect();
        let state = match (self.time("resolved_at"), self.incident["resolved_because"].as_str()) {
            (Some(at), Some(because)) => format!("over since {at}: {because}"),
            (Some(at), None) => format!("over since {at}"),
            (None, _) => "goes on".to_owned(),
        };
        let deploy = &self.incident["deploy"];
        let deploy = match deploy.is_object() {
            true => format!("{} {} at {}", text(deploy, "service"), text(deploy, "version"), when(&deploy["at"])),
            false => "none is known in the bracket or shortly before it".to_owned(),
        };
        let since = match (self.last_good(), self.first_bad()) {
            (Some(good), Some(bad)) => format!("between {good} (last good run due) and {bad} (first bad run due)"),
            (None, Some(bad)) => format!("{bad} (first bad run due) or before: no good run before it is known"),
            (_, None) => NOT_KNOWN.to_owned(),
        };
        let mut rows = vec![
            ["Outcome".to_owned(), format!("{}: {meaning}{is_final}", self.text("outcome"))],
            ["Severity".to_owned(), self.text("severity").to_owned()],
            ["Suspects".to_owned(), self.suspects()],
        ];
        if !also.is_empty() {
            rows.push(["The same routes".to_owned(), also.join(", ")]);
        }
        rows.extend([
            ["Since".to_owned(), since],
            ["State".to_owned(), state],
            ["Deploy before it".to_owned(), deploy],
            ["Cause".to_owned(), NOT_KNOWN.to_owned()],
        ]);
        table(out, ["", ""], rows);
    }

    /// When the first notifier took a page; why nobody can say, if nobody can.
    fn first_page(&self) -> Result<Timestamp, &'static str> {
        let letters: Vec<&Value> = self.openings.iter().flat_map(|opening| list(&opening["letters"])).collect();
        let taken = |letter: &&&Value| list(&letter["held"]).iter().any(|held| held["state"] != "refused");
        match letters.iter().filter_map(|letter| time(&letter["paged_at"])).min() {
            Some(at) => Ok(at),
            None if self.openings.is_empty() || letters.iter().any(|letter| taken(&letter)) => Err(NOT_KNOWN),
            None => Err("no notifier has taken one"),
        }
    }

    fn scope(&self, out: &mut String) {
        out.push_str("## Scope\n\nHit:\n\n");
        let routes = list(&self.incident["routes"]);
        let counts = self.counts_by_route();
        let row = |route: &Value| {
            let (bad, all) = counts.get(&path(route)).copied().unwrap_or_default();
            let runs = if all == 0 { NOT_KNOWN.to_owned() } else { format!("{bad} of {all}") };
            let part = |name: &str| text(route, name).to_owned();
            [part("canary"), part("platform"), part("target"), part("mode"), runs]
        };
        if routes.is_empty() {
            out.push_str("No route is named.\n\n");
        } else {
            let head = ["Canary", "Platform", "Target", "Mode", "Runs not landed in time"];
            table(out, head, routes.iter().take(ROUTES).map(row).collect());
        }
        if let Some(more) = routes.len().checked_sub(ROUTES).filter(|more| *more > 0) {
            let _ = writeln!(out, "And {more} routes more.\n");
        }
        let spared: Vec<String> =
            list(&self.incident["unaffected"]).iter().map(|set| labels::text(&set["labels"])).collect();
        match spared.as_slice() {
            [] => out.push_str("Not affected: not known; no sibling of the suspects was seen to land meanwhile.\n\n"),
            spared => {
                out.push_str("Not affected, as seen to land meanwhile:\n\n");
                for set in spared {
                    let _ = writeln!(out, "- {}", line(set));
                }
                out.push('\n');
            }
        }
    }
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or(NOT_KNOWN)
}

fn time(of: &Value) -> Option<Timestamp> {
    of.as_str().and_then(Timestamp::parse_rfc3339)
}

/// A time as every other in the report is written.
fn when(of: &Value) -> String {
    time(of).map_or_else(|| NOT_KNOWN.to_owned(), |at| at.to_string())
}

fn path(of: &Value) -> [String; 4] {
    ["canary", "platform", "target", "mode"].map(|part| text(of, part).to_owned())
}

#[cfg(test)]
mod tests;

//! The evidence of a report: of each run that proves it, what was claimed and what was seen.

use std::fmt::Write as _;

use serde_json::Value;

use super::{NOT_KNOWN, Report, labels, list, markdown::table, when};
use crate::{canary::Claim, detect::Incident};

/// Proving runs shown: the first ones and the newest.
const PROOF: usize = 20;

impl Report {
    pub(super) fn evidence(&self, out: &mut String) {
        out.push_str(
            "## Evidence\n\nWhat the platform claimed of the runs that prove it, and what the target held:\n\n",
        );
        let proof = list(&self.incident["runs"]);
        let shown: Vec<&Value> = match proof.len().checked_sub(PROOF) {
            Some(more) if more > 0 => proof[..PROOF / 2].iter().chain(&proof[proof.len() - PROOF / 2..]).collect(),
            _ => proof.iter().collect(),
        };
        if shown.is_empty() {
            out.push_str("No run is named.\n\n");
            return;
        }
        let row = |id: &&Value| {
            let id = id.as_str().unwrap_or(NOT_KNOWN);
            let Some(run) = self.runs.all.iter().find(|run| run["run_id"] == id) else {
                return [id, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN].map(str::to_owned);
            };
            let verdict = match (run["outcome"].as_str(), run["reason"].as_str()) {
                (Some(outcome), Some(reason)) => format!("{outcome}: {reason}"),
                (outcome, _) => outcome.unwrap_or("not judged yet").to_owned(),
            };
            [id.to_owned(), labels::route(run), when(&run["due"]), claim(&run["claim"]), rows(run), verdict]
        };
        let head = ["Run", "Route", "Due", "Claim", "Sighting", "Verdict"];
        table(out, head, shown.iter().map(row).collect());
        if let Some(more) = proof.len().checked_sub(shown.len()).filter(|more| *more > 0) {
            let kept = Incident::kept_of(proof.len()).map(|kept| format!(" Of all runs that prove it, {kept}."));
            let _ = writeln!(out, "And {more} runs more between them.{}\n", kept.unwrap_or_default());
        }
    }
}

/// What the platform said.
fn claim(claim: &Value) -> String {
    serde_json::from_value::<Claim>(claim.clone()).map_or(NOT_KNOWN.to_owned(), |claim| claim.to_string())
}

/// What the target held at the last look.
fn rows(run: &Value) -> String {
    let rows = &run["rows"];
    let n = |name: &str| rows[name].as_u64();
    let Some((expected, landed)) = n("expected").zip(n("landed")) else {
        return "no look has succeeded".to_owned();
    };
    let mut text = format!("{landed} of {expected} rows");
    for (name, what) in [("missing", "missing"), ("duplicated", "more than once"), ("corrupted", "changed")] {
        if let Some(n) = n(name).filter(|n| *n > 0) {
            let _ = write!(text, ", {n} {what}");
        }
    }
    text
}

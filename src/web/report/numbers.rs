//! The numbers of a report: how long, how soon, how many.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use super::{
    NOT_KNOWN, Report,
    markdown::{line, table},
    path, time,
};
use crate::{
    canary::{Timestamp, time::Brief},
    detect::Incident,
};

impl Report {
    pub(super) fn numbers(&self, out: &mut String) {
        let (bad, end) = (self.first_bad(), self.time("resolved_at"));
        let detected = self.time("detected_at");
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) if to >= from => Brief(to.since(from)).to_string(),
            (Some(from), Some(to)) => format!("{} before", Brief(from.since(to))),
            _ => NOT_KNOWN.to_owned(),
        };
        let duration = match (bad, end) {
            (Some(bad), None) => format!("{} so far", Brief(self.now.since(bad))),
            _ => between(bad, end),
        };
        let deploy = time(&self.incident["deploy"]["at"]);
        let from_deploy = if self.incident["deploy"].is_object() {
            between(deploy, detected)
        } else {
            "no deploy is named".to_owned()
        };
        let paged = match self.first_page() {
            Ok(at) => between(detected, Some(at)),
            Err(why) => why.to_owned(),
        };
        let mut rows = vec![
            ["Duration, from the first bad run due to the end".to_owned(), duration],
            ["From the first bad run due to the detection".to_owned(), between(bad, detected)],
            ["From the deploy to the detection".to_owned(), from_deploy],
            ["From the detection to the first page taken".to_owned(), paged],
        ];
        let counts = self.counts();
        let total: usize = counts.values().sum();
        let by: Vec<String> = counts.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
        let runs = if total == 0 { NOT_KNOWN.to_owned() } else { format!("{total}: {}", by.join(", ")) };
        rows.push(["Runs over the routes hit, due from the first bad one to the end".to_owned(), runs]);
        rows.push(["Runs that prove it, as named by the agent".to_owned(), named(&self.incident["runs"])]);
        out.push_str("## Numbers\n\n");
        table(out, ["What", "How much"], rows);
        for gap in &self.runs.gaps {
            let _ = writeln!(out, "Not all runs are counted: {}.\n", line(gap));
        }
    }

    /// Runs that were due while it went on.
    fn during(&self) -> impl Iterator<Item = &Value> {
        let (from, until) = (self.first_bad(), self.time("resolved_at").unwrap_or(self.now));
        let within = move |due: Timestamp| from.is_some_and(|from| due >= from) && due <= until;
        self.runs.all.iter().filter(move |run| time(&run["due"]).is_some_and(within))
    }

    /// How many came to what.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for run in self.during() {
            *counts.entry(run["outcome"].as_str().unwrap_or("not judged yet").to_owned()).or_default() += 1;
        }
        counts
    }

    /// By route: how many that were judged did not land in time, and how many were judged.
    pub(super) fn counts_by_route(&self) -> BTreeMap<[String; 4], (usize, usize)> {
        let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for run in self.during().filter(|run| run["outcome"].is_string()) {
            let (bad, all) = counts.entry(path(run)).or_default();
            (*bad, *all) = (*bad + usize::from(run["outcome"] != "landed"), *all + 1);
        }
        counts
    }
}

fn named(runs: &Value) -> String {
    let said = |n| Incident::kept_of(n).unwrap_or_else(|| n.to_string());
    runs.as_array().map_or(NOT_KNOWN.to_owned(), |runs| said(runs.len()))
}

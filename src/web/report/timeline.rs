//! The timeline of a report: what happened when, in one table.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{NOT_KNOWN, Report, list, markdown::table, text, time};
use crate::canary::Timestamp;

/// Deploys are shown from so long before the last good run, which is where one is looked for that is named.
const BEFORE: Duration = Duration::from_secs(30 * 60);
/// Lines shown.
const MOST: usize = 250;

impl Report {
    pub(super) fn timeline(&self, out: &mut String) {
        out.push_str("## Timeline\n\n");
        let mut rows: Vec<(Timestamp, String)> = Vec::new();
        self.deployed(&mut rows);
        self.ran(&mut rows);
        self.concluded(&mut rows);
        self.told(&mut rows);
        rows.sort_by_key(|(at, _)| *at);
        let more = rows.len().saturating_sub(MOST);
        let row = |(at, what): (Timestamp, String)| [at.to_string(), what];
        table(out, ["Time (UTC)", "What"], rows.into_iter().take(MOST).map(row).collect());
        if more > 0 {
            out.push_str(&format!("And {more} lines more.\n\n"));
        }
        for (name, value) in [
            ("The last good run before it", self.last_good().ok_or(NOT_KNOWN)),
            ("The detection", self.time("detected_at").ok_or(NOT_KNOWN)),
            ("The first page", self.first_page()),
        ] {
            if let Err(why) = value {
                out.push_str(&format!("{name}: {why}.\n\n"));
            }
        }
        if self.time("resolved_at").is_none() {
            out.push_str("It goes on.\n\n");
        }
    }

    fn deployed(&self, rows: &mut Vec<(Timestamp, String)>) {
        let named = &self.incident["deploy"];
        let Some(from) = self.last_good().or(self.first_bad()) else { return };
        let (from, until) = (from.minus(BEFORE), self.time("resolved_at").unwrap_or(self.now));
        let what = |deploy: &Value| (deploy["service"].clone(), deploy["version"].clone(), time(&deploy["at"]));
        let is_named = |deploy: &Value| named.is_object() && what(deploy) == what(named);
        let within = |at: &Timestamp| *at >= from && *at <= until;
        for deploy in &self.deploys {
            if let Some(at) = time(&deploy["at"]).filter(|at| within(at) && !is_named(deploy)) {
                rows.push((at, format!("Deploy: {} {}", text(deploy, "service"), text(deploy, "version"))));
            }
        }
        if let Some(at) = time(&named["at"]) {
            let (service, version) = (text(named, "service"), text(named, "version"));
            rows.push((at, format!("Deploy: {service} {version}, the one that the incident names")));
        }
    }

    fn ran(&self, rows: &mut Vec<(Timestamp, String)>) {
        let mut fact = |at: Option<Timestamp>, what: &str| rows.extend(at.map(|at| (at, what.to_owned())));
        fact(self.last_good(), "Last good run was due, over the routes that were hit");
        fact(self.first_bad(), "First bad run was due");
        fact(self.time("opened_at"), "A run was judged bad for the first time");
    }

    /// What detection concluded, in its words.
    fn concluded(&self, rows: &mut Vec<(Timestamp, String)>) {
        let (detected, resolved) = (self.time("detected_at"), self.time("resolved_at"));
        let mut known = BTreeSet::new();
        for step in list(&self.incident["history"]) {
            let Some(at) = time(&step["at"]) else { continue };
            let said = text(step, "text");
            let kind = match detected {
                Some(detected) if detected == at && known.insert("detected") => "Detected, suspects named",
                _ if said.starts_with("resolved: ") => "Resolved",
                _ if said.starts_with("open again: ") => "Reopened",
                _ if said.starts_with("raised to critical") => "Raised",
                _ => turned(said),
            };
            if kind == "Resolved" && resolved == Some(at) {
                known.insert("resolved");
            }
            // Some say it themselves.
            let rest = ["resolved: ", "open again: "].iter().find_map(|word| said.strip_prefix(word));
            rows.push((at, format!("{kind}: {}", rest.unwrap_or(said))));
        }
        if let Some(at) = detected.filter(|_| !known.contains("detected")) {
            rows.push((at, "Detected".to_owned()));
        }
        if let Some(at) = resolved.filter(|_| !known.contains("resolved")) {
            let because = self.incident["resolved_because"].as_str();
            rows.push((at, because.map_or("Resolved".to_owned(), |because| format!("Resolved: {because}"))));
        }
    }

    /// Who took its pages.
    fn told(&self, rows: &mut Vec<(Timestamp, String)>) {
        for opening in &self.openings {
            let letters = list(&opening["letters"]);
            let at = time(&opening["at"]);
            if let Some(at) = at.filter(|_| letters.is_empty()) {
                rows.push((at, "Paged nobody: no notifier wants to know of it".to_owned()));
            }
            for letter in letters {
                let notifier = text(letter, "notifier");
                let instead =
                    letter["stands_in_for"].as_str().map(|o| format!(", in the place of {o}")).unwrap_or_default();
                let failure =
                    letter["failure"].as_str().map(|why| format!("; its last failure: {why}")).unwrap_or_default();
                let held = list(&letter["held"]);
                match (time(&letter["paged_at"]), at) {
                    (Some(paged), _) => rows.push((paged, format!("Paged: {notifier} took it{instead}{failure}"))),
                    // An agent that did not note when: it was after this.
                    (None, Some(at))
                        if held.iter().any(|held| held["state"] == "open" || held["state"] == "closed") =>
                    {
                        rows.push((at, format!("Paged: {notifier} took it{instead}; when is not known{failure}")));
                    }
                    (None, Some(at)) if letter["silenced"] == true => {
                        rows.push((at, format!("{notifier} was not told: it was over before the silence was")));
                    }
                    (None, Some(at)) => rows.push((at, format!("{notifier} has not taken it{instead}{failure}"))),
                    (None, None) => {}
                }
                let is_closed = held.iter().any(|held| held["state"] == "closed");
                if let Some(told) = time(&letter["told_at"]).filter(|_| is_closed && opening["over"] == true) {
                    rows.push((told, format!("{notifier} took that it is over{instead}")));
                }
            }
        }
    }
}

/// How its name has changed: `now lost on A (was lost on B), because …`.
fn turned(said: &str) -> &'static str {
    let names = || {
        let rest = said.strip_prefix("now ")?;
        let (now, was) = rest.split_once(" (was ")?;
        let (was, _) = was.split_once("), because of ")?;
        let labels = |name: &str| -> Option<BTreeSet<String>> {
            let (_, labels) = name.split_once(" on ")?;
            Some(labels.split(' ').filter(|label| *label != "everything").map(str::to_owned).collect())
        };
        Some((labels(now)?, labels(was)?))
    };
    match names() {
        Some((now, was)) if now == was => "Called otherwise",
        Some((now, was)) if now.is_superset(&was) => "Narrowed",
        Some((now, was)) if was.is_superset(&now) => "Widened",
        Some(_) => "Moved",
        None => "Noted",
    }
}

#[cfg(test)]
mod tests {
    use super::turned;

    #[test]
    fn fewer_labels_are_wider_and_more_are_narrower() {
        let turned =
            |now: &str, was: &str| turned(&format!("now lost on {now} (was lost on {was}), because of 4 runs"));
        assert_eq!(turned("worker=v5", "worker=v5 target=web"), "Widened");
        assert_eq!(turned("everything", "worker=v5"), "Widened");
        assert_eq!(turned("worker=v5 target=web", "worker=v5"), "Narrowed");
        assert_eq!(turned("worker=v5", "cluster=presto"), "Moved");
        assert_eq!(turned("worker=v5", "worker=v5"), "Called otherwise");
        assert_eq!(super::turned("nothing can be seen anywhere"), "Noted");
    }
}

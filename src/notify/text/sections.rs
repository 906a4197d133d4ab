//! The sections of a page, in the order in which somebody woken at night asks.

use super::{cut, how_far, when};
use crate::{
    canary::{Outcome, time::Brief},
    detect::incident::{LabelSet, write_labels},
    notify::{MOST_PROOFS, Message, Page, Proof, What},
};

/// A few lines under a title.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Section {
    /// Its title.
    pub title: &'static str,
    /// Its lines: plain text, without control characters, each of at most 300 characters or so.
    pub lines: Vec<String>,
}

/// Longest text from outside in a line.
const LONGEST: usize = 300;
/// Label sets named; how many more there are is said.
const MOST_SETS: usize = 8;

/// All that a message says, in order: what is broken, what it means, since when, how far, after
/// which deploy, what to do, and the proof.
pub fn sections(message: &Message) -> Vec<Section> {
    let page = match &message.what {
        What::Trigger(page) | What::Again(page) | What::Over(page) | What::Resolve(page) => page,
        What::Deploy(deploy) => {
            let line = format!(
                "{} {}, {}",
                cut(&deploy.service, LONGEST),
                cut(&deploy.version, LONGEST),
                when::second(deploy.at)
            );
            return vec![Section { title: "Deploy", lines: vec![line] }];
        }
    };
    let mut sections = Vec::new();
    if let Some(code) = &page.drill {
        let code = cut(code, 40);
        let lines = vec![
            "Nothing is broken: this was sent to see whether it reaches somebody.".to_owned(),
            format!("It reached you? Say so: landfall drill --confirm {code}"),
        ];
        sections.push(Section { title: "DRILL", lines });
        // It has no routes, no rows and no story: whatever else a page says would be made up.
        let mut lines: Vec<String> = page.runbook.iter().map(|link| format!("Runbook: {}", cut(link, 2000))).collect();
        lines.push(format!("sent by agent {}", cut(&page.agent, LONGEST)));
        sections.push(Section { title: "About it", lines });
        return sections;
    }
    sections.extend([
        Section {
            title: if is_past(message, page) { "What was broken" } else { "What is broken" },
            lines: broken(page),
        },
        Section { title: "What it means", lines: meaning(message, page) },
        Section { title: "Since when", lines: since(message, page) },
        Section { title: "How far", lines: far(page) },
        Section { title: "After which deploy", lines: vec![deploy(page)] },
        Section { title: "What to do", lines: to_do(page) },
        Section { title: "Proof", lines: proof(page) },
    ]);
    sections
}

fn is_past(message: &Message, page: &Page) -> bool {
    matches!(message.what, What::Over(_) | What::Resolve(_)) && !when::goes_on(page)
}

fn broken(page: &Page) -> Vec<String> {
    let mut lines = vec![shown(&page.incident.suspects)];
    if !page.incident.also.is_empty() {
        lines.push(format!("the same routes are also: {}", listed(&page.incident.also)));
    }
    lines
}

fn meaning(message: &Message, page: &Page) -> Vec<String> {
    let incident = &page.incident;
    let mut lines = vec![consequence(incident.outcome).to_owned()];
    if incident.provisional && incident.is_open() {
        lines.push("No run of it has its final verdict yet: rows may still arrive.".to_owned());
    }
    match &message.what {
        What::Over(_) => lines.push("It began and ended while it could not be told here. It is over.".to_owned()),
        What::Resolve(_) if when::goes_on(page) => {
            lines.push("This notification is over; the incident goes on under another.".to_owned());
        }
        What::Resolve(_) => lines.push("It is over.".to_owned()),
        _ => {}
    }
    lines
}

/// What an outcome means to those who wait for the results.
fn consequence(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Landed => "results land",
        Outcome::Late => "outputs arrive late: whoever reads the target on time does not find them yet",
        Outcome::Lost => {
            "outputs are silently lost: jobs say success and write nothing, and no customer's job will say otherwise"
        }
        Outcome::Partial => "outputs are silently incomplete: jobs say success, and rows are missing at the target",
        Outcome::Stale => "outputs are silently old: jobs say success, and the target still holds an earlier result",
        Outcome::Duplicated => "outputs are silently doubled: jobs say success, and rows are there more than once",
        Outcome::Corrupted => "outputs are silently wrong: jobs say success, and values are not those of the query",
        Outcome::Failed => "jobs fail or are refused, and say so: their outputs are not written",
        Outcome::Stuck => "jobs do not finish: their outputs are not written",
        Outcome::Unclaimed => {
            "outputs are written, but their jobs are reported as failed or unfinished: whoever repeats them doubles rows"
        }
        Outcome::Unknown => {
            "nobody can see whether outputs are written: the target, or the platform's word, cannot be read"
        }
    }
}

fn since(message: &Message, page: &Page) -> Vec<String> {
    let incident = &page.incident;
    let onset = incident.onset;
    let first_bad = when::second(onset.first_bad);
    let mut lines = vec![match onset.last_good {
        Some(good) => format!("between {} (last good run) and {first_bad} (first bad run)", when::second(good)),
        None => format!("{first_bad} (first bad run); no good run is known before it"),
    }];
    let length = Brief(when::so_far(incident, message));
    lines.push(match when::ended(incident) {
        Some(end) => format!("until {}: {length}", when::second(end)),
        None => format!("for {length} so far"),
    });
    lines.extend(incident.resolved_because.as_ref().map(|why| format!("over because: {}", cut(why, LONGEST))));
    lines
}

fn far(page: &Page) -> Vec<String> {
    let incident = &page.incident;
    let mut lines = vec![how_far(page).map_or("no route is known to be hit".to_owned(), |far| format!("{far} hit"))];
    lines.extend(page.routes.iter().map(|route| cut(&route.to_string(), LONGEST)));
    let more = incident.routes.len().saturating_sub(page.routes.len());
    if more > 0 && !page.routes.is_empty() {
        lines.push(format!("and {more} more"));
    }
    lines.push(match incident.unaffected.as_slice() {
        [] => "nothing was seen to be fine meanwhile".to_owned(),
        sets => format!("fine meanwhile: {}", listed(sets)),
    });
    lines
}

fn deploy(page: &Page) -> String {
    match &page.incident.deploy {
        None => "none is known shortly before it".to_owned(),
        Some(deploy) => {
            let name = format!("{} {}", cut(&deploy.service, LONGEST), cut(&deploy.version, LONGEST));
            format!("{name}, {}", when::second(deploy.at))
        }
    }
}

fn to_do(page: &Page) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(page.runbook.as_ref().map(|link| format!("Runbook: {}", cut(link, 2000))));
    lines.extend(page.link.as_ref().map(|link| format!("Incident: {}", cut(link, 2000))));
    lines.push(format!("On the agent's host: landfall incidents {}", cut(page.incident.id.as_str(), 64)));
    lines
}

fn proof(page: &Page) -> Vec<String> {
    let mut lines: Vec<String> = page.proofs.iter().take(MOST_PROOFS).flat_map(one_proof).collect();
    if lines.is_empty() {
        lines.extend(page.incident.runs.iter().take(MOST_PROOFS).map(|run| format!("run {run}")));
    }
    lines.push(format!("seen by agent {}", cut(&page.agent, LONGEST)));
    lines
}

fn one_proof(proof: &Proof) -> [String; 3] {
    let job = proof.job.as_ref().map(|job| format!(", job {}", cut(job, 100))).unwrap_or_default();
    [
        format!("run {}{job}, due {}, {}", proof.run, when::second(proof.due), cut(&proof.route, LONGEST)),
        format!("claimed: {}", cut(&proof.claimed, LONGEST)),
        format!("found: {}", cut(&proof.found, LONGEST)),
    ]
}

fn shown(set: &LabelSet) -> String {
    cut(&write_labels(set), LONGEST)
}

/// `engine=hive target=web; cluster=hadoop1; and 3 more`.
fn listed(sets: &[LabelSet]) -> String {
    let mut words: Vec<String> = sets.iter().take(MOST_SETS).map(|set| cut(&write_labels(set), 100)).collect();
    if sets.len() > MOST_SETS {
        words.push(format!("and {} more", sets.len() - MOST_SETS));
    }
    words.join("; ")
}

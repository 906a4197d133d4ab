//! Messages as they are sent: the incident as it stands, and the runs that prove it, as the ledger
//! knows them.

use std::{sync::Arc, time::Duration};

use super::{book::Book, steps::Step};
use crate::{
    canary::{Evidence, Marker, Timestamp},
    config::AgentPlan,
    detect::{Incident, Severity},
    notify::{MOST_PROOFS, MOST_ROUTES, Message, Page, Proof, What},
    store::{Opening, RunRecord, Store},
};

/// A page does not wait longer for its proofs.
const PROOFS_WITHIN: Duration = Duration::from_millis(300);

/// What every page says of the agent.
#[derive(Clone, Debug)]
pub(super) struct Letterhead {
    agent: String,
    /// Where people reach the agent's pages, without a slash at the end.
    url: Option<String>,
    runbook: Option<String>,
}

/// A message that lacks its proofs.
#[derive(Debug)]
pub(super) struct Draft {
    key: String,
    step: Step,
    at: Timestamp,
    page: Page,
}

impl Letterhead {
    pub(super) fn of(agent: &AgentPlan) -> Self {
        let url = agent.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        Self { agent: agent.name.clone(), url, runbook: agent.runbook.as_ref().map(ToString::to_string) }
    }

    /// What a step says of an incident as it stands.
    pub(super) fn draft(
        &self,
        opening: &Opening,
        incident: &Arc<Incident>,
        step: Step,
        book: &Book,
        at: Timestamp,
    ) -> Draft {
        let severity = step.severity();
        let routes = incident.routes.iter().filter_map(|id| book.route(*id)).take(MOST_ROUTES).cloned().collect();
        let link = self.url.as_ref().map(|url| format!("{url}/incidents/{}", incident.id));
        let bare = self.bare(Incident::clone(incident), severity, opening.at);
        let page = Page { routes, watched: book.watched(), link, ..bare };
        Draft { key: opening.key_at(severity), step, at, page }
    }
}

impl Letterhead {
    /// A page of which nothing is said but what the agent and the incident say themselves.
    pub(super) fn bare(&self, incident: Incident, severity: Severity, opening: Timestamp) -> Page {
        Page {
            agent: self.agent.clone(),
            incident,
            severity,
            opening,
            routes: Vec::new(),
            watched: 0,
            proofs: Vec::new(),
            link: None,
            runbook: self.runbook.clone(),
            drill: None,
        }
    }
}

impl Draft {
    /// Adds what proves it, as far as the ledger can say so soon enough.
    pub(super) async fn finish(self, store: &dyn Store) -> Message {
        let Self { key, step, at, mut page } = self;
        let runs: Vec<Marker> = page.incident.runs.iter().take(MOST_PROOFS).copied().collect();
        let read = async {
            let mut proofs = Vec::new();
            for run in runs {
                proofs.extend(store.run(run).await.ok().flatten().map(|record| proof(&record)));
            }
            proofs
        };
        page.proofs = tokio::time::timeout(PROOFS_WITHIN, read).await.unwrap_or_default();
        let page = Arc::new(page);
        let what = match step {
            Step::Trigger(_) => What::Trigger(page),
            Step::Again(_) => What::Again(page),
            Step::Over(_) => What::Over(page),
            Step::Resolve(_) => What::Resolve(page),
        };
        Message { key, at, what }
    }
}

fn proof(record: &RunRecord) -> Proof {
    let evidence = match &record.verdict {
        Some(verdict) => &verdict.evidence,
        None => &record.evidence,
    };
    Proof {
        run: record.run.marker,
        route: record.run.route.to_string(),
        due: record.run.terms.due,
        job: evidence.jobs.last().cloned(),
        claimed: evidence.claim.to_string(),
        found: found(evidence),
    }
}

fn found(evidence: &Evidence) -> String {
    let Some(look) = evidence.looks.last() else { return "the target was not read".to_owned() };
    match &look.found {
        Err(reason) => format!("could not be read: {reason}"),
        Ok(seen) => {
            let others = match seen.strangers.len() {
                0 => String::new(),
                _ => ", an earlier run's rows in their place".to_owned(),
            };
            format!("{}{others}", seen.rows)
        }
    }
}

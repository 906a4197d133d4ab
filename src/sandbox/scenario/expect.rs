//! What a scenario expects to be detected. Absent keys are not checked.

use std::{sync::Arc, time::Duration};

use crate::{
    canary::{Outcome, Route},
    detect::Deploy,
    detect::incident::LabelSet,
    sandbox::{
        fault::Fault,
        scenario::read::{check_labels, labels},
        tree::{Keys, Node, cut, nearest},
    },
};

/// `[expect]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Distinct incident ids of any severity; none: nobody may be paged.
    pub incidents: Option<u32>,
    /// The first incident's, as it stands when the scenario ends.
    pub outcome: Option<Outcome>,
    /// The first incident's: met by any set that covers the same routes.
    pub suspects: Option<LabelSet>,
    /// From the start of the fault to the page.
    pub detected_within: Option<Duration>,
    /// From the end of the fault to the resolve.
    pub resolved_within: Option<Duration>,
    /// The deploy named by the first incident.
    pub deploy: Option<ExpectDeploy>,
    /// One for each of several faults, in their order; each is met by a different incident.
    pub each: Vec<ExpectIncident>,
}

/// The deploy that must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectDeploy {
    /// `"none"`: no deploy may be named.
    Nothing,
    /// A deploy of this service.
    Service(String),
}

/// `[[expect.incident]]`: the n-th counts from the start of the n-th fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectIncident {
    /// Its outcome when the scenario ends.
    pub outcome: Option<Outcome>,
    /// Its suspects when the scenario ends.
    pub suspects: Option<LabelSet>,
    /// From the start of its fault to its page.
    pub detected_within: Option<Duration>,
}

impl Expect {
    /// Reads `[expect]` for a scenario with these routes. `happens` are its faults and deploys, if
    /// all of them could be read.
    pub(super) fn read(
        node: &Node,
        routes: &[Arc<Route>],
        happens: Option<(&[Fault], &[Deploy])>,
        keys: &mut Keys<'_>,
    ) -> Self {
        let mut keys = Keys::of(node, "expect", keys.wrongs());
        let incidents = keys.int("incidents", 0..=1000).and_then(|n| u32::try_from(n).ok());
        let first = read_incident(&mut keys, routes);
        let resolved_within = keys.length("resolved_within");
        let deploy = read_deploy(&mut keys, happens.map(|(_, deploys)| deploys));
        let mut each = Vec::new();
        for node in keys.tables("incident") {
            let mut keys = Keys::of(node, "expect.incident", keys.wrongs());
            each.push(read_incident(&mut keys, routes));
            keys.done();
        }
        let expect = Expect {
            incidents,
            outcome: first.outcome,
            suspects: first.suspects,
            detected_within: first.detected_within,
            resolved_within,
            deploy,
            each,
        };
        if let Some((faults, _)) = happens {
            expect.contradictions(&mut keys, faults);
        }
        keys.done();
        expect
    }

    /// What could never be met, or would never be checked.
    fn contradictions(&self, keys: &mut Keys<'_>, faults: &[Fault]) {
        const SINGLE: [&str; 3] = ["outcome", "suspects", "detected_within"];
        const FIRST: [&str; 5] = ["outcome", "suspects", "detected_within", "resolved_within", "incident"];
        for pair in keys.pairs() {
            let key = pair.key.as_str();
            let wrong = if self.incidents == Some(0) && FIRST.contains(&key) {
                Some((format!("`{key}` is expected of an incident, and `incidents = 0`"), "drop one of the two"))
            } else if !self.each.is_empty() && SINGLE.contains(&key) {
                Some((
                    format!("`{key}` stands beside [[expect.incident]], which replaces it"),
                    "move it into one of them",
                ))
            } else if key == "incident" && self.each.len() > faults.len() {
                let (incidents, faults) = (self.each.len(), faults.len());
                let what = format!("{incidents} [[expect.incident]] and {faults} [[fault]]");
                Some((what, "the n-th counts from the start of the n-th [[fault]]"))
            } else if key == "incident" && self.incidents.is_some_and(|n| (n as usize) < self.each.len()) {
                let what = format!("{} [[expect.incident]] are more than `incidents`", self.each.len());
                Some((what, "each is met by a different incident"))
            } else if key == "detected_within" && faults.is_empty() {
                Some((
                    "`detected_within` counts from the start of a fault, and there is none".to_owned(),
                    "add a [[fault]]",
                ))
            } else if key == "resolved_within" && faults.iter().all(|fault| fault.until.is_none()) {
                let what = "`resolved_within` counts from the end of a fault, and none ends".to_owned();
                Some((what, "add `until` to the [[fault]]"))
            } else {
                None
            };
            if let Some((what, hint)) = wrong {
                keys.push(pair.node.wrong(what, hint.to_owned()));
            }
        }
    }
}

/// The three keys that an incident and `[expect]` itself have.
fn read_incident(keys: &mut Keys<'_>, routes: &[Arc<Route>]) -> ExpectIncident {
    let suspects = keys.get("suspects").and_then(|node| {
        check_labels(node, "suspects", routes, keys);
        labels(node, "suspects", keys)
    });
    ExpectIncident { outcome: read_outcome(keys), suspects, detected_within: keys.length("detected_within") }
}

fn read_outcome(keys: &mut Keys<'_>) -> Option<Outcome> {
    let node = keys.get("outcome")?;
    let name = keys.as_text("outcome", node)?;
    // An incident never came to `landed`: that is no incident.
    let incidents = || Outcome::ALL.into_iter().filter(|outcome| outcome.family().is_some());
    let found = incidents().find(|outcome| outcome.as_str() == name);
    if found.is_none() {
        let hint = nearest(name, incidents().map(Outcome::as_str));
        let what = match name {
            "landed" => "`landed` is no incident".to_owned(),
            _ => format!("unknown outcome `{}`", cut(name)),
        };
        keys.push(node.wrong(what, hint));
    }
    found
}

fn read_deploy(keys: &mut Keys<'_>, deploys: Option<&[Deploy]>) -> Option<ExpectDeploy> {
    let node = keys.get("deploy")?;
    match keys.as_text("deploy", node)? {
        "none" => Some(ExpectDeploy::Nothing),
        service => {
            if let Some(deploys) = deploys
                && !deploys.iter().any(|deploy| deploy.service == service)
            {
                let known = deploys.iter().map(|deploy| deploy.service.as_str()).chain(["none"]);
                keys.push(node.wrong(format!("no [[deploy]] of `{}`", cut(service)), nearest(service, known)));
            }
            Some(ExpectDeploy::Service(service.to_owned()))
        }
    }
}

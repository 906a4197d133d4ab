//! The judge: pure and total. Every combination of claim, sightings, control and time has exactly
//! one outcome. It supposes that waiting is over; when that is, `wait` decides.

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Claim, Evidence, Phase, Sighting},
    run::Terms,
    stages::Stage,
    time::Timestamp,
    verdict::Outcome,
};

/// What the judge says, with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The outcome.
    pub outcome: Outcome,
    /// Where it went wrong, for outcomes that have a place.
    pub phase: Option<Phase>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Other red outcomes that hold as well, in the order of the table.
    pub also: Vec<Outcome>,
    /// Landed, but first seen after a gap in sight.
    pub seen_late: bool,
    /// Unknown because the agent was away, and for no other reason.
    pub agent_away: bool,
}

impl Judgement {
    fn plain(outcome: Outcome) -> Self {
        Self { outcome, phase: None, reason: None, also: Vec::new(), seen_late: false, agent_away: false }
    }

    fn unknown(phase: Phase, reason: impl Into<String>) -> Self {
        Self { phase: Some(phase), reason: Some(reason.into()), ..Self::plain(Outcome::Unknown) }
    }
}

/// Judges a run as if its waiting were over at `at` (its deadline, or earlier for a provisional
/// verdict).
pub fn judge(terms: &Terms, evidence: &Evidence, at: Timestamp) -> Judgement {
    let complete = evidence.first_complete().is_some() && !spoiled(evidence);
    if !complete && let Some(blind) = cannot_see(terms, evidence, at) {
        return blind;
    }
    match &evidence.claim {
        Claim::Unheard { detail } => {
            let phase = if evidence.accepted_at.is_some() { Phase::Execute } else { Phase::Submit };
            Judgement::unknown(phase, detail.clone())
        }
        Claim::Refused { .. } | Claim::Error { .. } | Claim::Killed { .. } | Claim::Running { .. } if complete => {
            Judgement {
                phase: place(&evidence.claim),
                reason: words(&evidence.claim),
                ..Judgement::plain(Outcome::Unclaimed)
            }
        }
        claim @ (Claim::Refused { .. } | Claim::Error { .. } | Claim::Killed { .. }) => {
            Judgement { phase: place(claim), reason: words(claim), ..Judgement::plain(Outcome::Failed) }
        }
        claim @ Claim::Running { .. } => Judgement { phase: place(claim), ..Judgement::plain(Outcome::Stuck) },
        Claim::Done { .. } if complete => on_time(terms, evidence),
        Claim::Done { .. } => by_the_rows(evidence),
    }
}

/// The newest sighting found copies or changed values among rows that had been complete. Rows that
/// are gone again prove nothing: a later run may have replaced them, or a retention job removed them.
fn spoiled(evidence: &Evidence) -> bool {
    evidence.last_sighting().is_some_and(|(last, _)| last.rows.copies > 0 || last.rows.changed > 0)
}

/// Reasons for which incomplete rows prove nothing.
fn cannot_see(terms: &Terms, evidence: &Evidence, at: Timestamp) -> Option<Judgement> {
    let start = terms.start(evidence.accepted_at);
    let end = at.min(terms.deadline_at(evidence.accepted_at));
    let missing = evidence.last_sighting().is_none_or(|(seen, _)| seen.rows.missing > 0 || !seen.strangers.is_empty());
    if missing && evidence.away.iter().any(|gap| gap.from < end && gap.until > start) {
        return Some(Judgement { agent_away: true, ..Judgement::unknown(Phase::Land, "agent was away") });
    }
    // Two agents that displace each other's rows prove nothing of the platform.
    if let Some(rival) = evidence.last_sighting().and_then(|(seen, _)| seen.rival).filter(|_| missing) {
        let why = format!("another agent writes to the same place: its run {rival} stands there");
        return Some(Judgement::unknown(Phase::Land, why));
    }
    let heard_out = evidence.claimed_at.unwrap_or(start);
    let newest = |passed: bool| {
        evidence
            .controls
            .iter()
            .filter(|c| c.passed.is_ok() == passed && c.started_at >= heard_out)
            .map(|c| c.started_at)
            .max()
    };
    let (passed, failed) = (newest(true), newest(false));
    if failed > passed {
        let detail = evidence.controls.iter().rev().find_map(|c| c.passed.as_ref().err()).cloned().unwrap_or_default();
        return Some(Judgement::unknown(Phase::Land, format!("control failed: {detail}")));
    }
    match evidence.looks.last() {
        Some(look) => {
            if let Err(detail) = &look.found {
                return Some(Judgement::unknown(Phase::Land, format!("target unreadable: {detail}")));
            }
        }
        // Nobody looked: that says something of the target only if the platform says it is done.
        None if evidence.claim.is_last_word() => return Some(Judgement::unknown(Phase::Land, "target not read")),
        None => {}
    }
    // A silent outcome needs the proof that target and eyes worked after the claim.
    if matches!(evidence.claim, Claim::Done { .. }) {
        if evidence.last_sighting().is_none_or(|(_, seen_at)| seen_at < heard_out) {
            return Some(Judgement::unknown(Phase::Land, "target not read since the job was done"));
        }
        if passed.is_none() {
            return Some(Judgement::unknown(Phase::Land, "no control of the target since the job was done"));
        }
    }
    None
}

/// Complete rows: in time, late, or nobody knows because nobody saw.
fn on_time(terms: &Terms, evidence: &Evidence) -> Judgement {
    let objective = terms.objective_at(evidence.accepted_at);
    let Some(first) = evidence.first_complete() else { return Judgement::plain(Outcome::Landed) };
    if first.started_at <= objective {
        return Judgement::plain(Outcome::Landed);
    }
    let own_time = first.found.as_ref().ok().and_then(|seen| seen.landed_at);
    let absent_after = evidence.looks.iter().any(|look| {
        look.started_at > objective
            && look.started_at < first.started_at
            && look.found.as_ref().is_ok_and(|seen| !seen.complete())
    });
    match own_time {
        Some(landed) if landed > objective => Judgement { phase: Some(Phase::Land), ..Judgement::plain(Outcome::Late) },
        Some(_) => Judgement::plain(Outcome::Landed),
        None if absent_after => Judgement { phase: Some(Phase::Land), ..Judgement::plain(Outcome::Late) },
        None => Judgement { seen_late: true, ..Judgement::plain(Outcome::Landed) },
    }
}

/// The platform says done, we could see, and the rows are not as they should be.
fn by_the_rows(evidence: &Evidence) -> Judgement {
    let Some((seen, _)) = evidence.last_sighting() else {
        return Judgement::unknown(Phase::Land, "target not read");
    };
    let mut red = reds(seen);
    if red.is_empty() {
        // Complete at the last look after having been spoiled in between: it is all there now.
        return Judgement::plain(Outcome::Landed);
    }
    let outcome = red.remove(0);
    let Some(stages) = &evidence.stages else {
        return Judgement { phase: Some(Phase::Land), also: red, ..Judgement::plain(outcome) };
    };
    // What was to be queried is taken before the query is.
    let phase = match stages.first_wrong() {
        Some(Stage::Import) => Phase::Submit,
        Some(Stage::Query) => Phase::Execute,
        Some(Stage::Output) | None => Phase::Land,
    };
    Judgement { phase: Some(phase), reason: Some(stages.told(&seen.rows)), also: red, ..Judgement::plain(outcome) }
}

/// The red outcomes that hold for a sighting, in the order of the table. Empty: complete.
pub fn reds(seen: &Sighting) -> Vec<Outcome> {
    let rows = &seen.rows;
    let mut red = Vec::new();
    // An earlier result in the place of ours is not "nothing": the reader is served old rows.
    let displaced = !seen.strangers.is_empty();
    if rows.nothing() && !displaced {
        red.push(Outcome::Lost);
    } else if rows.missing > 0 && !rows.nothing() {
        red.push(Outcome::Partial);
    }
    if displaced {
        red.push(Outcome::Stale);
    }
    if rows.copies > 0 {
        red.push(Outcome::Duplicated);
    }
    if rows.changed > 0 {
        red.push(Outcome::Corrupted);
    }
    red
}

fn place(claim: &Claim) -> Option<Phase> {
    match claim {
        Claim::Refused { phase, .. }
        | Claim::Running { phase }
        | Claim::Error { phase, .. }
        | Claim::Killed { phase } => Some(*phase),
        Claim::Unheard { .. } | Claim::Done { .. } => None,
    }
}

fn words(claim: &Claim) -> Option<String> {
    match claim {
        Claim::Refused { detail, .. } => Some(format!("refused: {detail}")),
        Claim::Error { detail, .. } => Some(format!("error: {detail}")),
        Claim::Killed { .. } => Some("killed".to_owned()),
        Claim::Running { phase } => Some(format!("still in {phase}")),
        Claim::Unheard { detail } => Some(detail.clone()),
        Claim::Done { .. } => None,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

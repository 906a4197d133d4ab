//! The waterfall: a run's phases, one below the other, with the looks and controls made meanwhile. Bars are pictures;
//! what they say stands beside them.

use maud::{Markup, html};

use super::{colour, sign, time};
use crate::{
    canary::{Claim, Phase, Sighting, Timestamp, time::Brief},
    store::RunRecord,
};

/// Length of the picture, in its own units.
const LENGTH: f64 = 1000.0;
/// What is marked beyond the last phase is drawn if the picture stays so many times as long at most.
const STRETCH: u32 = 3;

/// One phase.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    phase: Phase,
    from: Timestamp,
    until: Timestamp,
    /// It goes on.
    is_open: bool,
}

/// Time as it is drawn.
struct Axis {
    from: Timestamp,
    until: Timestamp,
}

impl Axis {
    fn place(&self, at: Timestamp) -> f64 {
        let whole = self.until.since(self.from).as_secs_f64().max(0.001);
        (at.since(self.from).as_secs_f64() / whole * LENGTH).clamp(0.0, LENGTH)
    }

    fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.until
    }
}

/// Phases, looks and controls of a run on one axis.
pub(super) fn waterfall(record: &RunRecord, now: Timestamp) -> Markup {
    let RunRecord { run, evidence, verdict, .. } = record;
    let spans = spans(record, now);
    let (objective, deadline) =
        (run.terms.objective_at(evidence.accepted_at), run.terms.deadline_at(evidence.accepted_at));
    let from = spans.iter().map(|span| span.from).fold(run.terms.due, Ord::min);
    let mut until = spans.iter().map(|span| span.until).fold(from, Ord::max);
    let longest = until.since(from).saturating_mul(STRETCH);
    for mark in [objective, deadline] {
        if mark.since(from) <= longest {
            until = until.max(mark);
        }
    }
    let axis = Axis { from, until };
    let wrong = verdict.as_ref().and_then(|verdict| Some((verdict.phase?, verdict.outcome)));
    let marks = html! {
        @for (at, class) in [(objective, "mark objective"), (deadline, "mark deadline")] {
            @if axis.has(at) { (tick(axis.place(at), class)) }
        }
    };
    let beyond = |at| if axis.has(at) { "" } else { ", beyond the picture" };
    html! {
        div.wide tabindex="0" role="region" aria-label="Phases" {
            table.waterfall {
                thead { tr { th scope="col" { "phase" } th scope="col" aria-hidden="true" {} th scope="col" { "began" } th scope="col" { "took" } } }
                tbody {
                    @for span in &spans {
                        @let wrong = wrong.filter(|(phase, _)| *phase == span.phase).map(|(_, outcome)| outcome);
                        tr class=[wrong.map(colour)] {
                            th scope="row" { (span.phase) @if wrong.is_some() { " " (sign(wrong)) } }
                            td.lane { (lane(&html! {
                                rect class={ "phase " (span.phase) @if let Some(outcome) = wrong { " wrong " (colour(outcome)) } }
                                    x=(number(axis.place(span.from))) y="3" height="14"
                                    width=(number((axis.place(span.until) - axis.place(span.from)).max(3.0))) {}
                                (marks)
                            })) }
                            td { (time(span.from, now)) span.soft { " +" (Brief(span.from.since(from))) } }
                            td { (Brief(span.until.since(span.from))) @if span.is_open { " so far" } }
                        }
                    }
                    tr {
                        th scope="row" { "looks at the target" }
                        td.lane { (lane(&html! {
                            @for look in evidence.looks.iter().filter(|look| axis.has(look.started_at)) {
                                (tick(axis.place(look.started_at), match &look.found {
                                    Ok(seen) if seen.complete() => "look green",
                                    Ok(_) => "look red",
                                    Err(_) => "look grey",
                                }))
                            }
                            (marks)
                        })) }
                        td { @if let Some(first) = evidence.looks.first() { (time(first.started_at, now)) } @else { "–" } }
                        td { (seen(evidence.looks.iter().map(|look| look.found.as_ref().ok()))) }
                    }
                    tr {
                        th scope="row" { "controls" }
                        td.lane { (lane(&html! {
                            @for control in evidence.controls.iter().filter(|control| axis.has(control.started_at)) {
                                (tick(axis.place(control.started_at), if control.passed.is_ok() { "look green" } else { "look grey" }))
                            }
                            (marks)
                        })) }
                        td { @if let Some(first) = evidence.controls.first() { (time(first.started_at, now)) } @else { "–" } }
                        td { (evidence.controls.len()) }
                    }
                }
            }
        }
        p.soft {
            "Objective " (Brief(run.terms.objective)) ", at " (time(objective, now)) " (dotted" (beyond(objective)) "). Deadline "
            (Brief(run.terms.deadline)) ", at " (time(deadline, now)) " (dashed" (beyond(deadline)) "). Of looks that found the same the first and the last are kept."
        }
    }
}

fn seen<'s>(looks: impl Iterator<Item = Option<&'s Sighting>>) -> String {
    let (mut whole, mut other, mut blind) = (0, 0, 0);
    for look in looks {
        match look {
            Some(seen) if seen.complete() => whole += 1,
            Some(_) => other += 1,
            None => blind += 1,
        }
    }
    let parts = [(whole, "✓ whole"), (other, "✗ not whole"), (blind, "? blind")];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn number(x: f64) -> String {
    format!("{x:.1}")
}

fn tick(x: f64, class: &str) -> Markup {
    // Whole on both edges.
    let x = number(x.clamp(2.0, LENGTH - 2.0));
    html! { line class=(class) x1=(x) x2=(x) y1="0" y2="20" {} }
}

fn lane(inside: &Markup) -> Markup {
    html! { svg viewBox={ "0 0 " (LENGTH) " 20" } preserveAspectRatio="none" aria-hidden="true" { (inside) } }
}

/// The phases in order, each until the next began.
fn spans(record: &RunRecord, now: Timestamp) -> Vec<Span> {
    let RunRecord { evidence, verdict, .. } = record;
    let is_done = matches!(evidence.claim, Claim::Done { .. });
    let mut marks: Vec<(Phase, Timestamp)> = evidence.submitted_at.map(|at| (Phase::Submit, at)).into_iter().collect();
    marks.extend(evidence.phases.iter().copied());
    let knows = |marks: &[(Phase, Timestamp)], phase| marks.iter().any(|(known, _)| *known == phase);
    if let Some(at) = evidence.accepted_at.filter(|_| marks.last().is_none_or(|(last, _)| *last == Phase::Submit)) {
        // The platform tells no phases of its own: all that it did is one.
        marks.push((Phase::Execute, at));
    }
    if let Some(at) = evidence.claimed_at.filter(|_| is_done && !knows(&marks, Phase::Land)) {
        marks.push((Phase::Land, at));
    }
    // A platform's clock may be another, or tell whole seconds only: nothing begins before what came before it.
    for at in 1..marks.len() {
        marks[at].1 = marks[at].1.max(marks[at - 1].1);
    }
    let end = verdict.as_ref().map_or(now, |verdict| verdict.at);
    let landed = evidence
        .first_complete()
        .map(|look| look.found.as_ref().ok().and_then(|seen| seen.landed_at).unwrap_or(look.started_at));
    let last_word = evidence.claimed_at.filter(|_| evidence.claim.is_last_word());
    let ends = |at: usize, phase: Phase| match (marks.get(at + 1), phase) {
        (Some(_), Phase::Submit) if evidence.accepted_at.is_some() => evidence.accepted_at,
        (Some((_, next)), _) => Some(*next),
        (None, Phase::Land) => landed,
        (None, _) => last_word,
    };
    let span = |(at, (phase, from)): (usize, &(Phase, Timestamp))| {
        let until = ends(at, *phase);
        Span {
            phase: *phase,
            from: *from,
            until: until.unwrap_or(end).max(*from),
            is_open: until.is_none() && verdict.is_none(),
        }
    };
    marks.iter().enumerate().map(span).collect()
}

#[cfg(test)]
mod tests;

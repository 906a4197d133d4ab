//! Who was told of what, who refused it and why; and fire drills.

use std::{collections::HashSet, sync::Arc};

use axum::{body::Body, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    DRILL, Order, Shared,
    answer::{self, Problem},
    api::{Answer, Asked, Which, json_list},
    guard, ledger,
    maintenance::nobody_took,
};
use crate::{
    canary::Timestamp,
    detect::Severity,
    store::{Drill, Held, Letter, Opening, Took},
};

/// An opening as JSON: one time that an incident was to be told.
#[derive(Debug, Serialize)]
pub(super) struct OpeningShape<'a> {
    incident: &'a str,
    at: Timestamp,
    severity: Severity,
    over: bool,
    /// Somebody is to be told that it goes on, and nobody took it.
    undelivered: bool,
    /// Everybody was told all there is to tell.
    done: bool,
    letters: Vec<LetterShape<'a>>,
}

#[derive(Debug, Serialize)]
struct LetterShape<'a> {
    notifier: &'a str,
    held: Vec<HeldShape>,
    /// When it first took something, and when last.
    paged_at: Option<Timestamp>,
    told_at: Option<Timestamp>,
    /// Why it last did not take something.
    failure: Option<&'a str>,
    stands_in_for: Option<&'a str>,
    silenced: bool,
}

#[derive(Debug, Serialize)]
struct HeldShape {
    severity: Severity,
    state: crate::store::Holding,
}

impl<'a> OpeningShape<'a> {
    pub(super) fn of(opening: &'a Opening) -> Self {
        Self {
            incident: opening.incident.as_str(),
            at: opening.at,
            severity: opening.severity,
            over: opening.over,
            undelivered: nobody_took(opening),
            done: opening.done,
            letters: opening.letters.iter().map(LetterShape::of).collect(),
        }
    }
}

impl<'a> LetterShape<'a> {
    fn of(letter: &'a Letter) -> Self {
        let held = |held: &Held| HeldShape { severity: held.severity, state: held.state };
        Self {
            notifier: letter.notifier.as_str(),
            held: letter.held.iter().map(held).collect(),
            paged_at: letter.paged_at,
            told_at: letter.told_at,
            failure: letter.failure.as_deref(),
            stands_in_for: letter.stands_in_for.as_ref().map(|name| name.as_str()),
            silenced: letter.silenced,
        }
    }
}

/// Newest openings first: those at work as they are, the others as the ledger knows them.
pub(super) async fn list(State(doors): Shared, asked: Asked) -> Answer {
    let limit = Which::of(asked, &["limit"])?.limit()?;
    let live = Arc::clone(&doors.letters.borrow());
    let stored = ledger(doors.store.openings(limit)).await?;
    let known: HashSet<String> = live.iter().map(Opening::key).collect();
    let mut openings: Vec<&Opening> =
        live.iter().chain(stored.iter().filter(|opening| !known.contains(&opening.key()))).collect();
    openings.sort_by_key(|opening| std::cmp::Reverse(opening.at));
    openings.truncate(limit as usize);
    let shapes: Vec<OpeningShape<'_>> = openings.into_iter().map(OpeningShape::of).collect();
    Ok(answer::json(&json_list("notifications", &shapes)))
}

/// What somebody posts who wants a drill.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedDrill {
    notifier: Option<String>,
}

/// A drill as JSON. Its code stands in the page and nowhere else, or it would prove nothing.
fn shape(drill: &Drill) -> serde_json::Value {
    let worst = drill.answers.iter().map(|answer| answer.answer).max();
    json!({
        "drill": drill.id,
        "at": drill.at,
        "answer": worst.map(Took::as_str),
        "notifiers": drill.answers,
        "confirmed_at": drill.confirmed_at,
    })
}

pub(super) async fn drill(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let PostedDrill { notifier } = guard::json_body(&headers, body).await?;
    let notifier = notifier.map(|name| name.chars().take(200).collect());
    let drill = doors.order_within(DRILL, |reply| Order::Drill { notifier, reply }).await?;
    Ok(answer::json(&shape(&drill)))
}

/// What a person posts who got one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedCode {
    code: String,
}

pub(super) async fn confirm(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let PostedCode { code } = guard::json_body(&headers, body).await?;
    if code.len() > 64 {
        return Err(Problem::wrong("a code has eight letters and digits"));
    }
    let drill = doors.order(|reply| Order::ConfirmDrill { code, reply }).await?;
    Ok(answer::json(&shape(&drill)))
}

//! The matrix of routes: platforms × targets, canaries and modes inside; the worst first.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{ago, outside::outside, pick, pick::Pick, sign, strip::strip};
use crate::{
    canary::{Maintenance, Outcome, State as Colour, TargetName, Timestamp, time::Brief},
    detect::{Board, Standing, strip::BARS},
};

/// Up to so many routes each shows all the bars that are kept; beyond, a page would be too heavy.
const FEW: usize = 150;
/// Routes of one page: the rest is none worse, and can be picked.
const MOST: usize = 600;

/// How routes are drawn: the same for a page and for what changes on it.
pub(in crate::web) struct Drawing<'a> {
    maintenance: &'a Maintenance,
    now: Timestamp,
    bars: usize,
    is_canary_named: bool,
}

impl<'a> Drawing<'a> {
    pub(in crate::web) fn of(board: &Board, maintenance: &'a Maintenance, now: Timestamp) -> Self {
        let routes = board.routes();
        let is_canary_named = routes.windows(2).any(|pair| pair[0].route.canary != pair[1].route.canary);
        Self { maintenance, now, bars: if routes.len() <= FEW { BARS } else { BARS / 2 }, is_canary_named }
    }

    /// One route: what its last run came to, its last runs, how long rows take and may take.
    pub(in crate::web) fn route(&self, standing: &Standing) -> Markup {
        let Standing { route, outcome, run, .. } = standing;
        let is_paused = self.maintenance.pause(route, self.now).is_some();
        let inside = html! {
            b { @if is_paused { "‖" } @else { (sign(*outcome)) } }
            " " @if is_paused { "paused, " }
            @match outcome { Some(outcome) => (outcome), None => "not yet" }
            " " small { @if self.is_canary_named { (route.canary) " " } (route.mode) }
            (strip(&standing.strip, standing.objective, self.bars))
            i { (self.latency(standing)) }
        };
        let name = outcome.map_or("none", Outcome::as_str);
        html! {
            @match run {
                Some(run) => a data-route=(route) data-outcome=(name) href={ "/runs/" (run) } { (inside) },
                None => span data-route=(route) data-outcome=(name) { (inside) },
            }
        }
    }

    fn latency(&self, standing: &Standing) -> Markup {
        let is_there = standing.outcome.is_some_and(|outcome| matches!(outcome.state(), Colour::Green | Colour::Amber));
        let took = standing.strip.bars().next_back().and_then(|bar| bar.took()).filter(|_| is_there);
        html! {
            @match (took, standing.objective, standing.last_landed_at) {
                (Some(took), Some(objective), _) => { (Brief(took)) " of " (Brief(objective)) },
                _ if standing.outcome.is_none() => {},
                (_, _, Some(at)) => { "landed " (ago(at, self.now)) " ago" },
                _ => "never seen to land",
            }
        }
    }
}

/// Red first, then amber, grey, unknown to us, green.
fn rank(standing: &Standing) -> u8 {
    match standing.outcome.map(Outcome::state) {
        Some(Colour::Red) => 0,
        Some(Colour::Amber) => 1,
        Some(Colour::Grey) => 2,
        None => 3,
        Some(Colour::Green) => 4,
    }
}

/// The routes that a reader picked.
pub(super) fn matrix(board: &Board, pick: &Pick, drawing: &Drawing<'_>) -> Markup {
    let mut picked: Vec<&Standing> = board.routes().iter().filter(|standing| pick.picks(standing)).collect();
    picked.sort_by_key(|standing| rank(standing));
    let all = picked.len();
    picked.truncate(MOST);
    let by = pick.by(&picked);
    // In the order in which they appear, which is the worst first.
    let mut groups: Vec<(Option<&str>, Vec<&Standing>)> = Vec::new();
    for standing in &picked {
        let value = by.and_then(|by| standing.route.facet(by));
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, group)) => group.push(standing),
            None => groups.push((value, vec![standing])),
        }
    }
    html! {
        (pick.form(board))
        div #matrix {
            (pick.shown(board, all))
            @match (by, groups.as_slice()) {
                (_, []) => p { @if pick.is_wrong_only() { "Nothing here is wrong." } @else { "No route is like that." } },
                (None, [(_, group)]) => (table(group, drawing, "all routes")),
                (by, groups) => @for (value, group) in groups { (part(by.unwrap_or_default(), *value, group, drawing)) },
            }
            @if all > MOST {
                p { (all - MOST) " more routes, none worse than these: pick some of them above; the API lists all." }
            }
        }
    }
}

fn part(by: &str, value: Option<&str>, group: &[&Standing], drawing: &Drawing<'_>) -> Markup {
    let name = format!("{by}={}", value.unwrap_or("(none)"));
    let is_wrong = group.iter().any(|standing| rank(standing) < 3);
    html! {
        // What is wrong is open; of many that are fine only the count is.
        details id={ "by-" (name) } open[is_wrong || group.len() <= FEW] {
            summary { b { (outside(&name)) } ": " (counts(group)) }
            (table(group, drawing, &name))
        }
    }
}

/// `3 lost, 1 late, 40 landed`.
fn counts(group: &[&Standing]) -> String {
    let mut counts: BTreeMap<(u8, Option<Outcome>), usize> = BTreeMap::new();
    group.iter().for_each(|standing| *counts.entry((rank(standing), standing.outcome)).or_default() += 1);
    let text = |((_, outcome), n): (&(u8, Option<Outcome>), &usize)| {
        format!("{n} {}", outcome.map_or("not yet", Outcome::as_str))
    };
    counts.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn table(group: &[&Standing], drawing: &Drawing<'_>, name: &str) -> Markup {
    let mut targets: Vec<&TargetName> = group.iter().map(|standing| &standing.route.target).collect();
    targets.sort();
    targets.dedup();
    let mut rows: Vec<(&Standing, Vec<&Standing>)> = Vec::new();
    for standing in group {
        match rows.iter_mut().find(|(first, _)| first.route.platform == standing.route.platform) {
            Some((_, row)) => row.push(standing),
            None => rows.push((standing, vec![standing])),
        }
    }
    html! {
        .wide tabindex="0" role="region" aria-label={ "matrix of " (name) } {
            table.matrix {
                thead { tr { th scope="col" { "platform" } @for target in &targets { th scope="col" { (target) } } } }
                tbody {
                    @for (first, row) in &rows {
                        tr {
                            th scope="row" { (first.route.platform) (labels(row)) }
                            @for target in &targets {
                                td data-target=(target) {
                                    @for standing in row.iter().filter(|standing| standing.route.target == **target) {
                                        (drawing.route(standing))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Labels that all routes of a row have.
fn labels(row: &[&Standing]) -> Markup {
    let Some((first, more)) = row.split_first() else { return html! {} };
    let is_shared =
        |(name, value): &(&str, &str)| more.iter().all(|other| other.route.labels.get(name) == Some(*value));
    html! {
        @for (name, value) in first.route.labels.iter().filter(is_shared) {
            " " a href=(pick::address(name, value)) { (outside(&format!("{name}={value}"))) }
        }
    }
}

//! Which labels are red and which are green: for each label its values, with how many of the routes that are watched
//! now the incident hit, and how many it spared.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use maud::{Markup, html};

use super::outside::outside;
use crate::{
    canary::RouteId,
    detect::{Board, Incident, Standing},
};

/// Values of one label that are shown, those hit most first.
const VALUES: usize = 12;
/// Labels.
const LABELS: usize = 16;
/// Length of a bar for all routes of the value that has most.
const LENGTH: usize = 120;

/// One value of a label.
#[derive(Debug, Default, PartialEq, Eq)]
struct Share<'b> {
    value: &'b str,
    hit: usize,
    /// Not hit, and up.
    green: usize,
    /// Neither: nobody knows, or something else is wrong there.
    other: usize,
}

/// A table a label: the suspects' first, then in the order of the config.
pub(super) fn facets(board: &Board, incident: &Incident) -> Markup {
    let labels = labels(board, incident);
    let is_suspect = |name: &str, value: &str| incident.suspects.iter().any(|(n, v)| n == name && v == value);
    html! {
        @if labels.is_empty() { p.soft { "None of its routes is watched any more." } }
        div.facets {
            @for (name, shares) in &labels {
                @let most = shares.iter().map(|share| share.hit + share.green + share.other).max().unwrap_or(1).max(1);
                table {
                    caption { (outside(name)) }
                    thead { tr { th scope="col" { "value" } th scope="col" { "✗ hit" } th scope="col" { "✓ fine" } th scope="col" { "? other" } td {} } }
                    tbody {
                        @for share in shares.iter().take(VALUES) {
                            tr {
                                th scope="row" {
                                    (outside(share.value))
                                    @if is_suspect(name, share.value) { " " span.suspect { "suspect" } }
                                }
                                (count(share.hit, "red")) (count(share.green, "green")) (count(share.other, "grey"))
                                td { (bar(share, most)) }
                            }
                        }
                        @if shares.len() > VALUES { tr { td colspan="5" class="soft" { "and " (shares.len() - VALUES) " values more" } } }
                    }
                }
            }
        }
    }
}

fn count(n: usize, class: &'static str) -> Markup {
    html! { td.number { @if n > 0 { span class=(class) { (n) } } @else { "–" } } }
}

/// The same as a picture; the numbers stand beside it.
fn bar(share: &Share<'_>, most: usize) -> Markup {
    let parts = [(share.hit, "bar red"), (share.green, "bar green"), (share.other, "bar grey")];
    let length = |n: usize| n * LENGTH / most;
    let starts = [0, length(share.hit), length(share.hit) + length(share.green)];
    html! {
        svg width=(LENGTH) height="12" viewBox={ "0 0 " (LENGTH) " 12" } aria-hidden="true" {
            @for ((n, class), start) in parts.into_iter().zip(starts) {
                @if n > 0 { rect class=(class) x=(start) y="1" width=(length(n).max(2)) height="10" {} }
            }
        }
    }
}

fn labels<'b>(board: &'b Board, incident: &Incident) -> Vec<(&'b str, Vec<Share<'b>>)> {
    let hit: HashSet<RouteId> = incident.routes.iter().copied().collect();
    if !board.routes().iter().any(|standing| hit.contains(&standing.route.id)) {
        return Vec::new();
    }
    let mut labels: Vec<(&str, Vec<Share<'_>>)> = Vec::new();
    let mut places: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
    for standing in board.routes() {
        for (name, value) in standing.route.facets() {
            let (label, share) = *places.entry((name, value)).or_insert_with(|| {
                let label = labels.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    labels.push((name, Vec::new()));
                    labels.len() - 1
                });
                let shares = &mut labels[label].1;
                shares.push(Share { value, ..Share::default() });
                (label, shares.len() - 1)
            });
            note(&mut labels[label].1[share], standing, &hit);
        }
    }
    for (_, shares) in &mut labels {
        shares.sort_by_key(|share| (Reverse(share.hit), Reverse(share.green + share.other)));
    }
    // A label with one value tells nothing apart, unless it is all there is.
    if labels.iter().any(|(_, shares)| shares.len() > 1) {
        labels.retain(|(_, shares)| shares.len() > 1);
    }
    labels.sort_by_key(|(name, _)| !incident.suspects.iter().any(|(suspect, _)| suspect == name));
    labels.truncate(LABELS);
    labels
}

fn note(share: &mut Share<'_>, standing: &Standing, hit: &HashSet<RouteId>) {
    match (hit.contains(&standing.route.id), standing.up()) {
        (true, _) => share.hit += 1,
        (false, Some(true)) => share.green += 1,
        (false, _) => share.other += 1,
    }
}

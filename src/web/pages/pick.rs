//! Which routes a reader picked, and by which label they are grouped: the query of `/`.

use std::{collections::BTreeSet, sync::Arc};

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::outside::{outside, plain};
use crate::{
    canary::{Route, Selector},
    config::{check_selector, nearest},
    detect::{Board, Standing},
    web::answer::Problem,
};

/// Keys of the query.
const KEYS: [&str; 3] = ["where", "by", "only"];
/// Groups nothing: no label is called so, since labels have letters first.
const NOTHING: &str = "-";
/// Pairs that are picked at most, and values that are offered.
const MOST_PAIRS: usize = 8;
const OFFERED: usize = 300;
/// From this many routes on they are grouped unasked.
const MANY: usize = 60;
/// A label with more values than this makes no groups that anybody could read.
const MOST_GROUPS: usize = 40;

/// What a reader asked to see.
pub(super) struct Pick {
    only: Selector,
    /// None: whatever reads best; [`NOTHING`]: by none.
    by: Option<String>,
    /// Only what is not green.
    is_wrong_only: bool,
}

impl Pick {
    /// Reads a query; one that means nothing is answered with what could be meant.
    pub(super) fn of(asked: Vec<(String, String)>, board: &Board) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        let (mut by, mut is_wrong_only) = (None, false);
        for (key, value) in asked {
            match key.as_str() {
                "where" if value.is_empty() => {}
                "where" => {
                    let (name, value) =
                        value.split_once('=').ok_or_else(|| Problem::wrong("`where` is not label=value"))?;
                    pairs.push((name.to_owned(), value.to_owned()));
                }
                "by" if value.is_empty() => {}
                "by" => by = Some(value),
                "only" if value == "wrong" => is_wrong_only = true,
                "only" => return Err(Problem::wrong("`only` may be `wrong`")),
                _ => {
                    let hint = nearest(&key, KEYS).map(|word| format!(": did you mean `{word}`?")).unwrap_or_default();
                    let shown: String = key.chars().take(80).collect();
                    return Err(Problem::wrong(format!("unknown key `{shown}`{hint}")));
                }
            }
        }
        if pairs.len() > MOST_PAIRS {
            return Err(Problem::wrong(format!("more than {MOST_PAIRS} times `where`")));
        }
        pairs.dedup();
        let only = Selector::new(pairs);
        let routes: Vec<Arc<Route>> = board.routes().iter().map(|standing| Arc::clone(&standing.route)).collect();
        check_selector(&only, &routes).map_err(|why| Problem::wrong(format!("`where`: {why}")))?;
        if let Some(by) = by.as_ref().filter(|by| *by != NOTHING)
            && !routes.iter().any(|route| route.facet(by).is_some())
        {
            let names: BTreeSet<&str> = routes.iter().flat_map(|route| route.facets()).map(|(name, _)| name).collect();
            let names: Vec<&str> = names.into_iter().collect();
            return Err(Problem::wrong(format!("`by`: no such label; labels are {}", names.join(", "))));
        }
        Ok(Self { only, by, is_wrong_only })
    }

    /// Whether only what is not green is.
    pub(super) fn is_wrong_only(&self) -> bool {
        self.is_wrong_only
    }

    /// The routes that are picked.
    pub(super) fn picks(&self, standing: &Standing) -> bool {
        let is_green = standing.outcome.is_some_and(|outcome| outcome.state() == crate::canary::State::Green);
        self.only.covers(&standing.route) && !(self.is_wrong_only && is_green)
    }

    /// The label by which they are grouped, if by any.
    pub(super) fn by<'b>(&'b self, picked: &[&'b Standing]) -> Option<&'b str> {
        if let Some(by) = &self.by {
            return Some(by.as_str()).filter(|by| *by != NOTHING);
        }
        let first = picked.first().filter(|_| picked.len() > MANY)?;
        first.route.labels.iter().map(|(name, _)| name).find(|name| {
            let values: BTreeSet<Option<&str>> = picked.iter().map(|standing| standing.route.facet(name)).collect();
            (2..=MOST_GROUPS).contains(&values.len())
        })
    }

    /// How many are shown, of which.
    pub(super) fn shown(&self, board: &Board, shown: usize) -> Markup {
        let (picked, all) = (self.only.pairs(), board.routes().len());
        html! {
            p.soft {
                @if shown == all { (all) @if all == 1 { " route" } @else { " routes" } } @else { (shown) " of " (all) " routes" }
                @for (name, value) in picked { ", " (outside(&format!("{name}={value}"))) }
                @if shown != all || !picked.is_empty() { " · " a href="/" { "show all" } }
            }
        }
    }

    /// What can be picked, as a form.
    pub(super) fn form(&self, board: &Board) -> Markup {
        let mut names: Vec<&str> = Vec::new();
        let mut pairs: BTreeSet<(usize, &str)> = BTreeSet::new();
        for standing in board.routes() {
            for (name, value) in standing.route.facets() {
                let place = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                if pairs.len() < OFFERED {
                    pairs.insert((place, value));
                }
            }
        }
        html! {
            form #pick method="get" action="/" {
                @for (name, value) in self.only.pairs() { input type="hidden" name="where" value={ (name) "=" (value) }; }
                label {
                    "Only routes with "
                    select name="where" {
                        option value="" { "any label" }
                        @for (place, value) in &pairs { option value={ (names[*place]) "=" (value) } { (names[*place]) "=" (plain(value)) } }
                    }
                }
                label {
                    "grouped by "
                    select name="by" {
                        option value="" { "what reads best" }
                        option value=(NOTHING) selected[self.by.as_deref() == Some(NOTHING)] { "nothing" }
                        @for name in &names { option value=(name) selected[self.by.as_deref() == Some(*name)] { (name) } }
                    }
                }
                label { input type="checkbox" name="only" value="wrong" checked[self.is_wrong_only]; " only what is not green" }
                button { "Show" }
            }
        }
    }
}

/// The address of the routes that have a label.
pub(super) fn address(name: &str, value: &str) -> String {
    format!("/?where={}", utf8_percent_encode(&format!("{name}={value}"), NON_ALPHANUMERIC))
}

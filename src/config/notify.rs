//! `[notify.NAME]`: which incidents somebody is told of, and who is told instead.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    declared::Declared,
    labels,
    length::Length,
    named, near,
    plan::{NotifierPlan, Rules},
    schema::keys_in_order,
    section::Kind,
    select::check_selector,
    spanned::Spanned,
};
use crate::{
    canary::{NotifierName, Route, Selector},
    detect::Severity,
};

/// Who is told of incidents, and of which. One without rules is told of all.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("dependencies" = { "second_after": ["second"] }))]
pub(super) struct Written {
    /// Of which severities; empty: only in the place of another notifier.
    #[schemars(extend("default" = Rules::default().severities))]
    severities: Option<Vec<Severity>>,
    /// Only of incidents that hit such a route: labels, canary, platform, target or mode as routes have them.
    r#where: Option<Spanned<labels::Written>>,
    /// The notifier that is told as well when this one refuses, or fails for `second_after`.
    second: Option<Spanned<String>>,
    /// How long this one may fail before that.
    #[schemars(extend("default" = Length(Rules::default().second_after)))]
    second_after: Option<Spanned<Length>>,
}

/// Reads the notifiers. `routes`: to tell whether `where` can mean something here.
pub(super) fn read<N>(
    declared: &[Declared<'_>],
    kinds: &[Kind<'_, N>],
    routes: &[Arc<Route>],
    reader: &mut named::Reader<'_>,
) -> Vec<NotifierPlan<N>> {
    let mut plans = Vec::new();
    for declared in declared {
        let name = reader.name(declared, NotifierName::new);
        let (written, kind) = reader.own::<Written, N>("notify", declared, kinds);
        let rules = rules(declared, written, routes, reader);
        let driver = kind.and_then(|(kind, section)| reader.open(declared, kind, section));
        if let (Some(name), Some(driver)) = (name, driver) {
            plans.push((declared, NotifierPlan { name, rules: rules.0, driver }, rules.1));
        }
    }
    let names: Vec<&str> = declared.iter().map(|declared| *declared.name.get_ref()).collect();
    for (declared, plan, second) in &plans {
        let Some(at) = second else { continue };
        let named = plan.rules.second.as_ref().map_or("", NotifierName::as_str);
        let (what, hint) = if named == plan.name.as_str() {
            (format!("`second = {named:?}` is itself"), "name another notifier, or leave it away".to_owned())
        } else if names.contains(&named) {
            continue;
        } else {
            (format!("there is no notifier `{named}`"), near::hint(named, "notifiers", names.iter().copied()))
        };
        reader.problems.push(declared.section.problem(at.clone(), what, Some(hint)));
    }
    plans.into_iter().map(|(_, plan, _)| plan).collect()
}

/// The rules as meant, and where `second` stands.
fn rules(
    declared: &Declared<'_>,
    written: Written,
    routes: &[Arc<Route>],
    reader: &mut named::Reader<'_>,
) -> (Rules, Option<std::ops::Range<usize>>) {
    let mut wrong = |at, what, hint: &str| {
        reader.problems.push(declared.section.problem(at, what, Some(hint.to_owned())));
    };
    let mut rules = Rules::default();
    if let Some(severities) = written.severities {
        rules.severities = severities;
    }
    if let Some(selected) = written.r#where {
        let at = selected.span();
        rules.only = Selector::new(selected.into_inner().pairs());
        // Without routes everything else is wrong already.
        if !routes.is_empty()
            && let Err(what) = check_selector(&rules.only, routes)
        {
            wrong(at, what, "write labels, canary, platform, target or mode as the routes have them");
        }
    }
    let at = written.second.as_ref().map(Spanned::span);
    if let Some(second) = written.second {
        match NotifierName::new(second.get_ref()) {
            Ok(name) => rules.second = Some(name),
            Err(error) => wrong(second.span(), error.to_string(), "name a notifier of this config"),
        }
    }
    if let Some(after) = written.second_after {
        rules.second_after = after.get_ref().0;
        if at.is_none() {
            wrong(
                after.span(),
                "`second_after` without `second`".to_owned(),
                "say who is told then: `second = \"NAME\"`",
            );
        }
    }
    let at = rules.second.is_some().then_some(at).flatten();
    (rules, at)
}

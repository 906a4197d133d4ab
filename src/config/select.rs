//! Checking selectors: `--where worker=v6` and a scenario's `where` must mean something here.

use std::{collections::BTreeSet, sync::Arc};

use super::near;
use crate::canary::{Route, Selector};

/// Whether every pair of a selector names a label, or canary, platform, target or mode, that some
/// route has, with a value that some route has, and all of them together cover a route.
pub fn check_selector(selector: &Selector, routes: &[Arc<Route>]) -> Result<(), String> {
    for (name, value) in selector.pairs() {
        let values: BTreeSet<&str> = routes.iter().filter_map(|route| route.facet(name)).collect();
        if values.is_empty() {
            let names: BTreeSet<&str> = routes.iter().flat_map(|route| route.facets()).map(|(name, _)| name).collect();
            return Err(format!("unknown label `{name}`: {}", near::hint(name, "labels", names)));
        }
        if !values.contains(value.as_str()) {
            return Err(format!("no route has {name}={value}: {}", near::hint(value, "values", values)));
        }
    }
    match selector.pairs().is_empty() || routes.iter().any(|route| selector.covers(route)) {
        true => Ok(()),
        false => Err(format!("no route has {selector} at once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::{CanaryName, LabelName, Labels, Mode, PlatformName, TargetName};

    fn routes() -> Vec<Arc<Route>> {
        let route = |platform: &str, worker: &str| {
            Arc::new(Route::new(
                CanaryName::new("result-output").expect("valid"),
                PlatformName::new(platform).expect("valid"),
                TargetName::new("web").expect("valid"),
                Mode::Append,
                Labels::new([(LabelName::new("worker").expect("valid"), worker.into())]),
            ))
        };
        vec![route("hadoop1", "v5"), route("hadoop2", "v6")]
    }

    fn check(pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        check_selector(&Selector::new(pairs), &routes())
    }

    #[test]
    fn labels_and_the_four_names_select_routes() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("worker", "v5"), ("platform", "hadoop1"), ("mode", "append")]), Ok(()));
    }

    #[test]
    fn a_selector_that_can_mean_nothing_is_answered_with_what_could_be_meant() {
        assert_eq!(check(&[("wroker", "v5")]), Err("unknown label `wroker`: did you mean `worker`?".into()));
        assert_eq!(
            check(&[("region", "us")]),
            Err("unknown label `region`: labels are canary, mode, platform, target, worker".into())
        );
        assert_eq!(
            check(&[("platform", "hadop1")]),
            Err("no route has platform=hadop1: did you mean `hadoop1`?".into())
        );
        assert_eq!(
            check(&[("worker", "v5"), ("platform", "hadoop2")]),
            Err("no route has worker=v5 platform=hadoop2 at once".into())
        );
    }
}

//! What a release is held against: how each route was before it came.

use std::time::Duration;

use super::incident::{Deploy, Incident};
use crate::canary::{Outcome, RouteId, State, Timestamp};

/// A release is verified, and verified again, within so long of its marker.
const RELEASE: Duration = Duration::from_secs(24 * 3600);
/// Services of one release are released within so long of each other.
const TOGETHER: Duration = Duration::from_secs(600);
/// Without a marker, an incident that began within so long is what the release may have done.
const ONSET: Duration = Duration::from_secs(3600);
/// Runs that tell how a route was: one that was lost by itself is no fault that was there before.
const TELL: usize = 3;

/// How a route was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// What runs before the release came to, newest first. A bad route is held against it.
    pub before: Vec<Outcome>,
    /// What runs came to up to now, newest first, those after the release as well. Of a good route it tells
    /// whether it was mended.
    pub lately: Vec<Outcome>,
    /// How long rows took at their slowest, of those runs.
    pub slowest: Option<Duration>,
}

impl Baseline {
    /// Whether it was bad before the release; unknown: no. Its newest run was, and most of the last three.
    pub fn was_bad(&self) -> bool {
        let told: Vec<bool> = decided(&self.before).take(TELL).map(|outcome| outcome.state() == State::Red).collect();
        told.first() == Some(&true) && told.iter().filter(|red| **red).count() * 2 > told.len()
    }

    /// Whether it is good only since a moment: its newest run was lost, or its newest two failed.
    pub fn is_mended_if_good(&self) -> bool {
        let mut lately = decided(&self.lately);
        let red = |outcome: Outcome| outcome.state() == State::Red;
        let newest = lately.next();
        newest.is_some_and(|newest| newest.is_silent() || (red(newest) && lately.next().is_none_or(red)))
            || self.was_bad()
    }

    /// What its newest run before the release came to.
    pub fn newest_before(&self) -> Option<Outcome> {
        decided(&self.before).next()
    }

    /// What its newest run came to.
    pub fn newest(&self) -> Option<Outcome> {
        decided(&self.lately).next().or(self.newest_before())
    }
}

fn decided(of: &[Outcome]) -> impl Iterator<Item = Outcome> {
    of.iter().copied().filter(|outcome| outcome.state() != State::Grey)
}

/// When the release that is verified at `now` began, from markers, newest first: the newest one, and those that
/// belong to it. A pipeline that is run again posts the same marker again, and one that releases several services
/// posts one for each; another version of the same service is another release.
pub fn released_at(markers: &[Deploy], now: Timestamp) -> Option<Timestamp> {
    let mut markers = markers.iter().filter(|marker| marker.at <= now);
    let newest = markers.next().filter(|marker| now.since(marker.at) < RELEASE)?;
    let mut of = vec![newest];
    for marker in markers {
        let known = of.iter().find(|one| one.service == marker.service);
        let belongs = match known {
            Some(known) => known.version == marker.version,
            None => of.iter().any(|one| one.at.since(marker.at) <= TOGETHER),
        };
        if !belongs || now.since(marker.at) >= RELEASE {
            break;
        }
        of.push(marker);
    }
    of.last().map(|first| first.at)
}

/// Until when a route's runs were before the release. Without a marker: until it was last seen good before an open
/// incident that began lately, so that what everybody has been told of is not taken for how it always was.
pub fn before_until(route: RouteId, now: Timestamp, released: Option<Timestamp>, incidents: &[Incident]) -> Timestamp {
    if let Some(released) = released {
        return released;
    }
    let holds = |incident: &&Incident| {
        incident.is_open() && incident.routes.contains(&route) && now.since(incident.onset.first_bad) < ONSET
    };
    let onsets = incidents.iter().filter(holds).map(|incident| incident.onset.first_bad);
    onsets.min().unwrap_or(now).min(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100_000);

    fn ago(seconds: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(seconds))
    }

    fn marker(service: &str, version: &str, seconds: u64) -> Deploy {
        Deploy { service: service.into(), version: version.into(), at: ago(seconds) }
    }

    #[test]
    fn a_route_was_bad_if_its_newest_run_and_most_of_the_last_three_were() {
        use Outcome::{Failed, Landed, Late, Lost, Unknown};
        for (before, bad) in [
            (vec![], false),
            (vec![Unknown], false),
            (vec![Landed], false),
            (vec![Late], false),
            (vec![Lost], true),
            (vec![Lost, Lost], true),
            (vec![Failed, Lost], true),
            (vec![Unknown, Lost, Unknown, Failed], true),
            (vec![Lost, Landed, Lost], true),
            // A release that begins before its marker loses a run before it, too.
            (vec![Lost, Landed], false),
            (vec![Lost, Landed, Landed, Lost], false),
            (vec![Landed, Lost, Lost], false),
        ] {
            assert_eq!(Baseline { before: before.clone(), ..Baseline::default() }.was_bad(), bad, "{before:?}");
        }
    }

    #[test]
    fn a_good_route_was_mended_if_it_lost_or_kept_failing_a_moment_ago() {
        use Outcome::{Failed, Landed, Lost, Unknown};
        for (lately, mended) in [
            (vec![], false),
            (vec![Landed, Lost], false),
            (vec![Lost, Landed], true),
            (vec![Unknown, Lost], true),
            (vec![Failed, Landed], false),
            (vec![Failed, Unknown, Failed], true),
        ] {
            let baseline = Baseline { before: vec![Landed], lately: lately.clone(), slowest: None };
            assert_eq!(baseline.is_mended_if_good(), mended, "{lately:?}");
        }
    }

    #[test]
    fn a_release_begins_with_the_first_of_its_markers() {
        let at = |markers: &[Deploy]| released_at(markers, NOW).map(|at| NOW.since(at).as_secs());
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[marker("worker", "v8", 20)]), Some(20));
        assert_eq!(at(&[marker("worker", "v8", 90_000)]), None, "of yesterday");
        // Run again, as late as it may be.
        assert_eq!(at(&[marker("worker", "v8", 20), marker("worker", "v8", 5_000)]), Some(5_000));
        // The roll-back of it is another release.
        assert_eq!(at(&[marker("worker", "v7", 20), marker("worker", "v8", 50)]), Some(20));
        // Two services, twice.
        let twice = [("worker", 20), ("api", 25), ("worker", 1_000), ("api", 1_005)];
        assert_eq!(at(&twice.map(|(service, seconds)| marker(service, "v8", seconds))), Some(1_005));
        assert_eq!(at(&[marker("worker", "v8", 20), marker("api", "v3", 1_000)]), Some(20), "long before");
        assert_eq!(released_at(&[marker("worker", "v8", 20)], ago(30)), None, "still to come");
    }
}

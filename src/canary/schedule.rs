//! Schedules: when a route is due. Stable over restarts and reloads, and spread so that routes do
//! not fire together.

use std::{str::FromStr, time::Duration};

use chrono::TimeZone;
use chrono_tz::Tz;

use super::{route::RouteId, time::Timestamp};

/// When runs are due.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At a fixed interval, from a phase that the route's id gives.
    Every(Duration),
    /// By a cron expression in a time zone. Routes of one canary start together, as cron says.
    Cron(Box<cron::Schedule>, Tz),
}

/// How far ahead a cron schedule is counted: four weeks have every weekday equally often.
const AHEAD: Duration = Duration::from_secs(28 * 86_400);
/// Most runs counted: more than an hour of the most frequent schedule.
const MOST_COUNTED: usize = 4000;
const HOUR: Duration = Duration::from_secs(3600);

/// How often a schedule comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Times a day, in the mean.
    pub per_day: f64,
    /// Times in its busiest hour.
    pub busiest_hour: f64,
}

/// Why a cron schedule was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The expression does not parse.
    #[error("`{0}` is not a cron expression such as \"*/5 * * * *\"")]
    Expression(String),
    /// No such zone.
    #[error("`{0}` is not a time zone such as \"America/Los_Angeles\"")]
    Zone(String),
    /// It never comes.
    #[error("`{0}` never comes")]
    Never(String),
}

impl Schedule {
    /// A cron schedule from five fields (minutes first) or six (seconds first).
    pub fn cron(expression: &str, zone: &str, now: Timestamp) -> Result<Self, ScheduleError> {
        let zone = Tz::from_str(zone).map_err(|_| ScheduleError::Zone(zone.to_owned()))?;
        let wrong = || ScheduleError::Expression(expression.to_owned());
        let seconds_first = match expression.split_whitespace().count() {
            5 => format!("0 {expression}"),
            6 | 7 => expression.to_owned(),
            _ => return Err(wrong()),
        };
        let parsed = cron::Schedule::from_str(&seconds_first).map_err(|_| wrong())?;
        let schedule = Schedule::Cron(Box::new(parsed), zone);
        match schedule.next(RouteId(0), now) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(expression.to_owned())),
        }
    }

    /// How often it comes.
    pub fn pace(&self, now: Timestamp) -> Pace {
        if let Schedule::Every(every) = self {
            let per_hour = 3600.0 / every.as_secs_f64();
            return Pace { per_day: 24.0 * per_hour, busiest_hour: per_hour };
        }
        let times: Vec<Timestamp> = std::iter::successors(self.next(RouteId(0), now), |at| self.next(RouteId(0), *at))
            .take_while(|at| at.since(now) <= AHEAD)
            .take(MOST_COUNTED)
            .collect();
        // Cut off in the middle, what was counted spans from the first to the last.
        let (counted, over) = match (times.first(), times.last()) {
            (Some(first), Some(last)) if times.len() == MOST_COUNTED => (times.len() - 1, last.since(*first)),
            _ => (times.len(), AHEAD),
        };
        let days = over.as_secs_f64() / 86_400.0;
        let mut busiest = 0;
        let mut first = 0;
        for (nth, at) in times.iter().enumerate() {
            while at.since(times[first]) >= HOUR {
                first += 1;
            }
            busiest = busiest.max(nth + 1 - first);
        }
        Pace { per_day: counted as f64 / days, busiest_hour: busiest as f64 }
    }

    /// The first due time of a route after `after`.
    pub fn next(&self, route: RouteId, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Every(every) => {
                let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
                let phase = i64::try_from(spread(route) % every as u64).unwrap_or(0);
                let past = after.as_micros().saturating_sub(phase);
                let next = past.div_euclid(every).saturating_add(1).saturating_mul(every).saturating_add(phase);
                Some(Timestamp::from_micros(next))
            }
            Schedule::Cron(cron, zone) => {
                let local = zone.timestamp_micros(after.as_micros()).single()?;
                let next = cron.after(&local).next()?;
                Some(Timestamp::from_micros(next.timestamp_micros()))
            }
        }
    }

    /// The longest time between two runs, for the bound on detection. For cron: the longest gap of
    /// the next hundred.
    pub fn longest_gap(&self, from: Timestamp) -> Duration {
        match self {
            Schedule::Every(every) => *every,
            Schedule::Cron(..) => {
                let (mut at, mut longest) = (from, Duration::ZERO);
                for _ in 0..100 {
                    let Some(next) = self.next(RouteId(0), at) else { break };
                    if at != from {
                        longest = longest.max(next.since(at));
                    }
                    at = next;
                }
                longest
            }
        }
    }
}

/// A route's place in the interval: its id, mixed once more so that ids that differ in few bits
/// land far apart (the finaliser of SplitMix64).
fn spread(route: RouteId) -> u64 {
    let mut x = route.0;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_440_000_000);

    #[test]
    fn an_interval_is_kept_from_any_moment_of_asking() {
        let every = Schedule::Every(Duration::from_secs(60));
        let first = every.next(RouteId(5), NOW).expect("due");
        assert!(first > NOW && first.since(NOW) <= Duration::from_secs(60));
        assert_eq!(every.next(RouteId(5), first), Some(first.plus(Duration::from_secs(60))));
        assert_eq!(
            every.next(RouteId(5), first.minus(Duration::from_millis(1))),
            Some(first),
            "a restart changes nothing"
        );
    }

    #[test]
    fn runs_are_counted_by_interval_and_by_calendar() {
        let every = Schedule::Every(Duration::from_secs(60)).pace(NOW);
        assert_eq!(every, Pace { per_day: 1440.0, busiest_hour: 60.0 });
        let cron = |text: &str| Schedule::cron(text, "UTC", NOW).expect("valid").pace(NOW);
        assert_eq!(cron("*/5 * * * *"), Pace { per_day: 288.0, busiest_hour: 12.0 });
        assert_eq!(cron("*/10 9 * * 2-6"), Pace { per_day: 120.0 / 28.0, busiest_hour: 6.0 });
        assert_eq!(cron("* * * * * *"), Pace { per_day: 86_400.0, busiest_hour: 3600.0 });
    }

    #[test]
    fn routes_are_spread_over_the_interval() {
        let every = Schedule::Every(Duration::from_secs(60));
        let mut tenths = [0; 10];
        for id in 0..1000 {
            let due = every.next(RouteId(id), NOW).expect("due").since(NOW).as_secs_f64();
            tenths[((due / 6.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (60..=140).contains(n)), "{tenths:?}");
    }

    #[test]
    fn cron_follows_its_zone_through_a_change_of_clocks() {
        let cron = Schedule::cron("30 2 * * *", "Europe/Berlin", NOW).expect("valid");
        // 2016-03-27 has no 02:30 in Berlin: the next is a day later.
        let before = Timestamp::parse_rfc3339("2016-03-26T12:00:00Z").expect("valid");
        assert_eq!(cron.next(RouteId(0), before).expect("due").to_string(), "2016-03-28T00:30:00.000Z");
    }

    #[test]
    fn wrong_cron_is_told_apart_from_a_wrong_zone() {
        assert!(matches!(Schedule::cron("every day", "UTC", NOW), Err(ScheduleError::Expression(_))));
        assert!(matches!(Schedule::cron("* * * * *", "Mars", NOW), Err(ScheduleError::Zone(_))));
        assert!(matches!(Schedule::cron("0 0 30 2 *", "UTC", NOW), Err(ScheduleError::Never(_))));
    }

    #[test]
    fn the_longest_gap_of_a_cron_is_found() {
        let cron = Schedule::cron("0 9,12 * * *", "UTC", NOW).expect("valid");
        assert_eq!(cron.longest_gap(NOW), Duration::from_secs(21 * 3600));
    }
}

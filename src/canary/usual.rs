//! What is usual for a route: how long its landed runs took, phase by phase, and from that when a
//! run is overdue.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Runs before what was learned is believed: with fewer, the longest seen says little of the tail.
pub const ENOUGH: u32 = 20;
/// Runs per bucket. Ten buckets remember the longest of the last 180 to 200 landed runs without
/// keeping every run.
const PER_BUCKET: u32 = 20;
const BUCKETS: usize = 10;
/// Added to the longest at least: clocks, polling and reads are not exact to less.
const AT_LEAST_MORE: Duration = Duration::from_secs(2);
/// A platform that refuses, is silent or runs long is given this long at least: a restart of an
/// API takes seconds and is nobody's incident.
const PLATFORM_AT_LEAST: Duration = Duration::from_secs(30);

/// The longest times of the last 200 landed runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usual {
    runs: u32,
    /// Longest in milliseconds: accepted to done, and done to visible, a bucket each.
    buckets: [(u32, u32); BUCKETS],
}

impl Usual {
    /// Learns from a landed run outside incidents: `work` from accepted to done, `land` from done
    /// to visible.
    pub fn learn(&mut self, work: Duration, land: Duration) {
        let place = (self.runs / PER_BUCKET) as usize % BUCKETS;
        if self.runs.is_multiple_of(PER_BUCKET) {
            self.buckets[place] = (0, 0);
        }
        let millis = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
        let (longest_work, longest_land) = &mut self.buckets[place];
        *longest_work = millis(work).max(*longest_work);
        *longest_land = millis(land).max(*longest_land);
        // Wraps to a full memory, not to an empty one.
        self.runs = self.runs.checked_add(1).unwrap_or(PER_BUCKET * BUCKETS as u32);
    }

    /// Landed runs learned from.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    fn longest(&self, of: impl Fn(&(u32, u32)) -> u32) -> Option<Duration> {
        (self.runs >= ENOUGH).then(|| Duration::from_millis(self.buckets.iter().map(of).max().unwrap_or(0).into()))
    }

    /// Longest known from done to visible; none before [`ENOUGH`] runs.
    pub fn longest_land(&self) -> Option<Duration> {
        self.longest(|bucket| bucket.1)
    }

    /// How long after done landing is overdue: 1.5 × the longest, at least 2 s more. None before
    /// [`ENOUGH`] runs: then the objective decides.
    pub fn land_patience(&self) -> Option<Duration> {
        self.longest_land().map(patience)
    }

    /// How long after the start a run that is refused, unheard or running is overdue.
    pub fn work_patience(&self) -> Option<Duration> {
        self.longest(|bucket| bucket.0).map(|longest| patience(longest).max(PLATFORM_AT_LEAST))
    }
}

fn patience(longest: Duration) -> Duration {
    (longest * 3 / 2).max(longest + AT_LEAST_MORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn nothing_is_usual_before_twenty_runs() {
        let mut usual = Usual::default();
        (0..19).for_each(|_| usual.learn(S(4), S(2)));
        assert_eq!((usual.land_patience(), usual.work_patience()), (None, None));
        usual.learn(S(4), S(2));
        assert_eq!((usual.land_patience(), usual.work_patience()), (Some(S(4)), Some(S(30))));
    }

    #[test]
    fn the_longest_counts_and_is_forgotten_after_two_hundred_runs() {
        let mut usual = Usual::default();
        usual.learn(S(60), S(10));
        (0..100).for_each(|_| usual.learn(S(4), S(2)));
        assert_eq!((usual.land_patience(), usual.work_patience()), (Some(S(15)), Some(S(90))));
        (0..100).for_each(|_| usual.learn(S(4), S(2)));
        assert_eq!(usual.land_patience(), Some(S(4)));
    }
}

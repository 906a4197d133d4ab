//! A beat: when runs are due, round after round.

use std::time::Duration;

use crate::canary::{RouteId, Schedule, Timestamp};

/// A cron schedule is followed so far: four weeks have every weekday equally often.
const AHEAD: Duration = Duration::from_secs(28 * 86_400);
/// And so many runs of it.
const MOST_DUES: usize = 4_000;
/// Intervals with more runs a round than this are told in so many strokes.
const STROKES: usize = 32;

/// Runs due at these moments of a round, in seconds, and again in the next.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    round: f64,
    /// When, and how many, in order.
    dues: Vec<(f64, f64)>,
    /// How many up to and including each.
    sums: Vec<f64>,
    is_interval: bool,
}

impl Beat {
    /// Of one route.
    pub(super) fn of(schedule: &Schedule, route: RouteId, now: Timestamp) -> Self {
        let since = |at: Timestamp| at.since(now).as_secs_f64();
        if let Schedule::Every(every) = schedule {
            let first = schedule.next(route, now).map_or(0.0, since);
            let round = every.as_secs_f64().max(1e-3);
            return Self::new(round, vec![(first % round, 1.0)], true);
        }
        let mut dues: Vec<(f64, f64)> =
            std::iter::successors(schedule.next(route, now), |at| schedule.next(route, *at))
                .map(|at| (since(at), 1.0))
                .take_while(|(at, _)| *at < AHEAD.as_secs_f64())
                .take(MOST_DUES)
                .collect();
        // Cut off in the middle, a round goes from the first to the last.
        let mut round = AHEAD.as_secs_f64();
        if dues.len() == MOST_DUES
            && let (Some((first, _)), Some((last, _))) = (dues.first().copied(), dues.pop())
        {
            round = last - first;
            dues.iter_mut().for_each(|(at, _)| *at -= first);
        }
        Self::new(round, dues, false)
    }

    fn new(round: f64, dues: Vec<(f64, f64)>, is_interval: bool) -> Self {
        let sum = |sum: &mut f64, (_, n): &(f64, f64)| {
            *sum += n;
            Some(*sum)
        };
        Self { round, sums: dues.iter().scan(0.0, sum).collect(), dues, is_interval }
    }

    /// Whether its rounds and those of another can be told as one.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        self.is_interval == other.is_interval
            && self.round == other.round
            && (self.is_interval || std::ptr::eq(self, other) || self.dues == other.dues)
    }

    /// Beats that go with one another, as one.
    pub(super) fn together(beats: &[&Self]) -> Self {
        let first = beats[0];
        if !first.is_interval {
            let n = beats.len() as f64;
            return Self::new(first.round, first.dues.iter().map(|(at, _)| (*at, n)).collect(), false);
        }
        let mut dues: Vec<(f64, f64)> = beats.iter().flat_map(|beat| beat.dues.iter().copied()).collect();
        dues.sort_by(|a, b| a.0.total_cmp(&b.0));
        if dues.len() > STROKES {
            let per = dues.len().div_ceil(STROKES);
            let stroke = |part: &[(f64, f64)]| {
                let n = part.len() as f64;
                (part.iter().map(|(at, _)| at).sum::<f64>() / n, n)
            };
            dues = dues.chunks(per).map(stroke).collect();
        }
        Self::new(first.round, dues, true)
    }

    /// How long a round is, in seconds.
    pub(super) fn round(&self) -> f64 {
        self.round
    }

    /// About how many moments of a round, and no more, lie within so many seconds.
    pub(super) fn most_within(&self, seconds: f64) -> usize {
        (self.dues.len() as f64 * (seconds / self.round).min(1.0)).ceil() as usize
    }

    /// An interval, and no calendar.
    pub(super) fn is_interval(&self) -> bool {
        self.is_interval
    }

    /// Runs a second.
    pub(super) fn per_second(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0) / self.round
    }

    /// How many are due after `from`, up to `to`.
    pub(super) fn count(&self, from: f64, to: f64) -> f64 {
        if to > from { self.until(to) - self.until(from) } else { 0.0 }
    }

    fn until(&self, at: f64) -> f64 {
        let rounds = (at / self.round).floor();
        let passed = self.dues.partition_point(|(due, _)| *due <= at - rounds * self.round);
        rounds * self.sums.last().copied().unwrap_or(0.0) + passed.checked_sub(1).map_or(0.0, |last| self.sums[last])
    }

    /// Calls back with when each is due after `from`, up to `to`, counted from the beginning of the fault,
    /// and how many are. `begin`: that beginning.
    pub(super) fn each(&self, begin: f64, from: f64, to: f64, mut run: impl FnMut(f64, f64)) {
        if self.dues.is_empty() {
            return;
        }
        let mut round = (from / self.round).floor();
        let mut at = self.dues.partition_point(|(due, _)| *due <= from - round * self.round);
        loop {
            if at == self.dues.len() {
                (round, at) = (round + 1.0, 0);
            }
            let (due, n) = self.dues[at];
            let due = due + round * self.round;
            if due > to {
                return;
            }
            run(due - begin, n);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(round: f64, dues: &[f64]) -> Beat {
        Beat::new(round, dues.iter().map(|at| (*at, 1.0)).collect(), true)
    }

    fn dues(beat: &Beat, begin: f64, from: f64, to: f64) -> Vec<f64> {
        let mut dues = Vec::new();
        beat.each(begin, from, to, |due, _| dues.push(due));
        dues
    }

    #[test]
    fn runs_are_due_round_after_round() {
        let beat = beat(60.0, &[10.0, 40.0]);
        assert_eq!(dues(&beat, 0.0, 0.0, 130.0), [10.0, 40.0, 70.0, 100.0, 130.0]);
        assert_eq!(dues(&beat, 40.0, -30.0, 40.0), [-60.0, -30.0, 0.0]);
        assert_eq!((beat.count(10.0, 130.0), beat.count(-30.0, 40.0), beat.count(5.0, 5.0)), (4.0, 3.0, 0.0));
        assert_eq!(beat.per_second(), 2.0 / 60.0);
    }

    #[test]
    fn many_routes_are_told_in_a_few_strokes_and_none_is_lost() {
        let own: Vec<Beat> = (0..100).map(|n| self::beat(60.0, &[f64::from(n) * 0.6])).collect();
        let all = Beat::together(&own.iter().collect::<Vec<_>>());
        assert!(all.most_within(60.0) <= STROKES);
        assert_eq!(all.count(0.0, 600.0), 1_000.0);
    }

    #[test]
    fn a_calendar_has_a_round_of_four_weeks_and_its_routes_start_together() {
        let now = Timestamp::from_secs(1_440_452_640);
        let cron = Schedule::cron("0 9,12 * * *", "UTC", now).expect("valid");
        let beat = Beat::of(&cron, RouteId(1), now);
        assert_eq!((beat.most_within(1e9), beat.round()), (56, AHEAD.as_secs_f64()));
        let both = Beat::together(&[&beat, &beat]);
        assert_eq!(both.count(0.0, AHEAD.as_secs_f64()), 112.0);
        assert!(!beat.goes_with(&self::beat(60.0, &[1.0])));
    }
}

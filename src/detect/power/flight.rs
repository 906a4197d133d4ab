//! A flight as far as it can be foretold: how old a run is when its job ends, when a loss is red, and when
//! rows that landed are seen.

use std::time::Duration;

use super::Course;
use crate::canary::{Claim, Evidence, Terms, Timestamp, Usual, looks, usual, wait};

/// Equally likely flights that stand for all.
const FLIGHTS: usize = 256;
/// Of those so many, where each is gone through by itself.
const FEW: usize = 16;
/// Steps of a table over a run's age.
const STEPS: usize = 2_048;

/// A function of time on a grid, from nothing on; beyond the grid as at its end.
#[derive(Clone, Debug)]
pub(super) struct Table {
    step: f64,
    values: Vec<f64>,
}

impl Table {
    pub(super) fn of(until: f64, steps: usize, value: impl Fn(f64) -> f64) -> Self {
        let step = f64::max(until, 1e-3) / steps as f64;
        Self { step, values: (0..=steps).map(|at| value(at as f64 * step)).collect() }
    }

    /// How many of these, which are in order, are up to a time.
    fn share(until: f64, moments: &[f64]) -> Self {
        let n = moments.len() as f64;
        Self::of(until, STEPS, |at| moments.partition_point(|moment| *moment <= at) as f64 / n)
    }

    /// Between two points of the grid, in a straight line. Nothing before the grid.
    pub(super) fn at(&self, time: f64) -> f64 {
        if time < 0.0 {
            return 0.0;
        }
        let place = time / self.step;
        let at = place as usize;
        match (self.values.get(at), self.values.get(at + 1)) {
            (Some(here), Some(next)) => here + (next - here) * (place - at as f64),
            _ => self.values[self.values.len() - 1],
        }
    }
}

/// How a run flies, in seconds of its age.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// The share of jobs that have ended.
    pub(super) ended: Table,
    /// The share of runs that are red, of those that were lost.
    pub(super) red: Table,
    /// The share of runs that are green, of those that were not.
    pub(super) green: Table,
    /// When a loss is final.
    pub(super) deadline: f64,
    /// No job takes longer.
    pub(super) longest: f64,
    /// Ended, and red.
    few: Vec<(f64, f64)>,
}

impl Flight {
    pub(super) fn of(course: Course, objective: Duration, deadline: Duration, pause: Duration) -> Self {
        let terms = Terms { due: Timestamp::EPOCH, objective, deadline };
        let usual = usual_of(course);
        let ends: Vec<Duration> = (0..FLIGHTS).map(|nth| course.quantile(nth).min(deadline)).collect();
        let heard: Vec<Duration> = ends.iter().map(|end| looks::heard_at(*end)).collect();
        let red: Vec<f64> =
            heard.iter().map(|heard| (red_at(&terms, *heard, &usual) + pause / 2).as_secs_f64()).collect();
        let ended: Vec<f64> = ends.iter().map(Duration::as_secs_f64).collect();
        // Rows take half of the longest landing on average, counted from the end of the job.
        let seen = |(end, heard): (&Duration, &Duration)| {
            let visible = (*end + course.land / 2).saturating_sub(*heard);
            (*heard + looks::seen_at(visible) + pause / 2).as_secs_f64()
        };
        let green: Vec<f64> = ends.iter().zip(&heard).map(seen).collect();
        let until = |moments: &[f64]| moments.last().copied().unwrap_or(0.0);
        let step = FLIGHTS / FEW;
        let few = (0..FEW).map(|nth| nth * step + step / 2).map(|at| (ended[at], red[at])).collect();
        Self {
            longest: until(&ended),
            deadline: deadline.as_secs_f64(),
            few,
            ended: Table::share(until(&ended), &ended),
            green: Table::share(until(&green), &green),
            red: Table::share(until(&red), &red),
        }
    }

    /// Of runs of this age that are hit if they ended at `from` or later: the share that has been red for
    /// longer than `gate`, each times what `unconfirmed` says of the time since.
    pub(super) fn alone(&self, from: f64, age: f64, gate: f64, unconfirmed: &Table) -> f64 {
        let is_it = |(end, red): &&(f64, f64)| *end >= from && *red <= age - gate;
        self.few.iter().filter(is_it).map(|(_, red)| unconfirmed.at(age - red)).sum::<f64>() / FEW as f64
    }
}

/// When a loss is called one for the time being, by the rule that runs go by.
fn red_at(terms: &Terms, heard: Duration, usual: &Usual) -> Duration {
    let evidence = Evidence {
        accepted_at: Some(terms.due),
        claim: Claim::Done { rows: None },
        claimed_at: Some(terms.due.plus(heard)),
        ..Evidence::default()
    };
    wait::overdue_at(terms, &evidence, usual).since(terms.due).max(heard)
}

/// What is usual for a route that has been watched for a while.
fn usual_of(course: Course) -> Usual {
    let mut usual = Usual::default();
    (0..usual::ENOUGH).for_each(|_| usual.learn(course.p99, looks::seen_at(course.land)));
    usual
}

impl Course {
    /// The time that a job takes at the `nth` of [`FLIGHTS`] equal parts: log-normal, as times of jobs are.
    fn quantile(self, nth: usize) -> Duration {
        let share = (nth as f64 + 0.5) / FLIGHTS as f64;
        let p50 = self.p50.as_secs_f64();
        let ratio = (self.p99.as_secs_f64() / p50.max(1e-6)).max(1.0);
        // 2.3263 standard deviations are the 99th percentile of a normal distribution.
        Duration::from_secs_f64(p50 * (ratio.ln() / 2.3263 * normal_quantile(share)).exp())
    }
}

/// So many standard deviations from the middle lies this share of a normal distribution.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if normal_share(middle) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The share of a normal distribution up to so many standard deviations (Abramowitz and Stegun 26.2.17,
/// exact to seven digits).
fn normal_share(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = density * t * series.iter().fold(0.0, |sum, term| sum * t + term);
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const HIVE: Course = Course { p50: seconds(20), p99: seconds(60), land: seconds(3) };

    #[test]
    fn the_normal_distribution_has_its_known_values() {
        for (share, x) in [(0.5, 0.0), (0.99, 2.326_35), (0.05, -1.644_85)] {
            assert!((normal_quantile(share) - x).abs() < 1e-4, "{share}: {}", normal_quantile(share));
        }
    }

    #[test]
    fn a_loss_is_red_once_it_is_overdue_and_a_landing_is_green_before() {
        let flight = Flight::of(HIVE, seconds(120), seconds(300), Duration::ZERO);
        assert!((flight.ended.at(20.0) - 0.5).abs() < 0.01 && (flight.ended.at(60.0) - 0.99).abs() < 0.01);
        // Heard 1.25 s late on average, overdue 5.5 s after.
        assert!((0.45..0.55).contains(&flight.red.at(26.8)), "{}", flight.red.at(26.8));
        assert!(flight.green.at(24.0) > flight.red.at(24.0));
        assert_eq!((flight.red.at(-1.0), flight.red.at(1e6)), (0.0, 1.0));
    }

    #[test]
    fn one_alone_is_a_share_of_those_that_are_red() {
        let flight = Flight::of(HIVE, seconds(120), seconds(300), Duration::ZERO);
        let certain = Table::of(300.0, 8, |_| 1.0);
        let never = Table::of(300.0, 8, |_| 0.0);
        assert_eq!(flight.alone(0.0, 5.0, 10.0, &certain), 0.0);
        assert!((flight.alone(0.0, 250.0, 10.0, &certain) - 1.0).abs() < 1e-9);
        assert!((flight.alone(20.0, 250.0, 10.0, &certain) - 0.5).abs() < 0.07);
        assert_eq!(flight.alone(0.0, 250.0, 10.0, &never), 0.0);
    }
}

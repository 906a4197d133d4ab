//! Chance: how often reds come by themselves, and how surprising a number of them is.

use std::{sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};

/// A rate starts at 1 in 1,000: rarer than any honest noise worth paging for, common enough that
/// one failure of one run is nobody's incident.
const PRIOR_BAD: f64 = 1.0;
/// The weight of that start, in runs: a route's first bad day does not make bad days normal.
const PRIOR_RUNS: f64 = 1000.0;
/// Overdue runs that land after all start at 1 in 10,000: what is overdue has taken longer than
/// any of the last 200.
const PRIOR_HASTE: f64 = 0.1;

/// What is counted together must come by chance less than once in this time.
pub const BY_CHANCE_ONCE_IN: Duration = Duration::from_secs(30 * 86_400);

/// How often an outcome comes on an ordinary day. Honest, amber and grey outcomes have such a
/// rate; silent ones have none: one lost run is one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    bad: f64,
    runs: f64,
}

/// Runs after which older ones weigh less, so that a rate follows what a route has become.
const MEMORY: f64 = 20_000.0;

impl Rate {
    /// Learns from one run outside incidents.
    pub fn learn(&mut self, bad: bool) {
        if self.runs >= MEMORY {
            self.runs /= 2.0;
            self.bad /= 2.0;
        }
        self.runs += 1.0;
        self.bad += f64::from(u8::from(bad));
    }

    /// The rate per run.
    pub fn per_run(&self) -> f64 {
        ((PRIOR_BAD + self.bad) / (PRIOR_RUNS + self.runs)).min(1.0)
    }

    /// The rate per run of calling a run lost that lands after all.
    pub fn of_haste(&self) -> f64 {
        ((PRIOR_HASTE + self.bad) / (PRIOR_RUNS + self.runs)).min(1.0)
    }

    /// The rate per run as it was before these runs.
    pub fn without(&self, bad: u32, runs: f64) -> f64 {
        let bad = (self.bad - f64::from(bad)).max(0.0);
        ((PRIOR_BAD + bad) / (PRIOR_RUNS + (self.runs - runs).max(0.0))).min(1.0)
    }
}

/// The chance of at least `k` where `expected` are expected (Poisson).
pub fn at_least(k: u32, expected: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if expected <= 0.0 {
        return 0.0;
    }
    // The upper tail itself, from its largest term: no cancellation for tiny chances.
    let mut term = (f64::from(k) * expected.ln() - expected - ln_factorial(k)).exp();
    if f64::from(k) < expected {
        let below: f64 = (0..k).map(|n| (f64::from(n) * expected.ln() - expected - ln_factorial(n)).exp()).sum();
        return (1.0 - below).max(0.0);
    }
    let mut sum = 0.0;
    for n in k..k + 200 {
        sum += term;
        term *= expected / f64::from(n + 1);
        if term < sum * 1e-12 {
            break;
        }
    }
    sum.min(1.0)
}

/// Whether `k` bad runs in a window are more than chance gives once in [`BY_CHANCE_ONCE_IN`].
pub fn is_surprising(k: u32, expected: f64, window: Duration) -> bool {
    k >= 2 && at_least(k, expected) < window.as_secs_f64() / BY_CHANCE_ONCE_IN.as_secs_f64()
}

/// Whether `k` bad runs among `trials` in a row, each bad by chance at a rate of `per_run`, come by
/// chance less than once in [`BY_CHANCE_ONCE_IN`], with so many runs a second.
pub fn is_surprising_run(k: u32, trials: u32, per_run: f64, runs_per_second: f64) -> bool {
    let stretches = runs_per_second * BY_CHANCE_ONCE_IN.as_secs_f64() / f64::from(trials.max(1));
    at_least(k, f64::from(trials) * per_run) * stretches < 1.0
}

/// ln n!, as a search asks for it thousands of times: the small ones from a table.
pub fn ln_factorial(n: u32) -> f64 {
    static SMALL: LazyLock<Vec<f64>> = LazyLock::new(|| (0..1024).map(ln_factorial_of).collect());
    SMALL.get(n as usize).copied().unwrap_or_else(|| ln_factorial_of(n))
}

/// By Stirling's series above sixteen.
fn ln_factorial_of(n: u32) -> f64 {
    if n < 16 {
        return (2..=n).map(|i| f64::from(i).ln()).sum();
    }
    let x = f64::from(n) + 1.0;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn two_failures_of_one_route_surprise_and_two_of_many_do_not() {
        let rate = Rate::default().per_run();
        assert!(is_surprising(2, 10.0 * rate, TEN_MINUTES));
        assert!(!is_surprising(2, 60.0 * rate, TEN_MINUTES));
        assert!(is_surprising(3, 60.0 * rate, TEN_MINUTES));
        assert!(!is_surprising(1, 0.0, TEN_MINUTES), "one alone never confirms itself");
    }

    #[test]
    fn a_route_that_often_fails_needs_more_to_surprise() {
        let mut rate = Rate::default();
        (0..5000).for_each(|n| rate.learn(n % 20 == 0));
        assert!(rate.per_run() > 0.04);
        assert!(!is_surprising(3, 10.0 * rate.per_run(), TEN_MINUTES));
        assert!(is_surprising(6, 10.0 * rate.per_run(), TEN_MINUTES));
    }

    #[test]
    fn what_was_called_too_early_before_needs_more_to_be_believed() {
        let four_a_minute = 4.0 / 60.0;
        let mut haste = Rate::default();
        assert!(is_surprising_run(2, 2, haste.of_haste(), four_a_minute));
        (0..10).for_each(|_| haste.learn(true));
        assert!(!is_surprising_run(2, 3, haste.of_haste(), four_a_minute));
        assert!(is_surprising_run(4, 4, haste.of_haste(), four_a_minute));
    }

    #[test]
    fn the_tail_is_exact_where_it_can_be_checked() {
        assert!((at_least(1, 0.1) - (1.0 - (-0.1f64).exp())).abs() < 1e-12);
        assert!((at_least(2, 0.01) - (1.0 - 1.01 * (-0.01f64).exp())).abs() < 1e-12);
        assert!((at_least(5, 10.0) - 0.970_747).abs() < 1e-5);
        assert!((ln_factorial(20) - 42.335_616_460_753_485).abs() < 1e-9);
    }
}

//! The end of a case: when enough has landed that the fault would have shown.

use std::time::Duration;

use super::{case::Case, suspects::Seen, trail::Trail};
use crate::canary::Timestamp;

/// Greens due after the last proving run, on every hit route.
pub const GREENS_TO_RESOLVE: usize = 3;
/// An intermittent incident is over when as many clean runs would be this unlikely while it lasts.
const WOULD_HAVE_SHOWN: f64 = 0.05;
/// One lost run alone stays open so long: a warning that is over in the second it is told helps nobody.
const LONE: Duration = Duration::from_secs(600);
/// A pause that was taken for the end is waited out the next time, and a bit longer, so that a fault that
/// comes and goes is one incident and no row of pages. A longer pause than this is an end.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// However rare the bad runs were: after so long without one it is over, and the next one reopens it.
const QUIET_IS_OVER: Duration = Duration::from_secs(24 * 3600);

impl Case {
    /// How many of the runs that it covers are bad while it lasts. The first and the last bad run
    /// are bad by choice of the stretch, so one of them does not count.
    pub fn rate(&self) -> f64 {
        let red = f64::from(self.inside.red.saturating_sub(1));
        let all = red + f64::from(self.inside.green);
        if all > 0.0 { red / all } else { 1.0 }
    }

    /// Hits only some of the runs that it covers.
    pub fn is_intermittent(&self) -> bool {
        self.inside.red >= 2 && self.inside.green > self.inside.red / 4
    }

    /// Why it is over, if it is: every hit route has had enough greens due after the last bad run,
    /// and, if only some runs were bad, so many clean ones have passed, and for so long, that it would
    /// have shown.
    pub fn is_over(&self, trails: &[Trail], now: Timestamp) -> Option<String> {
        let landed = self.blind_to.is_empty()
            && self.hit.keys().all(|place| {
                let greens = trails[*place as usize]
                    .newest()
                    .take_while(|spot| spot.due > self.last_bad)
                    .filter(|spot| spot.is_green() && now >= spot.due.plus(self.turns_after));
                greens.count() >= GREENS_TO_RESOLVE
            });
        if !landed {
            return None;
        }
        let quiet = now.since(self.last_bad);
        if !self.is_intermittent() {
            let lone = self.bad.len() == 1 && self.incident.family.is_silent();
            let pause = (self.longest_pause * 5 / 4).max(if lone { LONE } else { Duration::ZERO });
            return (quiet >= pause).then(|| format!("{GREENS_TO_RESOLVE} greens on every hit route"));
        }
        let rate = self.rate();
        let pause = self.longest_pause * 5 / 4;
        if quiet >= QUIET_IS_OVER {
            return Some("a day without a bad run".to_owned());
        }
        (would_have_shown(self.inside, self.clean) && quiet >= pause).then(|| {
            format!("{} runs in a row landed; {:.2} % of them were bad while it lasted", self.clean, rate * 100.0)
        })
    }
}

/// Whether so many clean runs in a row would have shown a bad one, had the fault gone on: the chance
/// of none, at whatever rate what was seen inside leaves possible, is small.
pub fn would_have_shown(inside: Seen, clean: u32) -> bool {
    // One of the bad runs is bad by choice of the stretch.
    let (red, green) = (f64::from(inside.red.max(2) - 1), f64::from(inside.green));
    let mut none = 1.0;
    for n in 0..clean {
        let so_far = green + 1.0 + f64::from(n);
        none *= so_far / (so_far + red);
        if none <= WOULD_HAVE_SHOWN {
            return true;
        }
    }
    false
}

//! How often a run looks: at the platform for its status, at the target for its rows. Pure, so that
//! whoever foretells how soon a loss is seen counts with the looks that are made.

use std::time::Duration;

/// Status is asked this often at first, then ever less, in proportion to how long the job runs.
pub const POLL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// An eighth of the run's age between two looks at the platform: late by no more than an eighth.
const POLL_SHARE: u32 = 8;
/// Between the first and the second look at the target after the platform's last word.
const AT_FIRST: Duration = Duration::from_millis(500);
/// Between any two after that, until landing is overdue, and where rows want one more look soon.
pub const SOON: Duration = Duration::from_secs(1);

/// How long to wait before the platform is asked again of a run that was accepted so long ago.
pub fn poll_pause(age: Duration) -> Duration {
    (age / POLL_SHARE).clamp(POLL.0, POLL.1)
}

/// How long to wait before the next look at the target, after so many since the platform's last word.
pub fn sight_pause(looks: usize) -> Duration {
    if looks < 2 { AT_FIRST } else { SOON }
}

/// How old a run is when the platform's last word is heard, if it was said at this age.
pub fn heard_at(said: Duration) -> Duration {
    let mut age = POLL.0;
    while age < said {
        age += poll_pause(age);
    }
    age
}

/// How long after the platform's last word rows are seen that are visible so long after it.
pub fn seen_at(visible: Duration) -> Duration {
    // The first is made at once.
    let (mut at, mut looks) = (Duration::ZERO, 1);
    while at < visible {
        at += sight_pause(looks);
        looks += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_last_word_is_heard_late_by_no_more_than_an_eighth() {
        assert_eq!(heard_at(MS(1)), MS(500));
        assert_eq!(heard_at(MS(4_000)), MS(4_000));
        for said in [5_000, 9_999, 20_000, 39_000] {
            let late = heard_at(MS(said)) - MS(said);
            assert!(late <= MS(said) / 8, "{said}: {late:?}");
        }
        assert!(heard_at(MS(600_000)) - MS(600_000) <= POLL.1);
    }

    #[test]
    fn rows_are_seen_at_a_look() {
        assert_eq!([0, 100, 700, 2_900].map(|ms| seen_at(MS(ms))), [0, 500, 1_500, 3_500].map(MS));
    }
}

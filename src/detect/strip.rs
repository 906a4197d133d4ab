//! A route's strip: its last runs as bars, for people. Packed, since every route has one.

use std::time::Duration;

use crate::canary::{Outcome, Timestamp};

/// Bars of a strip: twenty minutes where runs are a minute apart.
pub const BARS: usize = 20;
/// A run whose rows were not seen whole took no time that anybody knows.
const UNKNOWN: u32 = u32::MAX;

/// One run of a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// When it was due.
    pub due: Timestamp,
    /// What it came to, as far as known.
    pub outcome: Outcome,
    /// Milliseconds from the accepted submit to the rows.
    took_ms: u32,
}

impl Bar {
    /// A run that took so long to land; none if it did not.
    pub fn new(due: Timestamp, outcome: Outcome, took: Option<Duration>) -> Self {
        let took_ms = took.map_or(UNKNOWN, |took| u32::try_from(took.as_millis()).unwrap_or(UNKNOWN - 1));
        Self { due, outcome, took_ms }
    }

    /// How long it took from the accepted submit until its rows were there.
    pub fn took(self) -> Option<Duration> {
        (self.took_ms != UNKNOWN).then(|| Duration::from_millis(self.took_ms.into()))
    }
}

/// The last runs of a route, by due time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    bars: [Option<Bar>; BARS],
}

impl Strip {
    /// Takes a run in, or what is newly known of it.
    pub fn note(&mut self, bar: Bar) {
        let filled = self.bars.iter().flatten().count();
        let known = self.bars[..filled].iter().position(|known| known.is_some_and(|known| known.due == bar.due));
        if let Some(at) = known {
            self.bars[at] = Some(bar);
            return;
        }
        let before = self.bars[..filled].iter().flatten().filter(|known| known.due < bar.due).count();
        match (filled == BARS, before) {
            // Older than all of a full strip.
            (true, 0) => {}
            (true, _) => {
                self.bars[..before].rotate_left(1);
                self.bars[before - 1] = Some(bar);
            }
            (false, _) => {
                self.bars[before..=filled].rotate_right(1);
                self.bars[before] = Some(bar);
            }
        }
    }

    /// The runs, oldest first.
    pub fn bars(&self) -> impl DoubleEndedIterator<Item = Bar> + Clone {
        self.bars.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(strip: &Strip) -> Vec<i64> {
        strip.bars().map(|bar| bar.due.as_secs()).collect()
    }

    fn bar(due: i64) -> Bar {
        Bar::new(Timestamp::from_secs(due), Outcome::Landed, None)
    }

    #[test]
    fn runs_stand_by_due_time_however_they_come_and_only_the_last_ones_stay() {
        let mut strip = Strip::default();
        [30, 10, 20, 40].into_iter().for_each(|due| strip.note(bar(due)));
        assert_eq!(dues(&strip), [10, 20, 30, 40]);
        (5..25).for_each(|n| strip.note(bar(n * 10)));
        assert_eq!(dues(&strip), (5..25).map(|n| n * 10).collect::<Vec<_>>());
        strip.note(bar(1));
        strip.note(bar(235));
        assert_eq!(dues(&strip)[..2], [60, 70]);
        assert_eq!(dues(&strip)[17..], [230, 235, 240]);
    }

    #[test]
    fn a_correction_takes_the_place_of_what_it_corrects() {
        let mut strip = Strip::default();
        strip.note(bar(10));
        strip.note(Bar::new(Timestamp::from_secs(10), Outcome::Late, Some(Duration::from_secs(150))));
        let bars: Vec<Bar> = strip.bars().collect();
        assert_eq!((bars.len(), bars[0].outcome, bars[0].took()), (1, Outcome::Late, Some(Duration::from_secs(150))));
        assert_eq!(bar(1).took(), None);
    }

    #[test]
    fn a_time_that_does_not_fit_is_the_longest_that_does() {
        let took = Bar::new(Timestamp::EPOCH, Outcome::Late, Some(Duration::MAX)).took();
        assert_eq!(took, Some(Duration::from_millis(u64::from(u32::MAX) - 1)));
    }
}

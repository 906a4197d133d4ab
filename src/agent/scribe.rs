//! The scribe: brings to the ledger what the desk decided, one transaction after the other, in the
//! order in which it was decided, each again and again until it is written.
//!
//! The desk does not wait for it longer than a moment. A ledger that fails or hangs is the agent's
//! own trouble: detection goes on in memory and people are told, while what is to be written waits
//! here. A run that cannot be recorded is not sent, so what waits are the verdicts of runs that
//! were in flight when the trouble began, and the little that detection goes on to hear.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use tracing::{error, info, warn};

use crate::store::{Settlement, Store, StoreError};

/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Verdicts waiting. More than that were not in flight in any fleet: begin succeeds and settle
/// fails, for ever. Further ones are heard by detection but not kept; their runs stay pending, and
/// are taken up at the next start.
const MOST_VERDICTS: usize = 50_000;
/// Journal entries waiting. Beyond it a snapshot of detection takes their place.
const MOST_ENTRIES: usize = 20_000;

type Writing = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

enum Page {
    Settlement(Box<Settlement>),
    /// Detection's state, and the last journal entry that is in it. It is a convenience, unless it
    /// stands for entries that were let go.
    Snapshot {
        seq: u64,
        state: Vec<u8>,
        insists: bool,
    },
}

/// What waits for the ledger, and the write under way.
pub(super) struct Scribe {
    store: Arc<dyn Store>,
    pages: VecDeque<Page>,
    /// Of the first page. Kept here, not by whoever waits for it: giving up waiting breaks nothing off.
    writing: Option<Writing>,
    failures: u32,
    verdicts: usize,
    entries: usize,
}

impl Scribe {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, pages: VecDeque::new(), writing: None, failures: 0, verdicts: 0, entries: 0 }
    }

    /// Takes a transaction. Answers whether so much is waiting that a snapshot should replace the
    /// journal.
    pub(super) fn take(&mut self, mut settlement: Settlement) -> bool {
        if self.verdicts + settlement.verdicts.len() > MOST_VERDICTS {
            let n = settlement.verdicts.len();
            error!(verdicts = n, "too many verdicts wait for the ledger; these are told, but not kept");
            settlement.verdicts.clear();
        }
        self.verdicts += settlement.verdicts.len();
        self.entries += settlement.journal.len();
        self.pages.push_back(Page::Settlement(Box::new(settlement)));
        self.entries > MOST_ENTRIES
    }

    /// Takes detection's state as of journal entry `seq`. Where too many entries wait, it stands for
    /// them.
    pub(super) fn take_snapshot(&mut self, seq: u64, state: Vec<u8>) {
        let insists = self.entries > MOST_ENTRIES;
        // What is being written stays as it is.
        let from = usize::from(self.writing.is_some());
        for page in self.pages.iter_mut().skip(from) {
            if let Page::Settlement(settlement) = page
                && insists
            {
                self.entries -= settlement.journal.len();
                settlement.journal.clear();
            }
        }
        self.pages.push_back(Page::Snapshot { seq, state, insists });
    }

    /// Nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.pages.is_empty()
    }

    /// Writes one page, or fails to and pauses. Answers whether it was written. May be dropped at
    /// any time and asked again.
    pub(super) async fn turn(&mut self) -> bool {
        let Some(first) = self.pages.front() else { return true };
        let (store, again) = (&self.store, self.failures > 0);
        let writing = self.writing.get_or_insert_with(|| match first {
            Page::Settlement(settlement) => settle(Arc::clone(store), (**settlement).clone(), again),
            Page::Snapshot { seq, state, .. } => keep(Arc::clone(store), *seq, state.clone(), again),
        });
        let written = writing.await;
        self.writing = None;
        match written {
            Ok(()) => {
                if self.failures > 0 {
                    info!(waiting = self.pages.len() - 1, "the ledger takes what it is given again");
                }
                self.failures = 0;
                if let Some(Page::Settlement(settlement)) = self.pages.pop_front() {
                    self.verdicts -= settlement.verdicts.len();
                    self.entries -= settlement.journal.len();
                }
                true
            }
            Err(failed) if matches!(self.pages.front(), Some(Page::Snapshot { insists: false, .. })) => {
                warn!(error = %failed, "could not keep a snapshot of detection");
                self.pages.pop_front();
                false
            }
            Err(failed) => {
                self.failures += 1;
                match self.failures {
                    1 => error!(error = %failed, "verdicts cannot be stored; trying again until they are"),
                    n if n % 60 == 0 => {
                        warn!(error = %failed, waiting = self.pages.len(), "verdicts still cannot be stored");
                    }
                    _ => {}
                }
                false
            }
        }
    }
}

fn settle(store: Arc<dyn Store>, settlement: Settlement, again: bool) -> Writing {
    Box::pin(async move {
        pause(again).await;
        store.settle(settlement).await
    })
}

fn keep(store: Arc<dyn Store>, seq: u64, state: Vec<u8>, again: bool) -> Writing {
    Box::pin(async move {
        pause(again).await;
        store.keep_snapshot(seq, state).await
    })
}

/// Before another try.
async fn pause(again: bool) {
    if again {
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canary::Timestamp,
        detect::Input,
        store::{JournalEntry, memory::Memory},
    };

    #[tokio::test]
    async fn a_snapshot_stands_for_a_journal_that_has_waited_for_too_long() {
        let store = Arc::new(Memory::new());
        let mut scribe = Scribe::new(Arc::clone(&store) as Arc<dyn Store>);
        let entry = |seq| JournalEntry { seq, at: Timestamp::EPOCH, input: Input::Tick };
        let much = MOST_ENTRIES as u64 + 1;
        assert!(!scribe.take(Settlement { journal: vec![entry(1)], ..Settlement::default() }));
        assert!(scribe.take(Settlement { journal: (2..=much).map(entry).collect(), ..Settlement::default() }));
        scribe.take_snapshot(much, vec![7]);
        assert!(!scribe.take(Settlement { journal: vec![entry(much + 1)], ..Settlement::default() }), "room again");
        while !scribe.is_done() {
            assert!(scribe.turn().await);
        }
        assert_eq!(store.snapshot().await.ok().flatten(), Some((much, vec![7])));
        assert_eq!(store.journal(0).await.ok(), Some(vec![entry(much + 1)]));
    }
}

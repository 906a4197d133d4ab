//! Hands: how many threads share a search. What comes out is the same for any number.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Most that are of use.
const MOST: usize = 4;

/// A number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hands(usize);

impl Hands {
    /// No thread but the caller's.
    pub(super) const ONE: Self = Self(1);

    /// So many, if they are of use.
    pub(super) fn up_to(processors: usize) -> Self {
        Self(processors.clamp(1, MOST))
    }

    pub(super) fn count(self) -> usize {
        self.0
    }

    /// Does the same with each of some things, in their order as far as one hand goes; what came of it, in their order.
    /// Each hand begins with something of its own. It panics where the work does.
    pub(super) fn each<T: Sync, H, R: Send>(
        self,
        things: &[T],
        begin: impl Fn() -> H + Sync,
        work: impl Fn(&mut H, &T) -> R + Sync,
    ) -> Vec<R> {
        if self.0 < 2 || things.len() < 2 {
            let mut own = begin();
            return things.iter().map(|thing| work(&mut own, thing)).collect();
        }
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(things.len()));
        let hand = || {
            let (mut own, mut mine) = (begin(), Vec::new());
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(thing) = things.get(at) else { break };
                mine.push((at, work(&mut own, thing)));
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
        };
        thread::scope(|scope| {
            (1..self.0.min(things.len())).for_each(|_| drop(scope.spawn(hand)));
            hand();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_do_comes_in_the_order_of_the_things() {
        let things: Vec<usize> = (0..1000).collect();
        for hands in [1, 2, 3] {
            let squares = Hands(hands).each(
                &things,
                || 0,
                |seen, thing| {
                    *seen += 1;
                    thing * thing
                },
            );
            assert!(squares.iter().enumerate().all(|(at, square)| *square == at * at), "{hands}");
            assert_eq!(squares.len(), 1000);
        }
        assert!(Hands::up_to(64).each(&[0_u8; 0], || (), |(), _| 1).is_empty());
    }
}

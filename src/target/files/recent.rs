//! What was read recently: looks come again and again until a run is over, and most of what they
//! find has been read before.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::Object;
use crate::target::decode::Decoded;

/// Bytes kept at most.
const ROOM: usize = 32 * 1024 * 1024;

/// Decoded objects, the oldest forgotten first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: HashMap<String, Kept>,
    order: VecDeque<String>,
    weight: usize,
}

#[derive(Debug)]
struct Kept {
    tag: String,
    size: u64,
    bytes: usize,
    enough: usize,
    decoded: Arc<Decoded>,
}

impl Recent {
    /// What was read of the same state of an object, to the same extent.
    pub(super) fn get(&self, object: &Object, bytes: usize, enough: usize) -> Option<Arc<Decoded>> {
        let kept = self.kept.get(&object.key)?;
        let same = Some(&kept.tag) == object.tag.as_ref()
            && (kept.size, kept.bytes, kept.enough) == (object.size, bytes, enough);
        same.then(|| kept.decoded.clone())
    }

    /// Remembers. An object without a tag cannot be recognised.
    pub(super) fn keep(&mut self, object: &Object, bytes: usize, enough: usize, decoded: Arc<Decoded>) {
        let Some(tag) = object.tag.clone() else { return };
        let weight = weight(&decoded);
        if weight > ROOM {
            return;
        }
        let kept = Kept { tag, size: object.size, bytes, enough, decoded };
        match self.kept.insert(object.key.clone(), kept) {
            Some(old) => self.weight -= self::weight(&old.decoded),
            None => self.order.push_back(object.key.clone()),
        }
        self.weight += weight;
        while self.weight > ROOM {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(old) = self.kept.remove(&oldest) {
                self.weight -= self::weight(&old.decoded);
            }
        }
    }
}

/// Keys and bookkeeping count too, so that many empty objects do not fill the memory.
fn weight(decoded: &Decoded) -> usize {
    decoded.weight() + 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Cell;

    fn object(key: &str, tag: &str) -> Object {
        Object { key: key.to_owned(), size: 9, tag: Some(tag.to_owned()), modified: None }
    }

    fn heavy() -> Arc<Decoded> {
        Arc::new(Decoded { rows: vec![vec![Cell::Text("x".repeat(ROOM / 3))]], broken: false })
    }

    #[test]
    fn an_object_that_changed_is_read_again() {
        let mut recent = Recent::default();
        recent.keep(&object("a", "1"), 9, 124, heavy());
        assert!(recent.get(&object("a", "1"), 9, 124).is_some());
        for (tag, bytes, enough) in [("2", 9, 124), ("1", 8, 124), ("1", 9, 200)] {
            assert!(recent.get(&object("a", tag), bytes, enough).is_none());
        }
        assert!(recent.get(&Object { tag: None, ..object("a", "1") }, 9, 124).is_none());
    }

    #[test]
    fn the_oldest_is_forgotten_when_it_is_too_much() {
        let mut recent = Recent::default();
        for key in ["a", "b", "b", "c", "d"] {
            recent.keep(&object(key, "1"), 9, 124, heavy());
        }
        let known = |key| recent.get(&object(key, "1"), 9, 124).is_some();
        assert_eq!(["a", "b", "c", "d"].map(known), [false, false, true, true]);
        assert!(recent.weight <= ROOM && recent.order.len() == recent.kept.len());
    }
}

//! Flights: the operations of this process, each with the session that it must be asked on.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Mutex;

use super::session::{Operation, Session};
use crate::platform::{Handle, JobState};

/// Kept after their end too, since they may be asked once more. More runs than this are never under
/// way at one server; what is older is over.
const MOST: usize = 2048;

/// An operation.
pub(super) struct Flight {
    /// None once it has ended, or the server has forgotten it.
    pub(super) session: Option<Session>,
    pub(super) operation: Operation,
    /// How it ended.
    pub(super) last: Option<JobState>,
}

impl Flight {
    pub(super) fn new(session: Session, operation: Operation) -> Self {
        Self { session: Some(session), operation, last: None }
    }
}

/// Operations by handle, oldest first.
#[derive(Default)]
pub(super) struct Flights {
    by_handle: HashMap<String, Arc<Mutex<Flight>>>,
    order: VecDeque<String>,
}

impl Flights {
    pub(super) fn add(&mut self, handle: &Handle, flight: Flight) {
        let key = handle.as_str().to_owned();
        self.order.push_back(key.clone());
        self.by_handle.insert(key, Arc::new(Mutex::new(flight)));
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.by_handle.remove(&oldest);
            }
        }
    }

    pub(super) fn find(&self, handle: &Handle) -> Option<Arc<Mutex<Flight>>> {
        self.by_handle.get(handle.as_str()).cloned()
    }
}

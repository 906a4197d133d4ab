//! The house: everything a running sandbox holds, shared by all calls.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{answer::Trouble, book::Book, customers::Truth, schedules::Saved};
use crate::{
    canary::{Secret, Timestamp},
    sandbox::{Engine, Place, Ticket, deliver::Courier, sql::Warehouse},
};

/// Queries that the SQL engine works on at once: two cores' worth, so that a heavy one delays
/// others and starves nobody.
const QUERIES: usize = 4;

/// Tells the time; the wall clock is asked in one place of the whole program, which is not here.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// An account: its key, its databases, its saved connections and queries.
pub(super) struct Account {
    /// As it stands in messages.
    pub(super) number: u64,
    pub(super) key: Secret,
    /// The platform of the world that runs its Hive jobs.
    pub(super) hive: &'static str,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) connections: Mutex<BTreeMap<String, Connection>>,
    pub(super) schedules: Mutex<BTreeMap<String, Saved>>,
}

/// A saved connection: a Result Output URL by name.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) url: Secret,
}

/// Refused submits whose dice are remembered: retries come soon.
const TICKETS: usize = 10_000;
/// Jobs at work and rows that come later, together.
const TASKS: usize = 20_000;

/// Everything.
pub(super) struct House {
    pub(super) address: SocketAddr,
    pub(super) accounts: Vec<Account>,
    pub(super) now: Now,
    pub(super) courier: Courier,
    pub(super) queries: Arc<Semaphore>,
    engine: Arc<Mutex<Engine>>,
    book: Mutex<Book>,
    tickets: Mutex<HashMap<(usize, String), Ticket>>,
    tasks: Mutex<JoinSet<()>>,
    truths: Mutex<BTreeMap<u64, Truth>>,
}

/// A panic elsewhere leaves the values whole: they are changed in single steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    pub(super) fn new(
        address: SocketAddr,
        accounts: Vec<Account>,
        now: Now,
        courier: Courier,
        engine: Arc<Mutex<Engine>>,
    ) -> Self {
        Self {
            address,
            accounts,
            now,
            courier,
            queries: Arc::new(Semaphore::new(QUERIES)),
            engine,
            book: Mutex::default(),
            tickets: Mutex::default(),
            tasks: Mutex::default(),
            truths: Mutex::default(),
        }
    }

    /// The engine, never held across an await; taken after the book where both are needed.
    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        locked(&self.engine)
    }

    /// The dice of a submit. One with a domain key that was seen before has those of the first.
    pub(super) fn ticket(&self, engine: &mut Engine, account: usize, key: Option<&str>, place: &Place) -> Ticket {
        let Some(key) = key else { return engine.ticket(place) };
        let mut tickets = locked(&self.tickets);
        if tickets.len() >= TICKETS {
            tickets.clear();
        }
        *tickets.entry((account, key.to_owned())).or_insert_with(|| engine.ticket(place))
    }

    /// Runs something until it ends, or the house does.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        if tasks.len() < TASKS {
            tasks.spawn(work);
        }
    }

    /// Stops all that is at work.
    pub(super) fn rest(&self) {
        locked(&self.tasks).abort_all();
    }

    /// Whose jobs and queries an account's are.
    pub(super) fn user_of(&self, account: &Account) -> String {
        format!("Account {}", account.number)
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The book, never held across an await.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    /// What became of customers' jobs, never held across an await.
    pub(super) fn truths(&self) -> MutexGuard<'_, BTreeMap<u64, Truth>> {
        locked(&self.truths)
    }

    /// The account of a key. Every account is compared in full, so that timing tells nothing.
    pub(super) fn account_of(&self, key: &str) -> Option<usize> {
        let mut found = None;
        for (at, account) in self.accounts.iter().enumerate() {
            if same(account.key.reveal(), key) {
                found = Some(at);
            }
        }
        found
    }
}

fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

impl Account {
    pub(super) fn connections(&self) -> MutexGuard<'_, BTreeMap<String, Connection>> {
        locked(&self.connections)
    }

    pub(super) fn schedules(&self) -> MutexGuard<'_, BTreeMap<String, Saved>> {
        locked(&self.schedules)
    }

    /// Asks the warehouse something that blocks.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Warehouse) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let warehouse = self.warehouse.clone();
        let broken = |_| Trouble::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the storage broke");
        tokio::task::spawn_blocking(move || what(&warehouse)).await.map_err(broken)
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

//! The intake: who may deliver what to the agent itself. `web` hears the requests, the ledger keeps
//! the bodies; here it is decided, so that nothing is kept that no run waits for.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use async_trait::async_trait;

use crate::canary::{Marker, Secret, TargetName, Timestamp};

/// Longest body. The largest sample takes some 5 MB as JSON.
pub const LARGEST: usize = 16 * 1024 * 1024;
/// Deliveries kept of one run: enough to see that it is doubled, and how often.
const MOST: u32 = 20;
/// Bytes kept of one run.
const ROOM: usize = 2 * LARGEST;
/// Fewer pending runs than this are never looked through.
const TIDY_AT: usize = 256;
/// The user that platforms deliver as.
pub(super) const USER: &str = "landfall";
/// Where the agent listens if nobody said.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9440);

/// A delivery as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The run it names.
    pub marker: Marker,
    /// When its last byte came.
    pub at: Timestamp,
    /// The body.
    pub body: Vec<u8>,
}

/// Where deliveries are kept: the ledger. Errors are for people and hold no secret.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Keeps one; durable when it returns.
    async fn keep(&self, target: &TargetName, delivery: Delivery) -> Result<(), String>;

    /// Those of these runs, in the order in which they came.
    async fn find(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, String>;

    /// Removes those that came before a time; answers how many.
    async fn sweep(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, String>;
}

/// Why a delivery was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no such webhook target.
    #[error("no such target")]
    UnknownTarget,
    /// No user and password, or wrong ones.
    #[error("user or password is wrong")]
    Unauthorized,
    /// No run with this marker waits for rows.
    #[error("no run waits for this delivery")]
    NotPending,
    /// The body is longer than [`LARGEST`], or the run has had more than its share.
    #[error("the delivery is too large")]
    TooLarge,
    /// The run has had more deliveries than are kept.
    #[error("too many deliveries of this run")]
    TooMany,
    /// It could not be stored: the platform must not believe that it landed.
    #[error("the delivery could not be stored")]
    NotStored,
}

impl Rejected {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Rejected::UnknownTarget | Rejected::NotPending => 404,
            Rejected::Unauthorized => 401,
            Rejected::TooLarge => 413,
            Rejected::TooMany => 429,
            Rejected::NotStored => 503,
        }
    }
}

/// What one target takes.
struct Door {
    password: Secret,
    pending: HashMap<Marker, Share>,
    /// With so many runs pending, those that nobody waits for any more are dropped.
    tidy_at: usize,
}

/// What a run has had of its share.
#[derive(Clone, Copy)]
struct Share {
    until: Timestamp,
    deliveries: u32,
    bytes: usize,
}

/// The agent's own intake, one for all webhook targets.
#[derive(Default)]
pub struct Intake {
    doors: Mutex<HashMap<TargetName, Door>>,
    deliveries: OnceLock<Arc<dyn Deliveries>>,
    listening: Mutex<Option<SocketAddr>>,
}

impl Intake {
    /// An intake without targets, ledger and listener. They come as they start.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets a target in, with a password of its own. A target that is known keeps what it has.
    pub fn admit(&self, target: &TargetName) {
        let door = || Door { password: new_password(), pending: HashMap::new(), tidy_at: TIDY_AT };
        self.doors().entry(target.clone()).or_insert_with(door);
    }

    /// Every target let in.
    pub fn targets(&self) -> Vec<TargetName> {
        let mut targets: Vec<_> = self.doors().keys().cloned().collect();
        targets.sort();
        targets
    }

    /// The password that platforms deliver with.
    pub fn password(&self, target: &TargetName) -> Option<Secret> {
        self.doors().get(target).map(|door| door.password.clone())
    }

    /// Puts back the password of before a restart: platforms still deliver with it.
    pub fn set_password(&self, target: &TargetName, password: Secret) {
        if let Some(door) = self.doors().get_mut(target) {
            door.password = password;
        }
    }

    /// Says where deliveries are kept. Only the first call counts.
    pub fn stored_in(&self, deliveries: Arc<dyn Deliveries>) {
        let _ = self.deliveries.set(deliveries);
    }

    /// Says where the intake listens, once it does.
    pub fn listens_at(&self, address: SocketAddr) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(reachable(address));
    }

    /// Where it listens, as this host reaches it; none before it does.
    pub fn listening(&self) -> Option<SocketAddr> {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listening().unwrap_or(USUAL)
    }

    /// A run waits for rows: its deliveries are taken from now on until `until`, or until it is
    /// forgotten.
    pub fn expect(&self, target: &TargetName, run: Marker, now: Timestamp, until: Timestamp) {
        if let Some(door) = self.doors().get_mut(target) {
            let pending = &mut door.pending;
            if pending.len() >= door.tidy_at {
                pending.retain(|_, share| share.until >= now);
                door.tidy_at = TIDY_AT.max(2 * pending.len());
            }
            pending.entry(run).or_insert(Share { until, deliveries: 0, bytes: 0 });
        }
    }

    /// A run is over and watched no more.
    pub fn forget(&self, target: &TargetName, run: Marker) {
        if let Some(door) = self.doors().get_mut(target) {
            door.pending.remove(&run);
        }
    }

    /// Takes a delivery. `login` is the user and password of basic authentication, `run` the last
    /// part of the path. When this returns `Ok` the delivery is stored, and only then.
    pub async fn receive(
        &self,
        target: &str,
        login: Option<(&str, &str)>,
        run: &str,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let target = TargetName::new(target).map_err(|_| Rejected::UnknownTarget)?;
        let bytes = body.len();
        let marker = self.let_in(&target, login, run, bytes)?;
        let stored = match self.deliveries.get() {
            Some(deliveries) => deliveries.keep(&target, Delivery { marker, at: now, body }).await,
            None => Err("the ledger is not open".to_owned()),
        };
        stored.map_err(|error| {
            tracing::warn!(%target, run = %marker, %error, "could not store a delivery to target `{target}`");
            // What is not stored was not had: the platform may try again.
            if let Some(share) = self.doors().get_mut(&target).and_then(|door| door.pending.get_mut(&marker)) {
                share.deliveries = share.deliveries.saturating_sub(1);
                share.bytes = share.bytes.saturating_sub(bytes);
            }
            Rejected::NotStored
        })
    }

    /// Whether a delivery would be taken, before its body is read.
    pub fn permits(&self, target: &str, login: Option<(&str, &str)>, run: &str) -> Result<(), Rejected> {
        let target = TargetName::new(target).map_err(|_| Rejected::UnknownTarget)?;
        let mut doors = self.doors();
        pending(&mut doors, &target, login, run).map(|_| ())
    }

    /// Checks, and takes from the run's share.
    fn let_in(
        &self,
        target: &TargetName,
        login: Option<(&str, &str)>,
        run: &str,
        bytes: usize,
    ) -> Result<Marker, Rejected> {
        let mut doors = self.doors();
        let (marker, share) = pending(&mut doors, target, login, run)?;
        if bytes > LARGEST || share.bytes.saturating_add(bytes) > ROOM {
            return Err(Rejected::TooLarge);
        }
        if share.deliveries >= MOST {
            return Err(Rejected::TooMany);
        }
        share.deliveries += 1;
        share.bytes += bytes;
        Ok(marker)
    }

    pub(super) fn deliveries(&self) -> Option<&Arc<dyn Deliveries>> {
        self.deliveries.get()
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<TargetName, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pending<'a>(
    doors: &'a mut HashMap<TargetName, Door>,
    target: &TargetName,
    login: Option<(&str, &str)>,
    run: &str,
) -> Result<(Marker, &'a mut Share), Rejected> {
    let door = doors.get_mut(target).ok_or(Rejected::UnknownTarget)?;
    let right = login.is_some_and(|(user, password)| same(user, USER) & same(password, door.password.reveal()));
    if !right {
        return Err(Rejected::Unauthorized);
    }
    let marker: Marker = run.parse().map_err(|_| Rejected::NotPending)?;
    let share = door.pending.get_mut(&marker).ok_or(Rejected::NotPending)?;
    Ok((marker, share))
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("targets", &self.targets()).field("listening", &self.listening()).finish()
    }
}

/// Compares in a time that does not tell where the first difference is.
fn same(given: &str, right: &str) -> bool {
    let differences = given.bytes().zip(right.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differences) == 0 && given.len() == right.len()
}

/// 160 bits from the operating system, in letters that need no encoding in a URL.
fn new_password() -> Secret {
    let mut bytes = [0; 20];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the operating system has random numbers");
    Secret::new(bytes.map(|byte| format!("{byte:02x}")).concat())
}

/// A listener on every address of this host is reached at its own loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

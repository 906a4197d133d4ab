//! The HTTP door: Treasure Data's REST API v3, closely enough that the vendor's own clients work
//! unchanged, over the same engine as the direct door. Queries run, Result Output is written.
//! Reading order: wire, request, routes, submit, work, jobs.

mod answer;
mod book;
mod connections;
mod customers;
mod faults;
mod folder;
mod house;
mod jobs;
mod request;
mod results;
mod routes;
mod schedules;
mod submit;
mod tables;
pub(super) mod wire;
mod work;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::house::{Account, House};
pub(super) use self::request::check_host;
pub use self::{folder::Folder, house::Now};
use super::{
    Engine, FaultKind, Place, World,
    bucket::{self, Asker, Bucket, BucketAddress, Gate, Shut},
    deliver::{Courier, Outlets},
    sql::Warehouse,
};
use crate::canary::{Labels, Secret, TargetName};

/// What a sandbox is started with.
#[derive(Clone)]
pub struct Settings {
    /// Where the API listens: loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the bucket listens; port 0 takes a free one.
    pub bucket_listen: SocketAddr,
    /// Hosts besides loopback that Result Output may go to.
    pub allow_output: Vec<String>,
    /// What it pretends to be.
    pub world: World,
    /// The same seed throws the same dice.
    pub seed: u64,
    /// Tells the time.
    pub now: Now,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("listen", &self.listen).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Why a sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sandbox has no walls that would hold against a network.
    #[error("the sandbox listens on loopback only, and {0} is not")]
    NotLoopback(SocketAddr),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// No temporary folder.
    #[error("cannot make a temporary folder")]
    Folder(#[source] io::Error),
    /// No HTTP client for deliveries.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// An account of the sandbox, for whoever writes a config.
#[derive(Clone, Debug)]
pub struct AccountKey {
    /// Its API key.
    pub key: Secret,
    /// The platform that runs its Hive jobs.
    pub hive: &'static str,
}

/// The two accounts, each assigned to one Hadoop cluster.
pub fn accounts() -> [AccountKey; 2] {
    let account = |number: u32, digit: &str, hive| AccountKey {
        key: Secret::new(format!("{number}/{}", digit.repeat(40))),
        hive,
    };
    [account(1, "a", "hadoop1"), account(2, "b", "hadoop2")]
}

/// Where a sandbox is, for whoever writes a config.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the bucket listens, and its keys.
    pub bucket: BucketAddress,
}

impl Addresses {
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api)
    }
}

/// A sandbox that holds its addresses and answers nobody yet: whoever connects waits. So what must
/// be there when it answers, such as a config, can be written first.
pub struct Bound {
    /// Where it will be.
    pub addresses: Addresses,
    house: Arc<House>,
    bucket: Bucket,
    listeners: [TcpListener; 2],
    folder: Folder,
}

/// A running sandbox. Dropped, it ends.
pub struct Running {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Where the bucket listens, and its keys.
    pub bucket: BucketAddress,
    house: Arc<House>,
    end: watch::Sender<bool>,
    doors: Vec<JoinHandle<()>>,
    _folder: Folder,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it: no new connections, open answers are finished, jobs stop, the folder goes.
    pub async fn stop(mut self) {
        self.end.send_replace(true);
        for door in self.doors.drain(..) {
            // A door that panicked is closed as well.
            let _ = door.await;
        }
        self.house.rest();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.send_replace(true);
        self.house.rest();
    }
}

/// Starts a sandbox: the API and the bucket, each on its own address.
pub async fn serve(settings: Settings) -> Result<Running, StartError> {
    Ok(bind(settings).await?.open())
}

/// Takes the addresses, and makes what stands behind them.
pub async fn bind(settings: Settings) -> Result<Bound, StartError> {
    let listener = listen(settings.listen).await?;
    let bucket_listener = listen(settings.bucket_listen).await?;
    let local = |listener: &TcpListener, wanted| {
        listener.local_addr().map_err(|cause| StartError::Listen { address: wanted, cause })
    };
    let address = local(&listener, settings.listen)?;
    let bucket_address = local(&bucket_listener, settings.bucket_listen)?;
    let folder = Folder::new("landfall-sandbox").map_err(StartError::Folder)?;
    let courier = Courier::new(Outlets::new(settings.allow_output)).map_err(StartError::Client)?;
    let engine = Arc::new(Mutex::new(Engine::new(settings.world, Vec::new(), settings.seed)));

    let mut rooms = Vec::new();
    for (at, account) in accounts().into_iter().enumerate() {
        let room = folder.room(&format!("account{}", at + 1)).map_err(StartError::Folder)?;
        rooms.push(Account {
            number: at as u64 + 1,
            key: account.key,
            hive: account.hive,
            warehouse: Arc::new(Warehouse::new(room)),
            connections: Mutex::default(),
            schedules: Mutex::default(),
        });
    }
    let place =
        BucketAddress { address: bucket_address, platform: bucket::platform_keys(), agent: bucket::agent_keys() };
    let gate = gate(engine.clone(), settings.now.clone());
    let room = folder.room("bucket").map_err(StartError::Folder)?;
    let bucket = Bucket::new(&room, &place.platform, &place.agent, gate).map_err(StartError::Folder)?;
    Ok(Bound {
        addresses: Addresses { api: address, bucket: place },
        house: Arc::new(House::new(address, rooms, settings.now, courier, engine)),
        bucket,
        listeners: [listener, bucket_listener],
        folder,
    })
}

impl Bound {
    /// Answers from now on.
    pub fn open(self) -> Running {
        let Self { addresses, house, bucket, listeners: [listener, bucket_listener], folder } = self;
        let (end, ended) = watch::channel(false);
        let answering = house.clone();
        let answer = move |request| routes::answer(answering.clone(), request);
        let doors = vec![
            tokio::spawn(wire::serve(listener, answer, ended.clone())),
            tokio::spawn(bucket.serve(bucket_listener, ended)),
        ];
        Running { address: addresses.api, bucket: addresses.bucket, house, end, doors, _folder: folder }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(StartError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })
}

/// The bucket's door, as the faults have it. The platform's own writes are decided job by job, so
/// it is turned away here only while the bucket is down altogether.
fn gate(engine: Arc<Mutex<Engine>>, now: Now) -> Gate {
    let target = Place::target(TargetName::new("bucket").expect("a valid name"), Labels::default());
    Arc::new(move |asker| {
        let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        let down = |engine: &Engine| {
            let is_down = |fault: &super::Fault| fault.kind == FaultKind::TargetDown && fault.rate >= 1.0;
            engine.faults(at).any(|(_, fault)| is_down(fault) && fault.threatens(&target, at))
        };
        if down(&engine) {
            return Some(Shut::Down);
        }
        match asker {
            Asker::Platform => None,
            Asker::Agent => engine.sight(&target, &[], at).is_err().then_some(Shut::Denied),
        }
    })
}

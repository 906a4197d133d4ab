//! Delivery: Result Output for real. Reads a Result Output URL, writes rows there, says whether it
//! worked. Shares no code with `target/`, which reads the same places: a shared bug would hide itself.

mod address;
mod bucket;
mod mysql;
mod outlet;
mod postgresql;
mod sftp;
pub mod text;
mod web;

use std::{sync::Arc, time::Duration};

pub use address::{AddressError, Destination, masked};
pub use outlet::Outlets;

use super::sql::{Rowset, Warehouse};
use crate::canary::{Mode, Timestamp};

/// Longest a delivery may take before the job gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why rows were not delivered. The texts are for the job's log and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The place does not answer, or not in time.
    #[error("cannot reach the target: {0}")]
    Unreachable(String),
    /// It answered, and would not take the rows.
    #[error("the target refused the rows: {0}")]
    Refused(String),
    /// Output to that host is not allowed.
    #[error("output to {0} is not allowed; start the sandbox with --allow-output {0}")]
    Forbidden(String),
}

/// What a delivery is told about its job.
#[derive(Clone, Debug)]
pub struct Parcel<'a> {
    /// The job's number: part of names of its own making.
    pub job: &'a str,
    /// The rows.
    pub rowset: &'a Rowset,
    /// How often each row is written; 1 unless a fault says otherwise.
    pub copies: u32,
    /// Added to what an earlier delivery of the same job wrote, whatever the mode.
    pub again: bool,
    /// When.
    pub now: Timestamp,
}

/// Writes results to where Result Output URLs point.
#[derive(Clone, Debug)]
pub struct Courier {
    client: reqwest::Client,
    outlets: Arc<Outlets>,
}

impl Courier {
    /// One that writes to loopback and to the hosts that `outlets` allows.
    pub fn new(outlets: Outlets) -> Result<Self, String> {
        let outlets = Arc::new(outlets);
        // Idempotent: a second installation is refused and the first stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .connect_timeout(Duration::from_secs(5))
            .dns_resolver(outlets.clone())
            .user_agent("landfall-sandbox")
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, outlets })
    }

    /// Whether output to a destination is allowed, as far as its name tells.
    pub fn permits(&self, destination: &Destination) -> Result<(), DeliveryError> {
        match destination.host() {
            Some(host) => self.outlets.name(&host),
            None => Ok(()),
        }
    }

    /// Writes the rows, once.
    pub async fn deliver(
        &self,
        destination: &Destination,
        parcel: Parcel<'_>,
        warehouse: &Arc<Warehouse>,
    ) -> Result<(), DeliveryError> {
        self.permits(destination)?;
        let work = async {
            match destination {
                Destination::Web(to) => web::put(&self.client, to, &parcel).await,
                Destination::Bucket(to) => bucket::put(&self.client, to, &parcel).await,
                Destination::PostgreSql(to) => postgresql::write(&self.outlets, to, &parcel).await,
                Destination::MySql(to) => mysql::write(&self.outlets, to, &parcel).await,
                Destination::Sftp(to) => sftp::put(&self.outlets, to, &parcel).await,
                Destination::Table(to) => {
                    let (to, warehouse, now) = (to.clone(), warehouse.clone(), parcel.now);
                    let rowset = copied(parcel.rowset, parcel.copies);
                    let replace = to.mode == Mode::Replace && !parcel.again;
                    let write = move || {
                        warehouse.write((&to.database, &to.table), &rowset, replace, now).map_err(|e| e.to_string())
                    };
                    match tokio::task::spawn_blocking(write).await {
                        Ok(done) => done.map_err(DeliveryError::Refused),
                        Err(_) => Err(DeliveryError::Unreachable("the writer broke".to_owned())),
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => Err(DeliveryError::Unreachable(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

/// Every row `copies` times.
fn copied(rowset: &Rowset, copies: u32) -> Rowset {
    let rows = rowset.rows.iter().flat_map(|row| std::iter::repeat_n(row.clone(), copies as usize)).collect();
    Rowset { columns: rowset.columns.clone(), rows }
}

/// The name of a file beside another one: a second copy of what cannot be added to.
fn neighbour(path: &str) -> String {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    match path[name_at..].find('.') {
        Some(dot) => format!("{}-2{}", &path[..name_at + dot], &path[name_at + dot..]),
        None => format!("{path}-2"),
    }
}

/// A failed request without its URL, which may hold a password.
fn unreachable(error: reqwest::Error) -> DeliveryError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    DeliveryError::Unreachable(text.chars().take(300).collect())
}

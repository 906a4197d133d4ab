//! Object stores as a target: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage,
//! and a folder that engines write to.
//!
//! The agent's key needs to list and read under the prefixes; to delete there, to sweep; and to write
//! and delete under `PREFIX__control/`, unless the target says `control = "read"`.
//!
//! S3 is tested against a server that checks signatures, folders for real. For Google's and Azure's
//! services only the form of requests and their signatures are tested, against stand-ins.

mod bucket;
mod local;
mod settings;
mod transport;
mod written;

use std::sync::Arc;

use bucket::Bucket;
use local::Local;
pub use settings::{Access, Azblob, Fs, Gcs, Place, S3, Settings};
pub use written::{Keys, open};

pub use super::files::MODES;

/// What leads into it. A store on S3 proves nothing of one at Google or on Azure, so these are not here.
pub const SCHEMES: &[&str] = &["s3", "s3_v2"];

/// Its table with all that has to be filled in.
pub const EXAMPLE: &str = r#"[target.NAME.object-store]
bucket            = "example"                      # also: service = "gcs", "azblob" or "fs", with keys of their own
region            = "us-east-1"
prefix            = "landfall"
access_key_id     = { env = "LANDFALL_ENV_KEY" }
secret_access_key = { env = "LANDFALL_ENV_SECRET" }
"#;
use super::{
    Target,
    files::{Files, Walk},
};
use crate::http::Wire;

/// A target in an object store. Touches no network.
pub fn target(settings: Settings, wire: &Wire) -> Result<Arc<dyn Target>, String> {
    let Settings { place, prefix, dialect, control } = settings;
    Ok(match place {
        Place::Fs(place) => Arc::new(Files::new(Walk(Local::new(place)), prefix, dialect, control)),
        place => Arc::new(Files::new(Bucket::new(place, wire)?, prefix, dialect, control)),
    })
}

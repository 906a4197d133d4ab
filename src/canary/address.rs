//! Addresses: where and how a platform delivers, as the target says it.

use super::{route::Mode, secret::Secret};

/// A Result Output address.
#[derive(Clone, Debug)]
pub struct Address {
    /// The Result Output URL, secrets inside: `postgresql://user:pw@host/db/table`, `web://…`, `s3://…`.
    pub url: Secret,
    /// The same with secrets masked, for evidence and pages.
    pub shown: String,
    /// What the target calls the place where this run's rows stand, without server, schema or bucket: a
    /// table, a path. For platforms that know a target by a name of their own.
    pub place: String,
    /// How rows are written. Already part of `url` where the scheme has a place for it.
    pub mode: Mode,
}

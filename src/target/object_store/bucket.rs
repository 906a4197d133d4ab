//! The bucket: opendal is spoken to here and nowhere else.

use std::fmt;

use futures_util::TryStreamExt;
use opendal::{
    Error, ErrorKind, HttpTransporter, OperationContext, Operator,
    options::{ListOptions, ReadOptions},
    services::S3,
};

use super::{settings::Settings, transport::Transport};
use crate::{
    canary::{Secret, Timestamp},
    http::Wire,
    target::{TargetError, cut},
};

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its full key.
    pub(super) key: String,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Changes with its content.
    pub(super) tag: Option<String>,
    /// When it was written, by the store's clock.
    pub(super) modified: Option<Timestamp>,
}

/// Some objects, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    /// There are more after these.
    pub(super) more: bool,
}

/// A bucket with the agent's keys.
pub(super) struct Bucket {
    operator: Operator,
    name: String,
    secrets: [Secret; 2],
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({:?})", self.name)
    }
}

impl Bucket {
    /// Opens it; touches no network, and takes nothing from the environment.
    pub(super) fn new(settings: &Settings, wire: &Wire) -> Result<Self, String> {
        let mut service = S3::default()
            .bucket(&settings.bucket)
            .region(&settings.region)
            .access_key_id(settings.access_key.reveal())
            .secret_access_key(settings.secret_key.reveal())
            .disable_config_load()
            .disable_ec2_metadata();
        if let Some(endpoint) = &settings.endpoint {
            service = service.endpoint(endpoint.as_str());
        }
        if !settings.path_style {
            service = service.enable_virtual_host_style();
        }
        let client = wire.client_as_is().map_err(|error| error.to_string())?;
        let transport = HttpTransporter::new(Transport(client));
        let operator = Operator::new(service)
            .map_err(|error| error.message().to_owned())?
            .with_context(OperationContext::new().with_http_transport(transport));
        let secrets = [settings.access_key.clone(), settings.secret_key.clone()];
        Ok(Self { operator, name: settings.bucket.clone(), secrets })
    }

    /// Up to `most` objects whose keys begin with `prefix` and sort after `after`.
    pub(super) async fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Page, TargetError> {
        let options = ListOptions {
            recursive: true,
            start_after: after.map(str::to_owned),
            limit: Some(most.min(1000)),
            ..ListOptions::default()
        };
        let mut lister = self.operator.lister_options(prefix, options).await.map_err(|error| self.told(&error))?;
        let mut page = Page::default();
        while page.objects.len() < most {
            let Some(entry) = lister.try_next().await.map_err(|error| self.told(&error))? else { return Ok(page) };
            let about = entry.metadata();
            // A folder that is an object of its own holds nothing.
            if about.is_dir() {
                continue;
            }
            page.objects.push(Object {
                key: entry.path().to_owned(),
                size: about.content_length(),
                tag: about.etag().map(str::to_owned),
                modified: about.last_modified().map(|at| Timestamp::from_millis(at.into_inner().as_millisecond())),
            });
        }
        page.more = true;
        Ok(page)
    }

    /// The first bytes of an object as it was listed; `None` if it is gone.
    pub(super) async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError> {
        if bytes == 0 {
            return Ok(Some(Vec::new()));
        }
        let range = (0..bytes as u64).into();
        let options = ReadOptions { range, if_match: object.tag.clone(), ..ReadOptions::default() };
        match self.operator.read_options(&object.key, options).await {
            Ok(found) => Ok(Some(found.to_vec())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Half of one state and half of another would be a wrong that nobody did.
            Err(error) if matches!(error.kind(), ErrorKind::ConditionNotMatch | ErrorKind::RangeNotSatisfied) => {
                Err(TargetError::Unreachable { detail: "an object changed while it was read".to_owned() })
            }
            Err(error) => Err(self.told(&error)),
        }
    }

    /// Writes a small object.
    pub(super) async fn write(&self, key: &str, text: &str) -> Result<(), TargetError> {
        let written = self.operator.write(key, text.as_bytes().to_vec()).await;
        written.map(|_| ()).map_err(|error| self.told(&error))
    }

    /// Removes objects. One that is gone already is not an error.
    pub(super) async fn remove(&self, keys: Vec<String>) -> Result<(), TargetError> {
        let removed = match keys.as_slice() {
            [key] => self.operator.delete(key).await,
            _ => self.operator.delete_iter(keys).await,
        };
        removed.map_err(|error| self.told(&error))
    }

    /// By what it means. Answers may repeat what was sent: keys are cut out of them.
    fn told(&self, error: &Error) -> TargetError {
        let mut detail = cut(error.message());
        for secret in &self.secrets {
            detail = detail.replace(secret.reveal(), "…");
        }
        match error.kind() {
            ErrorKind::PermissionDenied => TargetError::Denied { detail },
            ErrorKind::ConfigInvalid | ErrorKind::NotFound => {
                TargetError::Nonsense { detail: cut(&format!("is there a bucket `{}`? {detail}", self.name)) }
            }
            ErrorKind::RateLimited => TargetError::Unreachable { detail: format!("throttled: {detail}") },
            _ if error.is_temporary() => TargetError::Unreachable { detail },
            _ => TargetError::Nonsense { detail },
        }
    }
}

//! The bucket: opendal is spoken to here and nowhere else.

use std::fmt;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt;
use opendal::{
    Error, ErrorKind, HttpTransporter, OperationContext, Operator,
    options::{ListOptions, ReadOptions},
    services,
};

use super::{
    settings::{Access, Place},
    transport::Transport,
};
use crate::{
    canary::{Address, Mode, Secret, Timestamp},
    http::Wire,
    target::{
        TargetError, cut,
        files::{Below, Object, Page, Shelf},
    },
};

/// A bucket with the agent's keys.
pub(super) struct Bucket {
    operator: Operator,
    place: Place,
    secrets: Vec<Secret>,
    /// Whether a listing may begin in the middle.
    skips: bool,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({:?})", self.place.name())
    }
}

impl Bucket {
    /// Opens it; touches no network.
    pub(super) fn new(place: Place, wire: &Wire) -> Result<Self, String> {
        let client = wire.client_as_is().map_err(|error| error.to_string())?;
        Self::over(place, HttpTransporter::new(Transport(client)))
    }

    /// The same with requests going elsewhere.
    fn over(place: Place, transport: HttpTransporter) -> Result<Self, String> {
        let operator = operator(&place).map_err(|error| error.message().to_owned())?;
        let operator = operator.with_context(OperationContext::new().with_http_transport(transport));
        let (secrets, skips) = (place.secrets(), operator.info().capability().list_with_start_after);
        Ok(Self { operator, place, secrets, skips })
    }

    /// By what it means. Answers may repeat what was sent: keys are cut out of them.
    fn told(&self, error: &Error) -> TargetError {
        let mut detail = in_words(error.message());
        for secret in &self.secrets {
            detail = detail.replace(secret.reveal(), "…");
        }
        // Last: half of a secret at the end would not be recognised.
        let detail = cut(&detail);
        match error.kind() {
            ErrorKind::PermissionDenied => TargetError::Denied { detail },
            ErrorKind::ConfigInvalid | ErrorKind::NotFound => {
                TargetError::Nonsense { detail: cut(&format!("is there a bucket `{}`? {detail}", self.place.name())) }
            }
            ErrorKind::RateLimited => TargetError::Unreachable { detail: format!("throttled: {detail}") },
            _ if error.is_temporary() => TargetError::Unreachable { detail },
            _ => TargetError::Nonsense { detail },
        }
    }
}

/// What a service said. Opendal hands over its own structures as it prints them for programmers.
fn in_words(message: &str) -> String {
    let is_struct = message.split_once(" {").is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    });
    if !is_struct {
        return message.to_owned();
    }
    let field = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: \""))?;
        let mut value = String::new();
        let mut rest = rest.chars();
        while let Some(c) = rest.next().filter(|c| *c != '"') {
            match c {
                '\\' => value.extend(rest.next().filter(|c| matches!(c, '"' | '\\' | '\''))),
                c => value.push(c),
            }
        }
        Some(value).filter(|value| !value.is_empty())
    };
    match (field("code"), field("message")) {
        (Some(code), Some(said)) => format!("{code}: {said}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "it answered with an error, and said no more".to_owned(),
    }
}

/// What opendal makes of a place. Nothing is taken from the environment.
fn operator(place: &Place) -> Result<Operator, Error> {
    match place {
        Place::S3(s3) => {
            let mut service = services::S3::default()
                .bucket(&s3.bucket)
                .region(&s3.region)
                .access_key_id(s3.access_key.reveal())
                .secret_access_key(s3.secret_key.reveal())
                .disable_config_load()
                .disable_ec2_metadata();
            if let Some(endpoint) = &s3.endpoint {
                service = service.endpoint(endpoint.as_str());
            }
            if !s3.path_style {
                service = service.enable_virtual_host_style();
            }
            Operator::new(service)
        }
        Place::Gcs(gcs) => {
            let mut service = services::Gcs::default()
                .bucket(&gcs.bucket)
                .credential(&STANDARD.encode(gcs.credential.reveal()))
                .disable_config_load()
                .disable_vm_metadata();
            if let Some(endpoint) = &gcs.endpoint {
                service = service.endpoint(endpoint.as_str().trim_end_matches('/'));
            }
            Operator::new(service)
        }
        Place::Azblob(azure) => {
            let own = || format!("https://{}.blob.core.windows.net", azure.account);
            let endpoint =
                azure.endpoint.as_ref().map_or_else(own, |url| url.as_str().trim_end_matches('/').to_owned());
            let service = services::Azblob::default()
                .container(&azure.container)
                .endpoint(&endpoint)
                .account_name(&azure.account);
            Operator::new(match &azure.access {
                Access::Key(key) => service.account_key(key.reveal()),
                Access::Sas(token) => service.sas_token(token.reveal()),
            })
        }
        Place::Fs(_) => Err(Error::new(ErrorKind::Unsupported, "a folder is no bucket")),
    }
}

#[async_trait]
impl Shelf for Bucket {
    fn address(&self, key: String, options: Vec<(&'static str, String)>, mode: Mode) -> Address {
        self.place.address(key, options, mode)
    }

    fn typed(&self, begins: &str) -> String {
        self.place.typed(begins)
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.place.schemes()
    }

    fn key_of(&self, address: &str) -> Option<String> {
        self.place.key_of(address)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
        _below: Below<'_>,
    ) -> Result<Page, TargetError> {
        let options = ListOptions {
            recursive: true,
            start_after: after.filter(|_| self.skips).map(str::to_owned),
            limit: Some(most.min(1000)).filter(|_| self.operator.info().capability().list_with_limit),
            ..ListOptions::default()
        };
        let mut lister = self.operator.lister_options(prefix, options).await.map_err(|error| self.told(&error))?;
        let mut page = Page::default();
        while page.objects.len() < most {
            let Some(entry) = lister.try_next().await.map_err(|error| self.told(&error))? else { return Ok(page) };
            let about = entry.metadata();
            // A folder that is an object of its own holds nothing.
            if about.is_dir() || after.is_some_and(|after| entry.path() <= after) {
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

    async fn read(&self, object: &Object, bytes: usize) -> Result<Option<Vec<u8>>, TargetError> {
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

    async fn write(&self, key: &str, text: &str) -> Result<(), TargetError> {
        let written = self.operator.write(key, text.as_bytes().to_vec()).await;
        written.map(|_| ()).map_err(|error| self.told(&error))
    }

    async fn remove(&self, keys: Vec<String>) -> Result<(), TargetError> {
        let removed = match keys.as_slice() {
            [key] => self.operator.delete(key).await,
            _ => self.operator.delete_iter(keys).await,
        };
        removed.map_err(|error| self.told(&error))
    }
}

#[cfg(test)]
mod tests;

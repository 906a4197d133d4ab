//! Settings of an object store, and the address that follows from them.

use std::path::PathBuf;

use reqwest::Url;

use crate::{
    canary::{Address, Mode, Secret},
    target::{
        ControlBy,
        dialect::Dialect,
        encoded,
        files::Prefix,
        shell::{pattern, word},
    },
};

/// Everything that an object store is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which store.
    pub place: Place,
    /// Prefix of every key.
    pub prefix: Prefix,
    /// How rows stand in objects.
    pub dialect: Dialect,
    /// How the agent proves that it can see.
    pub control: ControlBy,
}

/// A store.
#[derive(Clone, Debug)]
pub enum Place {
    /// S3 and what speaks like it.
    S3(S3),
    /// Google Cloud Storage.
    Gcs(Gcs),
    /// Azure Blob Storage.
    Azblob(Azblob),
    /// A folder.
    Fs(Fs),
}

/// A bucket on S3.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Scheme, host and port as the agent reaches it; absent: the region's own.
    pub endpoint: Option<Url>,
    /// The same as the platform reaches it.
    pub result_endpoint: Option<Url>,
    /// Region, also for signing.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// The agent's key.
    pub access_key: Secret,
    /// The agent's secret.
    pub secret_key: Secret,
    /// The platform's key.
    pub result_access_key: Secret,
    /// The platform's secret.
    pub result_secret_key: Secret,
    /// The bucket is part of the path, not of the host's name.
    pub path_style: bool,
}

/// A bucket on Google Cloud Storage.
#[derive(Clone, Debug)]
pub struct Gcs {
    /// Scheme, host and port; absent: Google's own.
    pub endpoint: Option<Url>,
    /// Bucket.
    pub bucket: String,
    /// A service account's key: the JSON file that Google gives out.
    pub credential: Secret,
}

/// A container on Azure Blob Storage.
#[derive(Clone, Debug)]
pub struct Azblob {
    /// Scheme, host and port; absent: the account's own.
    pub endpoint: Option<Url>,
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// How the agent proves who it is.
    pub access: Access,
}

/// What opens an Azure container.
#[derive(Clone, Debug)]
pub enum Access {
    /// The account's key.
    Key(Secret),
    /// A shared access signature.
    Sas(Secret),
}

/// A folder, on this machine or mounted.
#[derive(Clone, Debug)]
pub struct Fs {
    /// As the agent reaches it.
    pub root: PathBuf,
    /// As the platform reaches it; absent: the same.
    pub result_root: Option<String>,
}

impl Place {
    /// The Result Output address of a key. Only S3's holds a login, since only there a platform takes
    /// one in an address: `s3://KEY:SECRET@/bucket/path?…`, `gs://bucket/path?…`,
    /// `azblob://account/container/path?…`, `file:///path?…`.
    pub(super) fn address(&self, key: String, mut options: Vec<(&'static str, String)>, mode: Mode) -> Address {
        if let Place::S3(s3) = self {
            let at = options.len().saturating_sub(1);
            let endpoint = s3.result_endpoint.as_ref().or(s3.endpoint.as_ref());
            options.splice(
                at..at,
                [("region", s3.region.clone())]
                    .into_iter()
                    .chain(endpoint.map(|url| ("endpoint", url.as_str().trim_end_matches('/').to_owned()))),
            );
        }
        let path = |text: &str| text.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let rest = format!("{}?{}", path(&key), options.join("&"));
        let (url, shown) = match self {
            Place::S3(s3) => {
                let (id, secret) = (encoded(s3.result_access_key.reveal()), encoded(s3.result_secret_key.reveal()));
                let url = |secret: &str| format!("s3://{id}:{secret}@/{}/{rest}", encoded(&s3.bucket));
                (url(&secret), url("…"))
            }
            Place::Gcs(gcs) => {
                let url = format!("gs://{}/{rest}", encoded(&gcs.bucket));
                (url.clone(), url)
            }
            Place::Azblob(azure) => {
                let url = format!("azblob://{}/{}/{rest}", encoded(&azure.account), encoded(&azure.container));
                (url.clone(), url)
            }
            Place::Fs(fs) => {
                let root = fs.result_root.clone().unwrap_or_else(|| fs.root.to_string_lossy().into_owned());
                let root = path(root.trim_matches('/'));
                let url = format!("file:///{root}{}{rest}", if root.is_empty() { "" } else { "/" });
                (url.clone(), url)
            }
        };
        Address { url: Secret::new(url), shown, place: key, mode }
    }

    /// What a person types to list and read every object whose key begins so, with each store's own command.
    pub(super) fn typed(&self, begins: &str) -> String {
        let (folder, name) = begins.rsplit_once('/').map_or(("", begins), |(folder, name)| (folder, name));
        match self {
            Place::S3(s3) => {
                let endpoint = s3.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/'));
                let endpoint = endpoint.map(|url| format!(" --endpoint-url {}", word(url))).unwrap_or_default();
                let aws = format!("aws --region {}{endpoint} s3", word(&s3.region));
                let at = |key: &str| word(&format!("s3://{}/{key}", s3.bucket));
                let only = match name {
                    "" => String::new(),
                    name => format!(" --exclude '*' --include {}", word(&format!("{}*", pattern(name)))),
                };
                let folder = at(&format!("{folder}/"));
                format!(
                    "{aws} ls --recursive {}
{aws} cp --recursive {folder} landfall-read{only}",
                    at(begins)
                )
            }
            Place::Gcs(gcs) => {
                let all = word(&format!("gs://{}/{}*", gcs.bucket, pattern(begins)));
                format!(
                    "gcloud storage ls --long {all}
gcloud storage cp --recursive {all} ."
                )
            }
            Place::Azblob(azure) => {
                let (account, container) = (word(&azure.account), word(&azure.container));
                let all = word(&format!("{}*", pattern(begins)));
                format!(
                    "az storage blob download-batch --account-name {account} --source {container} --pattern {all} \
                         --destination ."
                )
            }
            Place::Fs(fs) => {
                let path = |key: &str| fs.root.join(key).to_string_lossy().into_owned();
                let (folder, all) = (word(&path(folder)), word(&format!("{}*", pattern(&path(begins)))));
                format!("find {folder} -type f -path {all} -print -exec cat {{}} \\;")
            }
        }
    }

    /// Schemes of addresses that lead to such places.
    pub(super) fn schemes(&self) -> &'static [&'static str] {
        match self {
            Place::S3(_) => super::SCHEMES,
            Place::Gcs(_) => &["gs", "gcs"],
            Place::Azblob(_) => &["azblob", "azure_blob_storage"],
            Place::Fs(_) => &["file"],
        }
    }

    /// The key of an address, as it is shown, that leads into this bucket: `s3://…@/bucket/path?…`.
    pub(super) fn key_of(&self, address: &str) -> Option<String> {
        let Place::S3(s3) = self else { return None };
        let (_, rest) = address.strip_prefix("s3://")?.split_once("@/")?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, key) = place.split_once('/')?;
        let elsewhere = |option: &str| option.strip_prefix("region=").is_some_and(|region| region != s3.region);
        let decoded = |text: &str| Some(percent_encoding::percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let is_ours = decoded(bucket)? == s3.bucket && !options.split('&').any(elsewhere);
        decoded(key).filter(|key| is_ours && !key.is_empty())
    }

    /// What must never be told.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Place::S3(s3) => vec![s3.access_key.clone(), s3.secret_key.clone()],
            Place::Gcs(gcs) => vec![gcs.credential.clone()],
            Place::Azblob(Azblob { access: Access::Key(secret) | Access::Sas(secret), .. }) => vec![secret.clone()],
            Place::Fs(_) => Vec::new(),
        }
    }

    /// The name of the bucket.
    pub(super) fn name(&self) -> String {
        match self {
            Place::S3(s3) => s3.bucket.clone(),
            Place::Gcs(gcs) => gcs.bucket.clone(),
            Place::Azblob(azure) => azure.container.clone(),
            Place::Fs(fs) => fs.root.display().to_string(),
        }
    }
}

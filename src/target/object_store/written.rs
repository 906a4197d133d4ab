//! `[target.NAME.object-store]` as it is written: keys that every service has, and each one's own.

use std::{collections::BTreeSet, fmt, ops::Range, path::PathBuf, sync::Arc};

use reqwest::Url;
use schemars::{JsonSchema, Schema, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::json;

use super::settings::{Access, Azblob, Fs, Gcs, Place, S3, Settings};
use crate::{
    canary::Secret,
    config::{Opening, Problems, SecretSource, Spanned, keys_in_order},
    target::{
        ControlBy, Target,
        decode::Format,
        dialect::{Compression, Newline, Quotes},
        files::{FORMAT, HEADER, Prefix, Reading, Written},
    },
};

/// An object store: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage, or a folder that engines
/// write to. Which keys belong to which `service` stands with each.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, transform = by_service)]
pub struct Keys {
    /// Whose store it is.
    #[schemars(extend("default" = Service::default().as_str()))]
    service: Option<Service>,
    /// What the names of all files begin with.
    prefix: Spanned<String>,
    /// How the agent proves that it can see.
    #[schemars(extend("default" = ControlBy::default()))]
    control: Option<ControlBy>,
    /// Address of a service that is not the vendor's own. `s3`, `gcs`, `azblob`.
    endpoint: Option<Spanned<String>>,
    /// The same as the platform reaches it. Absent: as the agent does. `s3`.
    result_endpoint: Option<Spanned<String>>,
    /// `s3`.
    #[schemars(extend("default" = REGION, "pattern" = "^[A-Za-z0-9-]+$"))]
    region: Option<Spanned<String>>,
    /// The bucket's name. `s3`, `gcs`.
    #[schemars(extend("pattern" = "^[A-Za-z0-9._-]{3,63}$"))]
    bucket: Option<Spanned<String>>,
    /// Id of the agent's key: lists, reads, deletes. `s3`.
    access_key_id: Option<Spanned<KeyId>>,
    /// The secret of that key. `s3`.
    secret_access_key: Option<Spanned<SecretSource>>,
    /// Id of the platform's key: writes. Absent: the agent's own. `s3`.
    result_access_key_id: Option<Spanned<KeyId>>,
    /// The secret of that key. `s3`.
    result_secret_access_key: Option<Spanned<SecretSource>>,
    /// Whether the bucket stands in the path, not in the host's name. `s3`.
    #[schemars(extend("default" = PATH_STYLE))]
    path_style: Option<Spanned<bool>>,
    /// The JSON key of a service account. `gcs`.
    credential: Option<Spanned<SecretSource>>,
    /// The storage account's name. `azblob`.
    #[schemars(extend("pattern" = "^[a-z0-9]{3,24}$"))]
    account: Option<Spanned<String>>,
    /// The container's name. `azblob`.
    #[schemars(extend("pattern" = "^[a-z0-9-]{3,63}$"))]
    container: Option<Spanned<String>>,
    /// A key of the account. `azblob`, instead of `sas_token`.
    account_key: Option<Spanned<SecretSource>>,
    /// A token that gives access to the container. `azblob`, instead of `account_key`.
    sas_token: Option<Spanned<SecretSource>>,
    /// The folder as the agent sees it. `fs`.
    root: Option<Spanned<PathBuf>>,
    /// The folder as the engine sees it, an absolute path. Absent: the same. `fs`.
    #[schemars(extend("pattern" = "^/"))]
    result_root: Option<Spanned<String>>,
    /// What files hold.
    #[schemars(extend("default" = FORMAT))]
    format: Option<Format>,
    /// How files are packed.
    #[schemars(extend("default" = Compression::default()))]
    compression: Option<Compression>,
    /// Whether the platform writes a header; reading finds out by itself.
    #[schemars(extend("default" = HEADER))]
    header: Option<bool>,
    /// What separates values, one ASCII character. Absent: a comma, in `tsv` a tab.
    #[schemars(length(min = 1, max = 1))]
    delimiter: Option<Spanned<String>>,
    /// Which values stand in quotes.
    #[schemars(extend("default" = Quotes::default()))]
    quote_policy: Option<Spanned<Quotes>>,
    /// What stands before a quote inside quotes, one ASCII character. Absent: the quote is doubled.
    #[schemars(length(min = 1, max = 1))]
    escape: Option<Spanned<String>>,
    /// What stands for NULL. Absent: nothing, so that NULL and the empty string are the same.
    #[schemars(length(max = 100))]
    null_text: Option<Spanned<String>>,
    /// What ends a line. Absent: the platform's own choice.
    newline: Option<Newline>,
}

/// Where `service` is one, the keys of the others are refused, and its own required.
fn by_service(schema: &mut Schema) {
    let every = Service::ALL.into_iter().flat_map(Service::keys);
    let all: BTreeSet<&str> = every.copied().collect();
    let rules = |service: Service| {
        let strangers = all.iter().filter(|key| !service.keys().contains(key));
        let refused: serde_json::Map<_, _> = strangers.map(|key| ((*key).to_owned(), false.into())).collect();
        let mut rules = json_schema!({ "required": service.needed(), "properties": refused });
        match service {
            Service::S3 => {
                let pair = ["result_access_key_id", "result_secret_access_key"];
                rules.insert("dependencies".to_owned(), json!({ pair[0]: [pair[1]], pair[1]: [pair[0]] }));
            }
            Service::Azblob => {
                let either = json!([{ "required": ["account_key"] }, { "required": ["sas_token"] }]);
                rules.insert("oneOf".to_owned(), either);
            }
            Service::Gcs | Service::Fs => {}
        }
        rules
    };
    let mut last = rules(Service::default());
    for service in Service::ALL.into_iter().filter(|service| *service != Service::default()) {
        let is = json!({ "properties": { "service": { "const": service.as_str() } }, "required": ["service"] });
        last = json_schema!({ "if": is, "then": rules(service), "else": last });
    }
    schema.ensure_object().extend(last.ensure_object().clone());
}

/// Unless the config says otherwise.
const REGION: &str = "us-east-1";
/// Stands for a key of Azure under `--no-secrets`: they are base64.
const NO_KEY: &str = "bGVmdC1vdXQ=";
/// What every service that speaks like S3 understands.
const PATH_STYLE: bool = true;

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Service {
    /// S3, and what speaks like it.
    #[default]
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
    /// A folder that engines write to.
    Fs,
}

impl Service {
    const ALL: [Service; 4] = [Service::S3, Service::Gcs, Service::Azblob, Service::Fs];

    fn as_str(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::Gcs => "gcs",
            Service::Azblob => "azblob",
            Service::Fs => "fs",
        }
    }

    /// Its own keys.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Service::S3 => &[
                "bucket",
                "region",
                "endpoint",
                "result_endpoint",
                "access_key_id",
                "secret_access_key",
                "result_access_key_id",
                "result_secret_access_key",
                "path_style",
            ],
            Service::Gcs => &["bucket", "credential", "endpoint"],
            Service::Azblob => &["account", "container", "account_key", "sas_token", "endpoint"],
            Service::Fs => &["root", "result_root"],
        }
    }

    /// Those of them without which it cannot be reached.
    fn needed(self) -> &'static [&'static str] {
        match self {
            Service::S3 => &["bucket", "access_key_id", "secret_access_key"],
            Service::Gcs => &["bucket", "credential"],
            Service::Azblob => &["account", "container"],
            Service::Fs => &["root"],
        }
    }
}

/// The public half of a key: as it is, or from where the secret half is.
#[derive(Clone, JsonSchema)]
#[schemars(untagged)]
enum KeyId {
    Plain(String),
    Elsewhere(SecretSource),
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlainOrNot)
    }
}

struct PlainOrNot;

impl<'de> Visitor<'de> for PlainOrNot {
    type Value = KeyId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key's id, or { env = \"NAME\" } or { file = \"path\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyId, E> {
        Ok(KeyId::Plain(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeyId, A::Error> {
        SecretSource::deserialize(MapAccessDeserializer::new(map)).map(KeyId::Elsewhere)
    }
}

/// Opens `[target.NAME.object-store]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Target>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let service = keys.service.unwrap_or_default();
    let mut reading = Reader { inner: Reading { opening, problems: Problems::new() }, service };
    reading.strangers(&keys);
    let place = match service {
        Service::S3 => reading.s3(&keys).map(Place::S3),
        Service::Gcs => reading.gcs(&keys).map(Place::Gcs),
        Service::Azblob => reading.azblob(&keys).map(Place::Azblob),
        Service::Fs => reading.fs(&keys).map(Place::Fs),
    };
    let prefix = match Prefix::new(keys.prefix.get_ref()) {
        Ok(prefix) => Some(prefix),
        Err(error) => reading.wrong(keys.prefix.span(), error.to_string(), "write \"landfall\""),
    };
    let dialect = reading.inner.dialect(Written {
        format: keys.format,
        compression: keys.compression,
        header: keys.header,
        delimiter: keys.delimiter.as_ref(),
        quote_policy: keys.quote_policy.as_ref(),
        escape: keys.escape.as_ref(),
        null_text: keys.null_text.as_ref(),
        newline: keys.newline,
    });
    let problems = reading.inner.problems;
    match (place, prefix, dialect) {
        (Some(place), Some(prefix), Some(dialect)) if problems.is_empty() => {
            let settings = Settings { place, prefix, dialect, control: keys.control.unwrap_or_default() };
            super::target(settings, opening.wire)
                .map_err(|error| vec![opening.section.problem(opening.section.table.span(), error, None)])
        }
        _ => Err(problems),
    }
}

/// Reads what is written, and notes what is wrong with it.
struct Reader<'a, 'o> {
    inner: Reading<'a, 'o>,
    service: Service,
}

impl Reader<'_, '_> {
    fn wrong<T>(&mut self, at: Range<usize>, what: impl Into<String>, hint: &str) -> Option<T> {
        self.inner.wrong(at, what, hint)
    }

    /// Keys that belong to other services.
    fn strangers(&mut self, keys: &Keys) {
        let given = [
            ("endpoint", keys.endpoint.as_ref().map(Spanned::span)),
            ("result_endpoint", keys.result_endpoint.as_ref().map(Spanned::span)),
            ("region", keys.region.as_ref().map(Spanned::span)),
            ("bucket", keys.bucket.as_ref().map(Spanned::span)),
            ("access_key_id", keys.access_key_id.as_ref().map(Spanned::span)),
            ("secret_access_key", keys.secret_access_key.as_ref().map(Spanned::span)),
            ("result_access_key_id", keys.result_access_key_id.as_ref().map(Spanned::span)),
            ("result_secret_access_key", keys.result_secret_access_key.as_ref().map(Spanned::span)),
            ("path_style", keys.path_style.as_ref().map(Spanned::span)),
            ("credential", keys.credential.as_ref().map(Spanned::span)),
            ("account", keys.account.as_ref().map(Spanned::span)),
            ("container", keys.container.as_ref().map(Spanned::span)),
            ("account_key", keys.account_key.as_ref().map(Spanned::span)),
            ("sas_token", keys.sas_token.as_ref().map(Spanned::span)),
            ("root", keys.root.as_ref().map(Spanned::span)),
            ("result_root", keys.result_root.as_ref().map(Spanned::span)),
        ];
        for (key, at) in given {
            let Some(at) = at.filter(|_| !self.service.keys().contains(&key)) else { continue };
            let hint = format!("its keys are {}", self.service.keys().join(", "));
            let what = format!("`{key}` is no key of service {}", self.service.as_str());
            let _: Option<()> = self.wrong(at, what, &hint);
        }
    }

    fn needed<'k, T>(&mut self, key: &str, written: Option<&'k Spanned<T>>, example: &str) -> Option<&'k Spanned<T>> {
        if written.is_none() {
            let at = self.inner.opening.section.table.span();
            let what = format!("`{key}` is missing");
            let _: Option<()> = self.wrong(at, what, &format!("write {key} = {example}"));
        }
        written
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        match self.inner.opening.secret(source) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                self.inner.problems.push(problem);
                None
            }
        }
    }

    fn s3(&mut self, keys: &Keys) -> Option<S3> {
        let elsewhere = "{ env = \"NAME\" }";
        let endpoint = keys.endpoint.as_ref().and_then(|url| self.endpoint("endpoint", url));
        let result_endpoint = keys.result_endpoint.as_ref().and_then(|url| self.endpoint("result_endpoint", url));
        let region = keys.region.as_ref().map_or(Some(REGION.to_owned()), |region| self.region(region));
        let bucket = self.needed("bucket", keys.bucket.as_ref(), "\"landings\"").and_then(|name| self.bucket(name));
        let access_key = self.needed("access_key_id", keys.access_key_id.as_ref(), elsewhere);
        let access_key = access_key.and_then(|written| self.key_id(written));
        let secret_key = self.needed("secret_access_key", keys.secret_access_key.as_ref(), elsewhere);
        let secret_key = secret_key.and_then(|source| self.secret(source));
        let alone = match (&keys.result_access_key_id, &keys.result_secret_access_key) {
            (Some(one), None) => Some(one.span()),
            (None, Some(one)) => Some(one.span()),
            _ => None,
        };
        if let Some(at) = alone {
            let what = "only one of `result_access_key_id` and `result_secret_access_key` is given";
            let _: Option<()> = self.wrong(at, what, "give both, or neither: then the agent's own are used");
        }
        let result_access_key =
            keys.result_access_key_id.as_ref().map_or(access_key.clone(), |written| self.key_id(written));
        let result_secret_key =
            keys.result_secret_access_key.as_ref().map_or(secret_key.clone(), |written| self.secret(written));
        Some(S3 {
            endpoint,
            result_endpoint,
            region: region?,
            bucket: bucket?,
            access_key: access_key?,
            secret_key: secret_key?,
            result_access_key: result_access_key?,
            result_secret_key: result_secret_key?,
            path_style: keys.path_style.as_ref().map_or(PATH_STYLE, |written| *written.get_ref()),
        })
    }

    fn gcs(&mut self, keys: &Keys) -> Option<Gcs> {
        let endpoint = keys.endpoint.as_ref().and_then(|url| self.endpoint("endpoint", url));
        let bucket = self.needed("bucket", keys.bucket.as_ref(), "\"landings\"").and_then(|name| self.bucket(name));
        let source = self.needed("credential", keys.credential.as_ref(), "{ file = \"service-account.json\" }");
        let credential = source.and_then(|source| self.secret(source).map(|secret| (source.span(), secret)));
        let (at, credential) = credential?;
        // What is no key would be passed over in silence later, and every request refused.
        let parsed: Option<serde_json::Value> = serde_json::from_str(credential.reveal()).ok();
        let has =
            |key: &str| parsed.as_ref().is_some_and(|json| json[key].as_str().is_some_and(|text| !text.is_empty()));
        if !self.inner.opening.without_secrets && ["client_email", "private_key"].iter().any(|key| !has(key)) {
            let what = "`credential` is no key of a service account";
            return self.wrong(
                at,
                what,
                "name the JSON file that Google gives out: it has client_email and private_key",
            );
        }
        Some(Gcs { endpoint, bucket: bucket?, credential })
    }

    fn azblob(&mut self, keys: &Keys) -> Option<Azblob> {
        let endpoint = keys.endpoint.as_ref().and_then(|url| self.endpoint("endpoint", url));
        let account = self.needed("account", keys.account.as_ref(), "\"landfall\"").and_then(|written| {
            let account = written.get_ref();
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            match (3..=24).contains(&account.len()) && account.chars().all(fits) {
                true => Some(account.clone()),
                false => self.wrong(
                    written.span(),
                    "`account` is not a storage account's name",
                    "3 to 24 lower-case letters and digits",
                ),
            }
        });
        let container = self.needed("container", keys.container.as_ref(), "\"landings\"").and_then(|written| {
            let container = written.get_ref();
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            match (3..=63).contains(&container.len()) && container.chars().all(fits) {
                true => Some(container.clone()),
                false => self.wrong(
                    written.span(),
                    "`container` is not a container's name",
                    "3 to 63 lower-case letters, digits or `-`",
                ),
            }
        });
        let access = match (&keys.account_key, &keys.sas_token) {
            (Some(_), Some(sas)) => self.wrong(sas.span(), "both `account_key` and `sas_token` are given", "give one"),
            (None, None) => {
                let at = self.inner.opening.section.table.span();
                self.wrong(at, "`account_key` or `sas_token` is missing", "write sas_token = { env = \"NAME\" }")
            }
            // The placeholder of `--no-secrets` is no key, and a key is decoded when the client is made.
            (Some(source), None) if self.inner.opening.without_secrets => {
                self.secret(source).map(|_| Access::Key(Secret::new(NO_KEY)))
            }
            (Some(source), None) => self.secret(source).map(Access::Key).and_then(|access| {
                use base64::Engine;
                let Access::Key(key) = &access else { return Some(access) };
                let decodes = base64::engine::general_purpose::STANDARD.decode(key.reveal()).is_ok();
                match decodes {
                    true => Some(access),
                    false => self.wrong(source.span(), "`account_key` is not base64", "copy it as Azure shows it"),
                }
            }),
            (None, Some(source)) => self.secret(source).map(Access::Sas),
        };
        Some(Azblob { endpoint, account: account?, container: container?, access: access? })
    }

    fn fs(&mut self, keys: &Keys) -> Option<Fs> {
        let root = self.needed("root", keys.root.as_ref(), "\"/mnt/results\"")?;
        let result_root = match &keys.result_root {
            Some(written) if !written.get_ref().starts_with('/') => {
                return self.wrong(written.span(), "`result_root` is not an absolute path", "write \"/mnt/results\"");
            }
            written => written.as_ref().map(|written| written.get_ref().clone()),
        };
        let path = self.inner.opening.section.path(root.get_ref());
        // Where the platform writes is told as a whole path.
        let path = std::path::absolute(&path).unwrap_or(path);
        Some(Fs { root: path, result_root })
    }

    fn key_id(&mut self, written: &Spanned<KeyId>) -> Option<Secret> {
        match written.get_ref() {
            KeyId::Plain(text) if text.trim().is_empty() => {
                self.wrong(written.span(), "a key's id is empty", "write the id, or { env = \"NAME\" }")
            }
            KeyId::Plain(text) => Some(Secret::new(text.as_str())),
            KeyId::Elsewhere(source) => self.secret(&Spanned::new(written.span(), source.clone())),
        }
    }

    fn endpoint(&mut self, key: &str, written: &Spanned<String>) -> Option<Url> {
        let hint = "write \"https://s3.example.com\"";
        match Url::parse(written.get_ref()) {
            Err(error) => self.wrong(written.span(), format!("`{key}` is not a URL: {error}"), hint),
            Ok(url) if !["http", "https"].contains(&url.scheme()) || !url.has_host() => {
                self.wrong(written.span(), format!("`{key}` is not an http:// or https:// URL"), hint)
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                self.wrong(written.span(), format!("`{key}` has a user or password in it"), hint)
            }
            Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
                self.wrong(written.span(), format!("`{key}` has more than a host and a port"), hint)
            }
            Ok(url) => Some(url),
        }
    }

    fn region(&mut self, written: &Spanned<String>) -> Option<String> {
        let region = written.get_ref();
        let fits = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        match fits {
            true => Some(region.clone()),
            false => self.wrong(written.span(), "`region` is not a region's name", "write \"us-east-1\""),
        }
    }

    fn bucket(&mut self, written: &Spanned<String>) -> Option<String> {
        let bucket = written.get_ref();
        let fits = (3..=63).contains(&bucket.len())
            && bucket.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(&c));
        let hint = "3 to 63 letters, digits, `-`, `.` or `_`";
        match fits {
            true => Some(bucket.clone()),
            false => self.wrong(written.span(), "`bucket` is not a bucket's name", hint),
        }
    }
}

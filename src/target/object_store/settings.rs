//! Settings: `[target.NAME.object-store]`, and the address that follows from it.

use std::{fmt, ops::Range, sync::Arc};

use reqwest::Url;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{
    ObjectStore,
    layout::{Layout, Prefix},
};
use crate::{
    canary::{Address, Run, Secret},
    config::{Opening, Problems, SecretSource},
    target::{Target, decode::Format, encoded},
};

/// Everything that an object store is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Scheme, host and port as the agent reaches it; absent: the region's own.
    pub endpoint: Option<Url>,
    /// The same as the platform reaches it.
    pub result_endpoint: Option<Url>,
    /// Region, also for signing.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// Prefix of every key.
    pub prefix: Prefix,
    /// The agent's key.
    pub access_key: Secret,
    /// The agent's secret.
    pub secret_key: Secret,
    /// The platform's key.
    pub result_access_key: Secret,
    /// The platform's secret.
    pub result_secret_key: Secret,
    /// How rows stand in objects.
    pub layout: Layout,
    /// The bucket is part of the path, not of the host's name.
    pub path_style: bool,
}

impl Settings {
    /// `s3://KEY:SECRET@/bucket/path?format=…&compression=…&header=…[&delimiter=…][&null=…]
    /// &region=…[&endpoint=…]&mode=…`. Newlines are the platform's own choice.
    pub(super) fn address(&self, run: &Run) -> Address {
        let layout = &self.layout;
        let mut options = vec![
            ("format", layout.format.as_str().to_owned()),
            ("compression", if layout.gzip { "gz" } else { "none" }.to_owned()),
            ("header", layout.header.to_string()),
        ];
        if layout.delimiter != layout.format.delimiter() {
            options.push(("delimiter", layout.delimiter.to_string()));
        }
        options.extend(layout.null_text.clone().map(|text| ("null", text)));
        options.push(("region", self.region.clone()));
        let endpoint = self.result_endpoint.as_ref().or(self.endpoint.as_ref());
        options.extend(endpoint.map(|url| ("endpoint", url.as_str().trim_end_matches('/').to_owned())));
        options.push(("mode", run.route.mode.to_string()));
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let path: Vec<_> = self.prefix.key(run, layout).split('/').map(encoded).collect();
        let rest = format!("@/{}/{}?{}", encoded(&self.bucket), path.join("/"), options.join("&"));
        let key = encoded(self.result_access_key.reveal());
        let url = |secret: &str| format!("s3://{key}:{secret}{rest}");
        let secret = encoded(self.result_secret_key.reveal());
        Address { url: Secret::new(url(&secret)), shown: url("…"), mode: run.route.mode }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    service: Option<Spanned<Service>>,
    endpoint: Option<Spanned<String>>,
    result_endpoint: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    bucket: Spanned<String>,
    prefix: Spanned<String>,
    access_key_id: Spanned<KeyId>,
    secret_access_key: Spanned<SecretSource>,
    result_access_key_id: Option<Spanned<KeyId>>,
    result_secret_access_key: Option<Spanned<SecretSource>>,
    format: Option<Format>,
    compression: Option<Compression>,
    null_text: Option<String>,
    header: Option<bool>,
    delimiter: Option<Spanned<String>>,
    path_style: Option<bool>,
}

/// The public half of a key: as it is, or from where the secret half is.
#[derive(Clone)]
enum KeyId {
    Plain(String),
    Elsewhere(SecretSource),
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
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

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Service {
    S3,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    None,
    Gz,
}

/// Opens `[target.NAME.object-store]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Target>, Problems> {
    let keys: Keys = opening.section.decode()?;
    // The only service so far; others will be their own arms.
    let (Some(Service::S3) | None) = keys.service.as_ref().map(Spanned::get_ref);
    let mut reading = Reading { opening, problems: Problems::new() };
    let endpoint = keys.endpoint.as_ref().and_then(|url| reading.endpoint("endpoint", url));
    let result_endpoint = keys.result_endpoint.as_ref().and_then(|url| reading.endpoint("result_endpoint", url));
    let region = keys.region.as_ref().map_or(Some("us-east-1".to_owned()), |region| reading.region(region));
    let bucket = reading.bucket(&keys.bucket);
    let prefix = match Prefix::new(keys.prefix.get_ref()) {
        Ok(prefix) => Some(prefix),
        Err(error) => reading.wrong(keys.prefix.span(), error.to_string(), "write \"landfall\""),
    };
    let access_key = reading.key_id(&keys.access_key_id);
    let secret_key = reading.secret(&keys.secret_access_key);
    let alone = match (&keys.result_access_key_id, &keys.result_secret_access_key) {
        (Some(one), None) => Some(one.span()),
        (None, Some(one)) => Some(one.span()),
        _ => None,
    };
    if let Some(at) = alone {
        let what = "only one of `result_access_key_id` and `result_secret_access_key` is given".to_owned();
        let _: Option<()> = reading.wrong(at, what, "give both, or neither: then the agent's own are used");
    }
    let result_access_key =
        keys.result_access_key_id.as_ref().map_or(access_key.clone(), |written| reading.key_id(written));
    let result_secret_key =
        keys.result_secret_access_key.as_ref().map_or(secret_key.clone(), |written| reading.secret(written));
    let format = keys.format.unwrap_or(Format::Csv);
    let delimiter = keys.delimiter.as_ref().map_or(Some(format.delimiter()), |text| reading.delimiter(text));
    let settings = (|| {
        Some(Settings {
            endpoint,
            result_endpoint,
            region: region?,
            bucket: bucket?,
            prefix: prefix?,
            access_key: access_key?,
            secret_key: secret_key?,
            result_access_key: result_access_key?,
            result_secret_key: result_secret_key?,
            layout: Layout {
                format,
                gzip: keys.compression == Some(Compression::Gz),
                header: keys.header.unwrap_or(true),
                delimiter: delimiter?,
                null_text: keys.null_text.filter(|text| !text.is_empty()),
            },
            path_style: keys.path_style.unwrap_or(true),
        })
    })();
    match settings {
        Some(settings) if reading.problems.is_empty() => match ObjectStore::new(settings, opening.wire) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(vec![opening.section.problem(opening.section.table.span(), error, None)]),
        },
        _ => Err(reading.problems),
    }
}

/// Reads what is written, and notes what is wrong with it.
struct Reading<'a, 'o> {
    opening: &'a Opening<'o>,
    problems: Problems,
}

impl Reading<'_, '_> {
    fn wrong<T>(&mut self, at: Range<usize>, what: String, hint: &str) -> Option<T> {
        self.problems.push(self.opening.section.problem(at, what, Some(hint.to_owned())));
        None
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        match self.opening.secret(source) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn key_id(&mut self, written: &Spanned<KeyId>) -> Option<Secret> {
        match written.get_ref() {
            KeyId::Plain(text) if text.trim().is_empty() => {
                self.wrong(written.span(), "a key's id is empty".to_owned(), "write the id, or { env = \"NAME\" }")
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
            false => self.wrong(written.span(), "`region` is not a region's name".to_owned(), "write \"us-east-1\""),
        }
    }

    fn bucket(&mut self, written: &Spanned<String>) -> Option<String> {
        let bucket = written.get_ref();
        let fits = (3..=63).contains(&bucket.len())
            && bucket.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(&c));
        match fits {
            true => Some(bucket.clone()),
            false => self.wrong(
                written.span(),
                "`bucket` is not a bucket's name".to_owned(),
                "3 to 63 letters, digits, `-`, `.` or `_`",
            ),
        }
    }

    fn delimiter(&mut self, written: &Spanned<String>) -> Option<char> {
        let text = written.get_ref();
        match (text.chars().next(), text.chars().count()) {
            (Some(c), 1) if c.is_ascii() && !['"', '\r', '\n', '\0'].contains(&c) => Some(c),
            _ => self.wrong(
                written.span(),
                "`delimiter` is not one ASCII character".to_owned(),
                "write \",\", \"\\t\" or \"|\"",
            ),
        }
    }
}

//! Secrets as they are written: the name of a place that holds one, never the secret itself.

use std::{
    borrow::Cow,
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::canary::Secret;

/// A secret as written: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    /// An environment variable.
    pub env: Option<String>,
    /// A file, relative to the config file; one trailing newline is dropped.
    pub file: Option<PathBuf>,
}

impl JsonSchema for SecretSource {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "env": { "type": "string", "minLength": 1, "description": "An environment variable." },
                "file": {
                    "type": "string",
                    "description": "A file, relative to this one; one newline at its end is dropped.",
                },
            },
            "additionalProperties": false,
            // Exactly one of them.
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

/// Stands for every secret under `--no-secrets`. It looks like a word, so that checks of shape
/// that fit most secrets pass.
pub const PLACEHOLDER: &str = "left-out";

/// No key or password is longer; a larger file was named by mistake.
const LARGEST: u64 = 64 * 1024;

/// What would be right, wherever a secret is written wrongly.
pub(super) const SHAPE: &str = "write { env = \"NAME\" } or { file = \"path\" }";

impl<'de> Deserialize<'de> for SecretSource {
    /// By hand, so that a secret written in the clear is answered with what to write instead.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            env: Option<String>,
            file: Option<PathBuf>,
        }

        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = SecretSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ env = \"NAME\" } or { file = \"path\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
                let Written { env, file } = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SecretSource { env, file })
            }
        }

        from.deserialize_map(Table)
    }
}

/// A URL as written: in the open, or where it is kept if something in it is secret.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum UrlSource {
    Url(String),
    Secret(SecretSource),
}

impl<'de> Deserialize<'de> for UrlSource {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = UrlSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or { env = \"NAME\" } or { file = \"path\" } with one in it")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<UrlSource, E> {
                Ok(UrlSource::Url(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UrlSource, A::Error> {
                SecretSource::deserialize(MapAccessDeserializer::new(map)).map(UrlSource::Secret)
            }
        }

        from.deserialize_any(Written)
    }
}

impl SecretSource {
    /// Reads the secret. What is wrong comes as what and hint, and never holds any of it.
    pub(super) fn read(&self, config: &Path) -> Result<Secret, (String, String)> {
        match (&self.env, &self.file) {
            (Some(name), None) => from_environment(name),
            (None, Some(path)) => from_file(path, config),
            (None, None) => Err(("no place of a secret is given".to_owned(), SHAPE.to_owned())),
            (Some(_), Some(_)) => Err(("two places of one secret are given".to_owned(), SHAPE.to_owned())),
        }
    }

    /// Whether exactly one place is given.
    pub(super) fn is_whole(&self) -> bool {
        self.env.is_some() != self.file.is_some()
    }
}

fn from_environment(name: &str) -> Result<Secret, (String, String)> {
    let wrong = |why: &str| {
        let hint = "set it, or check without secrets: landfall check --no-secrets".to_owned();
        Err((format!("environment variable `{name}` {why}"), hint))
    };
    // The standard library panics on names that no variable can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err((format!("`{name}` cannot be the name of an environment variable"), SHAPE.to_owned()));
    }
    match std::env::var(name) {
        Ok(text) if text.is_empty() => wrong("is empty"),
        Ok(text) => Ok(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => wrong("is not set"),
        Err(std::env::VarError::NotUnicode(_)) => wrong("is not UTF-8"),
    }
}

fn from_file(path: &Path, config: &Path) -> Result<Secret, (String, String)> {
    let path = super::section::beside(config, path);
    let wrong = |why: String| {
        let hint = "name a file with the secret in it, relative to this one".to_owned();
        (format!("secret file `{}` {why}", path.display()), hint)
    };
    let mut bytes = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("cannot be read: {}", super::file::reason(&error))))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong("is larger than 64 KB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(wrong("is empty".to_owned()));
    }
    Ok(Secret::new(text))
}

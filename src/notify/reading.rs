//! Reading: what the tables of notifiers have in common. All that is wrong in a table is noted, so
//! that one reading finds it.

use std::{fmt, ops::Range, time::Duration};

use reqwest::{Client, Url};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, Spanned},
};

/// Reminders that come more often are noise, and hide the next page.
const SHORTEST_REMINDER: Duration = Duration::from_secs(60);
/// Longest address that is posted to.
const LONGEST_URL: usize = 4096;
/// Stands for an address that is a secret, under `--no-secrets`.
const NOWHERE: &str = "https://left-out.invalid/";

/// A text that may be a secret: as it is, or the place that holds it.
#[derive(Clone, JsonSchema)]
#[schemars(untagged)]
pub(super) enum Text {
    /// As it is.
    Plain(String),
    /// Where it is.
    Elsewhere(SecretSource),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or { env = \"NAME\" } or { file = \"path\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                SecretSource::deserialize(MapAccessDeserializer::new(map)).map(Text::Elsewhere)
            }
        }

        from.deserialize_any(Written)
    }
}

/// Reads what is written, and notes what is wrong with it.
pub(super) struct Reading<'a, 'o> {
    pub(super) opening: &'a Opening<'o>,
    pub(super) problems: Problems,
}

impl<'a, 'o> Reading<'a, 'o> {
    pub(super) fn new(opening: &'a Opening<'o>) -> Self {
        Self { opening, problems: Problems::new() }
    }

    pub(super) fn wrong<T>(&mut self, at: Range<usize>, what: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.problems.push(self.opening.section.problem(at, what, Some(hint.into())));
        None
    }

    pub(super) fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        self.opening.secret(source).map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A text, wherever it stands.
    pub(super) fn text(&mut self, written: &Spanned<Text>) -> Option<Secret> {
        match written.get_ref() {
            Text::Plain(text) => Some(Secret::new(text.as_str())),
            Text::Elsewhere(source) => self.secret(&Spanned::new(written.span(), source.clone())),
        }
    }

    /// A placeholder stands for it, so that its shape says nothing.
    pub(super) fn is_left_out(&self, written: &Spanned<Text>) -> bool {
        self.opening.without_secrets && matches!(written.get_ref(), Text::Elsewhere(_))
    }

    /// An address that is posted to. What is wrong is said without it: it may hold a token.
    pub(super) fn url(&mut self, key: &str, written: &Spanned<Text>, example: &str) -> Option<Url> {
        let text = self.text(written)?;
        if self.is_left_out(written) {
            return Url::parse(NOWHERE).ok();
        }
        let hint = format!("write an address such as \"{example}\", or where it is kept: {{ env = \"NAME\" }}");
        let what = match Url::parse(text.reveal()) {
            Err(error) => format!("is not a URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "is not an http:// or https:// URL".to_owned(),
            Ok(url) if url.as_str().len() > LONGEST_URL => format!("is longer than {LONGEST_URL} characters"),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "has a user or password in it".to_owned()
            }
            Ok(url) if url.fragment().is_some() => "has a fragment, which is never sent".to_owned(),
            Ok(url) => return Some(url),
        };
        self.wrong(written.span(), format!("`{key}` {what}"), hint)
    }

    /// How often people are reminded.
    pub(super) fn remind(&mut self, written: Option<&Spanned<Length>>) -> Option<Duration> {
        let written = written?;
        let Length(length) = *written.get_ref();
        if length < SHORTEST_REMINDER {
            return self.wrong(written.span(), "`remind` is shorter than a minute", "write \"4h\", or leave it away");
        }
        Some(length)
    }

    pub(super) fn client(&mut self) -> Option<Client> {
        match self.opening.wire.client() {
            Ok(client) => Some(client),
            Err(error) => {
                let problem = self.opening.section.problem(self.opening.section.table.span(), error.to_string(), None);
                self.problems.push(problem);
                None
            }
        }
    }

    /// What was read, if nothing is wrong with any of it.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(self.problems),
        }
    }
}

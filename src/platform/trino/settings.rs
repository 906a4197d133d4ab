//! Settings of `[platform.NAME.trino]`: the table as written, and the cluster as meant.

use std::{collections::BTreeMap, fmt, ops::Range, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    flavor::Flavor,
    sql::{Booleans, Schema},
};
use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order, nearest},
    http::{Wire, is_private},
};

/// Longest wait for one answer, unless the config says otherwise: servers answer within a second or
/// so, with an empty page if need be.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Who asks, to resource groups, unless the config says otherwise.
const SOURCE: &str = "landfall";
/// The agent gives a look 20 s, and one may be at its second call.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(17);

/// A Trino or Presto cluster, which writes into targets through its own catalogs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("not" = { "required": ["password", "token"] }))]
pub struct Table {
    /// The coordinator's address.
    endpoint: Spanned<String>,
    /// Whose names the protocol has.
    #[schemars(extend("default" = Flavor::Trino.name(), "enum" = Flavor::ALL.map(Flavor::name)))]
    flavor: Option<Spanned<String>>,
    /// Who asks.
    user: Spanned<String>,
    /// Sent over https only, or to this machine. Instead of `token`.
    password: Option<Spanned<SecretSource>>,
    /// A JWT or access token, sent likewise. Instead of `password`.
    token: Option<Spanned<SecretSource>>,
    /// A PEM file with the CA of the server's certificate, beside those of the system.
    ca: Option<Spanned<PathBuf>>,
    /// The session's catalog.
    catalog: Option<Spanned<String>>,
    /// The session's schema.
    schema: Option<Spanned<String>>,
    /// What resource groups may choose by.
    #[schemars(extend("default" = SOURCE))]
    source: Option<Spanned<String>>,
    /// Session properties, by name.
    #[serde(default)]
    session: BTreeMap<String, Spanned<String>>,
    /// `catalog.schema` for the small table that canaries read; it must be there.
    seed: Spanned<String>,
    /// What targets are called here, by the target's name: `catalog.schema`. One for each target that canaries name.
    #[serde(default)]
    outputs: BTreeMap<String, Spanned<WrittenOutput>>,
    /// Longest wait for one answer, at most 17s.
    #[schemars(extend("default" = Length(TIMEOUT), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
}

/// What a target is called, as written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write \"catalog.schema\", or { schema = \"catalog.schema\", booleans = \"tinyint\" }")]
enum WrittenOutput {
    Name(String),
    Table(OutputTable),
}

/// What a target is called, and more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
struct OutputTable {
    /// `catalog.schema`.
    schema: String,
    /// The type in which the catalog keeps booleans: `boolean`, or `tinyint`, `smallint`, `integer`, `bigint`.
    #[schemars(extend("default" = Booleans::NAMES[0]))]
    booleans: Option<String>,
}

/// What a target is called on this platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) schema: Schema,
    pub(super) booleans: Booleans,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct WrongSetting {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl WrongSetting {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// A cluster and how statements are sent to it. Everything in it has been checked.
pub struct Cluster {
    client: Client,
    endpoint: Url,
    pub(super) flavor: Flavor,
    headers: HeaderMap,
    secrets: Vec<Secret>,
    timeout: Duration,
    /// Where the seed table is made.
    pub(super) seed: Schema,
    /// What targets are called here.
    pub(super) outputs: BTreeMap<String, Output>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("endpoint", &self.endpoint.as_str())
            .field("flavor", &self.flavor)
            .field("seed", &self.seed)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    pub(super) fn api(&self) -> Api {
        let tags = self.flavor.headers().tags;
        let (client, headers) = (self.client.clone(), self.headers.clone());
        Api::new(client, self.endpoint.clone(), headers, tags, self.timeout, self.secrets.clone())
    }

    /// From the config. All that is wrong is said at once.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, Problems> {
        let table: Table = opening.section.decode()?;
        let mut checks = Checks { opening, problems: Problems::new() };
        let endpoint = checks.keep(&table.endpoint, |text| checked_endpoint(text));
        let flavor = match &table.flavor {
            Some(name) => checks.keep(name, |name| checked_flavor(name)),
            None => Some(Flavor::Trino),
        };
        let timeout = match &table.timeout {
            Some(length) => checks.keep(length, |length| checked_timeout(*length)),
            None => Some(TIMEOUT),
        };
        let seed = checks.keep(&table.seed, |text| checked_schema("seed", text));
        let outputs = table
            .outputs
            .iter()
            .filter_map(|(target, written)| Some((target.clone(), checks.keep(written, checked_output)?)));
        let outputs = outputs.collect();
        let (secrets, authorization) = checks.access(&table, endpoint.as_ref());
        let headers = checks.headers(&table, flavor.unwrap_or(Flavor::Trino), authorization);
        let client = checks.client(&table);
        match (endpoint, flavor, timeout, seed, client) {
            (Some(endpoint), Some(flavor), Some(timeout), Some(seed), Some(client)) if checks.problems.is_empty() => {
                Ok(Self { client, endpoint, flavor, headers, secrets, timeout, seed, outputs })
            }
            _ => Err(checks.problems),
        }
    }
}

/// Collects what is wrong, so that one reading of the config finds all of it.
struct Checks<'a> {
    opening: &'a Opening<'a>,
    problems: Problems,
}

impl Checks<'_> {
    fn keep<T, U>(&mut self, value: &Spanned<T>, check: impl Fn(&T) -> Result<U, WrongSetting>) -> Option<U> {
        check(value.get_ref()).map_err(|wrong| self.note(value.span(), wrong)).ok()
    }

    fn note(&mut self, at: Range<usize>, wrong: WrongSetting) {
        self.problems.push(self.opening.section.problem(at, wrong.what, Some(wrong.hint)));
    }

    /// Password or token, and the header that carries it. Neither is sent where others can listen.
    fn access(&mut self, table: &Table, endpoint: Option<&Url>) -> (Vec<Secret>, Option<HeaderValue>) {
        let (source, is_token) = match (&table.password, &table.token) {
            (None, None) => return (Vec::new(), None),
            (Some(_), Some(token)) => {
                let hint = "keep one of them";
                self.note(token.span(), WrongSetting::new("`token` stands beside `password`", hint));
                return (Vec::new(), None);
            }
            (Some(password), None) => (password, false),
            (None, Some(token)) => (token, true),
        };
        if endpoint.is_some_and(|url| !is_private(url)) {
            let name = if is_token { "token" } else { "password" };
            self.note(
                source.span(),
                WrongSetting::new(
                    format!("`{name}` would be sent in the clear"),
                    "write an https `endpoint`; http is for this machine alone",
                ),
            );
        }
        let secret = match self.opening.secret(source) {
            Ok(secret) => secret,
            Err(problem) => {
                self.problems.push(problem);
                return (Vec::new(), None);
            }
        };
        let pair = STANDARD.encode(format!("{}:{}", table.user.get_ref(), secret.reveal()));
        let text = if is_token { format!("Bearer {}", secret.reveal()) } else { format!("Basic {pair}") };
        let Ok(mut value) = HeaderValue::from_str(&text) else {
            let hint = "write it alone on one line";
            self.note(source.span(), WrongSetting::new("the token has letters that no header can carry", hint));
            return (Vec::new(), None);
        };
        value.set_sensitive(true);
        (vec![secret, Secret::new(pair)], Some(value))
    }

    fn headers(&mut self, table: &Table, flavor: Flavor, authorization: Option<HeaderValue>) -> HeaderMap {
        let names = flavor.headers();
        let mut headers = HeaderMap::new();
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        // What text makes of times must not depend on where the agent or the server is.
        headers.insert(HeaderName::from_static(names.zone), HeaderValue::from_static("UTC"));
        let mut words = vec![("user", names.user, &table.user)];
        words.extend(table.source.as_ref().map(|text| ("source", names.source, text)));
        words.extend(table.catalog.as_ref().map(|text| ("catalog", names.catalog, text)));
        words.extend(table.schema.as_ref().map(|text| ("schema", names.schema, text)));
        if table.source.is_none() {
            headers.insert(HeaderName::from_static(names.source), HeaderValue::from_static(SOURCE));
        }
        for (key, header, text) in words {
            let value = self.keep(text, |text| checked_word(key, text));
            headers.extend(value.map(|value| (HeaderName::from_static(header), value)));
        }
        for (property, value) in &table.session {
            let value = self.keep(value, |value| checked_property(property, value));
            if let Some(value) = value {
                headers.append(HeaderName::from_static(names.session), value);
            }
        }
        headers
    }

    fn client(&mut self, table: &Table) -> Option<Client> {
        let mut wire: Wire = self.opening.wire.clone();
        let mut at = self.opening.section.table.span();
        if let Some(ca) = &table.ca {
            wire.ca_bundle = Some(self.opening.section.path(ca.get_ref()));
            at = ca.span();
        }
        let hint = "name a PEM file with the CA of the server's certificate, relative to this file";
        wire.client().map_err(|error| self.note(at, WrongSetting::new(error.to_string(), hint))).ok()
    }
}

fn checked_endpoint(text: &str) -> Result<Url, WrongSetting> {
    let hint = "write the coordinator's address, such as \"https://trino.example.com\"";
    // The text itself is not repeated: it may have a password in it.
    let url = Url::parse(text).map_err(|error| WrongSetting::new(format!("`endpoint` is not a URL: {error}"), hint))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(WrongSetting::new("`endpoint` is not an http or https URL", hint));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WrongSetting::new(
            "`endpoint` has a user or password in it",
            "leave them out, and write `user` and `password = { file = \"path\" }`",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(WrongSetting::new("`endpoint` has a query or fragment", hint));
    }
    Ok(url)
}

fn checked_flavor(name: &str) -> Result<Flavor, WrongSetting> {
    Flavor::ALL.into_iter().find(|flavor| flavor.name() == name).ok_or_else(|| {
        let hint = match nearest(name, Flavor::ALL.map(Flavor::name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "flavors are trino and presto".to_owned(),
        };
        WrongSetting::new(format!("unknown flavor `{}`", brief(name)), hint)
    })
}

fn checked_schema(key: &str, text: &str) -> Result<Schema, WrongSetting> {
    Schema::read(text).ok_or_else(|| {
        WrongSetting::new(
            format!("`{}` in `{key}` is not a catalog and a schema", brief(text)),
            "write both as this platform names them: \"catalog.schema\"",
        )
    })
}

fn checked_output(written: &WrittenOutput) -> Result<Output, WrongSetting> {
    let (schema, booleans) = match written {
        WrittenOutput::Name(schema) => (schema, None),
        WrittenOutput::Table(table) => (&table.schema, table.booleans.as_ref()),
    };
    let booleans = match booleans {
        None => Booleans::default(),
        Some(name) => Booleans::read(name).ok_or_else(|| {
            WrongSetting::new(
                format!("`{}` in `booleans` is not a type that holds a boolean", brief(name)),
                format!("write one of {}", Booleans::NAMES.join(", ")),
            )
        })?,
    };
    Ok(Output { schema: checked_schema("outputs", schema)?, booleans })
}

fn checked_word(key: &str, text: &str) -> Result<HeaderValue, WrongSetting> {
    let fits = !text.trim().is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
    match HeaderValue::from_str(text) {
        Ok(value) if fits => Ok(value),
        _ => Err(WrongSetting::new(
            format!("`{key}` is empty, too long or has control characters"),
            "write 1 to 256 letters",
        )),
    }
}

fn checked_property(name: &str, value: &str) -> Result<HeaderValue, WrongSetting> {
    let hint = "write properties as the platform names them: query_max_run_time = \"5m\"";
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > 128 || !name.chars().all(fits) {
        return Err(WrongSetting::new(format!("`{}` is not the name of a session property", brief(name)), hint));
    }
    let text = format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    match HeaderValue::from_str(&text) {
        Ok(header) if value.len() <= 1_000 => Ok(header),
        _ => Err(WrongSetting::new(format!("session property `{name}` is too long"), hint)),
    }
}

fn checked_timeout(Length(timeout): Length) -> Result<Duration, WrongSetting> {
    if !(Duration::from_millis(100)..=LONGEST_TIMEOUT).contains(&timeout) {
        return Err(WrongSetting::new("`timeout` is out of bounds", "write \"100ms\" to \"17s\""));
    }
    Ok(timeout)
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for (url, private) in [
            ("https://trino.example.com", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:8080", true),
            ("http://trino.example.com", false),
            ("http://127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_private(&checked_endpoint(url).expect(url)), private, "{url}");
        }
    }

    #[test]
    fn properties_are_encoded_and_cannot_add_others() {
        let header = checked_property("query_max_run_time", "5m,x=1 %").expect("valid");
        assert_eq!(header.to_str().expect("text"), "query_max_run_time=5m%2Cx%3D1%20%25");
        for bad in ["", "a b", "a=b", "a,b"] {
            assert!(checked_property(bad, "1").is_err(), "{bad}");
        }
    }
}

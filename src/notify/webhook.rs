//! A webhook that is told: JSON, own headers, signed if there is a secret.
//!
//! ```toml
//! [notify.chat.webhook]
//! url     = { env = "CHAT_URL" }              # or "https://…"
//! secret  = { file = "webhook.secret" }       # optional: signs
//! headers = { Authorization = { env = "CHAT_TOKEN" } }
//! remind  = "4h"                              # optional: says again what still goes on
//! ```
//!
//! It is `POST`ed one object, whose keys stay what they are; more may come:
//!
//! | key | what |
//! |---|---|
//! | `event` | `triggered`, `still` (a reminder), `over` (began and ended while nobody could be told), `resolved`, `deploy` |
//! | `key` | the same for all that belongs together, and over retries: tell messages apart by `key` and `event` |
//! | `severity` | `critical` or `warning`; of a deploy `null` |
//! | `at` | when it was said |
//! | `agent` | who saw it; of a deploy `null` |
//! | `drill` | the code of a drill, else `null` |
//! | `link`, `runbook` | addresses of pages, or `null` |
//! | `incident` | as in `/api/v1/incidents`; of a deploy `null` |
//! | `hit`, `watched` | how many routes are hit, of which `incident` names 20 at most, and how many are watched; or `null` |
//! | `proofs` | up to three runs: `run`, `route`, `due`, `job`, `claimed`, `found` |
//! | `deploy` | `service`, `version`, `at`; only of a deploy, else `null` |
//! | `text` | the same in words: `subject`, and `sections` of a `title` and `lines` each |
//!
//! With a secret, `Landfall-Signature: t=SECONDS,v1=HEX` carries the HMAC-SHA256 of `SECONDS.BODY`.
//! Any 2xx takes it; 408, 425, 429 and 5xx are tried again; redirects are not followed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName};
use ring::hmac;
use serde::Serialize;

use super::{
    Keeps, Manner, Message, Notifier, NotifyError, Page, What, digest, hex,
    post::{Door, any_success, hidden, told_apart},
    reading::{Reading, Text},
    shape::{DeployShape, IncidentShape, ProofShape},
    text::{self, Section, cut},
};
use crate::{
    canary::{Secret, Timestamp},
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order},
    detect::Severity,
    http::HEADER_NAME,
};

/// Messages in any minute; a chat takes about one a second.
const PER_MINUTE: usize = 60;
/// Longest address or name in a message.
const LONGEST: usize = 2000;
/// Headers that are the agent's or HTTP's own business.
const OWN_HEADERS: [&str; 7] =
    ["content-type", "content-length", "host", "connection", "transfer-encoding", "landfall-signature", "te"];

/// A webhook that takes JSON: a chat, or a service of your own.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Keys {
    /// Where messages are posted.
    url: Spanned<Text>,
    /// Signs each message: `Landfall-Signature`.
    secret: Option<Spanned<SecretSource>>,
    /// Headers of its own, by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": HEADER_NAME }))]
    headers: std::collections::BTreeMap<Spanned<String>, Spanned<Text>>,
    /// Says again this often what still goes on, at least a minute. Absent: never.
    #[schemars(extend("pattern" = Length::SOME))]
    remind: Option<Spanned<Length>>,
}

/// Opens `[notify.NAME.webhook]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Notifier>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let mut reading = Reading::new(opening);
    let url = reading.url("url", &keys.url, "https://hooks.example.com/landfall");
    let secret = keys.secret.as_ref().and_then(|source| reading.secret(source));
    let mut headers = HeaderMap::new();
    let mut secrets: Vec<Secret> = secret.clone().into_iter().collect();
    for (name, value) in &keys.headers {
        if let Some((name, value)) = header(&mut reading, name, value) {
            secrets.push(value.clone());
            // A scheme before the token (`Bearer …`): servers quote the token alone.
            secrets.extend(value.reveal().split_once(' ').map(|(_, token)| Secret::new(token)));
            headers.extend(hidden(value.reveal()).map(|value| (name, value)));
        }
    }
    let remind = reading.remind(keys.remind.as_ref());
    let client = reading.client();
    let door = url.zip(client).map(|(url, client)| Door::new(client, url, secrets));
    let webhook = door.map(|door| Webhook { door, headers, secret, remind });
    reading.finish(webhook).map(|webhook| Arc::new(webhook) as Arc<dyn Notifier>)
}

fn header(
    reading: &mut Reading<'_, '_>,
    name: &Spanned<String>,
    value: &Spanned<Text>,
) -> Option<(HeaderName, Secret)> {
    let shown = cut(name.get_ref(), 40);
    let Ok(known) = name.get_ref().parse::<HeaderName>() else {
        return reading.wrong(name.span(), format!("`{shown}` cannot be the name of a header"), "write `X-Api-Key`");
    };
    if OWN_HEADERS.contains(&known.as_str()) {
        return reading.wrong(name.span(), format!("header `{shown}` is set by the agent"), "take it out");
    }
    let text = reading.text(value)?;
    if hidden(text.reveal()).is_none() || text.reveal().is_empty() {
        let what = format!("header `{shown}` has a value that cannot be sent");
        return reading.wrong(value.span(), what, "write one line of ASCII");
    }
    Some((known, text))
}

/// A receiver of signed JSON.
#[derive(Debug)]
struct Webhook {
    door: Door,
    headers: HeaderMap,
    secret: Option<Secret>,
    remind: Option<Duration>,
}

#[derive(Serialize)]
struct Body<'a> {
    event: &'static str,
    key: &'a str,
    severity: Option<Severity>,
    at: Timestamp,
    agent: Option<String>,
    drill: Option<String>,
    link: Option<String>,
    runbook: Option<String>,
    incident: Option<IncidentShape<'a>>,
    hit: Option<usize>,
    watched: Option<usize>,
    proofs: Vec<ProofShape>,
    deploy: Option<DeployShape>,
    text: Words,
}

#[derive(Serialize)]
struct Words {
    subject: String,
    sections: Vec<Section>,
}

impl<'a> Body<'a> {
    fn of(message: &'a Message) -> Self {
        let event = match &message.what {
            What::Trigger(_) => "triggered",
            What::Again(_) => "still",
            What::Over(_) => "over",
            What::Resolve(_) => "resolved",
            What::Deploy(_) => "deploy",
        };
        let page: Option<&'a Page> = message.what.page().map(|page| &**page);
        Self {
            event,
            key: &message.key,
            severity: page.map(|page| page.severity),
            at: message.at,
            agent: page.map(|page| cut(&page.agent, LONGEST)),
            drill: page.and_then(|page| page.drill.as_ref()).map(|text| cut(text, LONGEST)),
            link: page.and_then(|page| page.link.as_ref()).map(|text| cut(text, LONGEST)),
            runbook: page.and_then(|page| page.runbook.as_ref()).map(|text| cut(text, LONGEST)),
            incident: page.map(IncidentShape::of),
            hit: page.map(|page| page.incident.routes.len()),
            watched: page.map(|page| page.watched),
            proofs: page.map(|page| page.proofs.iter().map(ProofShape::of).collect()).unwrap_or_default(),
            deploy: match &message.what {
                What::Deploy(deploy) => Some(DeployShape::of(deploy)),
                _ => None,
            },
            text: Words { subject: text::subject(message), sections: text::sections(message) },
        }
    }
}

/// `t=SECONDS,v1=HEX`.
fn signature(secret: &Secret, at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let mut signing = hmac::Context::with_key(&key);
    signing.update(format!("{seconds}.").as_bytes());
    signing.update(body);
    format!("t={seconds},v1={}", hex(signing.sign().as_ref()))
}

#[async_trait]
impl Notifier for Webhook {
    async fn tell(&self, message: &Message) -> Result<(), NotifyError> {
        let body = serde_json::to_vec(&Body::of(message))
            .map_err(|error| NotifyError::Refused { detail: format!("it cannot be written as JSON: {error}") })?;
        let mut headers = self.headers.clone();
        if let Some(secret) = &self.secret
            && let Some(value) = hidden(&signature(secret, message.at, &body))
        {
            headers.insert("landfall-signature", value);
        }
        self.door.post(body, headers, any_success).await
    }

    fn manner(&self) -> Manner {
        Manner { keeps: Keeps::Messages, again: self.remind, takes_deploys: true, per_minute: PER_MINUTE }
    }

    fn identity(&self) -> String {
        let secret = self.secret.as_ref().map_or("", Secret::reveal);
        let headers = told_apart(&self.headers);
        digest(&["webhook", self.door.address(), secret, &headers])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // printf '1440452640.{}' | openssl dgst -sha256 -hmac hunter2
        let signed = signature(&Secret::new("hunter2"), Timestamp::from_millis(1_440_452_640_900), b"{}");
        assert_eq!(signed, SIGNED, "as OpenSSL has it");
    }

    const SIGNED: &str = "t=1440452640,v1=fb97646edc7bc5e1fa3e9be937ac357bf001cf64becb991d6d21819a89bf13a2";
}

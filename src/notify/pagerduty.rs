//! PagerDuty, Events API v2: trigger, resolve, and change events for deploys.
//!
//! ```toml
//! [notify.oncall.pagerduty]
//! routing_key = { file = "pagerduty.key" }
//! url         = "https://events.eu.pagerduty.com/v2/enqueue"   # optional: another region
//! ```
//!
//! It answers 202 to any well-formed event, and does the rest later: accepted is not yet ringing.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{StatusCode, Url, header::HeaderMap};
use serde_json::{Map, Value as Json, json};

use super::{
    Keeps, Manner, Message, Notifier, NotifyError, Page, What, digest,
    post::Door,
    reading::{Reading, Text},
    text::{self, cut},
};
use crate::{
    canary::Secret,
    config::{Opening, Problems, SecretSource, Spanned, keys_in_order},
    detect::{Deploy, incident::write_labels},
};

/// Where events go unless the config says otherwise.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// The end of that, and of every other region's.
const ENQUEUE: &str = "/enqueue";
/// Half of the 120 in a minute that one integration may send: somebody else may use the key too.
const PER_MINUTE: usize = 60;
/// Longest `dedup_key`.
const DEDUP_KEY: usize = 255;
/// Every integration's key has this length.
const ROUTING_KEY: usize = 32;
/// Longest address of a link, and longest name.
const LONGEST: usize = 1000;

/// PagerDuty, by its Events API v2.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Keys {
    /// The integration key of an Events API v2 integration.
    routing_key: Spanned<SecretSource>,
    /// Where events go, for another region.
    #[schemars(extend("default" = URL))]
    url: Option<Spanned<Text>>,
}

/// Opens `[notify.NAME.pagerduty]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Notifier>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let mut reading = Reading::new(opening);
    let routing_key = routing_key(&mut reading, &keys.routing_key);
    let url = match &keys.url {
        None => Url::parse(URL).ok(),
        Some(written) => events_url(&mut reading, written),
    };
    let client = reading.client();
    let opened = routing_key.zip(url).zip(client).map(|((routing_key, url), client)| {
        let mut changes = url.clone();
        changes.set_path(&format!("{}/change{ENQUEUE}", url.path().trim_end_matches(ENQUEUE)));
        let door = |url| Door::new(client.clone(), url, [routing_key.clone()]);
        PagerDuty { events: door(url), changes: door(changes), routing_key }
    });
    reading.finish(opened).map(|opened| Arc::new(opened) as Arc<dyn Notifier>)
}

fn events_url(reading: &mut Reading<'_, '_>, written: &Spanned<Text>) -> Option<Url> {
    let url = reading.url("url", written, URL)?;
    if !url.path().ends_with(ENQUEUE) && !reading.is_left_out(written) {
        return reading.wrong(written.span(), "`url` does not end in `/enqueue`", format!("write \"{URL}\""));
    }
    Some(url)
}

fn routing_key(reading: &mut Reading<'_, '_>, source: &Spanned<SecretSource>) -> Option<Secret> {
    let key = reading.secret(source)?;
    let text = key.reveal();
    let fits = text.len() == ROUTING_KEY && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits || reading.opening.without_secrets {
        return Some(key);
    }
    let what = format!("the routing key is not {ROUTING_KEY} letters and digits");
    reading.wrong(source.span(), what, "copy the integration key of an Events API v2 integration")
}

/// One integration of a PagerDuty service.
#[derive(Debug)]
struct PagerDuty {
    events: Door,
    changes: Door,
    routing_key: Secret,
}

impl PagerDuty {
    fn trigger(&self, message: &Message, page: &Page) -> Json {
        let incident = &page.incident;
        let mut event = json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": "trigger",
            "dedup_key": dedup_key(&message.key),
            "client": cut(&format!("Landfall {}", page.agent), 200),
            "links": links(page),
            "payload": {
                "summary": text::subject(message),
                "source": source(&page.agent),
                "severity": page.severity.as_str(),
                "timestamp": message.at.to_string(),
                "component": cut(&write_labels(&incident.suspects), 200),
                "group": "landfall",
                "class": incident.outcome.as_str(),
                "custom_details": details(message),
            },
        });
        if let Some(link) = &page.link {
            event["client_url"] = cut(link, LONGEST).into();
        }
        event
    }

    fn resolve(&self, message: &Message) -> Json {
        json!({
            "routing_key": self.routing_key.reveal(),
            "event_action": "resolve",
            "dedup_key": dedup_key(&message.key),
        })
    }

    fn change(&self, message: &Message, deploy: &Deploy) -> Json {
        json!({
            "routing_key": self.routing_key.reveal(),
            "payload": {
                "summary": text::subject(message),
                "source": "landfall",
                "timestamp": deploy.at.to_string(),
                "custom_details": {
                    "service": cut(&deploy.service, LONGEST),
                    "version": cut(&deploy.version, LONGEST),
                },
            },
        })
    }
}

/// What must not be empty.
fn source(agent: &str) -> String {
    let agent = cut(agent, 200);
    if agent.is_empty() { "landfall".to_owned() } else { agent }
}

/// The message's key, or a digest of one that is too long.
fn dedup_key(key: &str) -> String {
    if key.chars().count() <= DEDUP_KEY { key.to_owned() } else { digest(&[key]) }
}

fn links(page: &Page) -> Vec<Json> {
    let link = |text: &str, href: &String| json!({ "text": text, "href": cut(href, LONGEST) });
    let runbook = page.runbook.iter().map(|href| link("Runbook", href));
    runbook.chain(page.link.iter().map(|href| link("Incident", href))).collect()
}

/// Each section under its title, one line after the other.
fn details(message: &Message) -> Map<String, Json> {
    text::sections(message)
        .into_iter()
        .enumerate()
        // Shown in the order of their names.
        .map(|(nth, section)| (format!("{} {}", nth + 1, section.title), section.lines.join("\n").into()))
        .collect()
}

fn is_accepted(status: StatusCode) -> bool {
    status == StatusCode::ACCEPTED
}

#[async_trait]
impl Notifier for PagerDuty {
    async fn tell(&self, message: &Message) -> Result<(), NotifyError> {
        let (door, event) = match &message.what {
            // One that is over rings as well: rows were lost, and somebody must know.
            What::Trigger(page) | What::Again(page) | What::Over(page) => (&self.events, self.trigger(message, page)),
            What::Resolve(_) => (&self.events, self.resolve(message)),
            What::Deploy(deploy) => (&self.changes, self.change(message, deploy)),
        };
        door.post(event.to_string().into_bytes(), HeaderMap::new(), is_accepted).await
    }

    fn manner(&self) -> Manner {
        // Keys of rulesets begin with R and take no change events.
        let takes_deploys = !self.routing_key.reveal().starts_with('R');
        Manner { keeps: Keeps::Alerts, again: None, takes_deploys, per_minute: PER_MINUTE }
    }

    fn identity(&self) -> String {
        digest(&["pagerduty", self.events.address(), self.routing_key.reveal()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_too_long_is_a_digest_that_stays_the_same() {
        assert_eq!(dedup_key("inc-1/2/critical"), "inc-1/2/critical");
        let long = "x".repeat(256);
        assert_eq!((dedup_key(&long).len(), dedup_key(&long)), (64, dedup_key(&long)));
        assert_ne!(dedup_key(&long), dedup_key(&"x".repeat(257)));
    }
}

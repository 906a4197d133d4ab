//! Alertmanager: alerts by its API v2, past Prometheus, in milliseconds.
//!
//! ```toml
//! [notify.am.alertmanager]
//! urls   = ["http://am-1:9093", "http://am-2:9093"]    # each of a cluster
//! bearer = { file = "am.token" }                       # or user and password; optional
//! ```
//!
//! Labels: `alertname="LandfallIncident"`, `incident`, `severity`, `agent`, `opening`. They tell
//! alerts apart, so nothing stands in them that may change while an incident is open: suspects and
//! outcome, which do, are annotations, with `summary`, `description` and `runbook_url`. A drill has the
//! label `drill="true"` as well.
//!
//! An alert is said to end in twelve hours, and that is said again each minute: an agent that dies
//! does not resolve its page, and Alertmanager forgets nothing by its own restart.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Map, Value as Json, json};

use super::{
    Keeps, Manner, Message, Notifier, NotifyError, Page, What, digest,
    post::{Door, any_success, hidden, told_apart},
    reading::{Reading, Text},
    text::{self, cut},
};
use crate::{
    canary::{Secret, Timestamp},
    config::{Opening, Problems, SecretSource, Spanned, keys_in_order},
    detect::incident::write_labels,
};

/// Where alerts are taken, below the address of an Alertmanager.
const ALERTS: [&str; 3] = ["api", "v2", "alerts"];
/// An open alert is said again this often, as its documentation asks.
const AGAIN: Duration = Duration::from_secs(60);
/// An agent that is away for a night comes back to an alert that is still open.
const STANDS: Duration = Duration::from_secs(12 * 3600);
/// One that is over is shown for this long: a group that waits for others still tells it.
const OVER: Duration = Duration::from_secs(300);
/// An end in its future is no end to Alertmanager, and its clock may be behind ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// It begins this long before it was told at the latest: `group_wait` has passed then, and with it
/// the wait for other alerts.
const BEGAN_BEFORE: Duration = Duration::from_secs(300);
/// It is somebody's own server, and each open incident is said again each minute.
const PER_MINUTE: usize = 600;
/// One that takes longer is as good as gone: it must not spoil what another took, and both outbox
/// and drills wait for the slowest, drills for four seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// A member that could not be told of an end for this long is gone for good, and its alerts with it.
const GONE: Duration = Duration::from_secs(600);
/// More addresses than any cluster has.
const MOST_URLS: usize = 16;

/// Alertmanager, by its API v2.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend(
    "not" = { "anyOf": [{ "required": ["bearer", "user"] }, { "required": ["bearer", "password"] }] },
    "dependencies" = { "user": ["password"], "password": ["user"] },
))]
pub struct Keys {
    /// The address of an Alertmanager, or that of each of a cluster.
    #[schemars(length(min = 1, max = MOST_URLS))]
    urls: Spanned<Vec<Spanned<Text>>>,
    /// The token that it wants. Instead of `user` and `password`.
    bearer: Option<Spanned<SecretSource>>,
    /// Who the agent is there.
    user: Option<Spanned<String>>,
    /// Its password.
    password: Option<Spanned<SecretSource>>,
}

/// Opens `[notify.NAME.alertmanager]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Notifier>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let mut reading = Reading::new(opening);
    let urls = urls(&keys.urls, &mut reading);
    let login = login(&keys, &mut reading);
    let client = reading.client();
    let opened = urls.zip(login).zip(client).map(|((urls, (headers, secrets)), client)| {
        let doors = urls.into_iter().map(|url| Door::new(client.clone(), url, secrets.clone())).collect();
        Alertmanager { doors, headers }
    });
    reading.finish(opened).map(|opened| Arc::new(opened) as Arc<dyn Notifier>)
}

fn urls(written: &Spanned<Vec<Spanned<Text>>>, reading: &mut Reading<'_, '_>) -> Option<Vec<Url>> {
    let texts = written.get_ref();
    if texts.is_empty() || texts.len() > MOST_URLS {
        let what = if texts.is_empty() { "`urls` is empty" } else { "`urls` has too many addresses" };
        return reading.wrong(written.span(), what, "write [\"http://alertmanager:9093\"]");
    }
    let read: Vec<Option<Url>> = texts
        .iter()
        .map(|text| {
            let mut url = reading.url("urls", text, "http://alertmanager:9093")?;
            if url.query().is_some() {
                return reading.wrong(text.span(), "`urls` has a query", "write \"http://alertmanager:9093\"");
            }
            // An http URL has a path.
            url.path_segments_mut().ok()?.pop_if_empty().extend(ALERTS);
            Some(url)
        })
        .collect();
    read.into_iter().collect()
}

/// The header that says who we are, and what of it nobody may read.
fn login(keys: &Keys, reading: &mut Reading<'_, '_>) -> Option<(HeaderMap, Vec<Secret>)> {
    let (text, secret, at) = match (&keys.bearer, &keys.user, &keys.password) {
        (None, None, None) => return Some((HeaderMap::new(), Vec::new())),
        (Some(bearer), None, None) => {
            let token = reading.secret(bearer)?;
            (format!("Bearer {}", token.reveal()), token, bearer.span())
        }
        (None, Some(user), Some(password)) => {
            let secret = reading.secret(password)?;
            let pair = format!("{}:{}", user.get_ref(), secret.reveal());
            (format!("Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pair)), secret, user.span())
        }
        (Some(bearer), ..) => {
            return reading.wrong(bearer.span(), "`bearer` beside `user` or `password`", "keep one of them");
        }
        (None, Some(user), None) => {
            return reading.wrong(user.span(), "`user` without `password`", "give both, or neither");
        }
        (None, None, Some(password)) => {
            return reading.wrong(password.span(), "`password` without `user`", "give both, or neither");
        }
    };
    let Some(value) = hidden(&text) else {
        return reading.wrong(at, "the token cannot be sent in a header", "write one line of ASCII");
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value);
    Some((headers, vec![secret]))
}

/// One Alertmanager, or each of a cluster.
#[derive(Debug)]
struct Alertmanager {
    doors: Vec<Door>,
    headers: HeaderMap,
}

impl Alertmanager {
    /// To one address, bounded.
    async fn post(&self, door: &Door, body: Vec<u8>) -> Result<(), NotifyError> {
        let post = door.post(body, self.headers.clone(), any_success);
        let unanswered = |_| Err(NotifyError::Unreachable { detail: "it takes too long to answer".to_owned() });
        tokio::time::timeout(ANSWERS_WITHIN, post).await.unwrap_or_else(unanswered)
    }
}

/// One alert. What may change while it is open stands in annotations alone.
fn alert(message: &Message, page: &Page, ends: Timestamp) -> Json {
    let incident = &page.incident;
    let mut annotations = Map::new();
    let mut note = |name: &str, value: String| annotations.insert(name.to_owned(), value.into());
    note("summary", text::subject(message));
    note("description", text::plain(&text::sections(message)));
    note("suspects", cut(&write_labels(&incident.suspects), 500));
    note("outcome", incident.outcome.to_string());
    if let Some(runbook) = &page.runbook {
        note("runbook_url", cut(runbook, 1000));
    }
    let mut alert = json!({
        "labels": {
            "alertname": "LandfallIncident",
            "incident": cut(incident.id.as_str(), 64),
            "severity": page.severity.as_str(),
            "agent": cut(&page.agent, 200),
            "opening": page.opening.to_string(),
        },
        "annotations": annotations,
        "startsAt": began(page).to_string(),
        "endsAt": ends.to_string(),
    });
    if page.drill.is_some() {
        alert["labels"]["drill"] = "true".into();
    }
    // Anything but an address would be refused, and the alert with it.
    if let Some(link) = page.link.as_ref().filter(|link| Url::parse(link).is_ok()) {
        alert["generatorURL"] = cut(link, 1000).into();
    }
    alert
}

/// When it began: at its last good run, or long enough before it was told.
fn began(page: &Page) -> Timestamp {
    let onset = page.incident.onset;
    onset.last_good.unwrap_or(onset.first_bad).min(page.opening.minus(BEGAN_BEFORE))
}

/// An end that is one by any clock, and after the beginning.
fn ended(message: &Message, page: &Page) -> Timestamp {
    message.at.minus(CLOCKS_DIFFER).max(began(page).plus(Duration::from_secs(1)))
}

/// What several answers come to: taken if one took it, else what promises most.
fn together(answers: Vec<Result<(), NotifyError>>) -> Result<(), NotifyError> {
    let mut best: Option<NotifyError> = None;
    for answer in answers {
        let Err(error) = answer else { return Ok(()) };
        let hope = |error: &NotifyError| match error {
            NotifyError::Busy { .. } => 2,
            NotifyError::Unreachable { .. } => 1,
            NotifyError::Refused { .. } => 0,
        };
        if best.as_ref().is_none_or(|best| hope(&error) > hope(best)) {
            best = Some(error);
        }
    }
    best.map_or(Ok(()), Err)
}

/// No member of a cluster tells another of alerts: one that was not told of an end shows the alert
/// for hours. What goes on under another key is told by that one, and must not wait for this.
fn waits_for_all(page: &Page, at: Timestamp) -> bool {
    page.incident.resolved_at.is_some_and(|over| at.since(over) <= GONE)
}

/// What several answers come to if all are needed: taken if each took it.
fn each(answers: Vec<Result<(), NotifyError>>) -> Result<(), NotifyError> {
    let (all, without) = (answers.len(), answers.iter().filter(|answer| answer.is_err()).count());
    together(answers)?;
    if without == 0 {
        return Ok(());
    }
    let detail = format!("{without} of {all} Alertmanagers were not told that it is over");
    Err(NotifyError::Busy { detail, retry_after: None })
}

#[async_trait]
impl Notifier for Alertmanager {
    async fn tell(&self, message: &Message) -> Result<(), NotifyError> {
        let alert = match &message.what {
            What::Trigger(page) | What::Again(page) => alert(message, page, message.at.plus(STANDS)),
            What::Over(page) => alert(message, page, message.at.plus(OVER)),
            What::Resolve(page) => alert(message, page, ended(message, page)),
            What::Deploy(_) => {
                return Err(NotifyError::Refused { detail: "Alertmanager knows no deploys".to_owned() });
            }
        };
        let body = json!([alert]).to_string().into_bytes();
        let answers = join_all(self.doors.iter().map(|door| self.post(door, body.clone()))).await;
        match &message.what {
            What::Resolve(page) if waits_for_all(page, message.at) => each(answers),
            _ => together(answers),
        }
    }

    fn manner(&self) -> Manner {
        Manner { keeps: Keeps::ExpiringAlerts, again: Some(AGAIN), takes_deploys: false, per_minute: PER_MINUTE }
    }

    fn identity(&self) -> String {
        let login = told_apart(&self.headers);
        let mut addresses: Vec<&str> = self.doors.iter().map(Door::address).collect();
        addresses.sort_unstable();
        digest(&[&["alertmanager", &login], addresses.as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_if_one_took_it_and_else_tried_as_long_as_there_is_hope() {
        let refused = || Err(NotifyError::Refused { detail: "no".to_owned() });
        let away = || Err(NotifyError::Unreachable { detail: "nobody".to_owned() });
        let busy = || Err(NotifyError::Busy { detail: "later".to_owned(), retry_after: None });
        assert!(together(vec![refused(), Ok(()), away()]).is_ok());
        let error = |answers| together(answers).expect_err("nobody took it").to_string();
        assert_eq!(error(vec![refused(), away()]), "could not be reached: nobody");
        assert_eq!(error(vec![away(), busy(), refused()]), "not now: later");
        assert_eq!(error(vec![refused(), refused()]), "refused: no");
    }
}

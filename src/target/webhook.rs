//! The agent's own intake as a target: platforms send rows as JSON, the agent reads what it kept.

pub mod intake;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

pub use intake::{Deliveries, Delivery, Intake, Rejected};

use super::{Swept, Target, TargetError, cut, decode, decode::Decoded};
use crate::{
    canary::{Address, Carries, Marker, Mode, Run, Secret, Sighting, Tally, TargetName, Timestamp},
    config::{Opening, Problem, Problems, Spanned, keys_in_order},
    http::{Wire, chain},
};

/// HTTP output can only add.
pub const MODES: &[Mode] = &[Mode::Append];

/// What leads into it.
pub const SCHEMES: &[&str] = &["web", "webs", "http", "https"];

/// Its table with all that has to be filled in.
pub const EXAMPLE: &str = r#"# The agent's own intake.
[target.NAME.webhook]
# intake_url = "https://landfall.example.com:9441" # how the platform reaches it, where that is not `intake`
"#;

/// Lost rows are looked for until three deadlines have passed; rows of runs that nobody looks for
/// any more are not taken.
const WATCHED_DEADLINES: u32 = 3;
/// Submits may be accepted some time after they were due.
const WATCHED_LONGER: Duration = Duration::from_secs(600);
/// Longest wait for the agent's own listener.
const PATIENCE: Duration = Duration::from_secs(5);

/// The agent's own intake, for Result Output over HTTP.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Keys {
    /// How the platform reaches the agent's intake. Absent: where it listens.
    intake_url: Option<Spanned<String>>,
}

/// Opens `[target.NAME.webhook]` on the agent's intake.
pub fn open(opening: &Opening<'_>, intake: &Arc<Intake>) -> Result<Arc<dyn Target>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let whole = || opening.section.table.span();
    let name = TargetName::new(opening.name)
        .map_err(|error| vec![opening.section.problem(whole(), error.to_string(), None)])?;
    let outside = keys.intake_url.map(|url| outside(opening, &url)).transpose().map_err(|problem| vec![problem])?;
    let webhook = Webhook::new(name, outside, intake.clone())
        .map_err(|error| vec![opening.section.problem(whole(), error, None)])?;
    Ok(Arc::new(webhook))
}

fn outside(opening: &Opening<'_>, url: &Spanned<String>) -> Result<Url, Problem> {
    let hint = || Some("write how the platform reaches the agent: \"https://mon-1.example.com:9441\"".to_owned());
    let problem = |what: &str| opening.section.problem(url.span(), format!("`intake_url` {what}"), hint());
    let parsed = Url::parse(url.get_ref()).map_err(|error| problem(&format!("is not a URL: {error}")))?;
    if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
        return Err(problem("is not an http:// or https:// URL"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(problem("has a user or password in it; the agent makes its own"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(problem("has a query or fragment"));
    }
    Ok(parsed)
}

/// The agent's intake as one target.
#[derive(Debug)]
pub struct Webhook {
    name: TargetName,
    outside: Option<Url>,
    intake: Arc<Intake>,
    client: reqwest::Client,
}

impl Webhook {
    /// A target that platforms reach at `outside`; absent: where the intake listens.
    pub fn new(name: TargetName, outside: Option<Url>, intake: Arc<Intake>) -> Result<Self, String> {
        intake.admit(&name);
        // The agent reaches itself without the proxy that leads to the world.
        let client = Wire::default().client().map_err(|error| error.to_string())?;
        Ok(Self { name, outside, intake, client })
    }

    fn place_of(&self, run: &Run) -> Address {
        let (scheme, place) = match &self.outside {
            Some(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let place = format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'));
                (if url.scheme() == "https" { "webs" } else { "web" }, place)
            }
            None => ("web", self.intake.address().to_string()),
        };
        let password = self.intake.password(&self.name).unwrap_or_else(|| Secret::new(""));
        let path = self.path(run.marker);
        let url = |password: &str| format!("{scheme}://{}:{password}@{place}{path}", intake::USER);
        Address { url: Secret::new(url(password.reveal())), shown: url("…"), place: path, mode: run.route.mode }
    }

    fn path(&self, run: Marker) -> String {
        format!("/landing/{}/{run}", self.name)
    }

    async fn find(&self, runs: &[Marker]) -> Result<Vec<Delivery>, TargetError> {
        let deliveries = self.intake.deliveries().ok_or_else(|| unreachable("the ledger is not open"))?;
        deliveries.find(&self.name, runs).await.map_err(|error| unreachable(&error))
    }
}

fn unreachable(detail: &str) -> TargetError {
    TargetError::Unreachable { detail: cut(detail) }
}

/// Rows whose bodies are held in memory at once: some megabytes, and any usual look in one read.
const ROWS_AT_ONCE: u32 = 20_000;

/// How many of the first runs are read together; at least one.
fn at_once(runs: &[Arc<Run>]) -> usize {
    let mut rows = 0u32;
    let within = |run: &&Arc<Run>| {
        rows = rows.saturating_add(run.sample.rows);
        rows <= ROWS_AT_ONCE
    };
    runs.iter().take_while(within).count().max(1)
}

/// What the deliveries of one run come to. Several are copies of each other.
fn sighting(run: &Run, deliveries: &[&Delivery]) -> Sighting {
    let enough = Tally::enough(run.sample) as usize;
    let carries = Carries::default();
    let decoded: Vec<Decoded> =
        deliveries.iter().map(|delivery| decode::document(&delivery.body, run.columns(), enough)).collect();
    let count = |of: &[Decoded]| {
        let mut tally = Tally::of(run, &carries);
        of.iter().for_each(|decoded| decoded.count(&mut tally, run.sample));
        tally.finish()
    };
    let rows = count(&decoded);
    // Landed with the delivery that brought the last missing row. The clock is the agent's own.
    let landed_at = (rows.right == rows.expected)
        .then(|| (1..=decoded.len()).find(|n| count(&decoded[..*n]).right == rows.expected))
        .flatten()
        .map(|n| deliveries[n - 1].at);
    Sighting { rows, landed_at, ..Sighting::default() }
}

/// Forgets a control's marker however the control ends.
struct Expected<'a>(&'a Webhook, Marker);

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.0.intake.forget(&self.0.name, self.1);
    }
}

#[async_trait]
impl Target for Webhook {
    fn address(&self, run: &Run) -> Address {
        // Whoever asks for the address is about to submit, or to go on with, this run.
        let until = run.terms.due.plus(run.terms.deadline * WATCHED_DEADLINES + WATCHED_LONGER);
        self.intake.expect(&self.name, run.marker, run.terms.due, until);
        self.place_of(run)
    }

    fn delivered_to(&self, run: &Run) -> Address {
        self.place_of(run)
    }

    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        let mut sightings = Vec::with_capacity(runs.len());
        let mut rest = runs;
        while !rest.is_empty() {
            let (group, later) = rest.split_at(at_once(rest));
            let markers: Vec<Marker> = group.iter().map(|run| run.marker).collect();
            let deliveries = self.find(&markers).await?;
            let of = |run: &Run| deliveries.iter().filter(|delivery| delivery.marker == run.marker).collect::<Vec<_>>();
            sightings.extend(group.iter().map(|run| sighting(run, &of(run))));
            rest = later;
        }
        Ok(sightings)
    }

    async fn control(&self) -> Result<(), TargetError> {
        let address = self.intake.listening().ok_or_else(|| unreachable("the intake is not listening yet"))?;
        let password =
            self.intake.password(&self.name).ok_or_else(|| unreachable("the intake knows no such target"))?;
        // Minted at the epoch: older than any run, and never one.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..));
        self.intake.expect(&self.name, marker, Timestamp::EPOCH, Timestamp::from_micros(i64::MAX));
        let _expected = Expected(self, marker);
        let answer = self
            .client
            .put(format!("http://{address}{}", self.path(marker)))
            .basic_auth(intake::USER, Some(password.reveal()))
            .header("content-type", "application/json")
            .body(format!(r#"{{"column_names":["marker"],"column_types":["string"],"data":[["{marker}"]]}}"#))
            .timeout(PATIENCE)
            .send()
            .await
            .map_err(|error| unreachable(&format!("the agent's own intake: {}", chain(error))))?;
        match answer.status().as_u16() {
            200..=299 => {}
            401 | 403 => return Err(TargetError::Denied { detail: "the agent's own intake refused it".to_owned() }),
            status => return Err(unreachable(&format!("the agent's own intake answered {status}"))),
        }
        match self.find(&[marker]).await?.as_slice() {
            [_] => Ok(()),
            found => {
                Err(TargetError::Nonsense { detail: format!("one delivery was made and {} are stored", found.len()) })
            }
        }
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError> {
        let deliveries = self.intake.deliveries().ok_or_else(|| unreachable("the ledger is not open"))?;
        let removed = deliveries.sweep(&self.name, older_than).await.map_err(|error| unreachable(&error))?;
        Ok(Swept { removed })
    }
}

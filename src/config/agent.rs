//! `[agent]`: the agent itself.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;
use serde::Deserialize;
use toml::Spanned;

use super::{
    Options,
    decode::decode,
    length::Length,
    plan::{AgentPlan, UpkeepPlan},
    problem::Problems,
    secret::{SecretSource, UrlSource},
    section::{Section, secret},
    upkeep,
};
use crate::{canary::Secret, http::Wire};

/// Where pages, API and metrics are unless the config says otherwise: this machine only, since the
/// API without a token tells everybody what runs here.
const LISTEN: &str = "127.0.0.1:9440";
/// What customers use changes from day to day, not from minute to minute.
const COVERAGE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A look at a large account takes minutes.
const LEAST_COVERAGE_EVERY: Duration = Duration::from_secs(600);
/// Longest name of an agent, and longest value of a label.
pub(super) const LONGEST_TEXT: usize = 200;
/// Longest address in a page.
const LONGEST_LINK: usize = 1_000;
/// Longest name in DNS.
const LONGEST_HOST: usize = 253;

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    hosts: Option<Vec<Spanned<String>>>,
    url: Option<Spanned<String>>,
    runbook: Option<Spanned<String>>,
    intake: Option<Spanned<String>>,
    store: Option<Spanned<String>>,
    probes: Option<Spanned<PathBuf>>,
    detect_within: Option<Spanned<Length>>,
    token: Option<Spanned<SecretSource>>,
    proxy: Option<Spanned<UrlSource>>,
    ca_bundle: Option<Spanned<PathBuf>>,
    drill: Option<upkeep::Drill>,
    heartbeat: Option<upkeep::Heartbeat>,
    coverage_every: Option<Spanned<Length>>,
}

/// What `[agent]` says, and the folder of probes with its place if the key is written.
pub(super) struct Agent {
    pub plan: AgentPlan,
    pub probes: PathBuf,
    pub probes_at: Option<std::ops::Range<usize>>,
}

/// Reads `[agent]`. Where something is wrong, the default stands in, so that reading can go on.
pub(super) fn read(section: &Section<'_>, options: &Options, problems: &mut Problems) -> Agent {
    let decoded = decode::<Written>(&section.table, section.table.span());
    problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
    let written = decoded.value.unwrap_or_default();
    let mut reading = Reading { section, options, problems };
    let listen = written.listen.as_ref().and_then(|text| reading.socket(text));
    let intake = written.intake.as_ref().and_then(|text| reading.socket(text));
    let listen = listen.unwrap_or_else(|| LISTEN.parse().expect("an address and a port"));
    if let (Some(at), Some(intake)) = (&written.intake, intake)
        && intake == listen
        && intake.port() != 0
    {
        let hint = "leave `intake` away: landings are then taken on `listen`";
        reading.wrong(at, "`intake` is the same as `listen`", hint);
    }
    let plan = AgentPlan {
        name: written.name.as_ref().map_or("landfall".to_owned(), |name| reading.name(name)),
        listen,
        hosts: written.hosts.iter().flatten().filter_map(|host| reading.host(host)).collect(),
        url: written.url.as_ref().and_then(|url| reading.link("url", url)),
        runbook: written.runbook.as_ref().and_then(|url| reading.link("runbook", url)),
        intake,
        store: reading.store(written.store.as_ref()),
        detect_within: written.detect_within.as_ref().map(|length| {
            if length.get_ref().0.is_zero() {
                reading.wrong(length, "`detect_within` is nothing", "write how soon a total fault must page: \"6m\"");
            }
            length.get_ref().0
        }),
        coverage_every: reading.coverage_every(written.coverage_every.as_ref()),
        token: written.token.as_ref().and_then(|source| reading.secret(source)),
        wire: reading.wire(written.proxy.as_ref(), written.ca_bundle.as_ref()),
        file: section.file.0.clone(),
        // The silences are read when the routes are known.
        upkeep: UpkeepPlan::default(),
        // `[web]` is read when it is known where the agent listens.
        public: None,
    };
    let upkeep = UpkeepPlan {
        drill: upkeep::drill(section, written.drill.as_ref(), options, problems),
        heartbeat: upkeep::heartbeat(section, written.heartbeat.as_ref(), options, problems),
        silences: Vec::new(),
    };
    let plan = AgentPlan { upkeep, ..plan };
    let probes_at = written.probes.as_ref().map(Spanned::span);
    let probes = section.path(written.probes.as_ref().map_or(Path::new("probes"), |probes| probes.get_ref()));
    Agent { plan, probes, probes_at }
}

struct Reading<'a> {
    section: &'a Section<'a>,
    options: &'a Options,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn wrong<T>(&mut self, at: &Spanned<T>, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(self.section.problem(at.span(), what, Some(hint.into())));
    }

    fn socket(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        socket(self.section, text, self.problems)
    }

    fn name(&mut self, name: &Spanned<String>) -> String {
        if let Err(why) = check_text(name.get_ref()) {
            self.wrong(name, format!("`name` {why}"), "write who this agent is: \"mon-1\"");
        }
        name.get_ref().clone()
    }

    fn host(&mut self, host: &Spanned<String>) -> Option<String> {
        let hint = "write a name without scheme and port: \"mon.example.com\"";
        let name = host.get_ref();
        let is_label = |label: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !label.is_empty() && label.chars().all(fits) && !label.starts_with('-') && !label.ends_with('-')
        };
        let is_name = name.len() <= LONGEST_HOST && name.trim_end_matches('.').split('.').all(is_label);
        if !is_name && name.parse::<IpAddr>().is_err() {
            self.wrong(host, format!("`{}` is not the name of a host", brief(name)), hint);
            return None;
        }
        Some(name.clone())
    }

    /// An address that people open in a browser. It stands in pages: nothing secret belongs in it.
    fn link(&mut self, key: &str, text: &Spanned<String>) -> Option<Url> {
        let hint = "write what people open in a browser: \"https://landfall.example.com\"";
        let url = Url::parse(text.get_ref()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(|url| url.has_host() && url.as_str().len() <= LONGEST_LINK) else {
            self.wrong(text, format!("`{key}` is not the address of a page"), hint);
            return None;
        };
        if url.password().is_some() || !url.username().is_empty() {
            self.wrong(text, format!("`{key}` has a user or password in it"), hint);
            return None;
        }
        Some(url)
    }

    fn store(&mut self, store: Option<&Spanned<String>>) -> PathBuf {
        let Some(store) = store else { return self.section.path(Path::new("landfall.db")) };
        let hint = "name a file: \"landfall.db\"";
        match store.get_ref().split_once("://") {
            Some(("postgresql" | "postgres", _)) => {
                self.wrong(store, "the ledger cannot be in PostgreSQL, not yet", hint)
            }
            Some(_) => self.wrong(store, "`store` is a URL", hint),
            None if store.get_ref().is_empty() => self.wrong(store, "`store` is empty", hint),
            None => {}
        }
        self.section.path(Path::new(store.get_ref()))
    }

    /// Zero: never.
    fn coverage_every(&mut self, written: Option<&Spanned<Length>>) -> Option<Duration> {
        let Some(written) = written else { return Some(COVERAGE_EVERY) };
        let Length(every) = *written.get_ref();
        if !every.is_zero() && every < LEAST_COVERAGE_EVERY {
            let hint = "write \"1d\", or \"0s\" for never: each look reads all jobs of a month";
            self.wrong(written, "`coverage_every` is shorter than 10m", hint);
        }
        (!every.is_zero()).then_some(every)
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        secret(self.section, source, self.options.without_secrets).map_err(|problem| self.problems.push(problem)).ok()
    }

    fn wire(&mut self, proxy: Option<&Spanned<UrlSource>>, ca_bundle: Option<&Spanned<PathBuf>>) -> Wire {
        let wire = Wire {
            proxy: proxy.and_then(|proxy| self.proxy(proxy)),
            ca_bundle: ca_bundle.map(|path| self.section.path(path.get_ref())),
        };
        if let Some(at) = ca_bundle
            && let Err(error) = (Wire { proxy: None, ..wire.clone() }).client()
        {
            self.wrong(at, error.to_string(), "name a PEM file with certificates of CAs");
            // Said once is enough: drivers that open clients would say it again.
            return Wire { ca_bundle: None, ..wire };
        }
        wire
    }

    fn proxy(&mut self, proxy: &Spanned<UrlSource>) -> Option<Url> {
        let hint = "write \"http://HOST:PORT\", with https or socks5 where the proxy speaks that";
        let (text, in_the_open) = match proxy.get_ref() {
            UrlSource::Url(text) => (text.clone(), true),
            UrlSource::Secret(source) => {
                let text = self.secret(&Spanned::new(proxy.span(), source.clone()))?;
                if self.options.without_secrets {
                    return None;
                }
                (text.reveal().to_owned(), false)
            }
        };
        // The text is never repeated: it may have a password in it.
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h"));
        let Some(url) = url.filter(|url| url.has_host()) else {
            self.wrong(proxy, "`proxy` is not a proxy's URL", hint);
            return None;
        };
        if in_the_open && url.password().is_some() {
            self.wrong(
                proxy,
                "`proxy` has a password in the open",
                super::secret::SHAPE.to_owned() + " with the whole URL in it",
            );
            return None;
        }
        Some(url)
    }
}

/// An address to listen on.
pub(super) fn socket(section: &Section<'_>, text: &Spanned<String>, problems: &mut Problems) -> Option<SocketAddr> {
    let address = text.get_ref().parse().ok();
    if address.is_none() {
        let hint = "write an address and a port: \"127.0.0.1:9440\", or \"0.0.0.0:9440\" for all addresses";
        let what = format!("`{}` is not an address to listen on", brief(text.get_ref()));
        problems.push(section.problem(text.span(), what, Some(hint.to_owned())));
    }
    address
}

/// Whether a text can stand in pages, metrics and notifications.
pub(super) fn check_text(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        return Err("is empty");
    }
    if text.chars().count() > LONGEST_TEXT {
        return Err("is longer than 200 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("has control characters");
    }
    Ok(())
}

/// The start of a text, for a message.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

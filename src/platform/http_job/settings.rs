//! Settings of `[platform.NAME.http-job]`: the tables as written, and the API as meant. All that is wrong
//! is said at once, each with its place.

mod checks;

use std::{collections::BTreeMap, time::Duration};

use reqwest::Url;
use serde::Deserialize;
use toml::Spanned;

use self::checks::Checks;
use super::{
    body::{Body, Node},
    dialect::Sql,
    pointer::Pointer,
    request::Request,
    template::{Template, Word},
};
use crate::{
    canary::{Phase, Secret},
    config::{Length, Opening, Problems, SecretSource},
};

/// Longest wait for one answer, unless the config says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

type Texts = BTreeMap<Spanned<String>, Spanned<String>>;

/// The table as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    endpoint: Spanned<String>,
    in_the_clear: Option<bool>,
    dialect: Spanned<String>,
    seed_table: Option<Spanned<String>>,
    timeout: Option<Spanned<Length>>,
    bearer: Option<Spanned<SecretSource>>,
    basic: Option<Spanned<Basic>>,
    #[serde(default)]
    secrets: BTreeMap<Spanned<String>, Spanned<SecretSource>>,
    #[serde(default)]
    headers: Texts,
    outputs: Option<Texts>,
    submit: Spanned<SubmitKeys>,
    find: Option<Spanned<FindKeys>>,
    look: Spanned<LookKeys>,
    cancel: Option<Spanned<CancelKeys>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Basic {
    user: Spanned<String>,
    password: Spanned<SecretSource>,
}

/// The keys that every request has, and its own. Spelled out in each, since a flattened table would lose
/// the places of its keys.
macro_rules! request_keys {
    ($name:ident { $($key:ident: $of:ty,)* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            method: Option<Spanned<String>>,
            path: Spanned<String>,
            #[serde(default)]
            headers: Texts,
            json: Option<Spanned<Node>>,
            form: Option<Spanned<Texts>>,
            $($key: $of,)*
        }

        impl $name {
            fn written(&self) -> Written<'_> {
                Written {
                    method: self.method.as_ref(),
                    path: &self.path,
                    headers: &self.headers,
                    json: self.json.as_ref(),
                    form: self.form.as_ref(),
                }
            }
        }
    };
}

request_keys!(SubmitKeys { id: Spanned<String>, existing_id: Option<Spanned<String>>, });
request_keys!(FindKeys { id: Spanned<String>, });
request_keys!(LookKeys {
    status: Spanned<String>,
    statuses: Spanned<Texts>,
    rows: Option<Spanned<String>>,
    error: Option<Spanned<String>>,
    phase: Option<Spanned<String>>,
    phases: Option<Spanned<Texts>>,
});
request_keys!(CancelKeys {});

/// A request as written.
struct Written<'a> {
    method: Option<&'a Spanned<String>>,
    path: &'a Spanned<String>,
    headers: &'a Texts,
    json: Option<&'a Spanned<Node>>,
    form: Option<&'a Spanned<Texts>>,
}

/// Where the platform says a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Running,
    Exporting,
    Done,
    Error,
    Killed,
}

impl Status {
    const ALL: [(&'static str, Status); 6] = [
        ("queued", Status::Queued),
        ("running", Status::Running),
        ("exporting", Status::Exporting),
        ("done", Status::Done),
        ("error", Status::Error),
        ("killed", Status::Killed),
    ];

    /// How far a job of this status is, if the platform does not say more.
    pub(super) fn phase(self) -> Phase {
        match self {
            Status::Queued => Phase::Queue,
            Status::Running | Status::Error | Status::Killed => Phase::Execute,
            Status::Exporting | Status::Done => Phase::Export,
        }
    }
}

/// Phases that a platform may be in.
const PHASES: [(&str, Phase); 3] = [("queue", Phase::Queue), ("execute", Phase::Execute), ("export", Phase::Export)];

/// How a job is submitted.
#[derive(Debug)]
pub(super) struct Submit {
    pub(super) request: Request,
    pub(super) id: Pointer,
    /// Where a 409 names the job that is there already.
    pub(super) existing_id: Option<Pointer>,
}

/// How a job is found by its run's marker.
#[derive(Debug)]
pub(super) struct Find {
    pub(super) request: Request,
    pub(super) id: Pointer,
}

/// How a job is looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) request: Request,
    pub(super) status: Pointer,
    pub(super) statuses: Vec<(String, Status)>,
    pub(super) rows: Option<Pointer>,
    pub(super) error: Option<Pointer>,
    pub(super) phase: Option<Pointer>,
    pub(super) phases: Vec<(String, Phase)>,
}

/// An API as the config declares it. Everything in it has been checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Url,
    pub(super) sql: Sql,
    pub(super) seed_table: Option<String>,
    pub(super) timeout: Duration,
    pub(super) login: Option<Login>,
    pub(super) secrets: Vec<(String, Secret)>,
    pub(super) headers: Vec<(reqwest::header::HeaderName, Template)>,
    pub(super) outputs: Option<BTreeMap<String, String>>,
    pub(super) submit: Submit,
    pub(super) find: Option<Find>,
    pub(super) look: Look,
    pub(super) cancel: Option<Request>,
}

/// What stands in `Authorization`.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) header: reqwest::header::HeaderValue,
    /// What a server could quote of it.
    pub(super) secrets: Vec<Secret>,
}

impl Settings {
    /// From the config.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, Problems> {
        let keys: Keys = opening.section.decode()?;
        let mut checks = Checks::new(opening);
        let endpoint = checks.endpoint(&keys.endpoint, keys.in_the_clear == Some(true));
        let sql = checks.sql(&keys.dialect);
        let seed_table = keys.seed_table.as_ref().and_then(|name| checks.seed_table(name));
        let timeout = checks.timeout(keys.timeout.as_ref()).unwrap_or(TIMEOUT);
        let secrets = checks.secrets(&keys.secrets);
        let login = checks.login(keys.bearer.as_ref(), keys.basic.as_ref());
        checks.outputs = keys.outputs.is_some();
        let headers = checks.headers(&keys.headers, checks::NOTHING, login.is_some());
        let outputs = keys.outputs.as_ref().map(|outputs| checks.named(outputs));
        let submit = checks.submit(&keys.submit);
        let find = keys.find.as_ref().map(|find| checks.find(find));
        let look = checks.look(&keys.look);
        let cancel = keys.cancel.as_ref().map(|cancel| {
            let request = checks.request(&cancel.get_ref().written(), checks::OF_A_JOB, "POST");
            checks.must_use(request.as_ref(), "id", cancel.span());
            request
        });
        let problems = checks.problems;
        match (endpoint, sql, headers, submit, look) {
            (Some(endpoint), Some(sql), Some(headers), Some(submit), Some(look)) if problems.is_empty() => Ok(Self {
                endpoint,
                sql,
                seed_table,
                timeout,
                login,
                secrets,
                headers,
                outputs,
                submit,
                find: find.flatten(),
                look,
                cancel: cancel.flatten(),
            }),
            _ => Err(problems),
        }
    }
}

/// Every template of a request.
/// Whether a request says how rows are to be written: by the mode's name, or by the target's own address.
pub(super) fn tells_mode(request: &Request) -> bool {
    templates(request).iter().any(|template| template.words().any(|word| matches!(word, Word::Mode | Word::Address)))
}

fn templates(request: &Request) -> Vec<&Template> {
    let mut all: Vec<&Template> = vec![&request.path];
    all.extend(request.headers.iter().map(|(_, template)| template));
    match &request.body {
        Body::Nothing => {}
        Body::Form(fields) => all.extend(fields.iter().map(|(_, template)| template)),
        Body::Json(json) => json.templates(&mut all),
    }
    all
}

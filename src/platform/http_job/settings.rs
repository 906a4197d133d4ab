//! Settings of `[platform.NAME.http-job]`: the tables as written, and the API as meant. All that is wrong
//! is said at once, each with its place.

mod checks;

use std::{collections::BTreeMap, time::Duration};

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use self::checks::Checks;
use super::{
    body::{Body, Node},
    dialect::Sql,
    pointer::{POINTER, Pointer},
    request::Request,
    template::{Template, Word},
};
use crate::{
    canary::{Phase, Secret},
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order},
    http::HEADER_NAME,
};

/// Longest wait for one answer, unless the config says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

type Texts = BTreeMap<Spanned<String>, Spanned<String>>;

/// Any job API: takes a job over HTTP, says how it is, and writes the rows itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("not" = { "required": ["bearer", "basic"] }))]
pub struct Keys {
    /// The address that all paths begin with; nothing else is ever called.
    endpoint: Spanned<String>,
    /// Lets `endpoint` be http: nobody can listen on the way.
    #[schemars(extend("default" = false))]
    in_the_clear: Option<bool>,
    /// Whose SQL the jobs carry.
    #[schemars(extend("enum" = Sql::ALL.map(Sql::as_str)))]
    dialect: Spanned<String>,
    /// A table that holds what `landfall seeds` says. Absent: the seeds stand in the query itself.
    #[schemars(length(min = 1))]
    seed_table: Option<Spanned<String>>,
    /// Longest wait for one answer, at most 20s.
    #[schemars(extend("default" = Length(TIMEOUT), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
    /// The token that is sent as `Authorization: Bearer`. Instead of `basic`.
    bearer: Option<Spanned<SecretSource>>,
    /// User and password that are sent as `Authorization: Basic`. Instead of `bearer`.
    basic: Option<Spanned<Basic>>,
    /// What `{secret.NAME}` stands for, by name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9_-]+$" }))]
    secrets: BTreeMap<Spanned<String>, Spanned<SecretSource>>,
    /// Headers of every request.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": HEADER_NAME }))]
    headers: Texts,
    /// What `{output}` stands for, by the target's name.
    outputs: Option<Texts>,
    /// How a job is submitted. Its placeholders: `{marker}` `{query}` `{address}` `{place}` `{output}` `{mode}` `{rows}`.
    submit: Spanned<SubmitKeys>,
    /// How a job is found by its run's `{marker}`: without it a submit that was not answered is lost from sight.
    find: Option<Spanned<FindKeys>>,
    /// How a job is looked at, by its `{id}`.
    look: Spanned<LookKeys>,
    /// How a job is stopped, by its `{id}`.
    cancel: Option<Spanned<CancelKeys>>,
}

/// A login.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
struct Basic {
    /// Who asks.
    #[schemars(extend("pattern" = "^[^:]+$"))]
    user: Spanned<String>,
    /// The password.
    password: Spanned<SecretSource>,
}

/// The keys that every request has, and its own. Spelled out in each, since a flattened table would lose
/// the places of its keys.
macro_rules! request_keys {
    ($name:ident by $method:literal $(requiring $dependencies:tt)? { $($(#[$about:meta])* $key:ident: $of:ty,)* }) => {
        /// A request.
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(transform = keys_in_order::<Self>, extend("not" = { "required": ["json", "form"] }))]
        $(#[schemars(extend("dependencies" = $dependencies))])?
        struct $name {
            /// Of HTTP.
            #[schemars(extend("default" = $method, "enum" = checks::METHODS.map(|(name, _)| name)))]
            method: Option<Spanned<String>>,
            /// What follows `endpoint`.
            path: Spanned<String>,
            /// Headers of this request.
            #[serde(default)]
            #[schemars(extend("propertyNames" = { "pattern": HEADER_NAME }))]
            headers: Texts,
            /// A body in JSON, whose texts may have placeholders. Instead of `form`.
            json: Option<Spanned<Node>>,
            /// A body as forms are sent. Instead of `json`.
            form: Option<Spanned<Texts>>,
            $($(#[$about])* $key: $of,)*
        }

        impl $name {
            const METHOD: &'static str = $method;

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

request_keys!(SubmitKeys by "POST" {
    /// Where the answer says which job it is, a JSON pointer: `/id`.
    #[schemars(extend("pattern" = POINTER))]
    id: Spanned<String>,
    /// Where a 409 names the job that is there already.
    #[schemars(extend("pattern" = POINTER))]
    existing_id: Option<Spanned<String>>,
});
request_keys!(FindKeys by "GET" {
    /// Where the answer says which job it is: `/jobs/0/id`.
    #[schemars(extend("pattern" = POINTER))]
    id: Spanned<String>,
});
request_keys!(LookKeys by "GET" requiring { "phase": ["phases"], "phases": ["phase"] } {
    /// Where the answer says how the job is.
    #[schemars(extend("pattern" = POINTER))]
    status: Spanned<String>,
    /// What its words mean; one of them must mean `done`.
    #[schemars(extend(
        "additionalProperties" = { "type": "string", "enum": Status::ALL.map(|(name, _)| name) },
        "not" = { "additionalProperties": { "not": { "const": "done" } } },
    ))]
    statuses: Spanned<Texts>,
    /// Where it says how many rows were written.
    #[schemars(extend("pattern" = POINTER))]
    rows: Option<Spanned<String>>,
    /// Where it says what went wrong.
    #[schemars(extend("pattern" = POINTER))]
    error: Option<Spanned<String>>,
    /// Where it says in which phase the job is.
    #[schemars(extend("pattern" = POINTER))]
    phase: Option<Spanned<String>>,
    /// What those words mean.
    #[schemars(extend("additionalProperties" = { "type": "string", "enum": PHASES.map(|(name, _)| name) }))]
    phases: Option<Spanned<Texts>>,
});
request_keys!(CancelKeys by "POST" {});

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
            let request = checks.request(&cancel.get_ref().written(), checks::OF_A_JOB, CancelKeys::METHOD);
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

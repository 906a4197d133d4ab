//! Checks: each key of the table against what it may be. What is wrong is noted, and the next one read.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use base64::Engine as _;
use reqwest::{
    Method, Url,
    header::{HeaderName, HeaderValue},
};

use super::{
    Basic, Find, FindKeys, Login, Look, LookKeys, PHASES, Status, Submit, SubmitKeys, Texts, Written, templates,
};
use crate::{
    canary::{Phase, Secret},
    config::{Length, Opening, Problems, SecretSource, Spanned, nearest},
    http::is_private,
    platform::http_job::{
        body::{Body, JsonTemplate},
        dialect::Sql,
        pointer::Pointer,
        request::{Request, checked_path},
        template::{Template, Word, WrongTemplate},
    },
};

/// Placeholders of a submit.
const OF_A_RUN: &[Word] =
    &[Word::Marker, Word::Query, Word::Address, Word::Place, Word::Output, Word::Mode, Word::Rows];
/// Of a request that finds a job.
const OF_A_MARKER: &[Word] = &[Word::Marker];
/// Of a request about a job that is known.
pub(super) const OF_A_JOB: &[Word] = &[Word::Id];
/// Of what every request has.
pub(super) const NOTHING: &[Word] = &[];

/// Methods that a request may have.
pub(super) const METHODS: [(&str, Method); 5] = [
    ("GET", Method::GET),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];

/// Headers that are HTTP's own business.
const OWN_HEADERS: [&str; 7] = ["connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"];

/// The agent gives a call 20 s.
const MOST_PATIENCE: Duration = Duration::from_secs(20);

/// Collects what is wrong.
pub(super) struct Checks<'a> {
    opening: &'a Opening<'a>,
    pub(super) problems: Problems,
    secrets: Vec<(String, Secret)>,
    /// Whether targets have names here.
    pub(super) outputs: bool,
}

impl<'a> Checks<'a> {
    pub(super) fn new(opening: &'a Opening<'a>) -> Self {
        Self { opening, problems: Problems::new(), secrets: Vec::new(), outputs: false }
    }

    fn wrong<T>(&mut self, at: Range<usize>, what: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.problems.push(self.opening.section.problem(at, what, Some(hint.into())));
        None
    }

    /// `in_the_clear`: somebody has written that nobody can listen on the way.
    pub(super) fn endpoint(&mut self, written: &Spanned<String>, in_the_clear: bool) -> Option<Url> {
        let hint = "write the address that all paths begin with, such as \"https://jobs.example.com/api\"";
        // The text itself is not repeated: it may have a password in it.
        let url = match Url::parse(written.get_ref()) {
            Ok(url) => url,
            Err(error) => return self.wrong(written.span(), format!("`endpoint` is not a URL: {error}"), hint),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return self.wrong(written.span(), "`endpoint` is not an http or https URL", hint);
        }
        if !url.username().is_empty() || url.password().is_some() {
            let hint = "leave it out, and name the password's place in `basic`";
            return self.wrong(written.span(), "`endpoint` has a user or password in it", hint);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return self.wrong(written.span(), "`endpoint` has a query or fragment", hint);
        }
        // Logins, and addresses of targets with their passwords, are in what is sent.
        if !in_the_clear && !is_private(&url) {
            let hint = "write an https `endpoint`; or in_the_clear = true, if nobody can listen on the way";
            return self.wrong(written.span(), "passwords would be sent in the clear", hint);
        }
        Some(url)
    }

    pub(super) fn sql(&mut self, written: &Spanned<String>) -> Option<Sql> {
        let name = written.get_ref();
        if let Some(sql) = Sql::ALL.into_iter().find(|sql| sql.as_str() == name) {
            return Some(sql);
        }
        let hint = one_of(name, "dialects", &Sql::ALL.map(Sql::as_str));
        self.wrong(written.span(), format!("unknown dialect `{}`", brief(name)), hint)
    }

    /// The name stands as it is in queries: it may be quoted, and may have its schema before it.
    pub(super) fn seed_table(&mut self, written: &Spanned<String>) -> Option<String> {
        let name = written.get_ref();
        let odd = |c: char| c.is_control() || matches!(c, ';' | '(' | ')' | '\'' | ' ');
        if name.is_empty() || name.len() > 255 || name.contains(odd) || name.contains("--") {
            let hint = "write the table's name as queries have it; `landfall seeds` says what it must hold";
            return self.wrong(written.span(), format!("`{}` cannot be the name of a table", brief(name)), hint);
        }
        Some(name.clone())
    }

    pub(super) fn timeout(&mut self, written: Option<&Spanned<Length>>) -> Option<Duration> {
        let written = written?;
        let Length(timeout) = *written.get_ref();
        if timeout.is_zero() || timeout > MOST_PATIENCE {
            return self.wrong(written.span(), "`timeout` is out of bounds", "write more than nothing, up to \"20s\"");
        }
        Some(timeout)
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        self.opening.secret(source).map_err(|problem| self.problems.push(problem)).ok()
    }

    pub(super) fn secrets(
        &mut self,
        written: &BTreeMap<Spanned<String>, Spanned<SecretSource>>,
    ) -> Vec<(String, Secret)> {
        for (name, source) in written {
            let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            if name.get_ref().is_empty() || name.get_ref().contains(odd) {
                let what = format!("`{}` cannot be the name of a secret", brief(name.get_ref()));
                let _: Option<()> = self.wrong(name.span(), what, "write letters, digits, `_` and `-`");
            }
            // One that cannot be read is known all the same: its absence was told.
            let secret = self.secret(source).unwrap_or_else(|| Secret::new(""));
            self.secrets.push((name.get_ref().clone(), secret));
        }
        self.secrets.clone()
    }

    pub(super) fn login(
        &mut self,
        bearer: Option<&Spanned<SecretSource>>,
        basic: Option<&Spanned<Basic>>,
    ) -> Option<Login> {
        if let (Some(_), Some(basic)) = (bearer, basic) {
            return self.wrong(basic.span(), "both `bearer` and `basic`", "keep one of them");
        }
        let (at, text, secrets) = match (bearer, basic) {
            (Some(source), _) => {
                let token = self.secret(source)?;
                (source.span(), format!("Bearer {}", token.reveal()), vec![token])
            }
            (None, Some(basic)) => {
                let Basic { user, password: source } = basic.get_ref();
                if user.get_ref().is_empty() || user.get_ref().contains(|c: char| c == ':' || c.is_control()) {
                    let what = "`user` is empty, or has a `:` or control characters";
                    return self.wrong(user.span(), what, "write the name alone; the password is `password`");
                }
                let password = self.secret(source)?;
                let pair = format!("{}:{}", user.get_ref(), password.reveal());
                let packed = base64::engine::general_purpose::STANDARD.encode(pair);
                (source.span(), format!("Basic {packed}"), vec![password, Secret::new(packed)])
            }
            (None, None) => return None,
        };
        match HeaderValue::from_str(&text) {
            Ok(mut header) if text.is_ascii() => {
                header.set_sensitive(true);
                Some(Login { header, secrets })
            }
            _ => self.wrong(at, "the secret has characters that no header can carry", "write it alone on one line"),
        }
    }

    /// Targets and what they are called here.
    pub(super) fn named(&mut self, written: &Texts) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (target, name) in written {
            if name.get_ref().is_empty() || name.get_ref().contains(char::is_control) {
                let what =
                    format!("the name of target `{}` is empty or has control characters", brief(target.get_ref()));
                let _: Option<()> = self.wrong(name.span(), what, "write what the platform calls it");
            }
            names.insert(target.get_ref().clone(), name.get_ref().clone());
        }
        names
    }

    /// A template that may have these placeholders and secrets.
    fn template(
        &mut self,
        at: Range<usize>,
        read: Result<Template, WrongTemplate>,
        allowed: &[Word],
    ) -> Option<Template> {
        let template = match read {
            Ok(template) => template,
            Err(WrongTemplate { what, hint }) => return self.wrong(at, what, hint),
        };
        for word in template.words() {
            match word {
                Word::Secret(name) if self.secrets.iter().any(|(known, _)| known == name) => {}
                Word::Secret(name) => {
                    let hint = match nearest(name, self.secrets.iter().map(|(known, _)| known.as_str())) {
                        Some(near) => format!("did you mean `{{secret.{near}}}`?"),
                        None => "name its place in the table `secrets`".to_owned(),
                    };
                    return self.wrong(at, format!("no secret `{}`", brief(name)), hint);
                }
                Word::Output if allowed.contains(word) && !self.outputs => {
                    let hint = "write the table `outputs` with a name for each target";
                    return self.wrong(at, "`{output}` without `outputs`", hint);
                }
                word if allowed.contains(word) => {}
                word => {
                    let names: Vec<String> = allowed.iter().map(|word| format!("{{{}}}", word.name())).collect();
                    let hint =
                        format!("placeholders here are {}", [names, vec!["{secret.NAME}".into()]].concat().join(", "));
                    return self.wrong(at, format!("`{{{}}}` stands for nothing here", word.name()), hint);
                }
            }
        }
        Some(template)
    }

    pub(super) fn headers(
        &mut self,
        written: &Texts,
        allowed: &[Word],
        has_login: bool,
    ) -> Option<Vec<(HeaderName, Template)>> {
        let read: Vec<_> = written.iter().map(|(name, value)| self.header(name, value, allowed, has_login)).collect();
        read.into_iter().collect()
    }

    fn header(
        &mut self,
        name: &Spanned<String>,
        value: &Spanned<String>,
        allowed: &[Word],
        has_login: bool,
    ) -> Option<(HeaderName, Template)> {
        let shown = brief(name.get_ref());
        let Ok(known) = name.get_ref().parse::<HeaderName>() else {
            return self.wrong(name.span(), format!("`{shown}` cannot be the name of a header"), "write `X-Api-Key`");
        };
        if OWN_HEADERS.contains(&known.as_str()) {
            return self.wrong(name.span(), format!("header `{shown}` is set by the agent"), "take it out");
        }
        if has_login && known == reqwest::header::AUTHORIZATION {
            let hint = "take it out, or `bearer` or `basic`";
            return self.wrong(name.span(), format!("header `{shown}` is set by the login"), hint);
        }
        let template = self.template(value.span(), Template::read(value.get_ref()), allowed)?;
        let sendable = |text: &str| text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        let secret = |word: &Word| match word {
            Word::Secret(name) => {
                self.secrets.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.clone())
            }
            _ => None,
        };
        let secrets_can = template.words().filter_map(secret).all(|secret| sendable(secret.reveal()));
        if !template.texts().all(sendable) || !secrets_can {
            let what = format!("header `{shown}` has a value that cannot be sent");
            return self.wrong(value.span(), what, "write one line of ASCII");
        }
        Some((known, template))
    }

    /// A request.
    pub(super) fn request(&mut self, written: &Written<'_>, allowed: &[Word], default: &str) -> Option<Request> {
        let name = written.method.map_or(default, |method| method.get_ref().as_str());
        let method = METHODS.into_iter().find(|(known, _)| *known == name).map(|(_, method)| method);
        if let (None, Some(at)) = (&method, written.method) {
            let hint = one_of(name, "methods", &METHODS.map(|(name, _)| name));
            let _: Option<()> = self.wrong(at.span(), format!("unknown method `{}`", brief(name)), hint);
        }
        let path = self.template(written.path.span(), checked_path(written.path.get_ref()), allowed);
        // A login is told of once, at the headers of all requests.
        let headers = self.headers(written.headers, allowed, false);
        let body = match (written.json, written.form) {
            (Some(_), Some(form)) => self.wrong(form.span(), "both `json` and `form`", "keep one of them"),
            (Some(json), None) => {
                let read = |at: Range<usize>, text: &str| self.template(at, Template::read(text), allowed);
                JsonTemplate::of(json, &mut { read }).map(Body::Json)
            }
            (None, Some(form)) => {
                let field = |(name, value): (&Spanned<String>, &Spanned<String>)| {
                    let template = self.template(value.span(), Template::read(value.get_ref()), allowed)?;
                    Some((name.get_ref().clone(), template))
                };
                let fields: Vec<_> = form.get_ref().iter().map(field).collect();
                fields.into_iter().collect::<Option<_>>().map(Body::Form)
            }
            (None, None) => Some(Body::Nothing),
        };
        let body_at = written.json.map(Spanned::span).or(written.form.map(Spanned::span));
        if let (Some(Method::GET), Some(at)) = (&method, body_at) {
            return self.wrong(
                at,
                "a GET carries no body",
                "write method = \"POST\", or put it into `path` or `headers`",
            );
        }
        Some(Request { method: method?, path: path?, headers: headers?, body: body? })
    }

    /// Notes a request that does not say which job or run it is about.
    pub(super) fn must_use(&mut self, request: Option<&Request>, name: &str, at: Range<usize>) {
        let Some(request) = request else { return };
        if !templates(request).iter().any(|template| template.words().any(|word| word.name() == name)) {
            let what = format!("nothing in this request says `{{{name}}}`");
            let _: Option<()> = self.wrong(at, what, format!("write {{{name}}} where it belongs, in `path` or a body"));
        }
    }

    fn pointer(&mut self, written: &Spanned<String>) -> Option<Pointer> {
        match Pointer::read(written.get_ref()) {
            Ok(pointer) => Some(pointer),
            Err(why) => {
                let what = format!("`{}` is not a JSON pointer: it {why}", brief(written.get_ref()));
                self.wrong(written.span(), what, "write \"/id\", or \"/jobs/0/id\" for a step into a list")
            }
        }
    }

    fn pointer_if(&mut self, written: Option<&Spanned<String>>) -> Option<Pointer> {
        written.and_then(|written| self.pointer(written))
    }

    pub(super) fn submit(&mut self, written: &Spanned<SubmitKeys>) -> Option<Submit> {
        let keys = written.get_ref();
        let request = self.request(&keys.written(), OF_A_RUN, SubmitKeys::METHOD);
        let id = self.pointer(&keys.id);
        let existing_id = self.pointer_if(keys.existing_id.as_ref());
        self.must_use(request.as_ref(), "query", written.span());
        Some(Submit { request: request?, id: id?, existing_id })
    }

    pub(super) fn find(&mut self, written: &Spanned<FindKeys>) -> Option<Find> {
        let keys = written.get_ref();
        let request = self.request(&keys.written(), OF_A_MARKER, FindKeys::METHOD);
        let id = self.pointer(&keys.id);
        self.must_use(request.as_ref(), "marker", written.span());
        Some(Find { request: request?, id: id? })
    }

    pub(super) fn look(&mut self, written: &Spanned<LookKeys>) -> Option<Look> {
        let keys = written.get_ref();
        let request = self.request(&keys.written(), OF_A_JOB, LookKeys::METHOD);
        self.must_use(request.as_ref(), "id", written.span());
        let status = self.pointer(&keys.status);
        let statuses = self.mapped(keys.statuses.get_ref(), "status", &Status::ALL);
        if self.problems.is_empty() && !statuses.iter().any(|(_, status)| *status == Status::Done) {
            let hint = "write which word means that all is written: SUCCEEDED = \"done\"";
            return self.wrong(keys.statuses.span(), "no status is `done`", hint);
        }
        let rows = self.pointer_if(keys.rows.as_ref());
        let error = self.pointer_if(keys.error.as_ref());
        let phase = self.pointer_if(keys.phase.as_ref());
        let phases: Vec<(String, Phase)> =
            keys.phases.as_ref().map(|phases| self.mapped(phases.get_ref(), "phase", &PHASES)).unwrap_or_default();
        match (&keys.phase, &keys.phases) {
            (Some(phase), None) => {
                let hint = "write what its words mean: phases = { WRITING = \"export\" }";
                return self.wrong(phase.span(), "`phase` without `phases`", hint);
            }
            (None, Some(phases)) => {
                return self.wrong(
                    phases.span(),
                    "`phases` without `phase`",
                    "write where the word stands: phase = \"/phase\"",
                );
            }
            _ => {}
        }
        Some(Look { request: request?, status: status?, statuses, rows, error, phase, phases })
    }

    /// Their words and ours.
    fn mapped<T: Copy>(&mut self, written: &Texts, what: &str, ours: &[(&str, T)]) -> Vec<(String, T)> {
        let mut all = Vec::new();
        for (theirs, word) in written {
            match ours.iter().find(|(name, _)| name == word.get_ref()) {
                Some((_, meant)) => all.push((theirs.get_ref().clone(), *meant)),
                None => {
                    let names: Vec<&str> = ours.iter().map(|(name, _)| *name).collect();
                    let hint = one_of(word.get_ref(), &format!("{what} words"), &names);
                    let _: Option<()> =
                        self.wrong(word.span(), format!("unknown {what} `{}`", brief(word.get_ref())), hint);
                }
            }
        }
        all
    }
}

fn one_of(written: &str, things: &str, names: &[&str]) -> String {
    match nearest(written, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{things} are {}", names.join(", ")),
    }
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

//! Settings of `[platform.NAME.hiveserver2]`: the table as written, and what is meant by it.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Url, header::HeaderValue};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    dialect::Engine,
    output::{Output, Written as WrittenOutput},
    wire::Door,
};
use crate::{
    canary::Secret,
    config::{Length, Opening, Problems, SecretSource, Spanned, keys_in_order},
    http::Wire,
    platform::cut,
    veil::Veil,
};

/// Longest wait for one answer, unless the config says otherwise. Servers keep a question for a
/// status for up to five seconds.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Less than servers keep a question for would make every slow job look dead; the agent itself gives
/// a call 20 s.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(18));

/// Who asks, unless the config says otherwise.
const USER: &str = "landfall";
/// Servers that check no password still want one.
const NO_PASSWORD: &str = "anonymous";
/// The seed table's name, before its ending, unless the config says otherwise.
const SEED_TABLE: &str = "landfall_seed";

const ENDPOINT: &str = "write tcp://HOST:10000, tls://HOST:10000, http://HOST:10001/cliservice or https://…";

/// Hive, Spark, Kyuubi or Impala behind the protocol of HiveServer2.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub struct Table {
    /// `tcp://HOST:10000`, `tls://HOST:10000`, `http://HOST:10001/cliservice` or `https://…`.
    endpoint: Spanned<String>,
    /// How SQL is written; `spark` is for Kyuubi too.
    #[schemars(extend("enum" = Engine::ALL.map(Engine::as_str)))]
    dialect: Spanned<String>,
    /// `plain`: user and password (NONE, LDAP, PAM, CUSTOM). `nosasl`: the user's name alone, not by HTTP.
    #[schemars(extend("default" = "plain", "enum" = ["plain", "nosasl"]))]
    auth: Option<Spanned<String>>,
    /// Who asks.
    #[schemars(extend("default" = USER, "pattern" = "^[^:]{1,256}$"))]
    user: Option<Spanned<String>>,
    /// Absent: for servers that check none.
    password: Option<Spanned<SecretSource>>,
    /// Holds the seed table that queries read. Absent: the server's default.
    #[schemars(extend("pattern" = IDENTIFIER))]
    database: Option<Spanned<String>>,
    /// The seed table's name, before its ending.
    #[schemars(extend("default" = SEED_TABLE, "pattern" = IDENTIFIER))]
    seed_table: Option<Spanned<String>>,
    /// The folder of the seed table's files, for catalogs in memory, which forget tables and not files.
    #[schemars(length(min = 1))]
    seed_location: Option<Spanned<String>>,
    /// What sessions are opened with.
    session: Option<BTreeMap<String, Spanned<String>>>,
    /// Longest wait for one answer, from 6s to 18s.
    #[schemars(extend("default" = Length(TIMEOUT), "pattern" = Length::SOME))]
    timeout: Option<Spanned<Length>>,
    /// What the engine calls each target, by the target's name. One for each target that canaries name.
    outputs: BTreeMap<String, WrittenOutput>,
}

/// How a server is told who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// By name only, unproven.
    NoSasl,
    /// User and password: SASL PLAIN on a stream, basic authentication by HTTP.
    Plain,
}

/// Where a server is and how one gets in.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    /// For streams.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Set where calls go by HTTP.
    pub(super) http: Option<Door>,
    pub(super) login: Login,
    pub(super) user: String,
    pub(super) password: Secret,
    /// What a session is opened with.
    pub(super) session: Vec<(String, String)>,
    veil: Veil,
}

impl Place {
    /// A text from outside as it may be kept: no secrets, cut.
    pub(super) fn shown(&self, text: &str) -> String {
        cut(&self.veiled(text))
    }

    /// The same, whole.
    pub(super) fn veiled(&self, text: &str) -> String {
        self.veil.over(text)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Everything that a driver is made of, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) place: Arc<Place>,
    pub(super) engine: Engine,
    pub(super) database: Option<String>,
    pub(super) seed_table: String,
    /// The folder that seed tables keep their files in; none: the engine decides.
    pub(super) seed_location: Option<String>,
    pub(super) timeout: Duration,
    pub(super) outputs: BTreeMap<String, Output>,
}

/// What is wrong, and what would be right.
pub(super) type Wrong = (String, &'static str);

/// Where calls go.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    url: Url,
    http: bool,
    tls: bool,
    host: String,
    port: u16,
}

impl Settings {
    /// From the config. All that is wrong is said at once.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, Problems> {
        let table: Table = opening.section.decode()?;
        let mut checks = Checks { opening, problems: Problems::new() };
        let endpoint = checks.keep(&table.endpoint, |text| endpoint(text));
        let engine = checks.keep(&table.dialect, |name| {
            let known = Engine::ALL.into_iter().find(|engine| engine.as_str() == name);
            known.ok_or_else(|| (format!("unknown dialect `{}`", brief(name)), "dialects are spark, hive and impala"))
        });
        let by_http = endpoint.as_ref().is_some_and(|endpoint| endpoint.http);
        let login = match &table.auth {
            None => Some(Login::Plain),
            Some(written) => checks.keep(written, |name| login(name, by_http)),
        };
        let user = match &table.user {
            None => Some(USER.to_owned()),
            Some(user) => checks.keep(user, |user| checked_user(user)),
        };
        let password = match &table.password {
            None => Some(Secret::new(NO_PASSWORD)),
            Some(source) => checks.secret(source),
        };
        if let (Some(Login::NoSasl), Some(source)) = (login, &table.password) {
            let wrong =
                ("`password` without a login that takes one".to_owned(), "leave it away, or write auth = \"plain\"");
            checks.note(source.span(), wrong);
        }
        let database = table.database.as_ref().map(|name| checks.keep(name, |name| identifier("database", name)));
        let seed_table = match &table.seed_table {
            None => Some(SEED_TABLE.to_owned()),
            Some(name) => checks.keep(name, |name| identifier("table", name)),
        };
        let seed_location = table.seed_location.as_ref().map(|location| {
            checks.keep(location, |location| match location.trim_end_matches('/') {
                bare if bare.is_empty() || bare.chars().any(char::is_control) => {
                    Err(("`seed_location` is no folder".to_owned(), "write a path or URL that the engine can write to"))
                }
                bare => Ok(bare.to_owned()),
            })
        });
        let timeout = match &table.timeout {
            None => Some(TIMEOUT),
            Some(written) => {
                checks.keep(written, |Length(timeout)| match (TIMEOUTS.0..=TIMEOUTS.1).contains(timeout) {
                    true => Ok(*timeout),
                    false => Err((
                        "`timeout` is out of bounds".to_owned(),
                        "write \"6s\" to \"18s\": servers keep a question for 5 s",
                    )),
                })
            }
        };
        let session = table.session.iter().flatten().map(|(key, value)| (key.clone(), value.get_ref().clone()));
        let mut session: Vec<_> = session.collect();
        let mut secrets = Vec::new();
        let mut outputs = BTreeMap::new();
        for (name, written) in table.outputs {
            // What an output may be depends on the dialect.
            if let Some(engine) = engine
                && let Some(output) = Output::read(&name, written, engine, &mut checks, &mut secrets)
            {
                outputs.insert(name, output);
            }
        }
        let (Some(endpoint), Some(engine), Some(login), Some(user), Some(password), Some(seed_table), Some(timeout)) =
            (endpoint, engine, login, user, password, seed_table, timeout)
        else {
            return Err(checks.problems);
        };
        if let Some(Some(database)) = &database {
            session.push(("use:database".to_owned(), database.clone()));
        }
        if table.password.is_some() {
            secrets.push(password.clone());
            // As it stands in a header of HTTP, which gateways may quote.
            secrets.push(Secret::new(BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()))));
        }
        let place = place(endpoint, opening.wire, login, user, password, session, Veil::new(secrets));
        let place = place
            .map_err(|error| checks.note(opening.section.table.span(), (error, "mend `ca_bundle` in [agent]")))
            .ok();
        match place {
            Some(place) if checks.problems.is_empty() => Ok(Self {
                place: Arc::new(place),
                engine,
                database: database.flatten(),
                seed_table,
                seed_location: seed_location.flatten(),
                timeout,
                outputs,
            }),
            _ => Err(checks.problems),
        }
    }
}

/// Collects what is wrong, so that one reading of the config finds all of it.
pub(super) struct Checks<'a> {
    opening: &'a Opening<'a>,
    problems: Problems,
}

impl Checks<'_> {
    pub(super) fn keep<T, U>(&mut self, value: &Spanned<T>, check: impl FnOnce(&T) -> Result<U, Wrong>) -> Option<U> {
        check(value.get_ref()).map_err(|wrong| self.note(value.span(), wrong)).ok()
    }

    pub(super) fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        self.opening.secret(source).map_err(|problem| self.problems.push(problem)).ok()
    }

    pub(super) fn note(&mut self, at: Range<usize>, (what, hint): Wrong) {
        self.problems.push(self.opening.section.problem(at, what, Some(hint.to_owned())));
    }

    /// The place of an output's table, for what is missing in it.
    pub(super) fn place_of(&self, output: &str) -> Range<usize> {
        let outputs = self.opening.section.table.get_ref().get("outputs").and_then(|outputs| match outputs.get_ref() {
            toml::de::DeValue::Table(table) => Some(table),
            _ => None,
        });
        let key = outputs.and_then(|table| table.keys().find(|key| &**key.get_ref() == output));
        key.map_or_else(|| self.opening.section.table.span(), toml::Spanned::span)
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    // The text itself is not repeated: it may have a password in it.
    let wrong = |what: &str| (format!("`endpoint` {what}"), ENDPOINT);
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    let (http, tls) = match url.scheme() {
        "tcp" => (false, false),
        "tls" => (false, true),
        "http" => (true, false),
        "https" => (true, true),
        "jdbc" => return Err(wrong("is a JDBC URL")),
        _ => return Err(wrong("has a scheme that is not known here")),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?.to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err((
            "`endpoint` has a user or password in it".to_owned(),
            "leave it out: write `user`, and the password's place in `password`",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or fragment"));
    }
    if !http && !matches!(url.path(), "" | "/") {
        return Err(wrong("has a path, which only http has; the database is `database`"));
    }
    let port = match (url.port_or_known_default(), http) {
        (Some(port), _) => port,
        (None, true) => 80,
        (None, false) => 10_000,
    };
    Ok(Endpoint { http, tls, host, port, url })
}

fn login(name: &str, by_http: bool) -> Result<Login, Wrong> {
    match name {
        "plain" => Ok(Login::Plain),
        "nosasl" if by_http => Err((
            "`auth = \"nosasl\"` does not go with http".to_owned(),
            "leave it away: user and password go in a header",
        )),
        "nosasl" => Ok(Login::NoSasl),
        "kerberos" | "gssapi" => Err((
            "`auth = \"kerberos\"` is not built: Landfall has no Kerberos client".to_owned(),
            "monitor through a door with user and password (PLAIN, LDAP), such as Knox or a second server instance",
        )),
        other => Err((
            format!("unknown auth `{}`", brief(other)),
            "write \"plain\" (user and password; also NONE, LDAP, PAM) or \"nosasl\"",
        )),
    }
}

fn checked_user(user: &str) -> Result<String, Wrong> {
    match user.is_empty() || user.len() > 256 || user.contains(|c: char| c.is_control() || c == ':') {
        true => Err((
            "`user` is empty, too long or has letters that logins do not have".to_owned(),
            "write the user's name",
        )),
        false => Ok(user.to_owned()),
    }
}

/// The same, for schemas.
const IDENTIFIER: &str = "^[A-Za-z_][A-Za-z0-9_]{0,63}$";

/// Names that stand unquoted in statements.
fn identifier(what: &str, name: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good =
        (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit());
    match good {
        true => Ok(name.to_owned()),
        false => Err((
            format!("`{}` cannot be the name of a {what}", brief(name)),
            "write letters, digits and `_`, no digit first",
        )),
    }
}

fn place(
    endpoint: Endpoint,
    wire: &Wire,
    login: Login,
    user: String,
    password: Secret,
    session: Vec<(String, String)>,
    veil: Veil,
) -> Result<Place, String> {
    let http = match endpoint.http {
        false => None,
        true => {
            let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()));
            let mut authorization = HeaderValue::from_str(&format!("Basic {pair}"))
                .map_err(|_| "the password cannot be sent".to_owned())?;
            authorization.set_sensitive(true);
            let client = wire.client().map_err(|error| error.to_string())?;
            Some(Door { client, url: endpoint.url, authorization })
        }
    };
    let tls = (endpoint.tls && !endpoint.http).then(|| tls(wire)).transpose()?;
    Ok(Place { host: endpoint.host, port: endpoint.port, tls, http, login, user, password, session, veil })
}

/// TLS for streams, with the CAs of the system and those of the config.
fn tls(wire: &Wire) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // What cannot be read of the system's is missing to every other client as well.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &wire.ca_bundle {
        let wrong = |why: String| format!("CA bundle `{}` cannot be used: {why}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let extra: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let extra = extra.map_err(|error| wrong(error.to_string()))?;
        if extra.is_empty() {
            return Err(wrong("no certificate in it".to_owned()));
        }
        for certificate in extra {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

pub(super) fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_say_the_transport_and_hold_no_secret() {
        let found = |text: &str| endpoint(text).map(|e| (e.http, e.tls, e.host, e.port)).map_err(|(what, _)| what);
        assert_eq!(found("tcp://hive.example.com"), Ok((false, false, "hive.example.com".into(), 10_000)));
        assert_eq!(found("tls://hive.example.com:10443/"), Ok((false, true, "hive.example.com".into(), 10_443)));
        assert_eq!(found("http://h:10001/cliservice"), Ok((true, false, "h".into(), 10_001)));
        assert_eq!(found("https://knox.example.com/gateway/hive"), Ok((true, true, "knox.example.com".into(), 443)));
        assert_eq!(found("tcp://[::1]:10000"), Ok((false, false, "[::1]".into(), 10_000)));
        for bad in [
            "",
            "hive:10000",
            "jdbc:hive2://h:10000",
            "tcp://",
            "tcp://u:hunter2@h",
            "http://u:hunter2@h/",
            "tcp://h:10000/default",
            "tcp://h?password=hunter2",
        ] {
            let wrong = found(bad).expect_err(bad);
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn logins_are_plain_or_none_and_kerberos_is_said_to_be_missing() {
        assert_eq!(login("plain", true), Ok(Login::Plain));
        assert_eq!(login("nosasl", false), Ok(Login::NoSasl));
        assert!(login("nosasl", true).is_err());
        assert!(login("kerberos", false).is_err_and(|(what, _)| what.contains("not built")));
        assert!(login("ldap3", false).is_err());
    }

    #[test]
    fn names_in_statements_are_plain_words() {
        assert!(["a", "landfall_seed", "A1"].iter().all(|name| identifier("table", name).is_ok()));
        for bad in ["", "1a", "a.b", "a b", "a`b", "a;b", &"x".repeat(65)] {
            assert!(identifier("table", bad).is_err(), "{bad}");
        }
    }
}

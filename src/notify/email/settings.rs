//! Settings: the table of a mail notifier as written, and as meant.

use std::{fmt, net::IpAddr, time::Duration};

use lettre::{
    message::Mailbox,
    transport::smtp::client::{Certificate, TlsParameters},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    canary::Secret,
    config::{Length, SecretSource, Spanned, keys_in_order},
    notify::{reading::Reading, text::cut},
};

/// Most addresses of one notifier: for more there are mailing lists.
const MOST_ADDRESSES: usize = 50;
/// Longest name in DNS.
const LONGEST_HOST: usize = 253;

/// Mail, by SMTP.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("dependencies" = { "user": ["password"], "password": ["user"] }))]
pub struct Keys {
    /// The server that takes mail, without its port.
    #[schemars(extend("pattern" = "^[A-Za-z0-9.:-]{1,253}$"))]
    server: Spanned<String>,
    /// Its port. Absent: 587, with `tls` 465, without 25.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<Spanned<i64>>,
    /// How the way to the server is kept private.
    #[schemars(extend("default" = Wanted::DEFAULT))]
    tls: Option<Spanned<Wanted>>,
    /// Lets `tls` be `none` to another host: everybody on the way may read and change mail.
    #[schemars(extend("default" = false))]
    insecure: Option<bool>,
    /// Who the agent is there. Absent: no login.
    #[schemars(length(min = 1))]
    user: Option<Spanned<String>>,
    /// Its password.
    password: Option<Spanned<SecretSource>>,
    /// The sender: `data@example.com` or `Data <data@example.com>`.
    from: Spanned<String>,
    /// Who gets it.
    #[schemars(length(min = 1, max = MOST_ADDRESSES))]
    to: Spanned<Vec<Spanned<String>>>,
    /// Says again this often what still goes on, at least a minute. Absent: never.
    #[schemars(extend("pattern" = Length::SOME))]
    remind: Option<Spanned<Length>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    /// After a greeting in the clear; never without.
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all.
    None,
}

impl Wanted {
    /// Unless the config says otherwise.
    const DEFAULT: Wanted = Wanted::Starttls;

    /// The port that goes with it by custom.
    fn port(self) -> u16 {
        match self {
            Wanted::Starttls => 587,
            Wanted::Tls => 465,
            Wanted::None => 25,
        }
    }
}

/// How the way to the server is kept private.
pub(super) enum Tls {
    /// From the first byte.
    Wrapped(TlsParameters),
    /// After a greeting in the clear; never without.
    Upgraded(TlsParameters),
    /// Not at all.
    None,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tls::Wrapped(_) => "tls",
            Tls::Upgraded(_) => "starttls",
            Tls::None => "none",
        })
    }
}

/// Who is written to, and how.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) login: Option<(String, Secret)>,
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) remind: Option<Duration>,
}

/// The table as meant; all that is wrong with it is noted.
pub(super) fn read(keys: Keys, reading: &mut Reading<'_, '_>) -> Option<Settings> {
    let server = server(&keys.server, reading);
    let wanted = keys.tls.as_ref().map_or(Wanted::DEFAULT, |tls| *tls.get_ref());
    if wanted == Wanted::None && !keys.insecure.unwrap_or(false) && !is_here(keys.server.get_ref()) {
        let at = keys.tls.as_ref().map_or(keys.server.span(), Spanned::span);
        let hint = "write \"starttls\" or \"tls\", or `insecure = true` if everybody on the way may read and change it";
        let _: Option<()> = reading.wrong(at, "mail to another host would go without TLS", hint);
    }
    let port = keys.port.as_ref().map_or(Some(wanted.port()), |port| self::port(port, reading));
    let login = login(&keys, reading);
    let from = mailbox("from", &keys.from, reading);
    let to = addressees(&keys.to, reading);
    let remind = reading.remind(keys.remind.as_ref());
    let server = server?;
    let tls = tls(wanted, &server, reading);
    Some(Settings { server, port: port?, tls: tls?, login: login?, from: from?, to: to?, remind })
}

fn server(written: &Spanned<String>, reading: &mut Reading<'_, '_>) -> Option<String> {
    let text = written.get_ref();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
    if text.is_empty() || text.len() > LONGEST_HOST || !text.chars().all(fits) || is_with_port(text) {
        let what = format!("`{}` is not the name of a host", cut(text, 40));
        return reading.wrong(written.span(), what, "write \"smtp.example.com\"; the port stands in `port`");
    }
    Some(text.clone())
}

/// A colon that is not an IPv6 address's.
fn is_with_port(text: &str) -> bool {
    text.contains(':') && text.parse::<IpAddr>().is_err()
}

/// Nobody but this host sees what is sent there.
fn is_here(server: &str) -> bool {
    server == "localhost" || server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn port(written: &Spanned<i64>, reading: &mut Reading<'_, '_>) -> Option<u16> {
    let number = *written.get_ref();
    match u16::try_from(number) {
        Ok(port) if port > 0 => Some(port),
        _ => reading.wrong(written.span(), format!("`port = {number}` is out of range"), "write 1 to 65535"),
    }
}

/// None: something is wrong with it. `Some(None)`: no login.
fn login(keys: &Keys, reading: &mut Reading<'_, '_>) -> Option<Option<(String, Secret)>> {
    match (&keys.user, &keys.password) {
        (None, None) => Some(None),
        (Some(user), Some(password)) => {
            let password = reading.secret(password)?;
            if user.get_ref().is_empty() || user.get_ref().chars().any(char::is_control) {
                return reading.wrong(user.span(), "`user` is empty or has control characters", "write a user's name");
            }
            Some(Some((user.get_ref().clone(), password)))
        }
        (Some(user), None) => reading.wrong(user.span(), "`user` without `password`", "give both, or neither"),
        (None, Some(password)) => reading.wrong(password.span(), "`password` without `user`", "give both, or neither"),
    }
}

fn mailbox(key: &str, written: &Spanned<String>, reading: &mut Reading<'_, '_>) -> Option<Mailbox> {
    let text = written.get_ref();
    let clean = !text.chars().any(char::is_control) && text.len() <= 500;
    match text.parse::<Mailbox>() {
        Ok(mailbox) if clean => Some(mailbox),
        _ => {
            let what = format!("`{key}` has `{}`, which is not an address", cut(text, 60));
            reading.wrong(written.span(), what, "write \"data@example.com\" or \"Data <data@example.com>\"")
        }
    }
}

fn addressees(written: &Spanned<Vec<Spanned<String>>>, reading: &mut Reading<'_, '_>) -> Option<Vec<Mailbox>> {
    let texts = written.get_ref();
    if texts.is_empty() || texts.len() > MOST_ADDRESSES {
        let what = if texts.is_empty() { "`to` is empty: nobody would be told" } else { "`to` has too many addresses" };
        return reading.wrong(written.span(), what, format!("write 1 to {MOST_ADDRESSES} addresses"));
    }
    let read: Vec<Option<Mailbox>> = texts.iter().map(|one| mailbox("to", one, reading)).collect();
    read.into_iter().collect()
}

fn tls(wanted: Wanted, server: &str, reading: &mut Reading<'_, '_>) -> Option<Tls> {
    if wanted == Wanted::None {
        return Some(Tls::None);
    }
    let at = reading.opening.section.table.span();
    let mut builder = TlsParameters::builder(server.to_owned());
    if let Some(path) = &reading.opening.wire.ca_bundle {
        let certificates = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|pem| Certificate::from_pem(&pem).map_err(|error| error.to_string()));
        match certificates {
            Ok(certificates) => builder = builder.add_root_certificate(certificates),
            Err(error) => {
                let what = format!("CA bundle `{}` cannot be used: {error}", path.display());
                return reading.wrong(at, what, "name a PEM file in `agent.ca_bundle`");
            }
        }
    }
    match builder.build() {
        Ok(parameters) if wanted == Wanted::Tls => Some(Tls::Wrapped(parameters)),
        Ok(parameters) => Some(Tls::Upgraded(parameters)),
        Err(error) => reading.wrong(at, format!("TLS cannot be used: {error}"), "see which CAs this system has"),
    }
}

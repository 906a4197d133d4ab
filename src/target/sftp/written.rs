//! `[target.NAME.sftp]` as it is written.

use std::{borrow::Cow, ops::Range, path::PathBuf, sync::Arc};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    host_key::HostKeys,
    login::{Login, Proof},
    settings::{Outlet, Server, Settings},
};
use crate::{
    canary::Secret,
    config::{Opening, Problem, Problems, SecretSource, Spanned, keys_in_order},
    target::{
        ControlBy, Target,
        decode::Format,
        dialect::{Compression, Newline, Quotes},
        files::{FORMAT, HEADER, Prefix, Reading, Written},
    },
};

/// Where SSH servers listen.
const PORT: u16 = 22;
/// What a URL looks like.
const SHAPE: &str = "write \"sftp://USER@HOST/path/of/a/folder\"";
/// How a server's key is got, where somebody trusts the way to it.
const HOW: &str = "on the server, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows it; write \
                   host_key = \"SHA256:…\", or known_hosts = \"known_hosts\" with what `ssh-keyscan HOST` wrote";

/// A folder on an SFTP server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend(
    "oneOf" = [
        { "required": ["url"], "properties": { "host": false, "port": false, "user": false, "path": false } },
        { "required": ["host", "user", "path"], "properties": { "url": false } },
    ],
    // What is refused: nothing to log in with, and a server that is known by nothing or by two things.
    "not" = { "anyOf": [
        { "properties": { "key": false, "password": false } },
        { "properties": { "host_key": false, "known_hosts": false } },
        { "required": ["host_key", "known_hosts"] },
    ] },
    "dependencies" = { "key_passphrase": ["key"] },
))]
pub struct Keys {
    /// `sftp://USER@HOST:PORT/path/of/a/folder`; `/~/` at the path's beginning is where a login starts. Instead of
    /// `host`, `port`, `user` and `path`.
    url: Option<Spanned<String>>,
    /// The server.
    #[schemars(length(min = 1))]
    host: Option<Spanned<String>>,
    /// Where it listens.
    #[schemars(extend("default" = PORT, "minimum" = 1))]
    port: Option<Spanned<u16>>,
    /// Who the agent is there.
    user: Option<Spanned<String>>,
    /// The folder; with a `/` first from the server's root, else from where a login starts.
    #[schemars(length(min = 1))]
    path: Option<Spanned<String>>,
    /// The private key that the agent logs in with. This, `password`, or both.
    key: Option<Spanned<SecretSource>>,
    /// Opens the key, if it is locked.
    key_passphrase: Option<Spanned<SecretSource>>,
    /// The password that the agent logs in with.
    password: Option<Spanned<SecretSource>>,
    /// Fingerprint of the server's key, or several. Instead of `known_hosts`.
    host_key: Option<Spanned<OneOrMore>>,
    /// A file with what `ssh-keyscan` wrote. Instead of `host_key`.
    known_hosts: Option<Spanned<PathBuf>>,
    /// How the platform writes: `sftp://USER:PASSWORD@HOST/PATH`. Absent: as the agent does.
    result_url: Option<Spanned<SecretSource>>,
    /// How the agent proves that it can see.
    #[schemars(extend("default" = ControlBy::default()))]
    control: Option<ControlBy>,
    /// What files hold.
    #[schemars(extend("default" = FORMAT))]
    format: Option<Format>,
    /// How files are packed.
    #[schemars(extend("default" = Compression::default()))]
    compression: Option<Compression>,
    /// Whether the platform writes a header; reading finds out by itself.
    #[schemars(extend("default" = HEADER))]
    header: Option<bool>,
    /// What separates values, one ASCII character. Absent: a comma, in `tsv` a tab.
    #[schemars(length(min = 1, max = 1))]
    delimiter: Option<Spanned<String>>,
    /// Which values stand in quotes.
    #[schemars(extend("default" = Quotes::default()))]
    quote_policy: Option<Spanned<Quotes>>,
    /// What stands before a quote inside quotes, one ASCII character. Absent: the quote is doubled.
    #[schemars(length(min = 1, max = 1))]
    escape: Option<Spanned<String>>,
    /// What stands for NULL. Absent: nothing, so that NULL and the empty string are the same.
    #[schemars(length(max = 100))]
    null_text: Option<Spanned<String>>,
    /// What ends a line. Absent: the platform's own choice.
    newline: Option<Newline>,
}

/// A text, or a list of them: a server has a key of each kind.
struct OneOrMore(Vec<String>);

impl JsonSchema for OneOrMore {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMore".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] })
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"SHA256:…\", or a list of such")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore)
            }
        }

        from.deserialize_any(Texts)
    }
}

/// A folder on a server, and perhaps a login.
struct Place {
    host: String,
    port: u16,
    user: String,
    password: Option<String>,
    path: String,
    absolute: bool,
}

/// Opens `[target.NAME.sftp]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Target>, Problems> {
    let keys: Keys = opening.section.decode()?;
    let mut reader = Reader { inner: Reading { opening, problems: Problems::new() } };
    let place = reader.place(&keys);
    let proofs = reader.proofs(&keys);
    let host_keys = reader.host_keys(&keys, place.as_ref());
    let prefix = place.as_ref().and_then(|place| Prefix::new(&place.path).ok());
    let given = keys.result_url.as_ref().map(|source| reader.outlet(source));
    let dialect = reader.inner.dialect(Written {
        format: keys.format,
        compression: keys.compression,
        header: keys.header,
        delimiter: keys.delimiter.as_ref(),
        quote_policy: keys.quote_policy.as_ref(),
        escape: keys.escape.as_ref(),
        null_text: keys.null_text.as_ref(),
        newline: keys.newline,
    });
    let problems = reader.inner.problems;
    if !problems.is_empty() {
        return Err(problems);
    }
    let (Some(place), Some(host_keys), Some(prefix), Some(dialect)) = (place, host_keys, prefix, dialect) else {
        return Err(problems);
    };
    let own = || {
        let password = proofs.iter().find_map(|proof| match proof {
            Proof::Password(password) => Some(password.clone()),
            Proof::Key(_) => None,
        });
        let (host, user) = (place.host.clone(), place.user.clone());
        Outlet { host, port: place.port, user, password, path: None, absolute: place.absolute }
    };
    let outlet = match given.flatten() {
        Some(given) => Outlet {
            host: given.host,
            port: given.port,
            user: given.user,
            password: given.password.map(Secret::new),
            path: Some(given.path),
            absolute: given.absolute,
        },
        None => own(),
    };
    let login = Login { user: place.user.clone(), proofs };
    let server = Server { host: place.host, port: place.port, login, host_keys };
    let control = keys.control.unwrap_or_default();
    Ok(super::target(Settings { server, outlet, prefix, absolute: place.absolute, dialect, control }))
}

/// Takes `sftp://user:password@host:port/path` apart. `/~/` at its beginning is where a login starts.
fn parse(text: &str) -> Result<Place, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).ok();
    if url.scheme() != "sftp" {
        return Err("is not an sftp:// URL".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let user = decoded(url.username()).filter(|user| !user.is_empty());
    let path = decoded(url.path()).ok_or("has a path that is not UTF-8")?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has more than a path at its end".to_owned());
    }
    let password = match url.password() {
        Some(password) => Some(decoded(password).ok_or("has a password that is not UTF-8")?),
        None => None,
    };
    let (path, absolute) = match path.strip_prefix("/~/") {
        Some(below) => (below.to_owned(), false),
        None => (path, true),
    };
    Ok(Place {
        host: Some(host).filter(|host| !host.is_empty()).ok_or("has no host")?,
        port: url.port().unwrap_or(PORT),
        user: user.ok_or("has no user")?,
        password,
        path,
        absolute,
    })
}

/// Reads what is written, and notes what is wrong with it.
struct Reader<'a, 'o> {
    inner: Reading<'a, 'o>,
}

impl Reader<'_, '_> {
    fn wrong<T>(&mut self, at: Range<usize>, what: impl Into<String>, hint: &str) -> Option<T> {
        self.inner.wrong(at, what, hint)
    }

    fn table(&self) -> Range<usize> {
        self.inner.opening.section.table.span()
    }

    /// Whether a path is one that a folder can have.
    fn folder(&mut self, path: &str, at: Range<usize>) -> Option<()> {
        if Prefix::new(path).is_ok() {
            return Some(());
        }
        let what = "the path is no folder's: 1 to 200 printable characters, no `.` or `..` part";
        self.wrong(at, what, "write \"incoming/landfall\", or \"/incoming/landfall\" from the server's root")
    }

    fn place(&mut self, keys: &Keys) -> Option<Place> {
        let parts = [
            keys.host.as_ref().map(Spanned::span),
            keys.port.as_ref().map(Spanned::span),
            keys.user.as_ref().map(Spanned::span),
            keys.path.as_ref().map(Spanned::span),
        ];
        if let Some(url) = &keys.url {
            for at in parts.into_iter().flatten() {
                let _: Option<()> = self.wrong(at, "`url` says this already", "give one or the other");
            }
            return match parse(url.get_ref()) {
                Ok(Place { password: Some(_), .. }) => {
                    self.wrong(url.span(), "`url` has a password in it", "write password = { env = \"NAME\" }")
                }
                // What is wrong with it is told; the rest of it is there to be checked.
                Ok(place) => {
                    let _: Option<()> = self.folder(&place.path, url.span());
                    Some(place)
                }
                Err(error) => self.wrong(url.span(), format!("`url` {error}"), SHAPE),
            };
        }
        let host = self.needed("host", keys.host.as_ref(), "\"sftp.example.com\"");
        let user = self.needed("user", keys.user.as_ref(), "\"landfall\"");
        let path = self.needed("path", keys.path.as_ref(), "\"incoming/landfall\"");
        let host = host.and_then(|written| {
            let host = written.get_ref().trim_matches(['[', ']']);
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
            match !host.is_empty() && host.chars().all(fits) {
                true => Some(host.to_owned()),
                false => self.wrong(written.span(), "`host` is not a host's name", "write \"sftp.example.com\""),
            }
        });
        let port = match &keys.port {
            Some(port) if *port.get_ref() == 0 => self.wrong(port.span(), "`port` is 0", "write 22"),
            port => Some(port.as_ref().map_or(PORT, |port| *port.get_ref())),
        };
        let path = path?;
        let _: Option<()> = self.folder(path.get_ref(), path.span());
        let absolute = path.get_ref().starts_with('/');
        let (host, port, user) = (host?, port?, user?.get_ref().clone());
        Some(Place { host, port, user, password: None, path: path.get_ref().clone(), absolute })
    }

    fn needed<'k, T>(&mut self, key: &str, written: Option<&'k Spanned<T>>, example: &str) -> Option<&'k Spanned<T>> {
        if written.is_none() {
            let _: Option<()> = self.wrong(
                self.table(),
                format!("`{key}` is missing"),
                &format!("write {key} = {example}, or url = \"sftp://…\""),
            );
        }
        written
    }

    fn secret(&mut self, source: &Spanned<SecretSource>) -> Option<Secret> {
        self.inner.opening.secret(source).map_err(|problem: Problem| self.inner.problems.push(problem)).ok()
    }

    fn proofs(&mut self, keys: &Keys) -> Vec<Proof> {
        let mut proofs = Vec::new();
        let passphrase = keys.key_passphrase.as_ref().map(|source| self.secret(source));
        if let (Some(source), None) = (&keys.key_passphrase, &keys.key) {
            let _: Option<()> =
                self.wrong(source.span(), "`key_passphrase` without a `key`", "add the key, or leave it out");
        }
        // A passphrase that is not there has been complained about.
        if let (Some(source), None | Some(Some(_))) = (&keys.key, &passphrase)
            && let Some(text) = self.secret(source)
            && !self.inner.opening.without_secrets
        {
            match Proof::key(&text, passphrase.flatten().as_ref()) {
                Ok(key) => proofs.push(key),
                Err(error) => {
                    let hint = "name the file with the private key, as `ssh-keygen` made it; key_passphrase opens it if it is locked";
                    let _: Option<()> = self.wrong(source.span(), format!("`key` {error}"), hint);
                }
            }
        }
        if let Some(source) = &keys.password {
            proofs.extend(self.secret(source).map(Proof::Password));
        }
        if keys.key.is_none() && keys.password.is_none() {
            let what = "neither `key` nor `password` is given: nobody could log in";
            let _: Option<()> = self.wrong(self.table(), what, "write key = { file = \"id_ed25519\" }");
        }
        proofs
    }

    fn host_keys(&mut self, keys: &Keys, place: Option<&Place>) -> Option<HostKeys> {
        match (&keys.host_key, &keys.known_hosts) {
            (Some(_), Some(known)) => {
                self.wrong(known.span(), "both `host_key` and `known_hosts` are given", "give one")
            }
            (None, None) => {
                let what = "neither `host_key` nor `known_hosts` is given: whoever answers would get the login";
                self.wrong(self.table(), what, HOW)
            }
            (Some(written), None) => {
                let OneOrMore(texts) = written.get_ref();
                let known: Option<Vec<_>> = texts.iter().map(|text| HostKeys::fingerprint(text)).collect();
                match known.filter(|known| !known.is_empty()) {
                    Some(known) => Some(HostKeys::Fingerprints(known)),
                    None => self.wrong(written.span(), "`host_key` is not the fingerprint of a key", HOW),
                }
            }
            (None, Some(written)) => {
                let place = place?;
                let path = self.inner.opening.section.path(written.get_ref());
                match HostKeys::known(&path, &place.host, place.port) {
                    Ok(known) => Some(known),
                    Err(error) => {
                        let hint = format!(
                            "add what `ssh-keyscan -p {} {}` writes, once it is known to be right",
                            place.port, place.host
                        );
                        self.wrong(written.span(), error, &hint)
                    }
                }
            }
        }
    }

    fn outlet(&mut self, source: &Spanned<SecretSource>) -> Option<Place> {
        let text = self.secret(source)?;
        if self.inner.opening.without_secrets {
            return None;
        }
        match parse(text.reveal()) {
            Ok(place) if Prefix::new(&place.path).is_err() => self.wrong(
                source.span(),
                "`result_url` has no folder at its end",
                "as the platform writes: sftp://USER:PASSWORD@HOST/path",
            ),
            Ok(place) => Some(place),
            Err(error) => self.wrong(
                source.span(),
                format!("`result_url` {error}"),
                "as the platform writes: sftp://USER:PASSWORD@HOST/path",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_who() {
        for (url, host, port, path, absolute) in [
            ("sftp://u@h/a/b", "h", 22, "/a/b", true),
            ("sftp://u@h:2222/~/a%20b/", "h", 2222, "a b/", false),
            ("sftp://u@[::1]/a", "::1", 22, "/a", true),
        ] {
            let place = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let found = (place.host.as_str(), place.port, place.path.as_str(), place.absolute);
            assert_eq!(found, (host, port, path, absolute), "{url}");
            assert_eq!((place.user.as_str(), place.password), ("u", None));
        }
        let place = parse("sftp://us%40er:p%2Fw@h/a").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((place.user.as_str(), place.password.as_deref()), ("us@er", Some("p/w")));
    }

    #[test]
    fn what_is_no_such_url_is_refused_without_being_repeated() {
        for url in [
            "hunter2",
            "ftp://u:hunter2@h/a",
            "sftp://h/a",
            "sftp://u:hunter2@/a",
            "sftp://u:hunter2@h/a?x",
            "sftp://u:hunter2@h:x/a",
        ] {
            let error = parse(url).err().unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}

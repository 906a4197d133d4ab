//! Parts: a Result Output URL taken apart, whatever its scheme.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::AddressError;
use crate::canary::Mode;

/// A URL taken apart, percent-decoded.
pub(super) struct Parts {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: Vec<String>,
    pub(super) raw_path: String,
    pub(super) options: BTreeMap<String, String>,
}

impl Parts {
    pub(super) fn of(rest: &str) -> Result<Self, AddressError> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, raw_path) = match place.find('/') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
            None => (None, None),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().map_err(|_| shape("the port is not a number"))?;
                (host, Some(port))
            }
            _ => (address, None),
        };
        let mut options = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.insert(decoded(name)?, decoded(&value.replace('+', " "))?);
        }
        let path =
            raw_path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { user, password, host: host.to_owned(), port, path, raw_path: raw_path.to_owned(), options })
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != "null")
    }

    pub(super) fn mode(&self, possible: &[Mode]) -> Result<Mode, AddressError> {
        let Some(text) = self.option("mode") else { return Ok(Mode::Append) };
        let mode: Mode = text.parse().map_err(|error: String| shape(error))?;
        if possible.contains(&mode) {
            Ok(mode)
        } else {
            Err(shape(format!("mode {mode} is not possible for this type")))
        }
    }

    pub(super) fn flag(&self, name: &str, otherwise: bool) -> Result<bool, AddressError> {
        match self.option(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(otherwise),
            Some("true" | "1" | "yes") => Ok(true),
            Some("false" | "0" | "no") => Ok(false),
            Some(_) => Err(shape(format!("{name} is true or false"))),
        }
    }

    pub(super) fn host(&self) -> Result<String, AddressError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if self.host.is_empty() {
            return Err(shape("the host is missing"));
        }
        if !self.host.chars().all(fits) {
            return Err(shape("the host is not a host name"));
        }
        Ok(self.host.clone())
    }
}

pub(super) fn shape(text: impl Into<String>) -> AddressError {
    AddressError::Shape(text.into())
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let bad = || shape("percent-encoding is not UTF-8");
    let text = percent_decode_str(text).decode_utf8().map_err(|_| bad())?;
    if text.contains('\0') { Err(bad()) } else { Ok(text.into_owned()) }
}

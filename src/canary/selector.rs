//! A selector: `--where worker=v6` and `where = { worker = "v5" }`, over labels and the four names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::route::Route;

/// Pairs that must all hold. Empty: every route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector(Vec<(String, String)>);

impl Selector {
    /// From name and value pairs, in their order.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether every pair holds for the route.
    pub fn covers(&self, route: &Route) -> bool {
        self.0.iter().all(|(name, value)| route.facet(name) == Some(value))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("everything");
        }
        for (at, (name, value)) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { " " };
            write!(f, "{between}{name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = String;

    /// One `name=value`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self(vec![(name.to_owned(), value.to_owned())]))
            }
            _ => Err(format!("`{text}` is not NAME=VALUE, such as worker=v6")),
        }
    }
}

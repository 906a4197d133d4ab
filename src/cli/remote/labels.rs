//! Labels as they are typed, and as answers hold them.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::cli::exit::Usage;

/// `--where worker=v6 --where target=web` as an object.
pub(super) fn pairs(typed: &[String]) -> Result<Map<String, Value>> {
    let mut pairs = Map::new();
    for pair in typed {
        let (name, value) = (pair.split_once('='))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| Usage(format!("`{pair}` is not NAME=VALUE, such as worker=v6")))?;
        if pairs.insert(name.to_owned(), value.into()).is_some() {
            return Err(Usage(format!("`{name}` is there twice; labels must all hold at once")).into());
        }
    }
    Ok(pairs)
}

/// `worker=v5 target=web`, or `everything`.
pub(super) fn text(labels: &Value) -> String {
    match labels.as_object().filter(|labels| !labels.is_empty()) {
        None => "everything".to_owned(),
        Some(labels) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
            labels.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
    }
}

/// `canary/platform/target/mode`.
pub(super) fn route(route: &Value) -> String {
    ["canary", "platform", "target", "mode"].map(|part| route[part].as_str().unwrap_or("-")).join("/")
}

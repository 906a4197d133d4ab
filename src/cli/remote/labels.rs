//! Labels as they are typed, and as answers hold them.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::cli::exit::Usage;
pub(super) use crate::web::report::{write_labels as text, write_route as route};

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

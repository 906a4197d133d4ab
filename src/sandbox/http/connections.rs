//! Saved connections: Result Output URLs by name.

use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, ok},
    house::{Account, Connection},
    request::Params,
};
use crate::{canary::Secret, sandbox::deliver::masked};

/// Most connections of an account.
const MOST: usize = 1000;

/// Lists them, secrets masked.
pub(super) fn list(account: &Account) -> Answer {
    let entry = |(name, connection): (&String, &Connection)| json!({ "name": name, "organization": null, "url": masked(connection.url.reveal()) });
    let all: Vec<Json> = account.connections().iter().map(entry).collect();
    ok(json!({ "results": all }))
}

fn check(name: &str) -> Result<(), Trouble> {
    let fail = |why: &str| Err(Trouble::unfit(format!("Validation failed: Name {why}")));
    if name.len() < 3 {
        return fail("is too short");
    }
    if name.len() > 255 {
        return fail("is too long");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return fail("is invalid");
    }
    Ok(())
}

/// Saves one.
pub(super) fn create(account: &Account, name: &str, params: &Params) -> Answer {
    check(name)?;
    let url = params.get("url").ok_or_else(|| Trouble::unfit("'url' parameter is required"))?;
    if url.len() > 8192 || !url.contains("://") {
        return Err(Trouble::unfit("Validation failed: Url is invalid"));
    }
    let mut all = account.connections();
    if all.contains_key(name) {
        return Err(Trouble::conflict("Result must be unique"));
    }
    if all.len() >= MOST {
        return Err(Trouble::unfit("too many connections"));
    }
    let id = all.values().map(|known| known.id).max().unwrap_or(0) + 1;
    all.insert(name.to_owned(), Connection { id, url: Secret::new(url) });
    ok(json!({ "name": name, "result": name }))
}

/// Forgets one.
pub(super) fn delete(account: &Account, name: &str) -> Answer {
    match account.connections().remove(name) {
        Some(_) => ok(json!({ "name": name, "result": name })),
        None => {
            let shown: String = name.chars().take(300).collect();
            Err(Trouble::absent(format!("Couldn't find Result with name = {shown}")))
        }
    }
}

/// The number of one.
pub(super) fn lookup(account: &Account, params: &Params) -> Answer {
    let name = params.get("name").unwrap_or_default();
    match account.connections().get(name) {
        Some(connection) => ok(json!({ "id": connection.id })),
        None => Err(Trouble::absent("Couldn't find Connection")),
    }
}

/// The URL that a job's `result` stands for: itself, or a saved connection's with the rest of it.
pub(super) fn resolve(account: &Account, result: &str) -> Result<Secret, Trouble> {
    if result.contains("://") {
        return Ok(Secret::new(result));
    }
    if result.trim_start().starts_with('{') {
        return Err(Trouble::unfit("invalid Result Output: the JSON form is not supported here"));
    }
    let Some((name, rest)) = result.split_once(':') else {
        return Err(Trouble::unfit("invalid Result Output: neither a URL nor CONNECTION:PATH"));
    };
    let all = account.connections();
    let Some(connection) = all.get(name) else {
        let shown: String = name.chars().take(60).collect();
        return Err(Trouble::unfit(format!("invalid Result Output: there is no connection '{shown}'")));
    };
    Ok(Secret::new(joined(connection.url.reveal(), rest)))
}

/// `scheme://host/database?a=b` and `table?mode=x` are `scheme://host/database/table?a=b&mode=x`.
fn joined(url: &str, rest: &str) -> String {
    let cut = |text: &str| match text.split_once('?') {
        Some((place, query)) => (place.to_owned(), query.to_owned()),
        None => (text.to_owned(), String::new()),
    };
    let ((place, query), (path, further)) = (cut(url), cut(rest));
    let path = path.trim_start_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let queries: Vec<String> = [query, further].into_iter().filter(|query| !query.is_empty()).collect();
    let mark = if queries.is_empty() { "" } else { "?" };
    format!("{}{slash}{path}{mark}{}", place.trim_end_matches('/'), queries.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_goes_behind_the_saved_path_and_its_options_behind_the_saved_options() {
        for (url, rest, all) in [
            ("mysql://u:p@h/db", "t", "mysql://u:p@h/db/t"),
            ("postgresql://u:p@h/db/?ssl=true", "t?mode=replace", "postgresql://u:p@h/db/t?ssl=true&mode=replace"),
            ("web://h/x", "", "web://h/x"),
        ] {
            assert_eq!(joined(url, rest), all);
        }
    }
}

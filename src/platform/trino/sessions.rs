//! Sessions: what a name without its catalog or schema means in a query, and what was prepared before it. The
//! server tells it with its queries at `/v1/query`, which a proxy may keep to itself.

use std::collections::HashMap;

use serde::Deserialize;

/// What of a query's session names are completed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Session {
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    /// What was prepared in it, by name.
    #[serde(default, rename = "preparedStatements")]
    prepared: HashMap<String, String>,
}

impl Session {
    pub(super) fn prepared(&self, name: &str) -> Option<&str> {
        let is_it = |(known, _): &(&String, &String)| known.to_lowercase() == name;
        self.prepared.iter().find(is_it).map(|(_, text)| text.as_str())
    }
}

/// The sessions of queries, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions(HashMap<String, Session>);

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "queryId")]
    id: String,
    #[serde(default)]
    session: Session,
}

impl Sessions {
    /// From the server's answer. What is not one tells of none.
    pub(super) fn read(body: &[u8]) -> Self {
        let listed: Vec<Listed> = serde_json::from_slice(body).unwrap_or_default();
        let lower = |name: Option<String>| name.map(|name| name.to_lowercase()).filter(|name| !name.is_empty());
        let session = |of: Session| Session { catalog: lower(of.catalog), schema: lower(of.schema), ..of };
        Self(listed.into_iter().map(|one| (one.id, session(one.session))).collect())
    }

    pub(super) fn of(&self, id: &str) -> Option<&Session> {
        self.0.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_queries_tells_of_none() {
        let listed = br#"[{"queryId":"1","session":{"catalog":"PG","schema":"","user":"x",
            "preparedStatements":{"Nightly":"SELECT 1"}}},{"queryId":"2"}]"#;
        let sessions = Sessions::read(listed);
        let first = sessions.of("1").expect("listed");
        assert_eq!((first.catalog.as_deref(), &first.schema), (Some("pg"), &None));
        assert_eq!((first.prepared("nightly"), first.prepared("daily")), (Some("SELECT 1"), None));
        assert_eq!((sessions.of("2"), sessions.of("3")), (Some(&Session::default()), None));
        for odd in [&b""[..], b"{}", b"[1]", br#"[{"queryId":1}]"#, b"<html>"] {
            assert_eq!(Sessions::read(odd), Sessions::default());
        }
    }
}

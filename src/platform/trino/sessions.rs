//! Sessions: what a name without its catalog or schema means in a query. The server tells it with its queries
//! at `/v1/query`, which a proxy may keep to itself.

use std::collections::HashMap;

use serde::Deserialize;

/// What of a query's session names are completed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Session {
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
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
        let session = |Session { catalog, schema }| Session { catalog: lower(catalog), schema: lower(schema) };
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
        let listed = br#"[{"queryId":"1","session":{"catalog":"PG","schema":"","user":"x"}},{"queryId":"2"}]"#;
        let sessions = Sessions::read(listed);
        assert_eq!(sessions.of("1"), Some(&Session { catalog: Some("pg".to_owned()), schema: None }));
        assert_eq!((sessions.of("2"), sessions.of("3")), (Some(&Session::default()), None));
        for odd in [&b""[..], b"{}", b"[1]", br#"[{"queryId":1}]"#, b"<html>"] {
            assert_eq!(Sessions::read(odd), Sessions::default());
        }
    }
}

//! A page: one answer of the statement protocol, what is read from it, and what it must have.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Rows read of one page. What this driver asks for has a few.
const MOST_ROWS: usize = 1_000;

/// A query's id: letters, digits and `_`, so that it can stand in a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct QueryId(String);

impl QueryId {
    pub(super) fn new(text: &str) -> Option<Self> {
        let fits = (1..=80).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        fits.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for QueryId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("not a query's id")
    }
}

/// Where the server says a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running,
    /// The writes are being committed.
    Finishing,
    Finished,
    Failed,
}

impl State {
    /// From the server's word. States come and go with versions; one that is not known is not the end.
    pub(super) fn read(word: &str) -> Self {
        match word {
            "QUEUED" | "WAITING_FOR_RESOURCES" | "WAITING_FOR_PREREQUISITES" | "DISPATCHING" => Self::Queued,
            "FINISHING" => Self::Finishing,
            "FINISHED" => Self::Finished,
            "FAILED" | "CANCELED" => Self::Failed,
            _ => Self::Running,
        }
    }
}

/// Why a query failed, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// `TABLE_NOT_FOUND`, `USER_CANCELED` …
    pub(super) name: String,
    /// `USER_ERROR`, `EXTERNAL` …
    pub(super) kind: String,
    pub(super) message: String,
}

impl Failure {
    /// A table that was asked is not there. Presto has no name for that but its words.
    pub(super) fn is_of_no_table(&self) -> bool {
        matches!(&*self.name, "TABLE_NOT_FOUND" | "SCHEMA_NOT_FOUND") || self.message.contains("does not exist")
    }

    /// Somebody stopped it.
    pub(super) fn is_kill(&self) -> bool {
        matches!(
            self.name.as_str(),
            "USER_CANCELED" | "ADMINISTRATIVELY_KILLED" | "ADMINISTRATIVELY_PREEMPTED" | "PREEMPTED_BY_ADMIN"
        )
    }

    /// It never got as far as being run.
    pub(super) fn is_of_queue(&self) -> bool {
        matches!(
            self.name.as_str(),
            "QUERY_QUEUE_FULL" | "QUERY_REJECTED" | "SERVER_STARTING_UP" | "SERVER_SHUTTING_DOWN"
        )
    }

    /// Something outside of the cluster failed: the other end of a connector.
    pub(super) fn is_of_connector(&self) -> bool {
        self.kind == "EXTERNAL" || self.name.starts_with("JDBC_")
    }

    /// As people read it.
    pub(super) fn text(&self) -> String {
        match (self.name.is_empty(), self.message.is_empty()) {
            (true, true) => "it says that the query failed, and not why".to_owned(),
            (true, false) => self.message.clone(),
            (false, true) => self.name.clone(),
            (false, false) => format!("{}: {}", self.name, self.message),
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) id: QueryId,
    /// Where the next page is, if there is one.
    pub(super) next: Option<String>,
    pub(super) state: State,
    /// Rows written, if it says so.
    pub(super) written: Option<u64>,
    pub(super) error: Option<Failure>,
    pub(super) rows: Vec<Vec<Json>>,
}

impl Page {
    /// Reads an answer, or says what is wrong with it.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(body).map_err(|error| format!("its answer is no JSON: {error}"))?;
        if !json.is_object() {
            return Err("its answer is no JSON object".to_owned());
        }
        let id = json["id"].as_str().and_then(QueryId::new).ok_or("`id` is missing or no query's id")?;
        let next = match &json["nextUri"] {
            Json::Null => None,
            Json::String(next) => Some(next.clone()),
            _ => return Err("`nextUri` is not a text".to_owned()),
        };
        let error = match &json["error"] {
            Json::Null => None,
            error => {
                let said = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
                let name: String = said("errorName").chars().take(80).collect();
                Some(Failure { name, kind: said("errorType"), message: said("message") })
            }
        };
        let state = match (&error, json["stats"]["state"].as_str()) {
            (Some(_), _) => State::Failed,
            (None, Some(word)) => State::read(word),
            (None, None) => return Err("`stats.state` is missing".to_owned()),
        };
        let rows = match &json["data"] {
            Json::Array(rows) => rows.iter().take(MOST_ROWS).filter_map(|row| row.as_array().cloned()).collect(),
            _ => Vec::new(),
        };
        Ok(Self { id, next, state, written: json["updateCount"].as_u64(), error, rows })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &Json) -> Result<Page, String> {
        Page::read(json.to_string().as_bytes())
    }

    #[test]
    fn a_page_needs_an_id_and_a_state_and_the_rest_may_be_odd() {
        let odd =
            json!({"id": "20261128_1", "stats": {"state": "DANCING"}, "updateCount": -1, "data": [1, [2]], "x": {}});
        let page = read(&odd).expect("readable");
        assert_eq!((page.state, page.written, page.rows.len()), (State::Running, None, 1));
        for bad in [
            json!([]),
            json!({}),
            json!({"id": "1"}),
            json!({"id": "1; DROP TABLE x", "stats": {"state": "QUEUED"}}),
            json!({"id": "1", "stats": {"state": "QUEUED"}, "nextUri": 5}),
            json!({"id": 1, "stats": {"state": "QUEUED"}}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
        assert!(Page::read(b"\xff\xfe{}").is_err() && Page::read(b"").is_err());
    }

    #[test]
    fn an_error_is_the_end_whatever_the_state_says() {
        let error = json!({"errorName": "USER_CANCELED", "errorType": "USER_ERROR", "message": "Query was canceled"});
        let page = read(&json!({"id": "1", "stats": {"state": "RUNNING"}, "nextUri": "x", "error": error}));
        let page = page.expect("readable");
        assert!(page.state == State::Failed && page.error.is_some_and(|error| error.is_kill()));
        let silent = read(&json!({"id": "1", "error": {}})).expect("readable");
        assert!(silent.error.is_some_and(|error| error.text().contains("not why")));
    }
}

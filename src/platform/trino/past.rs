//! The past: what the server's own list of queries tells of customers' statements. It is short, and what is
//! over is taken out of it in the order in which it ended.

use async_trait::async_trait;
use serde_json::Value as Json;

use super::{
    Trino,
    asking::{OWN, Unasked},
    page::{Failure, QueryId, State},
    sessions::Sessions,
    sql::literal,
    statement::{self, Table, Writes},
};
use crate::{
    canary::{Marker, Mode, Timestamp},
    platform::{
        PlatformError,
        past::{Ended, MOST_IN_A_PAGE, Output, Page, Past, PastJob, Standing},
    },
};

/// Characters read of a statement: where its rows go stands at its beginning. The list has all of it, which may
/// be a million, and secrets in it.
const HEAD: usize = 3_000;
/// Longest value of a field.
const LONGEST: usize = 200;
/// Stands where a part of a name is not known.
const UNKNOWN: &str = "…";
/// The kind of place of a table whose catalog is not known, as of a saved connection.
const NAMED: &str = "name";

#[async_trait]
impl Past for Trino {
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError> {
        let most = most.clamp(1, MOST_IN_A_PAGE);
        let rows = self.ask(self.list(skip, most)).await.map_err(Unasked::refused)?;
        if rows.len() > most {
            return Err(nonsense(&format!("asked for {most} queries, told of {}", rows.len())));
        }
        let entries = rows.iter().map(|row| Entry::read(row)).collect::<Result<Vec<_>, _>>().map_err(nonsense)?;
        // The list does not say what a name without its catalog means; the server does elsewhere, at length.
        let sessions = match entries.iter().any(Entry::lacks_a_name) {
            true => self.api.sessions().await,
            false => Sessions::default(),
        };
        let jobs: Vec<PastJob> = entries.into_iter().map(|entry| self.past_job(entry, &sessions)).collect();
        Ok(Page { is_last: jobs.len() < most, jobs })
    }

    /// These engines have no schedules, and whoever sends statements keeps its own.
    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        Ok(Vec::new())
    }

    /// None: the statement is the customer's, may have secrets in it, and would write what is there again.
    fn again(&self, _job: &PastJob) -> Option<String> {
        None
    }

    fn account(&self) -> Option<String> {
        Some(self.api.endpoint().trim_end_matches('/').to_owned())
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        vec![("type", self.cluster.flavor.name().to_owned())]
    }

    fn forgets(&self) -> bool {
        true
    }

    fn calls(&self, target: &str) -> Option<String> {
        self.cluster.outputs.get(target).map(|output| output.schema.catalog.to_lowercase())
    }
}

impl Trino {
    /// Queries by number, newest first. What the driver asks itself is left out: each look would shift the
    /// numbers by one. Presto has no `OFFSET`.
    fn list(&self, skip: usize, most: usize) -> String {
        let millis = |column: &str| format!("CAST(to_unixtime({column}) * 1000 AS bigint)");
        format!(
            "SELECT query_id, state, \"user\", source, array_join(resource_group_id, '.'), substr(query, 1, {HEAD}), \
             length(query) <= {HEAD}, {}, {}, {}, {} FROM (SELECT *, row_number() OVER (ORDER BY created DESC, \
             query_id DESC) AS number FROM system.runtime.queries WHERE strpos(query, {}) <> 1) \
             WHERE number BETWEEN {} AND {} ORDER BY number",
            millis("created"),
            millis("started"),
            millis("\"end\""),
            self.cluster.flavor.reasons(),
            literal(OWN),
            skip.saturating_add(1),
            skip.saturating_add(most),
        )
    }

    fn past_job(&self, entry: Entry, sessions: &Sessions) -> PastJob {
        let Entry { id, ended, user, source, group, writes, is_canary, created_at, started_at, ended_at } = entry;
        let output = match &writes {
            Writes::Into(table, mode) => Some(self.place(table, *mode, id.as_str(), sessions)),
            Writes::Nothing | Writes::Hidden => None,
        };
        let named = |name: &'static str, value: Option<String>| Some((name, self.text(&value?)?));
        let (catalog, schema, output) = match output {
            Some((catalog, schema, output)) => (catalog, schema, Some(output)),
            None => (None, None, None),
        };
        let fields = [
            Some(("type", self.cluster.flavor.name().to_owned())),
            named("user", user.clone()),
            named("source", source),
            named("resource_group_id", group),
            named("catalog", catalog),
            named("schema", schema),
        ];
        PastJob {
            id: id.as_str().to_owned(),
            owner: user.and_then(|user| self.text(&user)),
            fields: fields.into_iter().flatten().collect(),
            ended,
            created_at,
            started_at,
            ended_at,
            rows: None,
            output,
            hides_output: writes == Writes::Hidden,
            is_canary,
        }
    }

    /// Catalog and schema, where they are known, and the output.
    fn place(
        &self,
        table: &Table,
        mode: Mode,
        id: &str,
        sessions: &Sessions,
    ) -> (Option<String>, Option<String>, Output) {
        let session = sessions.of(id);
        // A schema that is written stands alone or after its catalog; the session's are the rest.
        let catalog = table.catalog.clone().or_else(|| session?.catalog.clone());
        let schema = table.schema.clone().or_else(|| session?.schema.clone());
        let part = |part: &Option<String>| part.as_ref().and_then(|part| self.text(part));
        let shown = [part(&catalog), part(&schema), self.text(&table.table)];
        let shown = shown.map(|part| part.unwrap_or_else(|| UNKNOWN.to_owned())).join(".");
        let scheme = part(&catalog).unwrap_or_else(|| NAMED.to_owned());
        (catalog, schema, Output { scheme, mode: Some(mode), shown })
    }

    /// A short text, without secrets; none if there is nothing.
    fn text(&self, text: &str) -> Option<String> {
        let shown = self.api.shown(text.trim());
        let text: String = shown.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// A query as the list has it.
struct Entry {
    id: QueryId,
    ended: Ended,
    user: Option<String>,
    source: Option<String>,
    group: Option<String>,
    writes: Writes,
    is_canary: bool,
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl Entry {
    /// From a row of `list`.
    fn read(row: &[Json]) -> Result<Self, &'static str> {
        let [id, state, user, source, group, head, is_whole, created, started, end, kind, name] = row else {
            return Err("a query is listed with more or less than was asked for");
        };
        let id = id.as_str().and_then(QueryId::new).ok_or("a query is listed without an id")?;
        let state = state.as_str().ok_or("a query is listed without a state")?;
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let ended = match State::read(state) {
            State::Finished => Ended::Success,
            State::Failed => {
                let (kind, name) = (text(kind).unwrap_or_default(), text(name).unwrap_or_default());
                let failure = Failure { kind, name, message: String::new() };
                if failure.is_kill() || state == "CANCELED" { Ended::Killed } else { Ended::Error }
            }
            State::Queued | State::Running | State::Finishing => Ended::AtWork,
        };
        let head = head.as_str().unwrap_or_default();
        let at = |millis: &Json| millis.as_i64().map(Timestamp::from_millis);
        Ok(Self {
            id,
            ended,
            user: text(user),
            source: text(source),
            group: text(group),
            writes: statement::read(head, is_whole.as_bool() == Some(true)),
            is_canary: Marker::find(head).is_some(),
            created_at: at(created),
            started_at: at(started),
            ended_at: at(end),
        })
    }

    fn lacks_a_name(&self) -> bool {
        let lacks = matches!(&self.writes, Writes::Into(table, _) if table.catalog.is_none() || table.schema.is_none());
        lacks && !self.is_canary
    }
}

fn nonsense(what: &str) -> PlatformError {
    PlatformError::Nonsense { detail: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(state: &str, query: &str, code: &str) -> Vec<Json> {
        let row = json!(["20261129_1", state, "ann", null, "global.etl", query, true, 1000, 2000, 3000, "X", code]);
        row.as_array().expect("a list").clone()
    }

    #[test]
    fn a_query_ends_as_the_list_says_and_a_word_that_is_not_known_is_no_end() {
        for (state, code, ended) in [
            ("FINISHED", "", Ended::Success),
            ("FAILED", "SYNTAX_ERROR", Ended::Error),
            ("FAILED", "USER_CANCELED", Ended::Killed),
            ("FAILED", "ADMINISTRATIVELY_KILLED", Ended::Killed),
            ("CANCELED", "", Ended::Killed),
            ("FINISHING", "", Ended::AtWork),
            ("QUEUED", "", Ended::AtWork),
            ("DANCING", "", Ended::AtWork),
        ] {
            assert_eq!(
                Entry::read(&row(state, "SELECT 1", code)).map(|entry| entry.ended),
                Ok(ended),
                "{state} {code}"
            );
        }
    }

    #[test]
    fn what_carries_a_marker_is_a_canarys_and_needs_no_session() {
        let marker = Marker::mint(Timestamp::EPOCH, 3);
        let canarys = row("FINISHED", &format!("/* landfall {marker} 1/1 */ INSERT INTO a SELECT 1"), "");
        let customers = row("FINISHED", "/* landfall */ INSERT INTO a SELECT 1", "");
        let read = |row: &[Json]| Entry::read(row).map(|entry| (entry.is_canary, entry.lacks_a_name()));
        assert_eq!((read(&canarys), read(&customers)), (Ok((true, false)), Ok((false, true))));
    }

    #[test]
    fn a_row_that_is_not_as_it_was_asked_for_is_nonsense_and_a_gap_in_it_is_not() {
        let good = row("FINISHED", "INSERT INTO pg.public.a SELECT 1", "");
        for (at, value, is_read) in [
            (0, json!("1; DROP"), false),
            (0, json!(7), false),
            (1, json!(null), false),
            (2, json!(null), true),
            (5, json!(null), true),
            (7, json!("soon"), true),
            (9, json!(null), true),
        ] {
            let mut odd = good.clone();
            odd[at] = value;
            assert_eq!(Entry::read(&odd).is_ok(), is_read, "{odd:?}");
        }
        assert!(Entry::read(&good[1..]).is_err() && Entry::read(&[]).is_err());
        assert_eq!(Entry::read(&good).map(|entry| entry.ended_at), Ok(Some(Timestamp::from_secs(3))));
    }
}

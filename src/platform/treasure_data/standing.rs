//! What stands: saved connections and queries, and what another platform of the same account is written as.

use serde_json::Value as Json;

use super::{Account, Engine, TreasureData};
use crate::{
    platform::{
        PlatformError,
        past::{Output, Standing},
    },
    treasure_data_api::{Reply, checked_word, read_time},
};

/// Most connections or schedules: more is no answer of this API.
const MOST: usize = 50_000;

impl TreasureData {
    /// Connections, then saved queries with an output.
    pub(super) async fn all_standing(&self) -> Result<Vec<Standing>, PlatformError> {
        let connections = self.listed("result", "results").await?;
        let schedules = self.listed("schedule", "schedules").await?;
        let connections = connections.iter().filter_map(|entry| {
            let output = Output::read(entry["url"].as_str()?)?;
            let (name, fields) = (self.text(&entry["name"])?, Vec::new());
            Some(Standing { name, fields, output, is_scheduled: false, owner: None, next_at: None })
        });
        let schedules = schedules.iter().filter_map(|entry| {
            let output = Output::read(entry["result"].as_str()?)?;
            let (name, fields) = (self.text(&entry["name"])?, self.fields(entry));
            let (owner, next_at) = (self.text(&entry["user_name"]), read_time(&entry["next_time"]));
            Some(Standing { name, fields, output, is_scheduled: true, owner, next_at })
        });
        Ok(connections.chain(schedules).collect())
    }

    /// A list that an installation may not have.
    async fn listed(&self, of: &str, name: &str) -> Result<Vec<Json>, PlatformError> {
        let mut answer = match self.api.list(&[of, "list"], &[]).await? {
            Reply::Missing(_) => return Ok(Vec::new()),
            reply => reply.done()?,
        };
        match answer.json[name].take() {
            Json::Array(entries) if entries.len() <= MOST => Ok(entries),
            _ => Err(self.nonsense(&format!("`{name}` is missing, not a list, or longer than {MOST}"))),
        }
    }
}

impl Account {
    /// The account's number, where its key tells it: `number/digits`.
    pub(super) fn number(&self) -> Option<&str> {
        let (number, _) = self.api_key.reveal().split_once('/')?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    }

    /// Tables of another platform of this account. None: no driver sends such jobs.
    pub(super) fn sibling(&self, name: &str, fields: &[(&str, String)]) -> Option<String> {
        let field = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
        let engine = Engine::ALL.into_iter().find(|engine| Some(engine.as_str()) == field("type"))?.as_str();
        let key = name.to_ascii_uppercase().replace('-', "_");
        let mut tables = format!(
            "[platform.{name}]\nlabels = {{ engine = \"{engine}\" }}\n[platform.{name}.treasure-data]\n\
             endpoint = {}\napi_key  = {{ env = \"LANDFALL_{key}_KEY\" }}   # of the same account\n\
             database = {}\nengine   = \"{engine}\"\n",
            quoted(self.endpoint.as_str().trim_end_matches('/')),
            quoted(&self.database),
        );
        for (written, field_name) in [("pool", "pool_name"), ("engine_version", "engine_version")] {
            if let Some(value) = field(field_name) {
                let value = checked_word(written, value).ok()?;
                tables.push_str(&format!("{written} = {}\n", quoted(&value)));
            }
        }
        Some(tables)
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Secret;

    fn account(key: &str) -> Account {
        Account::new("https://td.example/", Secret::new(key), "landfall", Engine::Hive).expect("right")
    }

    #[test]
    fn an_accounts_number_is_told_by_its_key_or_not_at_all() {
        for (key, number) in [("17/0a0b", Some("17")), ("0a0b", None), ("x/0a0b", None), ("/0a0b", None)] {
            assert_eq!(account(key).number(), number, "{key}");
        }
    }

    #[test]
    fn a_sibling_sends_other_jobs_with_the_same_accounts_key() {
        let fields = [("type", "trino".to_owned()), ("pool_name", "a\"b".to_owned())];
        let tables = account("1/aa").sibling("trino-2", &fields).expect("a platform");
        let read: toml::Table = tables.parse().expect("TOML");
        let table = &read["platform"]["trino-2"]["treasure-data"];
        assert_eq!(table["endpoint"].as_str(), Some("https://td.example"));
        assert_eq!((table["engine"].as_str(), table["pool"].as_str()), (Some("trino"), Some("a\"b")));
        assert_eq!(table["api_key"]["env"].as_str(), Some("LANDFALL_TRINO_2_KEY"));
        assert_eq!(account("1/aa").sibling("pig", &[("type", "pig".to_owned())]), None);
        assert_eq!(account("1/aa").sibling("x", &[]), None);
    }
}

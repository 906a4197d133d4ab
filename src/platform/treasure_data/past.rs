//! The past: what `job/list` tells of customers' jobs, and where results are set to go.

use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use serde_json::Value as Json;

use super::TreasureData;
use crate::{
    canary::Marker,
    platform::{
        PlatformError,
        past::{Ended, MOST_IN_A_PAGE, Output, Page, Past, PastJob, Standing},
    },
    treasure_data_api::{JobId, read_time},
};

/// Fields of a job that its kind may be told by. Versions and pools are told by some installations only.
const FIELDS: [&str; 6] =
    ["type", "database", "engine_version", "pool_name", "linked_result_export_job_id", "result_export_target_job_id"];
/// Longest value of a field, and longest name of an owner.
const LONGEST: usize = 200;

#[async_trait]
impl Past for TreasureData {
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError> {
        let most = most.clamp(1, MOST_IN_A_PAGE);
        // Both from 0, both within.
        let (from, to) = (skip.to_string(), skip.saturating_add(most - 1).to_string());
        let answer = self.api.list(&["job", "list"], &[("from", &from), ("to", &to)]).await?.done()?;
        let listed = answer.json["jobs"].as_array().ok_or_else(|| self.nonsense("`jobs` is missing or not a list"))?;
        if listed.len() > most {
            return Err(self.nonsense(&format!("asked for {most} jobs, told of {}", listed.len())));
        }
        let jobs = listed.iter().map(|job| self.past_job(job)).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { is_last: jobs.len() < most, jobs })
    }

    async fn standing(&self) -> Result<Vec<Standing>, PlatformError> {
        self.all_standing().await
    }

    fn again(&self, job: &PastJob) -> Option<String> {
        // An export is made again from the result of its query.
        let id = job.field("result_export_target_job_id").unwrap_or(&job.id);
        let id = JobId::new(id)?;
        let url = self.api.address(&["job", "result_export", id.as_str()]);
        Some(format!(
            "curl -fsS -H \"Authorization: TD1 $TD_API_KEY\" --data-urlencode \"result=$RESULT_URL\" '{}'",
            url.as_str().replace('\'', "%27")
        ))
    }

    fn account(&self) -> Option<String> {
        // The key tells whose it is; its hash, which nothing shows, tells two of them apart.
        let mut hash = DefaultHasher::new();
        self.account.api_key.reveal().hash(&mut hash);
        Some(format!("{} {:016x}", self.account.endpoint, hash.finish()))
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        let further = [("pool_name", &self.account.pool), ("engine_version", &self.account.engine_version)];
        let further = further.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        [("type", self.account.engine.as_str().to_owned())].into_iter().chain(further).collect()
    }

    fn tenant(&self) -> Option<String> {
        self.account.number().map(|number| format!("{} {number}", self.account.endpoint)).or_else(|| self.account())
    }

    fn sibling(&self, name: &str, fields: &[(&str, String)]) -> Option<String> {
        self.account.sibling(name, fields)
    }
}

impl TreasureData {
    fn past_job(&self, json: &Json) -> Result<PastJob, PlatformError> {
        let id = JobId::read(&json["job_id"]).ok_or_else(|| self.nonsense("a job is listed without an id"))?;
        let ended = match json["status"].as_str() {
            Some("success") => Ended::Success,
            Some("error") => Ended::Error,
            Some("killed") => Ended::Killed,
            Some("queued" | "booting" | "running") => Ended::AtWork,
            _ => return Err(self.nonsense("a job is listed without a status that is known")),
        };
        Ok(PastJob {
            id: id.as_str().to_owned(),
            owner: self.text(&json["user_name"]),
            fields: self.fields(json),
            ended,
            created_at: read_time(&json["created_at"]),
            started_at: read_time(&json["start_at"]),
            ended_at: read_time(&json["end_at"]),
            rows: json["num_records"].as_u64(),
            output: json["result"].as_str().and_then(Output::read),
            hides_output: false,
            is_canary: json["query"].as_str().is_some_and(|query| Marker::find(query).is_some()),
        })
    }

    pub(super) fn fields(&self, json: &Json) -> Vec<(&'static str, String)> {
        FIELDS.into_iter().filter_map(|name| Some((name, self.text(&json[name])?))).collect()
    }

    /// A short text or number, without secrets; none if there is nothing.
    pub(super) fn text(&self, json: &Json) -> Option<String> {
        let text = match json {
            Json::String(text) => self.api.shown(text.trim()),
            Json::Number(number) => number.to_string(),
            _ => return None,
        };
        let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        (!text.is_empty()).then_some(text)
    }
}

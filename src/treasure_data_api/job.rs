//! A job as `job/show` describes it: what is read from the answer, and what it must have.

use serde_json::Value as Json;

use crate::canary::{Phase, Timestamp};

/// Where the platform says a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted, or its cluster is booting.
    Waiting,
    /// At work.
    Running,
    /// Ended well, as it says.
    Success,
    /// Ended with an error.
    Error,
    /// Stopped by somebody.
    Killed,
}

/// What one `job/show` said. Fields that steer are checked; fields that only decorate (times, row
/// counts) are left out when they make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it is.
    pub status: Status,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
    /// When work began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many rows it says it has.
    pub rows: Option<u64>,
    /// Scheme of the Result Output address, if there is one.
    pub output: Option<String>,
    /// The job that exports the result, once there is one.
    pub export: Option<JobId>,
    /// The job's own log: `debug.cmdout`, then `debug.stderr`.
    pub log: String,
}

/// A job's id, safe as a part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobId(String);

impl JobId {
    /// From text that may be one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Self(text.to_owned()))
    }

    /// From JSON: ids are written as strings in some fields and as numbers in others.
    pub fn read(json: &Json) -> Option<Self> {
        match json {
            Json::String(text) => Self::new(text),
            Json::Number(number) => number.as_u64().and_then(|number| Self::new(&number.to_string())),
            _ => None,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Report {
    /// Reads the answer for job `asked`, or says what is wrong with it.
    pub fn read(asked: &JobId, json: &Json) -> Result<Self, String> {
        let told = JobId::read(&json["job_id"]).ok_or("`job_id` is missing or not an id")?;
        if told != *asked {
            return Err(format!("asked for job {}, told of another", asked.as_str()));
        }
        let status = match json["status"].as_str().ok_or("`status` is missing or not a text")? {
            "queued" | "booting" => Status::Waiting,
            "running" => Status::Running,
            "success" => Status::Success,
            "error" => Status::Error,
            "killed" => Status::Killed,
            other => return Err(format!("status {:?} is not known", other.chars().take(40).collect::<String>())),
        };
        let export = match &json["linked_result_export_job_id"] {
            Json::Null => None,
            link => Some(JobId::read(link).ok_or("`linked_result_export_job_id` is not an id")?),
        };
        let said = |stream: &str| json["debug"][stream].as_str().unwrap_or_default().trim();
        let log = [said("cmdout"), said("stderr")].join("\n").trim().to_owned();
        Ok(Self {
            status,
            created_at: read_time(&json["created_at"]),
            started_at: read_time(&json["start_at"]),
            ended_at: read_time(&json["end_at"]),
            rows: json["num_records"].as_u64(),
            output: json["result"].as_str().and_then(scheme),
            export,
            log,
        })
    }

    /// Where a job without an export of its own went wrong. While it was writing, if its log speaks
    /// of Result Output, or of any export after its rows were counted.
    pub fn failed_in(&self) -> Phase {
        let log = self.log.to_ascii_lowercase();
        let of_output = ["result output", "result export", "result_export", "output failed"];
        if of_output.iter().any(|words| log.contains(words)) || (self.rows.is_some() && log.contains("export")) {
            return Phase::Export;
        }
        self.reached()
    }

    /// How far it came at least.
    pub fn reached(&self) -> Phase {
        if self.export.is_some() {
            Phase::Export
        } else if self.started_at.is_some() || matches!(self.status, Status::Running | Status::Error) {
            Phase::Execute
        } else {
            Phase::Queue
        }
    }
}

/// The scheme of an address; `json` or `name` for the forms that have none.
fn scheme(address: &str) -> Option<String> {
    let address = address.trim();
    if address.is_empty() {
        return None;
    }
    let scheme = match address.split_once("://") {
        Some((scheme, _)) => scheme,
        None if address.starts_with('{') => "json",
        None => "name",
    };
    Some(scheme.chars().take(20).collect())
}

/// Times of jobs: `2020-12-31 11:22:33 UTC`, the same with an offset, or RFC 3339; empty or null
/// before they come.
pub fn read_time(json: &Json) -> Option<Timestamp> {
    let text = json.as_str()?.trim();
    Timestamp::parse_rfc3339(text).or_else(|| {
        let with_offset = match text.strip_suffix("UTC") {
            Some(local) => format!("{local}+0000"),
            None => text.to_owned(),
        };
        let at = chrono::DateTime::parse_from_str(&with_offset, "%Y-%m-%d %H:%M:%S %z").ok()?;
        Some(Timestamp::from_micros(at.timestamp_micros()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> JobId {
        JobId::new("123").expect("valid")
    }

    #[test]
    fn times_are_read_in_every_spelling_that_is_in_use() {
        let at = Timestamp::parse_rfc3339("2020-12-31T11:22:33Z");
        for text in [
            "2020-12-31 11:22:33 UTC",
            "2020-12-31 06:22:33 -0500",
            "2020-12-31 06:22:33 -05:00",
            "2020-12-31T11:22:33Z",
        ] {
            assert_eq!(read_time(&json!(text)), at, "{text}");
        }
        for nothing in [json!(""), json!(null), json!(17), json!("soon"), json!("UTC"), json!("é")] {
            assert_eq!(read_time(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn ids_are_texts_or_numbers_and_never_paths() {
        for good in [json!("1"), json!(1), json!("17-a_B")] {
            assert!(JobId::read(&good).is_some(), "{good}");
        }
        for bad in
            [json!(""), json!(".."), json!("1/2"), json!(-1), json!(1.5), json!(null), json!({}), json!("9".repeat(65))]
        {
            assert!(JobId::read(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_decorates_may_be_wrong_and_what_steers_may_not() {
        let odd = json!({"job_id": "123", "status": "running", "num_records": "many", "start_at": 5, "debug": null});
        let report = Report::read(&id(), &odd).expect("readable");
        assert_eq!((report.status, report.rows, report.started_at), (Status::Running, None, None));
        for bad in [
            json!({}),
            json!([]),
            json!({"job_id": "123"}),
            json!({"job_id": "124", "status": "running"}),
            json!({"job_id": "123", "status": 5}),
            json!({"job_id": "123", "status": "dancing"}),
            json!({"job_id": "123", "status": "running", "linked_result_export_job_id": {"id": 5}}),
        ] {
            assert!(Report::read(&id(), &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failure_that_speaks_of_output_is_the_exports() {
        let failed = |rows: Json, log: &str| {
            let json = json!({"job_id": "123", "status": "error", "num_records": rows, "debug": {"stderr": log}});
            Report::read(&id(), &json).expect("readable").failed_in()
        };
        assert_eq!(failed(json!(20), "Result Output failed: connection refused"), Phase::Export);
        assert_eq!(failed(json!(null), "Result Output failed: connection refused"), Phase::Export);
        assert_eq!(failed(json!(20), "cannot export: connection refused"), Phase::Export);
        assert_eq!(failed(json!(null), "no such function: export"), Phase::Execute);
        assert_eq!(failed(json!(20), "java.lang.OutOfMemoryError"), Phase::Execute);
    }
}

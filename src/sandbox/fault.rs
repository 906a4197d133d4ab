//! Faults: what the sandbox does wrong, where, when and how often.
//!
//! When a fault takes effect:
//!
//! | kinds | decided | for |
//! |---|---|---|
//! | `api-*` | when a call arrives | each API call by itself |
//! | `refuse-submit` | when a submit arrives | each run: its retries meet the same answer |
//! | `hang-job`, `fail-job` | when the query would end | each run |
//! | `*-output`, `target-down` | when the output is written, at the end of the job | each run |
//! | `false-error`, `false-killed` | at the end of the job | each run |
//! | `freeze-status` | when the status is asked | each run |
//! | `target-down`, `agent-blind` | when the agent reads or controls | each read |
//! | `slow-target` | when the output is written, and when the agent controls | each run, each control |
//! | `lose-import` | when rows are uploaded (over HTTP only) | each upload |
//! | `wrong-query` | when the query ends (over HTTP only) | each run |
//!
//! When several apply: `api-unreachable` before `api-error` before `api-slow`; `hang-job` before
//! `fail-job`; `target-down` before `drop-output` before `stale-output`; `partial-`, `corrupt-`,
//! `duplicate-` and `delay-output` and `slow-target` add up; `false-killed` before `false-error`. Of two of one kind,
//! the older wins.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{
    place::Place,
    tree::{Keys, Node, Value, Wrong, cut, nearest},
};
use crate::canary::{Selector, Timestamp, sample::COLUMNS, time::Brief};

/// Something the sandbox does wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where: every pair must hold. Empty: everywhere.
    pub selector: Selector,
    /// How often: the share of runs, of API calls for `api-*`, of reads for the agent's reads.
    pub rate: f64,
    /// From when, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive; none: to the end.
    pub until: Option<Timestamp>,
}

/// A fault's number, in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FaultId(pub u64);

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// The job is done and nothing was written; `replace` replaces by nothing.
    DropOutput,
    /// Only the first rows are written.
    PartialOutput {
        /// Share of rows that still lands.
        share: f64,
    },
    /// Rows are written more than once.
    DuplicateOutput {
        /// How often each row is there in the end.
        copies: u32,
        /// How long after the first copy the others come.
        after: Duration,
    },
    /// One column has other values.
    CorruptOutput {
        /// Which; none: the first that is not the marker. A result without it stays intact.
        column: Option<String>,
    },
    /// The write is skipped: what an earlier run wrote stays.
    StaleOutput,
    /// The job is done on time, its rows come later.
    DelayOutput {
        /// How much later.
        by: Duration,
    },
    /// The query fails; nothing is written.
    FailJob,
    /// The query never ends, also not after the fault, unless it is killed; nothing is written.
    HangJob,
    /// Rows land, the job says `error`.
    FalseError,
    /// Rows land, the job says `killed`.
    FalseKilled,
    /// Work goes on; the status is answered as of the fault's start, or of the submit if that was
    /// later, until the fault ends.
    FreezeStatus,
    /// Submits are refused.
    RefuseSubmit {
        /// The HTTP status of the answer.
        status: u16,
    },
    /// API calls are answered with an error and do nothing.
    ApiError {
        /// The HTTP status of the answer.
        status: u16,
    },
    /// API calls do what they should; the answer comes later.
    ApiSlow {
        /// How much later.
        by: Duration,
    },
    /// API calls are not answered at all and do nothing.
    ApiUnreachable,
    /// The target neither takes nor gives: jobs end `error` in phase export, the agent cannot read.
    TargetDown,
    /// Only the agent cannot read.
    AgentBlind,
    /// Every write to the target takes longer, the agent's own as well: jobs are done on time, their
    /// rows are there later, and so is the row of the agent's control. Reads stay quick.
    SlowTarget {
        /// How much longer.
        by: Duration,
    },
    /// Uploaded rows are acknowledged, and only some of them are kept.
    LoseImport {
        /// Share of rows that is kept.
        share: f64,
    },
    /// Queries end well with only some of their rows, in the result that is kept and in what is written out.
    WrongQuery {
        /// Share of rows that is told.
        share: f64,
    },
}

impl FaultKind {
    /// The name of every kind.
    pub const NAMES: [&'static str; 20] = [
        "drop-output",
        "partial-output",
        "duplicate-output",
        "corrupt-output",
        "stale-output",
        "delay-output",
        "fail-job",
        "hang-job",
        "false-error",
        "false-killed",
        "freeze-status",
        "refuse-submit",
        "api-error",
        "api-slow",
        "api-unreachable",
        "target-down",
        "agent-blind",
        "slow-target",
        "lose-import",
        "wrong-query",
    ];

    /// Kinds that are of what only a platform over HTTP does: uploads, and queries of what was uploaded.
    pub const OVER_HTTP: [&'static str; 2] = ["lose-import", "wrong-query"];

    /// The name in scenarios and over HTTP.
    pub fn as_str(&self) -> &'static str {
        match self {
            FaultKind::DropOutput => "drop-output",
            FaultKind::PartialOutput { .. } => "partial-output",
            FaultKind::DuplicateOutput { .. } => "duplicate-output",
            FaultKind::CorruptOutput { .. } => "corrupt-output",
            FaultKind::StaleOutput => "stale-output",
            FaultKind::DelayOutput { .. } => "delay-output",
            FaultKind::FailJob => "fail-job",
            FaultKind::HangJob => "hang-job",
            FaultKind::FalseError => "false-error",
            FaultKind::FalseKilled => "false-killed",
            FaultKind::FreezeStatus => "freeze-status",
            FaultKind::RefuseSubmit { .. } => "refuse-submit",
            FaultKind::ApiError { .. } => "api-error",
            FaultKind::ApiSlow { .. } => "api-slow",
            FaultKind::ApiUnreachable => "api-unreachable",
            FaultKind::TargetDown => "target-down",
            FaultKind::AgentBlind => "agent-blind",
            FaultKind::SlowTarget { .. } => "slow-target",
            FaultKind::LoseImport { .. } => "lose-import",
            FaultKind::WrongQuery { .. } => "wrong-query",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// Whether it is going on.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether it is going on here; its rate is another question.
    pub fn threatens(&self, place: &Place, at: Timestamp) -> bool {
        self.is_active(at) && place.is_covered_by(&self.selector)
    }

    /// A fault from the JSON of an HTTP request. `from` and `until` are lengths of time from `now`;
    /// without `from` it begins at once. The error is for the one who sent it.
    pub fn from_json(body: &[u8], now: Timestamp) -> Result<Fault, String> {
        let json: serde_json::Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let mut wrongs = Vec::new();
        let fault = match Node::from_json(&json) {
            Ok(node) => Draft::read(&node, &mut wrongs),
            Err(wrong) => {
                wrongs.push(wrong);
                None
            }
        };
        match fault {
            Some(fault) if wrongs.is_empty() => Ok(fault.starting(now)),
            _ => Err(wrongs.iter().map(Wrong::told).collect::<Vec<_>>().join("; ")),
        }
    }

    /// The fault as JSON, for those who list faults.
    pub fn to_json(&self, id: FaultId) -> serde_json::Value {
        let selector: serde_json::Map<_, _> =
            self.selector.pairs().iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let mut json = serde_json::json!({
            "id": id, "kind": self.kind.as_str(), "where": selector, "rate": self.rate,
            "from": self.from, "until": self.until,
        });
        let brief = |length: &Duration| Brief(*length).to_string().into();
        match &self.kind {
            FaultKind::PartialOutput { share } | FaultKind::LoseImport { share } | FaultKind::WrongQuery { share } => {
                json["share"] = (*share).into()
            }
            FaultKind::DuplicateOutput { copies, after } => {
                json["copies"] = (*copies).into();
                json["after"] = brief(after);
            }
            FaultKind::CorruptOutput { column: Some(column) } => json["column"] = column.clone().into(),
            FaultKind::DelayOutput { by } | FaultKind::ApiSlow { by } | FaultKind::SlowTarget { by } => {
                json["by"] = brief(by);
            }
            FaultKind::RefuseSubmit { status } | FaultKind::ApiError { status } => json["status"] = (*status).into(),
            _ => {}
        }
        json
    }
}

impl Wrong {
    /// One line for somebody without the file.
    fn told(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.what),
            None => self.what.clone(),
        }
    }
}

/// A fault as written: its times are lengths from a start that the file does not know.
pub(super) struct Draft {
    kind: FaultKind,
    selector: Selector,
    rate: f64,
    from: Duration,
    until: Option<Duration>,
}

impl Draft {
    pub(super) fn starting(self, start: Timestamp) -> Fault {
        Fault {
            kind: self.kind,
            selector: self.selector,
            rate: self.rate,
            from: start.plus(self.from),
            until: self.until.map(|until| start.plus(until)),
        }
    }

    /// Reads one fault, noting all that is wrong with it.
    pub(super) fn read(node: &Node, wrongs: &mut Vec<Wrong>) -> Option<Draft> {
        let before = wrongs.len();
        let mut keys = Keys::of(node, "fault", wrongs);
        let named = keys.need("kind", "\"drop-output\"");
        let selector = keys.get("where").map(|node| read_where(node, &mut keys));
        let rate = keys.share("rate").unwrap_or(1.0);
        let from = keys.length("from");
        let until = keys.get("until");
        let until_at = until.and_then(|node| keys.as_length("until", node));
        if let (Some(node), Some(until)) = (until, until_at)
            && from.unwrap_or_default() >= until
        {
            let from = Brief(from.unwrap_or_default());
            keys.push(node.wrong(
                format!("`until` ({}) is not after `from` ({from})", Brief(until)),
                "a fault ends after it begins; without `until` it lasts to the end".to_owned(),
            ));
        }
        let kind = named.and_then(|node| read_kind(node, &mut keys));
        // Without a kind nobody knows which keys there are.
        if let Some(kind) = &kind {
            others(kind, &mut keys);
            keys.done();
        }
        let (selector, kind) = (selector.unwrap_or_default(), kind?);
        (wrongs.len() == before).then(|| Draft {
            kind,
            selector,
            rate,
            from: from.unwrap_or_default(),
            until: until_at,
        })
    }
}

/// Parameters, and the kinds that have them.
const PARAMETERS: [(&str, &str); 6] = [
    ("share", "partial-output, lose-import and wrong-query"),
    ("copies", "duplicate-output"),
    ("after", "duplicate-output"),
    ("column", "corrupt-output"),
    ("by", "delay-output, api-slow and slow-target"),
    ("status", "refuse-submit and api-error"),
];

/// Parameters of other kinds: known words, in the wrong place.
fn others(kind: &FaultKind, keys: &mut Keys<'_>) {
    for (key, owners) in PARAMETERS {
        if !keys.asked_for(key)
            && let Some(pair) = keys.pairs().iter().find(|pair| pair.key == key)
        {
            let (at, hint) = (pair.key_at.clone(), Some(format!("`{key}` belongs to {owners}")));
            keys.push(Wrong { at, what: format!("{kind} has no `{key}`"), hint });
            keys.get(key);
        }
    }
}

fn read_kind<'a>(node: &'a Node, keys: &mut Keys<'a>) -> Option<FaultKind> {
    let name = keys.as_text("kind", node)?;
    Some(match name {
        "drop-output" => FaultKind::DropOutput,
        "partial-output" => FaultKind::PartialOutput { share: keys.share("share").unwrap_or(0.5) },
        "duplicate-output" => FaultKind::DuplicateOutput {
            copies: keys.int("copies", 2..=100).map_or(2, |copies| copies as u32),
            after: keys.length("after").unwrap_or_default(),
        },
        "corrupt-output" => FaultKind::CorruptOutput { column: read_column(keys) },
        "stale-output" => FaultKind::StaleOutput,
        "delay-output" => FaultKind::DelayOutput { by: keys.length("by").unwrap_or(Duration::from_secs(300)) },
        "fail-job" => FaultKind::FailJob,
        "hang-job" => FaultKind::HangJob,
        "false-error" => FaultKind::FalseError,
        "false-killed" => FaultKind::FalseKilled,
        "freeze-status" => FaultKind::FreezeStatus,
        "refuse-submit" => FaultKind::RefuseSubmit { status: read_status(keys).unwrap_or(503) },
        "api-error" => FaultKind::ApiError { status: read_status(keys).unwrap_or(500) },
        "api-slow" => FaultKind::ApiSlow { by: keys.length("by").unwrap_or(Duration::from_secs(5)) },
        "api-unreachable" => FaultKind::ApiUnreachable,
        "target-down" => FaultKind::TargetDown,
        "agent-blind" => FaultKind::AgentBlind,
        "slow-target" => FaultKind::SlowTarget { by: keys.length("by").unwrap_or(Duration::from_secs(10)) },
        "lose-import" => FaultKind::LoseImport { share: keys.share("share").unwrap_or(0.5) },
        "wrong-query" => FaultKind::WrongQuery { share: keys.share("share").unwrap_or(0.5) },
        other => {
            let hint = nearest(other, FaultKind::NAMES.into_iter());
            keys.push(node.wrong(format!("unknown fault kind `{}`", cut(other)), hint));
            return None;
        }
    })
}

fn read_status(keys: &mut Keys<'_>) -> Option<u16> {
    keys.int("status", 400..=599).and_then(|status| u16::try_from(status).ok())
}

fn read_column<'a>(keys: &mut Keys<'a>) -> Option<String> {
    let node = keys.get("column")?;
    let column = keys.as_text("column", node)?;
    // Rows without their marker would be nobody's: that is `drop-output`.
    if column == COLUMNS[0].name {
        let hint = "rows with another marker are nobody's; use drop-output".to_owned();
        keys.push(node.wrong("the marker cannot be corrupted", hint));
    }
    Some(column.to_owned())
}

/// `where = { worker = "v5" }`; whether there is such a label is the caller's to know.
fn read_where<'a>(node: &'a Node, outer: &mut Keys<'a>) -> Selector {
    let Value::Table(pairs) = &node.value else {
        outer.push(node.wrong("`where` must be a table", "such as `where = { worker = \"v5\" }`".to_owned()));
        return Selector::default();
    };
    let mut kept = Vec::new();
    for pair in pairs {
        if let Some(value) = outer.as_text(&pair.key, &pair.node) {
            kept.push((pair.key.clone(), value.to_owned()));
        }
    }
    Selector::new(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn read(json: &str) -> Result<Fault, String> {
        Fault::from_json(json.as_bytes(), NOW)
    }

    #[test]
    fn every_kind_reads_with_its_defaults_and_is_written_back_the_same() {
        for name in FaultKind::NAMES {
            let fault = read(&format!(r#"{{"kind":"{name}"}}"#)).expect("valid");
            assert_eq!(fault.kind.as_str(), name);
            assert_eq!((fault.rate, fault.from, fault.until), (1.0, NOW, None));
            let mut json = fault.to_json(FaultId(7));
            for key in ["id", "from", "until"] {
                json.as_object_mut().expect("an object").remove(key);
            }
            assert_eq!(read(&json.to_string()), Ok(fault));
        }
    }

    #[test]
    fn times_in_a_request_count_from_now() {
        let fault = read(r#"{"kind":"drop-output","from":"10s","until":"1m","where":{"worker":"v5"},"rate":0.5}"#);
        let fault = fault.expect("valid");
        assert_eq!((fault.from, fault.until), (Timestamp::from_secs(1_010), Some(Timestamp::from_secs(1_060))));
        assert_eq!(fault.selector.to_string(), "worker=v5");
        assert!(!fault.is_active(NOW) && fault.is_active(fault.from) && !fault.is_active(Timestamp::from_secs(1_060)));
    }

    #[test]
    fn everything_wrong_with_a_request_is_said_at_once() {
        for (json, message) in [
            ("[", "not JSON: EOF while parsing a list at line 1 column 1"),
            ("[]", "`fault` must be a table, not a list; `kind` is missing (add `kind = \"drop-output\"`)"),
            (r#"{"kind":"drop-outptu"}"#, "unknown fault kind `drop-outptu` (did you mean `drop-output`?)"),
            (r#"{"kind":"drop-output","wher":{}}"#, "unknown key `wher` (did you mean `where`?)"),
            (
                r#"{"kind":"partial-output","rate":2,"share":"x"}"#,
                "`rate = 2` is out of range (it is a share, from 0 to 1); `share` must be a number from 0 to 1, not text",
            ),
            (
                r#"{"kind":"drop-output","from":"5m","until":"1m"}"#,
                "`until` (1m) is not after `from` (5m) (a fault ends after it begins; without `until` it lasts to the end)",
            ),
            (r#"{"kind":"api-slow","by":5}"#, "`by = 5` has no unit (write \"5s\" or \"5m\")"),
            (r#"{"kind":"api-error","status":200}"#, "`status = 200` is out of range (it goes from 400 to 599)"),
        ] {
            assert_eq!(read(json), Err(message.to_owned()), "{json}");
        }
    }
}

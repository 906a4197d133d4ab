//! A session at a server: statements are run in it, and followed.

use std::sync::Arc;

use super::{settings::Place, thrift::Value, wire::Line};
use crate::{
    canary::{Cell, Timestamp},
    platform::{PlatformError, cut},
};

/// The newest of the protocol that is needed: V6 brought columns, and every server in use has it.
const PROTOCOL: i32 = 5;
/// Rows in one answer: far below what one may have in parts.
const FETCHED: i64 = 500;
/// And in all: no report has more.
const MOST_ROWS: usize = 20_000;
/// `CLI_SERVER_NAME`: a question that costs a server nothing.
const SERVER_NAME: i32 = 13;

/// A session.
pub(super) struct Session {
    place: Arc<Place>,
    line: Line,
    handle: Value,
}

/// A statement that was accepted, as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    handle: Value,
    /// Its id, for people.
    pub(super) id: String,
}

/// What a server says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) state: State,
    /// SQLSTATE and message.
    pub(super) detail: String,
    /// The message speaks of writing to the target.
    pub(super) in_writing: bool,
    pub(super) rows: Option<u64>,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Running,
    Finished,
    Failed,
    /// Cancelled, or closed by somebody else.
    Stopped,
}

/// Why an operation or session cannot be asked.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The server knows none by this handle (any more).
    Gone,
    /// Anything else.
    Trouble(PlatformError),
}

impl From<PlatformError> for Unknown {
    fn from(error: PlatformError) -> Self {
        Unknown::Trouble(error)
    }
}

impl Unknown {
    /// For calls that cannot be about something that is gone.
    pub(super) fn trouble(self) -> PlatformError {
        match self {
            Unknown::Gone => PlatformError::Broken { detail: "it forgot the session in the middle of it".to_owned() },
            Unknown::Trouble(error) => error,
        }
    }
}

/// A call that was not granted.
struct Refusal {
    gone: bool,
    state: String,
    detail: String,
}

impl Session {
    /// Connects, logs in and opens a session.
    pub(super) async fn open(place: &Arc<Place>) -> Result<Self, PlatformError> {
        let mut line = Line::open(place).await?;
        let pairs = place.session.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let request = Value::Struct(vec![
            (1, Value::I32(PROTOCOL)),
            (2, Value::text(&place.user)),
            (3, Value::text(place.password.reveal())),
            (4, Value::pairs(pairs)),
        ]);
        let answer = line.call("OpenSession", request).await?;
        granted(place, &answer).map_err(|refusal| match refusal.state.get(..2) {
            Some("28") => PlatformError::Denied { detail: refusal.detail },
            // Too many sessions, an engine that does not start: tomorrow is another day.
            _ => PlatformError::Broken { detail: format!("no session: {}", refusal.detail) },
        })?;
        let handle = answer.field(3).cloned().ok_or_else(|| nonsense("it opened a session without a handle"))?;
        Ok(Self { place: Arc::clone(place), line, handle })
    }

    /// Whether it still stands: connections die, servers are restarted, sessions expire.
    pub(super) async fn is_alive(&mut self) -> bool {
        let request = Value::Struct(vec![(1, self.handle.clone()), (2, Value::I32(SERVER_NAME))]);
        match self.line.call("GetInfo", request).await {
            // A server that does not answer this question answers all the same.
            Ok(answer) => granted(&self.place, &answer).err().is_none_or(|refusal| !refusal.gone),
            Err(_) => false,
        }
    }

    /// Whether its connection is lost, and with it what was to be asked on it.
    pub(super) fn is_broken(&self) -> bool {
        self.line.is_broken()
    }

    /// Connects again. Whether the server has kept session and operation meanwhile, it says when it
    /// is asked.
    pub(super) async fn reconnect(&mut self) -> Result<(), PlatformError> {
        self.line = Line::open(&self.place).await?;
        Ok(())
    }

    /// Has a statement run, and does not wait for it.
    pub(super) async fn execute(&mut self, statement: &str) -> Result<Operation, Unknown> {
        let request = Value::Struct(vec![
            (1, self.handle.clone()),
            (2, Value::text(statement)),
            (3, Value::pairs([])),
            (4, Value::Bool(true)),
        ]);
        let answer = self.line.call("ExecuteStatement", request).await.map_err(|error| match error {
            // What a proxy or the server's own shell says of a call does not say that nothing began.
            PlatformError::Broken { detail } => PlatformError::Unreachable { detail, never_arrived: false },
            other => other,
        })?;
        granted(&self.place, &answer).map_err(|refusal| {
            let later = ["cannot accept new task", "lease retry", "oo many"];
            match &refusal {
                Refusal { gone: true, .. } => Unknown::Gone,
                // Nothing was begun: the queue is full.
                refusal
                    if refusal.state.starts_with("53") || later.iter().any(|words| refusal.detail.contains(words)) =>
                {
                    PlatformError::Broken { detail: refusal.detail.clone() }.into()
                }
                _ => PlatformError::Refused { detail: refusal.detail }.into(),
            }
        })?;
        let handle = answer.field(2).cloned().ok_or_else(|| nonsense("it took a statement without a handle"))?;
        let id = handle.field(1).and_then(|id| id.bytes(1)).map(written).unwrap_or_default();
        Ok(Operation { handle, id })
    }

    /// Asks once how an operation is. Servers keep the question for some seconds while it runs.
    pub(super) async fn status(&mut self, operation: &Operation) -> Result<Report, Unknown> {
        let answer = self.about("GetOperationStatus", operation).await?;
        Ok(Report::read(&self.place, &answer)?)
    }

    /// The number that a finished query answers: first column of the first row.
    pub(super) async fn number(&mut self, operation: &Operation) -> Result<i64, Unknown> {
        let request = Value::Struct(vec![(1, operation.handle.clone()), (2, Value::I32(0)), (3, Value::I64(1))]);
        let answer = self.line.call("FetchResults", request).await?;
        granted(&self.place, &answer).map_err(Refusal::broken)?;
        let column = match answer.field(3).and_then(|rows| rows.field(3)) {
            Some(Value::List(columns)) => columns.first(),
            _ => None,
        };
        let values = column.and_then(|column| column.field(5)).and_then(|column| column.field(1));
        match values {
            Some(Value::List(values)) => match values.first() {
                Some(Value::I64(number)) => Ok(*number),
                _ => Err(nonsense("it counted rows and answers no number").into()),
            },
            _ => Err(nonsense("it counted rows and answers no column of numbers").into()),
        }
    }

    /// Whether there is anything to be fetched of an operation.
    pub(super) fn brings_rows(&self, operation: &Operation) -> bool {
        matches!(operation.handle.field(3), Some(Value::Bool(true)))
    }

    /// All rows of a finished query.
    pub(super) async fn rows(&mut self, operation: &Operation) -> Result<Vec<Vec<Cell>>, Unknown> {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        loop {
            let request =
                Value::Struct(vec![(1, operation.handle.clone()), (2, Value::I32(0)), (3, Value::I64(FETCHED))]);
            let answer = self.line.call("FetchResults", request).await?;
            granted(&self.place, &answer).map_err(Refusal::broken)?;
            // A statement that makes or fills a table has a result of no columns.
            let Some(Value::List(columns)) = answer.field(3).and_then(|rows| rows.field(3)) else {
                return Ok(rows);
            };
            let columns: Vec<Vec<Cell>> =
                columns.iter().map(column).collect::<Option<_>>().ok_or_else(|| nonsense("a column makes no sense"))?;
            let there = columns.first().map_or(0, Vec::len);
            if columns.iter().any(|column| column.len() != there) {
                return Err(nonsense("it answers columns of different lengths").into());
            }
            let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
            rows.extend((0..there).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()));
            // Whether there are more, some say wrongly: what is empty is the end.
            if there == 0 || rows.len() >= MOST_ROWS {
                return Ok(rows);
            }
        }
    }

    /// Stops an operation. One that has ended is not an error.
    pub(super) async fn cancel(&mut self, operation: &Operation) -> Result<(), Unknown> {
        self.about("CancelOperation", operation).await.map(drop)
    }

    /// Lets the server forget an operation that has ended.
    pub(super) async fn close(&mut self, operation: &Operation) -> Result<(), Unknown> {
        self.about("CloseOperation", operation).await.map(drop)
    }

    /// Ends the session, in so far as the server still hears it.
    pub(super) async fn end(mut self) {
        let request = Value::Struct(vec![(1, self.handle.clone())]);
        // A session that nobody can end ends with its connection, or by itself.
        let _ = self.line.call("CloseSession", request).await;
    }

    async fn about(&mut self, method: &str, operation: &Operation) -> Result<Value, Unknown> {
        let answer = self.line.call(method, Value::Struct(vec![(1, operation.handle.clone())])).await?;
        granted(&self.place, &answer).map_err(Refusal::broken)?;
        Ok(answer)
    }
}

impl Refusal {
    fn broken(self) -> Unknown {
        match self.gone {
            true => Unknown::Gone,
            false => PlatformError::Broken { detail: self.detail }.into(),
        }
    }
}

/// What a call's status says: granted, or why not.
fn granted(place: &Place, answer: &Value) -> Result<(), Refusal> {
    const SUCCESS: i64 = 0;
    const STILL_EXECUTING: i64 = 2;
    const INVALID_HANDLE: i64 = 4;
    let Some(status) = answer.field(1) else {
        return Err(Refusal { gone: false, state: String::new(), detail: "an answer without a status".to_owned() });
    };
    match status.number(1) {
        Some(SUCCESS..=STILL_EXECUTING) => Ok(()),
        code => {
            let message = status.words(5).unwrap_or_default();
            let state = status.words(3).unwrap_or_default();
            let forgotten =
                ["Invalid OperationHandle", "Invalid SessionHandle", "Invalid query handle", "Invalid session id"];
            let gone = code == Some(INVALID_HANDLE) || forgotten.iter().any(|words| message.contains(words));
            Err(Refusal { gone, detail: explained(place, &state, &message), state })
        }
    }
}

/// SQLSTATE and message, as they may be kept.
fn explained(place: &Place, state: &str, message: &str) -> String {
    // Servers put their own wrapping before what they have to say.
    let mut message = message.trim();
    for wrapping in ["org.apache.hive.service.cli.HiveSQLException:", "Error running query:"].repeat(2) {
        message = message.strip_prefix(wrapping).unwrap_or(message).trim_start();
    }
    let message = if message.is_empty() { "no reason given" } else { message };
    let gist = gist(&place.veiled(message));
    match state.is_empty() || state.len() > 5 {
        true => cut(&gist),
        false => cut(&format!("{state}: {gist}")),
    }
}

/// The beginning of a long message, and the innermost cause that it names: servers send whole stack
/// traces, and statements with all their values.
fn gist(message: &str) -> String {
    const WHOLE: usize = 450;
    const HEAD: usize = 140;
    if message.chars().count() <= WHOLE {
        return message.to_owned();
    }
    let cause = ["Caused by: ", " ERROR: ", " FATAL: "].iter().filter_map(|words| message.rfind(words)).max();
    let head: String = message.chars().take(HEAD).collect();
    match cause {
        Some(at) if at > HEAD => {
            let line = message[at..].trim().lines().next().unwrap_or_default().trim_end();
            // A cause that says no more than its name says less than the beginning.
            if line.ends_with(':') {
                return message.to_owned();
            }
            format!("{head} … {}", line.chars().take(WHOLE - HEAD).collect::<String>())
        }
        _ => message.to_owned(),
    }
}

/// Whether an error is of the writing, where a statement computes and writes in one.
fn speaks_of_writing(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let words = ["jdbc", "java.sql.", "psqlexception", "batchupdate", "failed while writing", "task_write_failed"];
    words.iter().any(|words| message.contains(words))
}

impl Report {
    /// Whether a table was not made because somebody else was making it at the same moment: `IF NOT EXISTS`
    /// looks first and makes then.
    pub(super) fn is_there_already(&self) -> bool {
        let words =
            ["TABLE_OR_VIEW_ALREADY_EXISTS", "TableAlreadyExistsException", "AlreadyExistsException(message:Table"];
        self.state == State::Failed
            && (self.detail.starts_with("42P07: ") || words.iter().any(|words| self.detail.contains(words)))
    }

    fn read(place: &Place, answer: &Value) -> Result<Self, PlatformError> {
        let state = match answer.number(2) {
            Some(0 | 7) => State::Waiting,
            Some(1) => State::Running,
            Some(2) => State::Finished,
            Some(3 | 4) => State::Stopped,
            // 8: it ran into a limit of time.
            Some(5 | 8) => State::Failed,
            _ => return Err(nonsense("it is in a state that there is not")),
        };
        let (detail, in_writing) = match state {
            State::Failed => {
                let message = answer.words(5).unwrap_or_default();
                let state = answer.words(3).unwrap_or_default();
                (explained(place, &state, &message), speaks_of_writing(&message))
            }
            _ => (String::new(), false),
        };
        // Of times and counts only those that make sense; they decorate.
        let time = |field| {
            let millis = answer.number(field).filter(|millis| (1..=i64::MAX / 1000).contains(millis))?;
            Some(Timestamp::from_micros(millis * 1000))
        };
        let rows = answer.number(11).and_then(|rows| u64::try_from(rows).ok());
        Ok(Self { state, detail, in_writing, rows, started: time(7), completed: time(8) })
    }
}

/// A column as it is fetched: values, and a bit for each that is NULL.
fn column(column: &Value) -> Option<Vec<Cell>> {
    // Booleans, bytes, three widths of integers, doubles, texts, bytes.
    let values = (1..=8).find_map(|kind| column.field(kind))?;
    let nulls = values.bytes(2).unwrap_or_default();
    let Value::List(values) = values.field(1)? else { return None };
    let is_null = |at: usize| nulls.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let cell = |(at, value): (usize, &Value)| {
        Some(match value {
            _ if is_null(at) => Cell::Null,
            Value::Bool(set) => Cell::Bool(*set),
            Value::Byte(n) => Cell::Int((*n).into()),
            Value::I16(n) => Cell::Int((*n).into()),
            Value::I32(n) => Cell::Int((*n).into()),
            Value::I64(n) => Cell::Int(*n),
            Value::Double(n) => Cell::Float(*n),
            Value::Bytes(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
            _ => return None,
        })
    };
    values.iter().enumerate().map(cell).collect()
}

/// An id as servers write theirs.
fn written(id: &[u8]) -> String {
    let hex: String = id.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    match id.len() {
        16 => [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
        _ => hex,
    }
}

fn nonsense(what: &str) -> PlatformError {
    PlatformError::Nonsense { detail: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stack_trace_the_beginning_and_the_innermost_cause_are_kept() {
        let long = format!("Job aborted: {}\nCaused by: X: ERROR: too small\n\tat y\n\tat z", "x".repeat(2000));
        let kept = gist(&long);
        assert!(kept.starts_with("Job aborted") && kept.ends_with("ERROR: too small"), "{kept}");
        assert_eq!(gist("short\nERROR: x"), "short\nERROR: x");
        assert_eq!(gist(&"é".repeat(2000)), "é".repeat(2000));
    }

    #[test]
    fn columns_of_every_kind_are_read_with_their_nulls() {
        let of = |kind, values, nulls: &[u8]| {
            let inside = Value::Struct(vec![(1, Value::List(values)), (2, Value::Bytes(nulls.to_vec()))]);
            column(&Value::Struct(vec![(kind, inside)]))
        };
        assert_eq!(of(5, vec![Value::I64(7), Value::I64(0)], &[2]), Some(vec![Cell::Int(7), Cell::Null]));
        assert_eq!(of(6, vec![Value::Double(0.5)], &[]), Some(vec![Cell::Float(0.5)]));
        assert_eq!(of(7, vec![Value::text("a")], &[0]), Some(vec![Cell::Text("a".to_owned())]));
        assert_eq!(of(1, vec![Value::Bool(true)], &[]), Some(vec![Cell::Bool(true)]));
        assert_eq!(of(9, vec![], &[]), None);
        assert_eq!(of(5, vec![Value::List(vec![])], &[]), None);
    }

    #[test]
    fn ids_are_written_as_servers_write_them() {
        let id: Vec<u8> = (0..16).collect();
        assert_eq!(written(&id), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(written(b"\xff\x00"), "ff00");
    }
}

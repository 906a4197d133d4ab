//! The readers: two threads with a connection each that cannot write. They see every commit that
//! returned, and hold no writer up.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use super::{
    apply::{More, Shape, key, marker_of, route_key, row_number, unreadable},
    compact, failure, schema,
};
use crate::{
    canary::{Away, Marker, Outcome, RouteId, Run, TargetName, Terms, Timestamp, Verdict},
    detect::{Deploy, Incident, IncidentId, Input},
    store::{Counts, Delivery, JournalEntry, Notice, Opening, RunRecord, StoreError},
};

/// Two: a person's long question does not keep the agent's short ones waiting.
const THREADS: usize = 2;

type Question = Box<dyn FnOnce(&mut Reader) + Send>;
type Rows<T> = rusqlite::Result<T>;

/// The way to the readers' threads.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel::<Question>();
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = (0..THREADS).map(|n| {
            let connection =
                schema::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|error| failure(&error))?;
            let mut reader = Reader { connection, shapes: HashMap::new() };
            let waiting = waiting.clone();
            let next = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            std::thread::Builder::new()
                .name(format!("ledger-read-{n}"))
                .spawn(move || {
                    while let Ok(question) = next() {
                        question(&mut reader);
                    }
                })
                .map_err(|error| StoreError::Unavailable { detail: error.to_string() })
        });
        let threads = threads.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reader) -> Rows<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable { detail: "the ledger's threads have ended".to_owned() };
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |reader| {
            // A caller that went away is not read for.
            if !reply.is_closed() {
                let _ = reply.send(question(reader));
            }
        });
        self.queue.as_ref().ok_or_else(gone)?.send(question).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(|error| failure(&error))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A thread's own.
pub(super) struct Reader {
    connection: Connection,
    /// Rows of shapes never change.
    shapes: HashMap<i64, Arc<Shape>>,
}

const RUN: &str =
    "SELECT marker, shape, due, why, pending, outcome, judged_at, handle, more, judged, evidence FROM runs";

impl Reader {
    pub(super) fn pending(&mut self) -> Rows<Vec<RunRecord>> {
        let pending = self.records(&format!("{RUN} WHERE pending = 1 ORDER BY due, marker"), params![])?;
        self.with_reports(pending)
    }

    pub(super) fn watched(&mut self, now: Timestamp) -> Rows<Vec<RunRecord>> {
        // A run is watched for three deadlines after it was accepted, which takes one at most: no
        // index for all runs is kept for the one time this is asked, after a start.
        let longest: i64 =
            self.connection.query_row("SELECT coalesce(max(deadline), 0) FROM shapes", [], |row| row.get(0))?;
        let since = Timestamp::from_micros(now.as_micros().saturating_sub(longest.saturating_mul(5)));
        let since = key(crate::store::retention::first_marker_at(since));
        let sql = format!("{RUN} WHERE marker >= ?1 AND watch_until >= ?2 ORDER BY marker");
        let watched = self.records(&sql, params![since, now.as_micros()])?;
        self.with_reports(watched)
    }

    pub(super) fn run(&mut self, run: Marker) -> Rows<Option<RunRecord>> {
        let found = self.records(&format!("{RUN} WHERE marker = ?1"), params![key(run)])?;
        Ok(self.with_reports(found)?.pop())
    }

    /// Runs of these routes, from a marker on, that have a verdict for good: the newest of all of them.
    pub(super) fn judged(&mut self, routes: &[RouteId], from: Marker, limit: u32) -> Rows<Vec<RunRecord>> {
        let of_route = "shape IN (SELECT id FROM shapes WHERE route = ?1)";
        let sql = format!("{RUN} WHERE {of_route} AND marker >= ?2 AND pending = 0 ORDER BY marker DESC LIMIT ?3");
        let mut found = Vec::new();
        for route in routes {
            found.append(&mut self.records(&sql, params![route_key(*route), key(from), limit])?);
            if found.len() > limit as usize {
                found.sort_by_key(|record| std::cmp::Reverse(record.run.marker));
                found.truncate(limit as usize);
            }
        }
        Ok(found)
    }

    /// The same records, with the reports that some of their runs must bring.
    fn with_reports(&mut self, mut records: Vec<RunRecord>) -> Rows<Vec<RunRecord>> {
        let mut statement = self.connection.prepare_cached("SELECT body FROM reports WHERE marker = ?1")?;
        for record in &mut records {
            let body: Option<String> = statement.query_row([key(record.run.marker)], |row| row.get(0)).optional()?;
            record.run.report = body.map(parsed).transpose()?;
        }
        Ok(records)
    }

    pub(super) fn runs(&mut self, route: Option<RouteId>, limit: u32) -> Rows<Vec<RunRecord>> {
        match route {
            None => self.records(&format!("{RUN} ORDER BY marker DESC LIMIT ?1"), params![limit]),
            Some(route) => {
                let of_route = "WHERE shape IN (SELECT id FROM shapes WHERE route = ?1)";
                let sql = format!("{RUN} {of_route} ORDER BY marker DESC LIMIT ?2");
                self.records(&sql, params![route_key(route), limit])
            }
        }
    }

    /// Runs of a route that were begun before a marker, the newest first.
    pub(super) fn runs_before(&mut self, route: RouteId, until: Marker, limit: u32) -> Rows<Vec<RunRecord>> {
        let earlier = "WHERE shape IN (SELECT id FROM shapes WHERE route = ?1) AND marker < ?2";
        let sql = format!("{RUN} {earlier} ORDER BY marker DESC LIMIT ?3");
        self.records(&sql, params![route_key(route), key(until), limit])
    }

    fn records(&mut self, sql: &str, params: impl rusqlite::Params) -> Rows<Vec<RunRecord>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let shape = shape(&self.connection, &mut self.shapes, row.get(1)?)?;
            records.push(record(row, &shape)?);
        }
        Ok(records)
    }

    pub(super) fn incidents(&mut self, limit: u32) -> Rows<Vec<Incident>> {
        let sql = "SELECT body FROM incidents ORDER BY opened_at DESC, id DESC LIMIT ?1";
        self.many(sql, params![limit], |row| parsed(row.get(0)?))
    }

    pub(super) fn incident(&mut self, id: &IncidentId) -> Rows<Option<Incident>> {
        let sql = "SELECT body FROM incidents WHERE id = ?1";
        Ok(self.many(sql, params![id.as_str()], |row| parsed(row.get(0)?))?.pop())
    }

    pub(super) fn deploys(&mut self, limit: u32) -> Rows<Vec<Deploy>> {
        let sql = "SELECT service, version, at FROM deploys ORDER BY at DESC, id DESC LIMIT ?1";
        self.many(sql, params![limit], |row| {
            Ok(Deploy { service: row.get(0)?, version: row.get(1)?, at: time(row, 2)? })
        })
    }

    pub(super) fn deliveries(&mut self, target: &TargetName, runs: &[Marker]) -> Rows<Vec<Delivery>> {
        let sql = "SELECT id, at, body FROM deliveries WHERE marker = ?1 AND target = ?2";
        let mut found = Vec::new();
        let mut runs = runs.to_vec();
        runs.sort_unstable();
        runs.dedup();
        for marker in runs {
            found.extend(self.many(sql, params![key(marker), target.as_str()], |row| {
                Ok((row.get::<_, i64>(0)?, Delivery { marker, at: time(row, 1)?, body: row.get(2)? }))
            })?);
        }
        found.sort_by_key(|(id, _)| *id);
        Ok(found.into_iter().map(|(_, delivery)| delivery).collect())
    }

    pub(super) fn away(&mut self, since: Timestamp) -> Rows<Vec<Away>> {
        let ups =
            self.many("SELECT since, until FROM ups ORDER BY id", params![], |row| Ok((time(row, 0)?, time(row, 1)?)))?;
        let gaps = ups.windows(2).map(|two| Away { from: two[0].1, until: two[1].0 });
        Ok(gaps.filter(|gap| gap.until > gap.from && gap.until > since).collect())
    }

    pub(super) fn last_beat(&mut self) -> Rows<Option<Timestamp>> {
        let sql = "SELECT until FROM ups ORDER BY id DESC LIMIT 1";
        Ok(self.many(sql, params![], |row| time(row, 0))?.pop())
    }

    pub(super) fn snapshot(&mut self) -> Rows<Option<(u64, Vec<u8>)>> {
        let sql = "SELECT seq, state FROM snapshot";
        Ok(self.many(sql, params![], |row| Ok((number(row, 0)?, row.get(1)?)))?.pop())
    }

    pub(super) fn journal(&mut self, after: u64) -> Rows<Vec<JournalEntry>> {
        let sql = "SELECT seq, at, input, evidence FROM journal WHERE seq > ?1 ORDER BY seq";
        self.many(sql, params![row_number(after)], |row| {
            let mut input: Input = parsed(row.get(2)?)?;
            if let Input::Verdict(verdict) = &mut input {
                verdict.evidence = evidence(verdict.run, row.get(3)?)?.into();
            }
            Ok(JournalEntry { seq: number(row, 0)?, at: time(row, 1)?, input })
        })
    }

    pub(super) fn untold(&mut self) -> Rows<Vec<Notice>> {
        self.many("SELECT body FROM notices WHERE told_at IS NULL ORDER BY id", params![], |row| parsed(row.get(0)?))
    }

    pub(super) fn open_letters(&mut self) -> Rows<Vec<Opening>> {
        self.many("SELECT body FROM openings WHERE done = 0 ORDER BY at, key", params![], |row| parsed(row.get(0)?))
    }

    pub(super) fn openings(&mut self, limit: u32) -> Rows<Vec<Opening>> {
        let newest = "SELECT body FROM openings ORDER BY at DESC, key DESC LIMIT ?1";
        self.many(newest, params![limit], |row| parsed(row.get(0)?))
    }

    pub(super) fn counts(&mut self) -> Rows<Counts> {
        // One snapshot of all, so that the numbers fit each other.
        let whole = self.connection.transaction()?;
        let one = |sql: &str| whole.prepare_cached(sql)?.query_row([], |row| number(row, 0));
        let counted = |name: &str| one(&format!("SELECT n FROM counters WHERE name = '{name}'"));
        let oldest = "SELECT min(due) FROM runs WHERE pending = 1";
        let oldest: Option<i64> = whole.prepare_cached(oldest)?.query_row([], |row| row.get(0))?;
        let mut outcomes = whole.prepare_cached("SELECT route, outcome, n FROM outcomes")?;
        let outcomes = outcomes.query_map([], |row| {
            Ok((RouteId(row.get::<_, i64>(0)? as u64), outcome(&row.get::<_, String>(1)?)?, number(row, 2)?))
        })?;
        let mut outcomes = outcomes.collect::<Rows<Vec<(RouteId, Outcome, u64)>>>()?;
        outcomes.sort_unstable();
        Ok(Counts {
            started: counted("started")?,
            settled: counted("settled")?,
            corrections: counted("corrections")?,
            pending: one("SELECT count(*) FROM runs WHERE pending = 1")?,
            oldest_pending: oldest.map(Timestamp::from_micros),
            outcomes,
        })
    }

    pub(super) fn setting(&mut self, name: &str) -> Rows<Option<String>> {
        Ok(self.many("SELECT value FROM settings WHERE name = ?1", params![name], |row| row.get(0))?.pop())
    }

    /// Up to which run greens are thinned.
    pub(super) fn thinned_to(&mut self) -> Rows<Marker> {
        let found = self.many("SELECT marker FROM thinned", params![], |row| Ok(marker_of(row.get(0)?)))?.pop();
        Ok(found.unwrap_or(crate::store::retention::first_marker_at(Timestamp::EPOCH)))
    }

    fn many<T>(
        &mut self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> Rows<T>,
    ) -> Rows<Vec<T>> {
        self.connection.prepare_cached(sql)?.query_map(params, read)?.collect()
    }
}

/// The shape of a row number, read once.
fn shape(connection: &Connection, known: &mut HashMap<i64, Arc<Shape>>, id: i64) -> Rows<Arc<Shape>> {
    if let Some(shape) = known.get(&id) {
        return Ok(shape.clone());
    }
    let body = connection.prepare_cached("SELECT body FROM shapes WHERE id = ?1")?.query_row([id], |row| row.get(0));
    let body: Option<String> = body.optional()?;
    let shape: Shape = parsed(body.unwrap_or_default())?;
    // Old shapes are forgotten with the map: a config that is reloaded for months stays small.
    if known.len() > 50_000 {
        known.clear();
    }
    Ok(known.entry(id).or_insert(Arc::new(shape)).clone())
}

fn record(row: &Row<'_>, shape: &Shape) -> Rows<RunRecord> {
    let marker = marker_of(row.get(0)?);
    let terms = Terms { due: time(row, 2)?, objective: shape.objective, deadline: shape.deadline };
    let why: String = row.get(3)?;
    let run = Run { marker, route: shape.route.clone(), terms, sample: shape.sample, why: parsed(why)?, report: None };
    let pending: bool = row.get(4)?;
    let newest = evidence(marker, row.get(10)?)?;
    let verdict = match row.get::<_, Option<String>>(5)? {
        None => None,
        Some(text) => {
            let more: Option<String> = row.get(8)?;
            let more: More = more.map(parsed).transpose()?.unwrap_or_default();
            let judged = match row.get(9)? {
                Some(bytes) if pending => evidence(marker, Some(bytes))?,
                _ => newest.clone(),
            };
            Some(Verdict {
                run: marker,
                route: run.route.id,
                due: run.terms.due,
                why: run.why,
                outcome: outcome(&text)?,
                phase: more.phase,
                reason: more.reason,
                also: more.also,
                provisional: pending,
                seen_late: more.seen_late,
                agent_away: more.agent_away,
                at: time(row, 6)?,
                evidence: judged.into(),
            })
        }
    };
    Ok(RunRecord { run, handle: row.get(7)?, evidence: newest, verdict })
}

fn evidence(run: Marker, bytes: Option<Vec<u8>>) -> Rows<crate::canary::Evidence> {
    let decoded = bytes.as_deref().and_then(|bytes| compact::decode(run, bytes));
    decoded.ok_or_else(|| nonsense(format!("evidence of {run}")))
}

fn outcome(text: &str) -> Rows<Outcome> {
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
    known.ok_or_else(|| nonsense(format!("outcome {text:?}")))
}

fn time(row: &Row<'_>, at: usize) -> Rows<Timestamp> {
    row.get(at).map(Timestamp::from_micros)
}

/// Counts are never negative.
fn number(row: &Row<'_>, at: usize) -> Rows<u64> {
    row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0))
}

fn parsed<T: serde::de::DeserializeOwned>(text: String) -> Rows<T> {
    serde_json::from_str(&text).map_err(unreadable)
}

fn nonsense(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, what.into())
}

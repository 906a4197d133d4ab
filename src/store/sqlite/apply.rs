//! What each change does to the tables.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::{
    compact, thin,
    write::{Answer, Write},
};
use crate::{
    canary::{Evidence, Marker, Outcome, Phase, Route, RouteId, Run, Sample, Terms, Timestamp, Verdict},
    detect::{Deploy, Incident, Input},
    store::{JournalEntry, Notice, Opening, retention},
};

/// What thousands of runs have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) route: Arc<Route>,
    pub(super) objective: Duration,
    pub(super) deadline: Duration,
    pub(super) sample: Sample,
}

/// What a verdict says beside its outcome, where it says anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) also: Vec<Outcome>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) seen_late: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) agent_away: bool,
}

/// The connection that writes.
pub(super) struct Book {
    connection: Connection,
    /// Shapes whose row is known, by route: the newest of each.
    shapes: HashMap<RouteId, (i64, Shape)>,
}

impl Book {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, shapes: HashMap::new() }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Writes all or nothing, in order.
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<Vec<Answer>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut page = Page { on: &transaction, shapes: &mut self.shapes };
        let answers = writes.iter().map(|write| page.apply(write)).collect::<Result<Vec<Answer>>>()?;
        transaction.commit()?;
        Ok(answers)
    }

    /// After a commit that failed: undoes what is left of it. An error: the connection is of no
    /// use any more.
    pub(super) fn give_up(&mut self) -> Result<()> {
        // Rows of shapes may be gone with the transaction.
        self.shapes.clear();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.connection.query_row("SELECT count(*) FROM counters", [], |_| Ok(()))
    }
}

/// One transaction.
pub(super) struct Page<'a> {
    pub(super) on: &'a Connection,
    pub(super) shapes: &'a mut HashMap<RouteId, (i64, Shape)>,
}

impl Page<'_> {
    fn apply(&mut self, write: &Write) -> Result<Answer> {
        match write {
            Write::Begin(run) => self.begin(run)?,
            Write::Progress { run, handle, evidence } => {
                self.run(
                    "UPDATE runs SET handle = ?2, evidence = ?3 WHERE marker = ?1 AND pending = 1",
                    params![key(*run), handle, evidence],
                )?;
            }
            Write::Settle(settlement) => {
                settlement.verdicts.iter().try_for_each(|verdict| self.verdict(verdict))?;
                settlement.journal.iter().try_for_each(|entry| self.journal(entry))?;
                settlement.incidents.iter().try_for_each(|incident| self.incident(incident))?;
                settlement.notices.iter().try_for_each(|notice| self.notice(notice))?;
                settlement.deploys.iter().try_for_each(|deploy| self.deploy(deploy))?;
            }
            Write::Delivery { target, delivery } => {
                self.run(
                    "INSERT INTO deliveries (target, marker, at, body) VALUES (?1, ?2, ?3, ?4)",
                    params![target.as_str(), key(delivery.marker), delivery.at.as_micros(), delivery.body],
                )?;
            }
            Write::SweepDeliveries { target, older_than } => {
                let removed = self.run(
                    "DELETE FROM deliveries WHERE id IN
                       (SELECT id FROM deliveries WHERE at < ?2 AND target = ?1 LIMIT ?3)",
                    params![target.as_str(), older_than.as_micros(), thin::STEP],
                )?;
                return Ok(Answer::Removed(removed as u64));
            }
            Write::Beat { since, now } => self.beat(*since, *now)?,
            Write::Snapshot { seq, state } => {
                let seq = row_number(*seq);
                self.run("INSERT OR REPLACE INTO snapshot VALUES (1, ?1, ?2)", params![seq, state])?;
                self.run("DELETE FROM journal WHERE seq <= ?1", params![seq])?;
            }
            Write::Openings { openings, taken, at } => {
                openings.iter().try_for_each(|opening| self.opening(opening))?;
                for key in taken {
                    self.run("UPDATE notices SET told_at = ?2 WHERE key = ?1", params![key, at.as_micros()])?;
                }
            }
            Write::Setting { name, value } => {
                self.run("INSERT OR REPLACE INTO settings VALUES (?1, ?2)", params![name, value])?;
            }
            Write::ThinGreens { from, now } => return self.thin_greens(*from, *now),
            Write::ThinnedTo(marker) => {
                self.run("INSERT OR REPLACE INTO thinned VALUES (1, ?1)", params![key(*marker)])?;
            }
            Write::ThinOld { now } => return self.thin_old(*now),
            Write::ThinDeliveries { from, now } => return self.thin_deliveries(*from, *now),
            Write::ThinRest { now } => self.thin_rest(*now)?,
        }
        Ok(Answer::Done)
    }

    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        self.on.prepare_cached(sql)?.execute(params)
    }

    fn begin(&mut self, run: &Run) -> Result<()> {
        let shape = self.shape(run)?;
        let inserted = self.run(
            "INSERT OR IGNORE INTO runs (marker, shape, due, why, pending, evidence) VALUES (?1, ?2, ?3, ?4, 1, ?5)",
            params![
                key(run.marker),
                shape,
                run.terms.due.as_micros(),
                why_text(run.why),
                compact::encode(run.marker, &Evidence::default())
            ],
        )?;
        if let Some(report) = &run.report {
            self.run("INSERT OR IGNORE INTO reports VALUES (?1, ?2)", params![key(run.marker), json(&**report)])?;
        }
        self.count("started", inserted)
    }

    /// The row of what this run has in common with others.
    fn shape(&mut self, run: &Run) -> Result<i64> {
        let Run { route, terms, sample, .. } = run;
        if let Some((id, known)) = self.shapes.get(&route.id)
            && (Arc::ptr_eq(&known.route, route) || known.route == *route)
            && (known.objective, known.deadline, known.sample) == (terms.objective, terms.deadline, *sample)
        {
            return Ok(*id);
        }
        let shape =
            Shape { route: route.clone(), objective: terms.objective, deadline: terms.deadline, sample: *sample };
        let body = json(&shape);
        self.run(
            "INSERT OR IGNORE INTO shapes (route, deadline, body) VALUES (?1, ?2, ?3)",
            params![route_key(route.id), micros(terms.deadline), body],
        )?;
        let id = self
            .on
            .prepare_cached("SELECT id FROM shapes WHERE body = ?1")?
            .query_row(params![body], |row| row.get(0))?;
        self.shapes.insert(route.id, (id, shape));
        Ok(id)
    }

    /// Objective and deadline of a shape; read only if it is not the newest of its route.
    fn lengths(&self, route: RouteId, shape: i64) -> Result<(Duration, Duration)> {
        if let Some((_, known)) = self.shapes.get(&route).filter(|(id, _)| *id == shape) {
            return Ok((known.objective, known.deadline));
        }
        let mut found = self.on.prepare_cached("SELECT body FROM shapes WHERE id = ?1")?;
        let body: String = found.query_row([shape], |row| row.get(0))?;
        let shape: Shape = serde_json::from_str(&body).map_err(unreadable)?;
        Ok((shape.objective, shape.deadline))
    }

    fn verdict(&self, verdict: &Verdict) -> Result<()> {
        let known = self
            .on
            .prepare_cached("SELECT pending, outcome, due, shape FROM runs WHERE marker = ?1")?
            .query_row(params![key(verdict.run)], |row| {
                Ok((
                    row.get::<_, bool>(0)?,
                    row.get::<_, Option<String>>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .optional()?;
        let Some((pending, outcome, due, shape)) = known else { return Ok(()) };
        let evidence = compact::encode(verdict.run, &verdict.evidence);
        let (marker, at, more) = (key(verdict.run), verdict.at.as_micros(), more(verdict));
        if verdict.provisional {
            self.run(
                "UPDATE runs SET outcome = ?2, judged_at = ?3, more = ?4, judged = ?5 WHERE marker = ?1 AND pending = 1",
                params![marker, verdict.outcome.as_str(), at, more, evidence],
            )?;
            return Ok(());
        }
        let (objective, deadline) = self.lengths(verdict.route, shape)?;
        let terms = Terms { due: Timestamp::from_micros(due), objective, deadline };
        let watch_until = retention::watch_until(&terms, verdict).map(Timestamp::as_micros);
        self.run(
            "UPDATE runs SET pending = 0, outcome = ?2, judged_at = ?3, more = ?4, judged = NULL, evidence = ?5,
               watch_until = ?6 WHERE marker = ?1",
            params![marker, verdict.outcome.as_str(), at, more, evidence, watch_until],
        )?;
        let earlier = outcome.filter(|_| !pending);
        if earlier.as_deref() == Some(verdict.outcome.as_str()) {
            return Ok(());
        }
        self.count(if earlier.is_some() { "corrections" } else { "settled" }, 1)?;
        self.run(
            "INSERT INTO outcomes VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET n = n + 1",
            params![route_key(verdict.route), verdict.outcome.as_str()],
        )?;
        Ok(())
    }

    fn count(&self, name: &str, by: usize) -> Result<()> {
        self.run("UPDATE counters SET n = n + ?2 WHERE name = ?1", params![name, by as i64]).map(drop)
    }

    fn journal(&self, entry: &JournalEntry) -> Result<()> {
        let (input, evidence) = match &entry.input {
            Input::Verdict(verdict) => {
                let bare = Verdict { evidence: Arc::default(), ..Verdict::clone(verdict) };
                let evidence = compact::encode(verdict.run, &verdict.evidence);
                (json(&Input::Verdict(Box::new(bare))), Some(evidence))
            }
            input => (json(input), None),
        };
        self.run(
            "INSERT OR REPLACE INTO journal VALUES (?1, ?2, ?3, ?4)",
            params![row_number(entry.seq), entry.at.as_micros(), input, evidence],
        )
        .map(drop)
    }

    fn incident(&self, incident: &Incident) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO incidents VALUES (?1, ?2, ?3)",
            params![incident.id.as_str(), incident.opened_at.as_micros(), json(incident)],
        )
        .map(drop)
    }

    fn notice(&self, notice: &Notice) -> Result<()> {
        let body = json(notice);
        let same = self
            .on
            .prepare_cached("SELECT body = ?2 FROM notices WHERE key = ?1")?
            .query_row(params![notice.key, body], |row| row.get(0))
            .optional()?;
        if same == Some(true) {
            return Ok(());
        }
        // A new row, so that it is told after what was decided before it.
        self.run("INSERT OR REPLACE INTO notices (key, body) VALUES (?1, ?2)", params![notice.key, body]).map(drop)
    }

    fn opening(&self, opening: &Opening) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO openings VALUES (?1, ?2, ?3, ?4)",
            params![opening.key(), opening.at.as_micros(), opening.done, json(opening)],
        )
        .map(drop)
    }

    fn deploy(&self, deploy: &Deploy) -> Result<()> {
        self.run(
            "INSERT OR IGNORE INTO deploys (at, service, version) VALUES (?1, ?2, ?3)",
            params![deploy.at.as_micros(), deploy.service, deploy.version],
        )
        .map(drop)
    }

    fn beat(&self, since: Timestamp, now: Timestamp) -> Result<()> {
        let (since, now) = (since.as_micros(), now.as_micros());
        let longer = self.run(
            "UPDATE ups SET until = ?2 WHERE id = (SELECT max(id) FROM ups) AND since = ?1",
            params![since, now],
        )?;
        if longer == 0 {
            self.run("INSERT INTO ups (since, until) VALUES (?1, ?2)", params![since, now])?;
        }
        Ok(())
    }
}

fn more(verdict: &Verdict) -> Option<String> {
    let more = More {
        phase: verdict.phase,
        reason: verdict.reason.clone(),
        also: verdict.also.clone(),
        seen_late: verdict.seen_late,
        agent_away: verdict.agent_away,
    };
    (more != More::default()).then(|| json(&more))
}

/// A marker as a key: its bytes sort as it does.
pub(super) fn key(run: Marker) -> [u8; 16] {
    run.as_u128().to_be_bytes()
}

/// The marker of a key.
pub(super) fn marker_of(key: [u8; 16]) -> Marker {
    let number = u128::from_be_bytes(key);
    Marker::mint(Timestamp::from_millis((number >> 80) as i64), number)
}

/// A route as a key. SQLite's integers are signed; the bits are what counts.
pub(super) fn route_key(route: RouteId) -> i64 {
    route.0 as i64
}

pub(super) fn row_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn why_text(why: crate::canary::Why) -> String {
    json(&why)
}

/// Our own words as JSON: plain data with text keys, which serde_json always can write.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the words of canary and detect are plain data")
}

/// A text of ours that cannot be read back.
pub(super) fn unreadable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

//! Work: the life of a job in real time. The engine says what becomes of it; here it happens.

use std::{sync::Arc, time::Duration};

use super::{
    book::{Job, Status, Stop, Stored},
    house::House,
};
use crate::{
    canary::{Mode, Secret, Timestamp},
    sandbox::{
        Delivery, Ending, Life, Place, Work, Written,
        deliver::{Destination, Parcel, masked},
        sql::{Context, Dialect, Limits, Rowset, Type, Value, Warehouse},
    },
};

/// What a job has to do.
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) account: usize,
    pub(super) dialect: Dialect,
    pub(super) database: String,
    pub(super) source: Source,
    /// Where the result goes, if anywhere.
    pub(super) destination: Option<Destination>,
    /// Whose tables a `td://` output is written into.
    pub(super) owner: usize,
    pub(super) url: Secret,
    pub(super) place: Place,
    pub(super) life: Life,
    pub(super) scheduled_time: i64,
    pub(super) stop: Stop,
}

/// Where the rows come from.
pub(super) enum Source {
    Query(String),
    /// The kept result of another job.
    Kept(Stored),
}

/// Why the job ended before its end.
enum Halt {
    Killed,
    Failed(String),
}

impl House {
    /// Sets a job to work. It ends by itself, is killed, or ends with the house.
    pub(super) fn employ(self: &Arc<Self>, task: Task) {
        let house = self.clone();
        self.spawn(async move {
            let stop = task.stop.clone();
            let id = task.id;
            let ended = tokio::select! {
                ended = house.work(&task) => ended,
                () = stop.asked() => Err(Halt::Killed),
            };
            let now = house.now();
            match ended {
                Ok(()) => {}
                Err(Halt::Killed) => house.finish(id, now, Status::Killed, "killed by request"),
                Err(Halt::Failed(why)) => house.finish(id, now, Status::Error, &why),
            }
        });
    }

    async fn work(self: &Arc<Self>, task: &Task) -> Result<(), Halt> {
        let life = task.life;
        self.wait_until(life.executes_at()).await;
        let started = self.now();
        self.book().change(task.id, started, |job| {
            job.status = Status::Running;
            job.started_at = Some(started);
            job.cmdout.push_str(&format!("started at {started}\n"));
        });
        let rowset = self.execute(task).await;
        self.wait_until(life.exports_at()).await;
        let becomes = self.engine().work(&life, &task.place);
        match becomes {
            Work::Completes => {}
            Work::Fails => return Err(Halt::Failed("Query failed: internal error of a worker".to_owned())),
            // Only a kill ends it.
            Work::Hangs => std::future::pending().await,
        }
        let mut rowset = rowset?;
        if matches!(task.source, Source::Query(_)) {
            let told = self.engine().told(&life, &task.place, rowset.rows.len() as u64);
            rowset.rows.truncate(usize::try_from(told).unwrap_or(usize::MAX));
        }
        let keeps = matches!(task.source, Source::Query(_)).then(|| Stored::of(&rowset, task.dialect));
        let computed = self.now();
        self.book().change(task.id, computed, |job| {
            job.cmdout.push_str(&format!("finished with {} rows\n", rowset.rows.len()));
            job.result = keeps.or(job.result.take());
        });
        self.export(task, rowset).await
    }

    async fn execute(&self, task: &Task) -> Result<Rowset, Halt> {
        let text = match &task.source {
            Source::Kept(stored) => return Ok(stored.rowset()),
            Source::Query(text) => text.clone(),
        };
        let broken = |_| Halt::Failed("the SQL engine broke".to_owned());
        let place = self.queries.clone().acquire_owned().await;
        let warehouse = self.accounts[task.account].warehouse.clone();
        let (database, dialect, flag) = (task.database.clone(), task.dialect, task.stop.flag().clone());
        let now = self.now().as_millis().div_euclid(1000);
        let context = Context { scheduled_time: task.scheduled_time, now };
        let ask = move || {
            let _place = place;
            warehouse.query(&database, &text, dialect, context, Limits::default(), &flag)
        };
        let answer = tokio::task::spawn_blocking(ask).await.map_err(broken)?;
        answer.map_err(|error| Halt::Failed(format!("Query failed: {error}")))
    }

    /// Writes the result out, as the faults have it, and ends the job as they have it.
    async fn export(self: &Arc<Self>, task: &Task, rowset: Rowset) -> Result<(), Halt> {
        let Some(destination) = &task.destination else {
            self.wait_until(task.life.ends_at()).await;
            let says = self.engine().output(&task.life, &task.place, self.now()).says;
            self.say(task.id, says, Ok(()));
            return Ok(());
        };
        let guesses = self.engine().world().guesses;
        let is_query = matches!(task.source, Source::Query(_));
        let link = (is_query && guesses.export_is_linked).then(|| self.link(task.id));
        if is_query && link.is_some() && !guesses.success_waits_for_export {
            self.finish(task.id, self.now(), Status::Success, "");
        }
        self.wait_until(task.life.ends_at()).await;
        let output = self.engine().output(&task.life, &task.place, self.now());
        let done = self.write(task, destination, rowset, output.written).await;
        if let Some(link) = link {
            self.say(link, output.says, done.clone());
        }
        let shared = link.is_none() || guesses.failed_export_fails_query;
        let (says, done) = if shared { (output.says, done) } else { (Ending::Success, Ok(())) };
        self.say(task.id, says, done);
        Ok(())
    }

    /// Makes the job that writes a query's result out.
    pub(super) fn link(&self, of: u64) -> u64 {
        let now = self.now();
        let mut book = self.book();
        let Some(query) = book.get(of).cloned() else { return of };
        let id = book.next_id();
        book.add(Job {
            id,
            kind: "result_export".to_owned(),
            query: "".into(),
            domain_key: None,
            created_at: now,
            started_at: Some(now),
            updated_at: now,
            status: Status::Running,
            result: None,
            cmdout: String::new(),
            stderr: String::new(),
            linked_export: None,
            export_of: Some(of),
            ..query
        });
        book.change(of, now, |job| {
            job.linked_export = Some(id);
            job.exports_at = Some(now);
        });
        id
    }

    async fn write(
        self: &Arc<Self>,
        task: &Task,
        destination: &Destination,
        mut rowset: Rowset,
        written: Written,
    ) -> Result<(), String> {
        let delivery = match written {
            Written::Skipped => return Ok(()),
            Written::Nothing if destination.mode() == Mode::Append => return Ok(()),
            Written::Nothing => {
                rowset.rows.clear();
                Delivery::default()
            }
            Written::Refused => return Err("Result Output failed: the target does not take it".to_owned()),
            Written::Rows(delivery) => delivery,
        };
        spoil(&mut rowset, &delivery);
        let later = !delivery.copies_after.is_zero() && delivery.copies > 1;
        let first = Round {
            job: task.id,
            owner: self.accounts[task.owner].warehouse.clone(),
            destination: destination.clone(),
            rowset: Arc::new(rowset),
            copies: if later { 1 } else { delivery.copies },
            again: false,
        };
        let second = later.then(|| Round { copies: delivery.copies - 1, again: true, ..first.clone() });
        if delivery.late_by.is_zero() {
            self.carry(&first).await.map_err(|error| self.told(task, error))?;
        } else {
            self.carry_later(first, delivery.late_by);
        }
        if let Some(second) = second {
            self.carry_later(second, delivery.late_by + delivery.copies_after);
        }
        Ok(())
    }

    fn told(&self, task: &Task, error: String) -> String {
        // The texts of drivers hold no secret; this is the second lock on that door.
        let error = error.replace(task.url.reveal(), &masked(task.url.reveal()));
        format!("Result Output failed: {error}")
    }

    async fn carry(&self, round: &Round) -> Result<(), String> {
        let job = round.job.to_string();
        let parcel =
            Parcel { job: &job, rowset: &round.rowset, copies: round.copies, again: round.again, now: self.now() };
        self.courier.deliver(&round.destination, parcel, &round.owner).await.map_err(|error| error.to_string())
    }

    /// Carries rows when the job has long said that it is done; nobody hears whether it worked.
    fn carry_later(self: &Arc<Self>, round: Round, by: Duration) {
        let house = self.clone();
        self.spawn(async move {
            tokio::time::sleep(by).await;
            if let Err(error) = house.carry(&round).await {
                tracing::debug!(job = round.job, %error, "late rows were not taken");
            }
        });
    }

    /// Ends a job as the faults have it, unless the rows themselves could not be written.
    pub(super) fn say(&self, id: u64, says: Ending, done: Result<(), String>) {
        let now = self.now();
        match (done, says) {
            (Err(why), _) => self.finish(id, now, Status::Error, &why),
            (Ok(()), Ending::Success) => self.finish(id, now, Status::Success, ""),
            (Ok(()), Ending::Error(phase)) => {
                self.finish(id, now, Status::Error, &format!("Result Output failed in phase {phase}"));
            }
            (Ok(()), Ending::Killed) => self.finish(id, now, Status::Killed, "killed"),
        }
    }

    pub(super) fn finish(&self, id: u64, now: Timestamp, status: Status, why: &str) {
        let mut book = self.book();
        let link = book.get(id).and_then(|job| job.linked_export);
        book.change(id, now, |job| {
            job.status = status;
            if !why.is_empty() {
                job.stderr.push_str(why);
                job.stderr.push('\n');
            }
        });
        if let Some(link) = link.filter(|_| status == Status::Killed) {
            book.change(link, now, |job| job.status = Status::Killed);
        }
    }

    pub(super) async fn wait_until(&self, at: Timestamp) {
        // By the house's clock, in one piece: a job lives a second.
        tokio::time::sleep(at.since(self.now())).await;
    }
}

/// One delivery.
#[derive(Clone)]
struct Round {
    job: u64,
    owner: Arc<Warehouse>,
    destination: Destination,
    rowset: Arc<Rowset>,
    copies: u32,
    again: bool,
}

/// Takes rows away and changes values, as a fault has it.
fn spoil(rowset: &mut Rowset, delivery: &Delivery) {
    let kept = delivery.kept(rowset.rows.len() as u64);
    rowset.rows.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    let Some(wanted) = &delivery.corrupt else { return };
    let is_wanted = |name: &str| wanted.as_deref().map_or(name != "marker", |wanted| name == wanted);
    if let Some(at) = rowset.columns.iter().position(|(name, _)| is_wanted(name)) {
        let kind = rowset.columns[at].1;
        for row in &mut rowset.rows {
            row[at] = other(&row[at], kind);
        }
    }
}

/// A value of the same type that is not this one.
fn other(value: &Value, kind: Type) -> Value {
    match (value, kind) {
        (Value::Bool(b), _) => Value::Bool(!b),
        (Value::Int(n), _) => Value::Int(!n),
        (Value::Float(x), _) if x.is_finite() && *x != 0.0 => Value::Float(-x),
        (Value::Float(_), _) => Value::Float(1.5),
        (Value::Text(text), _) => Value::Text(format!("{text}?")),
        (Value::Null, Type::Text) => Value::Text("?".to_owned()),
        (Value::Null, Type::Long) => Value::Int(0),
        (Value::Null, Type::Double) => Value::Float(0.0),
        (Value::Null, Type::Bool) => Value::Bool(true),
    }
}

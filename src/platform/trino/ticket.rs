//! A ticket: what the handle of a run says, so that any process can go on where another stopped.

use serde::{Deserialize, Serialize};

use super::{
    course::{Course, Part, phase_of},
    page::{Failure, Page, QueryId, State},
};
use crate::{
    canary::{Marker, Phase},
    platform::{Handle, JobState, PlatformError, Progress},
};

/// Characters of an error that a handle has room for, beside the rest.
const ROOM: usize = 250;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Done,
    Error { phase: Phase, detail: String },
    Killed { phase: Phase },
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) marker: Marker,
    /// None: it was found by its marker alone, so that no further statement can be made.
    pub(super) course: Option<Course>,
    /// Which statement, from 0, of how many.
    pub(super) step: usize,
    pub(super) of: usize,
    /// The query that runs it. None: it is still to be sent.
    pub(super) query: Option<QueryId>,
    /// Its next page. None: the server has to be asked what became of the query.
    pub(super) next: Option<String>,
    /// Rows that it says were written.
    pub(super) rows: Option<u64>,
    /// All queries so far, for people.
    pub(super) jobs: Vec<String>,
    pub(super) end: Option<End>,
}

impl Ticket {
    /// A run of which nothing was sent yet.
    pub(super) fn new(marker: Marker, course: Course) -> Self {
        let of = course.steps(marker).len();
        Self {
            marker,
            course: Some(course),
            step: 0,
            of,
            query: None,
            next: None,
            rows: None,
            jobs: Vec::new(),
            end: None,
        }
    }

    /// A run whose query for a statement was found.
    pub(super) fn found(marker: Marker, course: Option<Course>, step: usize, of: usize, query: QueryId) -> Self {
        let jobs = vec![query.as_str().to_owned()];
        Self { marker, course, step, of, query: Some(query), next: None, rows: None, jobs, end: None }
    }

    pub(super) fn read(handle: &Handle) -> Result<Self, PlatformError> {
        serde_json::from_str(handle.as_str()).map_err(|_| PlatformError::Nonsense {
            detail: "the stored handle is not one of this kind of platform".to_owned(),
        })
    }

    pub(super) fn handle(&self) -> Result<Handle, PlatformError> {
        let text = serde_json::to_string(self).unwrap_or_default();
        Handle::new(text).ok_or_else(|| PlatformError::Nonsense { detail: "the handle is too long".to_owned() })
    }

    /// The statement as it is sent: found again by what it begins with.
    pub(super) fn statement(&self) -> Option<String> {
        let step = self.course.as_ref()?.steps(self.marker).into_iter().nth(self.step)?;
        Some(format!("{}{}/{} */ {}", label(self.marker), self.step + 1, self.of, step.sql))
    }

    /// What the present statement is for.
    pub(super) fn part(&self) -> Part {
        let steps = self.course.as_ref().map(|course| course.steps(self.marker)).unwrap_or_default();
        steps.get(self.step).map_or(Part::Write, |step| step.part)
    }

    /// Takes in what a page says.
    pub(super) fn hear(&mut self, page: Page) {
        if self.query.as_ref() != Some(&page.id) {
            self.jobs.push(page.id.as_str().to_owned());
            self.query = Some(page.id);
        }
        self.next = page.next;
        if self.part() == Part::Write && page.written.is_some() {
            self.rows = page.written;
        }
        match page.state {
            State::Failed => self.fail(page.error.as_ref()),
            State::Finished => self.finish(),
            State::Queued | State::Running | State::Finishing => {}
        }
        if self.end.is_some() {
            self.next = None;
        }
    }

    /// The present statement is through: the next one is to be sent, or it was the last.
    pub(super) fn finish(&mut self) {
        if self.step + 1 >= self.of {
            self.end = Some(End::Done);
        } else {
            self.step += 1;
            (self.query, self.next) = (None, None);
        }
    }

    /// The present statement failed.
    pub(super) fn fail(&mut self, failure: Option<&Failure>) {
        let part = self.part();
        if self.course.as_ref().is_some_and(|course| course.makes) && self.step == 0 && failure.is_some_and(is_made) {
            return self.finish();
        }
        self.end = Some(match failure {
            Some(failure) if !failure.is_kill() => {
                let phase = self.course.as_ref().map_or(Phase::Execute, |course| course.failed_in(part, failure));
                End::Error { phase, detail: failure.text().chars().take(ROOM).collect() }
            }
            _ => End::Killed { phase: phase_of(part, self.step, State::Running) },
        });
    }

    /// As the seam says it.
    pub(super) fn state(&self, seen: State) -> JobState {
        let progress = match &self.end {
            Some(End::Done) => Progress::Done { rows: self.rows },
            Some(End::Error { phase, detail }) => Progress::Error { phase: *phase, detail: detail.clone() },
            Some(End::Killed { phase }) => Progress::Killed { phase: *phase },
            None => Progress::Running(phase_of(self.part(), self.step, seen)),
        };
        JobState { progress, jobs: self.jobs.clone(), phases: Vec::new() }
    }
}

/// A table could not be made because somebody else was quicker: `IF NOT EXISTS` does not keep two who
/// begin at once apart. If it is not there after all, the next statement says so.
fn is_made(failure: &Failure) -> bool {
    ["already exists", "duplicate key"].iter().any(|words| failure.message.contains(words))
}

/// What every statement of a run begins with.
pub(super) fn label(marker: Marker) -> String {
    format!("/* landfall {marker} ")
}

/// Which statement, from 0, of how many, from the text of one.
pub(super) fn step_of(marker: Marker, statement: &str) -> Option<(usize, usize)> {
    let (numbers, _) = statement.strip_prefix(&label(marker))?.split_once(" */")?;
    let (step, of) = numbers.split_once('/')?;
    let (step, of): (usize, usize) = (step.parse().ok()?, of.parse().ok()?);
    (1..=of).contains(&step).then(|| (step - 1, of)).filter(|(_, of)| *of <= 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canary::{Mode, Sample, Timestamp},
        platform::trino::sql::{Booleans, Schema},
    };

    fn ticket(mode: Mode) -> Ticket {
        let schema = Schema::read(&format!("{}.{}", "c".repeat(128), "s".repeat(128))).expect("valid");
        let course = Course {
            sample: Sample::default(),
            mode,
            schema,
            table: "t".repeat(128),
            seed: "s".repeat(300),
            report: None,
            makes: true,
            booleans: Booleans::Smallint,
        };
        Ticket::new(Marker::mint(Timestamp::EPOCH, 7), course)
    }

    fn page(state: State, error: Option<Failure>) -> Page {
        let next = Some(format!("http://127.0.0.1/{}", "n".repeat(1_900)));
        Page {
            id: QueryId::new(&"q".repeat(80)).expect("valid"),
            next,
            state,
            written: Some(20),
            error,
            rows: Vec::new(),
        }
    }

    #[test]
    fn the_longest_handle_has_room_and_reads_back() {
        let mut ticket = ticket(Mode::Replace);
        for step in 0..4 {
            ticket.hear(page(State::Running, None));
            assert_eq!(Ticket::read(&ticket.handle().expect("room")).expect("readable"), ticket);
            if step < 3 {
                ticket.hear(page(State::Finished, None));
            }
        }
        let message = "\u{10FFFD}\"".repeat(400);
        ticket.hear(page(State::Failed, Some(Failure { name: "X".to_owned(), kind: String::new(), message })));
        assert_eq!(Ticket::read(&ticket.handle().expect("room")).expect("readable"), ticket);
    }

    #[test]
    fn a_statement_is_known_by_how_it_begins() {
        let mut ticket = ticket(Mode::Truncate);
        let marker = ticket.marker;
        assert_eq!(step_of(marker, &ticket.statement().expect("one")), Some((0, 3)));
        ticket.finish();
        assert_eq!(step_of(marker, &ticket.statement().expect("one")), Some((1, 3)));
        for other in ["", "SELECT 1", "/* landfall lf 1/1 */", &format!("{}3/2 */ x", label(marker)), &label(marker)] {
            assert_eq!(step_of(marker, other), None, "{other}");
        }
    }

    #[test]
    fn a_table_that_somebody_else_has_just_made_is_no_failure() {
        let failed = |message: &str| {
            let mut ticket = ticket(Mode::Append);
            let failure =
                Failure { name: "JDBC_ERROR".to_owned(), kind: "EXTERNAL".to_owned(), message: message.to_owned() };
            ticket.hear(page(State::Failed, Some(failure)));
            (ticket.step, ticket.end.is_some())
        };
        assert_eq!(failed("ERROR: relation \"canary\" already exists"), (1, false));
        assert_eq!(
            failed("ERROR: duplicate key value violates unique constraint \"pg_type_typname_nsp_index\""),
            (1, false)
        );
        assert_eq!(failed("ERROR: permission denied for schema public"), (0, true));
    }

    #[test]
    fn rows_are_those_of_the_statement_that_writes() {
        let mut ticket = ticket(Mode::Truncate);
        for _ in 0..2 {
            ticket.hear(Page { written: Some(99), ..page(State::Finished, None) });
        }
        assert_eq!(ticket.rows, None);
        ticket.hear(page(State::Finished, None));
        assert_eq!(ticket.state(State::Finished).progress, Progress::Done { rows: Some(20) });
    }
}

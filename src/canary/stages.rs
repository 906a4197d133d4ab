//! Stages: where a report that did not come as it should went wrong, by what each stage of it held.

use serde::{Deserialize, Serialize};

use super::{
    report::{ALL, Sums},
    sample::Cell,
    tally::Rows,
};

/// Places of [`REPORT_COLUMNS`](super::report::REPORT_COLUMNS).
const AT_HOUR: usize = 2;
const RUNS: usize = 7;

/// Where a report went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What was loaded is not in the table.
    Import,
    /// It is there, and the query tells something else.
    Query,
    /// The query tells what it must, and the target holds something else.
    Output,
}

/// What each stage of a report held when it was asked, since the report had not come as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// What was loaded.
    pub entered: Sums,
    /// What the table holds, or why that is not known.
    pub stored: Result<Sums, String>,
    /// What the query brought, compared with what it must, or why that is not known.
    pub computed: Result<Rows, String>,
    /// The same of the query run again, where the table has all that was loaded, and the query had brought a right
    /// report of less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Result<Rows, String>>,
}

impl Stages {
    /// The first stage that is wrong; none if that cannot be told.
    pub fn first_wrong(&self) -> Option<Stage> {
        match (&self.stored, &self.computed) {
            // A right result can only be made of right entries, whatever has become of them since.
            (_, Ok(computed)) if computed.complete() => Some(Stage::Output),
            (Ok(stored), _) if *stored != self.entered => Some(Stage::Import),
            (Ok(_), Ok(_)) if self.came_late() => Some(Stage::Import),
            (Ok(_), Ok(_)) => Some(Stage::Query),
            _ => None,
        }
    }

    /// The same query, run again, brings every row.
    fn came_late(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.as_ref().is_ok_and(Rows::complete))
    }

    /// As people read it, where the target holds these rows.
    pub fn told(&self, target: &Rows) -> String {
        match (self.first_wrong(), &self.stored, &self.computed) {
            (Some(Stage::Import), ..) if self.came_late() => {
                let why = "what was loaded came late; the same query brings every row now";
                format!("import: {why} (a longer `settles` waits for it)")
            }
            (Some(Stage::Import), Ok(stored), _) => {
                format!("import: the table has {stored}; {} were loaded", self.entered)
            }
            (Some(Stage::Query), _, Ok(computed)) => {
                let first = computed.examples.first().map_or(String::new(), |first| {
                    let (row, column) = (first.row, &first.column);
                    format!(" (row {row}, {column}: {} expected, {} found)", first.expected, first.found)
                });
                format!("query: the table has all that was loaded, and the query brings {computed}{first}")
            }
            (Some(Stage::Output), ..) => format!("output: the query brings every row, and the target has {target}"),
            (_, stored, computed) => {
                let why = |stage: &str, why: Option<&String>| why.map(|why| format!("{stage}: {why}"));
                let unknown = [why("table", stored.as_ref().err()), why("query", computed.as_ref().err())];
                let unknown: Vec<String> = unknown.into_iter().flatten().collect();
                format!("which of import, query and output went wrong cannot be told ({})", unknown.join("; "))
            }
        }
    }
}

/// Whether rows of a report agree with each other: the row for all has as many runs as the others together. Then
/// they are a right report of something, if not of what they should be.
pub fn agree(rows: &[Vec<Cell>]) -> bool {
    let runs = |row: &Vec<Cell>| match row.get(RUNS) {
        Some(Cell::Int(n)) => Some(*n),
        Some(Cell::Text(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let is_for_all = |row: &&Vec<Cell>| matches!(row.get(AT_HOUR), Some(Cell::Text(hour)) if hour == ALL);
    let (all, rest): (Vec<_>, Vec<_>) = rows.iter().partition(is_for_all);
    let [all] = all[..] else { return false };
    rest.into_iter().map(runs).sum::<Option<i64>>().is_some_and(|sum| runs(all) == Some(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::{report::REPORT_COLUMNS, sample::COLUMNS};

    #[test]
    fn the_first_stage_that_is_wrong_is_told_by_what_each_held() {
        let entered = Sums { runs: 9, landed: 9, silent: 0, latency_ms: 90 };
        let fewer = Sums { runs: 8, landed: 8, silent: 0, latency_ms: 80 };
        // As many, and one of them changed.
        let changed = Sums { latency_ms: 91, ..entered };
        let (whole, short) = (Rows::all_right(3), Rows { expected: 3, right: 2, missing: 1, ..Rows::default() });
        let unknown = || "no answer".to_owned();
        let again = |rows: &Rows| Some(Ok(rows.clone()));
        for (stored, computed, again, wrong) in [
            (Ok(fewer), Ok(short.clone()), None, Some(Stage::Import)),
            (Ok(changed), Err(unknown()), None, Some(Stage::Import)),
            (Ok(entered), Ok(short.clone()), None, Some(Stage::Query)),
            (Ok(entered), Ok(short.clone()), again(&short), Some(Stage::Query)),
            (Ok(entered), Ok(short.clone()), Some(Err(unknown())), Some(Stage::Query)),
            // It was not there when it was queried.
            (Ok(entered), Ok(short.clone()), again(&whole), Some(Stage::Import)),
            (Ok(entered), Ok(whole.clone()), None, Some(Stage::Output)),
            // It went away after it was queried.
            (Ok(fewer), Ok(whole.clone()), None, Some(Stage::Output)),
            (Err(unknown()), Ok(whole), None, Some(Stage::Output)),
            (Err(unknown()), Ok(short), None, None),
            (Ok(entered), Err(unknown()), None, None),
        ] {
            let stages = Stages { entered, stored, computed, again };
            assert_eq!(stages.first_wrong(), wrong, "{stages:?}");
            let begins = match wrong {
                Some(Stage::Import) => "import: ",
                Some(Stage::Query) => "query: ",
                Some(Stage::Output) => "output: ",
                None => "which of ",
            };
            let told = stages.told(&Rows::default());
            assert!(told.starts_with(begins), "{told}");
        }
    }

    #[test]
    fn a_report_of_less_agrees_with_itself_and_one_that_lacks_rows_does_not() {
        assert_eq!((REPORT_COLUMNS[AT_HOUR].name, REPORT_COLUMNS[RUNS].name), ("at_hour", "runs"));
        let row = |hour: &str, runs: i64| {
            let mut row = vec![Cell::Null; COLUMNS.len()];
            (row[AT_HOUR], row[RUNS]) = (Cell::Text(hour.to_owned()), Cell::Int(runs));
            row
        };
        let hour = "2015-08-24T10:00Z";
        assert!(agree(&[row(ALL, 3), row(hour, 1), row(hour, 2)]) && agree(&[row(ALL, 0)]));
        for odd in
            [vec![], vec![row(ALL, 3), row(hour, 1)], vec![row(hour, 1)], vec![row(ALL, 1), row(ALL, 1)], vec![vec![]]]
        {
            assert!(!agree(&odd), "{odd:?}");
        }
    }
}

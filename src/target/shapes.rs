//! Shapes: the columns that tables had when they were read last. A platform that truncates a table keeps
//! them; one that drops it instead, and makes it anew, may not, and whoever reads it finds other columns.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::canary::{Marker, Mode, Rows, Run};

/// Tables remembered: more than routes that truncate.
const REMEMBERED: usize = 20_000;

/// What is remembered of tables, by name, since the driver was opened.
#[derive(Debug, Default)]
pub(super) struct Shapes(Mutex<BTreeMap<String, Shape>>);

#[derive(Debug)]
struct Shape {
    columns: String,
    /// The run that was seen there last.
    seen: Marker,
    /// The run that changed them last, and what they were.
    changed: Option<(Marker, String)>,
}

impl Shapes {
    /// Counts a row of a run as changed if the run was to keep its table's columns, has written, and they
    /// are others than before. The next run is held to what they are now.
    pub(super) fn compare(&self, table: &str, columns: &str, run: &Run, rows: &mut Rows) {
        if run.route.mode != Mode::Truncate || rows.right == 0 {
            return;
        }
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !shapes.contains_key(table) && shapes.len() >= REMEMBERED {
            shapes.pop_first();
        }
        let shape = shapes.entry(table.to_owned()).or_insert_with(|| Shape {
            columns: columns.to_owned(),
            seen: run.marker,
            changed: None,
        });
        if shape.columns != columns {
            let was = std::mem::replace(&mut shape.columns, columns.to_owned());
            // What changed under a run that stood there already was not changed by it.
            shape.changed = (shape.seen != run.marker).then_some((run.marker, was));
        }
        shape.seen = run.marker;
        let Some((_, was)) = shape.changed.as_ref().filter(|(by, _)| *by == run.marker) else { return };
        rows.count_changed("columns of the table", beside(was, columns), beside(columns, was));
    }
}

/// What one list of columns has and another has not.
fn beside(columns: &str, others: &str) -> String {
    let others: Vec<&str> = others.split(", ").collect();
    let only: Vec<&str> = columns.split(", ").filter(|column| !others.contains(column)).collect();
    if only.is_empty() {
        "nothing else".to_owned()
    } else {
        only.join(", ").chars().filter(|c| !c.is_control()).take(120).collect()
    }
}

//! Deeds: what a job did to a virtual target, kept as its deviation from the sample. Rows are made
//! only when somebody looks at a deviating one, and then go through the agent's own comparison.

use crate::{
    canary::{Carries, Cell, Marker, Mode, Rows, Sample, Tally, Timestamp, Value, sample::COLUMNS},
    sandbox::engine::{Life, Output, Written},
};

/// One write, as it becomes visible.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deed {
    /// From when it is visible.
    pub(super) at: Timestamp,
    /// Whose rows.
    pub(super) marker: Marker,
    /// What stood there before is gone.
    pub(super) displaces: bool,
    /// How many rows of the sample, from the first.
    pub(super) rows: u32,
    /// How often each.
    pub(super) copies: u32,
    /// The column with other values.
    pub(super) corrupt: Option<usize>,
}

/// What a job that keeps to its life does to its target, in the order of time.
pub(super) fn deeds(marker: Marker, sample: Sample, mode: Mode, life: &Life, output: &Output) -> Vec<Deed> {
    let first =
        Deed { at: life.lands_at(), marker, displaces: mode.displaces(), rows: sample.rows, copies: 1, corrupt: None };
    match &output.written {
        Written::Skipped | Written::Refused => Vec::new(),
        Written::Nothing if mode.displaces() => vec![Deed { rows: 0, ..first }],
        Written::Nothing => Vec::new(),
        Written::Rows(delivery) => {
            let corrupt = delivery.corrupt.as_ref().and_then(|column| match column {
                Some(name) => COLUMNS.iter().position(|known| known.name == name),
                None => Some(1),
            });
            let at = first.at.plus(delivery.late_by);
            let rows = u32::try_from(delivery.kept(sample.rows.into())).unwrap_or(sample.rows);
            let first = Deed { at, rows, corrupt, ..first };
            if delivery.copies_after.is_zero() {
                return vec![Deed { copies: delivery.copies, ..first }];
            }
            let at = at.plus(delivery.copies_after);
            let again = Deed { at, displaces: false, copies: delivery.copies - 1, ..first.clone() };
            vec![first, again]
        }
    }
}

/// What a read finds of one run among visible deeds.
pub(super) fn rows<'d>(marker: Marker, sample: Sample, visible: impl Iterator<Item = &'d Deed>) -> Rows {
    let ours: Vec<&Deed> = visible.filter(|deed| deed.marker == marker && deed.rows > 0).collect();
    match ours[..] {
        [] => Rows::none(sample.rows),
        [Deed { rows, copies: 1, corrupt: None, .. }] if *rows == sample.rows => Rows::all_right(sample.rows),
        _ => {
            let carries = Carries::default();
            let mut tally = Tally::new(marker, sample, &carries);
            let written =
                ours.iter().flat_map(|deed| (0..deed.copies).flat_map(|_| (0..deed.rows).map(|n| (n, deed.corrupt))));
            for (n, corrupt) in written.take(Tally::enough(sample) as usize) {
                let mut cells = sample.row(marker, n).map(as_found);
                if let Some(column) = corrupt {
                    corrupted(&mut cells[column]);
                }
                tally.add(&cells);
            }
            tally.finish()
        }
    }
}

fn as_found(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(b) => Cell::Bool(b),
        Value::Int(n) => Cell::Int(n),
        Value::Float(n) => Cell::Float(n),
        Value::Text(text) => Cell::Text(text.to_owned()),
        Value::Marker(marker) => Cell::Text(marker.to_string()),
    }
}

/// Another value of the same kind.
fn corrupted(cell: &mut Cell) {
    *cell = match std::mem::replace(cell, Cell::Absent) {
        Cell::Absent => Cell::Absent,
        Cell::Null => Cell::Text("?".to_owned()),
        Cell::Bool(b) => Cell::Bool(!b),
        Cell::Int(n) => Cell::Int(n ^ 1),
        Cell::Float(0.0) => Cell::Float(1.0),
        Cell::Float(n) => Cell::Float(-n),
        Cell::Text(text) => Cell::Text(text + "?"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrupted_value_is_seen_in_every_column() {
        let (marker, sample) = (Marker::mint(Timestamp::from_secs(1), 1), Sample::default());
        for (column, known) in COLUMNS.iter().enumerate().skip(1) {
            let at = Timestamp::from_secs(2);
            let deed = Deed { at, marker, displaces: false, rows: 20, copies: 1, corrupt: Some(column) };
            let found = rows(marker, sample, [&deed].into_iter());
            assert_eq!((found.right, found.changed, found.missing), (0, 20, 0), "{}", known.name);
        }
    }
}

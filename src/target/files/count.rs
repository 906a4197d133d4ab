//! Counting: what the files of one run hold, and whose rows stand where only ours may.

use crate::{
    canary::{Carries, Cell, Marker, Run, Sighting, Tally, sample::COLUMNS},
    target::decode::{self, Decoded},
};

/// What the files of one run hold.
pub(super) struct Count<'a> {
    tally: Tally<'a>,
    strangers: Vec<Marker>,
    /// Bytes that may still be read.
    pub(super) room: usize,
    /// Something was not read, because there was too much.
    pub(super) more: bool,
}

impl<'a> Count<'a> {
    pub(super) fn new(run: &Run, carries: &'a Carries) -> Self {
        Self { tally: Tally::of(run, carries), strangers: Vec::new(), room: decode::room(run.sample), more: false }
    }

    pub(super) fn add(&mut self, run: &Run, decoded: &Decoded) {
        if !run.route.mode.displaces() {
            decoded.count(&mut self.tally, run.sample);
            return;
        }
        // Where only ours may stand, rows of other runs are no rows of ours with other values.
        let (mut others, mut ours) = (Vec::new(), Vec::new());
        for row in &decoded.rows {
            match marker_of(row) {
                Some(other) if other != run.marker => others.push(other),
                _ => ours.push(row.clone()),
            }
        }
        // Someone else's file that cannot be read to its end is no row of ours either.
        let broken = decoded.broken && others.is_empty();
        self.strangers.append(&mut others);
        Decoded { rows: ours, broken }.count(&mut self.tally, run.sample);
    }

    pub(super) fn finish(mut self, run: &Run) -> Sighting {
        if self.more {
            self.tally.add(&[]);
        }
        // No `landed_at`: the store's time is another machine's clock, rounded down to a second. One
        // that is wrong would call rows late that were seen in time, so our own looks decide.
        Sighting::among(self.tally.finish(), run.marker, self.strangers)
    }
}

fn marker_of(row: &[Cell]) -> Option<Marker> {
    let at = COLUMNS.iter().position(|column| column.name == "marker")?;
    match row.get(at)? {
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

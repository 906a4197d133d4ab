//! Columns of label values, and what was counted in each row: all that the search looks at.

use std::borrow::Cow;

use super::Set;
use crate::detect::suspects::Seen;

/// The id of a row's value where the row has no such label.
pub(super) const NONE: u32 = u32::MAX;

/// Most other names of one cause that are looked for.
const MOST_NAMES: usize = 20;
/// Labels that are constant over a cause's rows, beyond which no more other names are looked for.
const MOST_CONSTANT: usize = 12;

/// Label values by column and row, as numbers.
#[derive(Clone, Debug)]
pub(super) struct Columns<'a> {
    /// Values by label, then row.
    pub(super) ids: Cow<'a, [Vec<u32>]>,
    /// Number of values by label.
    pub(super) sizes: Vec<usize>,
    /// Number of rows.
    pub(super) n: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn new(ids: Cow<'a, [Vec<u32>]>, sizes: Vec<usize>, n: usize) -> Self {
        Self { ids, sizes, n }
    }

    pub(super) fn holds(&self, set: &[(usize, u32)], row: usize) -> bool {
        set.iter().all(|(label, value)| self.ids[*label][row] == *value)
    }

    /// The rows that a set covers.
    pub(super) fn rows(&self, set: &[(usize, u32)]) -> Vec<u32> {
        match set.split_first() {
            None => (0..self.n as u32).collect(),
            Some(((label, value), rest)) => {
                let column = self.ids[*label].iter().zip(0u32..);
                column.filter(|(id, row)| *id == value && self.holds(rest, *row as usize)).map(|(_, row)| row).collect()
            }
        }
    }

    /// All names of what a set covers that have no more labels than the set, fewest labels first;
    /// names that only add labels to a shorter one say nothing new.
    pub(super) fn names(&self, set: &Set) -> Vec<Set> {
        let rows = self.rows(set);
        let Some(first) = rows.first() else { return vec![set.clone()] };
        let constant: Set = (self.ids.iter().enumerate())
            .map(|(label, column)| (label, column[*first as usize]))
            .filter(|(label, value)| *value != NONE && rows.iter().all(|row| self.ids[*label][*row as usize] == *value))
            .take(MOST_CONSTANT)
            .collect();
        let same = |name: &[(usize, u32)]| self.count_up_to(name, rows.len()) == rows.len();
        let mut names: Vec<Set> = Vec::new();
        let mut sized: Vec<Set> = vec![Vec::new()];
        for size in 0..=set.len() {
            for name in &sized {
                let longer = names.iter().any(|known| known.iter().all(|pair| name.contains(pair)));
                if !longer && names.len() < MOST_NAMES && same(name) {
                    names.push(name.clone());
                }
            }
            if size < set.len() {
                let after = |name: &Set| name.last().map_or(0, |last| last.0 + 1);
                let grown = sized.iter().flat_map(|name| {
                    constant
                        .iter()
                        .filter(|pair| pair.0 >= after(name))
                        .map(|pair| [name.clone(), vec![*pair]].concat())
                });
                sized = grown.collect();
            }
        }
        if names.is_empty() { vec![set.clone()] } else { names }
    }

    /// How many rows a set covers, counted no further than one more than `most`.
    fn count_up_to(&self, set: &[(usize, u32)], most: usize) -> usize {
        (0..self.n).filter(|row| self.holds(set, *row)).take(most + 1).count()
    }
}

/// What was counted in a row, as the search weighs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) red: f64,
    pub(super) green: f64,
}

impl Count {
    pub(super) fn runs(self) -> f64 {
        self.red + self.green
    }
}

impl From<Seen> for Count {
    fn from(seen: Seen) -> Self {
        Self { red: f64::from(seen.red), green: f64::from(seen.green) }
    }
}

//! Scopes: the sets of places that label sets cover, each with all its names.

use std::{collections::HashMap, sync::Arc};

use super::{
    field::{Field, Places, Seen},
    incident::LabelSet,
};

/// Most labels in a set.
pub const MOST_LABELS: usize = 3;
/// Most red places whose labels are tried: more add no new set that covers them all.
const SEEDS: usize = 8;
/// Sets that are weighed in a large field; in a small one all are.
const MOST_SETS: usize = 300;
/// A field with more places than this is large.
pub const LARGE: usize = 500;
/// Up to so many sets, a field's scopes are found once and kept; beyond it, anew for every search.
const MOST_KEPT: usize = 20_000;

/// What label sets that cover the same places have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its first name: fewest labels, then earliest in the order of names.
    pub labels: LabelSet,
    /// Its other names of no more than one label more.
    pub also: Vec<LabelSet>,
    /// What it covers.
    pub places: Places,
    /// How many places that is.
    pub count: u32,
}

/// Up to three labels, as numbers of name and value: how many, then which. Fewer labels come first.
type Set = (u8, [(u32, u32); MOST_LABELS]);

impl Field {
    /// Red places whose labels are tried, the reddest first.
    fn seeds(&self, seen: &[Seen]) -> Vec<usize> {
        let mut red: Vec<usize> = (0..self.n).filter(|at| seen[*at].red > 0).collect();
        // Spread the seeds over places that differ, so that two faults both get theirs.
        if red.len() > SEEDS {
            red.sort_by_key(|at| (std::cmp::Reverse(seen[*at].red), *at));
            let step = red.len() / SEEDS;
            red = red.into_iter().step_by(step.max(1)).take(SEEDS).collect();
        }
        red
    }

    /// The sets that hold at any of these places, in order; none if there are more than `most`.
    fn sets_at(&self, places: impl Iterator<Item = usize>, most: usize) -> Option<Vec<Set>> {
        const NONE: (u32, u32) = (0, 0);
        let tidy = |sets: &mut Vec<Set>| {
            sets.sort_unstable();
            sets.dedup();
        };
        let mut sets: Vec<Set> = vec![(0, [NONE; MOST_LABELS])];
        for at in places {
            let facets: Vec<(u32, u32)> =
                (0..self.names.len()).filter_map(|n| self.values[n][at].map(|v| (n as u32, v))).collect();
            for (i, one) in facets.iter().enumerate() {
                sets.push((1, [*one, NONE, NONE]));
                for (j, two) in facets.iter().enumerate().skip(i + 1) {
                    sets.push((2, [*one, *two, NONE]));
                    sets.extend(facets[j + 1..].iter().map(|three| (3, [*one, *two, *three])));
                }
            }
            if sets.len() / 4 > most {
                tidy(&mut sets);
                if sets.len() > most {
                    return None;
                }
            }
        }
        tidy(&mut sets);
        (sets.len() <= most).then_some(sets)
    }

    /// The scopes of these sets, in the order of their first names.
    fn scopes_of(&self, sets: &[Set]) -> Vec<Arc<Scope>> {
        let mut scopes: Vec<Scope> = Vec::new();
        let mut by_places: HashMap<Places, usize> = HashMap::new();
        for (n, pairs) in sets {
            let set = &pairs[..usize::from(*n)];
            let mut of_labels = set.iter().map(|(n, v)| &self.places[*n as usize][*v as usize]);
            let first = of_labels.next().cloned().unwrap_or_else(|| Places::all(self.n));
            let places = of_labels.fold(first, |covered, of| covered.and(of));
            let labels = self.write(set);
            if let Some(at) = by_places.get(&places) {
                let scope = &mut scopes[*at];
                // A name that only adds labels to a known name says nothing new.
                let adds = |known: &LabelSet| known.iter().all(|pair| labels.contains(pair));
                if labels.len() <= scope.labels.len().max(1) && (scope.labels.is_empty() || !adds(&scope.labels)) {
                    scope.also.push(labels);
                }
                continue;
            }
            by_places.insert(places.clone(), scopes.len());
            scopes.push(Scope { labels, also: Vec::new(), count: places.count(), places });
        }
        scopes.into_iter().map(Arc::new).collect()
    }

    /// Every scope of the field, found once; none if there are too many to keep.
    fn all_scopes(&self) -> Option<&[Arc<Scope>]> {
        let found = self.scopes.get_or_init(|| {
            (self.n <= LARGE).then(|| self.sets_at(0..self.n, MOST_KEPT)).flatten().map(|sets| self.scopes_of(&sets))
        });
        found.as_deref()
    }

    /// Calls back with each scope that is worth trying: those that hold at a red place, from the
    /// reddest few places, and everything. In the order of their first names.
    pub(super) fn each_scope(&self, seen: &[Seen], mut each: impl FnMut(&Arc<Scope>)) {
        let seeds = self.seeds(seen);
        if let Some(scopes) = self.all_scopes() {
            let mut at_seeds = Places::none(self.n);
            seeds.iter().for_each(|at| at_seeds.insert(*at));
            return scopes.iter().filter(|scope| scope.places.meets(&at_seeds)).for_each(each);
        }
        let mut sets = self.sets_at(seeds.into_iter(), usize::MAX).unwrap_or_default();
        if self.n > LARGE && sets.len() > MOST_SETS {
            // Those that cover most of the red; among equals the order stays, fewest labels first.
            let reds = Reds::of(self, seen);
            let mut by_red: Vec<(u32, Set)> = sets.into_iter().map(|set| (reds.within(&set), set)).collect();
            by_red.sort_by_key(|(red, _)| std::cmp::Reverse(*red));
            by_red.truncate(MOST_SETS);
            sets = by_red.into_iter().map(|(_, set)| set).collect();
            sets.sort_unstable();
        }
        self.scopes_of(&sets).iter().for_each(&mut each);
    }
}

/// The red places of a large field, close together: which of them each label value holds at, and how
/// many runs are red there, as planes of bits.
struct Reds {
    at: Vec<Vec<Vec<u64>>>,
    planes: Vec<Vec<u64>>,
}

impl Reds {
    fn of(field: &Field, seen: &[Seen]) -> Self {
        let red: Vec<usize> = (0..field.n).filter(|at| seen[*at].red > 0).collect();
        let words = red.len().div_ceil(64);
        let most = red.iter().map(|at| seen[*at].red).max().unwrap_or(0);
        let mut planes = vec![vec![0u64; words]; (u32::BITS - most.leading_zeros()) as usize];
        for (nth, at) in red.iter().enumerate() {
            for (bit, plane) in planes.iter_mut().enumerate() {
                plane[nth / 64] |= u64::from(seen[*at].red >> bit & 1) << (nth % 64);
            }
        }
        let at = (field.values.iter().zip(&field.texts))
            .map(|(values, texts)| {
                let mut at = vec![vec![0u64; words]; texts.len()];
                for (nth, place) in red.iter().enumerate() {
                    if let Some(value) = values[*place] {
                        at[value as usize][nth / 64] |= 1 << (nth % 64);
                    }
                }
                at
            })
            .collect();
        Self { at, planes }
    }

    /// Red runs at places where a set holds.
    fn within(&self, (n, pairs): &Set) -> u32 {
        let of: Vec<&[u64]> =
            pairs[..usize::from(*n)].iter().map(|(n, v)| &self.at[*n as usize][*v as usize][..]).collect();
        let words = self.planes.first().map_or(0, Vec::len);
        let mut sum = 0;
        for word in 0..words {
            let held = of.iter().fold(u64::MAX, |held, places| held & places[word]);
            for (bit, plane) in self.planes.iter().enumerate() {
                sum += (held & plane[word]).count_ones() << bit;
            }
        }
        sum
    }
}

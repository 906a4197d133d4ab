//! The field: places with labels, such as routes or rows of a table, and the sets of places that
//! label sets cover.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::{incident::LabelSet, scope::Scope};
use crate::canary::Route;

/// What was seen at one place of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Bad runs.
    pub red: u32,
    /// Good runs.
    pub green: u32,
}

impl Seen {
    pub(super) fn sum<'s>(all: impl Iterator<Item = &'s Seen>) -> Seen {
        all.fold(Seen::default(), |sum, s| Seen { red: sum.red + s.red, green: sum.green + s.green })
    }

    pub(super) fn less(self, part: Seen) -> Seen {
        Seen { red: self.red - part.red, green: self.green - part.green }
    }
}

/// A set of places, as bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Places(Vec<u64>);

impl Places {
    pub(super) fn none(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    pub(super) fn all(n: usize) -> Self {
        let mut all = Self(vec![u64::MAX; n.div_ceil(64)]);
        if let Some(last) = all.0.last_mut().filter(|_| !n.is_multiple_of(64)) {
            *last = (1 << (n % 64)) - 1;
        }
        all
    }

    pub(super) fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// How many places the two have in common.
    pub fn overlap(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// Whether the two have a place in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// What was seen at its places.
    pub(super) fn sum(&self, seen: &[Seen]) -> Seen {
        self.sum_without([].into_iter(), seen)
    }

    /// What was seen at its places that none of the others has.
    pub(super) fn sum_without<'p>(&self, others: impl Iterator<Item = &'p Self> + Clone, seen: &[Seen]) -> Seen {
        let mut sum = Seen::default();
        for (at, word) in self.0.iter().enumerate() {
            let mut rest = others.clone().fold(*word, |rest, other| rest & !other.0[at]);
            while rest != 0 {
                let one = seen[at * 64 + rest.trailing_zeros() as usize];
                sum = Seen { red: sum.red + one.red, green: sum.green + one.green };
                rest &= rest - 1;
            }
        }
        sum
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// Whether a place is in it.
    pub fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Each place, in order.
    pub fn each(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// How many places.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// The field of places with their labels: routes, or rows of a table.
#[derive(Clone, Debug, Default)]
pub struct Field {
    pub(super) names: Vec<String>,
    /// Value of a label at a place, by name then place; an empty option where it has none.
    pub(super) values: Vec<Vec<Option<u32>>>,
    /// Texts of values by name.
    pub(super) texts: Vec<Vec<String>>,
    /// Places by name and value.
    pub(super) places: Vec<Vec<Places>>,
    pub(super) n: usize,
    /// Every scope, once somebody has asked; none where there are too many.
    pub(super) scopes: OnceLock<Option<Vec<Arc<Scope>>>>,
}

impl Field {
    /// The field of routes. Names stand in the order in which suspects are written: users' labels
    /// as they first appear, then target, mode, platform, canary.
    pub fn of_routes<'a>(routes: impl Iterator<Item = &'a Route> + Clone) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in routes.clone().flat_map(|route| route.labels.iter()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        for built_in in ["target", "mode", "platform", "canary"] {
            names.retain(|name| name != built_in);
            names.push(built_in.to_owned());
        }
        let places: Vec<&Route> = routes.collect();
        Self::new(names, places.len(), |name, at| places[at].facet(name).map(str::to_owned))
    }

    /// A field of `n` places whose labels `value` tells.
    pub fn new(names: Vec<String>, n: usize, value: impl Fn(&str, usize) -> Option<String>) -> Self {
        let mut field = Self { n, ..Self::default() };
        for name in &names {
            let (mut values, mut texts, mut places) = (Vec::with_capacity(n), Vec::<String>::new(), Vec::new());
            let mut known = std::collections::HashMap::new();
            for at in 0..n {
                values.push(value(name, at).map(|text| {
                    let id = *known.entry(text).or_insert_with_key(|text| {
                        texts.push(text.clone());
                        places.push(Places::none(n));
                        texts.len() as u32 - 1
                    });
                    places[id as usize].insert(at);
                    id
                }));
            }
            field.values.push(values);
            field.texts.push(texts);
            field.places.push(places);
        }
        field.names = names;
        field
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Names, texts of values by name, and values by name, then place: what [`super::causes`] searches.
    #[expect(clippy::type_complexity, reason = "three borrowed tables, taken apart at once")]
    pub(super) fn columns(&self) -> (&[String], &[Vec<String>], &[Vec<Option<u32>>]) {
        (&self.names, &self.texts, &self.values)
    }

    /// No places at all.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The places that a label set covers.
    pub fn covered(&self, labels: &LabelSet) -> Places {
        let mut covered = Places::all(self.n);
        for (name, value) in labels {
            let place = self.names.iter().position(|known| known == name);
            let of = place.and_then(|n| {
                let v = self.texts[n].iter().position(|text| text == value)?;
                Some(&self.places[n][v])
            });
            covered = match of {
                Some(of) => covered.and(of),
                None => Places::none(self.n),
            };
        }
        covered
    }

    /// For a label set, the sets in which one label has another value, with what they cover.
    pub fn siblings(&self, labels: &LabelSet) -> Vec<(LabelSet, Places)> {
        let mut siblings = Vec::new();
        for (changed, (name, value)) in labels.iter().enumerate() {
            let Some(n) = self.names.iter().position(|known| known == name) else { continue };
            for text in self.texts[n].iter().filter(|text| *text != value) {
                let mut set = labels.clone();
                set[changed].1.clone_from(text);
                let places = self.covered(&set);
                if places.count() > 0 {
                    siblings.push((set, places));
                }
            }
        }
        siblings.truncate(50);
        siblings
    }

    pub(super) fn write(&self, set: &[(u32, u32)]) -> LabelSet {
        set.iter()
            .map(|(n, v)| (self.names[*n as usize].clone(), self.texts[*n as usize][*v as usize].clone()))
            .collect()
    }
}

//! A tree of values with places, read key by key, so that everything that is wrong with a scenario
//! file or a fault in JSON is said at once and at its place.

use std::{ops::Range, time::Duration};

use toml::de::{DeTable, DeValue};

use crate::{
    canary::time::{DurationError, parse_duration},
    config,
};

/// One thing that is wrong, at a span of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: Range<usize>,
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Range<usize>,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(toml::value::Datetime),
    List(Vec<Node>),
    Table(Vec<Pair>),
}

/// One `key = value`.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) key_at: Range<usize>,
    pub(super) node: Node,
}

/// Nesting deeper than this is no scenario.
const DEEPEST: u32 = 16;

impl Node {
    /// A whole TOML file. A text that is not TOML is one wrong.
    pub(super) fn from_toml(text: &str) -> Result<Node, Wrong> {
        match DeTable::parse(text) {
            Ok(table) => {
                let at = table.span();
                node(at, &DeValue::Table(table.into_inner()), 0)
            }
            Err(error) => Err(Wrong {
                at: error.span().unwrap_or(0..0),
                what: format!("not TOML: {}", error.message().trim().replace('\n', ", ")),
                hint: None,
            }),
        }
    }

    /// A JSON value; it has no places. A key that is `null` is as good as absent.
    pub(super) fn from_json(value: &serde_json::Value) -> Result<Node, Wrong> {
        json(value, 0)
    }

    pub(super) fn wrong(&self, what: impl Into<String>, hint: impl Into<Option<String>>) -> Wrong {
        Wrong { at: self.at.clone(), what: what.into(), hint: hint.into() }
    }

    fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "text",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Time(_) => "a time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value as it would be written.
    fn shown(&self) -> String {
        let text = match &self.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Int(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Time(at) => at.to_string(),
            Value::List(_) => "[…]".to_owned(),
            Value::Table(_) => "{ … }".to_owned(),
        };
        if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
    }
}

fn too_deep(at: Range<usize>) -> Wrong {
    Wrong { at, what: format!("nested deeper than {DEEPEST} levels"), hint: None }
}

fn node(at: Range<usize>, value: &DeValue<'_>, depth: u32) -> Result<Node, Wrong> {
    if depth > DEEPEST {
        return Err(too_deep(at));
    }
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Int(n),
            Err(_) => {
                return Err(Wrong { at, what: format!("`{}` is not a 64-bit integer", n.as_str()), hint: None });
            }
        },
        DeValue::Float(n) => Value::Float(n.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(at) => Value::Time(*at),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| node(item.span(), item.get_ref(), depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut pairs = Vec::new();
            for (key, value) in table {
                let node = node(value.span(), value.get_ref(), depth + 1)?;
                pairs.push(Pair { key: key.get_ref().to_string(), key_at: key.span(), node });
            }
            // The parser sorts by name; people, and suspects, want the order of the file.
            pairs.sort_by_key(|pair| pair.key_at.start);
            Value::Table(pairs)
        }
    };
    Ok(Node { at, value })
}

fn json(value: &serde_json::Value, depth: u32) -> Result<Node, Wrong> {
    use serde_json::Value as Json;
    if depth > DEEPEST {
        return Err(too_deep(0..0));
    }
    let value = match value {
        Json::Null => return Err(Wrong { at: 0..0, what: "null is not a value here".to_owned(), hint: None }),
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(|item| json(item, depth + 1)).collect::<Result<_, _>>()?),
        Json::Object(map) => {
            let mut pairs = Vec::new();
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                pairs.push(Pair { key: key.clone(), key_at: 0..0, node: json(value, depth + 1)? });
            }
            Value::Table(pairs)
        }
    };
    Ok(Node { at: 0..0, value })
}

/// Reads one table key by key. What was never asked for is an unknown key.
pub(super) struct Keys<'a> {
    at: Range<usize>,
    pairs: &'a [Pair],
    known: Vec<&'static str>,
    wrongs: &'a mut Vec<Wrong>,
}

impl<'a> Keys<'a> {
    /// Begins to read; a node that is not a table is wrong, and reads as an empty one.
    pub(super) fn of(node: &'a Node, name: &str, wrongs: &'a mut Vec<Wrong>) -> Self {
        let pairs: &[Pair] = match &node.value {
            Value::Table(pairs) => pairs,
            _ => {
                wrongs.push(node.wrong(format!("`{name}` must be a table, not {}", node.kind()), None));
                &[]
            }
        };
        Self { at: node.at.clone(), pairs, known: Vec::new(), wrongs }
    }

    pub(super) fn pairs(&self) -> &'a [Pair] {
        self.pairs
    }

    /// Whether a key was asked for before.
    pub(super) fn asked_for(&self, key: &str) -> bool {
        self.known.contains(&key)
    }

    pub(super) fn push(&mut self, wrong: Wrong) {
        self.wrongs.push(wrong);
    }

    pub(super) fn wrongs(&mut self) -> &mut Vec<Wrong> {
        self.wrongs
    }

    /// The value of a key, if the key is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.pairs.iter().find(|pair| pair.key == key).map(|pair| &pair.node)
    }

    /// The same for a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, example: &str) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_none() {
            let hint = Some(format!("add `{key} = {example}`"));
            self.wrongs.push(Wrong { at: self.at.clone(), what: format!("`{key}` is missing"), hint });
        }
        found
    }

    fn mismatch<T>(&mut self, key: &str, node: &Node, wanted: &str, hint: Option<String>) -> Option<T> {
        self.wrongs.push(node.wrong(format!("`{key}` must be {wanted}, not {}", node.kind()), hint));
        None
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let node = self.get(key)?;
        self.as_text(key, node)
    }

    pub(super) fn as_text<'n>(&mut self, key: &str, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            _ => self.mismatch(key, node, "text", None),
        }
    }

    /// An integer within bounds.
    pub(super) fn int(&mut self, key: &'static str, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let node = self.get(key)?;
        match node.value {
            Value::Int(n) if bounds.contains(&n) => Some(n),
            Value::Int(n) => {
                let hint = format!("it goes from {} to {}", bounds.start(), bounds.end());
                self.wrongs.push(node.wrong(format!("`{key} = {n}` is out of range"), hint));
                None
            }
            _ => self.mismatch(key, node, "an integer", None),
        }
    }

    /// A share, from 0 to 1.
    pub(super) fn share(&mut self, key: &'static str) -> Option<f64> {
        let node = self.get(key)?;
        let share = match node.value {
            Value::Float(share) => share,
            Value::Int(n) => n as f64,
            _ => return self.mismatch(key, node, "a number from 0 to 1", None),
        };
        if (0.0..=1.0).contains(&share) {
            return Some(share);
        }
        let hint = "it is a share, from 0 to 1".to_owned();
        self.wrongs.push(node.wrong(format!("`{key} = {}` is out of range", node.shown()), hint));
        None
    }

    /// A length of time.
    pub(super) fn length(&mut self, key: &'static str) -> Option<Duration> {
        let node = self.get(key)?;
        self.as_length(key, node)
    }

    pub(super) fn as_length(&mut self, key: &str, node: &Node) -> Option<Duration> {
        let (what, hint) = match &node.value {
            Value::Text(text) => match parse_duration(text) {
                Ok(length) => return Some(length),
                Err(DurationError::NoUnit(text)) => ("has no unit", format!("write \"{text}s\" or \"{text}m\"")),
                Err(DurationError::Unit(_)) => ("has an unknown unit", "units are ms, s, m, h, d".to_owned()),
                Err(DurationError::Shape(_)) => (
                    "is not a length of time",
                    "write a whole number and a unit, such as \"90s\" or \"15m\"".to_owned(),
                ),
                Err(DurationError::TooLong(_)) => ("is too long", "the longest is \"10000d\"".to_owned()),
            },
            Value::Int(n) => ("has no unit", format!("write \"{n}s\" or \"{n}m\"")),
            _ => return self.mismatch(key, node, "a length of time", Some("such as \"90s\" or \"15m\"".to_owned())),
        };
        self.wrongs.push(node.wrong(format!("`{key} = {}` {what}", node.shown()), hint));
        None
    }

    /// A list of texts, each with its place.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<(&'a str, &'a Node)>> {
        let node = self.get(key)?;
        let Value::List(items) = &node.value else { return self.mismatch(key, node, "a list of texts", None) };
        let mut texts = Vec::new();
        for item in items {
            texts.push((self.as_text(key, item)?, item));
        }
        Some(texts)
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<&'a Node> {
        let Some(node) = self.get(key) else { return Vec::new() };
        match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => {
                let hint = Some(format!("write it as [[{key}]]"));
                self.mismatch::<()>(key, node, "a list of tables", hint);
                Vec::new()
            }
        }
    }

    /// Ends the reading: keys that nobody asked for are unknown.
    pub(super) fn done(self) {
        for pair in self.pairs.iter().filter(|pair| !self.known.contains(&pair.key.as_str())) {
            let what = format!("unknown key `{}`", cut(&pair.key));
            let hint = nearest(&pair.key, self.known.iter().copied());
            self.wrongs.push(Wrong { at: pair.key_at.clone(), what, hint: Some(hint) });
        }
    }
}

/// `did you mean …?`, or all there is to choose from.
pub(super) fn nearest<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    match (config::nearest(found, known.iter().copied()), &known[..]) {
        (Some(word), _) => format!("did you mean `{word}`?"),
        (None, [only]) => format!("it can only be `{only}`"),
        (None, _) => format!("one of {}", known.join(", ")),
    }
}

/// Cuts a text from outside to what a message shows.
pub(super) fn cut(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(60).chain(['…']).collect() }
}

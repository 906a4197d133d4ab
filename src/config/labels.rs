//! Labels as written: `labels = { engine = "hive", worker = "v5" }`, in the order of the file.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::json;

use super::{
    agent::{brief, check_text, text},
    problem::Problems,
    section::Section,
    spanned::Spanned,
};
use crate::canary::{LabelName, Labels, name::NAME};

/// Names of a route's own facets, which labels cannot have.
const TAKEN: [&str; 4] = ["canary", "platform", "target", "mode"];
/// Most labels in one place. Suspects are searched among all label sets of a route, and nobody can
/// read more.
const MOST: usize = 16;

/// Names and values with their places, in the order of the file.
#[derive(Default)]
pub(super) struct Written(Vec<(Spanned<String>, Spanned<String>)>);

impl JsonSchema for Written {
    fn schema_name() -> Cow<'static, str> {
        "Pairs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// What labels are, for schemas: names and values of their own shape.
pub(super) fn describe(schema: &mut Schema) {
    let names = json!({ "pattern": NAME, "not": { "enum": TAKEN } });
    schema.insert("propertyNames".to_owned(), names);
    schema.insert("additionalProperties".to_owned(), text());
    schema.insert("maxProperties".to_owned(), MOST.into());
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of strings: { engine = \"hive\", worker = \"v5\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut pairs: Vec<(Spanned<String>, Spanned<String>)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                // The parser hands them over sorted by name.
                pairs.sort_by_key(|(name, _)| name.span().start);
                Ok(Written(pairs))
            }
        }

        from.deserialize_map(Table)
    }
}

impl Written {
    /// Names and values.
    pub(super) fn pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|(name, value)| (name.into_inner(), value.into_inner()))
    }
}

/// Labels as meant.
pub(super) fn read(written: Option<Written>, section: &Section<'_>, problems: &mut Problems) -> Labels {
    let pairs = written.unwrap_or_default().0;
    if let Some((name, _)) = pairs.get(MOST) {
        let hint = format!("{MOST} are the most");
        problems.push(section.problem(name.span(), format!("{} labels are too many", pairs.len()), Some(hint)));
    }
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter_map(|(name, value)| {
            let mut wrong = |at: std::ops::Range<usize>, what: String, hint: &str| {
                problems.push(section.problem(at, what, Some(hint.to_owned())));
            };
            let shown = brief(name.get_ref());
            if TAKEN.contains(&name.get_ref().as_str()) {
                let hint = "every route has its canary, platform, target and mode already; choose another name";
                wrong(name.span(), format!("a label cannot be called `{shown}`"), hint);
            }
            if let Err(why) = check_text(value.get_ref()) {
                wrong(
                    value.span(),
                    format!("the value of label `{shown}` {why}"),
                    "write a short text, or leave it away",
                );
            }
            let label = LabelName::new(name.get_ref())
                .map_err(|error| wrong(name.span(), format!("not the name of a label: {error}"), "rename the label"));
            Some((label.ok()?, value.into_inner().into()))
        })
        .collect();
    Labels::new(pairs)
}

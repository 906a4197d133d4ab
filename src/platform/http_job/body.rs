//! Bodies: JSON or a form, declared in the config as a table whose texts are templates. They are built as
//! values and written by what knows the format, so that no value can break out of its text.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value as Json};

use super::template::{Spot, Template, Values, Word};
use crate::config::Spanned;

/// A value of the config that becomes JSON, every part with its place.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Fixed(Json),
    List(Vec<Spanned<Node>>),
    Table(Vec<(String, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written)
    }
}

impl JsonSchema for Node {
    fn schema_name() -> Cow<'static, str> {
        "Node".into()
    }

    /// What is below the first level is not said: it may go down for ever.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["object", "array", "string", "number", "boolean"] })
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, an array, a string, a number or a boolean")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, set: bool) -> Result<Node, E> {
        Ok(Node::Fixed(Json::Bool(set)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Fixed(Json::from(number)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("JSON has no such number"))?;
        Ok(Node::Fixed(Json::Number(number)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = from.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some((name, node)) = from.next_entry::<String, Spanned<Node>>()? {
            // To serde a date-time is a table with a key of its own.
            if name.starts_with("$__toml_private") {
                return Err(A::Error::custom("JSON has no date-times: write a string"));
            }
            table.push((name, node));
        }
        Ok(Node::Table(table))
    }
}

/// JSON whose texts are templates.
#[derive(Clone, Debug)]
pub(super) enum JsonTemplate {
    Text(Template),
    Fixed(Json),
    List(Vec<JsonTemplate>),
    Table(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// From the config; `read` makes a template of a text, or notes what is wrong with it.
    pub(super) fn of(
        node: &Spanned<Node>,
        read: &mut impl FnMut(std::ops::Range<usize>, &str) -> Option<Template>,
    ) -> Option<Self> {
        match node.get_ref() {
            Node::Text(text) => read(node.span(), text).map(JsonTemplate::Text),
            Node::Fixed(json) => Some(JsonTemplate::Fixed(json.clone())),
            // All of them are read, so that all that is wrong is said at once.
            Node::List(list) => {
                let read: Vec<_> = list.iter().map(|node| Self::of(node, read)).collect();
                read.into_iter().collect::<Option<_>>().map(JsonTemplate::List)
            }
            Node::Table(table) => {
                let read: Vec<_> =
                    table.iter().map(|(name, node)| Some((name.clone(), Self::of(node, read)?))).collect();
                read.into_iter().collect::<Option<_>>().map(JsonTemplate::Table)
            }
        }
    }

    /// Every template in it.
    pub(super) fn templates<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            JsonTemplate::Text(template) => all.push(template),
            JsonTemplate::Fixed(_) => {}
            JsonTemplate::List(list) => list.iter().for_each(|one| one.templates(all)),
            JsonTemplate::Table(table) => table.iter().for_each(|(_, one)| one.templates(all)),
        }
    }

    /// The JSON with values in place. `{rows}` alone is a number.
    pub(super) fn fill(&self, values: &Values<'_>) -> Json {
        match self {
            JsonTemplate::Text(template) => {
                let text = template.fill(values, Spot::Body);
                match (template.sole(), text.parse::<u64>()) {
                    (Some(Word::Rows), Ok(number)) => Json::from(number),
                    _ => Json::String(text),
                }
            }
            JsonTemplate::Fixed(json) => json.clone(),
            JsonTemplate::List(list) => list.iter().map(|one| one.fill(values)).collect(),
            JsonTemplate::Table(table) => {
                Json::Object(table.iter().map(|(name, one)| (name.clone(), one.fill(values))).collect::<Map<_, _>>())
            }
        }
    }
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Nothing,
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_shape_whatever_a_value_holds() {
        #[derive(Deserialize)]
        struct Keys {
            json: Spanned<Node>,
        }
        let text =
            r#"json = { sql = "INSERT {query}", n = "{rows}", of = "{rows} rows", list = ["{id}", 1, 0.5, true] }"#;
        let keys: Keys = toml::from_str(text).expect("decodes");
        let template = JsonTemplate::of(&keys.json, &mut |_, text| Template::read(text).ok()).expect("templates");
        let values = Values { query: "SELECT '\"},{'", rows: "20", id: "\n\u{0}", ..Values::default() };
        let expected = serde_json::json!({
            "sql": "INSERT SELECT '\"},{'", "n": 20, "of": "20 rows", "list": ["\n\u{0}", 1, 0.5, true],
        });
        assert_eq!(template.fill(&values), expected);
        assert!(toml::from_str::<Keys>("json = { at = 2015-08-24 }").is_err());
        assert!(toml::from_str::<Keys>("json = nan").is_err());
    }
}

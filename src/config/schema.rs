//! The schema of a config file, made from the very types that decode it: what editors check, complete and
//! explain keys by. A kind's own table is described by the kind's row (see [`Kind`]).

use schemars::{
    Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error, Visitor, value},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, json};

use super::{agent, canary, dogfood, named, notify, section::Kind, section::Kinds, silence, web};
use crate::canary::name::NAME;

/// Which JSON Schema this is. Taplo, which is in most editors for TOML, hands a schema to a validator that knows
/// drafts 4, 6 and 7, and takes any other for 7. Nothing below is a reference to elsewhere in the file, or an
/// `allOf`: taplo then shows nothing of the table that has it.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Where the keys of a table stand in the order of their type. JSON has none; the reference keeps it.
pub const ORDER: &str = "x-order";

/// What a config file may hold.
pub fn schema<P, T, N>(kinds: &Kinds<'_, P, T, N>) -> Value {
    let mut schema = ordered(kinds);
    forget_order(&mut schema);
    schema
}

/// The same, with the order of keys.
pub fn ordered<P, T, N>(kinds: &Kinds<'_, P, T, N>) -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.transforms.clear();
    let mut generator = settings.into_generator();
    let generator = &mut generator;
    let tables: [(&str, Schema); 8] = [
        ("agent", generator.subschema_for::<agent::Written>()),
        ("web", generator.subschema_for::<web::Written>()),
        (
            "platform",
            by_name(with_kinds(generator.subschema_for::<named::PlatformTable>(), &kinds.platforms, generator)),
        ),
        ("target", by_name(with_kinds(generator.subschema_for::<named::TargetTable>(), &kinds.targets, generator))),
        ("canary", by_name(generator.subschema_for::<canary::Written>())),
        ("dogfood", generator.subschema_for::<dogfood::Written>()),
        ("notify", by_name(with_kinds(generator.subschema_for::<notify::Written>(), &kinds.notifiers, generator))),
        ("silence", list(generator.subschema_for::<silence::Written>())),
    ];
    let order: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        tables.iter().map(|(name, table)| ((*name).to_owned(), table.as_value().clone())).collect();
    let mut whole = json!({
        "$schema": DRAFT,
        "title": "Landfall",
        "description": "A config of Landfall: landfall.toml, or a file in its folder of probes.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        ORDER: order,
    });
    if let Ok(schema) = (&mut whole).try_into() {
        Plain.transform(schema);
    }
    whole
}

/// `[platform.NAME]` and its like: tables by name.
fn by_name(table: Schema) -> Schema {
    schemars::json_schema!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": table })
}

/// `[[silence]]`.
fn list(table: Schema) -> Schema {
    schemars::json_schema!({ "type": "array", "items": table, "maxItems": silence::MOST })
}

/// A table with the tables of its kinds, of which it must have exactly one.
fn with_kinds<D>(mut table: Schema, kinds: &[Kind<'_, D>], generator: &mut SchemaGenerator) -> Schema {
    for kind in kinds {
        let own = (kind.table)(generator);
        if let Some(Value::Object(properties)) = table.get_mut("properties") {
            properties.insert(kind.name.to_owned(), own.to_value());
        }
        if let Some(Value::Array(order)) = table.get_mut(ORDER) {
            order.push(kind.name.into());
        }
    }
    let one_of: Vec<Value> = kinds.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    table.insert("oneOf".to_owned(), one_of.into());
    table
}

/// Puts the keys of a table in the order in which its type has them: as the decoder lists them, other names of
/// theirs included. Every type that is decoded has `#[schemars(transform = keys_in_order::<Self>)]`.
pub fn keys_in_order<T: DeserializeOwned>(schema: &mut Schema) {
    let mut keys: &[&str] = &[];
    // It asks for its keys, and gets no further.
    let _ = T::deserialize(Asking(&mut keys));
    schema.insert(ORDER.to_owned(), keys.into());
}

/// Keeps the keys that a type asks for.
struct Asking<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("only asked"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = keys;
        Err(value::Error::custom("only asked"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Takes out what a config in TOML cannot mean, or an editor cannot use: null, formats of numbers, and words that
/// are spread over a list of schemas.
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        let Some(object) = schema.as_object_mut() else { return };
        object.remove("format");
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|one| one != "null");
            if let [one] = types.as_slice() {
                let one = one.clone();
                object.insert("type".to_owned(), one);
            }
        }
        if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|one| one["type"] != "null");
            if let [Value::Object(one)] = choices.as_slice() {
                let one = one.clone();
                object.remove("anyOf");
                for (key, value) in one {
                    object.entry(key).or_insert(value);
                }
            }
        }
        if let Some(Value::Array(words)) = object.get_mut("enum") {
            words.retain(|one| !one.is_null());
        }
        gather_words(object);
        // TOML's integers end where these do.
        if object.get("type").is_some_and(|of| of == "integer") {
            object.retain(|key, value| key != "minimum" || value.as_f64() != Some(i64::MIN as f64));
        }
        transform_subschemas(self, schema);
    }
}

/// Words that each have an explanation become one list, with the explanations where taplo looks for them.
fn gather_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let word = |choice: &Value| -> Option<Vec<(Value, Value)>> {
        let about = choice["description"].clone();
        match (choice.get("const"), choice["enum"].as_array()) {
            (Some(word), _) => Some(vec![(word.clone(), about)]),
            (None, Some(words)) => Some(words.iter().map(|word| (word.clone(), about.clone())).collect()),
            (None, None) => None,
        }
    };
    let Some(words) = choices.iter().map(word).collect::<Option<Vec<_>>>() else { return };
    let (words, about): (Vec<Value>, Vec<Value>) = words.into_iter().flatten().unzip();
    object.remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), words.into());
    object.insert("x-taplo".to_owned(), json!({ "docs": { "enumValues": about } }));
}

fn forget_order(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove(ORDER);
            object.values_mut().for_each(forget_order);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_order),
        _ => {}
    }
}

//! The reference of a config for people, in Markdown: every table and every key of the schema, in the order of
//! the types that it is made from.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    length::Length,
    schema::{ORDER, ordered},
    section::Kinds,
};

/// What stands above all tables.
const HEAD: &str = "\
# Configuration reference

Every table and every key of a config: `landfall.toml`, and each `*.toml` in its folder of probes. `landfall schema
--format markdown` made this from the types that read a config; `landfall schema` tells editors the same.

* A *length* is an integer and a unit, `ms`, `s`, `m`, `h` or `d`: `\"90s\"`, `\"15m\"`.
* A *secret* is the place that holds it: `{ env = \"NAME\" }`, or `{ file = \"path\" }`.
* Relative paths are relative to the file that they stand in.
* A NAME has up to 63 letters, digits, `-` and `_`, and starts with a letter or digit.
* A key that is not here is a mistake, and `landfall check` says which was meant.
";

/// The reference.
pub fn markdown<P, T, N>(kinds: &Kinds<'_, P, T, N>) -> String {
    let whole = ordered(kinds);
    let mut text = HEAD.to_owned();
    for (name, schema) in properties(&whole) {
        // Of `[platform.NAME]` and `[[silence]]` the table is one step below.
        let (path, table) = match (&schema["additionalProperties"], &schema["items"]) {
            (table @ Value::Object(_), _) => (format!("[{name}.NAME]"), table),
            (_, table @ Value::Object(_)) => (format!("[[{name}]]"), table),
            _ => (format!("[{name}]"), schema),
        };
        section(&mut text, &path, 2, table, table["description"].as_str());
    }
    text
}

/// A table under its heading, and those below it.
fn section(text: &mut String, path: &str, level: usize, table: &Value, about: Option<&str>) {
    // Writing into a text cannot fail.
    let _ = writeln!(text, "\n{} `{path}`\n", "#".repeat(level));
    if let Some(about) = about {
        let _ = writeln!(text, "{}\n", one_line(about));
    }
    let is_kind = |name: &str| one_of_these(table).contains(&name);
    let keys: Vec<_> = properties(table).filter(|(name, _)| !is_kind(name)).collect();
    if !keys.is_empty() {
        let _ = writeln!(text, "| key | type | default | what it says |\n|---|---|---|---|");
    }
    for (name, schema) in keys {
        let required = table["required"].as_array().is_some_and(|required| required.iter().any(|key| key == name));
        let default = match schema.get("default") {
            Some(default) => format!("`{default}`"),
            None if required => "*required*".to_owned(),
            None => String::new(),
        };
        let cells = [format!("`{name}`"), type_of(schema), default, explained(schema)];
        let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    let rules = rules(table);
    if !rules.is_empty() {
        let _ = writeln!(text, "\n{}", rules.join(" "));
    }
    for (name, schema) in properties(table) {
        let inside = path.trim_matches(['[', ']']);
        if schema.get(ORDER).is_some() {
            section(text, &format!("[{inside}.{name}]"), level + 1, schema, schema["description"].as_str());
        }
        if let Some(table) = below(&schema["additionalProperties"]) {
            section(text, &format!("[{inside}.{name}.TARGET]"), level + 1, table, table["description"].as_str());
        }
    }
}

/// The keys of a table, in order.
fn properties(table: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let order = table[ORDER].as_array().into_iter().flatten().filter_map(Value::as_str);
    order.filter_map(|name| Some((name, table["properties"].get(name)?)))
}

/// The table that the values of a map are or may be.
fn below(schema: &Value) -> Option<&Value> {
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    [schema].into_iter().chain(choices).find(|schema| schema.get(ORDER).is_some())
}

/// Keys of which a table has exactly one, each a table of its own: kinds.
fn one_of_these(table: &Value) -> Vec<&str> {
    let choices = table["oneOf"].as_array().into_iter().flatten().flat_map(required);
    choices.filter(|name| table["properties"][*name].get(ORDER).is_some()).collect()
}

fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn type_of(schema: &Value) -> String {
    if schema.get(ORDER).is_some() {
        return "table".to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let is_length = [Length::ANY, Length::SOME].iter().any(|pattern| schema["pattern"] == *pattern);
    match schema["type"].as_str() {
        Some("string") if is_length => "length".to_owned(),
        Some("array") => format!("list of: {}", type_of(&schema["items"])),
        Some("object") if schema["properties"].get("env").is_some() => "secret".to_owned(),
        Some("object") => format!("table of: {}", type_of(&schema["additionalProperties"])),
        Some("integer") => match (&schema["minimum"], &schema["maximum"]) {
            (Value::Null, _) | (_, Value::Null) => "integer".to_owned(),
            (least, most) if *most == u32::MAX => format!("integer from {least}"),
            (least, most) => format!("integer from {least} to {most}"),
        },
        Some(other) => other.to_owned(),
        None => "any value".to_owned(),
    }
}

/// What a key says, and what each of its words does.
fn explained(schema: &Value) -> String {
    let mut text = schema["description"].as_str().map(one_line).unwrap_or_default();
    let inner = if schema["items"].is_object() { &schema["items"] } else { schema };
    let about = inner["x-taplo"]["docs"]["enumValues"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words = inner["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (word, about) in words.zip(about) {
        // A name that explains itself is not explained.
        if !about.trim_end_matches('.').eq_ignore_ascii_case(word) {
            let _ = write!(text, " `{word}`: {}", one_line(about));
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What goes with what, in words.
fn rules(table: &Value) -> Vec<String> {
    let mut rules = Vec::new();
    let choices: Vec<Vec<&str>> = table["oneOf"].as_array().into_iter().flatten().map(required).collect();
    if !choices.is_empty() {
        let what = if one_of_these(table).is_empty() { "Exactly one of" } else { "Exactly one kind" };
        let choices: Vec<String> = choices.iter().map(|keys| keyed(keys)).collect();
        rules.push(format!("{what}: {}.", choices.join("; ")));
    }
    let not = &table["not"];
    let refused = not["anyOf"].as_array().into_iter().flatten().chain(not.get("required").map(|_| not));
    for refused in refused {
        if let Some(absent) = refused["properties"].as_object() {
            let keys: Vec<&str> = absent.keys().map(String::as_str).collect();
            rules.push(format!("At least one of {}.", keyed(&keys)));
        } else {
            rules.push(format!("Not both {}.", keyed(&required(refused))));
        }
    }
    for (key, needed) in table["dependencies"].as_object().into_iter().flatten() {
        let needed: Vec<&str> = needed.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        rules.push(format!("`{key}` only with {}.", keyed(&needed)));
    }
    // What is required where a key says so, and where it does not.
    let mut rest = table;
    while let Some(chosen) = rest["if"]["properties"].as_object().and_then(|is| is.iter().next()) {
        let (key, word) = (chosen.0, &chosen.1["const"]);
        rules.push(format!("`{key} = {word}` needs {}.", keyed(&required(&rest["then"]))));
        rest = &rest["else"];
        if rest.get("if").is_none() {
            rules.push(format!("Else {} are needed.", keyed(&required(rest))));
        }
    }
    rules
}

/// `a`, `b` and `c`.
fn keyed(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match keys.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => keys.concat(),
    }
}

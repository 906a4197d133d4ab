//! Outputs: by which name the engine knows a target, and the statements that write to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    dialect::Engine,
    settings::{Checks, Wrong, brief},
};
use crate::{
    canary::{Mode, Secret, run::Columns},
    config::{SecretSource, Spanned, keys_in_order},
};

/// How results get from the engine to a target: through a table of the engine's, or as files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("oneOf" = [
    { "required": ["table"], "properties": { "directory": false, "local": false, "format": false, "clause": false } },
    { "required": ["directory"], "properties": { "table": false, "create": false } },
]))]
pub(super) struct Written {
    /// A table of the engine's whose rows stand at the target; `{place}` in it where each place has one of its own.
    table: Option<Spanned<String>>,
    /// What makes that table, with `{table}`, `{place}`, `{truncate}` and the names of `secrets` in it.
    create: Option<Spanned<String>>,
    /// What may stand in `create`, by a name of lower-case letters and `_`.
    secrets: Option<BTreeMap<String, Spanned<SecretSource>>>,
    /// A folder that files are written into, with `{place}` in it. Not with Impala.
    directory: Option<Spanned<String>>,
    /// Whether `directory` is on the server's own disk.
    #[schemars(extend("default" = false))]
    local: Option<Spanned<bool>>,
    /// Spark's format of the files.
    #[schemars(extend("default" = FORMAT))]
    format: Option<Spanned<String>>,
    /// Spark's options of that format.
    options: Option<BTreeMap<String, Spanned<String>>>,
    /// Hive's clause about the files: `ROW FORMAT …`.
    clause: Option<Spanned<String>>,
}

/// How results get from the engine to a target.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// A table whose rows stand elsewhere.
    Table {
        /// Its name, perhaps with `{place}` in it.
        name: String,
        /// What makes it, if it is not there.
        create: Option<String>,
        /// What may stand in that.
        secrets: BTreeMap<String, Secret>,
    },
    /// Files in a folder of the run's own.
    Directory {
        /// Its path, with `{place}` in it.
        path: String,
        /// On the server's own disk.
        local: bool,
        /// What the files are like, in SQL.
        clause: String,
    },
}

/// Format of Spark's files, unless the config says otherwise.
const FORMAT: &str = "csv";

/// Words in `{}` that are filled in.
const OWN_WORDS: [&str; 3] = ["table", "place", "truncate"];

const EITHER: &str = "write table = \"…\" or directory = \"…{place}…\"";

impl Output {
    /// Checks an output; notes its secrets.
    pub(super) fn read(
        name: &str,
        written: Written,
        engine: Engine,
        checks: &mut Checks<'_>,
        veiled: &mut Vec<Secret>,
    ) -> Option<Self> {
        match (&written.table, &written.directory) {
            (Some(_), None) => Self::read_table(written, engine, checks, veiled),
            (None, Some(_)) => Self::read_directory(written, engine, checks),
            (None, None) => {
                let at = checks.place_of(name);
                checks.note(at, (format!("output `{}` goes nowhere", brief(name)), EITHER));
                None
            }
            (Some(_), Some(directory)) => {
                checks.note(directory.span(), ("both `table` and `directory`".to_owned(), EITHER));
                None
            }
        }
    }

    fn read_table(written: Written, engine: Engine, checks: &mut Checks<'_>, veiled: &mut Vec<Secret>) -> Option<Self> {
        let mut others: Vec<_> = [
            (written.local.as_ref().map(Spanned::span), "local"),
            (written.format.as_ref().map(Spanned::span), "format"),
            (written.clause.as_ref().map(Spanned::span), "clause"),
        ]
        .into_iter()
        .filter_map(|(at, key)| Some((at?, key)))
        .collect();
        let option = written.options.as_ref().and_then(|options| options.values().next());
        others.extend(option.map(|value| (value.span(), "options")));
        for (at, key) in others {
            checks.note(
                at,
                (format!("`{key}` of a table"), "it is for `directory`; what a table is like stands in `create`"),
            );
        }
        let mut secrets = BTreeMap::new();
        for (name, source) in written.secrets.into_iter().flatten() {
            if !is_word(&name) || OWN_WORDS.contains(&name.as_str()) {
                let what = format!("`{}` cannot be the name of a secret", brief(&name));
                checks
                    .note(source.span(), (what, "write lower-case letters and `_`, but not table, place or truncate"));
                continue;
            }
            if let Some(secret) = checks.secret(&source) {
                // As it stands in a statement, and as it is.
                veiled.extend([Secret::new(engine.inside(secret.reveal())), secret.clone()]);
                secrets.insert(name, secret);
            }
        }
        let name = checks.keep(&written.table?, |name| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
            let bare = name.replace("{place}", "p");
            match !bare.is_empty() && bare.len() <= 200 && bare.chars().all(fits) {
                true => Ok(name.clone()),
                false => Err((
                    format!("`{}` cannot be the name of a table", brief(name)),
                    "write letters, digits, `_`, dots, and {place} where each place has a table of its own",
                )),
            }
        })?;
        let create = match &written.create {
            None => None,
            Some(create) => Some(checks.keep(create, |create| {
                let known = |word: &str| OWN_WORDS.contains(&word) || secrets.contains_key(word);
                known_words(create, known).map(|()| create.clone())
            })?),
        };
        Some(Output::Table { name, create, secrets })
    }

    fn read_directory(written: Written, engine: Engine, checks: &mut Checks<'_>) -> Option<Self> {
        if let Some(create) = &written.create {
            checks
                .note(create.span(), ("`create` of a directory".to_owned(), "leave it away: engines make directories"));
        }
        if let Some(source) = written.secrets.iter().flatten().map(|(_, source)| source).next() {
            let hint = "leave them away: how the engine gets at a store is set up there";
            checks.note(source.span(), ("`secrets` of a directory".to_owned(), hint));
        }
        let directory = written.directory?;
        let at = directory.span();
        let path = checks.keep(&directory, |path| {
            known_words(path, |word| word == "place")?;
            if !path.contains("{place}") {
                return Err((
                    "`directory` is the same for every run".to_owned(),
                    "put {place} in it: what stands in a directory is written over",
                ));
            }
            match path.chars().any(char::is_control) {
                true => Err(("`directory` has control characters".to_owned(), "write a path or URL")),
                false => Ok(path.clone()),
            }
        });
        let clause = match engine {
            Engine::Spark => {
                if let Some(clause) = &written.clause {
                    let hint = "write format = \"csv\" and options = { header = \"true\" }";
                    checks.note(clause.span(), ("`clause` is for Hive".to_owned(), hint));
                }
                let format = match &written.format {
                    None => Some(FORMAT.to_owned()),
                    Some(format) => checks.keep(format, |format| match is_word(format) {
                        true => Ok(format.clone()),
                        false => Err((
                            format!("`{}` is no format", brief(format)),
                            "write \"csv\", \"json\" or another of Spark's",
                        )),
                    }),
                };
                let literal = engine.dialect().text;
                let options: Vec<String> = written
                    .options
                    .iter()
                    .flatten()
                    .map(|(key, value)| format!("{} {}", literal(key), literal(value.get_ref())))
                    .collect();
                let options =
                    if options.is_empty() { String::new() } else { format!(" OPTIONS ({})", options.join(", ")) };
                format.map(|format| format!("USING {format}{options}"))
            }
            Engine::Hive => {
                let option = written.options.as_ref().and_then(|options| options.values().next()).map(Spanned::span);
                for (at, key) in [(written.format.as_ref().map(Spanned::span), "format"), (option, "options")] {
                    if let Some(at) = at {
                        let hint = "write clause = \"ROW FORMAT DELIMITED FIELDS TERMINATED BY ','\"";
                        checks.note(at, (format!("`{key}` is for Spark"), hint));
                    }
                }
                Some(written.clause.map(Spanned::into_inner).unwrap_or_default())
            }
            Engine::Impala => {
                checks.note(at, ("Impala writes no directories".to_owned(), "write table = \"…\""));
                None
            }
        };
        Some(Output::Directory { path: path?, local: written.local.is_some_and(Spanned::into_inner), clause: clause? })
    }

    /// What makes the table that a place is written through, and its name.
    pub(super) fn creation(&self, engine: Engine, place: &str, mode: Mode) -> Result<Option<(String, String)>, String> {
        let Output::Table { create: Some(create), secrets, .. } = self else { return Ok(None) };
        let (table, place) = (self.table(place, mode)?, checked(place)?);
        let truncate = if mode == Mode::Truncate { "true" } else { "false" };
        let mut words = vec![("table", table.clone()), ("place", place.to_owned()), ("truncate", truncate.to_owned())];
        words.extend(secrets.iter().map(|(name, secret)| (name.as_str(), engine.inside(secret.reveal()))));
        Ok(Some((table, filled(create, &words))))
    }

    /// The statement that writes what a query computes.
    pub(super) fn insert(
        &self,
        engine: Engine,
        place: &str,
        mode: Mode,
        columns: &Columns,
        query: &str,
    ) -> Result<String, String> {
        let over = match mode {
            Mode::Append => false,
            Mode::Replace | Mode::Truncate => true,
            Mode::Update => return Err("it cannot update rows".to_owned()),
        };
        match self {
            Output::Table { .. } => {
                let table = self.table(place, mode)?;
                let columns: Vec<&str> = columns.iter().map(|column| column.name).collect();
                let columns = match engine {
                    // By name, whatever the order at the target.
                    Engine::Spark | Engine::Impala => format!(" ({})", columns.join(", ")),
                    // It takes no names where it overwrites, and other versions none at all.
                    Engine::Hive => String::new(),
                };
                let how = if over { "OVERWRITE" } else { "INTO" };
                Ok(format!("INSERT {how} TABLE {table}{columns} {query}"))
            }
            Output::Directory { path, local, clause } => {
                let path = filled(path, &[("place", checked(place)?.to_owned())]);
                let local = if *local { "LOCAL " } else { "" };
                Ok(format!("INSERT OVERWRITE {local}DIRECTORY '{}' {clause} {query}", engine.inside(&path)))
            }
        }
    }

    fn table(&self, place: &str, mode: Mode) -> Result<String, String> {
        let Output::Table { name, .. } = self else { return Err("it is no table".to_owned()) };
        if !name.contains("{place}") {
            // One name cannot lead to the place of each route.
            return match mode.displaces() {
                true => Err(format!("mode {mode} has a table for each route: its name `{name}` needs {{place}} in it")),
                false => Ok(name.clone()),
            };
        }
        let place = checked(place)?;
        match place.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            true => Ok(filled(name, &[("place", place.to_owned())])),
            false => Err(format!("the target's place `{}` cannot stand in the name of a table", brief(place))),
        }
    }
}

/// A place that means nothing but itself within quotes, and leads to no other folder.
fn checked(place: &str) -> Result<&str, String> {
    let odd = |c: char| c.is_control() || matches!(c, '\'' | '"' | '`' | '\\' | '$' | ';' | '{' | '}');
    let climbs = place.split('/').any(|part| matches!(part, "." | ".."));
    match place.is_empty() || place.chars().any(odd) || climbs {
        true => Err(format!("the target's place `{}` cannot stand in a statement", brief(place))),
        false => Ok(place),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The `{word}`s of a text: where each stands, and the word.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('{').filter_map(|(at, _)| {
        let (word, _) = text[at + 1..].split_once('}')?;
        is_word(word).then_some((at, word))
    })
}

fn known_words(text: &str, known: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    match words(text).find(|(_, word)| !known(word)) {
        Some((_, word)) => Err((
            format!("`{{{}}}` stands for nothing", brief(word)),
            "write {table}, {place}, {truncate}, or the name of one of its `secrets`",
        )),
        None => Ok(()),
    }
}

/// Fills words in, once: what they bring with them is not looked at again.
fn filled(text: &str, with: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut from = 0;
    for (at, word) in words(text) {
        let Some((_, value)) = with.iter().find(|(name, _)| *name == word) else { continue };
        filled.push_str(&text[from..at]);
        filled.push_str(value);
        from = at + word.len() + 2;
    }
    filled.push_str(&text[from..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::sample::COLUMNS;

    fn table(name: &str, create: &str) -> Output {
        let secrets = BTreeMap::from([("password".to_owned(), Secret::new("it's {place}"))]);
        Output::Table { name: name.to_owned(), create: Some(create.to_owned()), secrets }
    }

    #[test]
    fn statements_have_their_words_filled_in_once() {
        let output = table("pg_{place}", "CREATE TABLE {table} ('{place}', '{password}', '{truncate}', {}, {other})");
        let (name, sql) = output.creation(Engine::Spark, "canary__0a", Mode::Truncate).expect("fits").expect("made");
        assert_eq!(name, "pg_canary__0a");
        assert_eq!(sql, "CREATE TABLE pg_canary__0a ('canary__0a', 'it\\'s {place}', 'true', {}, {other})");
    }

    #[test]
    fn each_mode_and_dialect_has_its_statement() {
        let output = table("t", "");
        let start = |engine, mode| {
            let sql = output.insert(engine, "t", mode, &COLUMNS, "SELECT 1").expect("possible");
            (sql.split_once(" (marker").map_or(sql.clone(), |(start, _)| start.to_owned()), sql.ends_with(" SELECT 1"))
        };
        assert_eq!(start(Engine::Spark, Mode::Append), ("INSERT INTO TABLE t".to_owned(), true));
        assert_eq!(start(Engine::Hive, Mode::Append), ("INSERT INTO TABLE t SELECT 1".to_owned(), true));
        assert!(
            output
                .insert(Engine::Spark, "t", Mode::Replace, &COLUMNS, "SELECT 1")
                .is_err_and(|why| why.contains("{place}"))
        );
        let output = table("pg_{place}", "");
        let sql = output.insert(Engine::Impala, "c__1", Mode::Replace, &COLUMNS, "SELECT 1").expect("possible");
        assert!(sql.starts_with("INSERT OVERWRITE TABLE pg_c__1 (marker, row_no"), "{sql}");
        assert!(output.insert(Engine::Spark, "c__1", Mode::Update, &COLUMNS, "SELECT 1").is_err());
    }

    #[test]
    fn a_place_that_would_end_a_literal_or_leave_its_folder_is_refused() {
        let output = Output::Directory { path: "/out/{place}".to_owned(), local: true, clause: "USING csv".to_owned() };
        let sql = output.insert(Engine::Spark, "p/m.csv", Mode::Append, &COLUMNS, "SELECT 1").expect("possible");
        assert_eq!(sql, "INSERT OVERWRITE LOCAL DIRECTORY '/out/p/m.csv' USING csv SELECT 1");
        for bad in ["", "a'b", "a\\", "../a", "a/../b", "${x}", "a;b", "a\nb"] {
            assert!(output.insert(Engine::Spark, bad, Mode::Append, &COLUMNS, "SELECT 1").is_err(), "{bad}");
        }
        assert!(table("pg_{place}", "").insert(Engine::Spark, "a-b", Mode::Append, &COLUMNS, "SELECT 1").is_err());
    }
}

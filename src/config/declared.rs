//! Declarations: every `[platform.NAME]`, `[target.NAME]`, `[canary.NAME]`, `[notify.NAME]` and
//! `[[silence]]` of all files, merged.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{decode::kind_of, file::in_order, near, problem::Problems, section::Section};

/// One `[platform.NAME]` or its like.
pub(super) struct Declared<'t> {
    /// NAME and its place.
    pub name: Spanned<&'t str>,
    /// The table.
    pub section: Section<'t>,
}

/// Everything that the files declare, in the order of files and places.
#[derive(Default)]
pub(super) struct Declarations<'t> {
    pub platforms: Vec<Declared<'t>>,
    pub targets: Vec<Declared<'t>>,
    pub canaries: Vec<Declared<'t>>,
    pub notifiers: Vec<Declared<'t>>,
    pub silences: Vec<Section<'t>>,
    /// `[dogfood]`, of all files: one is enough.
    pub dogfood: Vec<Declared<'t>>,
}

/// The tables of a file, with what each declares.
const TABLES: [&str; 8] = ["agent", "web", "platform", "target", "canary", "dogfood", "notify", "silence"];

/// Collects what the files declare. The first is the config file itself, the only one that may
/// have an `[agent]` and a `[web]`.
pub(super) fn collect<'t>(files: &'t [Section<'t>], problems: &mut Problems) -> Declarations<'t> {
    let mut all = Declarations::default();
    for (nth, file) in files.iter().enumerate() {
        for (key, value) in in_order(file.table.get_ref()) {
            let list = match &**key.get_ref() {
                "agent" | "web" if nth == 0 => continue,
                own @ ("agent" | "web") => {
                    let config = files[0].file.0.display();
                    let hint = format!("move it to {config}");
                    problems.push(file.problem(key.span(), format!("`[{own}]` does not belong here"), Some(hint)));
                    continue;
                }
                "platform" => &mut all.platforms,
                "target" => &mut all.targets,
                "canary" => &mut all.canaries,
                "notify" => &mut all.notifiers,
                "silence" => {
                    declare_silences(file, value, &mut all.silences, problems);
                    continue;
                }
                "dogfood" => {
                    match table(value) {
                        Some(table) => {
                            let section = Section { file: file.file, table: Spanned::new(key.span(), table.clone()) };
                            all.dogfood.push(Declared { name: Spanned::new(key.span(), key.get_ref()), section });
                        }
                        None => {
                            let what = format!("`dogfood` is {}", kind_of(value.get_ref()));
                            problems.push(file.problem(key.span(), what, Some("write [dogfood]".to_owned())));
                        }
                    }
                    continue;
                }
                other => {
                    let hint = near::hint(other, "tables", TABLES);
                    problems.push(file.problem(key.span(), format!("unknown table `{other}`"), Some(hint)));
                    continue;
                }
            };
            declare(file, key.get_ref(), value, list, problems);
        }
    }
    let Declarations { platforms, targets, canaries, notifiers, silences: _, dogfood } = &mut all;
    for (what, list) in [
        ("platform", platforms),
        ("target", targets),
        ("canary", canaries),
        ("notifier", notifiers),
        ("table", dogfood),
    ] {
        refuse_doubles(what, list, problems);
    }
    all
}

fn declare<'t>(
    file: &'t Section<'t>,
    what: &str,
    value: &'t Spanned<DeValue<'t>>,
    list: &mut Vec<Declared<'t>>,
    problems: &mut Problems,
) {
    let Some(tables) = table(value) else {
        let hint = format!("write [{what}.NAME]");
        problems.push(file.problem(value.span(), format!("`{what}` is {}", kind_of(value.get_ref())), Some(hint)));
        return;
    };
    for (name, value) in in_order(tables) {
        let Some(table) = table(value) else {
            let hint = format!("write [{what}.NAME]");
            let wrong = format!("`{what}.{}` is {}", name.get_ref(), kind_of(value.get_ref()));
            problems.push(file.problem(name.span(), wrong, Some(hint)));
            continue;
        };
        let section = Section { file: file.file, table: Spanned::new(name.span(), table.clone()) };
        list.push(Declared { name: Spanned::new(name.span(), name.get_ref()), section });
    }
}

/// Silences have no names: `[[silence]]` is a list.
fn declare_silences<'t>(
    file: &'t Section<'t>,
    value: &'t Spanned<DeValue<'t>>,
    list: &mut Vec<Section<'t>>,
    problems: &mut Problems,
) {
    let mut wrong = |at: std::ops::Range<usize>, what: String| {
        problems.push(file.problem(at, what, Some("write [[silence]] for each".to_owned())));
    };
    let DeValue::Array(entries) = value.get_ref() else {
        return wrong(value.span(), format!("`silence` is {}", kind_of(value.get_ref())));
    };
    for entry in entries.iter() {
        match table(entry) {
            Some(table) => list.push(Section { file: file.file, table: Spanned::new(entry.span(), table.clone()) }),
            None => wrong(entry.span(), format!("a silence is {}", kind_of(entry.get_ref()))),
        }
    }
}

/// TOML itself refuses doubles within a file; between files it is done here.
fn refuse_doubles(what: &str, list: &mut Vec<Declared<'_>>, problems: &mut Problems) {
    let mut first = std::collections::HashMap::new();
    list.retain(|declared| {
        let here = declared.section.problem(declared.name.span(), "", None);
        let name = *declared.name.get_ref();
        let Some((file, (line, column))) = first.get(name) else {
            first.insert(name.to_owned(), (here.file, here.place.unwrap_or((1, 1))));
            return true;
        };
        let file: &std::path::PathBuf = file;
        problems.push(super::Problem {
            what: format!("{what} `{name}` is declared twice"),
            hint: Some(format!("the other is at {}:{line}:{column}; rename one of them", file.display())),
            ..here
        });
        false
    });
}

/// The table that a value is, if it is one.
pub(super) fn table<'a, 't>(value: &'a Spanned<DeValue<'t>>) -> Option<&'a DeTable<'t>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

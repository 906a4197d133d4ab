//! Answers: what flags say, or a person, until a draft is whole and nothing is wrong with it.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{
    Args,
    ask::{Asker, Question},
    draft::Draft,
    model::{self, MODELS, Model},
    sheet::{Field, Source, Value},
};
use crate::{
    canary::{PlatformName, TargetName, time::parse_duration},
    cli::{exit::Usage, kinds},
    target::webhook::Intake,
};

impl Draft {
    /// What flags say and answers, until nothing is wrong with it.
    pub(super) fn asked(args: &Args, asker: &Asker) -> Result<Self> {
        let models = MODELS.map(|model| (model.name, model.about));
        let question = ask("--platform", "Platform", model::USUAL);
        let chosen = asker.choose(&question, args.platform.as_deref(), &models)?;
        let model = Model::of(chosen).context("one of them")?;
        let name = |text: &str| PlatformName::new(text).map(|_| text.to_owned()).map_err(|why| why.to_string());
        let question = ask("--platform-name", "Its name", model.called);
        let platform = asker.settle(&question, args.platform_name.as_deref(), name)?;
        let intake = Intake::new();
        let targets = kinds::kinds(&intake).targets.into_iter().map(|kind| (kind.name, kind.landing.1));
        let targets: Vec<(&'static str, &'static str)> = targets.collect();
        let possible: Vec<(&'static str, &str)> =
            targets.iter().filter(|(name, _)| model.writes_to(name)).map(|(name, _)| (*name, "")).collect();
        if let Some(kind) = args.target.as_deref()
            && targets.iter().any(|(name, _)| *name == kind)
            && !model.writes_to(kind)
        {
            let names: Vec<&str> = possible.iter().map(|(name, _)| *name).collect();
            let what = format!("--target: {} cannot write to {kind} here; it can to {}", model.name, names.join(", "));
            return Err(Usage(what).into());
        }
        let target_kind = asker.choose(&ask("--target", "Target", "postgresql"), args.target.as_deref(), &possible)?;
        let target_example = targets.iter().find(|(name, _)| *name == target_kind).context("one of them")?.1;
        let mut draft = Draft {
            model,
            platform,
            labels: model.labels(),
            platform_keys: Vec::new(),
            target_kind,
            target_example,
            target: usual_name(target_kind).to_owned(),
            target_keys: Vec::new(),
            every: "1m".to_owned(),
            objective: args.objective.clone(),
            deadline: args.deadline.clone(),
            listen: "127.0.0.1:9440".to_owned(),
        };
        draft.ask_platform(args, asker)?;
        draft.ask_target(args, asker)?;
        draft.ask_rest(args, asker)?;
        Ok(draft)
    }

    fn ask_platform(&mut self, args: &Args, asker: &Asker) -> Result<()> {
        let endpoint = args.endpoint.iter().map(|url| format!("endpoint={url}"));
        let said: Vec<String> = endpoint.chain(args.platform_set.iter().cloned()).collect();
        let usual = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        let labels = (!args.labels.is_empty()).then(|| args.labels.join(" "));
        let question = Question {
            about: Some("NAME=VALUE …: whatever can break on its own deserves one"),
            ..ask("--label", "Labels", &usual)
        };
        self.labels = match &labels {
            // A value of a flag may have spaces.
            Some(_) => args
                .labels
                .iter()
                .map(|text| pair(text))
                .collect::<Result<_, _>>()
                .map_err(|why| Usage(format!("--label: {why}")))?,
            None => asker.settle(&question, None, |text| text.split_whitespace().map(pair).collect())?,
        };
        self.platform_keys = keys("--platform-set", &said, &self.platform_fields())?;
        let fields = |draft: &Self| draft.platform_fields();
        self.ask_fields(asker, "--platform-set", fields, |draft| &mut draft.platform_keys)
    }

    fn ask_target(&mut self, args: &Args, asker: &Asker) -> Result<()> {
        let name = |text: &str| TargetName::new(text).map(|_| text.to_owned()).map_err(|why| why.to_string());
        let usual = self.target.clone();
        let question = ask("--target-name", "Name of the target", &usual);
        self.target = asker.settle(&question, args.target_name.as_deref(), name)?;
        self.target_keys = keys("--target-set", &args.target_set, &self.target_fields())?;
        let fields = |draft: &Self| draft.target_fields();
        self.ask_fields(asker, "--target-set", fields, |draft| &mut draft.target_keys)
    }

    /// Asks for a table's keys that no flag has said; all of them again, if they are wrong together.
    fn ask_fields(
        &mut self,
        asker: &Asker,
        flag: &str,
        fields: impl Fn(&Self) -> Vec<Field>,
        said: impl Fn(&mut Self) -> &mut Vec<(String, Option<Value>)>,
    ) -> Result<()> {
        loop {
            for field in fields(self) {
                if said(self).iter().any(|(key, _)| *key == field.key) {
                    continue;
                }
                let value = asker.settle(&question_of(flag, &field).asked(), None, |text| value(text, Some(&field)))?;
                said(self).push((field.key, value));
            }
            let problems = self.problems()?;
            if problems.is_empty() {
                return Ok(());
            }
            if !asker.can_ask() {
                return Err(Usage(kinds::text(&problems)).into());
            }
            problems.iter().for_each(|problem| {
                asker.say(&format!("  {}", problem.what));
                problem.hint.iter().for_each(|hint| asker.say(&format!("    {hint}")));
            });
            // What was said is asked again.
            said(self).clear();
        }
    }

    fn ask_rest(&mut self, args: &Args, asker: &Asker) -> Result<()> {
        for (flag, length) in [("--objective", &args.objective), ("--deadline", &args.deadline)] {
            if let Some(length) = length {
                parse_duration(length).map_err(|why| Usage(format!("{flag}: {why}")))?;
            }
        }
        // What a schedule or an address may be, the config knows.
        let fits = |change: &dyn Fn(&mut Self)| -> Result<(), String> {
            let mut draft = self.clone();
            change(&mut draft);
            let problems = draft.problems().map_err(|error| error.to_string())?;
            let told = |problem: &crate::config::Problem| match &problem.hint {
                Some(hint) => format!("{}; {hint}", problem.what),
                None => problem.what.clone(),
            };
            if problems.is_empty() { Ok(()) } else { Err(problems.iter().map(told).collect::<Vec<_>>().join("\n  ")) }
        };
        let question = Question {
            about: Some("how often a query is sent: sooner noticed, and more runs"),
            ..ask("--every", "Every", "1m")
        };
        let every = asker.settle(&question, args.every.as_deref(), |text| {
            fits(&|draft| draft.every = text.to_owned()).map(|()| text.to_owned())
        })?;
        let question =
            Question { about: Some("pages and API of the agent"), ..ask("--listen", "Listen", "127.0.0.1:9440") };
        let listen = asker.settle(&question, args.listen.as_deref(), |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| "that is not an address and a port, such as 127.0.0.1:9440".to_owned())?;
            fits(&|draft| draft.listen = text.to_owned()).map(|()| text.to_owned())
        })?;
        (self.every, self.listen) = (every, listen);
        Ok(())
    }
}

fn ask<'a>(flag: &'a str, what: &'a str, usual: &'a str) -> Question<'a> {
    Question { flag, what, about: None, usual }
}

/// A question for a key of a table, with its own words.
struct Keyed {
    flag: String,
    what: String,
    about: Option<String>,
    usual: String,
}

impl Keyed {
    fn asked(&self) -> Question<'_> {
        Question { flag: &self.flag, what: &self.what, about: self.about.as_deref(), usual: &self.usual }
    }
}

fn question_of(flag: &str, field: &Field) -> Keyed {
    let (what, about, usual) = match &field.value {
        Value::Text(text) | Value::Word(text) => (field.key.clone(), field.comment.clone(), text.clone()),
        Value::Secret(source) => {
            let about = place_of(source, field.comment.as_deref().unwrap_or_default());
            (format!("Where {} is", field.key), Some(about), source.typed())
        }
    };
    Keyed { flag: format!("{flag} {}=…", field.key), what, about, usual }
}

/// How the place of a secret is typed, and what the example says of it. What it says in TOML is for its file.
fn place_of(source: &Source, comment: &str) -> String {
    let file = comment.strip_prefix("or { file = \"").and_then(|rest| rest.split('"').next()).unwrap_or("PATH");
    let variable = match source {
        Source::Env(name) => name,
        Source::File(_) => "NAME",
    };
    let typed = format!("a variable of the environment, as {variable}, or a file, as file:{file}");
    let told = comment.split("; ").filter(|part| !part.is_empty() && !part.contains('{'));
    std::iter::once(typed.as_str()).chain(told).collect::<Vec<_>>().join("; ")
}

/// Keys that flags say.
fn keys(flag: &str, said: &[String], fields: &[Field]) -> Result<Vec<(String, Option<Value>)>> {
    let mut keys: Vec<(String, Option<Value>)> = Vec::new();
    for text in said {
        // What stands behind the `=` may be a secret, by mistake.
        let (key, typed) = text.split_once('=').ok_or_else(|| Usage(format!("{flag}: write KEY=VALUE")))?;
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_key {
            return Err(Usage(format!("{flag}: a key has lower-case letters, digits and `_`")).into());
        }
        if keys.iter().any(|(known, _)| known == key) {
            return Err(Usage(format!("{flag}: `{key}` is there twice")).into());
        }
        let field = fields.iter().find(|field| field.key == key);
        let value = value(typed, field).map_err(|why| Usage(format!("{flag} {key}: {why}")))?;
        keys.push((key.to_owned(), value));
    }
    Ok(keys)
}

/// A value as it is typed; none leaves its key out.
fn value(typed: &str, field: Option<&Field>) -> Result<Option<Value>, String> {
    let is_word = matches!(typed, "true" | "false") || (!typed.is_empty() && typed.chars().all(|c| c.is_ascii_digit()));
    let names_place = typed.starts_with("env:") || typed.starts_with("file:");
    Ok(match field.map(|field| &field.value) {
        _ if typed == "-" => None,
        _ if typed.chars().any(char::is_control) => return Err("that has control characters".to_owned()),
        Some(Value::Secret(_)) => Some(Value::Secret(Source::read(typed)?)),
        _ if names_place => Some(Value::Secret(Source::read(typed)?)),
        None if is_word => Some(Value::Word(typed.to_owned())),
        _ => Some(Value::Text(typed.to_owned())),
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = pair.ok_or("write NAME=VALUE, such as worker=v6")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What a target of a kind is called, if nothing is said.
fn usual_name(kind: &str) -> &'static str {
    match kind {
        "mysql" => "shop",
        "object-store" => "bucket",
        "sftp" => "drop",
        "treasure-data-table" => "lake",
        "webhook" => "web",
        _ => "warehouse",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_for_a_secret_is_what_can_be_typed() {
        let variable = Source::Env("TD_API_KEY".to_owned());
        let typed = "a variable of the environment, as TD_API_KEY, or a file, as";
        for (comment, hint) in [
            ("or { file = \"td.key\" }; a master key", "file:td.key; a master key"),
            ("or key = { file = \"id_ed25519\" }", "file:PATH"),
            ("how the agent reads: mysql://HOST", "file:PATH; how the agent reads: mysql://HOST"),
            ("", "file:PATH"),
        ] {
            assert_eq!(place_of(&variable, comment), format!("{typed} {hint}"));
        }
    }

    #[test]
    fn no_hint_is_toml_and_every_address_in_one_is_whole() {
        for model in &MODELS {
            let sheet = model.sheet(model.called, "warehouse", "postgresql");
            for field in sheet.fields(&format!("platform.{}.{}", model.called, model.kind)) {
                let about = question_of("--platform-set", &field).about.unwrap_or_default();
                assert!(!about.contains('{'), "{}: {about}", field.key);
                assert!(!about.split(' ').any(|word| word.starts_with("api.")), "{}: {about}", field.key);
            }
        }
    }
}

//! `landfall init`: a first config, by asking or from flags, checked before it is written. It never takes a secret,
//! only where one is, and writes over nothing.

mod ask;
mod draft;
mod model;
mod sheet;

use std::{
    env, fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use self::{
    ask::{Asker, Question},
    draft::Draft,
    model::{MODELS, Model},
    sheet::{Field, Source, Value},
};
use super::{
    check,
    exit::{Usage, answered},
    kinds,
};
use crate::{
    canary::{PlatformName, TargetName, time::parse_duration},
    target::webhook::Intake,
};

/// Writes a first config: landfall.toml, and a canary from one platform to one target in probes/.
///
/// Asks at a terminal; every question has a flag, and --yes takes what is usual for those that have no answer. Secrets
/// are never asked for, only in which environment variable or file they are. Nothing is written over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  landfall init                                       asks
  landfall init mon --platform trino --target postgresql --endpoint https://trino.example.com --yes
  landfall init mon --yes --target-set url=env:WAREHOUSE --platform-set password=file:trino.password

Exit codes: those of `landfall check`, which it ends with; 2 if nothing was written")]
pub struct Args {
    /// The folder; made if it is not there.
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// The kind of platform: treasure-data, trino, presto, hiveserver2, spark or http-job.
    #[arg(long, value_name = "KIND")]
    platform: Option<String>,
    /// What the platform is called; its canary too.
    #[arg(long, value_name = "NAME")]
    platform_name: Option<String>,
    /// A label of the platform, such as worker=v6. May be given again.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Where the platform is: the same as --platform-set endpoint=URL.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A key of the platform's own table. A secret is env:NAME or file:PATH, as seen from probes/; `-` leaves the key
    /// out. May be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    platform_set: Vec<String>,
    /// The kind of target: mysql, object-store, postgresql, sftp, treasure-data-table or webhook.
    #[arg(long, value_name = "KIND")]
    target: Option<String>,
    /// What the target is called.
    #[arg(long, value_name = "NAME")]
    target_name: Option<String>,
    /// A key of the target's own table, likewise.
    #[arg(long, value_name = "KEY=VALUE")]
    target_set: Vec<String>,
    /// How often a query is sent.
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
    /// How soon its rows must be there [default: the example's]
    #[arg(long, value_name = "TIME")]
    objective: Option<String>,
    /// When waiting for them ends [default: the example's]
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Where the agent's pages and API listen.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Asks nothing: what no flag says is as usual.
    #[arg(long)]
    yes: bool,
}

/// `landfall init`.
pub fn init(args: &Args) -> Result<u8> {
    refuse_what_is_there(&args.folder)?;
    let draft = Draft::asked(args, &Asker::new(args.yes))?;
    let written = draft::write(&args.folder, &draft.files()).map_err(|error| Usage(format!("{error:#}")))?;
    let mut out = io::stdout();
    let told = written.iter().try_for_each(|path| writeln!(out, "wrote {}", path.display()));
    answered(told.and_then(|()| writeln!(out)), 0)?;

    let config = args.folder.join("landfall.toml");
    let missing: Vec<(Source, String)> =
        draft.secrets().into_iter().filter(|(source, _)| !is_there(source, &args.folder)).collect();
    let code = check::check(&check::Args::plain(&config, !missing.is_empty()))?;
    answered(next(&draft, &config, &missing), code)
}

/// Nothing is written over, and nothing that stands there is watched by accident.
fn refuse_what_is_there(folder: &Path) -> Result<()> {
    let elsewhere = "choose another folder: landfall init DIR";
    if folder.join("landfall.toml").symlink_metadata().is_ok() {
        let path = folder.join("landfall.toml");
        return Err(
            Usage(format!("`{}` is there already, and is not written over; {elsewhere}", path.display())).into()
        );
    }
    let probes = folder.join("probes");
    for entry in fs::read_dir(&probes).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "toml") {
            let path = entry.path();
            return Err(
                Usage(format!("`{}` is there already, and would be watched too; {elsewhere}", path.display())).into()
            );
        }
    }
    Ok(())
}

/// Whether a secret is where the config says. Whether it is right is another question.
fn is_there(source: &Source, folder: &Path) -> bool {
    match source {
        Source::Env(name) => env::var_os(name).is_some_and(|value| !value.is_empty()),
        Source::File(path) => folder.join("probes").join(path).is_file(),
    }
}

/// What is to be done next.
fn next(draft: &Draft, config: &Path, missing: &[(Source, String)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !missing.is_empty() {
        writeln!(out, "\nSecrets that it needs and were not read, since they are not there yet:")?;
        for (source, wanted) in missing {
            let place = match source {
                Source::Env(name) => format!("environment variable {name}"),
                Source::File(path) => format!("file probes/{path}"),
            };
            writeln!(out, "  {place}: {wanted}")?;
        }
    }
    let config = config.display();
    writeln!(out, "\nNext:")?;
    if !draft.model.left.is_empty() {
        writeln!(out, "  probes/{}.toml: {}", draft.platform, draft.model.left)?;
    }
    if draft.target_kind == "webhook" {
        writeln!(
            out,
            "  the platform must reach the agent: `intake` in [agent], `intake_url` in probes/{}.toml",
            draft.platform
        )?;
    }
    writeln!(out, "  landfall check --live -c {config}    asks platform and target whether they are there")?;
    writeln!(out, "  landfall verify -c {config}          sends one query, and reads what lands")?;
    writeln!(out, "  landfall run -c {config}             watches; then: landfall status --watch")
}

impl Draft {
    /// What flags say and answers, until nothing is wrong with it.
    fn asked(args: &Args, asker: &Asker) -> Result<Self> {
        let models = MODELS.map(|model| (model.name, model.about));
        let question = ask("--platform", "Platform", model::USUAL);
        let chosen = asker.choose(&question, args.platform.as_deref(), &models)?;
        let model = Model::of(chosen).context("one of them")?;
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
            platform: model.called.to_owned(),
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
        let name = |text: &str| PlatformName::new(text).map(|_| text.to_owned()).map_err(|why| why.to_string());
        let question = ask("--platform-name", "Its name", self.model.called);
        self.platform = asker.settle(&question, args.platform_name.as_deref(), name)?;
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
    let (what, usual) = match &field.value {
        Value::Text(text) | Value::Word(text) => (field.key.clone(), text.clone()),
        Value::Secret(source) => {
            (format!("Where {} is: an environment variable, or file:PATH", field.key), source.typed())
        }
    };
    Keyed { flag: format!("{flag} {}=…", field.key), what, about: field.comment.clone(), usual }
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

//! Draft: a first config as it stands so far, and what is wrong with it by the rules of every config.

use std::{env, fs, io, path::PathBuf, time::Duration};

use super::{
    folder::Passing,
    model::Model,
    sheet::{self, Field, Sheet, Source, Value, quoted},
};
use crate::{
    canary::time::parse_duration,
    cli::{kinds, schema},
    config::{Problems, worst_detection},
    target::webhook::Intake,
};

/// Said in both files.
const HEAD: &str = "# Written by `landfall init`.";

/// What is written, chosen by now.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) model: &'static Model,
    /// What the platform is called, and its canary.
    pub(super) platform: String,
    pub(super) labels: Vec<(String, String)>,
    /// Keys of the kind's own table that were said.
    pub(super) platform_keys: Vec<(String, Option<Value>)>,
    /// The kind of target, and its example.
    pub(super) target_kind: &'static str,
    pub(super) target_example: &'static str,
    pub(super) target: String,
    pub(super) target_keys: Vec<(String, Option<Value>)>,
    pub(super) every: String,
    pub(super) objective: Option<String>,
    pub(super) deadline: Option<String>,
    pub(super) listen: String,
}

impl Draft {
    /// `platform.NAME.KIND`.
    pub(super) fn platform_table(&self) -> String {
        format!("platform.{}.{}", self.platform, self.model.kind)
    }

    /// `target.NAME.KIND`.
    pub(super) fn target_table(&self) -> String {
        format!("target.{}.{}", self.target, self.target_kind)
    }

    fn platform_sheet(&self) -> Sheet {
        let mut sheet = self.model.sheet(&self.platform, &self.target, self.target_kind);
        let (table, canary) = (self.platform_table(), format!("canary.{}", self.platform));
        let labels = self.labels.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
        let labels = format!("{{ {} }}", labels.collect::<Vec<_>>().join(", "));
        sheet.set(&format!("platform.{}", self.platform), "labels", &labels);
        for (key, value) in &self.platform_keys {
            change(&mut sheet, &table, key, value.as_ref());
        }
        let lengths = [("every", Some(&self.every)), ("objective", self.objective.as_ref())];
        for (key, length) in lengths.into_iter().chain([("deadline", self.deadline.as_ref())]) {
            length.iter().for_each(|length| sheet.set(&canary, key, &quoted(length)));
        }
        sheet
    }

    fn target_sheet(&self) -> Sheet {
        let in_environment = self.target.to_ascii_uppercase().replace('-', "_");
        let text = self.target_example.replace("NAME", &self.target).replace("ENV", &in_environment);
        let mut sheet = Sheet::new(&text);
        for (key, value) in &self.target_keys {
            change(&mut sheet, &self.target_table(), key, value.as_ref());
        }
        sheet
    }

    /// What may be asked of the platform's table: its example's keys.
    pub(super) fn platform_fields(&self) -> Vec<Field> {
        // Which of the two speaks this protocol was chosen already.
        let fields = self.platform_sheet().fields(&self.platform_table());
        fields.into_iter().filter(|field| field.key != "flavor").collect()
    }

    /// What may be asked of the target's table.
    pub(super) fn target_fields(&self) -> Vec<Field> {
        self.target_sheet().fields(&self.target_table())
    }

    /// Secrets that it names: where each is, and which key of which file wants it.
    pub(super) fn secrets(&self) -> Vec<(Source, String)> {
        let mut secrets = Vec::new();
        for (path, text) in
            self.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "toml"))
        {
            for (key, source) in text.lines().flat_map(sheet::secrets) {
                secrets.push((source, format!("{key} in {}", path.display())));
            }
        }
        secrets
    }

    /// The files, by their place in the folder.
    pub(super) fn files(&self) -> [(PathBuf, String); 3] {
        let agent = format!(
            "#:schema ./landfall.schema.json\n{HEAD} What is watched stands in probes/*.toml beside it.\n\
             \n\
             [agent]\n\
             listen        = {}    # pages, API and metrics; behind a proxy, name it: hosts = [\"mon.example.com\"]\n\
             store         = \"landfall.db\"\n\
             probes        = \"probes\"\n\
             detect_within = {}    # every total fault must page within this: `landfall check` says whether\n\
             token         = {{ env = \"LANDFALL_TOKEN\" }}    # who may change something\n\
             \n\
             # Who is told: `landfall drill` tries it. Without a notifier, Prometheus must.\n\
             # [notify.oncall.pagerduty]\n\
             # routing_key = {{ env = \"PAGERDUTY_ROUTING_KEY\" }}\n",
            quoted(&self.listen),
            quoted(&self.within()),
        );
        let target = self.target_sheet().text();
        let probe = format!(
            "#:schema ../landfall.schema.json\n{HEAD} Change it as you like: `landfall check` says whether it is right.\n\n{}\n\
             # Where results must land, as the agent itself reads it.\n{target}",
            self.platform_sheet().text(),
        );
        [
            ("landfall.toml".into(), agent),
            (format!("probes/{}.toml", self.platform).into(), probe),
            // Editors complete and check the others by it.
            ("landfall.schema.json".into(), schema::json()),
        ]
    }

    /// What can be kept: the worst time, and half a minute. Six minutes are soon enough for anybody.
    fn within(&self) -> String {
        let sheet = self.platform_sheet();
        let canary = format!("canary.{}", self.platform);
        let length = |key: &str| parse_duration(sheet.written(&canary, key)?.trim_matches('"')).ok();
        let worst = length("every")
            .zip(length("objective"))
            .map(|(every, objective)| worst_detection(every, objective, Duration::ZERO).as_secs() + 30);
        let minutes = worst.unwrap_or_default().div_ceil(60).max(6);
        format!("{minutes}m")
    }

    /// What is wrong with it, by the rules of every config. Secrets are not read.
    pub(super) fn problems(&self) -> io::Result<Problems> {
        let folder = Passing::within(&env::temp_dir())?;
        for (path, text) in self.files() {
            let path = folder.0.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text)?;
        }
        let mut problems = kinds::load(&folder.0.join("landfall.toml"), &Intake::new(), true).err().unwrap_or_default();
        for problem in &mut problems {
            if let Ok(path) = problem.file.strip_prefix(&folder.0) {
                problem.file = path.to_owned();
            }
        }
        Ok(problems)
    }
}

fn change(sheet: &mut Sheet, table: &str, key: &str, value: Option<&Value>) {
    match value {
        Some(value) => sheet.set(table, key, &value.toml()),
        None => sheet.leave_out(table, key),
    }
}

/// A key as TOML has it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

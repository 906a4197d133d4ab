//! Models: the kinds of platforms that a first config can begin with, each an example from `probes/`, and the targets
//! that each can write to.

use super::sheet::Sheet;

/// A platform to begin with.
#[derive(Debug)]
pub(super) struct Model {
    /// As it is chosen.
    pub(super) name: &'static str,
    /// What that is, in a line.
    pub(super) about: &'static str,
    /// What platform and canary are called in the example.
    pub(super) called: &'static str,
    /// The kind, as its table is called.
    pub(super) kind: &'static str,
    /// The kinds of targets that it can write to; none: every kind.
    targets: Option<&'static [&'static str]>,
    /// What it calls a target, if it knows targets by names of its own.
    output: Option<fn(Target<'_>) -> String>,
    /// What there is left to change in the file.
    pub(super) left: &'static str,
    text: &'static str,
}

/// A target that a platform has a name for.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'a str,
    kind: &'a str,
}

/// The one that is offered first.
pub(super) const USUAL: &str = "treasure-data";

/// All of them.
pub(super) const MODELS: [Model; 6] = [
    Model {
        name: USUAL,
        about: "Treasure Data, Presto, Trino or Hive (`engine`)",
        called: "presto",
        kind: "treasure-data",
        targets: None,
        output: None,
        left: "",
        text: include_str!("../../../probes/presto.toml"),
    },
    Model {
        name: "trino",
        about: "a Trino cluster of your own",
        called: "trino",
        kind: "trino",
        targets: Some(&["mysql", "postgresql"]),
        output: Some(schema),
        left: "what the cluster calls the target stands in `outputs`, as catalog.schema",
        text: include_str!("../../../probes/trino.toml"),
    },
    Model {
        name: "presto",
        about: "a Presto cluster of your own",
        called: "presto-selfhosted",
        kind: "trino",
        targets: Some(&["mysql", "postgresql"]),
        output: Some(schema),
        left: "what the cluster calls the target stands in `outputs`, as catalog.schema",
        text: include_str!("../../../probes/presto-selfhosted.toml"),
    },
    Model {
        name: "hiveserver2",
        about: "Hive, Kyuubi or Impala",
        called: "hiveserver2",
        kind: "hiveserver2",
        targets: Some(&["mysql", "object-store", "postgresql"]),
        output: Some(table_or_directory),
        left: "through which table or directory the engine writes stands in `outputs`",
        text: include_str!("../../../probes/hiveserver2.toml"),
    },
    Model {
        name: "spark",
        about: "Spark's Thrift Server",
        called: "spark-thrift",
        kind: "hiveserver2",
        targets: Some(&["postgresql"]),
        output: None,
        left: "how Spark reaches the target stands in `outputs`: its URL, user and password",
        text: include_str!("../../../probes/spark-thrift.toml"),
    },
    Model {
        name: "http-job",
        about: "any job API over HTTP",
        called: "jobs",
        kind: "http-job",
        targets: None,
        output: Some(|target| super::sheet::quoted(target.name)),
        left: "what the API is asked, and where its answers say what: change `submit`, `look` and the others until they fit",
        text: include_str!("../../../probes/http-job.toml"),
    },
];

/// What the example's target is called in it.
const TARGET: &str = "warehouse";

impl Model {
    /// The model of a name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// Whether it can write to a target of this kind.
    pub(super) fn writes_to(&self, kind: &str) -> bool {
        self.targets.is_none_or(|kinds| kinds.contains(&kind))
    }

    /// The example's labels.
    pub(super) fn labels(&self) -> Vec<(String, String)> {
        let sheet = Sheet::new(self.text);
        let written = sheet.written(&format!("platform.{}", self.called), "labels").unwrap_or_default();
        let pairs = written.trim_matches(['{', '}', ' ']).split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())).collect()
    }

    /// The example, without its head, under another name, with a target of this name and kind.
    pub(super) fn sheet(&self, name: &str, target: &str, kind: &str) -> Sheet {
        let (called, kind_table, canary) =
            (self.called, format!("platform.{name}.{}", self.kind), format!("canary.{name}"));
        let mut sheet = (Sheet::new(self.text).without_head())
            .renamed(&format!("platform.{called}"), &format!("platform.{name}"))
            .renamed(&format!("canary.{called}"), &canary)
            // Spark's output is a table, the others' a line.
            .renamed(&format!("{kind_table}.outputs.{TARGET}"), &format!("{kind_table}.outputs.{target}"));
        sheet.set(&canary, "platforms", &format!("[{}]", super::sheet::quoted(name)));
        sheet.set(&canary, "targets", &format!("[{}]", super::sheet::quoted(target)));
        if let Some(output) = self.output {
            let table = format!("{kind_table}.outputs");
            sheet.rename_key(&table, TARGET, target);
            sheet.set(&table, target, &output(Target { name: target, kind }));
        }
        sheet
    }
}

/// A catalog of the cluster, and a schema in it.
fn schema(target: Target<'_>) -> String {
    match target.kind {
        "mysql" => "{ schema = \"mysql.canaries\", booleans = \"tinyint\" }".to_owned(),
        _ => "\"postgresql.public\"".to_owned(),
    }
}

fn table_or_directory(target: Target<'_>) -> String {
    match target.kind {
        "object-store" => "{ directory = \"s3a://example/{place}\", \
                           clause = \"ROW FORMAT DELIMITED FIELDS TERMINATED BY ','\" }"
            .to_owned(),
        _ => format!(
            "{{ table = {} }}",
            super::sheet::quoted(&format!("landfall.{}_out", target.name.replace('-', "_")))
        ),
    }
}

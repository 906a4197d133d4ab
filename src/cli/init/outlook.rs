//! Outlook: what is said when a config is written, which secrets are missing and what is to be done next.

use std::{
    env,
    io::{self, Write},
    path::Path,
};

use super::{draft::Draft, sheet::Source};

/// Secrets that a config names and that are not there yet, each with what wants it.
pub(super) fn missing(draft: &Draft, folder: &Path) -> Vec<(Source, String)> {
    draft.secrets().into_iter().filter(|(source, _)| !is_there(source, folder)).collect()
}

/// Whether a secret is where the config says. Whether it is right is another question.
fn is_there(source: &Source, folder: &Path) -> bool {
    match source {
        Source::Env(name) => env::var_os(name).is_some_and(|value| !value.is_empty()),
        Source::File(path) => folder.join("probes").join(path).is_file(),
    }
}

/// What is to be done next.
pub(super) fn next(draft: &Draft, config: &Path, missing: &[(Source, String)]) -> io::Result<()> {
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

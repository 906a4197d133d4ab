//! `landfall init`: a first config, by asking or from flags, checked before it is written. It never takes a secret,
//! only where one is, and writes over nothing.

mod answers;
mod ask;
mod draft;
mod folder;
mod model;
mod outlook;
mod sheet;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;

use self::{ask::Asker, draft::Draft};
use super::{
    check,
    exit::{Usage, answered},
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
    folder::refuse_what_is_there(&args.folder)?;
    folder::refuse_what_cannot_be_written(&args.folder)?;
    let draft = Draft::asked(args, &Asker::new(args.yes))?;
    let written = folder::write(&args.folder, &draft.files()).map_err(|error| Usage(format!("{error:#}")))?;
    let mut out = io::stdout();
    let told = written.iter().try_for_each(|path| writeln!(out, "wrote {}", path.display()));
    answered(told.and_then(|()| writeln!(out)), 0)?;

    let config = args.folder.join("landfall.toml");
    let missing = outlook::missing(&draft, &args.folder);
    let code = check::check(&check::Args::plain(&config, !missing.is_empty()))?;
    answered(outlook::next(&draft, &config, &missing), code)
}

//! `landfall schema`: what a config may hold, for editors and for people.

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;

use super::{exit, kinds::kinds};
use crate::{config, target::webhook::Intake};

/// Says what a config may hold: a JSON Schema for editors, or the reference.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors with Taplo (`Even Better TOML`) check, complete and explain a file whose first line names the schema:
  landfall schema > landfall.schema.json     beside landfall.toml
  #:schema ./landfall.schema.json            in landfall.toml
  #:schema ../landfall.schema.json           in the files of its folder of probes")]
pub struct Args {
    /// How it is written.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON Schema.
    Json,
    /// The reference: docs/configuration.md.
    Markdown,
}

/// Says it.
pub fn schema(args: &Args) -> Result<u8> {
    let text = match args.format {
        Format::Json => json(),
        Format::Markdown => config::reference::markdown(&kinds(&Intake::new())),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(exit::YES)
}

/// The schema as a file holds it.
pub fn json() -> String {
    format!("{:#}\n", config::schema(&kinds(&Intake::new())))
}

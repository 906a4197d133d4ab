//! `landfall completions` and `landfall man`: made from the definitions of the commands themselves.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{
    Cli,
    exit::{Usage, YES, answered},
};

/// Prints what completes commands in a shell. The Debian package brings it along.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Now, in this shell:
  source <(landfall completions bash)
For good:
  landfall completions bash >~/.local/share/bash-completion/completions/landfall
  landfall completions zsh >~/.zfunc/_landfall         with ~/.zfunc in fpath, before compinit
  landfall completions fish >~/.config/fish/completions/landfall.fish")]
pub struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum)]
    shell: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Prints the manual page, or writes one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  landfall man | man -l -
  landfall man --dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// A folder for landfall.1, landfall-run.1 and the others; made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `landfall completions`.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let shell = match args.shell {
        Name::Bash => Shell::Bash,
        Name::Zsh => Shell::Zsh,
        Name::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "landfall", &mut text);
    answered(io::stdout().write_all(&text), YES)
}

/// `landfall man`.
pub fn man(args: &ManArgs) -> Result<u8> {
    if let Some(dir) = &args.dir {
        let unwritable = || Usage(format!("pages cannot be written to `{}`", dir.display()));
        fs::create_dir_all(dir).with_context(unwritable)?;
        clap_mangen::generate_to(Cli::command(), dir).with_context(unwritable)?;
        return Ok(YES);
    }
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    answered(io::stdout().write_all(&page), YES)
}

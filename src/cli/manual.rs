//! `landfall completions` and `landfall man`: made from the definitions of the commands themselves.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory, ValueEnum};
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
    // `help` says what the pages say.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        return answered(io::stdout().write_all(&page(&command)?), YES);
    };
    let unwritable = || Usage(format!("pages cannot be written to `{}`", dir.display()));
    fs::create_dir_all(dir).with_context(unwritable)?;
    write_all(&command, dir).with_context(unwritable)?;
    Ok(YES)
}

/// A page for a command, and for all below it.
fn write_all(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    command.get_subcommands().try_for_each(|below| write_all(below, dir))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_long_help().or(command.get_after_help()) {
        writeln!(page, ".SH NOTES\n.nf")?;
        notes.to_string().lines().try_for_each(|line| writeln!(page, "{}", as_it_is(line)))?;
        writeln!(page, ".fi")?;
    }
    Ok(page)
}

/// A line that roff takes for no command and changes nothing in.
fn as_it_is(line: &str) -> String {
    let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{}", line.replace('\\', "\\e").replace('-', "\\-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stays_as_it_is_in_a_page() {
        assert_eq!(as_it_is(".so x"), "\\&.so x");
        assert_eq!(as_it_is("'a' \\n --b"), "\\&'a' \\en \\-\\-b");
        assert_eq!(as_it_is("  plain · é"), "  plain · é");
    }
}

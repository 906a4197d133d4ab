//! Where the answer is written: stdout, a JUnit file, the summary of a GitHub job. They are opened before anything
//! is sent, and whatever cannot be written afterwards takes nothing from a no.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Format, How, code, github, junit, object, text};
use crate::{
    cli::{
        exit::{NO, UNSURE, Usage},
        plain,
    },
    detect::verification::Verification,
};

/// The papers, opened.
pub(in crate::cli) struct Papers {
    format: Format,
    junit: Option<(PathBuf, File)>,
    summary: Option<(PathBuf, File)>,
}

impl Papers {
    /// Opens what will be written. What was there before stays until then.
    pub(in crate::cli) fn open(how: &How, format: Format) -> Result<Self> {
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|_| format == Format::Github).map(PathBuf::from);
        Ok(Self {
            format,
            junit: how.junit.clone().map(|path| opened(path, "report", false)).transpose()?,
            summary: summary.map(|path| opened(path, "summary", true)).transpose()?,
        })
    }

    /// Writes the answer, on stdout first; the exit code. A no stays a no if it cannot be written; what else cannot
    /// be written was not answered.
    pub(in crate::cli) fn tell(self, found: &Verification) -> u8 {
        let Self { format, junit, summary } = self;
        let code = code(found);
        let mut unwritten = Vec::new();
        let mut note = |what: &str, written: io::Result<()>| {
            // Whoever closed stdout has read enough.
            if let Err(error) = written.or_else(forgiven) {
                unwritten.push(format!("{what} cannot be written: {error}"));
            }
        };
        let mut out = io::stdout().lock();
        let answer = match format {
            Format::Text => text::write(&mut out, found),
            Format::Json => writeln!(out, "{}", plain::json(&object(found))),
            Format::Github => {
                let printed = if summary.is_none() { github::summary(found) } else { String::new() };
                out.write_all((github::annotations(found) + &printed).as_bytes())
            }
        };
        note("the answer", answer.and_then(|()| out.flush()));
        if let Some((path, file)) = junit {
            note(&named("report", &path), replaced(file, &junit::text(found)));
        }
        if let Some((path, mut file)) = summary {
            note(&named("summary", &path), file.write_all(github::summary(found).as_bytes()));
        }
        for unwritten in &unwritten {
            let _ = writeln!(io::stderr(), "error: {unwritten}");
        }
        if unwritten.is_empty() || code == NO { code } else { UNSURE }
    }
}

fn forgiven(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

fn named(what: &str, path: &Path) -> String {
    format!("the {what} `{}`", path.display())
}

fn opened(path: PathBuf, what: &str, adds: bool) -> Result<(PathBuf, File)> {
    let mut how = OpenOptions::new();
    how.create(true);
    let how = if adds { how.append(true) } else { how.write(true).truncate(false) };
    let unwritable = || Usage(format!("{} cannot be written", named(what, &path)));
    let file = how.open(&path).with_context(unwritable)?;
    Ok((path, file))
}

fn replaced(mut file: File, text: &str) -> io::Result<()> {
    // A pipe has no length, and nothing before.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    file.write_all(text.as_bytes())
}

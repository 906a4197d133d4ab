//! Asking: questions at a terminal, each of which a flag answers too.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anyhow::Result;

use crate::{
    cli::{exit::Usage, paint::Paint},
    config::nearest,
};

/// Longest answer.
const LONGEST: u64 = 4_096;

/// Whoever can be asked, if anybody.
pub(super) struct Asker {
    /// Nobody is asked; defaults are taken.
    pub(super) takes_defaults: bool,
    is_terminal: bool,
    paint: Paint,
}

/// A question.
pub(super) struct Question<'a> {
    /// The flag that answers it.
    pub(super) flag: &'a str,
    /// What is asked.
    pub(super) what: &'a str,
    /// What that is good for.
    pub(super) about: Option<&'a str>,
    /// What is taken if nothing is said.
    pub(super) usual: &'a str,
}

impl Asker {
    pub(super) fn new(takes_defaults: bool) -> Self {
        let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { takes_defaults, is_terminal, paint: Paint::of(&io::stderr()) }
    }

    /// Whether a wrong answer may be followed by a better one.
    pub(super) fn can_ask(&self) -> bool {
        self.is_terminal && !self.takes_defaults
    }

    /// What a flag says, or a person, or what is usual; asked again until it is taken.
    pub(super) fn settle<T>(
        &self,
        question: &Question<'_>,
        said: Option<&str>,
        take: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T> {
        let flag = question.flag;
        if let Some(said) = said {
            return take(said).map_err(|why| Usage(format!("{flag}: {why}")).into());
        }
        if self.takes_defaults {
            return take(question.usual).map_err(|why| Usage(format!("{flag}: {why}")).into());
        }
        if !self.is_terminal {
            let nobody = "and nobody can be asked: this is no terminal; --yes takes what is usual";
            return Err(Usage(format!("{flag} is not said ({}), {nobody}", question.what)).into());
        }
        loop {
            match self.ask(question)?.and_then(|answer| take(&answer)) {
                Ok(taken) => return Ok(taken),
                Err(why) => self.say(&format!("  {why}")),
            }
        }
    }

    /// One of these.
    pub(super) fn choose<'n>(
        &self,
        question: &Question<'_>,
        said: Option<&str>,
        names: &[(&'n str, &str)],
    ) -> Result<&'n str> {
        if said.is_none() && self.can_ask() {
            let wide = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            names.iter().for_each(|(name, about)| self.say(format!("  {name:wide$}  {about}").trim_end()));
        }
        self.settle(question, said, |text| {
            let found = names.iter().find(|(name, _)| *name == text);
            found.map(|(name, _)| *name).ok_or_else(|| {
                let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                let near = nearest(text, all.iter().copied()).map(|word| format!("; did you mean `{word}`?"));
                format!("that is none of {}{}", all.join(", "), near.unwrap_or_default())
            })
        })
    }

    /// A line for whoever answers.
    pub(super) fn say(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// One answer; the inner error is what is wrong with it.
    fn ask(&self, question: &Question<'_>) -> Result<Result<String, String>> {
        let Question { what, about, usual, .. } = question;
        let about = about.map(|about| format!(" ({about})")).unwrap_or_default();
        let mut err = io::stderr();
        write!(err, "{}{} [{usual}]: ", self.paint.strong(what), self.paint.faint(&about))?;
        err.flush()?;
        let mut line = Vec::new();
        io::stdin().lock().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            let _ = writeln!(err);
            return Err(Usage("broken off: nothing was written".to_owned()).into());
        }
        let Ok(text) = String::from_utf8(line) else { return Ok(Err("that is no text".to_owned())) };
        let text = text.trim();
        Ok(match text {
            "" => Ok((*usual).to_owned()),
            text if text.chars().any(char::is_control) => Err("that has control characters: type it again".to_owned()),
            text => Ok(text.to_owned()),
        })
    }
}

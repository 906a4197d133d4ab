//! The dialect as it is written in a config, the same for every target that holds files.

use std::ops::Range;

use crate::{
    config::{Opening, Problems, Spanned},
    target::{
        decode::Format,
        dialect::{Compression, Dialect, Newline, Quotes},
    },
};

/// What files hold, unless the config says otherwise.
pub(in crate::target) const FORMAT: Format = Format::Csv;
/// Whether the platform writes a header, unless the config says otherwise.
pub(in crate::target) const HEADER: bool = true;

/// The keys of a dialect.
pub(in crate::target) struct Written<'a> {
    pub(in crate::target) format: Option<Format>,
    pub(in crate::target) compression: Option<Compression>,
    pub(in crate::target) header: Option<bool>,
    pub(in crate::target) delimiter: Option<&'a Spanned<String>>,
    pub(in crate::target) quote_policy: Option<&'a Spanned<Quotes>>,
    pub(in crate::target) escape: Option<&'a Spanned<String>>,
    pub(in crate::target) null_text: Option<&'a Spanned<String>>,
    pub(in crate::target) newline: Option<Newline>,
}

/// Reads what is written, and notes what is wrong with it.
pub(in crate::target) struct Reading<'a, 'o> {
    pub(in crate::target) opening: &'a Opening<'o>,
    pub(in crate::target) problems: Problems,
}

impl Reading<'_, '_> {
    pub(in crate::target) fn wrong<T>(&mut self, at: Range<usize>, what: impl Into<String>, hint: &str) -> Option<T> {
        self.problems.push(self.opening.section.problem(at, what, Some(hint.to_owned())));
        None
    }

    /// The dialect; none if something is wrong with it.
    pub(in crate::target) fn dialect(&mut self, written: Written<'_>) -> Option<Dialect> {
        let known = self.problems.len();
        let format = written.format.unwrap_or(FORMAT);
        let mut dialect = Dialect {
            compression: written.compression.unwrap_or_default(),
            header: written.header.unwrap_or(HEADER),
            newline: written.newline,
            ..Dialect::of(format)
        };
        if let Some(text) = written.delimiter {
            let hint = "write \",\", \"\\t\" or \"|\"";
            dialect.delimiter = self.character("delimiter", text, hint).unwrap_or(dialect.delimiter);
        }
        if let Some(text) = written.escape {
            dialect.escape = self.character("escape", text, "write \"\\\\\"");
            if dialect.escape == Some(dialect.delimiter) {
                let _: Option<()> = self.wrong(text.span(), "`escape` is also the delimiter", "write \"\\\\\"");
            }
        }
        if let Some(quotes) = written.quote_policy {
            dialect.quotes = *quotes.get_ref();
            // Numbers and times have these in them: without quotes nobody could tell where they end.
            let in_values = |c: char| c.is_ascii_alphanumeric() || "+-.:_ ".contains(c);
            if dialect.quotes == Quotes::None && in_values(dialect.delimiter) {
                let at = written.delimiter.map_or_else(|| quotes.span(), Spanned::span);
                let what = "without quotes, this delimiter cannot be told from a part of a number or a time";
                let _: Option<()> =
                    self.wrong(at, what, "write \",\", \"\\t\" or \"|\", or quote_policy = \"minimal\"");
            }
        }
        if let Some(text) = written.null_text {
            let breaks = |c: char| c.is_control() || c == dialect.delimiter || c == '"';
            if text.get_ref().contains(breaks) || text.get_ref().len() > 100 {
                let what = "`null_text` has a quote, the delimiter or a control character in it, or is too long";
                let _: Option<()> = self.wrong(text.span(), what, "write \"\\\\N\"");
            }
            dialect.null_text = Some(text.get_ref().clone()).filter(|text| !text.is_empty());
        }
        (self.problems.len() == known).then_some(dialect)
    }

    fn character(&mut self, key: &str, written: &Spanned<String>, hint: &str) -> Option<char> {
        let text = written.get_ref();
        match (text.chars().next(), text.chars().count()) {
            (Some(c), 1) if c.is_ascii() && !['"', '\r', '\n', '\0'].contains(&c) => Some(c),
            _ => self.wrong(written.span(), format!("`{key}` is not one ASCII character"), hint),
        }
    }
}

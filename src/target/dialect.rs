//! Dialect: how rows stand in files, as the platform is told to write them, and what that cannot
//! carry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode::Format;
use crate::canary::Carries;

/// Which values stand in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quotes {
    /// Those that would break a line otherwise.
    #[default]
    Minimal,
    /// All of them.
    All,
    /// Not one: a quote is a character like any other.
    None,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Newline {
    /// `\n`.
    Lf,
    /// `\r\n`.
    Crlf,
}

/// How a file is packed. Reading finds out by itself, from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip.
    Gz,
    /// Bzip2.
    Bzip2,
}

/// How rows stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// CSV, TSV or JSON lines.
    pub format: Format,
    /// How files are packed.
    pub compression: Compression,
    /// Whether the platform writes a header. Reading finds out by itself.
    pub header: bool,
    /// What separates values; one ASCII character.
    pub delimiter: char,
    /// Which values stand in quotes.
    pub quotes: Quotes,
    /// What stands before a quote inside quotes; none: the quote is doubled. Without quotes: what
    /// stands before a delimiter or newline that belongs to a value.
    pub escape: Option<char>,
    /// What stands for NULL; none: nothing, so that NULL and the empty string are the same.
    pub null_text: Option<String>,
    /// What ends a line; none: the platform's own choice.
    pub newline: Option<Newline>,
}

impl Dialect {
    /// The platform's own defaults for a format.
    pub fn of(format: Format) -> Self {
        Self {
            format,
            compression: Compression::None,
            header: true,
            delimiter: format.delimiter(),
            quotes: Quotes::Minimal,
            escape: None,
            null_text: None,
            newline: None,
        }
    }

    /// What it cannot carry.
    pub fn carries(&self) -> Carries {
        match self.format {
            Format::Jsonl => Carries::default(),
            Format::Csv | Format::Tsv => Carries {
                null_is_empty: self.null_text.is_none(),
                null_text: self.null_text.clone(),
                // A newline setting may also rewrite newlines inside values, unless it changes none.
                newlines_vary: self.newline != Some(Newline::Lf),
            },
        }
    }

    /// The ending of a file's name.
    pub(super) fn ending(&self) -> String {
        let packed = match self.compression {
            Compression::None => "",
            Compression::Gz => ".gz",
            Compression::Bzip2 => ".bz2",
        };
        format!(".{}{packed}", self.format.as_str())
    }

    /// What an address says of it, where it is not the platform's default.
    pub(super) fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("format", self.format.as_str().to_owned()),
            (
                "compression",
                match self.compression {
                    Compression::None => "none",
                    Compression::Gz => "gz",
                    Compression::Bzip2 => "bzip2",
                }
                .to_owned(),
            ),
            ("header", self.header.to_string()),
        ];
        if self.delimiter != self.format.delimiter() {
            options.push(("delimiter", self.delimiter.to_string()));
        }
        match self.quotes {
            Quotes::Minimal => {}
            Quotes::All => options.push(("quote_policy", "ALL".to_owned())),
            Quotes::None => options.push(("quote_policy", "NONE".to_owned())),
        }
        options.extend(self.escape.map(|escape| ("escape", escape.to_string())));
        options.extend(self.null_text.clone().map(|text| ("null", text)));
        options.extend(self.newline.map(|newline| match newline {
            Newline::Lf => ("newline", "LF".to_owned()),
            Newline::Crlf => ("newline", "CRLF".to_owned()),
        }));
        options
    }
}

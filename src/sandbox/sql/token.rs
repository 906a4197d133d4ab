//! Tokens: the words, names, texts and signs of a query, in the spelling that SQLite reads.

use super::{Dialect, QueryError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Quoted,
    Text,
    Number,
    Symbol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// As SQLite reads it.
    pub(super) text: String,
}

impl Token {
    pub(super) fn symbol(text: &str) -> Self {
        Self { kind: Kind::Symbol, text: text.to_owned() }
    }

    pub(super) fn word(text: &str) -> Self {
        Self { kind: Kind::Word, text: text.to_owned() }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text.eq_ignore_ascii_case(word)
    }

    /// The name, if it is one.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::Quoted => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }
}

/// Splits a text into tokens; comments and space go.
pub(super) fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token>, QueryError> {
    let open = |what: &str| QueryError::Refused(format!("{what} is not closed"));
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, used) = match first {
            c if c.is_whitespace() => (None, c.len_utf8()),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => {
                (None, rest[2..].find("*/").map(|end| end + 4).ok_or_else(|| open("a comment"))?)
            }
            '\'' | '"' if dialect == Dialect::Hive => {
                let (value, used) = hive_text(rest, first).ok_or_else(|| open("a text"))?;
                (Some(Token { kind: Kind::Text, text: format!("'{}'", value.replace('\'', "''")) }), used)
            }
            '\'' | '"' | '`' => {
                let (value, used) = doubled(rest, first).ok_or_else(|| open("a text"))?;
                let token = match first {
                    '\'' => Token { kind: Kind::Text, text: format!("'{}'", value.replace('\'', "''")) },
                    _ => Token { kind: Kind::Quoted, text: format!("\"{}\"", value.replace('"', "\"\"")) },
                };
                (Some(token), used)
            }
            c if c.is_alphabetic() || c == '_' => {
                let used = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
                (Some(Token::word(&rest[..used])), used)
            }
            c if c.is_ascii_digit() => {
                let used = number(rest);
                (Some(Token { kind: Kind::Number, text: rest[..used].to_owned() }), used)
            }
            '\0' => return Err(QueryError::Refused("a NUL in the query".to_owned())),
            c => {
                let long = ["<>", "!=", "<=", ">=", "||", "==", "->>", "->", "<<", ">>"];
                let used = long.iter().find(|s| rest.starts_with(**s)).map_or(c.len_utf8(), |s| s.len());
                (Some(Token::symbol(&rest[..used])), used)
            }
        };
        out.extend(token);
        rest = &rest[used..];
    }
    Ok(out)
}

/// A quoted text in which the quote is doubled.
fn doubled(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            value.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            value.push(quote);
        } else {
            return Some((value, at + 1));
        }
    }
    None
}

/// A quoted text with backslash escapes.
fn hive_text(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                '0' => value.push('0'),
                // LIKE patterns keep their backslash.
                escaped @ ('%' | '_') => value.extend(['\\', escaped]),
                escaped => value.push(escaped),
            },
            c if c == quote => return Some((value, at + 1)),
            c => value.push(c),
        }
    }
    None
}

/// How long the number at the start is: digits, a fraction, an exponent.
fn number(text: &str) -> usize {
    let digits = |from: usize| from + text[from..].bytes().take_while(u8::is_ascii_digit).count();
    if text.starts_with("0x") || text.starts_with("0X") {
        return 2 + text[2..].bytes().take_while(u8::is_ascii_hexdigit).count();
    }
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

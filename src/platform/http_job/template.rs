//! Templates: texts with placeholders, filled so that no value breaks out of the place where it stands.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{canary::Secret, config::nearest};

/// What stays as it is in a part of a path or of a query.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What does not in a header's value: line breaks end it. The sign itself, so that it can be undone.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The run's marker.
    Marker,
    /// The query that computes the run's sample.
    Query,
    /// The target's own Result Output URL, secrets inside.
    Address,
    /// What the target calls the place of the run's rows.
    Place,
    /// What `outputs` calls the target.
    Output,
    /// `append`, `replace`, …
    Mode,
    /// How many rows the sample has.
    Rows,
    /// The job's id, as the platform gave it.
    Id,
    /// A secret of `secrets`, by its name.
    Secret(String),
}

impl Word {
    const PLAIN: [(&'static str, Word); 8] = [
        ("marker", Word::Marker),
        ("query", Word::Query),
        ("address", Word::Address),
        ("place", Word::Place),
        ("output", Word::Output),
        ("mode", Word::Mode),
        ("rows", Word::Rows),
        ("id", Word::Id),
    ];

    fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("secret.") {
            Some(secret) => Some(Word::Secret(secret.to_owned())),
            None => Self::PLAIN.into_iter().find(|(known, _)| *known == name).map(|(_, word)| word),
        }
    }

    /// As it is written, without braces.
    pub(super) fn name(&self) -> String {
        match self {
            Word::Secret(name) => format!("secret.{name}"),
            plain => Self::PLAIN.iter().find(|(_, word)| word == plain).map_or("", |(name, _)| name).to_owned(),
        }
    }

    /// Whether what it stands for is secret, or has a secret inside.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Word::Secret(_) | Word::Address)
    }
}

/// Where a filled template goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// A part of a path, or of the query behind it.
    Path,
    /// A header's value.
    Header,
    /// A text in JSON or a field of a form: what writes those escapes it.
    Body,
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(Word),
}

/// What is wrong with a template, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrongTemplate {
    pub(super) what: String,
    pub(super) hint: String,
}

impl Template {
    /// Reads a text. `{{` and `}}` are braces.
    pub(super) fn read(text: &str) -> Result<Self, WrongTemplate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if after.starts_with(brace) {
                plain.push_str(brace);
                rest = &after[1..];
                continue;
            }
            if brace == "}" {
                return Err(WrongTemplate { what: "a `}` closes nothing".into(), hint: "write }} for a brace".into() });
            }
            let Some((name, behind)) = after.split_once('}') else {
                return Err(WrongTemplate { what: "a `{` is not closed".into(), hint: "write {{ for a brace".into() });
            };
            let word = Word::named(name).ok_or_else(|| unknown(name))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Word(word));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Its placeholders.
    pub(super) fn words(&self) -> impl Iterator<Item = &Word> {
        self.0.iter().filter_map(|part| match part {
            Part::Word(word) => Some(word),
            Part::Text(_) => None,
        })
    }

    /// What stands between them.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Word(_) => None,
        })
    }

    /// The placeholder, if it is nothing else.
    pub(super) fn sole(&self) -> Option<&Word> {
        match self.0.as_slice() {
            [Part::Word(word)] => Some(word),
            _ => None,
        }
    }

    /// The text with values in place.
    pub(super) fn fill(&self, values: &Values<'_>, spot: Spot) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Word(word) => {
                let value = values.of(word);
                match spot {
                    Spot::Path => utf8_percent_encode(value, IN_PATH).to_string(),
                    // A secret is sent as it is: it was checked when it was read.
                    Spot::Header if matches!(word, Word::Secret(_)) => value.to_owned(),
                    Spot::Header => utf8_percent_encode(value, IN_HEADER).to_string(),
                    Spot::Body => value.to_owned(),
                }
            }
        };
        self.0.iter().map(part).collect()
    }
}

fn unknown(name: &str) -> WrongTemplate {
    let shown: String = name.chars().take(40).collect();
    let names = Word::PLAIN.map(|(name, _)| name);
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None => format!("placeholders are {{{}}} and {{secret.NAME}}; write {{{{ for a brace", names.join("}, {")),
    };
    WrongTemplate { what: format!("unknown placeholder `{{{shown}}}`"), hint }
}

/// What placeholders stand for in one request. Which of them a request may use was checked when the
/// config was read.
#[derive(Clone, Copy, Default)]
pub(super) struct Values<'a> {
    pub(super) marker: &'a str,
    pub(super) query: &'a str,
    pub(super) address: &'a str,
    pub(super) place: &'a str,
    pub(super) output: &'a str,
    pub(super) mode: &'a str,
    pub(super) rows: &'a str,
    pub(super) id: &'a str,
    pub(super) secrets: &'a [(String, Secret)],
}

impl Values<'_> {
    fn of(&self, word: &Word) -> &str {
        match word {
            Word::Marker => self.marker,
            Word::Query => self.query,
            Word::Address => self.address,
            Word::Place => self.place,
            Word::Output => self.output,
            Word::Mode => self.mode,
            Word::Rows => self.rows,
            Word::Id => self.id,
            Word::Secret(name) => {
                self.secrets.iter().find(|(known, _)| known == name).map_or("", |(_, secret)| secret.reveal())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a/../b?c=d&e#f%2F\r\nX: y\"}'\\ \u{1F426}";

    fn filled(text: &str, spot: Spot) -> String {
        let secrets = [("token".to_owned(), Secret::new("s%3 cret"))];
        let values = Values { id: HOSTILE, marker: "lf0", secrets: &secrets, ..Values::default() };
        Template::read(text).expect("a template").fill(&values, spot)
    }

    #[test]
    fn no_value_breaks_out_of_a_path_or_a_header() {
        let path = filled("/jobs/{id}?key={id}", Spot::Path);
        let encoded = "a%2F..%2Fb%3Fc%3Dd%26e%23f%252F%0D%0AX%3A%20y%22%7D%27%5C%20%F0%9F%90%A6";
        assert_eq!(path, format!("/jobs/{encoded}?key={encoded}"));
        let header = filled("id {id}", Spot::Header);
        assert_eq!(header, "id a/../b?c=d&e#f%252F%0D%0AX: y\"}'\\ %F0%9F%90%A6");
        assert_eq!(filled("Bearer {secret.token}", Spot::Header), "Bearer s%3 cret", "secrets are sent as they are");
        assert_eq!(filled("{id}", Spot::Body), HOSTILE);
    }

    #[test]
    fn braces_are_written_twice_and_mistakes_say_what_would_be_right() {
        assert_eq!(filled("{{\"a\": {marker}}}", Spot::Body), "{\"a\": lf0}");
        assert_eq!(filled("", Spot::Body), "");
        for (text, what, hint) in [
            ("{markr}", "unknown placeholder `{markr}`", "did you mean `{marker}`?"),
            ("{marker", "a `{` is not closed", "write {{ for a brace"),
            ("marker}", "a `}` closes nothing", "write }} for a brace"),
        ] {
            let wrong = Template::read(text).expect_err(text);
            assert_eq!((wrong.what.as_str(), wrong.hint.as_str()), (what, hint));
        }
        assert!(
            Template::read("{}").is_err() && Template::read("{{{").is_err() && Template::read("{secret.x}").is_ok()
        );
    }
}

//! Words: what a statement is made of, read from its beginning. Comments and layout are no words.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A keyword, or a name without quotes, in lower case as these engines take it.
    Plain(String),
    /// A name in quotes. Case makes no difference in it either.
    Quoted(String),
    /// A text.
    Text(String),
    /// Anything else.
    Sign(char),
}

/// Why there is no further word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text is over, between two words or after the last one.
    End,
    /// It is over within a comment, a name or a text.
    Within,
}

/// Reads words one by one.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    rest: &'a str,
    /// Nothing comes after it. Otherwise its last word may be a part of one.
    is_whole: bool,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str, is_whole: bool) -> Self {
        Self { rest: text, is_whole }
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Result<Word, Stop> {
        let word = self.read()?;
        if self.rest.is_empty() && !self.is_whole { Err(Stop::Within) } else { Ok(word) }
    }

    /// Whether the next word is this one, which is then behind.
    pub(super) fn skipped(&mut self, wanted: &Word) -> Result<bool, Stop> {
        let mut ahead = self.clone();
        let found = ahead.next()? == *wanted;
        if found {
            *self = ahead;
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<Word, Stop> {
        self.skip()?;
        let first = self.rest.chars().next().ok_or(Stop::End)?;
        match first {
            '"' => self.within('"').map(|name| Word::Quoted(name.to_lowercase())),
            '\'' => self.within('\'').map(Word::Text),
            c if is_part(c) => {
                let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                Ok(Word::Plain(word.to_lowercase()))
            }
            other => {
                self.rest = &self.rest[other.len_utf8()..];
                Ok(Word::Sign(other))
            }
        }
    }

    /// Layout and comments. Comments do not nest in these engines.
    fn skip(&mut self) -> Result<(), Stop> {
        loop {
            self.rest = self.rest.trim_start();
            let (open, close) = match self.rest {
                text if text.starts_with("--") => (2, "\n"),
                text if text.starts_with("/*") => (2, "*/"),
                _ => return Ok(()),
            };
            let at = self.rest[open..].find(close).ok_or(Stop::Within)?;
            self.rest = &self.rest[open + at + close.len()..];
        }
    }

    /// What stands between two quotes; two of them in it are one.
    fn within(&mut self, quote: char) -> Result<String, Stop> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let at = rest.find(quote).ok_or(Stop::Within)?;
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if !rest.starts_with(quote) {
                self.rest = rest;
                return Ok(text);
            }
            text.push(quote);
            rest = &rest[1..];
        }
    }
}

/// Presto has `@` and `:` in names, too.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | ':' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<Word>, Stop) {
        let (mut words, mut found) = (Words::of(text, true), Vec::new());
        loop {
            match words.next() {
                Ok(word) => found.push(word),
                Err(stop) => return (found, stop),
            }
        }
    }

    #[test]
    fn comments_and_layout_are_no_words_and_doubled_quotes_are_one() {
        let (plain, quoted) = (|text: &str| Word::Plain(text.into()), |text: &str| Word::Quoted(text.into()));
        let text = "-- INSERT\n /* INTO /* */ Select\t\"A\"\"b.c\"--x\n. d_1,'it''s --'/**/";
        let words = [
            plain("select"),
            quoted("a\"b.c"),
            Word::Sign('.'),
            plain("d_1"),
            Word::Sign(','),
            Word::Text("it's --".into()),
        ];
        assert_eq!(all(text), (words.to_vec(), Stop::End));
    }

    #[test]
    fn a_text_that_ends_within_something_says_so() {
        for (text, stop) in [
            ("", Stop::End),
            (" \n", Stop::End),
            ("-- x\n", Stop::End),
            ("-- x", Stop::Within),
            ("/* x *", Stop::Within),
            ("/*/", Stop::Within),
            ("\"x", Stop::Within),
            ("\"x\"\"", Stop::Within),
            ("'", Stop::Within),
        ] {
            assert_eq!(all(text), (Vec::new(), stop), "{text:?}");
        }
        for last in ["INT", "\"x\"", "-", "/", "'it'"] {
            assert_eq!(Words::of(last, false).next(), Err(Stop::Within), "{last}");
        }
    }
}

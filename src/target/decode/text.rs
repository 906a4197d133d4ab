//! Rows out of delimited text: CSV, TSV and their kin.

use std::borrow::Cow;

use super::{Columns, Decoded, LONGEST, Layout, shortened};
use crate::{
    canary::{Cell, Marker},
    target::dialect::{Dialect, Quotes},
};

/// Fields of a record that are kept: columns beyond these belong to nobody.
const MOST_FIELDS: usize = 1024;

/// Reads rows. A first line that names our columns maps the others; without one, columns stand in
/// the order of the query. Both are accepted whatever was asked for: the rows are what counts.
pub(super) fn rows(bytes: &[u8], known: &'static Layout, dialect: &Dialect, most: usize) -> Decoded {
    let mut records = Records::new(bytes, dialect);
    let mut columns: Option<(Columns, usize)> = None;
    let mut decoded = Decoded::default();
    let mut last_end: &[u8] = b"";
    while decoded.rows.len() < most {
        let Some(Record { mut fields, end }) = records.next() else { break };
        let Some((columns, width)) = &columns else {
            match Columns::by_name(known, fields.iter().map(|field| &**field)) {
                Some(named) => columns = Some((named, fields.len())),
                None => {
                    let by_position = Columns::by_position(known);
                    if dialect.quotes == Quotes::None {
                        rejoin(&mut fields, known.len(), dialect.delimiter);
                    }
                    decoded.rows.push(row(&by_position, &fields));
                    columns = Some((by_position, known.len()));
                }
            }
            last_end = end;
            continue;
        };
        if dialect.quotes == Quotes::None {
            let marker = (0..*width).find(|at| columns.place(*at) == Some(0));
            let begins = |at: usize| fields.get(at).is_some_and(|text| text.parse::<Marker>().is_ok());
            // Without quotes, a line that has no marker goes on with the value before it.
            if marker.is_some_and(|at| !begins(at))
                && let (Some(row), Some(place)) = (decoded.rows.last_mut(), columns.place(width - 1))
                && let Cell::Text(text) = &mut row[place]
            {
                // One that is longer than any value of a sample is wrong already.
                if text.len() < LONGEST {
                    text.push_str(&String::from_utf8_lossy(last_end));
                    text.push_str(&fields.join(dialect.delimiter.encode_utf8(&mut [0; 4])));
                    *text = shortened(text);
                }
                last_end = end;
                continue;
            }
            rejoin(&mut fields, *width, dialect.delimiter);
        }
        decoded.rows.push(row(columns, &fields));
        last_end = end;
    }
    decoded
}

/// Without quotes, what the last column has too much is a value with delimiters in it.
fn rejoin(fields: &mut Vec<Cow<'_, str>>, width: usize, delimiter: char) {
    if width > 0 && fields.len() > width {
        let last = fields.drain(width - 1..).collect::<Vec<_>>().join(delimiter.encode_utf8(&mut [0; 4]));
        fields.push(Cow::Owned(last));
    }
}

fn row(columns: &Columns, texts: &[Cow<'_, str>]) -> Vec<Cell> {
    let mut cells = columns.no_cells();
    for (at, text) in texts.iter().enumerate() {
        if let Some(place) = columns.place(at) {
            cells[place] = Cell::Text(shortened(text));
        }
    }
    cells
}

/// One line, or several if a value has newlines in it.
struct Record<'a> {
    fields: Vec<Cow<'a, str>>,
    /// What ended it.
    end: &'a [u8],
}

/// Records one after the other. Not the `csv` crate's: what escapes a quote there also swallows every
/// other character it stands before, and it does not tell how a line ended.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    delimiter: u8,
    quotes: bool,
    escape: Option<u8>,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8], dialect: &Dialect) -> Self {
        Self {
            bytes,
            at: 0,
            delimiter: dialect.delimiter as u8,
            quotes: dialect.quotes != Quotes::None,
            escape: dialect.escape.map(|c| c as u8),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<Record<'a>> {
        while matches!(self.peek(0), Some(b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek(0)?;
        let mut fields = Vec::new();
        loop {
            let field = self.field();
            if fields.len() < MOST_FIELDS {
                fields.push(field);
            }
            match self.peek(0) {
                Some(c) if c == self.delimiter => self.at += 1,
                _ => return Some(Record { fields, end: self.end() }),
            }
        }
    }

    fn end(&mut self) -> &'a [u8] {
        let from = self.at;
        self.at += match (self.peek(0), self.peek(1)) {
            (Some(b'\r'), Some(b'\n')) => 2,
            (Some(_), _) => 1,
            (None, _) => 0,
        };
        &self.bytes[from..self.at]
    }

    fn ends(&self, c: u8) -> bool {
        c == self.delimiter || c == b'\n' || c == b'\r'
    }

    fn field(&mut self) -> Cow<'a, str> {
        if self.quotes && self.peek(0) == Some(b'"') {
            self.at += 1;
            return self.quoted();
        }
        let from = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        while let Some(c) = self.peek(0) {
            let next = self.peek(1).filter(|next| {
                !self.quotes
                    && Some(c) == self.escape
                    && (self.ends(*next) || Some(*next) == self.escape || *next == b'"')
            });
            if let Some(next) = next {
                let text = unescaped.get_or_insert_with(|| self.bytes[from..self.at].to_vec());
                text.push(next);
                self.at += 2;
            } else if self.ends(c) {
                break;
            } else {
                if let Some(text) = &mut unescaped {
                    text.push(c);
                }
                self.at += 1;
            }
        }
        // What is not UTF-8 becomes a character that no sample has.
        match unescaped {
            Some(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
            None => String::from_utf8_lossy(&self.bytes[from..self.at]),
        }
    }

    fn quoted(&mut self) -> Cow<'a, str> {
        let mut text = Vec::new();
        while let Some(c) = self.peek(0) {
            let next = self.peek(1);
            let escapes = Some(c) == self.escape && next.is_some_and(|n| n == b'"' || Some(n) == self.escape);
            if escapes || (c == b'"' && next == Some(b'"')) {
                text.extend(next);
                self.at += 2;
            } else if c == b'"' {
                self.at += 1;
                // What stands behind the quotes belongs to the value: it is wrong, and must be seen.
                while let Some(c) = self.peek(0).filter(|c| !self.ends(*c)) {
                    text.push(c);
                    self.at += 1;
                }
                break;
            } else {
                text.push(c);
                self.at += 1;
            }
        }
        Cow::Owned(String::from_utf8_lossy(&text).into_owned())
    }
}

//! Markdown in which no text from outside is markup: names, versions, what servers said.

use std::fmt::Write as _;

/// Longest text in one place: a server's error may be a page.
const LONGEST: usize = 400;

/// Text on one line of its own or in a sentence.
pub(super) fn line(text: &str) -> String {
    let text = cell(text);
    // What would begin a list, a rule or a heading begins nothing.
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text.as_bytes().get(digits) {
        Some(b'-' | b'+' | b'=') if digits == 0 => format!("\\{text}"),
        Some(b'.' | b')') if digits > 0 => format!("{}\\{}", &text[..digits], &text[digits..]),
        _ => text,
    }
}

/// Text to be copied, in a sentence. Only what can do no harm there; else as [`line`] has it.
pub(super) fn code(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_.:/[]%?=".contains(c);
    match text.len() <= LONGEST && text.chars().all(is_plain) {
        true => format!("`{text}`"),
        false => line(text),
    }
}

/// Text in a table's cell.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().filter(|c| !is_hidden(*c));
    for c in rest.by_ref().take(LONGEST) {
        match c {
            c if c.is_whitespace() => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' | '#' | '@' | '$' | '^' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    if rest.next().is_some() {
        out.push('…');
    }
    // Some renderers make links of bare addresses.
    out.replace("://", "&#58;//").replace("www.", "www&#46;").trim().to_owned()
}

/// Characters that nobody sees, or that turn the order of those that one does.
fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    turns || (c.is_control() && !c.is_whitespace())
}

/// A table; its cells are text.
pub(super) fn table<const N: usize>(out: &mut String, head: [&str; N], rows: Vec<[String; N]>) {
    let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.map(|text| cell(&text)).join(" | "));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        for (text, safe) in [
            ("a|b", "a\\|b"),
            ("`rm -rf`", "\\`rm -rf\\`"),
            ("<img src=x>", "&lt;img src=x&gt;"),
            ("two\nlines\r\n| more |", "two lines  \\| more \\|"),
            ("![x](http://evil)", "\\!\\[x\\](http&#58;//evil)"),
            ("**bold** _it_ ~no~ $x$ @you #1", "\\*\\*bold\\*\\* \\_it\\_ \\~no\\~ \\$x\\$ \\@you \\#1"),
            ("back\\slash &amp; www.evil.example", "back\\\\slash &amp;amp; www&#46;evil.example"),
            ("turned\u{202e}round\u{0}", "turnedround"),
        ] {
            assert_eq!(cell(text), safe);
        }
        assert_eq!(cell(&"x".repeat(1_000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_is_to_be_copied_stands_as_it_is_if_that_can_do_no_harm() {
        assert_eq!(code("landfall impact inc-1"), "`landfall impact inc-1`");
        assert_eq!(code("inc-`1`<b>"), "inc-\\`1\\`&lt;b&gt;");
    }

    #[test]
    fn no_line_begins_a_list_or_a_heading() {
        for (text, safe) in
            [("- a", "\\- a"), ("1. a", "1\\. a"), ("12) a", "12\\) a"), ("=", "\\="), ("2015-08", "2015-08")]
        {
            assert_eq!(line(text), safe);
        }
    }

    #[test]
    fn a_table_has_as_many_cells_in_every_row() {
        let mut out = String::new();
        table(&mut out, ["A", "B"], vec![["x|y".to_owned(), "z\n".to_owned()]]);
        assert_eq!(out, "| A | B |\n| --- | --- |\n| x\\|y | z |\n\n");
    }
}

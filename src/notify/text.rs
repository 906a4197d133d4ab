//! The words, once for all notifiers: what is said of an incident, in a line and in whole. Pure.
//!
//! What comes from outside (labels, deploys, what platforms say) is cut and stripped of whatever
//! could write to a terminal or turn a line around; [`html`](html()) escapes it as well.

mod sections;
mod when;

use super::{Message, Page, What};
use crate::{
    canary::time::Brief,
    detect::{Deploy, incident::write_labels},
};

pub use sections::{Section, sections};

/// Longest subject, in characters: a phone shows the first half, a mail program the rest.
const SUBJECT: usize = 200;
/// Longest suspects in a subject.
const SUSPECTS: usize = 70;
/// Longest name or version of a deploy in a subject.
const DEPLOY: usize = 36;

/// Says it all in one line of at most 200 characters.
///
/// `CRITICAL lost: worker=v5 · 4 of 6 routes · since 14:43–14:44 UTC · after worker v6.20150824`
pub fn subject(message: &Message) -> String {
    let text = match &message.what {
        What::Deploy(deploy) => {
            format!("DEPLOY {} · {} UTC", deployed(deploy), deploy.at.minute(message.at))
        }
        What::Trigger(page) | What::Again(page) | What::Over(page) | What::Resolve(page) => of_page(message, page),
    };
    cut(&text, SUBJECT)
}

fn of_page(message: &Message, page: &Page) -> String {
    let incident = &page.incident;
    let severity = page.severity.as_str();
    let mut parts = vec![match &message.what {
        What::Trigger(_) => severity.to_uppercase(),
        What::Again(_) => format!("STILL {severity}"),
        What::Over(_) => format!("OVER {severity}"),
        _ => "RESOLVED".to_owned(),
    }];
    if let Some(code) = &page.drill {
        parts.insert(0, format!("DRILL {}", cut(code, 20)));
    }
    let what =
        format!("{} {}: {}", parts.join(" "), incident.outcome, cut(&write_labels(&incident.suspects), SUSPECTS));
    let mut parts = vec![what];
    parts.extend(how_far(page));
    parts.push(when::bracket(incident, message));
    match &message.what {
        What::Again(_) => parts.push(format!("for {}", Brief(when::so_far(incident, message)))),
        What::Over(_) => parts.push("could not be told here before".to_owned()),
        What::Resolve(_) if when::goes_on(page) => parts.push("goes on under another key".to_owned()),
        _ => {}
    }
    parts.extend(incident.deploy.as_ref().map(|deploy| format!("after {}", deployed(deploy))));
    parts.join(" · ")
}

/// How many routes are hit, if it is about routes at all.
fn how_far(page: &Page) -> Option<String> {
    match (page.incident.routes.len(), page.watched) {
        (0, _) => None,
        (1, watched) if watched <= 1 => Some("1 route".to_owned()),
        (hit, watched) if hit > watched => Some(format!("{hit} routes")),
        (hit, watched) => Some(format!("{hit} of {watched} routes")),
    }
}

fn deployed(deploy: &Deploy) -> String {
    format!("{} {}", cut(&deploy.service, DEPLOY), cut(&deploy.version, DEPLOY))
}

/// Sections as plain text.
pub fn plain(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        text.push_str(section.title);
        text.push('\n');
        for line in &section.lines {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// Sections as an HTML document; addresses of pages are links.
pub fn html(subject: &str, sections: &[Section]) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n");
    page.push_str("<body style=\"font-family:sans-serif;line-height:1.4\">\n<h2 style=\"font-size:1.1em\">");
    escape(&mut page, subject);
    page.push_str("</h2>\n");
    for section in sections {
        page.push_str("<h3 style=\"font-size:1em;margin:1em 0 0\">");
        escape(&mut page, section.title);
        page.push_str("</h3>\n<p style=\"margin:0\">");
        for (nth, line) in section.lines.iter().enumerate() {
            if nth > 0 {
                page.push_str("<br>\n");
            }
            escape_with_link(&mut page, line);
        }
        page.push_str("</p>\n");
    }
    page.push_str("</body></html>\n");
    page
}

/// A line; a web address that ends it is a link.
fn escape_with_link(page: &mut String, line: &str) {
    let at = line.rfind(' ').map_or(0, |space| space + 1);
    let (before, last) = line.split_at(at);
    if !last.starts_with("https://") && !last.starts_with("http://") {
        return escape(page, line);
    }
    escape(page, before);
    page.push_str("<a href=\"");
    escape(page, last);
    page.push_str("\">");
    escape(page, last);
    page.push_str("</a>");
}

fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

/// A text from outside on one line: nothing that a terminal obeys or that turns the line around,
/// and at most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    let mut kept = String::new();
    let (mut n, mut gap) = (0, false);
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || is_invisible(c) {
            gap = n > 0;
            continue;
        }
        let needed = 1 + usize::from(gap);
        if n + needed > most {
            // Something is left over: the last character makes room for the sign that says so.
            while n >= most.max(1) {
                kept.pop();
                n -= 1;
            }
            kept.push('…');
            return kept;
        }
        if gap {
            kept.push(' ');
        }
        kept.push(c);
        n += needed;
        gap = false;
    }
    kept
}

/// Characters that are not seen and change how others are: marks of direction, joiners, the BOM.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_stays_on_one_line_and_is_cut_where_it_ends() {
        for (text, most, kept) in [
            ("plain", 5, "plain"),
            ("plainer", 5, "plai…"),
            ("a\r\nSubject: b", 40, "a Subject: b"),
            ("\u{1b}[2Jgone\u{7}", 40, "[2Jgone"),
            ("ab\u{202e}cd\u{200b}ef\u{feff}", 40, "ab cd ef"),
            ("  two   words  ", 40, "two words"),
            ("two words", 4, "two…"),
            ("äöü", 3, "äöü"),
            ("äöüß", 3, "äö…"),
            ("", 3, ""),
            ("abc", 1, "…"),
        ] {
            assert_eq!(cut(text, most), kept, "{text:?}");
        }
    }

    #[test]
    fn html_is_escaped_and_addresses_are_links_that_cannot_be_broken_out_of() {
        let lines = vec!["<b>&\"'".to_owned(), "Runbook: https://x.test/\"onclick=\"a".to_owned()];
        let page = html("<i>", &[Section { title: "Proof", lines }]);
        assert!(page.contains("&lt;i&gt;") && page.contains("&lt;b&gt;&amp;&quot;&#39;"), "{page}");
        let link = "https://x.test/&quot;onclick=&quot;a";
        assert!(page.contains(&format!("Runbook: <a href=\"{link}\">{link}</a>")), "{page}");
    }
}

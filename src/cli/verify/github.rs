//! The answer for GitHub's runners: workflow commands that annotate, and a summary in Markdown.
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>

use std::fmt::Write as _;

use super::text::{route, sentence, suspects, why};
use crate::detect::verification::{Answer, Turn, Verification};

/// What a command says.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands in a command's properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// One for every route that is not ok.
pub(super) fn annotations(of: &Verification) -> String {
    let mut out = String::new();
    for one in &of.routes {
        let command = match one.state {
            Turn::Regression => "error",
            Turn::StillFailing | Turn::Undetermined => "warning",
            Turn::Fixed => "notice",
            Turn::Ok => continue,
        };
        let title = property(&format!("{}: {}", one.state.as_str(), route(one)));
        let said = if one.state == Turn::Fixed { "lands again".to_owned() } else { why(one) };
        let _ = writeln!(out, "::{command} title={title}::{}", data(&said));
    }
    let command = if of.answer == Answer::No { "error" } else { "notice" };
    for suspect in suspects(of) {
        let _ = writeln!(out, "::{command} title=suspect::{}", data(&suspect));
    }
    out
}

/// Text in a table's cell: nothing in it is markup.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' | '#' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The summary.
pub(super) fn summary(of: &Verification) -> String {
    let mark = |turn: Turn| match turn {
        Turn::Regression => "❌",
        Turn::StillFailing => "⚠️",
        Turn::Undetermined => "❔",
        Turn::Fixed | Turn::Ok => "✅",
    };
    let mut out = format!("### Landfall: {}\n\n", cell(&sentence(of)));
    for suspect in suspects(of) {
        let _ = writeln!(out, "* suspect: **{}**", cell(&suspect));
    }
    out.push_str("\n| | route | outcome | was | seconds | |\n|---|---|---|---|---|---|\n");
    for turn in Turn::ALL {
        for one in of.routes.iter().filter(|one| one.state == turn) {
            let outcome = one.outcome.map_or("–", |outcome| outcome.as_str());
            let was = one.was.map_or("–", |was| was.as_str());
            let said = if matches!(turn, Turn::Ok | Turn::Fixed) { String::new() } else { cell(&why(one)) };
            let _ = writeln!(
                out,
                "| {} {} | {} | {outcome} | {was} | {:.1} | {said} |",
                mark(turn),
                turn.as_str(),
                cell(&route(one)),
                one.seconds
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_neither_command_nor_markup() {
        assert_eq!(data("50 %\n::error::x"), "50 %25%0A::error::x");
        assert_eq!(property("a:b,c"), "a%3Ab%2Cc");
        assert_eq!(cell("<b>|x|\n[y](z)"), "&lt;b&gt;\\|x\\| \\[y\\](z)");
    }
}

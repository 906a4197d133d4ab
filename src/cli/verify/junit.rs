//! The answer as JUnit XML: a regression is a failure, what nobody could see an error, what still fails is
//! skipped with its reason (a failure where it is a no).

use std::fmt::Write as _;

use super::text::{route, sentence, why};
use crate::detect::verification::{Answer, Turn, Verification};

/// Text and attributes: what XML 1.0 cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// The whole file.
pub(super) fn text(of: &Verification) -> String {
    // Where nothing got worse and the answer is a no all the same, what still fails made it so.
    let strict = of.answer == Answer::No && of.count(Turn::Regression) == 0;
    let fails = |turn: Turn| turn == Turn::Regression || (strict && turn == Turn::StillFailing);
    let failures = of.routes.iter().filter(|one| fails(one.state)).count();
    let errors = of.count(Turn::Undetermined);
    let skipped = if strict { 0 } else { of.count(Turn::StillFailing) };
    let took = of.routes.iter().map(|one| one.seconds).fold(0.0, f64::max);
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{took:.3}\"",
        of.routes.len()
    );
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"landfall verify\" {counts}>\n  \
         <testsuite name=\"landfall verify\" {counts}>\n"
    );
    for one in &of.routes {
        let class = escaped(&format!("{}.{}", one.canary, one.platform));
        let name = escaped(&format!("{} {}", one.target, one.mode));
        let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{:.3}\"", one.seconds);
        let (why, kind) = (escaped(&why(one)), one.outcome.map_or("none", |outcome| outcome.as_str()));
        let run = one.run_id.map(|run| format!(", run {run}")).unwrap_or_default();
        let body = escaped(&format!("{}: {}{run}", route(one), one.state.as_str()));
        let _ = match one.state {
            turn if fails(turn) => {
                writeln!(out, ">\n      <failure message=\"{why}\" type=\"{kind}\">{body}</failure>\n    </testcase>")
            }
            Turn::Undetermined => {
                writeln!(out, ">\n      <error message=\"{why}\" type=\"{kind}\">{body}</error>\n    </testcase>")
            }
            Turn::StillFailing => {
                writeln!(out, ">\n      <skipped message=\"still failing: {why}\"/>\n    </testcase>")
            }
            _ => writeln!(out, "/>"),
        };
    }
    let _ = writeln!(out, "    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>", escaped(&sentence(of)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_break_the_file() {
        assert_eq!(escaped("a<b>&\"'\u{0}\u{1b}[1m\n\u{ffff}z"), "a&lt;b&gt;&amp;&quot;&apos;[1m z");
    }
}

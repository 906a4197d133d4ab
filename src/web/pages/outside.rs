//! Text from outside: what servers, pipelines and configs wrote. Markup in it is text anyway; here it also keeps its
//! direction to itself, and hides nothing.

use maud::{Markup, html};

/// Stands for what nobody can see.
const SHOWN: char = '\u{fffd}';

/// In a line.
pub(in crate::web) fn outside(text: &str) -> Markup {
    html! { bdi { (plain(text)) } }
}

/// To be copied, line breaks and all.
pub(super) fn block(id: Option<&str>, text: &str) -> Markup {
    html! { pre id=[id] dir="ltr" tabindex="0" { code { (plain(text)) } } }
}

/// The same with a sign for every character that steers a terminal or turns the order of the others.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { SHOWN } else { c }).collect()
}

fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_text_and_hides_nothing() {
        for (text, shown) in [
            ("<b>&\"", "<bdi>&lt;b&gt;&amp;&quot;</bdi>"),
            ("a\u{202e}b\u{0}c\u{1b}[31m", "<bdi>a\u{fffd}b\u{fffd}c\u{fffd}[31m</bdi>"),
            ("two\n\tlines\r", "<bdi>two\n\tlines\u{fffd}</bdi>"),
        ] {
            assert_eq!(outside(text).into_string(), shown);
        }
        assert!(block(Some("x"), "</pre><script>").into_string().contains("&lt;/pre&gt;&lt;script&gt;"));
    }
}

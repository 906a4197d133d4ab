//! Plain text: words from outside, made so that a terminal obeys none of them.

use serde_json::Value;

/// On one line, and nothing that a terminal obeys: an agent's or a platform's words may be anything.
pub fn plain(text: &str) -> String {
    text.split(is_obeyed).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The same, line by line.
pub fn plain_lines(text: &str) -> String {
    // Spaces at the front of a line may mean something.
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Every text of an answer on one line, keys too.
pub fn tame(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains(is_obeyed) {
                *text = plain(text);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(tame),
        Value::Object(map) => {
            map.values_mut().for_each(tame);
            if map.keys().any(|key| key.contains(is_obeyed)) {
                *map = std::mem::take(map).into_iter().map(|(key, value)| (plain(&key), value)).collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// JSON as it is, with those characters escaped that a terminal obeys and JSON lets stand. It means the same.
pub fn json(value: &Value) -> String {
    let mut written = String::new();
    for c in value.to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' => written.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => written.push(c),
        }
    }
    written
}

/// Control characters, ends of lines of any kind, and marks that turn the direction of text.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVIL: &str = "no\n\u{1b}[2Jregression x\r\u{9b}1m\u{2028}y\tz\u{202e}\u{7}";

    #[test]
    fn words_from_outside_start_no_line_and_send_a_terminal_nothing() {
        assert_eq!(plain(EVIL), "no [2Jregression x 1m y z");
        assert_eq!(plain("as it is: `é` – ok"), "as it is: `é` – ok");
        assert_eq!(plain_lines("  a\u{1b}b\n\n  c"), "  a b\n\n  c");
    }

    #[test]
    fn an_answer_is_made_plain_down_to_its_keys() {
        let mut answer = json!({ EVIL: [{ "a": EVIL }, 1, null] });
        tame(&mut answer);
        let plain = "no [2Jregression x 1m y z";
        assert_eq!(answer, json!({ plain: [{ "a": plain }, 1, null] }));
    }

    #[test]
    fn json_means_the_same_and_holds_nothing_that_is_obeyed() {
        let value = json!({ "a": EVIL, "b\u{85}": 1 });
        let written = super::json(&value);
        assert!(!written.chars().any(char::is_control), "{written:?}");
        assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), value);
    }
}

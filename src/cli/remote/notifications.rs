//! Who was told of an incident, in lines.

use serde_json::Value;

/// One line for each notifier of an opening.
pub(super) fn lines(opening: &Value) -> Vec<String> {
    let letters = opening["letters"].as_array().cloned().unwrap_or_default();
    if letters.is_empty() {
        return vec!["nobody: no notifier wants to know of it".to_owned()];
    }
    letters.iter().map(letter).collect()
}

fn letter(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str();
    let held = letter["held"].as_array().cloned().unwrap_or_default();
    let holds = |state: &str| held.iter().any(|held| held["state"] == state);
    let failure = text("failure").map(|why| format!(" ({why})")).unwrap_or_default();
    let what = if holds("open") {
        format!("took it at {}", text("told_at").unwrap_or("an unknown time"))
    } else if holds("closed") {
        format!("took it, and that it is over at {}", text("told_at").unwrap_or("an unknown time"))
    } else if letter["silenced"] == true {
        "was not told: it was over before the silence was".to_owned()
    } else if holds("refused") {
        format!("refused it{failure}")
    } else if held.is_empty() && failure.is_empty() {
        "was not told yet".to_owned()
    } else {
        format!("has not taken it yet{failure}")
    };
    let instead = text("stands_in_for").map(|other| format!(", in the place of {other}")).unwrap_or_default();
    format!("{} {what}{instead}", text("notifier").unwrap_or("-"))
}

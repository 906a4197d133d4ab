//! A shell's words: what people are given to be typed.

/// A text as one word, whatever is in it.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@=,+%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The same where `*`, `?` and the like would stand for other names.
pub(super) fn pattern(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A command with what it reads as its input.
pub(super) fn fed(command: &[&str], input: &str) -> String {
    let words: Vec<String> = command.iter().map(|text| word(text)).collect();
    format!("{} <<'END'\n{input}\nEND", words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_every_text_as_one_word() {
        for text in ["plain/a.b", "", "two words", "it's $HOME `id` \"x\" \\ ; & *", "-n", "ü\u{202e}"] {
            let printed = Command::new("sh").args(["-c", &format!("printf %s {}", word(text))]).output().expect("sh");
            assert_eq!(String::from_utf8_lossy(&printed.stdout), text);
        }
        let fed = Command::new("sh").args(["-c", &fed(&["cat", "-"], "a '$b'\n`c`")]).output().expect("sh");
        assert_eq!(String::from_utf8_lossy(&fed.stdout), "a '$b'\n`c`\n");
    }
}

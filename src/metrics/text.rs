//! Text format 0.0.4, as far as our own families need it.

use std::fmt::{Display, Write};

use super::Family;

/// A page of metrics being written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Begins a family. All its lines follow before the next one begins.
    pub(super) fn family(&mut self, family: Family) {
        let Family { name, kind, .. } = family;
        // Writing to a string cannot fail; so below.
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", family.help());
    }

    /// One series. `labels` are escaped already and have no braces.
    pub(super) fn line(&mut self, name: &str, labels: &[&str], value: impl Display) {
        self.0.push_str(name);
        for (at, part) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(part);
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one series without labels.
    pub(super) fn single(&mut self, family: Family, value: impl Display) {
        self.family(family);
        self.line(family.name, &[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// `name="value"`, escaped.
pub(super) fn label(name: &str, value: &str) -> String {
    let mut text = String::with_capacity(name.len() + value.len() + 3);
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A label's name as Prometheus takes it: names of ours may have dashes or begin with a digit.
pub(super) fn label_name(name: &str) -> String {
    let mut text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit() || c == '_') {
        text.insert_str(0, "label_");
    }
    text
}

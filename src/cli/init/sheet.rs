//! Sheet: an example's lines of TOML, as people wrote them with their comments, whose values can be changed. It knows
//! the shape of our own examples (`key = value  # why`, one line each), and nothing more of TOML.

/// Lines that become a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    lines: Vec<String>,
}

/// A value that somebody may want to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) value: Value,
    /// What the example says of it.
    pub(super) comment: Option<String>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// A number, true or false.
    Word(String),
    /// Where a secret is.
    Secret(Source),
}

/// Where a secret is; never the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// In a variable of the environment.
    Env(String),
    /// In a file.
    File(String),
}

impl Source {
    /// As it is typed: `TD_API_KEY`, `env:TD_API_KEY`, `file:td.key`. What is typed may be the secret itself, by
    /// mistake: it is never repeated.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:") {
            let fits = !path.is_empty() && !path.chars().any(char::is_control);
            return fits.then(|| Self::File(path.to_owned())).ok_or_else(|| "file: needs a path".to_owned());
        }
        let name = text.strip_prefix("env:").unwrap_or(text);
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') && name.chars().all(fits) {
            true => Ok(Self::Env(name.to_owned())),
            false => Err("that is not where a secret is: write the name of an environment variable, in capital \
                          letters, or file:PATH; never the secret itself"
                .to_owned()),
        }
    }

    /// As it is typed.
    pub(super) fn typed(&self) -> String {
        match self {
            Self::Env(name) => name.clone(),
            Self::File(path) => format!("file:{path}"),
        }
    }

    fn toml(&self) -> String {
        match self {
            Self::Env(name) => format!("{{ env = {} }}", quoted(name)),
            Self::File(path) => format!("{{ file = {} }}", quoted(path)),
        }
    }
}

impl Value {
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Word(word) => word.clone(),
            Self::Secret(source) => source.toml(),
        }
    }

    fn read(written: &str) -> Option<Self> {
        if let Some(text) = unquoted(written) {
            return Some(Self::Text(text));
        }
        let inner = written.strip_prefix('{')?.strip_suffix('}')?;
        let (key, value) = inner.split_once('=')?;
        match (key.trim(), unquoted(value.trim())?) {
            ("env", name) => Some(Self::Secret(Source::Env(name))),
            ("file", path) => Some(Self::Secret(Source::File(path))),
            _ => None,
        }
    }
}

/// Where a line says that secrets are, each with the key before it.
pub(super) fn secrets(line: &str) -> Vec<(String, Source)> {
    let Some(Parts { before, value, .. }) = parts(line) else { return Vec::new() };
    let mut found = Vec::new();
    for (word, of) in [("env = \"", Source::Env as fn(String) -> Source), ("file = \"", Source::File)] {
        for (at, _) in value.match_indices(word) {
            let named = value[at + word.len()..].split('"').next().unwrap_or_default();
            found.push((key_of(before).to_owned(), of(named.to_owned())));
        }
    }
    found
}

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn unquoted(written: &str) -> Option<String> {
    let text = written.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains(['"', '\\'])).then(|| text.to_owned())
}

impl Sheet {
    pub(super) fn new(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// Without what the example says of itself at its top: that was for whoever copies it.
    pub(super) fn without_head(mut self) -> Self {
        let head = self.lines.iter().take_while(|line| line.starts_with('#') || line.is_empty()).count();
        self.lines.drain(..head);
        self
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The same with tables called otherwise, and all that is below them, in what is commented out too.
    pub(super) fn renamed(&self, from: &str, to: &str) -> Self {
        let renamed = |line: &String| {
            let at = line.find('[').filter(|at| line[..*at].trim_matches(['#', ' ']).is_empty())? + 1;
            let rest = line[at..].strip_prefix(from).filter(|rest| rest.starts_with(['.', ']']))?;
            Some(format!("{}{to}{rest}", &line[..at]))
        };
        Self { lines: self.lines.iter().map(|line| renamed(line).unwrap_or_else(|| line.clone())).collect() }
    }

    /// Texts and secrets of a table, in their order.
    pub(super) fn fields(&self, table: &str) -> Vec<Field> {
        let within = self.within(table).unwrap_or(0..0);
        self.lines[within].iter().filter_map(|line| field(line)).collect()
    }

    /// A value as it is written.
    pub(super) fn written(&self, table: &str, key: &str) -> Option<&str> {
        let at = self.place(table, key)?;
        Some(parts(&self.lines[at])?.value)
    }

    /// Writes a value; what stands there keeps its comment. A key that is not there comes after the table's last.
    pub(super) fn set(&mut self, table: &str, key: &str, toml: &str) {
        let Some(at) = self.place(table, key) else {
            if let Some(within) = self.within(table) {
                let last = within.clone().rev().find(|at| parts(&self.lines[*at]).is_some());
                self.lines.insert(last.unwrap_or(within.start - 1) + 1, format!("{key} = {toml}"));
            }
            return;
        };
        let line = &self.lines[at];
        if let Some(Parts { before, value, comment }) = parts(line) {
            // Comments stand where they stood, if there is room.
            let gap = line.len() - before.len() - value.len() - comment.map_or(0, |text| text.len());
            let gap = (gap + value.len()).saturating_sub(toml.len()).max(1);
            let comment = comment.map_or(String::new(), |comment| format!("{}{comment}", " ".repeat(gap)));
            self.lines[at] = format!("{before}{toml}{comment}");
        }
    }

    /// Calls a key by another name.
    pub(super) fn rename_key(&mut self, table: &str, from: &str, to: &str) {
        if let Some(at) = self.place(table, from) {
            let rest = self.lines[at][from.len()..].to_owned();
            self.lines[at] = format!("{to}{rest}");
        }
    }

    /// Leaves a key out: its line stays for whoever wants it later.
    pub(super) fn leave_out(&mut self, table: &str, key: &str) {
        if let Some(at) = self.place(table, key) {
            self.lines[at].insert_str(0, "# ");
        }
    }

    /// The lines of a table, without its head.
    fn within(&self, table: &str) -> Option<std::ops::Range<usize>> {
        let head = format!("[{table}]");
        let is_head = |line: &String| line.split('#').next().unwrap_or_default().trim() == head;
        let start = self.lines.iter().position(is_head)? + 1;
        let length = self.lines[start..].iter().position(|line| line.starts_with('['));
        Some(start..length.map_or(self.lines.len(), |length| start + length))
    }

    fn place(&self, table: &str, key: &str) -> Option<usize> {
        let is_it = |line: &str| parts(line).is_some_and(|Parts { before, .. }| key_of(before) == key);
        self.within(table)?.find(|at| is_it(&self.lines[*at]))
    }
}

/// `key = `, the value, and the comment with its `#`.
struct Parts<'a> {
    before: &'a str,
    value: &'a str,
    comment: Option<&'a str>,
}

fn key_of(before: &str) -> &str {
    before.trim_end_matches(['=', ' '])
}

fn parts(line: &str) -> Option<Parts<'_>> {
    let equals = line.find('=').filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let rest = &line[equals + 1..];
    let start = equals + 1 + rest.len() - rest.trim_start().len();
    let mut is_quoted = false;
    let hash = line[start..].char_indices().find(|(_, c)| {
        is_quoted ^= *c == '"';
        *c == '#' && !is_quoted
    });
    let hash = hash.map(|(at, _)| start + at);
    let value = line[start..hash.unwrap_or(line.len())].trim_end();
    Some(Parts { before: &line[..start], value, comment: hash.map(|at| &line[at..]) })
}

fn field(line: &str) -> Option<Field> {
    let Parts { before, value, comment } = parts(line)?;
    let comment = comment.map(|text| text.trim_start_matches(['#', ' ']).to_owned());
    Some(Field { key: key_of(before).to_owned(), value: Value::read(value)?, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Copy it.

[platform.trino]
labels    = { engine = \"trino\" }

[platform.trino.trino]
endpoint = \"https://a#b\"      # the coordinator
password = { env = \"PASS\" }   # or token
# ca     = \"ca.pem\"
timeout  = 5

# [platform.trino.trino.outputs]
[platform.trino.trino.outputs]
warehouse = \"a.b\"
";

    #[test]
    fn values_are_changed_and_everything_else_stays() {
        let mut sheet = Sheet::new(TEXT).without_head();
        let fields = sheet.fields("platform.trino.trino");
        let told: Vec<_> = fields.iter().map(|field| (field.key.as_str(), field.comment.as_deref())).collect();
        assert_eq!(told, [("endpoint", Some("the coordinator")), ("password", Some("or token"))]);
        assert_eq!(fields[0].value, Value::Text("https://a#b".to_owned()));
        assert_eq!(fields[1].value, Value::Secret(Source::Env("PASS".to_owned())));
        sheet.set("platform.trino.trino", "endpoint", &quoted("say \"x\""));
        sheet.set("platform.trino.trino", "user", &quoted("me"));
        sheet.leave_out("platform.trino.trino", "password");
        let expected = TEXT
            .replace("# Copy it.\n\n", "")
            .replace("\"https://a#b\"      #", "'say \"x\"'          #")
            .replace("password =", "# password =")
            .replace("timeout  = 5\n", "timeout  = 5\nuser = \"me\"\n");
        assert_eq!(sheet.text(), expected);
        assert_eq!(sheet.written("platform.trino", "labels"), Some("{ engine = \"trino\" }"));
    }

    #[test]
    fn a_platform_gets_another_name_and_its_kind_keeps_its_own() {
        let text = "[platform.a]\n[platform.a.a]\n# [platform.a.a.outputs]\n[platform.ab]\n[canary.a]\npath = \"[platform.a]\"\n";
        let renamed = "[platform.b]\n[platform.b.a]\n# [platform.b.a.outputs]\n[platform.ab]\n[canary.a]\npath = \"[platform.a]\"\n";
        assert_eq!(Sheet::new(text).renamed("platform.a", "platform.b").text(), renamed);
    }

    #[test]
    fn where_a_secret_is_may_be_said_and_the_secret_may_not() {
        assert_eq!(Source::read("TD_KEY_2"), Ok(Source::Env("TD_KEY_2".to_owned())));
        assert_eq!(Source::read("env:TD_KEY"), Ok(Source::Env("TD_KEY".to_owned())));
        assert_eq!(Source::read("file:a/td.key"), Ok(Source::File("a/td.key".to_owned())));
        for text in ["", "1/0123456789abcdef", "hunter2", "2FAST", "file:", "env:", "A B", "SECRET=x"] {
            let why = Source::read(text).expect_err(text);
            assert!(text.len() < 6 || !why.contains(text), "{why}");
        }
    }
}

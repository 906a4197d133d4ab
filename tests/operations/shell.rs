//! What a page tells its reader to do: commands in fenced blocks, and files that it shows whole.

/// What stands in the way of running a command, and is not for want of trying.
const REASONS: [&str; 8] = [
    "a person does it",
    "the test packs the binary that it has",
    "the test has a binary",
    "there is no journal",
    "there is no Docker daemon",
    "there is no cluster",
    "it takes minutes",
    "nobody can be told here",
];

/// Something to do, as it stands on a page.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Run; how it may end.
    Run { command: String, exits: Vec<i32> },
    /// Left out, for one of the known reasons.
    NotRun { command: String },
    /// A file of this name is written: a block ```` ```toml NAME ```` or ```` ```sh NAME ````.
    File { name: String, text: String },
}

/// Everything that blocks of shell say, and every file that has a name, in their order. What is neither run nor excused
/// is an error, and so are commands that stand in other blocks.
pub(super) fn commands(page: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    let (mut indent, mut begun, mut was_blank) = (0, String::new(), true);
    for line in page.lines() {
        let text = line.trim_start();
        match (fence, text.strip_prefix("```")) {
            (None, Some(info)) => {
                fence = Some(info.trim());
                indent = line.len() - text.len();
                if let Some(name) = file(info.trim()) {
                    lines.push(Line::File { name: name.to_owned(), text: String::new() });
                }
            }
            (Some(_), Some(_)) if !begun.is_empty() => return Err(format!("it goes on nowhere: {begun}")),
            (Some(_), Some(_)) => fence = None,
            (Some("sh"), None) => {
                begun.push_str(line.trim());
                // The next line belongs to it.
                match begun.strip_suffix('\\') {
                    Some(part) => begun = part.to_owned(),
                    None if begun.is_empty() || begun.starts_with('#') => begun.clear(),
                    None => lines.push(read(&std::mem::take(&mut begun))?),
                }
            }
            (Some(info), None) if file(info).is_some() => {
                let Some(Line::File { text, .. }) = lines.last_mut() else { return Err(format!("no file: {line}")) };
                // A block in a list is moved in as the list is.
                let cut = line.len() - line.trim_start().len();
                text.push_str(&line[cut.min(indent)..]);
                text.push('\n');
            }
            (Some("" | "bash" | "shell" | "console"), None) => return Err(format!("shell stands in ```sh: {line}")),
            (Some(_), None) if text.starts_with("$ ") => return Err(format!("shell stands in ```sh: {line}")),
            (None, None) if was_blank && line.starts_with("    ") && text.starts_with("landfall ") => {
                return Err(format!("shell stands in ```sh: {line}"));
            }
            _ => {}
        }
        was_blank = text.is_empty();
    }
    Ok(lines)
}

/// The name of the file that a block shows, by what stands at its fence.
fn file(info: &str) -> Option<&str> {
    let (kind, name) = info.split_once(' ')?;
    ["toml", "sh"].contains(&kind).then_some(name.trim())
}

fn read(line: &str) -> Result<Line, String> {
    let (command, note) = line.split_once(" # ").unwrap_or((line, ""));
    let command = command.trim().to_owned();
    if command.contains("<<") {
        return Err(format!("a file is a block with its name: {line}"));
    }
    if let Some(reason) = note.strip_prefix("not run: ") {
        let is_known = REASONS.iter().any(|known| reason.starts_with(known));
        return if is_known { Ok(Line::NotRun { command }) } else { Err(format!("no reason to leave it out: {line}")) };
    }
    let exits = note.strip_prefix("exit ").map(|rest| rest.split(':').next().unwrap_or_default());
    let number = |word: &str| word.parse::<i32>().ok();
    let exits = exits.map_or(vec![0], |exits| exits.split([',', ' ']).filter_map(number).collect());
    if exits.is_empty() { Err(format!("no exit code: {line}")) } else { Ok(Line::Run { command, exits }) }
}

/// A section of a page, its headline and all below; none if it has no such section.
pub(super) fn section<'a>(page: &'a str, headline: &str) -> Option<&'a str> {
    let begin = page.find(&format!("\n{headline}\n"))? + 1;
    let rest = &page[begin..];
    let end = rest.find("\n## ").map_or(rest.len(), |end| end + 1);
    Some(&rest[..end])
}

#[test]
fn a_command_is_run_or_says_why_it_is_not() {
    let page = |line: &str| commands(&format!("```sh\n{line}\n```\n"));
    let run = |command: &str, exits: &[i32]| Line::Run { command: command.to_owned(), exits: exits.to_vec() };
    assert_eq!(page("landfall status  # exit 0, 1 or 3: who knows").unwrap(), [run("landfall status", &[0, 1, 3])]);
    assert_eq!(page("dpkg -i x.deb    # keeps your config").unwrap(), [run("dpkg -i x.deb", &[0])]);
    assert_eq!(page("# first this\nlandfall check \\\n  -c x.toml").unwrap(), [run("landfall check -c x.toml", &[0])]);
    let left_out = Line::NotRun { command: "docker build .".to_owned() };
    assert_eq!(page("docker build . # not run: there is no Docker daemon here").unwrap(), [left_out]);
    page("landfall status # not run: it is late").expect_err("no known reason");
    page("cat >x <<EOF").expect_err("a file has a name");
    page("landfall check \\").expect_err("it goes on nowhere");
    commands("```bash\nlandfall status\n```\n").expect_err("another fence would be passed over");
    commands("```text\n$ landfall status\nall is up\n```\n").expect_err("and so would this");
    commands("So:\n\n    landfall status\n").expect_err("and this");
}

#[test]
fn files_are_written_where_they_are_shown() {
    let page = "# a\n## b\n1. First:\n\n   ```toml probes/x.toml\n   [a]\n     b = 1\n   ```\n   ```toml\n   c = 1\n   ```\n## c\n";
    let file = Line::File { name: "probes/x.toml".to_owned(), text: "[a]\n  b = 1\n".to_owned() };
    assert_eq!(commands(section(page, "## b").unwrap()).unwrap(), [file]);
    let script = commands("```sh secrets.env\nexport A=1 # not run: it is a file's\n```\n").unwrap();
    let text = "export A=1 # not run: it is a file's\n".to_owned();
    assert_eq!(script, [Line::File { name: "secrets.env".to_owned(), text }]);
    assert_eq!(section(page, "## c").unwrap(), "## c\n");
    assert_eq!(section(page, "## d"), None);
}

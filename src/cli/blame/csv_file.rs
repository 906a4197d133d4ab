//! The table as a user gives it: CSV of any origin, checked line by line before anything is believed.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use csv::{ByteRecord, ReaderBuilder};

use crate::{
    cli::exit::Usage,
    config::nearest,
    detect::{causes::Table, suspects::Seen},
};

/// Larger files do not fit the purpose, nor memory.
const MOST_BYTES: u64 = 64 << 20;
/// Lines after which nothing new is learned.
const MOST_LINES: usize = 1_000_000;
/// Label sets are tried in threes: 64 labels are 41,664 triples already.
const MOST_LABELS: usize = 64;

const GREEN: &str = "green";
const RED: &str = "red";
const BEFORE_GREEN: &str = "before_green";
const BEFORE_RED: &str = "before_red";

/// A table, and all that was counted in it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) table: Table,
    pub(super) red: u64,
    pub(super) green: u64,
}

/// Reads a file, or standard input if it is called `-`.
pub(super) fn read(path: &Path) -> Result<Counted, Usage> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().take(MOST_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Usage(format!("{name}: cannot be read: {error}")))?;
    if bytes.len() as u64 > MOST_BYTES {
        let hint = "add up rows with the same labels, or leave out columns that name single runs";
        return Err(Usage(format!("{name}: is larger than {} MB\n  hint: {hint}", MOST_BYTES >> 20)));
    }
    Lines { name: &name }.table(&bytes)
}

struct Lines<'a> {
    name: &'a str,
}

/// Where the numbers stand.
struct Places {
    labels: Vec<usize>,
    green: usize,
    red: usize,
    before: Option<(usize, usize)>,
}

/// A field for a message: short, and without what would speak to a terminal.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 { format!("{short}…") } else { short }
}

impl Lines<'_> {
    fn wrong(&self, line: u64, what: &str, hint: &str) -> Usage {
        let hint = if hint.is_empty() { String::new() } else { format!("\n  hint: {hint}") };
        Usage(format!("{}:{line}: {what}{hint}", self.name))
    }

    fn table(&self, bytes: &[u8]) -> Result<Counted, Usage> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Lines of their own length are ours to name, with their place.
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut record = ByteRecord::new();
        let mut next = |record: &mut ByteRecord| {
            reader.read_byte_record(record).map_err(|error| self.wrong(1, &error.to_string(), ""))
        };
        if !next(&mut record)? {
            return Err(self.wrong(1, "is empty", "begin with a line of column names: labels, `green`, `red`"));
        }
        let head = self.fields(&record, 1)?;
        let names: Vec<String> = head.iter().map(|name| name.trim().to_owned()).collect();
        let places = self.places(&names)?;
        let mut table = Table {
            names: places.labels.iter().map(|at| names[*at].clone()).collect(),
            texts: vec![Vec::new(); places.labels.len()],
            ids: vec![Vec::new(); places.labels.len()],
            seen: Vec::new(),
            before: places.before.map(|_| Vec::new()),
        };
        let mut known: Vec<HashMap<String, u32>> = vec![HashMap::new(); places.labels.len()];
        let mut rows: HashMap<Vec<u32>, usize> = HashMap::new();
        let (mut red, mut green, mut lines) = (0, 0, 0);
        while next(&mut record)? {
            let line = record.position().map_or(0, csv::Position::line);
            let fields = self.fields(&record, line)?;
            lines += 1;
            if lines > MOST_LINES {
                let hint = "add up rows with the same labels";
                return Err(self.wrong(line, &format!("has more than {MOST_LINES} rows"), hint));
            }
            if fields.len() != names.len() {
                let what = format!("has {} fields, and the first line {}", fields.len(), names.len());
                return Err(self.wrong(line, &what, "fields that contain a comma stand in double quotes"));
            }
            let number = |at: usize| self.number(fields[at], &names[at], line);
            let now = Seen { red: number(places.red)?, green: number(places.green)? };
            let before = match places.before {
                Some((green, red)) => Seen { red: number(red)?, green: number(green)? },
                None => Seen::default(),
            };
            let ids: Vec<u32> = (places.labels.iter().zip(&mut known).zip(&mut table.texts))
                .map(|((at, known), texts)| {
                    let text = fields[*at].trim();
                    *known.entry(text.to_owned()).or_insert_with(|| {
                        texts.push(text.to_owned());
                        texts.len() as u32 - 1
                    })
                })
                .collect();
            let row = *rows.entry(ids).or_insert_with_key(|ids| {
                ids.iter().zip(&mut table.ids).for_each(|(id, column)| column.push(*id));
                table.seen.push(Seen::default());
                table.before.iter_mut().for_each(|before| before.push(Seen::default()));
                table.seen.len() - 1
            });
            let sum = |sum: &mut Seen, more: Seen| -> Option<()> {
                sum.red = sum.red.checked_add(more.red)?;
                sum.green = sum.green.checked_add(more.green)?;
                sum.red.checked_add(sum.green).map(|_| ())
            };
            let fits = sum(&mut table.seen[row], now)
                .and_then(|()| table.before.as_mut().map_or(Some(()), |table| sum(&mut table[row], before)));
            if fits.is_none() {
                let what = format!("the runs with these labels come to more than {}", u32::MAX);
                return Err(self.wrong(line, &what, "divide all counts by the same number"));
            }
            red += u64::from(now.red);
            green += u64::from(now.green);
        }
        Ok(Counted { table, red, green })
    }

    fn fields<'r>(&self, record: &'r ByteRecord, line: u64) -> Result<Vec<&'r str>, Usage> {
        let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        fields.map_err(|_| self.wrong(line, "is not UTF-8", "save the table as UTF-8"))
    }

    fn places(&self, names: &[String]) -> Result<Places, Usage> {
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(self.wrong(1, &format!("column {} has no name", at + 1), "give every column a name"));
            }
            if names[..at].contains(name) {
                return Err(self.wrong(
                    1,
                    &format!("column `{}` is there twice", shown(name)),
                    "give each its own name",
                ));
            }
        }
        let find = |wanted: &str| names.iter().position(|name| name == wanted);
        let need = |wanted: &str| {
            find(wanted).ok_or_else(|| {
                let hint = match nearest(wanted, names.iter().map(String::as_str)) {
                    Some(near) => format!("rename column `{}`", shown(near)),
                    None if names.len() == 1 => "columns are separated by commas".to_owned(),
                    None => "a table has label columns, `green` and `red`".to_owned(),
                };
                self.wrong(1, &format!("there is no column `{wanted}`"), &hint)
            })
        };
        let (green, red) = (need(GREEN)?, need(RED)?);
        let before = match (find(BEFORE_GREEN), find(BEFORE_RED)) {
            (None, None) => None,
            _ => Some((need(BEFORE_GREEN)?, need(BEFORE_RED)?)),
        };
        let numbers = [Some(green), Some(red), before.map(|pair| pair.0), before.map(|pair| pair.1)];
        let labels: Vec<usize> = (0..names.len()).filter(|at| !numbers.contains(&Some(*at))).collect();
        match labels.len() {
            0 => Err(self.wrong(1, "there is no label column", "add a column such as `region` or `version`")),
            1..=MOST_LABELS => Ok(Places { labels, green, red, before }),
            many => {
                let hint = format!("leave out some: {MOST_LABELS} are looked at");
                Err(self.wrong(1, &format!("there are {many} label columns"), &hint))
            }
        }
    }

    fn number(&self, text: &str, name: &str, line: u64) -> Result<u32, Usage> {
        let text = text.trim();
        text.parse().map_err(|_| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let what = if text.is_empty() {
                format!("`{name}` is empty")
            } else if text.strip_prefix('-').is_some_and(digits) {
                format!("`{name}` is negative: {}", shown(text))
            } else if digits(text) {
                format!("`{name}` is larger than {}: {}", u32::MAX, shown(text))
            } else {
                format!("`{name}` is not a whole number: \"{}\"", shown(text))
            };
            self.wrong(line, &what, "write how many runs there were, such as 0 or 12")
        })
    }
}

//! `landfall blame`: which labels stand behind the reds of a table. The detector's own search for
//! suspects, over any history of greens and reds.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;
use serde_json::{Map, Value};

mod csv_file;

use self::csv_file::Counted;
use super::{Format, exit};
use crate::detect::{
    causes::{self, Cause},
    incident::{LabelSet, write_labels},
};

/// Finds the labels behind the reds of a table, such as the history of a customer's jobs.
///
/// Every column is a label, except `green` and `red`: how many runs of that combination of labels came out
/// well and badly. `before_green` and `before_red` may say how that was when all was well; without them
/// ordinary rates are estimated from the table itself. Rows with the same labels are added up.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A suspect is named only if the reds would hardly look like this by chance, with all label sets
that were tried counted in, nor because ordinary rates differ from value to value.

Exit codes: 0 the table was read, whether or not something stands out (no suspects is an answer)
            2 the table cannot be read")]
pub struct Args {
    /// The table, as CSV with a line of column names; `-` reads standard input.
    file: PathBuf,
    /// How the answer is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Answer {
    suspects: Vec<Suspect>,
    /// Combinations of labels.
    rows: usize,
    red: u64,
    green: u64,
}

#[derive(Serialize)]
struct Suspect {
    labels: Map<String, Value>,
    red: u64,
    green: u64,
    /// Reds per run inside.
    rate: f64,
    /// Reds per run outside.
    outside_rate: f64,
    /// Reds per run that are ordinary inside.
    base_rate: f64,
    /// The share of runs that the cause turns red, where it hits.
    effect: f64,
    /// The share of its rows that it hits.
    share: f64,
    /// How much better the reds are explained with it than without it, in nats, all prices paid.
    score: f64,
    also: Vec<Labels>,
}

#[derive(Serialize)]
struct Labels {
    labels: Map<String, Value>,
}

fn labels(set: &LabelSet) -> Map<String, Value> {
    set.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// Enough digits for any use, and the same everywhere.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn rate(red: u64, green: u64) -> f64 {
    if red + green == 0 { 0.0 } else { red as f64 / (red + green) as f64 }
}

/// Reads the table and says what stands behind its reds.
pub fn blame(args: &Args) -> anyhow::Result<u8> {
    let Counted { table, red, green } = csv_file::read(&args.file)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let found = causes::blame(&table, processors);
    let text = match args.format {
        Format::Json => {
            let suspect = |cause: &Cause| Suspect {
                labels: labels(&cause.labels),
                red: cause.red,
                green: cause.green,
                rate: rounded(rate(cause.red, cause.green)),
                outside_rate: rounded(rate(red - cause.red, green - cause.green)),
                base_rate: rounded(cause.base),
                effect: rounded(cause.effect),
                share: rounded(cause.share),
                score: rounded(cause.score),
                also: cause.also.iter().map(|set| Labels { labels: labels(set) }).collect(),
            };
            let answer = Answer { suspects: found.iter().map(suspect).collect(), rows: table.seen.len(), red, green };
            format!("{}\n", serde_json::to_string(&answer)?)
        }
        Format::Text => tell(&found, red, green),
    };
    exit::answered(io::stdout().write_all(text.as_bytes()), exit::YES)
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

/// For a terminal: what came with the file must not speak to it.
fn tame(set: &LabelSet) -> String {
    write_labels(set).chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}

fn tell(found: &[Cause], red: u64, green: u64) -> String {
    let whole = format!("{red} of {} runs are red ({})", red + green, percent(rate(red, green)));
    if found.is_empty() {
        return format!("nothing stands out: {whole}\n");
    }
    let head = ["suspect", "red inside", "rate", "ordinary", "outside", "hits"].map(str::to_owned);
    let rows = found.iter().map(|cause| {
        let partly =
            if cause.share < 1.0 { format!(" in {} of its rows", percent(cause.share)) } else { String::new() };
        [
            tame(&cause.labels),
            format!("{} of {}", cause.red, cause.red + cause.green),
            percent(rate(cause.red, cause.green)),
            percent(cause.base),
            percent(rate(red - cause.red, green - cause.green)),
            format!("{} of runs{partly}", percent(cause.effect)),
        ]
    });
    let table: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = format!("{whole}\n\n");
    for (at, row) in table.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        for set in at.checked_sub(1).map(|at| found[at].also.as_slice()).unwrap_or_default() {
            text.push_str(&format!("  also {}\n", tame(set)));
        }
    }
    text
}

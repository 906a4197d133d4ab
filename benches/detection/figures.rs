//! A section's figures as a table, for people or as JSON; and the work behind them on every core.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

/// What a section measured.
pub(crate) struct Section {
    /// What it is about, with the seeds.
    pub(crate) title: String,
    /// Names of the columns.
    pub(crate) columns: Vec<&'static str>,
    /// One row for each thing that was measured.
    pub(crate) rows: Vec<Vec<Value>>,
    /// What went wrong, one by one.
    pub(crate) details: Vec<String>,
}

/// Details shown to people at most; JSON has them all.
const SHOWN: usize = 60;

impl Section {
    /// One line.
    pub(crate) fn json(&self, name: &str, took_s: f64) -> String {
        let row = |row: &Vec<Value>| -> Map<String, Value> {
            self.columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned()).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "section": name, "title": self.title, "rows": rows, "details": self.details, "took_s": round(took_s, 1) })
            .to_string()
    }

    /// A table.
    pub(crate) fn text(&self, name: &str, took_s: f64) -> String {
        let mut table: Vec<Vec<String>> = vec![self.columns.iter().map(|column| (*column).to_owned()).collect()];
        table.extend(self.rows.iter().map(|row| row.iter().map(shown).collect()));
        let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = format!("== {name}: {} ({took_s:.1} s)\n", self.title);
        for row in &table {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            text += &format!("   {}\n", cells.join("  ").trim_end());
        }
        for detail in self.details.iter().take(SHOWN) {
            text += &format!("   - {detail}\n");
        }
        if self.details.len() > SHOWN {
            text += &format!("   … and {} more\n", self.details.len() - SHOWN);
        }
        text + "\n"
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// A number that is as exact as it is worth.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

/// `part` of `whole`, in percent; nothing of nothing is nothing.
pub(crate) fn percent(part: usize, whole: usize) -> Value {
    if whole == 0 { Value::Null } else { json!(round(100.0 * part as f64 / whole as f64, 2)) }
}

/// How many of these are so, in percent.
pub(crate) fn share<R>(all: &[&R], is_so: impl Fn(&R) -> bool) -> Value {
    percent(all.iter().filter(|one| is_so(one)).count(), all.len())
}

/// The nearest rank: a value that really occurred. Null if none did.
pub(crate) fn rank(values: &mut [f64], share: f64) -> Value {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).map_or(Value::Null, |value| json!(round(*value, 1)))
}

/// Does it for every number below `n` on every core; answers in their order.
pub(crate) fn each<T: Send>(n: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= n {
                return done;
            }
            done.push((nth, work(nth)));
        }
    };
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a measurement panicked")).collect()
    });
    all.sort_by_key(|(nth, _)| *nth);
    all.into_iter().map(|(_, done)| done).collect()
}

//! `landfall blame` on generated tables: what it names of what was planted, what it names where nothing
//! was, and how long it takes.
//!
//! A suspect is right if it covers exactly the rows that the planted set covers.

use tokio::time::Instant;

use landfall::detect::{
    causes::{self, Cause},
    suspects::Seen,
};
use serde_json::{Value, json};

use crate::{
    Args,
    figures::{Section, each, percent, rank, round},
    tables::{self, Planted, Set, Table, holds},
};

/// Tables without a cause have seeds of their own.
const QUIET: u64 = 1_000_000;
/// Tables of the size that a time is promised for.
const LARGE: u64 = 2_000_000;
const LARGE_TABLES: u64 = 60;
const LARGE_ROWS: usize = 10_000;

/// The table as the command would read it.
fn table(from: &Table) -> causes::Table {
    let ids: Vec<Vec<u32>> =
        (0..from.labels).map(|label| from.rows.iter().map(|row| row.values[label]).collect()).collect();
    let values = |ids: &Vec<u32>| (0..=*ids.iter().max().expect("rows")).map(|value| value.to_string()).collect();
    causes::Table {
        names: (0..from.labels).map(|label| label.to_string()).collect(),
        texts: ids.iter().map(values).collect(),
        ids,
        seen: from.rows.iter().map(|row| Seen { red: row.red, green: row.green }).collect(),
        before: from.rows.iter().map(|row| row.before.map(|(green, red)| Seen { red, green })).collect(),
    }
}

fn set(cause: &Cause) -> Set {
    let number = |text: &String| text.parse().expect("a number");
    cause.labels.iter().map(|(label, value)| (number(label) as usize, number(value))).collect()
}

fn rows(table: &Table, set: &Set) -> Vec<usize> {
    (0..table.rows.len()).filter(|at| holds(set, &table.rows[*at].values)).collect()
}

/// Times that a large table is asked, of which the fastest counts: other work on the machine does not.
const ASKED: usize = 3;

struct Told {
    seed: u64,
    table: Table,
    /// By planted cause, whether it was named.
    hit: Vec<bool>,
    /// Named, and not planted.
    wrong: Vec<Set>,
}

fn told(seed: u64, from: Table) -> Told {
    let found = causes::blame(&table(&from), 1);
    let planted: Vec<Vec<usize>> = from.causes.iter().map(|cause| rows(&from, &cause.set)).collect();
    let mut hit = vec![false; planted.len()];
    let mut wrong = Vec::new();
    for set in found.iter().map(set) {
        let covered = rows(&from, &set);
        match planted.iter().position(|planted| *planted == covered) {
            Some(at) if !hit[at] => hit[at] = true,
            _ => wrong.push(set),
        }
    }
    Told { seed, table: from, hit, wrong }
}

/// Milliseconds that somebody waits for an answer, on all processors that there are.
fn waited_ms(of: &Table) -> f64 {
    let asked = table(of);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let waited = || {
        let began = Instant::now();
        std::hint::black_box(causes::blame(&asked, processors));
        began.elapsed().as_secs_f64() * 1e3
    };
    (0..ASKED).map(|_| waited()).fold(f64::INFINITY, f64::min)
}

fn f1(right: usize, wrong: usize, missed: usize) -> Value {
    json!(round(2.0 * right as f64 / (2 * right + wrong + missed).max(1) as f64, 3))
}

/// A row of the section over tables of one kind.
fn over(name: &str, told: &[&Told]) -> Vec<Value> {
    let right = told.iter().map(|told| told.hit.iter().filter(|hit| **hit).count()).sum();
    let planted: usize = told.iter().map(|told| told.hit.len()).sum();
    let wrong = told.iter().map(|told| told.wrong.len()).sum();
    let score = f1(right, wrong, planted - right);
    vec![json!(name), json!(told.len()), json!(planted), json!(right), json!(wrong), percent(right, planted), score]
}

/// A row of the section over planted causes of one kind; what is wrong belongs to tables, not to causes.
fn of_kind(name: &str, told: &[Told], kind: impl Fn(&Table, &Planted) -> bool) -> Vec<Value> {
    let of = |told: &&Told| told.table.causes.iter().any(|cause| kind(&told.table, cause));
    let tables = told.iter().filter(of).count();
    let each = told
        .iter()
        .flat_map(|told| told.table.causes.iter().zip(&told.hit).map(move |(cause, hit)| (told, cause, hit)));
    let hits: Vec<bool> = each.filter(|(told, cause, _)| kind(&told.table, cause)).map(|(_, _, hit)| *hit).collect();
    let right = hits.iter().filter(|hit| **hit).count();
    vec![
        json!(name),
        json!(tables),
        json!(hits.len()),
        json!(right),
        Value::Null,
        percent(right, hits.len()),
        Value::Null,
    ]
}

/// Measures the search.
pub(crate) fn measure(args: &Args) -> Section {
    let n = args.worlds;
    let planted = each(n, |nth| told(args.seed + nth, tables::table(args.seed + nth, true)));
    let quiet = each(n, |nth| told(QUIET + args.seed + nth, tables::table(QUIET + args.seed + nth, false)));
    let large = |nth| {
        let seed = LARGE + args.seed + nth;
        tables::of_size(&mut fastrand::Rng::with_seed(seed), LARGE_ROWS, nth % 3 != 0)
    };
    // One at a time: each has the machine.
    let mut waited: Vec<f64> = (0..LARGE_TABLES.min(n)).map(|nth| waited_ms(&large(nth))).collect();
    let larges = waited.len();
    let when =
        |kind: &dyn Fn(&Table) -> bool| -> Vec<&Told> { planted.iter().filter(|told| kind(&told.table)).collect() };
    let before = |table: &Table| table.rows.iter().all(|row| row.before.is_some());
    let sized = |low: usize, high: usize| move |table: &Table| (low..high).contains(&table.rows.len());
    let silent = quiet.iter().filter(|told| told.wrong.is_empty()).count();
    let time = |name: &str, value: Value| vec![json!(name), json!(larges), Value::Null, value];
    let times_of = [("10,000 rows: median ms", 0.5), ("10,000 rows: 95 % ms", 0.95), ("10,000 rows: worst ms", 1.0)];
    let times: Vec<Vec<Value>> = times_of.iter().map(|(name, share)| time(name, rank(&mut waited, *share))).collect();
    let mut rows = vec![
        over("all", &when(&|_| true)),
        over("with a before", &when(&before)),
        over("without", &when(&|table| !before(table))),
        over("one cause", &when(&|table| table.causes.len() == 1)),
        over("two causes", &when(&|table| table.causes.len() == 2)),
        over("rows under 300", &when(&sized(0, 300))),
        over("rows under 1,000", &when(&sized(300, 1_000))),
        over("rows under 3,000", &when(&sized(1_000, 3_000))),
        over("rows to 10,000", &when(&sized(3_000, usize::MAX))),
        of_kind("causes of one label", &planted, |_, cause| cause.set.len() == 1),
        of_kind("causes of two labels", &planted, |_, cause| cause.set.len() == 2),
        of_kind("causes of three labels", &planted, |_, cause| cause.set.len() == 3),
        of_kind("effect 5-10 %", &planted, |_, cause| cause.effect < 0.1),
        of_kind("effect 10-20 %", &planted, |_, cause| (0.1..0.2).contains(&cause.effect)),
        of_kind("effect 20-50 %", &planted, |_, cause| (0.2..0.5).contains(&cause.effect)),
        of_kind("effect over 50 %", &planted, |_, cause| cause.effect >= 0.5),
        of_kind("in part of its rows", &planted, |_, cause| cause.share < 1.0),
    ];
    rows.push(vec![
        json!("no cause: says nothing"),
        json!(quiet.len()),
        json!(0),
        json!(silent),
        json!(quiet.len() - silent),
        percent(silent, quiet.len()),
    ]);
    rows.extend(times);
    let wrong = planted.iter().chain(&quiet).filter(|told| !told.wrong.is_empty());
    let write = |set: &Set| set.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ");
    let details = wrong.map(|told| {
        let named: Vec<String> = told.wrong.iter().map(write).collect();
        let planted: Vec<String> = told.table.causes.iter().map(|cause| write(&cause.set)).collect();
        format!("seed {}: named {}, planted {}", told.seed, named.join(" and "), planted.join(" and "))
    });
    Section {
        title: format!(
            "{n} tables with causes (seeds {}…), {n} without ({}…), {} large ({}…)",
            args.seed,
            QUIET + args.seed,
            larges,
            LARGE + args.seed
        ),
        columns: vec!["tables", "n", "planted", "right", "wrong", "named %", "F1"],
        rows: rows
            .into_iter()
            .map(|mut row| {
                row.resize(7, Value::Null);
                row
            })
            .collect(),
        details: details.collect(),
    }
}

//! How good detection is: many worlds on virtual time, and what was told of each.
//!
//! `cargo bench --bench detection -- [SECTION …] [--worlds N] [--seeds N] [--days N] [--seed N]
//! [--format json]`. Without a section all of them. Every figure comes from seeds that are printed,
//! and every miss with the seed that shows it again.

mod blame;
mod cost;
mod figures;
mod intermittent;
mod next;
mod noise;
mod power;
mod quiet;
mod random;
mod restart;
mod score;
mod tables;
mod two;
mod worlds;
mod year2015;

use figures::Section;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    /// Random worlds, or tables.
    pub(crate) worlds: u64,
    /// Seeds of a world that is always the same.
    pub(crate) seeds: u64,
    /// Virtual days on which nothing happens.
    pub(crate) days: u64,
    /// The first seed.
    pub(crate) seed: u64,
    /// One line of JSON a section.
    pub(crate) json: bool,
    sections: Vec<String>,
}

type Measure = fn(&Args) -> Section;

/// In the order in which they are measured: memory first, since what others leave behind would count.
const SECTIONS: [(&str, Measure); 10] = [
    ("cost", cost::measure),
    ("worlds", worlds::measure),
    ("two", two::measure),
    ("next", next::measure),
    ("intermittent", intermittent::measure),
    ("power", power::measure),
    ("year2015", year2015::measure),
    ("restart", restart::measure),
    ("blame", blame::measure),
    ("quiet", quiet::measure),
];

fn args() -> Result<Args, String> {
    let mut args = Args { worlds: 1_000, seeds: 1_000, days: 300, seed: 1, json: false, sections: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse().ok()).ok_or(format!("{word} N"));
        match word.as_str() {
            "--worlds" => args.worlds = number()?,
            "--seeds" => args.seeds = number()?,
            "--days" => args.days = number()?,
            "--seed" => args.seed = number()?,
            "--format" => args.json = words.next().as_deref() == Some("json"),
            // What cargo adds.
            "--bench" => {}
            name if SECTIONS.iter().any(|(known, _)| *known == name) => args.sections.push(word),
            other => {
                let known: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
                return Err(format!("no section `{other}`; there are {}", known.join(", ")));
            }
        }
    }
    Ok(args)
}

fn main() {
    let args = match args() {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("{wrong}");
            std::process::exit(2);
        }
    };
    for (name, measure) in SECTIONS {
        if args.sections.is_empty() || args.sections.iter().any(|wanted| wanted == name) {
            let began = tokio::time::Instant::now();
            let section = measure(&args);
            let took = began.elapsed().as_secs_f64();
            if args.json {
                println!("{}", section.json(name, took));
            } else {
                print!("{}", section.text(name, took));
            }
        }
    }
}

//! Quiet days over random worlds: whoever is paged is paged for nothing.

use std::time::Duration;

use fastrand::Rng;
use landfall::{
    canary::Mode,
    cli::replay::play::{Play, play},
};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, round},
    noise,
    random::{self, START},
    score::told,
};

/// Days of one world: what was learned on the first is used on the others.
const DAYS_EACH: u32 = 3;

fn one(seed: u64, days: u32) -> (u64, Vec<String>) {
    let world = random::world(seed, Mode::Append);
    let (faults, agent) = noise::of_days(&world, START, days, &mut Rng::with_seed(seed ^ 0x4015e));
    let plan = Play { faults, agent, ..Play::of_world(world, START, Duration::from_secs(86_400) * days) };
    let played = play(&plan, seed).expect("a world plays");
    let pages = told(&played);
    let why = |told: &crate::score::Told<'_>| format!("seed {seed}: {}; {}", told.brief(), told.story());
    (played.runs, pages.iter().map(why).collect())
}

/// All days.
pub(crate) fn measure(args: &Args) -> Section {
    let worlds = args.days.div_ceil(u64::from(DAYS_EACH));
    let days = |nth: u64| (args.days - nth * u64::from(DAYS_EACH)).min(u64::from(DAYS_EACH)) as u32;
    let results = each(worlds, |nth| one(args.seed + nth, days(nth)));
    let pages: usize = results.iter().map(|(_, pages)| pages.len()).sum();
    let runs: u64 = results.iter().map(|(runs, _)| runs).sum();
    Section {
        title: format!("{} quiet days in {worlds} random worlds, seeds from {}", args.days, args.seed),
        columns: vec!["days", "worlds", "runs", "false_pages", "false_pages_per_30_days"],
        rows: vec![vec![
            json!(args.days),
            json!(worlds),
            json!(runs),
            json!(pages),
            json!(round(30.0 * pages as f64 / args.days.max(1) as f64, 2)),
        ]],
        details: results.into_iter().flat_map(|(_, pages)| pages).collect(),
    }
}

//! The outage of 2015 over many seeds; with confirming runs, with those of the red route alone, and
//! with none.

use landfall::{
    agent::Confirms,
    cli::replay::{
        play::{Play, play},
        report::Report,
    },
    sandbox::Scenario,
};
use serde_json::json;

use crate::{
    Args,
    figures::{Section, each, percent, rank},
    score::told,
};

/// All three.
pub(crate) fn measure(args: &Args) -> Section {
    let scenario = Scenario::builtin("2015-08-24").expect("compiled in");
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for (name, confirms) in
        [("as it is", Confirms::Asked), ("the red route only", Confirms::OwnRoute), ("none", Confirms::Never)]
    {
        let plan = Play { confirms, ..Play::of(&scenario) };
        let results = each(args.seeds, |nth| {
            let seed = args.seed + nth;
            let played = play(&plan, seed).expect("it plays");
            let wanted = scenario.expect.suspects.as_ref().expect("it names a suspect");
            let right_at_page = told(&played).first().is_some_and(|told| {
                landfall::sandbox::scenario::covers_same(&scenario.routes, &told.then.suspects, wanted)
            });
            (seed, Report::of(&scenario, &played), right_at_page)
        });
        let n = results.len();
        let mut times: Vec<f64> = results.iter().filter_map(|(_, report, _)| report.detection_s).collect();
        rows.push(vec![
            json!(name),
            json!(n),
            percent(times.len(), n),
            rank(&mut times, 0.5),
            rank(&mut times, 0.99),
            rank(&mut times, 1.0),
            percent(results.iter().filter(|(.., right)| *right).count(), n),
            percent(results.iter().filter(|(_, report, _)| report.suspects_right == Some(true)).count(), n),
            json!(results.iter().map(|(_, report, _)| report.false_pages).sum::<usize>()),
        ]);
        let missed = results.iter().filter(|(_, report, _)| !report.pass && confirms == Confirms::Asked);
        details.extend(missed.map(|(seed, report, _)| format!("{name}, seed {seed}: {}", report.misses.join("; "))));
    }
    Section {
        title: format!("the outage of 2015-08-24, seeds from {}", args.seed),
        columns: vec![
            "confirming",
            "seeds",
            "detected_%",
            "page_p50_s",
            "page_p99_s",
            "page_max_s",
            "right_at_page_%",
            "right_%",
            "false_pages",
        ],
        rows,
        details,
    }
}

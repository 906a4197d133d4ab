//! The answer for people: what is not ok, a line each, then the sum.

use std::io::{self, Write};

use crate::{
    cli::plain::plain,
    detect::{
        incident::write_labels,
        verification::{Answer, Turn, Verification, Verified},
    },
};

/// `canary/platform/target/mode`.
pub(super) fn route(of: &Verified) -> String {
    [&*of.canary, &of.platform, &of.target, &of.mode].join("/")
}

/// What a route came to, in words.
pub(super) fn why(of: &Verified) -> String {
    let said = of.outcome.map_or("no answer", |outcome| outcome.meaning());
    match &of.reason {
        Some(reason) if of.outcome.is_some() => format!("{said}: {reason}"),
        Some(reason) => reason.clone(),
        None => said.to_owned(),
    }
}

/// Suspects, a text each.
pub(super) fn suspects(of: &Verification) -> Vec<String> {
    (of.suspects.iter())
        .map(|named| format!("{} ({} bad, {} good)", write_labels(&named.labels.0), named.red, named.green))
        .collect()
}

/// The answer in one sentence.
pub(super) fn sentence(of: &Verification) -> String {
    let routes = |n: usize| if n == 1 { "1 route".to_owned() } else { format!("{n} routes") };
    let told = Turn::ALL.iter().map(|turn| (of.count(*turn), turn.as_str())).filter(|(n, _)| *n > 0);
    let counts: Vec<String> = told.map(|(n, turn)| format!("{n} {turn}")).collect();
    let answer = match of.answer {
        Answer::Yes => "yes, nothing got worse",
        Answer::No => "no",
        Answer::Unsure => "nobody could see all of it",
    };
    format!("{answer}: {}, {}", routes(of.routes.len()), counts.join(", "))
}

/// Writes all of it.
pub(super) fn write(out: &mut dyn Write, of: &Verification) -> io::Result<()> {
    let wide = of.routes.iter().map(|one| route(one).chars().count()).max().unwrap_or(0).min(60);
    for turn in Turn::ALL {
        for one in of.routes.iter().filter(|one| one.state == turn) {
            let was = one.was.map(|was| format!(", was {was}")).unwrap_or_default();
            let outcome = one.outcome.map_or("no run", |outcome| outcome.as_str());
            write!(out, "{:13} {:wide$}  {outcome}{was}, {:.1} s", turn.as_str(), plain(&route(one)), one.seconds)?;
            match one.run_id.filter(|_| turn != Turn::Ok) {
                Some(run) => writeln!(out, ", run {run}")?,
                None => writeln!(out)?,
            }
            if turn != Turn::Ok && turn != Turn::Fixed {
                writeln!(out, "{:13} {}", "", plain(&why(one)))?;
            }
        }
    }
    writeln!(out)?;
    for suspect in suspects(of) {
        writeln!(out, "suspect: {}", plain(&suspect))?;
    }
    writeln!(out, "{}", sentence(of))
}

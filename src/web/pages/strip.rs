//! A route's last runs as a strip of steps: how high tells how long its rows took against the objective, the colour
//! what it came to.

use std::{fmt::Write, time::Duration};

use maud::{Markup, PreEscaped};

use crate::{
    canary::State as Colour,
    detect::strip::{Bar, Strip},
};

/// Width of a bar and height of a strip, in its own units.
const STEP: usize = 4;
const HEIGHT: u64 = 16;

/// The last `most` runs, oldest on the left. For eyes only: who listens is told the last outcome beside it.
pub(super) fn strip(strip: &Strip, objective: Option<Duration>, most: usize) -> Markup {
    let mut bars: Vec<Bar> = strip.bars().rev().take(most).collect();
    bars.reverse();
    let mut svg = format!(r#"<svg viewBox="0 0 {} {HEIGHT}" aria-hidden="true">"#, most * STEP);
    // The newest stands on the right.
    let mut x = (most - bars.len()) * STEP;
    for alike in bars.chunk_by(|a, b| a.outcome.state() == b.outcome.state()) {
        let class = match alike[0].outcome.state() {
            Colour::Green => 'g',
            Colour::Amber => 'a',
            Colour::Red => 'r',
            Colour::Grey => 'u',
        };
        // Written to memory: it cannot fail.
        let _ = write!(svg, r#"<path class="{class}" d="M{x} {HEIGHT}"#);
        for level in alike.chunk_by(|a, b| height(*a, objective) == height(*b, objective)) {
            let _ = write!(svg, "V{}h{}", HEIGHT - height(level[0], objective), level.len() * STEP);
        }
        let _ = write!(svg, r#"V{HEIGHT}z"/>"#);
        x += alike.len() * STEP;
    }
    svg.push_str("</svg>");
    // Numbers and letters of ours, nothing else.
    PreEscaped(svg)
}

/// A green run is as high as it took long, the objective being the top; what is not green stands out.
fn height(bar: Bar, objective: Option<Duration>) -> u64 {
    let (Colour::Green, Some(took), Some(objective)) = (bar.outcome.state(), bar.took(), objective) else {
        return if bar.outcome.state() == Colour::Green { HEIGHT / 4 } else { HEIGHT };
    };
    let share = took.as_secs_f64() / objective.as_secs_f64().max(f64::MIN_POSITIVE);
    // From 2 to the top; what is not a number is the top.
    (2.0 + share * (HEIGHT - 2) as f64).min(HEIGHT as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::{Outcome, Timestamp};

    #[test]
    fn bars_grow_with_the_time_that_rows_took_and_what_is_red_is_as_high_as_can_be() {
        let objective = Some(Duration::from_secs(120));
        let bar = |outcome, took: Option<u64>| Bar::new(Timestamp::EPOCH, outcome, took.map(Duration::from_secs));
        for (bar, expected) in [
            (bar(Outcome::Landed, Some(0)), 2),
            (bar(Outcome::Landed, Some(60)), 9),
            (bar(Outcome::Landed, Some(120)), 16),
            (bar(Outcome::Landed, Some(9_999)), 16),
            (bar(Outcome::Landed, None), 4),
            (bar(Outcome::Lost, None), 16),
            (bar(Outcome::Unknown, None), 16),
        ] {
            assert_eq!(height(bar, objective), expected, "{bar:?}");
        }
        assert_eq!(height(bar(Outcome::Landed, Some(1)), Some(Duration::ZERO)), 16);
    }

    #[test]
    fn the_newest_run_stands_on_the_right_and_what_is_alike_is_one_step() {
        let mut runs = Strip::default();
        for (due, outcome) in [(60, Outcome::Landed), (120, Outcome::Landed), (180, Outcome::Lost)] {
            runs.note(Bar::new(Timestamp::from_secs(due), outcome, None));
        }
        assert_eq!(
            strip(&runs, None, 4).into_string(),
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><path class="g" d="M4 16V12h8V16z"/><path class="r" d="M12 16V0h4V16z"/></svg>"#
        );
        assert_eq!(strip(&runs, None, 1).into_string().matches("<path").count(), 1);
    }
}

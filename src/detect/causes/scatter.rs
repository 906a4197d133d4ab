//! Scatter: how much more rows differ than chance alone makes them. It is measured between rows that
//! are alike in most labels, so neither ordinary rates nor causes have to be known for it.

use super::table::{Columns, Count};

/// The median of a squared normal deviate.
const MEDIAN: f64 = 0.455;
/// Pairs below which nothing is said.
const LEAST_PAIRS: usize = 20;
/// Rows with fewer reds expected, at the rate of the whole table, say nothing about scatter.
const LEAST_REDS: f64 = 1.0;
/// Labels that take their turn as the one in which neighbours differ.
const MOST_TURNS: usize = 6;

/// The correlation between the runs of a row. The least over labels in which neighbours may differ: where
/// that label moves ordinary rates, neighbours differ for a reason.
pub(super) fn scatter(columns: &Columns, counts: &[Count]) -> f64 {
    let (red, runs) = counts.iter().fold((0.0, 0.0), |(red, runs), count| (red + count.red, runs + count.runs()));
    let rate = if runs > 0.0 { red / runs } else { 0.0 };
    let telling: Vec<usize> =
        (0..columns.n).filter(|row| counts[*row].runs() * rate * (1.0 - rate) >= LEAST_REDS).collect();
    if telling.len() < LEAST_PAIRS {
        return 0.0;
    }
    let turns =
        (0..columns.ids.len().min(MOST_TURNS)).map(|turn| between(&neighbours(columns, &telling, turn), counts));
    turns.fold(None, |least: Option<f64>, turn| Some(least.map_or(turn, |least| least.min(turn)))).unwrap_or(0.0)
}

/// Rows in the order of their labels, this one last.
fn neighbours(columns: &Columns, rows: &[usize], turn: usize) -> Vec<usize> {
    let labels = columns.ids.len();
    let mut keyed: Vec<(u64, usize)> = (rows.iter())
        .map(|row| {
            let key = (1..=labels).fold(0u64, |key, step| {
                let label = (turn + step) % labels;
                key.wrapping_mul(columns.sizes[label] as u64 + 1).wrapping_add(u64::from(columns.ids[label][*row]))
            });
            (key, *row)
        })
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// The correlation at which half of the neighbours differ by more than they would by chance.
fn between(rows: &[usize], counts: &[Count]) -> f64 {
    // By pair: squared difference in deviations of chance, and how much each unit of correlation adds to it.
    let mut pairs: Vec<(f64, f64)> = (rows.chunks_exact(2))
        .map(|pair| {
            let (one, two) = (counts[pair[0]], counts[pair[1]]);
            let rate = (one.red + two.red) / (one.runs() + two.runs());
            let chance = 1.0 / one.runs() + 1.0 / two.runs();
            let apart = one.red / one.runs() - two.red / two.runs();
            let square = if apart == 0.0 { 0.0 } else { apart * apart / (rate * (1.0 - rate) * chance) };
            (square, (2.0 - chance) / chance)
        })
        .collect();
    // Chance hides it in small rows: the larger third speaks for itself.
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    solve(&pairs).max(solve(&pairs[..pairs.len() / 3]))
}

fn solve(pairs: &[(f64, f64)]) -> f64 {
    if pairs.len() < LEAST_PAIRS {
        return 0.0;
    }
    let wide = |correlation: f64, least: f64| {
        let mut squares: Vec<f64> = pairs.iter().map(|(square, adds)| square / (1.0 + correlation * adds)).collect();
        let middle = squares.len() / 2;
        *squares.select_nth_unstable_by(middle, f64::total_cmp).1 > MEDIAN * least
    };
    // A median of few pairs wavers by itself.
    if !wide(0.0, 1.0 + 3.0 / (pairs.len() as f64).sqrt()) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..20 {
        let middle = (low + high) / 2.0;
        if wide(middle, 1.0) { low = middle } else { high = middle }
    }
    low
}

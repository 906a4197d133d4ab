//! How long phases take, per platform and target.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    PHASE_DURATION, WatchedRoute,
    text::{Page, label},
};
use crate::canary::{Claim, Evidence, Phase, PlatformName, TargetName, Timestamp, Verdict};

/// Shortest bound, in seconds: below it nobody asks.
const SHORTEST: f64 = 0.25;
/// From so many pairs of platform and target on, bounds stand four times apart, and from the next
/// number on only objectives and deadlines are left: a page of metrics stays readable in half a
/// second whatever the product of platforms and targets.
const MANY_PAIRS: usize = 500;
const TOO_MANY_PAIRS: usize = 2_000;

/// Histograms of all pairs of platform and target.
#[derive(Clone, Default)]
pub(super) struct Phases {
    bounds: Arc<[f64]>,
    pairs: BTreeMap<(PlatformName, TargetName), [Times; Phase::ALL.len()]>,
}

/// One histogram.
#[derive(Clone, Default)]
struct Times {
    /// Observations up to each bound and above the one before; the last has no bound.
    counts: Box<[u64]>,
    sum: f64,
}

impl Phases {
    /// Keeps the pairs of these routes. New bounds mean new histograms.
    pub(super) fn set(&mut self, routes: &[WatchedRoute]) {
        let mut known = std::mem::take(&mut self.pairs);
        for watched in routes {
            let pair = (watched.route.platform.clone(), watched.route.target.clone());
            let times = known.remove(&pair);
            self.pairs.entry(pair).or_insert_with(|| times.unwrap_or_default());
        }
        let bounds = bounds(routes, self.pairs.len());
        if bounds != *self.bounds {
            self.bounds = bounds.into();
            self.pairs.values_mut().for_each(|times| *times = Default::default());
        }
        let n = self.bounds.len() + 1;
        for times in self.pairs.values_mut().flatten().filter(|times| times.counts.is_empty()) {
            times.counts = vec![0; n].into();
        }
    }

    pub(super) fn learn(&mut self, pair: &(PlatformName, TargetName), verdict: &Verdict) {
        let Some(phases) = self.pairs.get_mut(pair) else { return };
        for (phase, seconds) in durations(&verdict.evidence) {
            let times = &mut phases[phase as usize];
            let at = self.bounds.partition_point(|bound| *bound < seconds);
            if let Some(count) = times.counts.get_mut(at) {
                *count += 1;
                times.sum += seconds;
            }
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = PHASE_DURATION.name;
        let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let bounds: Vec<String> = bounds.map(|bound| label("le", &bound)).collect();
        page.family(PHASE_DURATION);
        for ((platform, target), phases) in &self.pairs {
            let pair = [label("platform", platform.as_str()), label("target", target.as_str())].join(",");
            for (phase, times) in Phase::ALL.iter().zip(phases) {
                let labels = format!("{pair},{}", label("phase", phase.as_str()));
                let mut so_far = 0;
                for (bound, n) in bounds.iter().zip(&times.counts) {
                    so_far += n;
                    page.line(&bucket, &[&labels, bound], so_far);
                }
                page.line(&sum, &[&labels], times.sum);
                page.line(&count, &[&labels], so_far);
            }
        }
    }
}

/// Powers of two (or four) up to the longest deadline, with every objective and deadline as an
/// exact bound.
fn bounds(routes: &[WatchedRoute], n_pairs: usize) -> Vec<f64> {
    let exact = routes.iter().flat_map(|watched| [watched.objective, watched.deadline]);
    let mut bounds: Vec<f64> = exact.map(|length| length.as_secs_f64()).collect();
    let longest = bounds.iter().copied().fold(0.0, f64::max);
    let factor = if n_pairs < MANY_PAIRS { 2.0 } else { 4.0 };
    if n_pairs < TOO_MANY_PAIRS {
        bounds.extend(std::iter::successors(Some(SHORTEST), |bound| Some(bound * factor)).take_while(|b| *b < longest));
    }
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

/// The phases that ended, with their length in seconds.
fn durations(evidence: &Evidence) -> Vec<(Phase, f64)> {
    let mut starts: Vec<(Phase, Timestamp)> = evidence.submitted_at.map(|at| (Phase::Submit, at)).into_iter().collect();
    let accepted =
        evidence.accepted_at.filter(|_| evidence.phases.first().is_none_or(|(first, _)| *first > Phase::Queue));
    starts.extend(accepted.map(|at| (Phase::Queue, at)));
    starts.extend(&evidence.phases);
    if matches!(evidence.claim, Claim::Done { .. }) && starts.last().is_some_and(|(phase, _)| *phase < Phase::Land) {
        starts.extend(evidence.claimed_at.map(|at| (Phase::Land, at)));
    }
    let landed = evidence.first_complete().map(|look| {
        let own = look.found.as_ref().ok().and_then(|seen| seen.landed_at);
        own.unwrap_or(look.started_at)
    });
    let ends = starts.iter().skip(1).map(|(_, at)| Some(*at)).chain([landed]);
    // A phase that is not the last one to begin ended when the next began; landing ends in sight.
    starts
        .iter()
        .zip(ends)
        .filter(|((phase, _), _)| *phase == Phase::Land || Some(*phase) != starts.last().map(|(last, _)| *last))
        .filter_map(|((phase, from), until)| Some((*phase, until?.since(*from).as_secs_f64())))
        .collect()
}

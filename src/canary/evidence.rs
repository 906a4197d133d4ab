//! Evidence: what one run saw, phase by phase. It holds no opinion; `judge` judges it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{marker::Marker, stages::Stages, tally::Rows, time::Timestamp};

/// Where in its flight a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being accepted by the platform.
    Submit,
    /// Waiting for the engine.
    Queue,
    /// Being computed.
    Execute,
    /// Being written out by the platform.
    Export,
    /// Becoming visible at the target.
    Land,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Phase; 5] = [Phase::Submit, Phase::Queue, Phase::Execute, Phase::Export, Phase::Land];

    /// The name in metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Submit => "submit",
            Phase::Queue => "queue",
            Phase::Execute => "execute",
            Phase::Export => "export",
            Phase::Land => "land",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the platform says of a run. Details come from outside and are cut to a page's width by
/// whoever heard them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// We never heard: no connection, no answer in time, or an answer that makes no sense.
    Unheard {
        /// Why we could not hear.
        detail: String,
    },
    /// It answered, and would not take or tell: a 4xx that will not change, or still refusing.
    Refused {
        /// What it was asked for: submit, or the status of an accepted run.
        phase: Phase,
        /// Asking again will not change the answer.
        for_good: bool,
        /// What it answered.
        detail: String,
    },
    /// Still at it.
    Running {
        /// Which phase it says it is in.
        phase: Phase,
    },
    /// Finished, says the platform.
    Done {
        /// How many rows it says it wrote, where it says so.
        rows: Option<u64>,
    },
    /// Finished with an error.
    Error {
        /// Where it failed.
        phase: Phase,
        /// The platform's own words.
        detail: String,
    },
    /// Stopped by someone else than us.
    Killed {
        /// Where it was stopped.
        phase: Phase,
    },
}

impl Claim {
    /// Whether the platform will say nothing more.
    pub fn is_last_word(&self) -> bool {
        matches!(
            self,
            Claim::Done { .. } | Claim::Error { .. } | Claim::Killed { .. } | Claim::Refused { for_good: true, .. }
        )
    }
}

impl fmt::Display for Claim {
    /// As people read it: `done, 20 rows`, `error in export: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Unheard { detail } => write!(f, "nothing was heard: {detail}"),
            Claim::Refused { phase, detail, .. } => write!(f, "refused at {phase}: {detail}"),
            Claim::Running { phase } => write!(f, "still at it, in {phase}"),
            Claim::Done { rows: Some(rows) } => write!(f, "done, {rows} rows"),
            Claim::Done { rows: None } => f.write_str("done"),
            Claim::Error { phase, detail } => write!(f, "error in {phase}: {detail}"),
            Claim::Killed { phase } => write!(f, "killed in {phase}"),
        }
    }
}

/// What one independent read of the target found for a run, as of the start of that read.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sighting {
    /// Our rows.
    pub rows: Rows,
    /// Earlier runs whose rows stand where ours should have put an end to them (modes that
    /// displace), newest first, at most a few. Empty for `append`, where others' rows belong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Marker>,
    /// Somebody else's run of the same route, sent meanwhile, whose rows stand where ours should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Marker>,
    /// When the target itself says the last of our rows came, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_at: Option<Timestamp>,
}

/// Runs that are named of those whose rows stand where ours should.
const STRANGERS_TOLD: usize = 5;

impl Sighting {
    /// What was found where only the rows of `run` may stand, and where rows of these `others` do too: earlier ones
    /// should have been displaced; a later one is somebody else's, whose rows are where they should be.
    pub fn among(rows: Rows, run: Marker, others: impl IntoIterator<Item = Marker>) -> Self {
        let (later, mut strangers): (Vec<Marker>, Vec<Marker>) =
            others.into_iter().filter(|other| *other != run).partition(|other| *other > run);
        strangers.sort_unstable_by(|one, other| other.cmp(one));
        strangers.dedup();
        strangers.truncate(STRANGERS_TOLD);
        Self { rows, strangers, rival: later.into_iter().max(), landed_at: None }
    }

    /// Every row once and right, and nobody else's rows where only ours may stand.
    pub fn complete(&self) -> bool {
        self.rows.complete() && self.strangers.is_empty()
    }
}

/// One look at the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When the read started: what it found was true no later than its end, and no earlier.
    pub started_at: Timestamp,
    /// What it found, or why it could not see.
    pub found: Result<Sighting, String>,
}

/// Proof, or its lack, that the target and our eyes work without the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// When it started. Only one that started after the claim convicts.
    pub started_at: Timestamp,
    /// Passed, or what failed.
    pub passed: Result<(), String>,
}

/// A time in which nobody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// The last moment known to have been watched.
    pub from: Timestamp,
    /// The first moment watched again.
    pub until: Timestamp,
}

/// What one run saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When the submit went out first; none if it never did.
    pub submitted_at: Option<Timestamp>,
    /// When the platform accepted it.
    pub accepted_at: Option<Timestamp>,
    /// The newest claim.
    pub claim: Claim,
    /// When the newest claim was first heard.
    pub claimed_at: Option<Timestamp>,
    /// Starts of phases as seen: queue, execute, export, land, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<(Phase, Timestamp)>,
    /// Looks at the target in the order of their start. Runs of looks that found the same are
    /// kept as their first and last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// The last control that passed and the last that failed, in the order of their start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    /// When the agent was not watching, as far as it concerns this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<Away>,
    /// The platform's own ids of the job and of its export, for people and for `impact`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// How long readers of a table that was displaced found it half empty meanwhile: see [`half_empty_for`].
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub half_empty: Duration,
    /// Of a report that did not come as it should: where it went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            submitted_at: None,
            accepted_at: None,
            claim: Claim::Unheard { detail: "nothing heard yet".into() },
            claimed_at: None,
            phases: Vec::new(),
            looks: Vec::new(),
            controls: Vec::new(),
            away: Vec::new(),
            jobs: Vec::new(),
            half_empty: Duration::ZERO,
            stages: None,
        }
    }
}

/// How long readers of a table that is displaced saw neither what was there before nor all that came: from
/// a look that found it empty or half filled to the next one, after one that found an earlier run's rows.
/// What happens between two looks, nobody knows: a gap that no look met is none.
pub fn half_empty_for<'l>(looks: impl Iterator<Item = &'l Look> + Clone) -> Duration {
    let mut gap = Duration::ZERO;
    let mut was_filled = false;
    for (look, next) in looks.clone().zip(looks.skip(1)) {
        let (Ok(seen), Ok(_)) = (&look.found, &next.found) else { continue };
        was_filled |= !seen.strangers.is_empty();
        if was_filled && seen.strangers.is_empty() && !seen.complete() {
            gap += next.started_at.since(look.started_at);
        }
    }
    gap
}

impl Evidence {
    /// Adds a look. Of a row of looks that found the same, the first and the last are kept.
    pub fn saw(&mut self, look: Look) {
        let n = self.looks.len();
        if n >= 2 && self.looks[n - 1].found == look.found && self.looks[n - 2].found == look.found {
            self.looks[n - 1] = look;
        } else {
            self.looks.push(look);
        }
    }

    /// Notes a claim; the time of the first hearing of the same claim stays.
    pub fn heard(&mut self, claim: Claim, at: Timestamp) {
        if self.claim != claim || self.claimed_at.is_none() {
            self.claim = claim;
            self.claimed_at = Some(at);
        }
    }

    /// Notes a control: the newest passed and the newest failed one are kept.
    pub fn controlled(&mut self, control: Control) {
        self.controls.retain(|known| known.passed.is_ok() != control.passed.is_ok());
        self.controls.push(control);
    }

    /// Notes that a phase began, unless it or a later one is known to have begun.
    pub fn entered(&mut self, phase: Phase, at: Timestamp) {
        if self.phases.last().is_none_or(|(last, _)| *last < phase) {
            self.phases.push((phase, at));
        }
    }

    /// The first look that found every row once and right.
    pub fn first_complete(&self) -> Option<&Look> {
        self.looks.iter().find(|look| look.found.as_ref().is_ok_and(Sighting::complete))
    }

    /// The newest look that could see.
    pub fn last_sighting(&self) -> Option<(&Sighting, Timestamp)> {
        self.looks.iter().rev().find_map(|look| look.found.as_ref().ok().map(|seen| (seen, look.started_at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a look began, and how many of our rows it found, and whether others' stood there.
    type Found = (i64, Result<(u32, bool), ()>);

    fn evidence(looks: &[Found]) -> Evidence {
        let mut evidence = Evidence::default();
        for (at, found) in looks {
            let found = found.map_err(|()| "down".to_owned()).map(|(right, others)| Sighting {
                rows: Rows { expected: 20, right, missing: 20 - right, ..Rows::default() },
                strangers: if others { vec![Marker::mint(Timestamp::from_secs(1), 1)] } else { Vec::new() },
                ..Sighting::default()
            });
            evidence.saw(Look { started_at: Timestamp::from_secs(*at), found });
        }
        evidence
    }

    #[test]
    fn of_other_runs_the_earlier_ones_should_be_gone_and_a_later_one_is_somebody_elses() {
        let run = |at: i64| Marker::mint(Timestamp::from_secs(at), 0);
        let among = |others: &[i64]| {
            let seen = Sighting::among(Rows::none(20), run(100), others.iter().map(|at| run(*at)));
            let strangers: Vec<Marker> = seen.strangers;
            (strangers, seen.rival)
        };
        assert_eq!(among(&[]), (vec![], None));
        assert_eq!(among(&[100]), (vec![], None), "ours is no other");
        assert_eq!(among(&[40, 90, 40, 60]), ([90, 60, 40].map(run).to_vec(), None));
        assert_eq!(among(&[120, 90, 130]), (vec![run(90)], Some(run(130))));
        assert_eq!(among(&(1..=50).collect::<Vec<_>>()).0, [50, 49, 48, 47, 46].map(run), "the newest are named");
    }

    #[test]
    fn a_table_that_stood_empty_while_it_was_replaced_is_noticed() {
        let old = Ok((0, true));
        let empty = Ok((0, false));
        for (looks, gap) in [
            (vec![(1, old), (2, Ok((20, false)))], 0),
            (vec![(1, old), (2, empty), (5, Ok((20, false)))], 3),
            (vec![(1, old), (2, empty), (5, Ok((7, false))), (6, Ok((20, false)))], 4),
            (vec![(1, old), (2, empty), (3, Err(())), (9, Ok((20, false)))], 0),
            // Nothing was there before: that nothing is there yet is no gap.
            (vec![(1, empty), (5, Ok((20, false)))], 0),
            (vec![], 0),
        ] {
            assert_eq!(half_empty_for(evidence(&looks).looks.iter()), Duration::from_secs(gap), "{looks:?}");
        }
    }
}

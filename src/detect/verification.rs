//! Verification: what a release did to each route, told from its runs since against those before.

use serde::{Deserialize, Serialize, de, ser::SerializeMap};

use super::{
    baseline::Baseline,
    field::{Field, Seen},
    suspects::{STRAY, explain},
};
use crate::canary::{Marker, Outcome, Route, State};

/// How likely a platform is to say "failed" by itself, once it has said so twice: for the suspects only.
const HONEST_STRAY: f64 = 1e-3;
/// Runs of a route beyond those that were asked for: to confirm a red, and to look again where nobody saw.
const EXTRA_RUNS: usize = 2;

/// One run of a route, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Flown {
    /// Which.
    pub run: Marker,
    /// What it came to, for the time being or for good.
    pub outcome: Outcome,
    /// It cannot become good any more.
    pub settled: bool,
    /// Why, in words.
    pub reason: Option<String>,
}

/// What the runs of one route say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It lands.
    Good,
    /// It does not.
    Bad,
    /// Nobody could see.
    Unclear,
}

/// What the runs of one route say, and whether more of them would not change it: one lost run is one too
/// many, a failed one is run again, and where nobody could see it is tried once more.
pub fn word(runs: &[Flown], rounds: u32) -> (Word, bool) {
    let rounds = rounds.max(1) as usize;
    let count = |is: &dyn Fn(&Flown) -> bool| runs.iter().filter(|run| is(run)).count();
    let red = |run: &Flown| run.outcome.state() == State::Red;
    if count(&|run| run.settled && run.outcome.is_silent()) > 0 {
        return (Word::Bad, true);
    }
    let honest = count(&|run| run.settled && red(run));
    let good = count(&|run| run.settled && matches!(run.outcome.state(), State::Green | State::Amber));
    let waiting = count(&|run| !run.settled && red(run));
    let enough = runs.iter().filter(|run| run.settled).count() >= rounds + EXTRA_RUNS;
    match (honest, good) {
        (2.., _) => (Word::Bad, true),
        (1, 0) => (Word::Bad, enough),
        (1, good) => (Word::Good, good + 1 >= rounds),
        (0, 0) if waiting > 0 => (Word::Bad, false),
        (0, 0) => (Word::Unclear, enough || runs.iter().filter(|run| run.settled).count() > rounds),
        (0, good) => (Word::Good, good >= rounds || enough),
    }
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// It was good, or nobody knows how it was, and is bad.
    #[serde(rename = "regression")]
    Regression,
    /// It was bad and is.
    #[serde(rename = "still failing")]
    StillFailing,
    /// It was bad and is good.
    #[serde(rename = "fixed")]
    Fixed,
    /// It is good.
    #[serde(rename = "ok")]
    Ok,
    /// Nobody could see.
    #[serde(rename = "undetermined")]
    Undetermined,
}

impl Turn {
    /// Each, the worst first.
    pub const ALL: [Self; 5] = [Self::Regression, Self::StillFailing, Self::Undetermined, Self::Fixed, Self::Ok];

    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::Ok => "ok",
            Self::Undetermined => "undetermined",
        }
    }

    fn of(word: Word, baseline: &Baseline) -> Self {
        match word {
            Word::Bad if baseline.was_bad() => Self::StillFailing,
            Word::Bad => Self::Regression,
            Word::Good if baseline.is_mended_if_good() => Self::Fixed,
            Word::Good => Self::Ok,
            Word::Unclear => Self::Undetermined,
        }
    }
}

/// A route with what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Its four names.
    pub canary: String,
    /// Where the query ran.
    pub platform: String,
    /// Where the result went.
    pub target: String,
    /// How it was written.
    pub mode: String,
    /// What became of it.
    pub state: Turn,
    /// What the run that decided came to; none: there was no run.
    pub outcome: Option<Outcome>,
    /// What the run before came to, if there was one.
    pub was: Option<Outcome>,
    /// The run that decided.
    pub run_id: Option<Marker>,
    /// Why, in words, where it is not plain.
    pub reason: Option<String>,
    /// Runs that were sent.
    pub runs: usize,
    /// From the first run until it was clear, in seconds.
    pub seconds: f64,
}

/// A suspect over this verification alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its labels.
    pub labels: Pairs,
    /// Bad routes inside.
    pub red: u32,
    /// Good routes inside.
    pub green: u32,
}

/// Labels in the order of the file: an object in JSON. Empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

impl Serialize for Pairs {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> de::Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of labels")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Object)
    }
}

/// What all routes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Nothing got worse.
    Yes,
    /// Something did.
    No,
    /// Nobody could see all of it.
    Unsure,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The answer.
    pub answer: Answer,
    /// What is common to the routes that got worse, most red first; if none did, to those that still fail.
    pub suspects: Vec<Named>,
    /// Every route that was selected, in the plan's order.
    pub routes: Vec<Verified>,
}

impl Verification {
    /// The whole. `strict`: what still fails is a no, too.
    pub fn new(routes: &[&Route], verified: Vec<Verified>, strict: bool) -> Self {
        let any = |turn: Turn| verified.iter().any(|route| route.state == turn);
        let answer = if any(Turn::Regression) || (strict && any(Turn::StillFailing)) {
            Answer::No
        } else if any(Turn::Undetermined) {
            Answer::Unsure
        } else {
            Answer::Yes
        };
        let blamed = if any(Turn::Regression) { Turn::Regression } else { Turn::StillFailing };
        Self { answer, suspects: suspects(routes, &verified, blamed), routes: verified }
    }

    /// The same, where what it found is how routes are from now on: what is bad has been bad.
    pub fn accepted(routes: &[&Route], mut verified: Vec<Verified>) -> Self {
        for one in verified.iter_mut().filter(|one| one.state == Turn::Regression) {
            one.state = Turn::StillFailing;
        }
        Self::new(routes, verified, false)
    }

    /// How many routes turned so.
    pub fn count(&self, turn: Turn) -> usize {
        self.routes.iter().filter(|route| route.state == turn).count()
    }
}

fn suspects(routes: &[&Route], verified: &[Verified], blamed: Turn) -> Vec<Named> {
    let seen: Vec<Seen> = (verified.iter())
        .map(|route| match route.state {
            turn if turn == blamed => Seen { red: 1, green: 0 },
            Turn::Ok | Turn::Fixed => Seen { red: 0, green: 1 },
            _ => Seen::default(),
        })
        .collect();
    let silent = |route: &Verified| route.state == blamed && route.outcome.is_some_and(Outcome::is_silent);
    let stray = if verified.iter().any(silent) { STRAY } else { HONEST_STRAY };
    let field = Field::of_routes(routes.iter().copied());
    let named = explain(&field, &seen, stray).into_iter().filter(|suspect| suspect.inside.red > 0);
    named
        .map(|suspect| Named {
            labels: Pairs(suspect.labels.clone()),
            red: suspect.inside.red,
            green: suspect.inside.green,
        })
        .collect()
}

/// A route with what its runs say against how it was. `missed`: why there is none.
pub fn verified(
    route: &Route,
    runs: &[Flown],
    baseline: &Baseline,
    rounds: u32,
    seconds: f64,
    missed: String,
) -> Verified {
    let (word, _) = word(runs, rounds);
    let wanted = |run: &&Flown| match word {
        Word::Bad => run.outcome.state() == State::Red,
        Word::Good => matches!(run.outcome.state(), State::Green | State::Amber),
        Word::Unclear => true,
    };
    // One that was lost tells more than one that failed.
    let silent = runs.iter().filter(wanted).find(|run| run.outcome.is_silent());
    let decided = silent.or_else(|| runs.iter().rev().find(wanted));
    let mut reason = decided.and_then(|run| run.reason.clone());
    if word == Word::Good && runs.iter().any(|run| run.outcome.state() == State::Red) {
        reason = Some("a run failed, and did not when it was repeated".to_owned());
    }
    if decided.is_none() {
        reason = Some(missed);
    }
    Verified {
        canary: route.canary.to_string(),
        platform: route.platform.to_string(),
        target: route.target.to_string(),
        mode: route.mode.to_string(),
        state: Turn::of(word, baseline),
        outcome: decided.map(|run| run.outcome),
        was: if word == Word::Bad { baseline.newest_before() } else { baseline.newest() },
        run_id: decided.map(|run| run.run),
        reason,
        runs: runs.len(),
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::Timestamp;

    fn flown(outcome: Outcome, settled: bool) -> Flown {
        Flown { run: Marker::mint(Timestamp::from_secs(1), 1), outcome, settled, reason: None }
    }

    #[test]
    fn what_runs_say_and_whether_more_would_change_it() {
        use Outcome::{Failed, Landed, Late, Lost, Stuck, Unknown};
        for (runs, rounds, said) in [
            (vec![], 1, (Word::Unclear, false)),
            (vec![(Landed, true)], 1, (Word::Good, true)),
            (vec![(Late, true)], 1, (Word::Good, true)),
            (vec![(Landed, true)], 2, (Word::Good, false)),
            (vec![(Lost, false)], 1, (Word::Bad, false)),
            (vec![(Lost, true)], 1, (Word::Bad, true)),
            (vec![(Lost, true)], 5, (Word::Bad, true)),
            (vec![(Landed, true), (Lost, true)], 3, (Word::Bad, true)),
            (vec![(Failed, true)], 1, (Word::Bad, false)),
            (vec![(Failed, true), (Stuck, true)], 1, (Word::Bad, true)),
            (vec![(Failed, true), (Landed, true)], 1, (Word::Good, true)),
            (vec![(Failed, true), (Landed, true)], 3, (Word::Good, false)),
            (vec![(Failed, true), (Unknown, true), (Unknown, true)], 1, (Word::Bad, true)),
            (vec![(Unknown, true)], 1, (Word::Unclear, false)),
            (vec![(Unknown, true), (Unknown, true)], 1, (Word::Unclear, true)),
            (vec![(Unknown, true), (Landed, true)], 1, (Word::Good, true)),
        ] {
            let flown: Vec<Flown> = runs.iter().map(|(outcome, settled)| flown(*outcome, *settled)).collect();
            assert_eq!(word(&flown, rounds), said, "{runs:?} {rounds}");
        }
    }

    #[test]
    fn a_regression_wins_over_what_nobody_could_see() {
        let of = |turns: &[Turn], strict| {
            let verified = turns.iter().map(|turn| Verified {
                canary: "c".to_owned(),
                platform: "p".to_owned(),
                target: "t".to_owned(),
                mode: "append".to_owned(),
                state: *turn,
                outcome: None,
                was: None,
                run_id: None,
                reason: None,
                runs: 0,
                seconds: 0.0,
            });
            Verification::new(&[], verified.collect(), strict).answer
        };
        use Turn::{Fixed, Ok, Regression, StillFailing, Undetermined};
        assert_eq!(of(&[Ok, Fixed], false), Answer::Yes);
        assert_eq!(of(&[Ok, Undetermined], false), Answer::Unsure);
        assert_eq!(of(&[Regression, Undetermined], false), Answer::No);
        assert_eq!(of(&[StillFailing, Ok], false), Answer::Yes);
        assert_eq!(of(&[StillFailing, Undetermined], true), Answer::No);
    }
}

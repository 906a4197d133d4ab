//! Inquiries: what takes longer than a connection lives. Begun by a POST, then looked at until they are over.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Doors, Order, Reply,
    answer::{self, Problem},
    api::Answer,
};

/// Whoever waits for it asks every moment: nobody does any more.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// That is looked at so often.
const BEAT: Duration = Duration::from_millis(250);

/// How far inquiries of a kind are, and what is common to them.
pub trait Stage: Copy + Default + Serialize {
    /// What the thing found is called in answers.
    const FINDS: &'static str;
    /// How many can still be looked at.
    const KEPT: usize;
    /// How many may be under way.
    const AT_ONCE: usize;
}

/// One, as it stands.
#[derive(Debug)]
pub struct Inquiry<S, F> {
    id: String,
    about: String,
    stands: Arc<Mutex<Stands<S, F>>>,
}

#[derive(Debug)]
struct Stands<S, F> {
    stage: S,
    /// What was found, or why nothing was.
    end: Option<Result<Arc<F>, String>>,
    /// When somebody last asked how it stands.
    asked_at: Instant,
    /// Whoever began it does not want it any more.
    is_taken_back: bool,
}

impl<S, F> Clone for Inquiry<S, F> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), about: self.about.clone(), stands: Arc::clone(&self.stands) }
    }
}

impl<S: Stage, F: Serialize> Inquiry<S, F> {
    fn stands(&self) -> MutexGuard<'_, Stands<S, F>> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub fn is_at(&self, stage: S) {
        self.stands().stage = stage;
    }

    /// It is over: what was found, or why nothing was.
    pub fn ends(&self, end: Result<F, String>) {
        self.stands().end = Some(end.map(Arc::new));
    }

    /// Nobody wants it any more.
    pub(super) fn take_back(&self) {
        self.stands().is_taken_back = true;
    }

    /// Waits until nobody wants it any more: it was taken back, or nobody has asked how it stands for long.
    pub async fn given_up(&self) {
        let wanted = || {
            let stands = self.stands();
            !stands.is_taken_back && stands.asked_at.elapsed() < FORGOTTEN
        };
        while wanted() {
            tokio::time::sleep(BEAT).await;
        }
    }

    pub(super) fn shape(&self) -> Value {
        let (stage, end) = {
            let stands = self.stands();
            (stands.stage, stands.end.clone())
        };
        let (found, error) = match end {
            Some(Ok(found)) => (Some(found), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let mut shape = json!(stage);
        shape["id"] = json!(self.id);
        shape[S::FINDS] = json!(found);
        shape["error"] = json!(error);
        shape
    }

    /// Has somebody begin it, and answers by what it can be looked at.
    pub(super) async fn order(self, doors: &Doors, order: impl FnOnce(Self, Reply) -> Order) -> Answer {
        let shown = self.clone();
        if let Err(problem) = doors.order(|reply| order(shown, reply)).await {
            self.ends(Err(problem.what.clone()));
            return Err(problem);
        }
        let mut response = answer::json(&self.shape());
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }
}

/// The last ones of a kind.
#[derive(Debug)]
pub struct Inquiries<S, F>(Mutex<VecDeque<Inquiry<S, F>>>);

impl<S, F> Default for Inquiries<S, F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Stage, F: Serialize> Inquiries<S, F> {
    fn all(&self) -> MutexGuard<'_, VecDeque<Inquiry<S, F>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, about: &str, stage: S) -> Result<Inquiry<S, F>, Problem> {
        let mut all = self.all();
        if all.iter().filter(|known| known.stands().end.is_none()).count() >= S::AT_ONCE {
            return Err(Problem::unavailable("others are under way: ask again in a minute"));
        }
        // Keyed by the system's own chance: who has seen others cannot guess this one, and looking needs no token.
        let keyed = RandomState::new();
        let id = format!("{:016x}{:016x}", keyed.hash_one(0_u8), keyed.hash_one(1_u8));
        let stands = Arc::new(Mutex::new(Stands { stage, end: None, asked_at: Instant::now(), is_taken_back: false }));
        let inquiry = Inquiry { id, about: about.to_owned(), stands };
        all.push_back(inquiry.clone());
        while all.len() > S::KEPT {
            all.pop_front();
        }
        Ok(inquiry)
    }

    pub(super) fn get(&self, about: &str, id: &str) -> Result<Inquiry<S, F>, Problem> {
        let all = self.all();
        let found = all.iter().find(|known| known.id == id && known.about == about).cloned();
        if let Some(found) = &found {
            found.stands().asked_at = Instant::now();
        }
        found.ok_or_else(|| Problem::nothing("nobody asked that, or it was long ago"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, Serialize)]
    struct Steps {
        steps: u32,
    }

    impl Stage for Steps {
        const FINDS: &'static str = "answer";
        const KEPT: usize = 3;
        const AT_ONCE: usize = 2;
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_about_any_more_is_given_up() {
        let all = Inquiries::<Steps, u32>::default();
        let (one, two) = (all.begin("a", Steps::default()).unwrap(), all.begin("a", Steps::default()).unwrap());
        let began = Instant::now();
        tokio::time::sleep(FORGOTTEN / 2).await;
        all.get("a", &one.id).unwrap();
        two.given_up().await;
        assert!(began.elapsed() >= FORGOTTEN && began.elapsed() < FORGOTTEN * 3 / 2);
        one.given_up().await;
        assert!(began.elapsed() >= FORGOTTEN * 3 / 2);
        // Whoever takes it back need not wait for that.
        let three = all.begin("a", Steps::default());
        assert!(three.is_err(), "two are under way");
        one.ends(Ok(1));
        let three = all.begin("a", Steps::default()).unwrap();
        three.take_back();
        let asked = Instant::now();
        three.given_up().await;
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }

    #[test]
    fn so_many_are_under_way_and_the_last_ones_are_kept_for_whoever_asked() {
        let all = Inquiries::<Steps, u32>::default();
        let (one, two) = (all.begin("a", Steps::default()).unwrap(), all.begin("b", Steps::default()).unwrap());
        assert!(all.begin("c", Steps::default()).is_err());
        one.is_at(Steps { steps: 7 });
        let shape = json!({ "id": one.id, "steps": 7, "answer": null, "error": null });
        assert_eq!(all.get("a", &one.id).unwrap().shape(), shape);
        assert!(all.get("b", &one.id).is_err() && all.get("a", "0000").is_err());
        one.ends(Ok(42));
        two.ends(Err("the ledger is down".to_owned()));
        assert_eq!(all.get("a", &one.id).unwrap().shape()["answer"], 42);
        assert_eq!(all.get("b", &two.id).unwrap().shape()["error"], "the ledger is down");
        // What is over makes room, and the oldest is forgotten.
        for _ in 0..2 {
            all.begin("c", Steps::default()).unwrap().ends(Ok(1));
        }
        assert!(all.get("a", &one.id).is_err() && all.get("b", &two.id).is_ok());
    }
}

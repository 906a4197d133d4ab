//! `/events`: what changes on the status page, while somebody looks, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! One task makes each change once for all who look, and only while somebody does. An event's id is the version of
//! the board that it leads to; whoever comes with an older one is told what happened since, or to fetch the page
//! again where that is not known any more.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension,
    extract::{Query, State},
    http::HeaderMap,
    response::{IntoResponse, Response, Sse, sse::Event},
};
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    task::JoinHandle,
};

use super::{
    Doors, Shared,
    answer::Problem,
    api::Asked,
    pages::{self, Drawing},
    serve::Stopping,
    version_of,
};
use crate::{
    canary::{Maintenance, Timestamp},
    detect::Board,
    store::Opening,
};

/// Streams at once: fewer than connections, so that pages and scrapes find a place beside them.
const STREAMS: usize = 400;
/// Routes that one who comes back is told of by themselves.
const MANY: usize = 100;
/// Changes that a slow reader may be behind; then it fetches the page again.
const BEHIND: usize = 32;
/// What is new is looked for this often. The board itself is shown anew every half second at most.
const LOOK: Duration = Duration::from_millis(400);
/// Parts that take the ledger, or change by time alone, are written anew this often.
const SLOW: Duration = Duration::from_secs(5);
/// After so many looks without news readers are told that there is none: who is not told so, either, knows that what it
/// shows is old.
const BEAT: u32 = 25;

/// Whoever looks, and what they are told.
pub(super) struct Live {
    changes: broadcast::Sender<Change>,
    /// Whoever looks at what changes; nobody while nobody wants to know.
    watch: Mutex<Option<JoinHandle<()>>>,
    places: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(STREAMS));
        Self { changes: broadcast::channel(BEHIND).0, watch: Mutex::default(), places }
    }
}

/// One change of the page.
#[derive(Clone)]
enum Change {
    /// These parts are new.
    Parts { version: Arc<str>, data: Arc<str> },
    /// Something is not as it was that cannot be told part by part.
    Again,
    /// Nothing is new, as of now.
    Beat(Timestamp),
}

/// The parts that are new, by what they stand for.
#[derive(Serialize)]
struct Parts {
    now: Timestamp,
    /// Sections by their id.
    parts: HashMap<&'static str, String>,
    /// Routes by their name.
    routes: HashMap<String, String>,
}

pub(super) async fn events(
    State(doors): Shared,
    Extension(live): Extension<Arc<Live>>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    Query(asked): Asked,
) -> Result<Response, Problem> {
    let place = Arc::clone(&live.places).try_acquire_owned();
    let place = place.map_err(|_| Problem::unavailable("too many look already; the page itself is there"))?;
    // A browser that comes again says where it was.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let asked = asked.iter().find(|(key, _)| key == "since").map(|(_, since)| since.as_str());
    let changes = live.changes.subscribe();
    // What changes from here on is sent to all who look; what changed before, to this one.
    live.tell(&doors);
    let first = match last.or(asked) {
        Some(since) => Some(since_then(&doors, since).await),
        None => None,
    };
    let looker = Looker { first, changes, stopping: stopping.map(|Extension(stopping)| stopping), _place: place };
    let told = stream::unfold(looker, |mut looker| async move {
        let event = looker.next().await?;
        Some((Ok::<_, Infallible>(event), looker))
    });
    Ok(Sse::new(told).into_response())
}

/// One who looks.
struct Looker {
    first: Option<Change>,
    changes: broadcast::Receiver<Change>,
    stopping: Option<Stopping>,
    _place: OwnedSemaphorePermit,
}

impl Looker {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first.event());
        }
        let stopped = async {
            match self.stopping.clone() {
                Some(stopping) => stopping.stopped().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped => None,
            change = self.changes.recv() => match change {
                Ok(change) => Some(change.event()),
                Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Again.event()),
                Err(broadcast::error::RecvError::Closed) => None,
            },
        }
    }
}

impl Change {
    fn event(self) -> Event {
        match self {
            Change::Parts { version, data } => Event::default().event("parts").id(version).data(data),
            Change::Again => Event::default().event("again").data("-"),
            Change::Beat(now) => Event::default().event("beat").data(now.to_string()),
        }
    }
}

/// What changed since a version that somebody has: routes; and every part, since parts have no version.
async fn since_then(doors: &Doors, version: &str) -> Change {
    let board = Arc::clone(&doors.board.borrow());
    let life = version_of(&board);
    let (life, _) = life.split_once('.').unwrap_or_default();
    let known = version.split_once('.').filter(|(of, _)| *of == life).and_then(|(_, version)| version.parse().ok());
    // Of many the page itself is the shorter answer.
    let is_few = |known: &u64| board.changed_since(*known).is_some_and(|changed| changed.count() <= MANY);
    let known = known.filter(is_few);
    let Some(routes) = known.and_then(|known| routes_since(doors, &board, known)) else { return Change::Again };
    let mut parts: Vec<_> = pages::quick(doors).into();
    parts.extend(pages::slow(doors).await);
    let text = |(name, part): (&'static str, _)| (name, pages::section(name, &part).into_string());
    Parts { now: (doors.now)(), parts: parts.into_iter().map(text).collect(), routes }.change(&board)
}

/// Routes that changed since a version of the board, as they are drawn now; none if there are other routes by now.
fn routes_since(doors: &Doors, board: &Board, version: u64) -> Option<HashMap<String, String>> {
    let (maintenance, now) = (Arc::clone(&doors.maintenance.borrow()), (doors.now)());
    let drawing = Drawing::of(board, &maintenance, now);
    let changed = board.changed_since(version)?;
    Some(changed.map(|standing| (standing.route.to_string(), drawing.route(standing).into_string())).collect())
}

impl Parts {
    fn change(&self, board: &Board) -> Change {
        match serde_json::to_string(self) {
            Ok(data) => Change::Parts { version: version_of(board).into(), data: data.into() },
            Err(_) => Change::Again,
        }
    }
}

impl Live {
    /// Has everybody told who looks, if that is not so already.
    fn tell(self: &Arc<Self>, doors: &Arc<Doors>) {
        let mut known = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(JoinHandle::is_finished) {
            *known = Some(tokio::spawn(Arc::clone(self).watch(Watch::of(Arc::clone(doors)))));
        }
    }

    /// Looks at what changes until nobody wants to know.
    async fn watch(self: Arc<Self>, mut watch: Watch) {
        let mut quiet = 0;
        loop {
            let change = watch.change().await;
            quiet = if change.is_some() { 0 } else { quiet + 1 };
            let beat = (quiet > 0 && quiet % BEAT == 0).then(|| Change::Beat((watch.doors.now)()));
            // Whether anybody is there is asked below.
            if let Some(told) = change.or(beat) {
                let _ = self.changes.send(told);
            }
            {
                let mut known = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
                if self.changes.receiver_count() == 0 {
                    *known = None;
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What was told last.
struct Watch {
    doors: Arc<Doors>,
    board: Arc<Board>,
    maintenance: Arc<Maintenance>,
    letters: Arc<Vec<Opening>>,
    /// Parts as they are on open pages, without what the pages count on by themselves.
    shown: HashMap<&'static str, String>,
    /// When the parts were written last that take the ledger, and all others for sure.
    slow_at: Option<Timestamp>,
}

impl Watch {
    fn of(doors: Arc<Doors>) -> Self {
        let (board, maintenance) = (Arc::clone(&doors.board.borrow()), Arc::clone(&doors.maintenance.borrow()));
        let letters = Arc::clone(&doors.letters.borrow());
        // Nobody knows what is on the pages that are open: the first time, every part is sent.
        Self { doors, board, maintenance, letters, shown: HashMap::new(), slow_at: None }
    }

    /// What is new, if anything is.
    async fn change(&mut self) -> Option<Change> {
        let doors = Arc::clone(&self.doors);
        let (board, maintenance) = (Arc::clone(&doors.board.borrow()), Arc::clone(&doors.maintenance.borrow()));
        let letters = Arc::clone(&doors.letters.borrow());
        let now = (doors.now)();
        // A clock that was set back does not make it wait.
        let is_slow = self.slow_at.is_none_or(|at| now < at || now.since(at) >= SLOW);
        let is_same = Arc::ptr_eq(&board, &self.board) && Arc::ptr_eq(&letters, &self.letters);
        if is_same && Arc::ptr_eq(&maintenance, &self.maintenance) && !is_slow {
            return None;
        }
        let is_paused_anew = maintenance.pauses != self.maintenance.pauses;
        let before = std::mem::replace(&mut self.board, board);
        (self.maintenance, self.letters) = (maintenance, letters);
        let mut parts: Vec<_> = pages::quick(&doors).into();
        if is_slow {
            self.slow_at = Some(now);
            parts.extend(pages::slow(&doors).await);
        }
        let mut new = HashMap::new();
        for (name, part) in parts {
            let text = pages::section(name, &part).into_string();
            let timeless = timeless(&text);
            if self.shown.get(name) != Some(&timeless) {
                self.shown.insert(name, timeless);
                new.insert(name, text);
            }
        }
        if is_paused_anew {
            return Some(Change::Again);
        }
        let Some(routes) = routes_since(&doors, &self.board, before.version()) else { return Some(Change::Again) };
        (!routes.is_empty() || !new.is_empty()).then(|| Parts { now, parts: new, routes }.change(&self.board))
    }
}

/// Markup without the lengths of time that a page counts on by itself.
fn timeless(markup: &str) -> String {
    let mut kept = String::with_capacity(markup.len());
    let mut rest = markup;
    while let Some((before, after)) = rest.split_once(" data-ago>") {
        kept.push_str(before);
        rest = after.split_once('<').map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_counts_on_by_itself_is_no_change() {
        let page = |age: &str, word: &str| format!("<p>for <time data-ago>{age}</time> and {word}</p>");
        assert_eq!(timeless(&page("1s", "more")), timeless(&page("2m3s", "more")));
        assert_ne!(timeless(&page("1s", "more")), timeless(&page("1s", "less")));
    }
}

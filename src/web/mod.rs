//! FLOOR 3, the agent's doors: metrics, health, API, pages, and the intake of webhook targets.
//! They show what the agent knows and hand on orders; they decide nothing.

mod answer;
mod api;
mod coverage;
mod guard;
mod impact;
mod inquiry;
mod intake;
mod live;
mod maintenance;
mod notifications;
mod pages;
mod reports;
mod serve;
mod shapes;
mod told;
mod verify;

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, extract::State, middleware, routing};
use tokio::sync::{mpsc, oneshot, watch};

pub use coverage::Read;
pub use guard::Hosts;
pub use impact::{Accounts, Question};
pub use inquiry::{Inquiries, Inquiry, Stage};
pub use intake::{Kept, intake_router};
pub use serve::serve;
pub use verify::{Clear, Request};

use self::{answer::Problem, pages::Public};
use crate::{
    canary::{Maintenance, Pause, Secret, Selector, Silence, Timestamp},
    detect::{Board, Deploy, IncidentId, Summary, coverage::Coverage, impact::Impact, verification::Verification},
    metrics::Metrics,
    store::{Drill, Opening, Store},
};

/// What the doors show and whom they hand orders to.
#[derive(Clone)]
pub struct Doors {
    /// Runs, incidents, deploys.
    pub store: Arc<dyn Store>,
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
    /// How everything stands.
    pub board: watch::Receiver<Arc<Board>>,
    /// What is silenced and paused.
    pub maintenance: watch::Receiver<Arc<Maintenance>>,
    /// Openings of which something is still to be told, newest first.
    pub letters: watch::Receiver<Arc<Vec<Opening>>>,
    /// Whoever carries orders out.
    pub orders: mpsc::Sender<Order>,
    /// Without it everything that changes state answers 403.
    pub token: Option<Secret>,
    /// Verifications that were asked for.
    pub verifications: Arc<Inquiries<Clear, Verification>>,
    /// Surveys of what customers use that were asked for.
    pub surveys: Arc<Inquiries<Read, Coverage>>,
    /// What was asked of incidents.
    pub askings: Arc<Inquiries<Accounts, Impact>>,
    /// Names by which the agent may be addressed.
    pub hosts: Hosts,
    /// The agent's name, for the pages.
    pub agent: String,
    /// What the public page calls what is watched. Without it there is no such page.
    pub public: Option<String>,
    /// What time it is.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// When the scheduler last went round; none before the first time.
    pub scheduled_at: Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>,
}

/// Something that a person or a pipeline wants done.
#[derive(Debug)]
pub enum Order {
    /// Note a deploy, and run every route at once, `first` first.
    Deploy {
        /// The marker.
        deploy: Deploy,
        /// Which routes go first.
        first: Selector,
        /// It is also to be verified, over these routes, and shown there.
        verifying: Option<Box<(Request, Inquiry<Clear, Verification>)>>,
        /// Whether it was stored.
        reply: Reply,
    },
    /// Verify a release.
    Verify {
        /// Over which routes, and how.
        request: Request,
        /// Where it is shown how it stands.
        under: Inquiry<Clear, Verification>,
        /// Whether it has begun.
        reply: Reply,
    },
    /// Ask the platforms what customers use.
    Coverage {
        /// How far back.
        within: Duration,
        /// Where it is shown how it stands.
        surveying: Inquiry<Read, Coverage>,
        /// Whether it has begun.
        reply: Reply,
    },
    /// Find what an incident did to customers.
    Impact {
        /// Of which, and how.
        question: Box<Question>,
        /// Where it is shown how it stands.
        asking: Inquiry<Accounts, Impact>,
        /// Whether it has begun.
        reply: Reply,
    },
    /// Read the config again.
    Reload {
        /// Whether it was taken.
        reply: Reply,
    },
    /// Close an incident by hand.
    Resolve {
        /// Which one.
        id: IncidentId,
        /// Why, in their words.
        because: String,
        /// Whether there was such an open incident.
        reply: Reply,
    },
    /// Page nobody of some routes for a while.
    Silence {
        /// Which and when; its id is made by whoever keeps it.
        silence: Silence,
        /// As it is kept.
        reply: Reply<Silence>,
    },
    /// Take a silence back.
    Unsilence {
        /// Which.
        id: String,
        /// Whether there was one.
        reply: Reply,
    },
    /// Send nothing over some routes.
    Pause {
        /// Which and until when.
        pause: Pause,
        /// Whether it is kept.
        reply: Reply,
    },
    /// Send again.
    Resume {
        /// Over which routes. Empty: all.
        only: Selector,
        /// How many were paused.
        reply: Reply<usize>,
    },
    /// Send a fire drill.
    Drill {
        /// Through this notifier; none: all.
        notifier: Option<String>,
        /// What became of it.
        reply: Reply<Drill>,
    },
    /// A person got the newest drill.
    ConfirmDrill {
        /// The code that stood in the page.
        code: String,
        /// Whether it is the right one.
        reply: Reply<Drill>,
    },
}

/// How an order ended.
pub type Reply<T = ()> = oneshot::Sender<Result<T, Declined>>;

/// Why an order was not carried out. The texts go to whoever ordered: they hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as it stands: a config that is refused.
    #[error("{0}")]
    Invalid(String),
    /// Not now: the ledger is down.
    #[error("{0}")]
    Unavailable(String),
}

/// An order is answered within this, or nobody knows: a reload reads files and opens drivers.
const ORDER: Duration = Duration::from_secs(20);
/// A drill is tried several times at receivers that hang.
const DRILL: Duration = Duration::from_secs(35);
/// A scheduler that has not gone round for so long is stuck; it does several times a minute.
const STUCK: Duration = Duration::from_secs(60);
/// A question to the ledger is answered within this, or the ledger is not there.
const LEDGER: Duration = Duration::from_secs(10);

/// The agent's own listener: pages, API, metrics.
pub fn router(doors: Doors) -> Router {
    let doors = Arc::new(doors);
    let public = doors.public.clone().map(|title| Public::new(Arc::clone(&doors), title).page());
    Router::new()
        .merge(public.unwrap_or_default())
        .route("/", routing::get(pages::overview))
        .route("/incidents/{id}", routing::get(pages::incident))
        .route("/runs/{id}", routing::get(pages::run))
        .route("/style.css", routing::get(pages::style))
        .route("/live.js", routing::get(pages::script))
        .route("/icon.svg", routing::get(pages::icon))
        .route("/events", routing::get(live::events))
        .route("/metrics", routing::get(answer::metrics))
        .route("/healthz", routing::get(answer::alive))
        .route("/readyz", routing::get(answer::ready))
        .route("/api/v1/summary", routing::get(api::summary))
        .route("/api/v1/routes", routing::get(api::routes))
        .route("/api/v1/runs", routing::get(api::runs))
        .route("/api/v1/incidents", routing::get(api::incidents))
        .route("/api/v1/incidents/{id}", routing::get(api::incident))
        .route("/api/v1/incidents/{id}/resolve", routing::post(api::resolve))
        .route("/api/v1/incidents/{id}/impact", routing::post(impact::begin))
        .route("/api/v1/incidents/{id}/impact/{asked}", routing::get(impact::look))
        .route("/api/v1/deploys", routing::get(api::deploys).post(api::deploy))
        .route("/api/v1/silences", routing::get(maintenance::silences).post(maintenance::silence))
        .route("/api/v1/silences/{id}", routing::delete(maintenance::unsilence))
        .route("/api/v1/pauses", routing::get(maintenance::pauses).post(maintenance::pause))
        .route("/api/v1/resume", routing::post(maintenance::resume))
        .route("/api/v1/notifications", routing::get(notifications::list))
        .route("/api/v1/reports", routing::get(reports::list))
        .route("/api/v1/drill", routing::post(notifications::drill))
        .route("/api/v1/drill/confirm", routing::post(notifications::confirm))
        .route("/api/v1/verify", routing::post(verify::begin))
        .route("/api/v1/verify/{id}", routing::get(verify::look).delete(verify::cancel))
        .route("/api/v1/coverage", routing::post(coverage::begin))
        .route("/api/v1/coverage/{id}", routing::get(coverage::look))
        .route("/-/reload", routing::post(api::reload))
        .fallback(answer::nothing)
        .method_not_allowed_fallback(answer::not_so)
        .layer(Extension(Arc::new(live::Live::default())))
        .layer(middleware::from_fn_with_state(doors.clone(), guard::check))
        .layer(middleware::map_response(guard::dress))
        .with_state(doors)
}

/// The public page by itself, for a listener of its own; none if there is none.
pub fn public_router(doors: Doors) -> Option<Router> {
    let title = doors.public.clone()?;
    Some(Public::new(Arc::new(doors), title).alone())
}

type Shared = State<Arc<Doors>>;

impl Doors {
    /// Hands an order on and waits for its end.
    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Problem> {
        self.order_within(ORDER, order).await
    }

    /// What is wrong with the agent itself, beside what the board holds.
    fn troubles(&self) -> Vec<String> {
        let late = match (self.scheduled_at)() {
            Some(at) if (self.now)().since(at) > STUCK => Some("the scheduler is stuck".to_owned()),
            _ => None,
        };
        late.into_iter().collect()
    }

    /// How everything stands, in one sentence.
    fn summary(&self) -> Summary {
        let (board, maintenance) = (Arc::clone(&self.board.borrow()), Arc::clone(&self.maintenance.borrow()));
        Summary::of(&board, &maintenance, &self.troubles(), (self.now)())
    }

    async fn order_within<T>(&self, within: Duration, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Problem> {
        let (reply, end) = oneshot::channel();
        let ended = async {
            let gone = || Declined::Unavailable("the agent is stopping".to_owned());
            self.orders.send(order(reply)).await.map_err(|_| gone())?;
            end.await.map_err(|_| gone())?
        };
        match tokio::time::timeout(within, ended).await {
            Ok(ended) => ended.map_err(Problem::from),
            Err(_) => Err(Problem::unavailable("no answer in time; it may still be done")),
        }
    }
}

/// Of what state of the agent a page tells: what changed since can be asked for. Another life of it counts anew.
fn version_of(board: &Board) -> String {
    format!("{}.{}", board.agent.started_at.as_micros(), board.version())
}

/// Waits for the ledger, not for ever.
async fn ledger<T>(asked: impl Future<Output = Result<T, crate::store::StoreError>>) -> Result<T, Problem> {
    match tokio::time::timeout(LEDGER, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not read the ledger for a page");
            Err(Problem::unavailable("the ledger cannot be read; the agent's log says why"))
        }
        Err(_) => Err(Problem::unavailable("the ledger does not answer")),
    }
}

//! Telling people, by the whole agent on virtual time, with a notifier that does as it is told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    S,
    ledger::Trouble,
    scene::{DEADLINE, Scene, Setting, Shows},
};
use crate::{
    agent::lifecycle::OpenPlan,
    canary::NotifierName,
    config::{NotifierPlan, Rules},
    detect::{Deploy, IncidentId},
    notify::{Keeps, Manner, Message, Notifier, NotifyError, What},
    store::{Settlement, Store},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answers {
    Takes,
    Refuses,
    Busy,
    Hangs,
    BreaksDown,
}

/// A notifier in process: no stand-in for a receiver's protocol, only for its answers.
#[derive(Debug)]
pub(super) struct Ear {
    answers: Mutex<Answers>,
    /// Word, key, and how many runs proved it.
    heard: Mutex<Vec<(&'static str, String, usize)>>,
    tries: Mutex<usize>,
    /// Of drills.
    code: Mutex<Option<String>>,
}

impl Ear {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(Answers::Takes),
            heard: Mutex::default(),
            tries: Mutex::default(),
            code: Mutex::default(),
        })
    }

    pub(super) fn now(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    pub(super) fn words(&self) -> Vec<&'static str> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|heard| heard.0).collect()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|heard| heard.1.clone()).collect()
    }

    pub(super) fn code(&self) -> Option<String> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn tries(&self) -> usize {
        *self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notifier for Ear {
    async fn tell(&self, message: &Message) -> Result<(), NotifyError> {
        *self.tries.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let answers = *self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers {
            Answers::Takes => {}
            Answers::Refuses => return Err(NotifyError::Refused { detail: "400".into() }),
            Answers::Busy => return Err(NotifyError::Busy { detail: "503".into(), retry_after: None }),
            Answers::Hangs => std::future::pending().await,
            Answers::BreaksDown => panic!("the notifier breaks down, as it was told"),
        }
        let word = match &message.what {
            What::Trigger(_) => "trigger",
            What::Again(_) => "again",
            What::Over(_) => "over",
            What::Resolve(_) => "resolve",
            What::Deploy(_) => "deploy",
        };
        // The end of an earlier drill may come after the page of the next.
        if let What::Trigger(page) = &message.what {
            self.code.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&page.drill);
        }
        let proofs = message.what.page().map_or(0, |page| page.proofs.len());
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push((word, message.key.clone(), proofs));
        Ok(())
    }

    fn manner(&self) -> Manner {
        Manner { keeps: Keeps::Alerts, again: None, takes_deploys: true, per_minute: 60 }
    }

    fn identity(&self) -> String {
        "ear".to_owned()
    }
}

pub(super) fn listens(ear: &Arc<Ear>, name: &str) -> NotifierPlan<Arc<dyn Notifier>> {
    let name = NotifierName::new(name).expect("valid");
    NotifierPlan { name, rules: Rules::default(), driver: Arc::clone(ear) as _ }
}

pub(super) fn scene(ears: &[&Arc<Ear>]) -> Setting {
    let change = |plan: &mut OpenPlan| {
        plan.notifiers = ears.iter().enumerate().map(|(n, ear)| listens(ear, &format!("n{n}"))).collect();
    };
    Scene::new(&["t0"], change)
}

/// Until it is told, or far too long.
pub(super) async fn until(mut told: impl FnMut() -> bool) -> bool {
    for _ in 0..10_000 {
        if told() {
            return true;
        }
        tokio::time::sleep(S(1)).await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn people_are_told_once_with_proof_and_told_once_that_it_is_over() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    tokio::time::sleep(S(130)).await;
    scene.targets[0].now(Shows::Nothing);
    assert!(until(|| ear.words() == ["trigger"]).await);
    tokio::time::sleep(DEADLINE * 10).await;
    scene.targets[0].now(Shows::All);
    assert!(until(|| ear.words() == ["trigger", "resolve"]).await, "{:?}", ear.words());
    tokio::time::sleep(DEADLINE * 10).await;
    assert_eq!(ear.words(), ["trigger", "resolve"]);
    let keys = ear.keys();
    assert_eq!(keys[0], keys[1], "what opens and what closes has the same key");
    assert!(ear.heard.lock().expect("alive")[0].2 > 0, "the page names the runs that prove it");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_hangs_or_breaks_down_is_tried_again_and_delays_no_other() {
    for trouble in [Answers::Busy, Answers::Hangs, Answers::BreaksDown] {
        let (sick, well) = (Ear::new(), Ear::new());
        let scene = scene(&[&sick, &well]).start().await;
        sick.now(trouble);
        tokio::time::sleep(S(130)).await;
        scene.targets[0].now(Shows::Nothing);
        assert!(until(|| well.words() == ["trigger"]).await, "{trouble:?}");
        tokio::time::sleep(S(120)).await;
        assert!(sick.tries() > 3 && sick.words().is_empty(), "{trouble:?}");
        sick.now(Answers::Takes);
        assert!(until(|| sick.words() == ["trigger"]).await, "{trouble:?}");
        assert_eq!(sick.keys(), well.keys());
    }
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_delays_no_page_and_nothing_is_told_twice_when_it_is_back() {
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        let ear = Ear::new();
        let scene = scene(&[&ear]).start().await;
        tokio::time::sleep(S(130)).await;
        scene.targets[0].now(Shows::Nothing);
        scene.until_submitted(1).await;
        for call in ["settle", "keep_openings"] {
            scene.store.trouble(call, trouble);
        }
        assert!(until(|| ear.words() == ["trigger"]).await, "{trouble:?}");
        scene.store.heal();
        tokio::time::sleep(S(30)).await;
        let setting = scene.end().await;
        setting.targets[0].now(Shows::All);
        let _scene = setting.start().await;
        let resolved = until(|| ear.words().contains(&"resolve")).await;
        assert!(resolved, "{trouble:?}");
        tokio::time::sleep(DEADLINE * 5).await;
        assert_eq!(ear.words(), ["trigger", "resolve"], "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_over_while_the_agent_was_down_is_told_at_the_start() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    tokio::time::sleep(S(130)).await;
    scene.targets[0].now(Shows::Nothing);
    assert!(until(|| ear.words() == ["trigger"]).await);
    let mut setting = scene.end().await;
    // Its only route is gone from the config.
    let other = Scene::new(&["elsewhere"], |_| {});
    setting.plan.routes = other.plan.routes.clone();
    setting.plan.targets = other.plan.targets.clone();
    let _scene = setting.start().await;
    tokio::time::sleep(S(5)).await;
    assert_eq!(ear.words(), ["trigger", "resolve"]);
}

#[tokio::test(start_paused = true)]
async fn a_notifier_that_is_added_is_told_of_what_is_still_broken() {
    let (old, new) = (Ear::new(), Ear::new());
    let scene = scene(&[&old]).start().await;
    tokio::time::sleep(S(130)).await;
    scene.targets[0].now(Shows::Nothing);
    assert!(until(|| old.words() == ["trigger"]).await);
    let mut plan = scene.plan.clone();
    plan.notifiers.push(listens(&new, "added"));
    scene.agent.reload(&plan).await;
    tokio::time::sleep(S(5)).await;
    assert_eq!((old.words(), new.words()), (vec!["trigger"], vec!["trigger"]));
    let id = IncidentId::typed(new.keys()[0].split('/').next().unwrap_or_default());
    assert!(scene.agent.close(id, "by hand".into()).await);
    tokio::time::sleep(S(5)).await;
    assert_eq!((old.words(), new.words()), (vec!["trigger", "resolve"], vec!["trigger", "resolve"]));
    assert!(scene.store.open_letters().await.expect("a ledger").is_empty(), "all is said");
}

#[tokio::test(start_paused = true)]
async fn an_incident_of_a_ledger_that_knows_nothing_of_telling_is_told_if_it_still_goes_on() {
    let (old, ear) = (scene(&[]).start().await, Ear::new());
    tokio::time::sleep(S(130)).await;
    old.targets[0].now(Shows::Nothing);
    tokio::time::sleep(DEADLINE * 3).await;
    assert_eq!(old.notices().len(), 1);
    // As an older version left it: incidents, and no openings.
    let fresh = scene(&[&ear]);
    for incident in old.store.incidents(9).await.expect("a ledger") {
        let settlement = Settlement { incidents: vec![incident], ..Settlement::default() };
        fresh.store.settle(settlement).await.expect("a ledger");
    }
    let _scene = fresh.start().await;
    tokio::time::sleep(S(5)).await;
    assert_eq!(ear.words(), ["trigger"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_to_know_is_told_of_deploys() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    let deploy = Deploy { at: scene.clock.now(), service: "worker".into(), version: "v6".into() };
    assert!(scene.agent.deploy(deploy, Default::default()).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ear.words(), ["deploy"]);
}

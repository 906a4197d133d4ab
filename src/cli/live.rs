//! `landfall check --live`: one look at every platform and target, that costs no query.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    exit::{NO, UNSURE, YES},
    plain::plain,
};
use crate::{
    agent::{clock::Clock, lifecycle::OpenPlan},
    canary::{Marker, Route, Run, TargetName, Terms, Why},
    platform::{Platform, PlatformError, Resume},
    target::{Target, TargetError, webhook::Intake},
};

/// Longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one look came to.
pub struct Look {
    what: &'static str,
    name: String,
    answer: Answer,
}

enum Answer {
    /// It answered as it should.
    Fine(&'static str),
    /// It cannot be tried from here.
    NotTried(&'static str),
    /// It answered that it will not.
    No(String),
    /// It was not heard.
    Unheard(String),
}

/// Looks at all of them at once.
pub async fn look(plan: &OpenPlan, intake: &Arc<Intake>) -> Result<Vec<Look>> {
    let doors = intake.targets();
    let platforms = plan.platforms.iter().map(|platform| async {
        let route = plan.routes.iter().find(|route| route.platform == platform.name);
        let answer = look_at_platform(&*platform.driver, route, plan).await;
        Look { what: "platform", name: platform.name.to_string(), answer }
    });
    let targets = plan.targets.iter().map(|target| async {
        let answer = look_at_target(&*target.driver, &target.name, &doors).await;
        Look { what: "target", name: target.name.to_string(), answer }
    });
    let (mut looks, targets) =
        futures_util::future::join(futures_util::future::join_all(platforms), futures_util::future::join_all(targets))
            .await;
    looks.extend(targets);
    Ok(looks)
}

/// Asks for the job of a run that never was: proves address and access, and starts nothing.
async fn look_at_platform(platform: &dyn Platform, route: Option<&Arc<Route>>, plan: &OpenPlan) -> Answer {
    let Some((route, canary)) = route.and_then(|route| Some((route, plan.canary(&route.canary)?))) else {
        return Answer::NotTried("no route uses it");
    };
    if platform.resume() != Resume::ByMarker {
        return Answer::NotTried("it can only be asked with a job");
    }
    let now = Clock::System.now();
    let run = Run {
        marker: Marker::mint(now, fastrand::u128(..)),
        route: route.clone(),
        terms: Terms { due: now, objective: canary.objective, deadline: canary.deadline },
        sample: canary.sample,
        why: Why::Verify,
        report: None,
    };
    match tokio::time::timeout(PATIENCE, platform.find(&run)).await {
        Ok(Ok(_) | Err(PlatformError::NotFound)) => Answer::Fine("answers, and knows our key"),
        Ok(Err(error @ (PlatformError::Denied { .. } | PlatformError::Refused { .. }))) => {
            Answer::No(error.to_string())
        }
        Ok(Err(error)) => Answer::Unheard(error.to_string()),
        Err(_) => Answer::Unheard(too_long(PATIENCE)),
    }
}

async fn look_at_target(target: &dyn Target, name: &TargetName, doors: &[TargetName]) -> Answer {
    if doors.contains(name) {
        return Answer::NotTried("the agent's own intake, open while it runs");
    }
    let patience = PATIENCE.max(target.patience());
    match tokio::time::timeout(patience, target.control()).await {
        Ok(Ok(())) => Answer::Fine("a control row was read back"),
        Ok(Err(TargetError::Unproven { .. })) => Answer::Fine("can be read; no run has left a row there yet"),
        Ok(Err(error @ (TargetError::Denied { .. } | TargetError::Foreign { .. }))) => Answer::No(error.to_string()),
        Ok(Err(error)) => Answer::Unheard(error.to_string()),
        Err(_) => Answer::Unheard(too_long(patience)),
    }
}

fn too_long(patience: Duration) -> String {
    format!("no answer within {}s", patience.as_secs())
}

impl Answer {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Answer::Fine(detail) => ("ok", detail),
            Answer::NotTried(detail) => ("not tried", detail),
            Answer::No(detail) => ("no", detail),
            Answer::Unheard(detail) => ("not heard", detail),
        }
    }
}

/// A line each.
pub fn text(looks: &[Look], out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    looks.iter().try_for_each(|look| {
        let (state, detail) = look.answer.words();
        writeln!(out, "{} `{}`: {state}: {}", look.what, look.name, plain(detail))
    })
}

/// An object each.
pub fn json(looks: &[Look]) -> Value {
    let object = |look: &Look| {
        let (state, detail) = look.answer.words();
        json!({ "what": look.what, "name": look.name, "state": state, "detail": detail })
    };
    looks.iter().map(object).collect()
}

/// What they come to together. What was not tried says nothing.
pub fn code(looks: &[Look]) -> u8 {
    let any = |test: fn(&Answer) -> bool| looks.iter().any(|look| test(&look.answer));
    match (any(|answer| matches!(answer, Answer::No(_))), any(|answer| matches!(answer, Answer::Unheard(_)))) {
        (true, _) => NO,
        (false, true) => UNSURE,
        (false, false) => YES,
    }
}

//! Reading a scenario file: TOML with places → [`Scenario`].

use std::{collections::BTreeSet, path::Path, str::FromStr, sync::Arc, time::Duration};

use super::{Expect, Scenario, agent, whole};
use crate::{
    canary::{
        LabelName, Labels, Mode, NameError, PlatformName, Route, Sample, TargetName, Timestamp, sample::COLUMNS,
        time::Brief,
    },
    config::{Problem, Problems, problem::place},
    detect::{Deploy, incident::LabelSet},
    sandbox::{
        fault::{Draft, Fault, FaultKind},
        tree::{Keys, Node, Value, Wrong, cut, nearest},
        world::{LAND_TIME, PRESTO_TIME, Spread, World, WorldCanary, WorldPlatform},
    },
};

/// A scenario is a page or two; more is a mistake.
const LARGEST: usize = 1 << 20;
/// A year and some days.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);
/// Runs of one scenario: some minutes of playing.
const MOST_RUNS: u128 = 500_000;
/// A world with more is no scenario.
const MOST_ROUTES: usize = 10_000;
/// Midnight of the year in which it began; only real incidents have a reason to say more.
const START: Timestamp = Timestamp::from_secs(1_420_070_400);

pub(super) fn scenario(file: &Path, text: &str, routes: Option<&[Arc<Route>]>) -> Result<Scenario, Problems> {
    if text.len() > LARGEST {
        return Err(vec![whole(file, format!("larger than {LARGEST} bytes"))]);
    }
    let mut wrongs = Vec::new();
    let read = match Node::from_toml(text) {
        Ok(node) => read(&node, file, routes, &mut wrongs),
        Err(wrong) => {
            wrongs.push(wrong);
            None
        }
    };
    match read {
        Some(scenario) if wrongs.is_empty() => Ok(scenario),
        _ => {
            wrongs.sort_by_key(|wrong| wrong.at.start);
            let problem = |Wrong { at, what, hint }| Problem {
                file: file.to_owned(),
                place: Some(place(text, at.start)),
                what,
                hint,
            };
            Err(wrongs.into_iter().map(problem).collect())
        }
    }
}

fn read(node: &Node, file: &Path, routes: Option<&[Arc<Route>]>, wrongs: &mut Vec<Wrong>) -> Option<Scenario> {
    let mut keys = Keys::of(node, "scenario", wrongs);
    let title = keys.need("title", "\"what happens\"").and_then(|node| keys.as_text("title", node));
    let source = keys.text("source").map(str::to_owned);
    let start = keys.get("start").and_then(|node| read_start(node, &mut keys)).unwrap_or(START);
    let lasts = keys.need("lasts", "\"4h\"").and_then(|node| {
        let lasts = keys.as_length("lasts", node)?;
        if lasts.is_zero() || lasts > LONGEST {
            let hint = "a scenario lasts up to \"400d\"".to_owned();
            keys.push(node.wrong(format!("`lasts` ({}) is out of range", Brief(lasts)), hint));
            return None;
        }
        Some((node, lasts))
    });
    let seed = keys.int("seed", 0..=i64::MAX).map_or(1, i64::unsigned_abs);
    let world = read_world(&mut keys, lasts);
    let routes = routes.map_or_else(|| world.routes(), <[_]>::to_vec);
    let lasts = lasts.map(|(_, lasts)| lasts);
    let (mut deploys, mut faults, mut every_one) = (Vec::new(), Vec::new(), true);
    for node in keys.tables("deploy") {
        let deploy = read_deploy(node, start, lasts, keys.wrongs());
        every_one &= deploy.is_some();
        deploys.extend(deploy);
    }
    for node in keys.tables("fault") {
        let fault = read_fault(node, start, lasts, &routes, keys.wrongs());
        every_one &= fault.is_some();
        faults.extend(fault);
    }
    let mut happenings = Vec::new();
    for node in keys.tables("agent") {
        happenings.extend(agent::read(node, start, lasts, keys.wrongs()).map(|event| (event, node)));
    }
    agent::check_order(&happenings, keys.wrongs());
    let mut agent: Vec<_> = happenings.into_iter().map(|(event, _)| event).collect();
    agent.sort_by_key(|event| event.at);
    // What is expected of faults that could not be read is not known to be wrong.
    let happens = every_one.then_some((&faults[..], &deploys[..]));
    let expect = keys.get("expect").map(|node| Expect::read(node, &routes, happens, &mut keys)).unwrap_or_default();
    keys.done();
    let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let (title, lasts) = (title?.to_owned(), lasts?);
    Some(Scenario { name, title, source, start, lasts, seed, world, deploys, faults, agent, expect, routes })
}

fn read_start(node: &Node, keys: &mut Keys<'_>) -> Option<Timestamp> {
    let text = match &node.value {
        Value::Time(at) => at.to_string(),
        _ => keys.as_text("start", node)?.to_owned(),
    };
    let start = Timestamp::parse_rfc3339(&text);
    if start.is_none() {
        let hint = "write it as 2015-08-24T14:00:00-07:00 or 2015-08-24T21:00:00Z".to_owned();
        keys.push(node.wrong(format!("`start` ({}) is not a time with a zone", cut(&text)), hint));
    }
    start
}

fn read_world(keys: &mut Keys<'_>, lasts: Option<(&Node, Duration)>) -> World {
    let mut world = World::default();
    if let Some(node) = keys.get("world") {
        let defaults = std::mem::take(&mut world.platforms);
        let mut named = Keys::of(node, "world", keys.wrongs());
        for pair in named.pairs() {
            match PlatformName::new(&pair.key) {
                Ok(name) => world.platforms.push(read_platform(&pair.node, name, &defaults, named.wrongs())),
                Err(error) => named.push(Wrong { at: pair.key_at.clone(), what: error.to_string(), hint: None }),
            }
        }
        if world.platforms.is_empty() && matches!(node.value, Value::Table(_)) {
            named.push(node.wrong("a world without platforms", "add [world.NAME], or leave [world] out".to_owned()));
        }
    }
    if let Some(node) = keys.get("canary") {
        read_canary(node, &mut world, keys.wrongs());
    }
    let n_routes = world.platforms.len() * world.targets.len() * world.canary.modes.len();
    if n_routes > MOST_ROUTES {
        keys.push(Wrong { at: 0..0, what: format!("{n_routes} routes are more than {MOST_ROUTES}"), hint: None });
        world.platforms.clear();
    }
    if let Some((node, lasts)) = lasts {
        let runs = lasts.as_millis() / world.canary.every.as_millis().max(1) * n_routes as u128;
        if runs > MOST_RUNS {
            let hint = "make it shorter, or fly less often".to_owned();
            keys.push(node.wrong(format!("{runs} runs are more than {MOST_RUNS}"), hint));
        }
    }
    world
}

/// `[world.NAME]`. What is absent is as in the default world's platform of that name.
fn read_platform(
    node: &Node,
    name: PlatformName,
    defaults: &[WorldPlatform],
    wrongs: &mut Vec<Wrong>,
) -> WorldPlatform {
    let like = defaults.iter().find(|known| known.name == name);
    let mut keys = Keys::of(node, name.as_str(), wrongs);
    let labels = keys.get("labels").map(|node| read_labels(node, &mut keys));
    let job_time = read_spread(&mut keys, "job_time");
    let land_time = read_spread(&mut keys, "land_time");
    keys.done();
    WorldPlatform {
        labels: labels.unwrap_or_else(|| like.map_or_else(Labels::default, |known| known.labels.clone())),
        job_time: job_time.or(like.map(|known| known.job_time)).unwrap_or(PRESTO_TIME),
        land_time: land_time.unwrap_or(LAND_TIME),
        name,
    }
}

fn read_labels(node: &Node, keys: &mut Keys<'_>) -> Labels {
    let mut kept = Vec::new();
    for (pair, value) in texts(node, "labels", keys) {
        let at = pair.key_at.clone();
        match LabelName::new(&pair.key) {
            Ok(_) if BUILT_IN_FACETS.contains(&pair.key.as_str()) => {
                let hint = Some("every route has it already; choose another name".to_owned());
                keys.push(Wrong { at, what: format!("a label cannot be named `{}`", pair.key), hint });
            }
            Ok(name) => kept.push((name, Arc::from(value))),
            Err(error) => keys.push(Wrong { at, what: error.to_string(), hint: None }),
        }
    }
    Labels::new(kept)
}

const BUILT_IN_FACETS: [&str; 4] = ["target", "mode", "platform", "canary"];

/// `"20s"`, or `{ p50 = "20s", p99 = "60s" }`.
fn read_spread(keys: &mut Keys<'_>, key: &'static str) -> Option<Spread> {
    let node = keys.get(key)?;
    if !matches!(node.value, Value::Table(_)) {
        return keys.as_length(key, node).map(Spread::Always);
    }
    let wrongs = keys.wrongs();
    let mut keys = Keys::of(node, key, wrongs);
    let p50 = keys.need("p50", "\"20s\"").and_then(|node| keys.as_length("p50", node));
    let p99 = keys.need("p99", "\"60s\"").and_then(|node| keys.as_length("p99", node));
    keys.done();
    let (p50, p99) = (p50?, p99?);
    if p50.is_zero() || p99 < p50 {
        let what = format!("`{key}` goes from p50 {} to p99 {}", Brief(p50), Brief(p99));
        wrongs.push(node.wrong(what, "p50 is more than zero and not more than p99".to_owned()));
    }
    Some(Spread::LogNormal { p50, p99 })
}

fn read_canary(node: &Node, world: &mut World, wrongs: &mut Vec<Wrong>) {
    let mut keys = Keys::of(node, "canary", wrongs);
    let before = world.canary.clone();
    let every = keys.get("every").and_then(|node| {
        let every = keys.as_length("every", node)?;
        if every < Duration::from_secs(1) {
            keys.push(
                node.wrong(format!("`every` ({}) is too often", Brief(every)), "once a second at most".to_owned()),
            );
            return None;
        }
        Some(every)
    });
    let objective = keys.length("objective").unwrap_or(before.objective);
    let deadline = keys.length("deadline").unwrap_or(before.deadline);
    if deadline < objective || objective.is_zero() {
        let what = format!("`deadline` ({}) is shorter than `objective` ({})", Brief(deadline), Brief(objective));
        let what = if objective.is_zero() { "`objective` is zero".to_owned() } else { what };
        let node = keys.get("deadline").or(keys.get("objective")).unwrap_or(node);
        keys.push(node.wrong(what, "rows must land within the objective; waiting ends at the deadline".to_owned()));
    }
    let targets =
        read_list(&mut keys, "targets", |text| TargetName::new(text).map_err(|error: NameError| error.to_string()));
    let modes = read_list(&mut keys, "modes", Mode::from_str);
    let sample = keys.get("sample").map(|node| {
        let mut keys = Keys::of(node, "sample", keys.wrongs());
        let rows = keys.int("rows", 1..=i64::from(Sample::MOST_ROWS));
        keys.done();
        rows.and_then(|rows| u32::try_from(rows).ok()).map_or_else(Sample::default, Sample::of)
    });
    keys.done();
    world.targets = targets.unwrap_or_else(|| std::mem::take(&mut world.targets));
    world.canary = WorldCanary {
        name: before.name,
        every: every.unwrap_or(before.every),
        objective,
        deadline,
        modes: modes.unwrap_or(before.modes),
        sample: sample.unwrap_or(before.sample),
    };
}

/// A list of different things, at least one.
fn read_list<T: PartialEq>(
    keys: &mut Keys<'_>,
    key: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let found = keys.texts(key)?;
    let mut list: Vec<T> = Vec::new();
    let n_found = found.len();
    for (text, node) in found {
        match read(text) {
            Ok(item) if list.contains(&item) => keys.push(node.wrong(format!("`{text}` stands here twice"), None)),
            Ok(item) => list.push(item),
            Err(what) => keys.push(node.wrong(what, None)),
        }
    }
    if n_found == 0
        && let Some(node) = keys.get(key)
    {
        keys.push(node.wrong(format!("`{key}` is empty"), format!("leave `{key}` out for the default")));
    }
    (!list.is_empty()).then_some(list)
}

fn read_deploy(node: &Node, start: Timestamp, lasts: Option<Duration>, wrongs: &mut Vec<Wrong>) -> Option<Deploy> {
    let mut keys = Keys::of(node, "deploy", wrongs);
    let at = keys.need("at", "\"43m\"");
    let at = at.and_then(|node| within(node, "at", lasts, &mut keys));
    let service = keys.need("service", "\"worker\"").and_then(|node| keys.as_text("service", node));
    let version = keys.need("version", "\"v6\"").and_then(|node| keys.as_text("version", node));
    keys.done();
    Some(Deploy { service: service?.to_owned(), version: version?.to_owned(), at: start.plus(at?) })
}

fn read_fault(
    node: &Node,
    start: Timestamp,
    lasts: Option<Duration>,
    routes: &[Arc<Route>],
    wrongs: &mut Vec<Wrong>,
) -> Option<Fault> {
    let before = wrongs.len();
    let fault = Draft::read(node, wrongs);
    if let Value::Table(pairs) = &node.value {
        let mut keys = Keys::of(node, "fault", wrongs);
        for pair in pairs {
            match (pair.key.as_str(), &pair.node.value) {
                ("where", Value::Table(_)) => check_labels(&pair.node, "where", routes, &mut keys),
                ("kind", Value::Text(kind)) if FaultKind::OVER_HTTP.contains(&kind.as_str()) => {
                    let hint = "inject it into `landfall sandbox` by POST /sandbox/faults".to_owned();
                    keys.push(pair.node.wrong(format!("nothing is uploaded in a scenario: no {kind} there"), hint));
                }
                // Its shape was judged above; here only whether it comes in time.
                ("from", Value::Text(text)) if crate::canary::time::parse_duration(text).is_ok() => {
                    within(&pair.node, "from", lasts, &mut keys);
                }
                ("column", Value::Text(column)) if COLUMNS.iter().all(|known| known.name != column) => {
                    let hint = nearest(column, COLUMNS[1..].iter().map(|known| known.name));
                    keys.push(pair.node.wrong(format!("samples have no column `{}`", cut(column)), hint));
                }
                _ => {}
            }
        }
    }
    fault.filter(|_| wrongs.len() == before).map(|fault| fault.starting(start))
}

/// A length of time from the start that is not beyond the end.
pub(super) fn within(node: &Node, key: &str, lasts: Option<Duration>, keys: &mut Keys<'_>) -> Option<Duration> {
    let at = keys.as_length(key, node)?;
    if let Some(lasts) = lasts.filter(|lasts| at >= *lasts) {
        let hint = format!("the scenario lasts {}", Brief(lasts));
        keys.push(node.wrong(format!("`{key}` ({}) comes after the end", Brief(at)), hint));
    }
    Some(at)
}

/// Labels as written.
pub(super) fn labels(node: &Node, key: &str, keys: &mut Keys<'_>) -> Option<LabelSet> {
    let before = keys.wrongs().len();
    let set = texts(node, key, keys).into_iter().map(|(pair, value)| (pair.key.clone(), value.to_owned())).collect();
    (keys.wrongs().len() == before).then_some(set)
}

fn texts<'a>(node: &'a Node, key: &str, keys: &mut Keys<'_>) -> Vec<(&'a crate::sandbox::tree::Pair, &'a str)> {
    let Value::Table(pairs) = &node.value else {
        let hint = format!("such as `{key} = {{ worker = \"v5\" }}`");
        keys.push(node.wrong(format!("`{key}` must be a table"), hint));
        return Vec::new();
    };
    let mut kept = Vec::new();
    for pair in pairs {
        match &pair.node.value {
            Value::Text(text) => kept.push((pair, text.as_str())),
            _ => keys.push(pair.node.wrong(format!("`{}` must be text", cut(&pair.key)), None)),
        }
    }
    kept
}

/// Labels that are to cover routes: every name, every value and the whole must be found on one.
pub(super) fn check_labels(node: &Node, key: &str, routes: &[Arc<Route>], keys: &mut Keys<'_>) {
    let Value::Table(pairs) = &node.value else { return };
    let before = keys.wrongs().len();
    let mut wanted = Vec::new();
    for pair in pairs {
        let Value::Text(value) = &pair.node.value else { continue };
        let values: BTreeSet<&str> = routes.iter().filter_map(|route| route.facet(&pair.key)).collect();
        if values.is_empty() {
            let names: BTreeSet<&str> = routes.iter().flat_map(|route| route.facets().map(|(name, _)| name)).collect();
            let hint = nearest(&pair.key, names.into_iter());
            let what = format!("no route has a label `{}`", cut(&pair.key));
            keys.push(Wrong { at: pair.key_at.clone(), what, hint: Some(hint) });
        } else if !values.contains(value.as_str()) {
            let hint = nearest(value, values.into_iter());
            keys.push(pair.node.wrong(format!("no route has `{} = {:?}`", pair.key, cut(value)), hint));
        }
        wanted.push((pair.key.clone(), value.clone()));
    }
    let selector = crate::canary::Selector::new(wanted);
    if keys.wrongs().len() == before && !routes.is_empty() && !routes.iter().any(|route| selector.covers(route)) {
        let hint = "each of these labels is on some route, all of them on none".to_owned();
        keys.push(node.wrong(format!("`{key}` covers no route"), hint));
    }
}

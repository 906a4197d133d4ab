//! FLOOR 1, config: files → [`Plan`]. Everything that is wrong is said at once, each with file,
//! line, column, what is wrong and what would be right.
//!
//! A file is read (`file`), its tables are merged with those of the other files (`declared`), and
//! each is decoded (`decode`) and checked: `agent`, `named` (platforms, targets, and with `notify`
//! notifiers, whose kind's own table the driver decodes), `canary` (and the product of its lists, the
//! routes), `dogfood`, `silence`, `upkeep` (drills and the heartbeat), `web` (the public page).

mod agent;
mod canary;
mod declared;
mod decode;
mod dogfood;
mod file;
mod jobs;
mod labels;
mod length;
mod named;
mod near;
mod notify;
pub mod plan;
pub mod problem;
mod secret;
pub mod section;
mod select;
mod silence;
mod upkeep;
mod web;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use decode::HINT;
pub use file::{Text, read as read_text};
pub use jobs::ACCOUNT;
pub use length::Length;
pub use near::nearest;
pub use plan::{
    AgentPlan, CanaryPlan, HeartbeatPlan, NoNotifier, NotifierPlan, Plan, PlatformPlan, PublicPlan, Rules, SilencePlan,
    SilenceTime, TargetCaps, TargetPlan, UpkeepPlan, worst_detection,
};
pub use problem::{Problem, Problems};
pub use secret::{PLACEHOLDER, SecretSource};
pub use section::{Kind, Kinds, Opening, Outputs, Section};
pub use select::check_selector;

use crate::canary::{CanaryName, Route, RouteId, Timestamp, report::DOGFOOD};

/// Most routes of one agent: ten times what one core is meant for.
const MOST_ROUTES: usize = 100_000;

/// How a config is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `--no-secrets`: no secret is read, a placeholder stands for each.
    pub without_secrets: bool,
    /// Now, for schedules that may never come.
    pub now: Timestamp,
}

/// Reads a config file and the probes beside it.
pub fn load<P, T, N>(path: &Path, kinds: &Kinds<'_, P, T, N>, options: Options) -> Result<Plan<P, T, N>, Problems> {
    let config = file::read(path)?;
    let mut problems = Problems::new();
    let mut order = vec![path.to_owned()];
    let plan = {
        let main = file::parse(&config)?;
        let mut agent = agent::read(&own_table("agent", &main, &mut problems), &options, &mut problems);
        agent.plan.public = web::read(&own_table("web", &main, &mut problems), &agent.plan, &mut problems);
        let (texts, mut all_read) = probes(&main, &agent, &mut order, &mut problems);
        let mut files = vec![main.clone()];
        for text in &texts {
            match file::parse(text) {
                Ok(file) => files.push(file),
                Err(wrong) => {
                    all_read = false;
                    problems.extend(wrong);
                }
            }
        }
        read(&files, agent.plan, all_read, kinds, &options, &mut problems)
    };
    if problems.is_empty() {
        return Ok(plan);
    }
    let nth: HashMap<&Path, usize> = order.iter().enumerate().map(|(nth, path)| (path.as_path(), nth)).collect();
    problems.sort_by_key(|problem| (nth.get(problem.file.as_path()).copied(), problem.place));
    Err(problems)
}

/// The tables of all files.
fn read<P, T, N>(
    files: &[Section<'_>],
    agent: AgentPlan,
    all_read: bool,
    kinds: &Kinds<'_, P, T, N>,
    options: &Options,
    problems: &mut Problems,
) -> Plan<P, T, N> {
    let declared = declared::collect(files, problems);
    let mut named = named::Reader { agent: &agent, options, problems };
    let (platforms, known_platforms) = named.platforms(&declared.platforms, &kinds.platforms);
    let (targets, known_targets) = named.targets(&declared.targets, &kinds.targets);
    let (mut canaries, mut routes) = (Vec::new(), Vec::new());
    for canary in &declared.canaries {
        let name = named::Reader { agent: &agent, options, problems }.name(canary, CanaryName::new);
        let mut reader =
            canary::Reader { platforms: &known_platforms, targets: &known_targets, all_read, options, problems };
        let Some((plan, more)) = canary::read(canary, name.as_ref(), &mut reader) else { continue };
        if routes.len() + more.len() > MOST_ROUTES {
            let hint = format!("{MOST_ROUTES} are the most for one agent; run several");
            problems.push(canary.section.problem(canary.name.span(), "too many routes", Some(hint)));
            break;
        }
        canaries.push(plan);
        routes.extend(more);
    }
    for dogfood in &declared.dogfood {
        let same = declared.canaries.iter().find(|canary| *canary.name.get_ref() == DOGFOOD);
        if let Some(canary) = same {
            let what = format!("canary `{0}` is called as the one of [{0}]", DOGFOOD);
            problems.push(canary.section.problem(canary.name.span(), what, Some("rename it".to_owned())));
            continue;
        }
        let mut reader =
            canary::Reader { platforms: &known_platforms, targets: &known_targets, all_read, options, problems };
        let Some((plan, more)) = dogfood::read(dogfood, &mut reader) else { continue };
        canaries.push(plan);
        routes.extend(more);
        if let Some((what, hint)) = dogfood::too_large(&canaries, &routes, options.now) {
            problems.push(dogfood.section.problem(dogfood.name.span(), what, Some(hint.to_owned())));
        }
    }
    if declared.canaries.is_empty() && declared.dogfood.is_empty() && all_read && problems.is_empty() {
        let hint = "add a [canary.NAME] here or in the folder of probes".to_owned();
        let (file, what) = (agent.file.clone(), "no canary is declared: nothing would be watched".to_owned());
        problems.push(Problem { file, place: None, what, hint: Some(hint) });
    }
    if let Some(route) = shares_its_id(&routes) {
        let what = format!("route `{route}` has the same id as another by chance");
        let hint = "rename its canary, platform or target".to_owned();
        problems.push(Problem { file: agent.file.clone(), place: None, what, hint: Some(hint) });
    }
    let mut named = named::Reader { agent: &agent, options, problems };
    let notifiers =
        notify::read(&declared.notifiers, &kinds.notifiers, if all_read { &routes } else { &[] }, &mut named);
    let silences = silence::read(&declared.silences, if all_read { &routes } else { &[] }, options, problems);
    let upkeep = UpkeepPlan { silences, ..agent.upkeep };
    let landings = kinds.landings();
    Plan { agent: AgentPlan { upkeep, ..agent }, platforms, targets, notifiers, canaries, routes, landings }
}

/// `[agent]` or `[web]`, or an empty table at the top of the file.
fn own_table<'t>(name: &str, main: &Section<'t>, problems: &mut Problems) -> Section<'t> {
    let mut section = Section { file: main.file, table: toml::Spanned::new(0..0, toml::de::DeTable::new()) };
    if let Some((key, value)) = main.table.get_ref().get_key_value(name) {
        match declared::table(value) {
            Some(table) => section.table = toml::Spanned::new(key.span(), table.clone()),
            None => {
                let what = format!("`{name}` is {}", decode::kind_of(value.get_ref()));
                problems.push(main.problem(value.span(), what, Some(format!("write [{name}]"))));
            }
        }
    }
    section
}

/// Reads the files of the folder of probes. The flag says whether all could be read.
fn probes(
    main: &Section<'_>,
    agent: &agent::Agent,
    order: &mut Vec<PathBuf>,
    problems: &mut Problems,
) -> (Vec<file::Text>, bool) {
    let (mut texts, mut all_read) = (Vec::new(), true);
    let paths = match (file::list(&agent.probes), &agent.probes_at) {
        (Ok(paths), _) => paths,
        // Absent is fine if nobody asked for it: everything may stand in the config file.
        (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        (Err(error), at) => {
            all_read = false;
            let what =
                format!("folder of probes `{}` cannot be read: {}", agent.probes.display(), file::reason(&error));
            let hint = Some("name a folder, relative to this file".to_owned());
            problems.push(main.problem(at.clone().unwrap_or(0..0), what, hint));
            Vec::new()
        }
    };
    for path in paths {
        match file::read(&path) {
            Ok(text) => texts.push(text),
            Err(wrong) => {
                all_read = false;
                problems.extend(wrong);
            }
        }
        order.push(path);
    }
    (texts, all_read)
}

/// A route whose id is that of another one. Ids are hashes, and tables at targets are named by them.
fn shares_its_id(routes: &[Arc<Route>]) -> Option<&Route> {
    let mut seen: HashSet<RouteId> = HashSet::with_capacity(routes.len());
    routes.iter().find(|route| !seen.insert(route.id)).map(|route| &**route)
}

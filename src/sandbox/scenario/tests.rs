//! Scenarios as their authors write them.

use super::*;
use crate::{
    canary::{Mode, Outcome},
    sandbox::{FaultKind, Spread},
};

const S: fn(u64) -> Duration = Duration::from_secs;

fn parse(text: &str) -> Scenario {
    Scenario::parse(Path::new("some.toml"), text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn every_built_in_scenario_reads_and_names_its_source() {
    for name in Scenario::builtin_names() {
        let scenario = Scenario::builtin(name).expect("there");
        assert_eq!(scenario.name, name);
        assert!(scenario.source.is_some() && !scenario.faults.is_empty(), "{name}");
    }
    assert!(Scenario::builtin("1999-12-31").is_none());
}

#[test]
fn the_shortest_scenario_is_a_title_and_a_length_in_the_default_world() {
    let scenario = parse("title = \"quiet\"\nlasts = \"1h\"");
    assert_eq!((scenario.name.as_str(), scenario.seed, scenario.routes.len()), ("some", 1, 6));
    assert_eq!(scenario.ends_at(), scenario.start.plus(S(3600)));
    assert_eq!(scenario.expect, Expect::default());
}

#[test]
fn the_scenario_of_the_design_reads_as_it_is_meant() {
    let scenario = parse(
        r#"
title  = "Result Output skipped by worker v5"
source = "http://status.treasuredata.com/incidents/l5nytq6mm02x"
start  = 2015-08-24T14:00:00-07:00
lasts  = "4h"
seed   = 1

[world.hadoop1]
labels    = { engine = "hive", cluster = "hadoop1", worker = "v5" }
job_time  = { p50 = "20s", p99 = "60s" }
land_time = "2s"

[world.other]
labels    = { worker = "v6", engine = "hive" }

[canary]
every = "1m"
modes = ["append", "replace"]

[[deploy]]
at = "43m"
service = "worker"
version = "v6.20150824"

[[fault]]
kind  = "drop-output"
from  = "44m"
until = "148m"
where = { worker = "v5" }

[expect]
incidents       = 1
outcome         = "lost"
suspects        = { worker = "v5" }
detected_within = "3m"
resolved_within = "5m"
deploy          = "worker"
"#,
    );
    let start = Timestamp::parse_rfc3339("2015-08-24T21:00:00Z").expect("a time");
    assert_eq!((scenario.start, scenario.lasts), (start, S(4 * 3600)));
    let hadoop1 = &scenario.world.platforms[0];
    assert_eq!(hadoop1.job_time, Spread::LogNormal { p50: S(20), p99: S(60) });
    assert_eq!(hadoop1.land_time, Spread::Always(S(2)));
    let other: Vec<&str> = scenario.world.platforms[1].labels.iter().map(|(name, _)| name).collect();
    assert_eq!(other, ["worker", "engine"], "in the order of the file");
    assert_eq!(scenario.world.canary.modes, [Mode::Append, Mode::Replace]);
    assert_eq!(scenario.routes.len(), 2 * 2 * 2);
    assert_eq!(scenario.deploys[0].at, start.plus(S(43 * 60)));
    let fault = &scenario.faults[0];
    assert_eq!(
        (&fault.kind, fault.from, fault.until),
        (&FaultKind::DropOutput, start.plus(S(44 * 60)), Some(start.plus(S(148 * 60))))
    );
    let v5: LabelSet = vec![("worker".into(), "v5".into())];
    assert_eq!(
        scenario.expect,
        Expect {
            incidents: Some(1),
            outcome: Some(Outcome::Lost),
            suspects: Some(v5.clone()),
            detected_within: Some(S(180)),
            resolved_within: Some(S(300)),
            deploy: Some(ExpectDeploy::Service("worker".into())),
            each: vec![],
        }
    );
    let hadoop1: LabelSet = vec![("cluster".into(), "hadoop1".into())];
    assert!(scenario.covers_same(&v5, &hadoop1), "one suspect in this world");
    assert!(!scenario.covers_same(&v5, &vec![]));
    assert!(!Scenario::builtin("2015-08-24").expect("there").covers_same(&v5, &hadoop1), "two in the default world");
}

#[test]
fn what_happens_to_the_agent_is_read_in_the_order_in_which_it_happens() {
    let scenario = parse(
        r#"
title = "t"
lasts = "1h"
agent = [
    { at = "30m", does = "clock-step", back = "90s" },
    { at = "10m", does = "restart", for = "30s" },
    { at = "11m", does = "stall", for = "2m" },
]
"#,
    );
    let at = |seconds: u64, does: Does| AgentEvent { at: scenario.start.plus(S(seconds)), does };
    assert_eq!(
        scenario.agent,
        [at(600, Does::Restart(S(30))), at(660, Does::Stall(S(120))), at(1800, Does::ClockBack(S(90)))]
    );
}

#[test]
fn labels_are_checked_against_the_routes_that_it_is_played_against() {
    let text = "title = \"t\"\nlasts = \"1h\"\n[[fault]]\nkind = \"drop-output\"\nwhere = { region = \"eu\" }";
    assert!(Scenario::parse(Path::new("f"), text).is_err());
    let mut theirs = Scenario::builtin("2015-08-24").expect("there").world;
    theirs.platforms[0].labels =
        crate::canary::Labels::new([(crate::canary::LabelName::new("region").expect("a name"), "eu".into())]);
    assert!(Scenario::parse_for(Path::new("f"), text, &theirs.routes()).is_ok());
}

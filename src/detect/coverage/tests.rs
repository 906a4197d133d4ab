//! Tables of what is used, what is watched, and what is said of it.

use super::*;
use crate::canary::{CanaryName, Labels};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

const LANDINGS: [Landing; 3] = [
    Landing {
        kind: "postgresql",
        modes: &Mode::ALL,
        schemes: &["postgresql", "pgsql"],
        example: "[target.NAME.postgresql]\nurl = { env = \"LANDFALL_ENV_URL\" }\n",
    },
    Landing {
        kind: "object-store",
        modes: &[Mode::Append, Mode::Replace],
        schemes: &["s3"],
        example: "[target.NAME]\n",
    },
    Landing { kind: "webhook", modes: &[Mode::Append], schemes: &["web", "webs"], example: "[target.NAME]\n" },
];

fn platform(name: &str) -> PlatformName {
    PlatformName::new(name).expect("a name")
}

fn fields(of: [&str; 3]) -> Fields {
    of.map(|value| (!value.is_empty()).then(|| value.to_owned()))
}

/// `engine version pool > scheme mode`, on account 1.
fn way(text: &str) -> Way {
    way_of(1, text)
}

fn way_of(account: u64, text: &str) -> Way {
    let (jobs, output) = text.split_once(" > ").expect("an arrow");
    let (scheme, mode) = output.split_once(' ').expect("a scheme and a mode");
    let mut parts = jobs.split(' ');
    let fields = fields([(); 3].map(|()| parts.next().unwrap_or_default()));
    Way { account, fields, scheme: scheme.to_owned(), mode: mode.parse().ok() }
}

fn route(platform_name: &str, target: &str, mode: Mode) -> Arc<Route> {
    let (canary, target) = (CanaryName::new("c").expect("a name"), TargetName::new(target).expect("a name"));
    Arc::new(Route::new(canary, platform(platform_name), target, mode, Labels::default()))
}

/// Two platforms of account 1, one of account 2; a warehouse and a web target; some routes.
fn fleet() -> Fleet {
    let runner = |name: &str, account, of| Runner {
        platform: platform(name),
        kind: "treasure-data",
        account,
        sends: vec![Sends { account, fields: fields(of), is_any_else: false }],
        outputs: None,
        pace: Pace { every: Duration::from_secs(60), ..Pace::USUAL },
    };
    let target = |name: &str, kind: &'static str, schemes: &[&str]| Sink {
        name: TargetName::new(name).expect("a name"),
        kind,
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
    };
    Fleet {
        runners: vec![
            runner("presto", 1, ["presto", "", ""]),
            runner("hadoop1", 1, ["hive", "", ""]),
            runner("hadoop2", 2, ["hive", "", ""]),
        ],
        targets: vec![
            target("warehouse", "postgresql", &["postgresql", "pgsql"]),
            target("web", "webhook", &["web", "webs"]),
        ],
        routes: vec![
            route("presto", "warehouse", Mode::Append),
            route("hadoop1", "web", Mode::Append),
            route("hadoop2", "warehouse", Mode::Replace),
        ],
        landings: LANDINGS.to_vec(),
        taken: [
            ["presto", "hadoop1", "hadoop2"].map(str::to_owned).into(),
            ["warehouse", "web"].map(str::to_owned).into(),
            ["c".to_owned()].into(),
        ],
    }
}

/// Jobs that went these ways an hour ago, so many of each.
fn survey(ways: &[(&str, u64)]) -> Survey {
    let mut survey = Survey::new(NOW, MONTH);
    for (text, jobs) in ways {
        for _ in 0..*jobs {
            survey.job(way(text), Some(NOW.minus(DAY / 24)), false, Some("ann"));
        }
    }
    survey
}

fn compare(survey: &Survey) -> Coverage {
    let sibling = |_: &PlatformName, name: &str, fields: &Fields| {
        let engine = fields[0].as_deref().filter(|engine| ["presto", "hive", "trino"].contains(engine))?;
        Some(format!("[platform.{name}]\nengine = \"{engine}\"\n"))
    };
    coverage(survey, &fleet(), &sibling)
}

/// `platform engine > kind mode: watch jobs`, as they stand.
fn told(found: &Coverage) -> Vec<String> {
    let line = |line: &Line| {
        let kind = line.target_kind.clone().unwrap_or_else(|| format!("({})", line.schemes.join(",")));
        let mode = line.mode.map_or("?", Mode::as_str);
        let watch = if line.can_close() { "closable".to_owned() } else { format!("{:?}", line.watch).to_lowercase() };
        format!("{} {} > {kind} {mode}: {watch} {}", line.platform, line.engine, line.jobs)
    };
    found.ways.iter().map(line).collect()
}

#[test]
fn a_route_covers_a_way_only_with_its_platform_its_kind_of_target_and_its_mode() {
    for (used, stands) in [
        ("presto > postgresql append", "presto presto > postgresql append: covered 1"),
        ("presto > pgsql append", "presto presto > postgresql append: covered 1"),
        ("presto > PostgreSQL append", "presto presto > postgresql append: covered 1"),
        ("hive > webs append", "hadoop1 hive > webhook append: covered 1"),
        ("presto > postgresql replace", "presto presto > postgresql replace: closable 1"),
        ("hive > postgresql append", "hadoop1 hive > postgresql append: closable 1"),
        ("presto > web append", "presto presto > webhook append: closable 1"),
        ("presto > s3 append", "presto presto > object-store append: closable 1"),
        ("trino > postgresql append", "presto trino > postgresql append: closable 1"),
        ("presto > salesforce append", "presto presto > (salesforce) append: gap 1"),
        ("presto > s3 update", "presto presto > object-store update: gap 1"),
        ("presto > s3 upsert", "presto presto > object-store ?: gap 1"),
        ("pig > postgresql append", "presto pig > postgresql append: gap 1"),
    ] {
        assert_eq!(told(&compare(&survey(&[(used, 1)]))), [stands], "{used}");
    }
}

#[test]
fn why_a_gap_cannot_be_closed_is_said() {
    for (used, because) in [
        ("presto > salesforce append", "there is no kind of target for `salesforce` yet"),
        ("presto > s3 update", "a target of kind object-store cannot be watched in mode update"),
        ("presto > s3 upsert", "how it is written is not a mode that is known here"),
        ("pig > s3 append", "no platform of Landfall runs jobs of type `pig`"),
    ] {
        let found = compare(&survey(&[(used, 1)]));
        assert_eq!((found.ways[0].because.as_deref(), found.toml.as_deref()), (Some(because), None), "{used}");
    }
}

#[test]
fn accounts_are_told_apart_and_schemes_of_one_kind_are_not() {
    let mut survey = survey(&[("hive > pgsql replace", 2), ("hive > postgresql replace", 3)]);
    survey.job(way_of(2, "hive > postgresql replace"), Some(NOW), false, None);
    let found = compare(&survey);
    assert_eq!(
        told(&found),
        ["hadoop1 hive > postgresql replace: closable 5", "hadoop2 hive > postgresql replace: covered 1"]
    );
    assert_eq!(found.ways[0].schemes, ["pgsql", "postgresql"]);
    assert_eq!(found.ways[1].routes, ["c/hadoop2/warehouse/replace"]);
}

#[test]
fn gaps_come_first_and_the_most_used_of_them_first() {
    let found = compare(&survey(&[
        ("presto > postgresql append", 50),
        ("presto > postgresql replace", 3),
        ("hive > s3 append", 20),
        ("hive > salesforce append", 7),
    ]));
    assert_eq!(
        told(&found),
        [
            "hadoop1 hive > object-store append: closable 20",
            "hadoop1 hive > (salesforce) append: gap 7",
            "presto presto > postgresql replace: closable 3",
            "presto presto > postgresql append: covered 50",
        ]
    );
}

#[test]
fn what_nobody_has_used_for_so_long_and_will_not_is_no_gap() {
    let mut survey = Survey::new(NOW, MONTH);
    survey.job(way("hive > s3 append"), Some(NOW.minus(MONTH).minus(Duration::from_secs(1))), false, None);
    survey.schedule(way("hive > postgresql append"), NOW.plus(MONTH + DAY), None);
    assert_eq!(told(&compare(&survey)), [] as [&str; 0]);
    survey.job(way("hive > s3 append"), Some(NOW.minus(MONTH)), true, Some("ann"));
    survey.schedule(way("hive > postgresql append"), NOW.plus(DAY), Some("bob"));
    let found = compare(&survey);
    assert_eq!(
        told(&found),
        ["hadoop1 hive > object-store append: closable 1", "hadoop1 hive > postgresql append: closable 0"]
    );
    assert_eq!(
        (found.ways[0].failed, found.ways[0].owners, found.ways[0].last_used_at),
        (1, 1, Some(NOW.minus(MONTH)))
    );
    assert_eq!((found.ways[1].schedules, found.ways[1].owners, found.ways[1].last_used_at), (1, 1, None));
}

#[test]
fn a_connection_alone_is_no_use() {
    let mut survey = survey(&[("presto > postgresql append", 1)]);
    survey.connection(1, "postgresql");
    survey.connection(1, "tableau");
    survey.connection(1, "Tableau");
    let found = compare(&survey);
    assert_eq!(told(&found), ["presto presto > postgresql append: covered 1", "presto  > (tableau) ?: unused 0"]);
    assert_eq!(found.ways.iter().map(|line| line.connections).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn versions_and_pools_tell_ways_apart_where_the_platform_tells_them() {
    let mut told_nowhere = fleet();
    told_nowhere.runners[0].sends[0].fields = fields(["presto", "350", "big"]);
    let used = survey(&[("presto > postgresql append", 1)]);
    let stands = |survey: &Survey, fleet: &Fleet| coverage(survey, fleet, &|_, _, _| None).ways[0].watch;
    assert_eq!(stands(&used, &told_nowhere), Watch::Covered, "its jobs tell no version");
    let mut told = used.clone();
    told.tells(1, &fields(["presto", "350", ""]));
    assert_eq!(stands(&told, &told_nowhere), Watch::Gap, "others do: these run on the default");
    assert_eq!(stands(&told, &fleet()), Watch::Covered);
    let newer = compare(&survey(&[("presto 423 > postgresql append", 1), ("presto > postgresql append", 2)]));
    assert_eq!(newer.ways[0].engine_version.as_deref(), Some("423"));
    assert_eq!((newer.ways[0].watch, newer.ways[1].watch), (Watch::Gap, Watch::Covered));
    let toml = newer.ways[0].toml.as_deref().expect("closable");
    assert!(toml.contains("[platform.presto-423]") && toml.contains("platforms = [\"presto-423\"]"), "{toml}");
}

#[test]
fn only_what_is_missing_is_written_and_names_are_new() {
    let found = compare(&survey(&[("presto > postgresql replace", 9)]));
    assert_eq!(
        found.ways[0].toml.as_deref(),
        Some(
            "# presto into postgresql, replace: 9 jobs in 30d, the last at 2026-09-21T13:13:20.000Z\n\
             [canary.covers-presto-warehouse-replace]\n\
             platforms = [\"presto\"]\n\
             targets   = [\"warehouse\"]\n\
             modes     = [\"replace\"]\n\
             every     = \"1m\"\n\
             objective = \"2m\"\n\
             deadline  = \"5m\"\n"
        )
    );
    let mut fleet = fleet();
    fleet.taken[2].insert("covers-presto-object-store-append".to_owned());
    fleet.taken[1].insert("object-store".to_owned());
    let found = coverage(&survey(&[("presto > s3 append", 1)]), &fleet, &|_, _, _| None);
    let toml = found.ways[0].toml.as_deref().expect("closable");
    assert!(toml.contains("[target.object-store-2]") && toml.contains("targets   = [\"object-store-2\"]"), "{toml}");
}

#[test]
fn what_closes_all_gaps_declares_nothing_twice() {
    let found = compare(&survey(&[
        ("presto > s3 append", 5),
        ("presto > s3 replace", 4),
        ("trino > s3 append", 3),
        ("trino > postgresql append", 2),
        ("hive > salesforce append", 1),
    ]));
    let toml = found.toml.expect("closable gaps");
    let heads: Vec<&str> = toml.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        heads,
        [
            "[target.object-store]",
            "[canary.covers-presto-object-store-append]",
            "[canary.covers-presto-object-store-replace]",
            "[platform.trino]",
            "[canary.covers-trino-object-store-append]",
            "[canary.covers-trino-warehouse-append]",
        ]
    );
    // Each by itself is whole all the same.
    let second = found.ways[1].toml.as_deref().expect("closable");
    assert!(second.contains("[target.object-store]"), "{second}");
}

#[test]
fn hostile_names_stay_inside_their_comment_and_their_name() {
    let mut way = way("presto > s3 append");
    way.fields[2] = Some("x\"]\n[agent]\ntoken".to_owned());
    let mut survey = Survey::new(NOW, MONTH);
    survey.job(way, Some(NOW), false, None);
    let found = compare(&survey);
    let toml = found.toml.expect("closable");
    assert!(!toml.lines().any(|line| line.starts_with("[agent]")), "{toml}");
    assert!(toml.contains("[platform.presto-x----agent--token]"), "{toml}");
}

#[test]
fn more_ways_than_can_be_told_apart_are_left_out_and_counted() {
    let mut survey = Survey::new(NOW, MONTH);
    for n in 0..survey::MOST_WAYS + 5 {
        survey.job(way(&format!("presto > s{n} append")), Some(NOW), false, None);
    }
    let found = compare(&survey);
    assert_eq!((found.ways.len(), found.left_out), (survey::MOST_WAYS, 5));
}

#[test]
fn one_route_closes_what_several_accounts_and_types_of_jobs_do_on_one_platform() {
    let mut fleet = fleet();
    let any = |account, kind| Sends { account, fields: fields([kind, "", ""]), is_any_else: true };
    fleet.runners[0].sends = [1, 2].iter().flat_map(|of| ["presto", "trino"].map(|kind| any(*of, kind))).collect();
    fleet.routes.clear();
    let mut survey = Survey::new(NOW, MONTH);
    for (account, kind, owner) in
        [(1, "presto", "ann"), (1, "trino", "ann"), (2, "presto", "ann"), (2, "presto", "bob"), (2, "trino", "eve")]
    {
        survey.job(way_of(account, &format!("{kind} > postgresql append")), Some(NOW), false, Some(owner));
    }
    let found = coverage(&survey, &fleet, &|_, _, _| None);
    assert_eq!(
        told(&found),
        ["presto presto > postgresql append: closable 3", "presto trino > postgresql append: closable 2"]
    );
    assert_eq!(found.ways.iter().map(|line| line.owners).collect::<Vec<_>>(), [2, 2]);
    let toml = found.toml.expect("closable");
    assert_eq!(toml.matches("[canary.").count(), 1, "{toml}");
    assert!(found.ways.iter().all(|line| line.toml.as_ref().is_some_and(|toml| toml.contains("[canary."))));
}

#[test]
fn an_account_whose_platform_was_taken_out_is_spoken_of_no_more() {
    let mut survey = Survey::new(NOW, MONTH);
    survey.job(way_of(3, "hive > s3 append"), Some(NOW), false, None);
    survey.connection(3, "s3");
    assert_eq!(told(&compare(&survey)), [] as [&str; 0]);
}

#[test]
fn a_platform_that_knows_targets_by_names_gets_none_that_it_has_no_name_for() {
    let mut fleet = fleet();
    fleet.runners[0].outputs = Some(vec!["web".to_owned()]);
    let line = |used: &str| coverage(&survey(&[(used, 1)]), &fleet, &|_, _, _| None).ways.remove(0);
    assert!(line("presto > web append").can_close());
    for unnamed in ["presto > postgresql replace", "presto > s3 append"] {
        let because = line(unnamed).because.expect("it cannot be closed");
        assert!(because.contains("into its `outputs`"), "{because}");
    }
    for (unknown, says) in
        [("presto > own append", "schemes = [\"own\"]"), ("presto > name append", "does not say where")]
    {
        let because = line(unknown).because.expect("it cannot be closed");
        assert!(because.contains(says), "{because}");
    }
}

#[test]
fn the_config_may_say_which_jobs_run_on_a_platform_and_what_leads_into_a_target() {
    let mut fleet = fleet();
    // Presto jobs of any version run on presto; jobs of account 2 that are Presto's, too.
    let any = |account| Sends { account, fields: fields(["presto", "", ""]), is_any_else: true };
    fleet.runners[0].sends = vec![any(1), any(2)];
    fleet.targets[0].schemes = vec!["redshift".to_owned()];
    let mut survey = survey(&[("presto 423 > redshift append", 1), ("presto > postgresql append", 1)]);
    survey.job(way_of(2, "presto > redshift append"), Some(NOW), false, None);
    let found = coverage(&survey, &fleet, &|_, _, _| None);
    assert_eq!(
        told(&found),
        [
            "presto presto > postgresql append: closable 1",
            "presto presto > postgresql append: covered 1",
            "presto presto > postgresql append: covered 1",
        ]
    );
    let toml = found.ways[0].toml.as_deref().expect("closable");
    assert!(toml.contains("[target.postgresql]") || toml.contains("[target.postgresql.postgresql]"), "{toml}");
}

//! `[platform.NAME]`, `[target.NAME]`, `[notify.NAME]` (its own keys: `notify`): a few keys of their
//! own, and exactly one kind's table, which the kind's driver decodes.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Options,
    agent::brief,
    declared::{Declared, table},
    decode::{decode, kind_of},
    file::in_order,
    jobs, labels, near,
    plan::{AgentPlan, PlatformPlan, TargetCaps, TargetPlan},
    problem::Problems,
    schema::keys_in_order,
    section::{Kind, Opening, Outputs, Section},
    spanned::Spanned as Own,
};
use crate::canary::{Mode, NameError, PlatformName, TargetName};

/// A run each second, the shortest interval, for a route or two; a hundred routes a minute apart.
const PER_HOUR: u32 = 3600;
/// More runs at once than this wait for a cluster's queue, not for its Result Output.
const IN_FLIGHT: u32 = 20;

/// A system that accepts queries and can push their results out.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub(super) struct PlatformTable {
    /// How a fault is named: whatever can break on its own deserves one.
    #[schemars(transform = labels::describe)]
    labels: Option<labels::Written>,
    /// Most runs at once.
    #[schemars(extend("default" = IN_FLIGHT), range(min = 1, max = u32::MAX))]
    in_flight: Option<Own<i64>>,
    /// Most runs begun in an hour, whatever happens.
    #[schemars(extend("default" = PER_HOUR), range(min = 1, max = u32::MAX))]
    per_hour: Option<Own<i64>>,
    /// Which customers' jobs run there, for `landfall impact`: sets of fields as the platform's list of jobs has them.
    #[schemars(transform = jobs::describe_fields)]
    jobs: Option<Vec<Own<labels::Written>>>,
}

/// An external place where results should land.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub(super) struct TargetTable {
    /// How a fault is named.
    #[schemars(transform = labels::describe)]
    labels: Option<labels::Written>,
    /// Most rows that canaries send it in an hour; runs beyond that are skipped. Absent: no limit.
    #[schemars(range(min = 1, max = u32::MAX))]
    rows_per_hour: Option<Own<i64>>,
    /// Most looks for runs in an hour, spread evenly. Absent: no limit.
    #[schemars(range(min = TargetCaps::LEAST_READS, max = u32::MAX))]
    reads_per_hour: Option<Own<i64>>,
    /// Schemes of customers' Result Output addresses that lead there, for `landfall impact`.
    #[schemars(transform = jobs::describe_schemes)]
    schemes: Option<Vec<Own<String>>>,
}

/// Keys that hold a table and are no kinds.
const OWN_TABLES: [&str; 2] = ["labels", "where"];

/// What all tables are read with.
pub(super) struct Reader<'a> {
    pub agent: &'a AgentPlan,
    pub options: &'a Options,
    pub problems: &'a mut Problems,
}

/// What a canary needs to know of a platform or target, also of one that could not be opened.
pub(super) struct Known<'t, N> {
    pub written: &'t str,
    pub name: Option<N>,
    pub labels: crate::canary::Labels,
    pub kind: &'static str,
    /// Empty: any.
    pub modes: &'static [Mode],
    /// Whether the agent can write rows of its own there, and query them.
    pub keeps_a_diary: bool,
    /// The targets that a platform has a name for; none: it takes a target's own address.
    pub outputs: Option<Vec<String>>,
}

impl Reader<'_> {
    /// Reads the platforms.
    pub(super) fn platforms<'t, P>(
        &mut self,
        declared: &[Declared<'t>],
        kinds: &[Kind<'_, P>],
    ) -> (Vec<PlatformPlan<P>>, Vec<Known<'t, PlatformName>>) {
        let (mut plans, mut known) = (Vec::new(), Vec::new());
        for declared in declared {
            let name = self.name(declared, PlatformName::new);
            let (own, kind) = self.own::<PlatformTable, P>("platform", declared, kinds);
            let labels = labels::read(own.labels, &declared.section, self.problems);
            let in_flight = self.cap(declared, "in_flight", own.in_flight, IN_FLIGHT);
            let per_hour = self.cap(declared, "per_hour", own.per_hour, PER_HOUR);
            let jobs = jobs::fields(own.jobs.unwrap_or_default(), declared, self.problems);
            known.push(known_as(declared, &name, &labels, kind.as_ref()));
            let of_kind = kind.as_ref().map_or("", |(kind, _)| kind.name);
            let outputs = known.last().and_then(|known| known.outputs.clone());
            let driver = kind.and_then(|(kind, section)| self.open(declared, kind, section));
            if let (Some(name), Some(driver)) = (name, driver) {
                let kind = of_kind;
                plans.push(PlatformPlan { name, kind, labels, in_flight, per_hour, outputs, jobs, driver });
            }
        }
        (plans, known)
    }

    /// Reads the targets.
    pub(super) fn targets<'t, T>(
        &mut self,
        declared: &[Declared<'t>],
        kinds: &[Kind<'_, T>],
    ) -> (Vec<TargetPlan<T>>, Vec<Known<'t, TargetName>>) {
        let (mut plans, mut known) = (Vec::new(), Vec::new());
        for declared in declared {
            let name = self.name(declared, TargetName::new);
            let (own, kind) = self.own::<TargetTable, T>("target", declared, kinds);
            let labels = labels::read(own.labels, &declared.section, self.problems);
            let caps = TargetCaps {
                rows_per_hour: self.limit(declared, "rows_per_hour", own.rows_per_hour, 1),
                reads_per_hour: self.limit(declared, "reads_per_hour", own.reads_per_hour, TargetCaps::LEAST_READS),
            };
            let schemes = jobs::schemes(own.schemes.unwrap_or_default(), declared, self.problems);
            known.push(known_as(declared, &name, &labels, kind.as_ref()));
            let of_kind = kind.as_ref().map_or("", |(kind, _)| kind.name);
            let driver = kind.and_then(|(kind, section)| self.open(declared, kind, section));
            if let (Some(name), Some(driver)) = (name, driver) {
                plans.push(TargetPlan { name, kind: of_kind, labels, caps, schemes, driver });
            }
        }
        (plans, known)
    }

    pub(super) fn wrong(&mut self, declared: &Declared<'_>, what: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(declared.section.problem(declared.name.span(), what, Some(hint.into())));
    }

    /// The name, checked.
    pub(super) fn name<N>(&mut self, declared: &Declared<'_>, check: fn(&str) -> Result<N, NameError>) -> Option<N> {
        match check(declared.name.get_ref()) {
            Ok(name) => Some(name),
            Err(error) => {
                self.wrong(declared, error.to_string(), "rename it, here and where it is named");
                None
            }
        }
    }

    /// A cap: a whole number, at least 1, since with none of them nothing would ever run.
    fn cap(&mut self, declared: &Declared<'_>, key: &str, written: Option<Own<i64>>, default: u32) -> u32 {
        let Some(written) = written else { return default };
        let number = *written.get_ref();
        u32::try_from(number).ok().filter(|n| *n > 0).unwrap_or_else(|| {
            let hint = format!("write an integer from 1 to {}; absent, it is {default}", u32::MAX);
            self.problems.push(declared.section.problem(
                written.span(),
                format!("`{key} = {number}` is out of range"),
                Some(hint),
            ));
            default
        })
    }

    /// A limit that is not there unless it is written, and is never below `least`.
    fn limit(&mut self, declared: &Declared<'_>, key: &str, written: Option<Own<i64>>, least: u32) -> Option<u32> {
        let written = written?;
        let number = *written.get_ref();
        let limit = u32::try_from(number).ok().filter(|n| *n >= least);
        if limit.is_none() {
            let hint = format!("write an integer from {least} to {}; absent, there is no limit", u32::MAX);
            let what = format!("`{key} = {number}` is out of range");
            self.problems.push(declared.section.problem(written.span(), what, Some(hint)));
        }
        limit
    }

    /// Tells the table's own keys from the kind's table.
    pub(super) fn own<'k, 't, W: DeserializeOwned + Default, D>(
        &mut self,
        what: &str,
        declared: &Declared<'t>,
        kinds: &'k [Kind<'k, D>],
    ) -> (W, Option<(&'k Kind<'k, D>, Section<'t>)>) {
        let mut rest = DeTable::new();
        let mut chosen = Vec::new();
        for (key, value) in in_order(declared.section.table.get_ref()) {
            let name = &**key.get_ref();
            if !OWN_TABLES.contains(&name) && (table(value).is_some() || kinds.iter().any(|kind| kind.name == name)) {
                chosen.push((key, value));
            } else {
                rest.insert(key.clone(), value.clone());
            }
        }
        let whole = declared.name.span();
        let mut decoded = decode::<W>(&Spanned::new(whole.clone(), rest), whole);
        if let [(kind, _)] = chosen.as_slice() {
            // A key that this table does not have is probably the kind's.
            let place = format!("keys of the kind stand in [{what}.{}.{}]", declared.name.get_ref(), kind.get_ref());
            for (_, wrong, hint) in &mut decoded.complaints {
                let lists_all = hint.as_deref().is_some_and(|hint| !hint.starts_with("did you mean"));
                if wrong.starts_with("unknown key") && lists_all {
                    *hint = hint.take().map(|hint| format!("{hint}; {place}"));
                }
            }
        }
        let section = &declared.section;
        self.problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
        (decoded.value.unwrap_or_default(), self.kind(what, declared, &chosen, kinds))
    }

    /// The one kind that is chosen.
    fn kind<'k, 't, D>(
        &mut self,
        what: &str,
        declared: &Declared<'t>,
        chosen: &[(&Spanned<toml::de::DeString<'t>>, &Spanned<DeValue<'t>>)],
        kinds: &'k [Kind<'k, D>],
    ) -> Option<(&'k Kind<'k, D>, Section<'t>)> {
        let names = kinds.iter().map(|kind| kind.name);
        let name = declared.name.get_ref();
        let section = &declared.section;
        let Some(((key, value), others)) = chosen.split_first() else {
            let example = kinds.first().map_or("KIND", |kind| kind.name);
            let hint = format!("add [{what}.{name}.{example}]; {}", near::hint("", "kinds", names));
            self.wrong(declared, format!("{what} `{name}` has no kind"), hint);
            return None;
        };
        for (other, _) in others {
            let hint = format!("keep one of [{what}.{name}.{}] and [{what}.{name}.{}]", key.get_ref(), other.get_ref());
            self.problems.push(section.problem(other.span(), format!("{what} `{name}` has two kinds"), Some(hint)));
        }
        let Some(kind) = kinds.iter().find(|kind| kind.name == &**key.get_ref()) else {
            let hint = near::hint(key.get_ref(), "kinds", names);
            let wrong = format!("unknown kind of {what} `{}`", brief(key.get_ref()));
            self.problems.push(section.problem(key.span(), wrong, Some(hint)));
            return None;
        };
        let Some(table) = table(value) else {
            let hint = format!("write [{what}.{name}.{}]", kind.name);
            let wrong = format!("`{}` is {}", kind.name, kind_of(value.get_ref()));
            self.problems.push(section.problem(value.span(), wrong, Some(hint)));
            return None;
        };
        let place = key.span();
        Some((kind, Section { file: section.file, table: Spanned::new(place, table.clone()) }))
    }

    pub(super) fn open<D>(&mut self, declared: &Declared<'_>, kind: &Kind<'_, D>, section: Section<'_>) -> Option<D> {
        let opening = Opening {
            name: declared.name.get_ref(),
            section,
            wire: &self.agent.wire,
            agent: self.agent,
            without_secrets: self.options.without_secrets,
        };
        (kind.open)(&opening).map_err(|problems| self.problems.extend(problems)).ok()
    }
}

fn known_as<'t, N: Clone, D>(
    declared: &Declared<'t>,
    name: &Option<N>,
    labels: &crate::canary::Labels,
    kind: Option<&(&Kind<'_, D>, Section<'t>)>,
) -> Known<'t, N> {
    Known {
        written: declared.name.get_ref(),
        name: name.clone(),
        labels: labels.clone(),
        kind: kind.map_or("", |(kind, _)| kind.name),
        modes: kind.map_or(&[], |(kind, _)| kind.modes),
        keeps_a_diary: kind.is_some_and(|(kind, _)| kind.keeps_a_diary),
        outputs: kind.and_then(|(kind, section)| outputs(kind.outputs, section)),
    }
}

/// The keys of a kind's `outputs`, if it names targets.
fn outputs(named: Outputs, section: &Section<'_>) -> Option<Vec<String>> {
    let written = section.table.get_ref().get("outputs").and_then(table);
    let keys = written.map(|table| table.keys().map(|key| key.get_ref().to_string()).collect());
    match named {
        Outputs::Addressed => None,
        Outputs::NamedIfGiven => keys,
        Outputs::Named => Some(keys.unwrap_or_default()),
    }
}

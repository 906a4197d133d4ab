//! `[[silence]]`: when nobody is paged of some routes, once or again and again.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Options,
    agent::{brief, check_text, text_of},
    decode::decode,
    labels,
    length::Length,
    plan::{SilencePlan, SilenceTime},
    problem::Problems,
    schema::keys_in_order,
    section::Section,
    select::check_selector,
    spanned::Spanned,
    upkeep,
};
use crate::canary::{Route, Selector, Timestamp};

/// Longest that one may last: what is silenced for longer should not be watched, or is forgotten.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Longest that one of a row may last, and shortest.
const LONGEST_RECURRING: Duration = Duration::from_secs(7 * 86_400);
const SHORTEST: Duration = Duration::from_secs(60);
/// Most of them.
pub(super) const MOST: usize = 200;
/// What a time with its zone looks like, for schemas.
const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}.*([Zz]|[+-][0-9]{2}:[0-9]{2})$";

/// When nobody is paged of some routes: once, or again and again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>, extend("oneOf" = [
    { "required": ["from", "until"], "properties": { "cron": false, "lasts": false, "timezone": false } },
    { "required": ["cron", "lasts"], "properties": { "from": false, "until": false } },
]))]
pub(super) struct Written {
    /// Of which routes: labels, canary, platform, target or mode as routes have them; `{}` is every route.
    #[schemars(required)]
    r#where: Option<Spanned<labels::Written>>,
    /// When it begins, with its zone: `2026-11-23T22:00:00+09:00`.
    #[schemars(extend("pattern" = TIME))]
    from: Option<Spanned<String>>,
    /// When it ends, at most a year later.
    #[schemars(extend("pattern" = TIME))]
    until: Option<Spanned<String>>,
    /// When it begins each time: minute, hour, day, month, weekday. Instead of `from` and `until`.
    cron: Option<Spanned<String>>,
    /// How long it lasts each time, from a minute to a week.
    #[schemars(extend("pattern" = Length::SOME))]
    lasts: Option<Spanned<Length>>,
    /// Of `cron`.
    #[schemars(extend("default" = upkeep::UTC))]
    timezone: Option<Spanned<String>>,
    /// Why: the pages say it.
    #[schemars(required, transform = text_of)]
    because: Option<Spanned<String>>,
}

/// Reads the silences. `routes`: to tell whether `where` can mean something here.
pub(super) fn read(
    declared: &[Section<'_>],
    routes: &[Arc<Route>],
    options: &Options,
    problems: &mut Problems,
) -> Vec<SilencePlan> {
    let mut plans = Vec::new();
    for (nth, section) in declared.iter().enumerate() {
        if nth == MOST {
            let hint = format!("{MOST} are the most; write one with a wider `where`");
            problems.push(section.problem(section.table.span(), "too many silences", Some(hint)));
            break;
        }
        let decoded = decode::<Written>(&section.table, section.table.span());
        problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
        let written = decoded.value.unwrap_or_default();
        let mut reading = Reading { section, wrong_keys: decoded.wrong, options, problems };
        let when = reading.when(&written);
        let only = reading.only(written.r#where, routes);
        let because = reading.because(written.because);
        if let (Some(when), Some(only), Some(because)) = (when, only, because) {
            plans.push(SilencePlan { id: format!("config-{}", nth + 1), only, when, because });
        }
    }
    plans
}

struct Reading<'a> {
    section: &'a Section<'a>,
    wrong_keys: Vec<String>,
    options: &'a Options,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn wrong<T>(&mut self, at: std::ops::Range<usize>, what: impl Into<String>, hint: &str) -> Option<T> {
        self.problems.push(self.section.problem(at, what, Some(hint.to_owned())));
        None
    }

    fn missing<T>(&mut self, key: &str, what: &str, hint: &str) -> Option<T> {
        if self.wrong_keys.iter().any(|wrong| wrong == key) {
            return None;
        }
        self.wrong(self.section.table.span(), what, hint)
    }

    fn only(&mut self, written: Option<Spanned<labels::Written>>, routes: &[Arc<Route>]) -> Option<Selector> {
        let hint = "write labels, canary, platform, target or mode as the routes have them";
        let Some(written) = written else {
            let hint = "write where = { worker = \"v6\" }, or where = {} for every route";
            return self.missing("where", "a silence does not say of which routes", hint);
        };
        let at = written.span();
        let only = Selector::new(written.into_inner().pairs());
        // Without routes everything else is wrong already.
        if !routes.is_empty()
            && let Err(what) = check_selector(&only, routes)
        {
            return self.wrong(at, what, hint);
        }
        Some(only)
    }

    fn because(&mut self, written: Option<Spanned<String>>) -> Option<String> {
        let hint = "write what the pages say: because = \"worker v6 is moved\"";
        let Some(because) = written else {
            return self.missing("because", "a silence does not say why", hint);
        };
        match check_text(because.get_ref()) {
            Ok(()) => Some(because.into_inner()),
            Err(why) => self.wrong(because.span(), format!("`because` {why}"), hint),
        }
    }

    fn when(&mut self, written: &Written) -> Option<SilenceTime> {
        let Written { from, until, cron, lasts, timezone, .. } = written;
        let hint = "write from and until, or cron, lasts and timezone";
        match (from, until, cron, lasts) {
            (Some(_), _, Some(cron), _) | (_, Some(_), Some(cron), _) => {
                self.wrong(cron.span(), "both a time and `cron`", hint)
            }
            (_, _, Some(cron), Some(lasts)) => {
                let begins = upkeep::cron(self.section, cron, timezone.as_ref(), self.options, self.problems)?;
                let lasts_for = lasts.get_ref().0;
                if lasts_for < SHORTEST || lasts_for > LONGEST_RECURRING {
                    return self.wrong(lasts.span(), "`lasts` is not between a minute and a week", "write \"2h\"");
                }
                Some(SilenceTime::Recurring { begins, lasts: lasts_for })
            }
            (_, _, Some(cron), None) => {
                self.is_right("lasts")?;
                self.wrong(cron.span(), "`cron` without `lasts`", "say how long: lasts = \"2h\"")
            }
            (Some(from), Some(until), None, None) if timezone.is_none() => {
                let (begins, ends) = (self.time("from", from), self.time("until", until));
                let (begins, ends) = (begins?, ends?);
                if ends <= begins {
                    return self.wrong(until.span(), "`until` is not after `from`", "a silence ends after it begins");
                }
                if ends.since(begins) > LONGEST {
                    let hint = "take the canary out instead, or write an earlier `until`";
                    return self.wrong(until.span(), "a silence of more than a year", hint);
                }
                Some(SilenceTime::Once { from: begins, until: ends })
            }
            _ => {
                for key in ["from", "until", "cron", "lasts", "timezone"] {
                    self.is_right(key)?;
                }
                self.wrong(self.section.table.span(), "a silence does not say when", hint)
            }
        }
    }

    /// None if the key was there and wrong: it is not missing as well.
    fn is_right(&self, key: &str) -> Option<()> {
        (!self.wrong_keys.iter().any(|wrong| wrong == key)).then_some(())
    }

    fn time(&mut self, key: &str, text: &Spanned<String>) -> Option<Timestamp> {
        let at = Timestamp::parse_rfc3339(text.get_ref());
        if at.is_some() {
            return at;
        }
        let what = format!("`{key} = {:?}` is not a time with its zone", brief(text.get_ref()));
        self.wrong(text.span(), what, "write \"2026-11-23T22:00:00+09:00\", or Z for UTC")
    }
}

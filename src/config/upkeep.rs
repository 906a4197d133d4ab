//! `[agent.drill]` and `[agent.heartbeat]`: what shows that people can be reached.

use std::time::Duration;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Options,
    agent::brief,
    length::Length,
    plan::HeartbeatPlan,
    problem::Problems,
    schema::keys_in_order,
    secret::UrlSource,
    section::{Section, secret},
    spanned::Spanned,
};
use crate::canary::{RouteId, Schedule, Secret, schedule::ScheduleError};

/// The time zone of schedules, unless the config says otherwise.
pub(super) const UTC: &str = "UTC";
/// How often a sign of life is sent if nobody says.
const EVERY: Duration = Duration::from_secs(60);
/// More often than this the scheduler may have made no progress in between.
const SHORTEST: Duration = Duration::from_secs(5);
/// More rarely than this nobody learns in time that the agent is gone.
const LONGEST: Duration = Duration::from_secs(3600);

/// `[agent.drill]` as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub(super) struct Drill {
    /// When: minute, hour, day, month, weekday.
    cron: Spanned<String>,
    /// Of `cron`.
    #[schemars(extend("default" = UTC))]
    timezone: Option<Spanned<String>>,
}

/// `[agent.heartbeat]` as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub(super) struct Heartbeat {
    /// Where the sign is sent, over HTTP.
    url: Spanned<UrlSource>,
    /// How often, from 5s to 1h.
    #[schemars(extend("default" = Length(EVERY), "pattern" = Length::SOME))]
    every: Option<Spanned<Length>>,
    /// Of HTTP.
    #[schemars(extend("default" = Method::default()))]
    method: Option<Method>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
enum Method {
    #[default]
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
}

/// When drills go out.
pub(super) fn drill(
    section: &Section<'_>,
    written: Option<&Drill>,
    options: &Options,
    problems: &mut Problems,
) -> Option<Schedule> {
    let Drill { cron: expression, timezone } = written?;
    cron(section, expression, timezone.as_ref(), options, problems)
}

/// The sign of life.
pub(super) fn heartbeat(
    section: &Section<'_>,
    written: Option<&Heartbeat>,
    options: &Options,
    problems: &mut Problems,
) -> Option<HeartbeatPlan> {
    let written = written?;
    let every = written.every.as_ref().map_or(EVERY, |every| every.get_ref().0);
    if let Some(at) = written.every.as_ref().filter(|_| !(SHORTEST..=LONGEST).contains(&every)) {
        let hint = "write \"60s\", and let the service wait for two or three of them".to_owned();
        problems.push(section.problem(at.span(), "`every` is not between 5s and 1h", Some(hint)));
    }
    let text = match written.url.get_ref() {
        UrlSource::Url(text) => Secret::new(text.as_str()),
        UrlSource::Secret(source) => {
            let read = secret(section, &Spanned::new(written.url.span(), source.clone()), options.without_secrets);
            let text = read.map_err(|problem| problems.push(problem)).ok()?;
            if options.without_secrets {
                return None;
            }
            text
        }
    };
    // The text is never repeated: it is what proves that the agent lives.
    let url = Url::parse(text.reveal()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        let hint = "write \"https://…\", or { file = \"path\" } with it in the file".to_owned();
        problems.push(section.problem(written.url.span(), "`url` is not an address of HTTP", Some(hint)));
        return None;
    }
    Some(HeartbeatPlan { url: text, every, posts: written.method.unwrap_or_default() == Method::Post })
}

/// A cron schedule in its zone, for silences and drills.
pub(super) fn cron(
    section: &Section<'_>,
    expression: &Spanned<String>,
    timezone: Option<&Spanned<String>>,
    options: &Options,
    problems: &mut Problems,
) -> Option<Schedule> {
    let zone = timezone.map_or(UTC, |zone| zone.get_ref());
    let (at, what, hint) = match Schedule::cron(expression.get_ref(), zone, options.now) {
        // Once more is enough for a drill or a silence that a year is written for.
        Ok(schedule) if schedule.next(RouteId(0), options.now).is_some() => return Some(schedule),
        Ok(_) => (expression.span(), "this `cron` never comes".to_owned(), "leave the year away"),
        Err(ScheduleError::Expression(text)) => (
            expression.span(),
            format!("`{}` is not a cron expression", brief(&text)),
            "write minute, hour, day, month, weekday: \"0 9 * * Mon\"",
        ),
        Err(ScheduleError::Never(text)) => {
            (expression.span(), format!("`{}` never comes", brief(&text)), "choose a day that its months have")
        }
        Err(ScheduleError::Zone(text)) => (
            timezone.unwrap_or(expression).span(),
            format!("`{}` is not a time zone", brief(&text)),
            "write \"UTC\" or a name such as \"America/Los_Angeles\"",
        ),
    };
    problems.push(section.problem(at, what, Some(hint.to_owned())));
    None
}

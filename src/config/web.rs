//! `[web]`: what the agent shows to people who have no business with what is inside.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    agent::{SOCKET, check_text, socket, text_of},
    decode::decode,
    plan::{AgentPlan, PublicPlan},
    problem::Problems,
    schema::keys_in_order,
    section::Section,
    spanned::Spanned,
};

/// What the public page calls what is watched, if nobody says.
const TITLE: &str = "Result Output";

/// What the agent shows to people who have no business with what is inside. It stands in the config file, not in the
/// files of probes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_in_order::<Self>)]
pub(super) struct Written {
    /// Whether there is a public page: how platforms stand, without labels, targets, runs, reasons.
    #[schemars(extend("default" = false))]
    public: Option<Spanned<bool>>,
    /// A listener of its own, where that page is `/` and nothing else is. Absent: it is `/public` on the agent's.
    #[schemars(extend("pattern" = SOCKET))]
    listen: Option<Spanned<String>>,
    /// What its readers call what is watched.
    #[schemars(transform = text_of, extend("default" = TITLE))]
    title: Option<Spanned<String>>,
}

/// Reads `[web]`.
pub(super) fn read(section: &Section<'_>, agent: &AgentPlan, problems: &mut Problems) -> Option<PublicPlan> {
    let decoded = decode::<Written>(&section.table, section.table.span());
    problems.extend(decoded.complaints.into_iter().map(|(at, what, hint)| section.problem(at, what, hint)));
    let Written { public, listen, title } = decoded.value?;
    let is_public = public.is_some_and(|public| *public.get_ref());
    if let Some(at) = [listen.as_ref(), title.as_ref()].into_iter().flatten().next().filter(|_| !is_public) {
        let hint = "add `public = true`, or leave it away".to_owned();
        problems.push(section.problem(at.span(), "this is said of a public page, and there is none", Some(hint)));
    }
    let address = listen.as_ref().and_then(|text| socket(section, text, problems));
    if let (Some(at), Some(address)) = (&listen, address)
        && address.port() != 0
        && (address == agent.listen || Some(address) == agent.intake)
    {
        let hint = "leave it away: the page is then `/public` on the agent's own `listen`".to_owned();
        problems.push(section.problem(at.span(), "the agent itself listens there", Some(hint)));
    }
    if let Some(at) = &title
        && let Err(why) = check_text(at.get_ref())
    {
        let hint = "write what its readers call it: \"Result Output\"".to_owned();
        problems.push(section.problem(at.span(), format!("`title` {why}"), Some(hint)));
    }
    let title = title.map_or_else(|| TITLE.to_owned(), Spanned::into_inner);
    is_public.then_some(PublicPlan { title, listen: address })
}

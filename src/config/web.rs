//! `[web]`: what the agent shows to people who have no business with what is inside.

use serde::Deserialize;
use toml::Spanned;

use super::{
    agent::{check_text, socket},
    decode::decode,
    plan::{AgentPlan, PublicPlan},
    problem::Problems,
    section::Section,
};

/// What the public page calls what is watched, if nobody says.
const TITLE: &str = "Result Output";

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    public: Option<Spanned<bool>>,
    listen: Option<Spanned<String>>,
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

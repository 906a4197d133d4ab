//! How a person sees a run with their own eyes: what was sent, where to, and what to type.

use maud::{Markup, html};

use super::outside::{block, outside};
use crate::{
    canary::ByHand,
    store::RunRecord,
    web::{Doors, answer::Problem, ledger},
};

/// Characters of a delivery that are shown: a sample of ordinary size is whole.
const SHOWN: usize = 16_000;
/// Deliveries of one run: a hostile platform may make many.
const DELIVERIES: usize = 5;

pub(super) async fn by_hand(doors: &Doors, record: &RunRecord) -> Result<Markup, Problem> {
    let run = &record.run;
    let ByHand { query, address, read } = (doors.by_hand)(run);
    let delivered = ledger(doors.store.deliveries(&run.route.target, &[run.marker])).await?;
    let is_known = address.is_some();
    Ok(html! {
        @if !is_known {
            p {
                "Platform and target of this route are not in the config any more: nobody can say how it was sent and where "
                "its rows stand."
            }
        }
        @if let Some(query) = &query { h3 { "The query, as it is sent" } (block(Some("query"), query)) }
        @else if is_known { h3 { "The query" } p.soft { "It is not known any more, or the platform's driver cannot tell it." } }
        @if let Some(address) = &address {
            h3 { "Where the platform was to deliver" }
            (block(Some("address"), address))
            p.soft { "Secrets are masked: …" }
        }
        @if let Some(read) = &read {
            h3 { "The read that anyone can repeat" }
            (block(Some("read"), read))
            p.soft { "It finds what the agent's look finds, with a login of your own: no secret is in it." }
        }
        @for delivery in delivered.iter().take(DELIVERIES) {
            h3 { "What the platform delivered to the agent at " (delivery.at) }
            @let text = String::from_utf8_lossy(&delivery.body);
            @let shown: String = text.chars().take(SHOWN).collect();
            details {
                summary { (delivery.body.len()) " bytes" @if shown.len() < text.len() { ", the first of which are here" } }
                (block(None, &shown))
            }
        }
        @if delivered.len() > DELIVERIES { p { "And " (delivered.len() - DELIVERIES) " deliveries more." } }
        @if is_known && read.is_none() && delivered.is_empty() {
            p { "The target is the agent's own intake at " (outside("/landing/")) " and nothing of this run is kept there: nothing came, or it was removed since." }
        }
    })
}

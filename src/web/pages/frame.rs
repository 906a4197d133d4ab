//! What every page has around it.

use axum::response::Response;
use maud::{DOCTYPE, Markup, html};

use super::outside::outside;
use crate::{canary::Timestamp, web::answer};

/// How a page is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    /// Parts that change are sent to it.
    Parts,
    /// It is fetched again when something has changed.
    Whole,
    /// It is fetched again now and then.
    Polled,
    /// What it shows does not change any more.
    Not,
}

/// A page.
pub(super) struct Frame<'a> {
    /// Who speaks; nothing where that is nobody's business.
    pub(super) agent: Option<&'a str>,
    /// What it is about, in a few words.
    pub(super) title: &'a str,
    pub(super) live: Live,
    /// Of what state of the agent it tells.
    pub(super) version: &'a str,
    pub(super) now: Timestamp,
}

impl Frame<'_> {
    pub(super) fn around(self, main: &Markup) -> Response {
        let Self { agent, title, live, version, now } = self;
        let how = match live {
            Live::Parts => "parts",
            Live::Whole => "whole",
            Live::Polled => "polled",
            Live::Not => "not",
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Landfall" @if let Some(agent) = agent { " " (agent) } }
                    link rel="icon" href="/icon.svg";
                    link rel="stylesheet" href="/style.css";
                    script src="/live.js" defer {}
                    // What may change is shown anew without anybody's doing.
                    @if live != Live::Not { noscript { meta http-equiv="refresh" content="10"; } }
                }
                body data-live=(how) data-version=(version) data-now=(now) {
                    a.skip href="#live" { "Skip to what is shown" }
                    header {
                        h1 { a href="/" { "Landfall" } @if let Some(agent) = agent { " " span { (outside(agent)) } } }
                        p #clock { "as of " time datetime=(now) { (clock(now)) } span #link hidden { } }
                    }
                    main #live tabindex="-1" { (main) }
                }
            }
        };
        answer::typed("text/html; charset=utf-8", page.into_string())
    }
}

/// `2015-08-24 14:44:00 UTC`.
fn clock(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

//! `/`: how everything stands.

use axum::{extract::State, response::Response};
use maud::{Markup, html};

use super::frame::{Frame, Live};
use crate::web::Shared;

pub(in crate::web) async fn overview(State(doors): Shared) -> Response {
    let now = (doors.now)();
    let main = html! { p #summary role="status" {} };
    Frame { agent: Some(&doors.agent), title: "status", live: Live::Parts, version: "", now }.around(&main)
}

pub(in crate::web) fn parts() -> Markup {
    html! {}
}

//! What `landfall status` shows, line by line: one sentence, incidents and what is quiet about them, the table.

use std::time::Duration;

use serde_json::Value;

use super::{Count, state};
use crate::{
    canary::{State, Timestamp, time::Brief},
    cli::{
        paint::{Paint, symbol},
        remote::{labels, story},
    },
};

/// Longest text of a column; names are short, and what is not is cut.
const WIDEST: usize = 40;
/// Columns of the table, the symbol left out.
const HEAD: [&str; 7] = ["OUTCOME", "CANARY", "PLATFORM", "TARGET", "MODE", "LAST LANDED", ""];

/// A line, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    look: Look,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Plain,
    Faint,
    Of(State),
    Sentence(State),
}

impl Line {
    fn plain(text: impl Into<String>) -> Self {
        Self { look: Look::Plain, text: text.into() }
    }

    /// The line as it is written.
    pub(super) fn painted(&self, paint: Paint) -> String {
        match self.look {
            Look::Plain => self.text.clone(),
            Look::Faint => paint.faint(&self.text),
            Look::Of(state) => paint.state(state, &self.text),
            Look::Sentence(state) => paint.strong(&paint.state(state, &self.text)),
        }
    }
}

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// One sentence, then incidents, silences and pauses, and the table's head.
    top: Vec<Line>,
    /// A line for each route, the worst first.
    routes: Vec<Line>,
    /// How many routes there are of which kind.
    count: String,
}

impl Frame {
    /// What is shown of an answer.
    pub(super) fn of(answer: &Value, now: Timestamp) -> Self {
        let list = |name: &str| answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut top = Vec::new();
        if let Some(sentence) = answer["summary"]["text"].as_str() {
            let state: State = serde_json::from_value(answer["summary"]["state"].clone()).unwrap_or(State::Grey);
            top.push(Line { look: Look::Sentence(state), text: format!("{} {sentence}", symbol(state)) });
        }
        list("incidents").iter().for_each(|one| incident(&mut top, one));
        list("silences").iter().filter(|one| one["active"] == true).for_each(|one| top.push(Line::plain(silence(one))));
        list("pauses").iter().for_each(|one| top.push(Line::plain(pause(one))));
        let mut routes: Vec<&Value> = list("routes").iter().collect();
        routes.sort_by_key(|route| rank(route));
        let (head, routes) = table(&routes, now);
        if !routes.is_empty() {
            top.extend([Line::plain(""), Line { look: Look::Faint, text: head }]);
        }
        let Count { up, down, unknown, paused } = Count::of(list("routes"));
        let n = routes.len();
        let count = format!("{n} routes: {up} up, {down} down, {unknown} unknown, {paused} paused");
        Self { top, routes, count }
    }

    /// Every line.
    pub(super) fn all(&self) -> Vec<Line> {
        let count = [Line::plain(""), Line::plain(&self.count)];
        self.top.iter().chain(&self.routes).cloned().chain(count).collect()
    }

    /// As many lines as fit, the last of which says how much is left out.
    pub(super) fn within(&self, height: usize) -> Vec<Line> {
        let mut lines = self.all();
        if lines.len() <= height {
            return lines;
        }
        let kept = height.saturating_sub(1);
        lines.truncate(kept);
        let more = match kept.checked_sub(self.top.len()) {
            Some(shown) if shown < self.routes.len() => {
                format!("… and {} more of {}", self.routes.len() - shown, self.count)
            }
            Some(_) => self.count.clone(),
            None => format!("… and {} more lines; {}", self.top.len() - kept, self.count),
        };
        lines.push(Line { look: Look::Faint, text: more });
        lines.truncate(height);
        lines
    }
}

/// Red first, then amber, what nobody could see, what is not judged yet, green; what is paused is last.
fn rank(route: &Value) -> u8 {
    match state(route) {
        _ if route["paused"] == true => 5,
        Some(State::Red) => 0,
        Some(State::Amber) => 1,
        Some(State::Grey) => 2,
        None => 3,
        Some(State::Green) => 4,
    }
}

fn incident(top: &mut Vec<Line>, incident: &Value) {
    let text = |name: &str| incident[name].as_str().unwrap_or("-");
    let text = format!("  incident {}: {} on {}", text("id"), text("outcome"), labels::text(&incident["suspects"]));
    top.push(Line { look: state(incident).map_or(Look::Plain, Look::Of), text });
    top.extend(story::quiet(incident).iter().map(|line| Line::plain(format!("    {line}"))));
}

fn silence(silence: &Value) -> String {
    let text = |name: &str| silence[name].as_str().unwrap_or("-");
    let (of, until, because) = (labels::text(&silence["where"]), text("until"), text("because"));
    format!("  silence of {of} until {until}: what breaks there pages nobody before ({because})")
}

fn pause(pause: &Value) -> String {
    let until = pause["until"].as_str().map_or_else(|| "until it is resumed".to_owned(), |at| format!("until {at}"));
    format!("  pause of {} {until}: nothing is sent there, so nothing is known", labels::text(&pause["where"]))
}

/// The head, and a line for each route.
fn table(routes: &[&Value], now: Timestamp) -> (String, Vec<Line>) {
    let rows: Vec<[String; 7]> = routes.iter().map(|route| cells(route, now)).collect();
    let mut widths = HEAD.map(|name| name.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let aligned = |mark: char, row: [&str; 7]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{mark} {}", cells.join("  ")).trim_end().to_owned()
    };
    let line = |(route, row): (&&Value, &[String; 7])| {
        let (mark, look) = match state(route) {
            _ if route["paused"] == true => ('‖', Look::Faint),
            Some(state) => (symbol(state), if state == State::Green { Look::Plain } else { Look::Of(state) }),
            None => ('·', Look::Faint),
        };
        Line { look, text: aligned(mark, row.each_ref().map(String::as_str)) }
    };
    let lines = routes.iter().zip(&rows).map(line).collect();
    (aligned(' ', HEAD), lines)
}

fn cells(route: &Value, now: Timestamp) -> [String; 7] {
    let text = |name: &str, none: &str| route[name].as_str().unwrap_or(none).chars().take(WIDEST).collect::<String>();
    let landed = match route["last_landed_at"].as_str().and_then(Timestamp::parse_rfc3339) {
        Some(at) => format!("{} ago", Brief(Duration::from_secs(now.since(at).as_secs().max(1)))),
        None => "never seen".to_owned(),
    };
    let paused = if route["paused"] == true { "paused" } else { "" };
    [
        text("outcome", "not yet"),
        text("canary", "-"),
        text("platform", "-"),
        text("target", "-"),
        text("mode", "-"),
        landed,
        paused.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2015-08-24T21:45:00Z").expect("a time")
    }

    fn answer() -> Value {
        let route = |platform: &str, outcome: Value, landed: Value, paused: bool| {
            json!({
                "canary": "result-output", "platform": platform, "target": "web", "mode": "append",
                "outcome": outcome, "last_landed_at": landed, "paused": paused,
            })
        };
        let at = |text: &str| json!(format!("2015-08-24T21:{text}Z"));
        json!({
            "summary": { "state": "red", "text": "Result Output is silently lost on worker=v5 since 21:44 UTC" },
            "routes": [
                route("presto", json!("landed"), at("44:59"), false),
                route("new", Value::Null, Value::Null, false),
                route("moved", json!("lost"), at("01:00"), true),
                route("unseen", json!("unknown"), at("40:00"), false),
                route("hadoop1", json!("lost"), at("43:00"), false),
                route("slow", json!("late"), at("44:00"), false),
            ],
            "incidents": [{ "id": "inc-1", "outcome": "lost", "suspects": { "worker": "v5" }, "undelivered": true }],
            "silences": [
                { "active": true, "where": {}, "until": "then", "because": "known" },
                { "active": false, "where": {} },
            ],
            "pauses": [{ "where": { "platform": "moved" }, "until": null }],
        })
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_worst_comes_first_and_columns_stand_below_each_other() {
        let frame = Frame::of(&answer(), now());
        let expected = [
            "✗ Result Output is silently lost on worker=v5 since 21:44 UTC",
            "  incident inc-1: lost on worker=v5",
            "    nobody has taken its page yet",
            "  silence of everything until then: what breaks there pages nobody before (known)",
            "  pause of platform=moved until it is resumed: nothing is sent there, so nothing is known",
            "",
            "  OUTCOME  CANARY         PLATFORM  TARGET  MODE    LAST LANDED",
            "✗ lost     result-output  hadoop1   web     append  2m ago",
            "▲ late     result-output  slow      web     append  1m ago",
            "? unknown  result-output  unseen    web     append  5m ago",
            "· not yet  result-output  new       web     append  never seen",
            "✓ landed   result-output  presto    web     append  1s ago",
            "‖ lost     result-output  moved     web     append  44m ago      paused",
            "",
            "6 routes: 0 up, 0 down, 5 unknown, 1 paused",
        ];
        assert_eq!(texts(&frame.all()), expected);
        assert!(frame.all()[7].painted(Paint::none()).starts_with("✗ lost"), "not by colour alone");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let frame = Frame::of(&answer(), now());
        assert_eq!(frame.within(15), frame.all());
        for (height, last) in [
            (14, "6 routes: 0 up, 0 down, 5 unknown, 1 paused"),
            (10, "… and 4 more of 6 routes: 0 up, 0 down, 5 unknown, 1 paused"),
            (4, "… and 4 more lines; 6 routes: 0 up, 0 down, 5 unknown, 1 paused"),
            (1, "… and 7 more lines; 6 routes: 0 up, 0 down, 5 unknown, 1 paused"),
        ] {
            let lines = frame.within(height);
            assert_eq!((lines.len(), texts(&lines).last().copied()), (height, Some(last)));
        }
        assert_eq!(frame.within(0), []);
    }

    #[test]
    fn an_agent_that_tells_no_sentence_and_watches_nothing_is_shown_as_it_is() {
        let frame = Frame::of(&json!({ "routes": [], "summary": null }), now());
        assert_eq!(texts(&frame.all()), ["", "0 routes: 0 up, 0 down, 0 unknown, 0 paused"]);
    }
}

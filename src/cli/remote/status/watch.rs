//! `landfall status --watch`: in place on a terminal, else anew whenever something changed. It outlives the agent's
//! absence, and says so.

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use terminal_size::{Height, terminal_size_of};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use super::{Answer, Where, gather, table::Frame};
use crate::{
    agent::Clock,
    canary::{State, Timestamp},
    cli::{
        Format,
        end::End,
        exit::{self, UNSURE, Unsure},
        paint::{Paint, is_lively, symbol},
        plain::{self, plain},
    },
};

/// Whoever watches wants to hear of an agent that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known by now.
struct Known {
    /// The last answer, and when it came.
    last: Option<(Answer, Timestamp)>,
    /// Why there is none now.
    away: Option<String>,
}

/// Watches until it is told to end.
pub(super) async fn watch(place: &Where, every: Duration) -> Result<u8> {
    let mut ended = pin!(End::of_commands().came());
    let mut resized = signal(SignalKind::window_change())?;
    let mut known = Known { last: None, away: None };
    let mut shown: Box<dyn Show> = match place.format == Format::Text && is_lively(&io::stdout()) {
        true => Box::new(Screen::open()?),
        false => Box::new(Lines { format: place.format, last: None, is_away: false }),
    };
    let ask = |after: Duration| {
        Box::pin(async move {
            sleep(after).await;
            let late =
                || Unsure(format!("no answer from the agent at {} within {} s", place.agent(), PATIENCE.as_secs()));
            timeout(PATIENCE, gather(place)).await.unwrap_or_else(|_| Err(late().into()))
        })
    };
    let mut asking = ask(Duration::ZERO);
    loop {
        tokio::select! {
            () = &mut ended => break,
            _ = resized.recv() => {}
            answer = &mut asking => {
                known.learn(answer)?;
                asking = ask(every);
            }
        }
        match shown.show(&known) {
            // Whoever closed stdout has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    Ok(known.last.map_or(UNSURE, |(answer, _)| answer.code))
}

impl Known {
    /// What the user got wrong ends it; an agent that does not answer may come back.
    fn learn(&mut self, answer: Result<Answer>) -> Result<()> {
        match answer {
            Ok(answer) => {
                self.last = Some((answer, Clock::System.now()));
                self.away = None;
            }
            Err(error) if self.last.is_none() && exit::code_of(&error) != UNSURE => return Err(error),
            Err(error) => self.away = Some(plain(&format!("{error:#}"))),
        }
        Ok(())
    }
}

/// Where it is shown.
trait Show {
    fn show(&mut self, known: &Known) -> io::Result<()>;
}

/// A terminal, as it was found again when this goes.
struct Screen {
    paint: Paint,
}

impl Screen {
    fn open() -> io::Result<Self> {
        // The other screen, no cursor; what is too long is cut where the terminal ends.
        write!(io::stdout(), "\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        io::stdout().flush()?;
        Ok(Self { paint: Paint::of(&io::stdout()) })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        let _ = write!(out, "\x1b[?7h\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
    }
}

impl Show for Screen {
    fn show(&mut self, known: &Known) -> io::Result<()> {
        let height = terminal_size_of(io::stdout()).map_or(24, |(_, Height(height))| usize::from(height));
        let now = Clock::System.now();
        let mut lines = Vec::new();
        if let Some(why) = &known.away {
            lines.push(self.paint.state(State::Grey, &format!("{} {why}", symbol(State::Grey))));
        }
        if let (Some((_, at)), true) = (&known.last, known.away.is_some()) {
            lines.push(self.paint.state(State::Grey, &format!("  as it was at {} UTC:", clock(*at))));
        }
        if let Some((answer, _)) = &known.last {
            let frame = Frame::of(&answer.json, now);
            let left = height.saturating_sub(lines.len());
            lines.extend(frame.within(left).iter().map(|line| line.painted(self.paint)));
        }
        lines.truncate(height);
        // Written over line by line, and only then cleared below: nothing flickers.
        let mut text = String::from("\x1b[H");
        for (nth, line) in lines.iter().enumerate() {
            text.push_str(if nth > 0 { "\r\n" } else { "" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// A pipe, a file, a terminal that can do no more.
struct Lines {
    format: Format,
    /// What was shown last, without what changes all the time.
    last: Option<Value>,
    is_away: bool,
}

impl Show for Lines {
    fn show(&mut self, known: &Known) -> io::Result<()> {
        if let Some(why) = &known.away {
            if !std::mem::replace(&mut self.is_away, true) {
                let _ = writeln!(io::stderr(), "{} UTC: {why}", clock(Clock::System.now()));
            }
            return Ok(());
        }
        let Some((answer, at)) = &known.last else { return Ok(()) };
        let steady = steady(&answer.json);
        // After it was away everything is news.
        let is_back = std::mem::replace(&mut self.is_away, false);
        if self.last.as_ref() == Some(&steady) && !is_back {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{}", plain::json(&answer.json))?,
            Format::Text => {
                let gap = if self.last.is_some() { "\n" } else { "" };
                writeln!(out, "{gap}{} UTC", clock(*at))?;
                let frame = Frame::of(&answer.json, *at);
                frame.all().iter().try_for_each(|line| super::write_line(&mut out, line, Paint::none()))?;
            }
        }
        self.last = Some(steady);
        out.flush()
    }
}

fn clock(at: Timestamp) -> String {
    at.to_utc().format("%H:%M:%S").to_string()
}

/// An answer without what is new in each: which run was the last, and when it landed.
fn steady(answer: &Value) -> Value {
    let mut steady = answer.clone();
    for list in ["routes", "incidents"] {
        for entry in steady[list].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            for name in ["last_landed_at", "last_verdict_at", "run_id", "runs"] {
                entry.remove(name);
            }
        }
    }
    steady
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_run_that_landed_is_no_news_and_another_outcome_is() {
        let answer = |outcome: &str, at: &str| {
            json!({
                "summary": { "text": "x" },
                "routes": [{ "outcome": outcome, "last_landed_at": at, "last_verdict_at": at, "run_id": at }],
                "incidents": [{ "id": "inc-1", "runs": [at] }],
            })
        };
        assert_eq!(steady(&answer("landed", "a")), steady(&answer("landed", "b")));
        assert_ne!(steady(&answer("landed", "a")), steady(&answer("lost", "a")));
    }
}

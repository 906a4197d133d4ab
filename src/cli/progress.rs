//! Progress on stderr: a line that changes on a terminal, with a bar where there is something to count and how long
//! it has taken; else a line at the start and no more.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use terminal_size::{Width, terminal_size_of};
use tokio::time::Instant;

use super::paint::is_lively;

/// The clock in the line goes on though nothing happens.
const TICK: Duration = Duration::from_millis(500);
/// What comes more often is not drawn each time.
const LEAST: Duration = Duration::from_millis(40);
/// Cells of a bar.
const BAR: u64 = 20;

/// How far something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// What is being done.
    pub(super) what: String,
    /// So many of so many, where that is known.
    pub(super) count: Option<(u64, u64)>,
    /// What else there is to say.
    pub(super) rest: String,
}

/// The line.
pub(super) struct Line {
    shared: Arc<Mutex<Shown>>,
    /// Draws it again and again, until it is told to stop; none where nobody sees it.
    drawer: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

struct Shown {
    stand: Option<Stand>,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Line {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Mutex::new(Shown { stand: None, begun: Instant::now(), drawn: None }));
        let drawer = is_lively(&io::stderr()).then(|| {
            let (stop, stopped) = mpsc::channel();
            let shared = Arc::clone(&shared);
            let draw = move || {
                while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    locked(&shared).draw();
                }
            };
            (stop, thread::spawn(draw))
        });
        Self { shared, drawer }
    }

    /// Shows how far it is; in a log only that it began.
    pub(super) fn show(&self, begins: &str, stand: Stand) {
        let mut shown = locked(&self.shared);
        let is_first = shown.stand.replace(stand).is_none();
        if self.drawer.is_some() {
            if shown.drawn.is_none_or(|at| at.elapsed() >= LEAST) {
                shown.draw();
            }
        } else if is_first && !begins.is_empty() {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(io::stderr(), "{begins}");
        }
    }

    /// Makes room for a line that is written now; it is drawn again below. Only the demo tells a story meanwhile.
    #[cfg(feature = "sandbox")]
    pub(super) fn hide(&self) {
        locked(&self.shared).wipe();
    }

    /// There is nothing more to show.
    #[cfg(feature = "sandbox")]
    pub(super) fn done(&self) {
        let mut shown = locked(&self.shared);
        shown.wipe();
        shown.stand = None;
    }
}

fn locked(shared: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    fn draw(&mut self) {
        if let Some(stand) = &self.stand {
            let width = terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| width);
            let line = drawn(stand, self.begun.elapsed(), width.into());
            let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            self.drawn = Some(Instant::now());
        }
    }

    fn wipe(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Line {
    /// What is written next finds an empty line.
    fn drop(&mut self) {
        if let Some((stop, drawer)) = self.drawer.take() {
            drop(stop);
            let _ = drawer.join();
            locked(&self.shared).wipe();
        }
    }
}

/// `verifying ████████░░░░░░░░░░░░ 2 of 5 routes are clear, 0 bad · 14s`, no longer than the terminal is wide.
fn drawn(stand: &Stand, took: Duration, width: usize) -> String {
    let Stand { what, count, rest } = stand;
    let bar = count.filter(|(_, of)| *of > 0).map(|(done, of)| {
        let full = usize::try_from(done.min(of) * BAR / of).unwrap_or(0);
        let empty = BAR as usize - full;
        format!("{}{} {done} of {of}", "█".repeat(full), "░".repeat(empty))
    });
    let secs = took.as_secs();
    let time = if secs < 60 { format!("{secs}s") } else { format!("{}m{:02}s", secs / 60, secs % 60) };
    let parts: Vec<&str> = [Some(what.as_str()), bar.as_deref(), Some(rest)]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    // A line that wraps could not be wiped. The last cell is left alone: some terminals wrap when it is filled.
    format!("{} · {time}", parts.join(" ")).chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_work_is_done_and_the_line_fits() {
        let stand = |count| Stand { what: "verifying".to_owned(), count, rest: "routes are clear".to_owned() };
        let line = |count, secs, width| drawn(&stand(count), Duration::from_secs(secs), width);
        let (none, half) = ("░".repeat(20), format!("{}{}", "█".repeat(10), "░".repeat(10)));
        assert_eq!(line(Some((0, 6)), 0, 80), format!("verifying {none} 0 of 6 routes are clear · 0s"));
        assert_eq!(line(Some((3, 6)), 59, 80), format!("verifying {half} 3 of 6 routes are clear · 59s"));
        assert!(line(Some((6, 6)), 0, 80).contains(&"█".repeat(20)));
        assert!(line(Some((7, 6)), 0, 80).contains(&"█".repeat(20)), "more than all is all");
        assert_eq!(line(None, 125, 80), "verifying routes are clear · 2m05s");
        assert_eq!(line(Some((0, 0)), 1, 80), "verifying routes are clear · 1s", "nothing to count yet");
        assert_eq!(line(Some((3, 6)), 0, 13).chars().count(), 12);
    }
}

//! A line on the terminal that says how far long work has come. Nothing where nobody looks on.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// More often would only flicker.
const INTERVAL: Duration = Duration::from_millis(200);
const BAR_WIDTH: u64 = 30;

pub(crate) struct Progress {
    what: String,
    total: u64,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new(what: &str, total: u64) -> Self {
        Progress {
            what: what.to_owned(),
            total: total.max(1),
            shown: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    pub(crate) fn set(&mut self, done: u64) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL);
        if !self.is_terminal || !is_due {
            return;
        }
        self.shown = Some(Instant::now());
        let done = done.min(self.total);
        let filled = (done * BAR_WIDTH / self.total) as usize;
        let percent = done * 100 / self.total;
        let bar = "#".repeat(filled);
        let width = BAR_WIDTH as usize;
        // A terminal that went away is no reason to stop.
        let _ = write!(
            io::stderr(),
            "\r{} [{bar:<width$}] {percent:>3} %",
            self.what
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

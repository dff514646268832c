//! A plugin's lines in the agent's log.

use std::time::{Duration, Instant};

use crate::bindings::log::{Host, Level};
use crate::shared::Shared;

use super::State;

/// A longer line is cut.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Lets a number of lines through in each second.
#[derive(Default)]
pub(crate) struct LogGate {
    second_began: Option<Instant>,
    lines: u32,
    dropped: u64,
}

/// Whether a line may pass, and how many had to go before it.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    pass: bool,
    dropped_before: u64,
}

impl LogGate {
    fn judge(&mut self, now: Instant, lines_per_second: u32) -> Verdict {
        let fresh = self
            .second_began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        let mut dropped_before = 0;
        if fresh {
            self.second_began = Some(now);
            self.lines = 0;
            dropped_before = std::mem::take(&mut self.dropped);
        }
        let pass = self.lines < lines_per_second;
        match pass {
            true => self.lines += 1,
            false => self.dropped += 1,
        }
        Verdict {
            pass,
            dropped_before,
        }
    }

    /// Writes a line, unless there were too many.
    pub(super) fn write(&mut self, shared: &Shared, level: Level, message: &str) {
        let message = cut(message);
        let limit = shared.limits.load().log_lines_per_second;
        let verdict = self.judge(Instant::now(), limit);
        let plugin = &shared.name;
        if verdict.dropped_before > 0 {
            tracing::warn!(
                plugin,
                "{} log lines dropped: more than {limit} in a second (plugins.limits.log_lines)",
                verdict.dropped_before
            );
        }
        if !verdict.pass {
            shared.metrics.log_lines_dropped.inc();
            return;
        }
        if let Some(replay) = &shared.replay {
            return replay.log(level, message);
        }
        match level {
            Level::Debug => tracing::debug!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Warn => tracing::warn!(plugin, "{message}"),
            Level::Error => tracing::error!(plugin, "{message}"),
        }
    }
}

/// Puts pieces together into lines. One that grows too long is ended.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn take(&mut self, bytes: &[u8], mut write: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.begun.len());
            self.begun
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.begun);
                let line = line.trim_end();
                if !line.is_empty() {
                    write(line);
                }
                self.begun.clear();
            }
        }
    }
}

impl Host for State {
    fn write(&mut self, level: Level, message: String) {
        if level == Level::Error {
            self.last_words = Some(cut(&message).to_owned());
        }
        self.log.write(&self.shared, level, &message);
    }
}

fn cut(message: &str) -> &str {
    let mut end = message.len().min(MAX_LINE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_so_many_lines_through_in_a_second() {
        let start = Instant::now();
        let mut gate = LogGate::default();
        let mut at = |ms: u64| {
            let verdict = gate.judge(start + Duration::from_millis(ms), 2);
            (verdict.pass, verdict.dropped_before)
        };
        assert_eq!(at(0), (true, 0));
        assert_eq!(at(1), (true, 0));
        assert_eq!(at(2), (false, 0));
        assert_eq!(at(999), (false, 0));
        assert_eq!(at(1000), (true, 2));
        assert_eq!(at(1001), (true, 0));
    }

    #[test]
    fn lines_are_put_together() {
        let mut written = Vec::new();
        let mut lines = Lines::default();
        let long = "x".repeat(2 * MAX_LINE_BYTES);
        for piece in ["a", "b\n\nc\r\nd", &long, "\n", "e"] {
            lines.take(piece.as_bytes(), |line| written.push(line.to_owned()));
        }
        assert_eq!(written[..2], ["ab", "c"]);
        assert_eq!(written[2].len(), MAX_LINE_BYTES);
        assert_eq!(written.len(), 3);
    }

    #[test]
    fn cuts_between_characters() {
        let long = "é".repeat(MAX_LINE_BYTES);
        assert_eq!(cut(&long).len(), MAX_LINE_BYTES);
        assert_eq!(cut(&format!("a{long}")).len(), MAX_LINE_BYTES - 1);
    }
}

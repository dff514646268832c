//! What a plugin gives, as text for people and for comparing.

use std::fmt::Write;

use narthex_model::{MetricFamily, TargetGroup, duration};
use narthex_plugin_host::replay::{Entry, LogLevel, Said};

/// Metrics as they would be scraped.
pub(crate) fn families(families: &[MetricFamily], out: &mut String) {
    narthex_exposition::write_text(families, out);
}

pub(crate) fn groups(groups: &[TargetGroup], out: &mut String) {
    for group in groups {
        // Writing into a String does not fail.
        let _ = match group.targets.is_empty() {
            true => writeln!(out, "group {}: gone", group.source),
            false => writeln!(out, "group {}: {}", group.source, group.labels),
        };
        for target in &group.targets {
            let _ = writeln!(out, "  {target}");
        }
    }
}

/// What was said in a recorded world: warnings, errors and publications, with their times.
pub(crate) fn said(entries: &[Entry], out: &mut String) {
    for entry in entries {
        let after = after(entry.after_ms);
        // Writing into a String does not fail.
        match &entry.what {
            Said::Logged(level @ (LogLevel::Warn | LogLevel::Error), text) => {
                let level = match level {
                    LogLevel::Warn => "warning",
                    _ => "error",
                };
                let _ = writeln!(out, "# {after}: {level}: {}", one_line(text));
            }
            Said::Logged(..) => {}
            Said::Published(published) => {
                let _ = writeln!(out, "# {after}:");
                groups(published, out);
            }
        }
    }
}

pub(crate) fn after(time_ms: u64) -> String {
    format!("after {}", duration::format_ms(time_ms))
}

/// For a comment.
pub(crate) fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

//! The list of what the engine doesn't do yet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NotYet {
    /// How many evaluations the engine refuses for which reason.
    refused: BTreeMap<String, usize>,
    /// By file and line: why.
    failed: BTreeMap<(String, usize), String>,
}

impl NotYet {
    /// Lines are `refused COUNT REASON` or `FILE:LINE REASON`; `#` starts a comment.
    pub(crate) fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut list = NotYet::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || panic!("{}: not understood: {line}", path.display());
            let (first, rest) = line.split_once(' ').unwrap_or_else(bad);
            if first == "refused" {
                let (count, reason) = rest.split_once(' ').unwrap_or_else(bad);
                list.refused
                    .insert(reason.to_owned(), count.parse().unwrap());
            } else {
                let (file, line) = first.split_once(':').unwrap_or_else(bad);
                let place = (file.to_owned(), line.parse().unwrap());
                list.failed.insert(place, rest.to_owned());
            }
        }
        list
    }

    pub(crate) fn refused(&mut self, reason: &str) {
        // Without what names the very series.
        let reason = reason.split(" (").next().unwrap_or(reason);
        *self.refused.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn failed(&mut self, file: &str, line: usize, reason: &str) {
        self.failed
            .insert((file.to_owned(), line), reason.to_owned());
    }

    pub(crate) fn total(&self) -> usize {
        self.refused.values().sum::<usize>() + self.failed.len()
    }

    /// What must be changed in `known` so that it tells the truth. Reasons of single evaluations
    /// are for people and are not compared.
    pub(crate) fn difference(&self, known: &NotYet) -> Option<String> {
        let mut out = String::new();
        for ((file, line), reason) in &self.failed {
            if !known.failed.contains_key(&(file.clone(), *line)) {
                writeln!(out, "{file}:{line} fails: {reason}").unwrap();
            }
        }
        for (file, line) in known.failed.keys() {
            if !self.failed.contains_key(&(file.clone(), *line)) {
                writeln!(out, "{file}:{line} no longer fails; take it off the list").unwrap();
            }
        }
        if self.refused != known.refused {
            writeln!(
                out,
                "refused for these reasons, which differs from the list:"
            )
            .unwrap();
            for (reason, count) in &self.refused {
                writeln!(out, "refused {count} {reason}").unwrap();
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

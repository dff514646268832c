//! The list of what the engine doesn't do yet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// When metric names go away that a function drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// At the end of the query, which is what the scripts are written for.
    Delayed,
    /// At once.
    Immediate,
}

impl Mode {
    pub(crate) const ALL: [Mode; 2] = [Mode::Delayed, Mode::Immediate];

    fn heading(self) -> &'static str {
        match self {
            Mode::Delayed => "[delayed name removal]",
            Mode::Immediate => "[immediate name removal]",
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NotYet {
    /// How many evaluations the engine refuses for which reason.
    refused: BTreeMap<(Mode, String), usize>,
    /// By file and line: why.
    failed: BTreeMap<(Mode, String, usize), String>,
}

impl NotYet {
    /// Below the heading of a mode, lines are `refused COUNT REASON` or `FILE:LINE REASON`; `#`
    /// starts a comment.
    pub(crate) fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut list = NotYet::default();
        let mut mode = Mode::Delayed;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(named) = Mode::ALL.into_iter().find(|m| m.heading() == line) {
                mode = named;
                continue;
            }
            let bad = || panic!("{}: not understood: {line}", path.display());
            let (first, rest) = line.split_once(' ').unwrap_or_else(bad);
            if first == "refused" {
                let (count, reason) = rest.split_once(' ').unwrap_or_else(bad);
                list.refused
                    .insert((mode, reason.to_owned()), count.parse().unwrap());
            } else {
                let (file, line) = first.split_once(':').unwrap_or_else(bad);
                let place = (mode, file.to_owned(), line.parse().unwrap());
                list.failed.insert(place, rest.to_owned());
            }
        }
        list
    }

    pub(crate) fn refused(&mut self, mode: Mode, reason: &str) {
        // Without what names the very series.
        let reason = reason.split(" (").next().unwrap_or(reason);
        *self.refused.entry((mode, reason.to_owned())).or_default() += 1;
    }

    pub(crate) fn failed(&mut self, mode: Mode, file: &str, line: usize, reason: &str) {
        self.failed
            .insert((mode, file.to_owned(), line), reason.to_owned());
    }

    pub(crate) fn total(&self) -> usize {
        self.refused.values().sum::<usize>() + self.failed.len()
    }

    /// What must be changed in `known` so that it tells the truth. Reasons of single evaluations
    /// are for people and are not compared.
    pub(crate) fn difference(&self, known: &NotYet) -> Option<String> {
        let mut out = String::new();
        for (place, reason) in &self.failed {
            if !known.failed.contains_key(place) {
                let (mode, file, line) = place;
                writeln!(out, "{} {file}:{line} fails: {reason}", mode.heading()).unwrap();
            }
        }
        for place in known.failed.keys() {
            if !self.failed.contains_key(place) {
                let (mode, file, line) = place;
                let heading = mode.heading();
                writeln!(out, "{heading} {file}:{line} no longer fails; take it off").unwrap();
            }
        }
        if self.refused != known.refused {
            writeln!(
                out,
                "refused for these reasons, which differs from the list:"
            )
            .unwrap();
            for ((mode, reason), count) in &self.refused {
                writeln!(out, "{} refused {count} {reason}", mode.heading()).unwrap();
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

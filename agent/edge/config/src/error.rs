//! What is wrong with the configuration: every fault with its file, line, column and field.
//!
//! All faults of a load are collected, so that a user mends a file in one go.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// From 1; 0 where the fault is the file itself (missing, unreadable).
    pub line: usize,
    /// From 1; 0 as for the line.
    pub column: usize,
    /// As in `scrape_configs[0].relabel_configs[2].regex`; empty for the document itself.
    pub field: String,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why nothing was loaded. Never empty; in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// More faults than this help nobody: the rest is counted.
const SHOWN_FAULTS: usize = 50;

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(crate) struct Faults {
    file: PathBuf,
    found: Vec<Fault>,
}

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
}

impl Faults {
    pub(crate) fn new(file: &Path) -> Self {
        Faults {
            file: file.to_owned(),
            found: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, at: Position, field: &str, message: impl Into<String>) {
        self.found.push(Fault {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// The fault is the file as a whole.
    pub(crate) fn push_file(&mut self, message: impl Into<String>) {
        self.push(Position::default(), "", message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_found(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|fault| (fault.line, fault.column));
        // A list that is used twice through an anchor is checked twice, its fault is one.
        self.found
            .dedup_by(|a, b| (a.line, a.column, &a.message) == (b.line, b.column, &b.message));
        self.found
    }
}

/// `Ok` if nothing was found.
pub(crate) fn verdict(mut faults: Vec<Fault>) -> Result<(), ConfigError> {
    if faults.is_empty() {
        return Ok(());
    }
    if faults.len() > SHOWN_FAULTS {
        let more = faults.len() - SHOWN_FAULTS;
        faults.truncate(SHOWN_FAULTS);
        if let Some(last) = faults.last_mut() {
            last.message
                .push_str(&format!(" (and {more} more faults, not shown)"));
        }
    }
    Err(ConfigError { faults })
}

/// The name that was probably meant, if one is close enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?` or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour; case and
/// `-` for `_` are free.
fn distance(left: &str, right: &str) -> usize {
    let plain = |text: &str| -> Vec<char> {
        text.to_lowercase()
            .chars()
            .map(|c| if c == '-' { '_' } else { c })
            .collect()
    };
    let (left, right) = (plain(left), plain(right));
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(l != r);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && left[i - 1] == *r && right[j - 1] == *l;
            if swapped {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let known = ["evaluation_interval", "scrape_interval", "labels", "url"];
        for (name, expected) in [
            ("evalutaion_interval", Some("evaluation_interval")),
            ("scrape-interval", Some("scrape_interval")),
            ("scrapeInterval", Some("scrape_interval")),
            ("lables", Some("labels")),
            ("uri", Some("url")),
            ("x", None),
            ("", None),
            ("something_else", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}

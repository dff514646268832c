//! The text formats that targets expose: read and write.
//!
//! [`parse`] reads Prometheus text (0.0.4 and 1.0.0) or OpenMetrics text (1.0.0) entry by entry
//! over the body as it arrived. A series comes as its raw bytes with its value; its labels are
//! read only when asked for, so a reader that knows the bytes from the last time allocates
//! nothing. One that also knows what comes next says so ([`Parser::next_known`],
//! [`Parser::skip_known`]) and saves most of the reading. [`write_text`] and [`write_openmetrics`] write metric families; [`for_each_sample`]
//! takes a family apart into the series that it stands for.
//!
//! Keeps true: no input makes it panic, and an error names the line, what was expected there and
//! what was found. It is as lenient as Prometheus, not more: checks across lines (bucket counts,
//! grouping, values that fit the type) are not made. Knows nothing of targets or stores.

mod created;
mod family;
mod grammar;
mod known;
mod parser;
mod plain;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use narthex_model::MetricType;

pub use family::{FamilySample, for_each_sample, format_bound};
pub use known::Context;
pub use parser::{Exemplar, Parser, Series, parse};
pub use write::{write_openmetrics, write_text};

/// The media type of what [`write_text`] writes.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of what [`write_openmetrics`] writes.
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, versions 0.0.4 and 1.0.0.
    Text,
    OpenMetrics,
}

/// One line that means something.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    Series(Series<'a>),
    Type {
        name: Cow<'a, str>,
        kind: MetricType,
    },
    Help {
        name: Cow<'a, str>,
        text: Cow<'a, str>,
    },
    Unit {
        name: Cow<'a, str>,
        unit: Cow<'a, str>,
    },
    /// `# EOF`; OpenMetrics only, and there always the last entry.
    Eof,
}

/// Labels as they stand in the body: the metric name first, as `__name__`; values may be empty.
pub type RawLabels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub problem: String,
}

//! A sample as a target gave it, with the way to its labels: a line of a page, or a value in a
//! plugin's family.

use std::borrow::Cow;
use std::sync::Arc;

use narthex_exposition::{Exemplar, FamilySample, RawLabels, Series, format_bound};
use narthex_model::{Histogram, METRIC_NAME, MetricFamily};

use crate::error::ScrapeError;

pub(super) trait Line {
    /// Of a native histogram of no use.
    fn value(&self) -> f64;
    /// The value, where it is a native histogram.
    fn histogram(&self) -> Option<&Arc<Histogram>> {
        None
    }
    fn timestamp_ms(&self) -> Option<i64>;
    /// When it began to count, where the sample itself says so. Of a page another line does.
    fn start_ms(&self) -> Option<i64> {
        None
    }
    fn exemplar(&self) -> Option<&Exemplar<'_>>;
    /// The labels as the target gives them, the name first. This is the slow part.
    fn labels(&self) -> Result<RawLabels<'_>, ScrapeError>;
    /// The error that its labels are no good.
    fn invalid(&self, reason: String) -> ScrapeError;
}

impl Line for Series<'_> {
    fn value(&self) -> f64 {
        self.value
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    fn exemplar(&self) -> Option<&Exemplar<'_>> {
        self.exemplar.as_deref()
    }

    fn labels(&self) -> Result<RawLabels<'_>, ScrapeError> {
        Ok(Series::labels(self)?)
    }

    fn invalid(&self, reason: String) -> ScrapeError {
        let line = self.line();
        ScrapeError::InvalidSample { line, reason }
    }
}

pub(super) struct FamilyLine<'a> {
    pub family: &'a MetricFamily,
    pub sample: FamilySample<'a>,
}

impl FamilyLine<'_> {
    /// Writes what tells it from all other lines.
    pub(super) fn write_identity(&self, out: &mut Vec<u8>) {
        // A byte that is in no text stands between the parts.
        let mut add = |text: &str| {
            out.extend_from_slice(text.as_bytes());
            out.push(0xff);
        };
        add(&self.family.name);
        add(self.sample.suffix);
        for label in self.sample.labels.iter() {
            add(&label.name);
            add(&label.value);
        }
        if let Some((name, bound)) = self.sample.bound {
            add(name);
            out.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
    }
}

impl Line for FamilyLine<'_> {
    fn value(&self) -> f64 {
        self.sample.value
    }

    fn histogram(&self) -> Option<&Arc<Histogram>> {
        self.sample.histogram
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.sample.timestamp_ms
    }

    fn start_ms(&self) -> Option<i64> {
        self.sample.start_timestamp_ms
    }

    fn exemplar(&self) -> Option<&Exemplar<'_>> {
        None
    }

    fn labels(&self) -> Result<RawLabels<'_>, ScrapeError> {
        let name = Cow::Owned(format!("{}{}", self.family.name, self.sample.suffix));
        let mut labels: RawLabels<'_> = vec![(Cow::Borrowed(METRIC_NAME), name)];
        for label in self.sample.labels.iter() {
            labels.push((Cow::Borrowed(&label.name), Cow::Borrowed(&label.value)));
        }
        if let Some((name, bound)) = self.sample.bound {
            labels.push((Cow::Borrowed(name), Cow::Owned(format_bound(bound))));
        }
        Ok(labels)
    }

    fn invalid(&self, reason: String) -> ScrapeError {
        ScrapeError::InvalidFamily(reason)
    }
}

//! Samples that wait for the line that says when their counter started.
//!
//! It follows the samples of a metric. So those wait until some metric's start comes, or comment
//! lines: then there is none for them.

use narthex_exposition::Series;
use narthex_storage::Appender;

/// With their numbers in the batch.
#[derive(Default)]
pub(super) struct OpenSamples<'a>(Vec<(u32, Series<'a>)>);

impl<'a> OpenSamples<'a> {
    pub(super) fn add(&mut self, sample: u32, series: Series<'a>) {
        if series.may_have_start() {
            self.0.push((sample, series));
        }
    }

    /// Takes a line that says when a counter started.
    pub(super) fn start(&mut self, created: &Series<'_>, appender: &mut dyn Appender) {
        for (sample, series) in self.0.drain(..) {
            if created.starts(&series) {
                appender.set_start(sample, created.start_ms());
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.0.clear();
    }
}

//! The series about a scrape itself: `up` and the others.

use narthex_model::{Labels, METRIC_NAME, STALE_NAN};
use narthex_storage::{AppendError, Appender, SeriesRef};

use super::Counts;

pub(crate) struct Report {
    pub up: bool,
    pub duration_seconds: f64,
    pub counts: Counts,
    /// With `extra_scrape_metrics`.
    pub extra: Option<ExtraReport>,
}

pub(crate) struct ExtraReport {
    pub timeout_seconds: f64,
    pub sample_limit: f64,
    pub body_size_bytes: f64,
}

/// Where the store has these series. They bypass metric relabelling and limits.
#[derive(Default)]
pub(super) struct ReportSeries(Vec<Known>);

struct Known {
    name: &'static str,
    series: SeriesRef,
}

impl Report {
    fn values(&self) -> Vec<(&'static str, f64)> {
        let counts = &self.counts;
        let mut values = vec![
            ("up", f64::from(u8::from(self.up))),
            ("scrape_duration_seconds", self.duration_seconds),
            ("scrape_samples_scraped", counts.scraped as f64),
            ("scrape_samples_post_metric_relabeling", counts.kept as f64),
            ("scrape_series_added", counts.added as f64),
        ];
        if let Some(extra) = &self.extra {
            values.extend([
                ("scrape_timeout_seconds", extra.timeout_seconds),
                ("scrape_sample_limit", extra.sample_limit),
                ("scrape_body_size_bytes", extra.body_size_bytes),
            ]);
        }
        values
    }
}

impl ReportSeries {
    pub(super) fn append(
        &mut self,
        report: &Report,
        target: &Labels,
        time_ms: i64,
        appender: &mut dyn Appender,
    ) {
        for (name, value) in report.values() {
            let known = self.0.iter_mut().find(|known| known.name == name);
            let refused = known
                .as_ref()
                .map(|known| appender.append_known(known.series, time_ms, value));
            if !matches!(refused, None | Some(Err(AppendError::UnknownSeries))) {
                continue;
            }
            let labels = target.with(METRIC_NAME, name);
            // The labels are not empty: nothing else could be wrong with them.
            let Ok(series) = appender.append(&labels, time_ms, value) else {
                continue;
            };
            match known {
                Some(known) => known.series = series,
                None => self.0.push(Known { name, series }),
            }
        }
    }

    /// Marks the end of all of them.
    pub(super) fn end(&mut self, time_ms: i64, appender: &mut dyn Appender) {
        for known in self.0.drain(..) {
            // One that the store has forgotten has no samples that a marker could follow.
            let _ = appender.append_known(known.series, time_ms, STALE_NAN);
        }
    }
}

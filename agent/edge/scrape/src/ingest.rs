//! From what a target gave to samples in the store: labels, limits, staleness, reports.
//!
//! One scrape is one batch. If anything in it is invalid, none of its samples are stored; its
//! series become stale and the report says that the target is down. Pure but for the store: the
//! time is an argument.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use narthex_exposition::{Entry, Format, RawLabels, Series, for_each_sample, format_bound, parse};
use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use narthex_model::number::NORMAL_NAN_BITS;
use narthex_model::{Labels, LabelsBuilder, METRIC_NAME, MetricFamily, STALE_NAN};
use narthex_relabel::RelabelRule;
use narthex_storage::{AppendError, Appendable, Appender, SeriesRef};

use crate::cache::{Known, MetadataCache, SeriesCache};
use crate::config::Limits;
use crate::error::ScrapeError;

/// Samples may be this far ahead of the scrape.
const FUTURE_TOLERANCE_MS: i64 = 10 * 60 * 1000;

/// How a job wants its samples. Where two are equal, raw bytes mean the same series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub legacy_names: bool,
    pub limits: Limits,
    pub metric_relabel: Vec<RelabelRule>,
}

/// What a target answered.
pub(crate) enum Answer {
    Page { format: Format, body: Vec<u8> },
    Families(Vec<MetricFamily>),
}

/// What a batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples that the target gave.
    pub scraped: u64,
    /// Those that metric relabelling left.
    pub kept: u64,
    /// Series that were not known before.
    pub added: u64,
    pub out_of_order: u64,
    pub duplicates: u64,
    pub out_of_bounds: u64,
}

/// What the loop of one target keeps from scrape to scrape.
pub(crate) struct Memory {
    pub series: SeriesCache,
    reports: Vec<ReportSeries>,
}

struct ReportSeries {
    name: &'static str,
    labels: Labels,
    reference: Option<SeriesRef>,
    live: bool,
}

/// The series about the scrape itself.
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

impl Memory {
    pub(crate) fn new() -> Self {
        Memory {
            series: SeriesCache::default(),
            reports: Vec::new(),
        }
    }
}

/// A batch being filled.
pub(crate) struct Batch<'a> {
    appender: Box<dyn Appender + 'a>,
    store: &'a dyn Appendable,
    memory: &'a mut Memory,
    rules: &'a Rules,
    target_labels: &'a Labels,
    time_ms: i64,
    counts: Counts,
    /// Samples of the target that the store's batch took.
    taken: u32,
    names: HashSet<Arc<str>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        store: &'a dyn Appendable,
        memory: &'a mut Memory,
        rules: &'a Rules,
        target_labels: &'a Labels,
        time_ms: i64,
    ) -> Self {
        Batch {
            appender: store.appender(),
            store,
            memory,
            rules,
            target_labels,
            time_ms,
            counts: Counts::default(),
            taken: 0,
            names: HashSet::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes all samples of an answer, and stale markers for the series that it lacks. After an
    /// error the batch is to be [`Batch::fail`]ed.
    pub(crate) fn fill(
        &mut self,
        answer: &Answer,
        metadata: &mut MetadataCache,
    ) -> Result<(), ScrapeError> {
        self.memory.series.begin();
        metadata.begin();
        match answer {
            Answer::Page { format, body } => self.fill_page(*format, body, metadata)?,
            Answer::Families(families) => self.fill_families(families, metadata)?,
        }
        let limit = self.rules.limits.samples;
        if limit > 0 && self.counts.kept > limit {
            let samples = self.counts.kept;
            return Err(ScrapeError::SampleLimit { samples, limit });
        }
        self.end_vanished();
        self.memory.series.end_success();
        metadata.end_success();
        Ok(())
    }

    /// A batch in place of this one, which holds a stale marker for every live series and nothing
    /// else. The flag says that the cache had to be emptied.
    pub(crate) fn fail(self) -> (Self, bool) {
        // A store may have one batch open at a time.
        drop(self.appender);
        let counts = self.counts;
        let mut batch = Batch::new(
            self.store,
            self.memory,
            self.rules,
            self.target_labels,
            self.time_ms,
        );
        batch.counts = counts;
        batch.memory.series.undo();
        batch.end_vanished();
        let emptied = batch.memory.series.end_failure();
        (batch, emptied)
    }

    /// Marks the end of all series, the reports' too: the target is gone.
    pub(crate) fn end_all(&mut self) {
        self.memory.series.begin();
        self.end_vanished();
        for report in self.memory.reports.iter_mut().filter(|report| report.live) {
            report.live = false;
            // A series that has newer samples from elsewhere needs no marker.
            let _ = append(
                &mut *self.appender,
                &mut report.reference,
                &report.labels,
                self.time_ms,
                STALE_NAN,
            );
        }
    }

    pub(crate) fn report(&mut self, report: &Report) {
        let counts = report.counts;
        self.report_one("up", f64::from(u8::from(report.up)));
        self.report_one("scrape_duration_seconds", report.duration_seconds);
        self.report_one("scrape_samples_scraped", counts.scraped as f64);
        self.report_one("scrape_samples_post_metric_relabeling", counts.kept as f64);
        self.report_one("scrape_series_added", counts.added as f64);
        if let Some(extra) = &report.extra {
            self.report_one("scrape_timeout_seconds", extra.timeout_seconds);
            self.report_one("scrape_sample_limit", extra.sample_limit);
            self.report_one("scrape_body_size_bytes", extra.body_size_bytes);
        }
    }

    /// Gives the counts with what the store refused.
    pub(crate) fn commit(self) -> Result<Counts, ScrapeError> {
        let mut counts = self.counts;
        let report = self.appender.commit()?;
        // What follows the target's samples are stale markers and reports, which may come too late.
        let refused = report
            .refused
            .iter()
            .filter(|refused| refused.index < self.taken);
        for refused in refused {
            match refused.error {
                AppendError::DuplicateTimestamp => counts.duplicates += 1,
                AppendError::OutOfBounds => counts.out_of_bounds += 1,
                _ => counts.out_of_order += 1,
            }
        }
        Ok(counts)
    }

    fn report_one(&mut self, name: &'static str, value: f64) {
        let reports = &mut self.memory.reports;
        let at = match reports.iter().position(|report| report.name == name) {
            Some(at) => at,
            None => {
                reports.push(ReportSeries {
                    name,
                    labels: self.target_labels.with(METRIC_NAME, name),
                    reference: None,
                    live: false,
                });
                reports.len() - 1
            }
        };
        let Some(report) = reports.get_mut(at) else {
            return;
        };
        let added = append(
            &mut *self.appender,
            &mut report.reference,
            &report.labels,
            self.time_ms,
            value,
        );
        report.live |= added.is_ok();
    }

    fn fill_page(
        &mut self,
        format: Format,
        body: &[u8],
        metadata: &mut MetadataCache,
    ) -> Result<(), ScrapeError> {
        for entry in parse(format, body) {
            match entry? {
                Entry::Series(series) => self.add_series(&series)?,
                Entry::Type { name, kind } => metadata.set_kind(&name, kind),
                Entry::Help { name, text } => metadata.set_help(&name, &text),
                Entry::Unit { name, unit } => metadata.set_unit(&name, &unit),
                Entry::Eof => {}
            }
        }
        Ok(())
    }

    fn add_series(&mut self, series: &Series<'_>) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        let known = match self.memory.series.find(series.raw()) {
            Some(known) => known,
            None => self.learn(series)?,
        };
        let Known::Slot(slot) = known else {
            return Ok(());
        };
        self.add_sample(slot, series.timestamp_ms, series.value);
        Ok(())
    }

    fn learn(&mut self, series: &Series<'_>) -> Result<Known, ScrapeError> {
        let labels = self.labels_of(&series.labels()?);
        let Some(labels) = labels else {
            self.memory.series.learn(series.raw(), None);
            return Ok(Known::Dropped);
        };
        self.check_names(&labels)
            .map_err(|reason| ScrapeError::InvalidSample {
                line: series.line(),
                reason,
            })?;
        check_limits(&labels, &self.rules.limits)?;
        let slot = self.slot_of(labels);
        self.memory.series.learn(series.raw(), Some(slot));
        Ok(Known::Slot(slot))
    }

    fn fill_families(
        &mut self,
        families: &[MetricFamily],
        metadata: &mut MetadataCache,
    ) -> Result<(), ScrapeError> {
        for family in families {
            metadata.set_kind(&family.name, family.metadata.kind);
            metadata.set_help(&family.name, &family.metadata.help);
            metadata.set_unit(&family.name, &family.metadata.unit);
            let mut result = Ok(());
            for_each_sample(family, |sample| {
                if result.is_ok() {
                    let name = Cow::Owned(format!("{}{}", family.name, sample.suffix));
                    let mut labels: RawLabels<'_> = vec![(Cow::Borrowed(METRIC_NAME), name)];
                    for label in sample.labels.iter() {
                        labels.push((Cow::Borrowed(&label.name), Cow::Borrowed(&label.value)));
                    }
                    if let Some((name, bound)) = sample.bound {
                        labels.push((Cow::Borrowed(name), Cow::Owned(format_bound(bound))));
                    }
                    result = self.add_family_sample(&labels, sample.timestamp_ms, sample.value);
                }
            });
            result?;
        }
        Ok(())
    }

    fn add_family_sample(
        &mut self,
        labels: &RawLabels<'_>,
        timestamp_ms: Option<i64>,
        value: f64,
    ) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        let Some(labels) = self.labels_of(labels) else {
            return Ok(());
        };
        self.check_names(&labels)
            .map_err(ScrapeError::InvalidFamily)?;
        check_limits(&labels, &self.rules.limits)?;
        let slot = self.slot_of(labels);
        self.add_sample(slot, timestamp_ms, value);
        Ok(())
    }

    fn slot_of(&mut self, labels: Labels) -> usize {
        let (slot, new) = self.memory.series.slot_of(labels);
        self.counts.added += u64::from(new);
        slot
    }

    fn add_sample(&mut self, at: usize, timestamp_ms: Option<i64>, value: f64) {
        self.counts.kept += 1;
        let limit = self.rules.limits.samples;
        if limit > 0 && self.counts.kept > limit {
            return;
        }
        let seen_before = self.memory.series.see(at);
        let explicit_ms = timestamp_ms.filter(|_| self.rules.honor_timestamps);
        if seen_before && explicit_ms.is_none() {
            self.counts.duplicates += 1;
            return;
        }
        let time_ms = explicit_ms.unwrap_or(self.time_ms);
        if time_ms > self.time_ms.saturating_add(FUTURE_TOLERANCE_MS) {
            self.counts.out_of_bounds += 1;
            return;
        }
        let Some(slot) = self.memory.series.slot_mut(at) else {
            return;
        };
        let value = if value.is_nan() {
            f64::from_bits(NORMAL_NAN_BITS)
        } else {
            value
        };
        let added = append(
            &mut *self.appender,
            &mut slot.reference,
            &slot.labels,
            time_ms,
            value,
        );
        self.taken += u32::from(added.is_ok());
        if added.is_ok() && (explicit_ms.is_none() || self.rules.track_timestamps_staleness) {
            self.memory.series.make_live(at);
        }
    }

    fn end_vanished(&mut self) {
        for slot in self.memory.series.vanished() {
            slot.end();
            // A series that has newer samples from elsewhere needs no marker.
            let _ = append(
                &mut *self.appender,
                &mut slot.reference,
                &slot.labels,
                self.time_ms,
                STALE_NAN,
            );
        }
    }

    /// The labels as they are stored: the target's added, metric relabelling done. None where
    /// that drops the sample.
    fn labels_of(&mut self, scraped: &RawLabels<'_>) -> Option<Labels> {
        let mut labels = LabelsBuilder::default();
        for (name, value) in scraped {
            let name = self.shared(name);
            labels.set(name, value.as_ref());
        }
        if self.rules.honor_labels {
            add_honoring(scraped, self.target_labels, &mut labels);
        } else {
            add_renaming(self.target_labels, &mut labels);
        }
        let kept = narthex_relabel::apply_to_builder(&self.rules.metric_relabel, &mut labels);
        (kept && !labels.is_empty()).then(|| labels.build())
    }

    /// Label names repeat from series to series: one string for each.
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    fn check_names(&self, labels: &Labels) -> Result<(), String> {
        let Some(metric) = labels.metric_name() else {
            return Err(format!("after relabelling {labels} has no metric name"));
        };
        if !self.rules.legacy_names {
            return Ok(());
        }
        if !is_legacy_metric_name(metric) {
            return Err(format!(
                "invalid metric name {metric:?} under legacy validation"
            ));
        }
        match labels.iter().find(|l| !is_legacy_label_name(&l.name)) {
            Some(label) => Err(format!(
                "invalid label name {:?} under legacy validation",
                label.name
            )),
            None => Ok(()),
        }
    }
}

/// Appends by reference where that is good, else by labels.
fn append(
    appender: &mut dyn Appender,
    reference: &mut Option<SeriesRef>,
    labels: &Labels,
    time_ms: i64,
    value: f64,
) -> Result<(), AppendError> {
    if let Some(known) = *reference {
        match appender.append_known(known, time_ms, value) {
            Err(AppendError::UnknownSeries) => {}
            added => return added,
        }
    }
    *reference = Some(appender.append(labels, time_ms, value)?);
    Ok(())
}

/// The scraped labels win, also an empty one.
fn add_honoring(scraped: &RawLabels<'_>, target: &Labels, labels: &mut LabelsBuilder) {
    for label in target.iter() {
        if !scraped.iter().any(|(name, _)| **name == *label.name) {
            labels.set(label.name.clone(), label.value.clone());
        }
    }
}

/// The target's labels win; a scraped one of the same name goes on as `exported_…`.
fn add_renaming(target: &Labels, labels: &mut LabelsBuilder) {
    let mut renamed: Vec<(String, String)> = Vec::new();
    for label in target.iter() {
        if let Some(value) = labels.get(&label.name) {
            renamed.push((label.name.to_string(), value.to_owned()));
        }
        labels.set(label.name.clone(), label.value.clone());
    }
    // Shorter names first, so that what ends up as `exported_exported_a` doesn't depend on order.
    renamed.sort_by_key(|(name, _)| name.len());
    for (mut name, value) in renamed {
        loop {
            name.insert_str(0, "exported_");
            if labels.get(&name).is_none() {
                break;
            }
        }
        labels.set(name, value);
    }
}

fn check_limits(labels: &Labels, limits: &Limits) -> Result<(), ScrapeError> {
    let metric = || shortened(labels.metric_name().unwrap_or_default());
    let over = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
    if over(labels.len(), limits.labels) {
        return Err(ScrapeError::LabelLimit(format!(
            "label_limit exceeded (metric: {}, number of labels: {}, limit: {})",
            metric(),
            labels.len(),
            limits.labels
        )));
    }
    for label in labels.iter() {
        if over(label.name.len(), limits.label_name_length) {
            return Err(ScrapeError::LabelLimit(format!(
                "label_name_length_limit exceeded (metric: {}, label name: {}, length: {}, \
                 limit: {})",
                metric(),
                shortened(&label.name),
                label.name.len(),
                limits.label_name_length
            )));
        }
        if over(label.value.len(), limits.label_value_length) {
            return Err(ScrapeError::LabelLimit(format!(
                "label_value_length_limit exceeded (metric: {}, label name: {}, value: {:?}, \
                 length: {}, limit: {})",
                metric(),
                shortened(&label.name),
                shortened(&label.value),
                label.value.len(),
                limits.label_value_length
            )));
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
pub(crate) mod tests;

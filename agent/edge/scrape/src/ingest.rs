//! From what a target gave to samples in the store: staleness, duplicates, limits, reports.
//!
//! One scrape is one batch. If anything in it is invalid, none of its samples are stored; its
//! series become stale and the report says that the target is down. Pure but for the store: the
//! time is an argument.
//!
//! A series that is known goes to the store by reference; its labels are read only when it is new
//! or the store has forgotten it.

mod labels;
mod line;
mod report;
mod starts;

#[cfg(test)]
mod speed;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use narthex_exposition::{Entry, Format, Parser, for_each_sample, parse};
use narthex_model::number::NORMAL_NAN_BITS;
use narthex_model::{Exemplar, Labels, MetricFamily, STALE_NAN};
use narthex_relabel::RelabelRule;
use narthex_storage::{AppendError, Appendable, Appender, SeriesRef};

use crate::cache::{Key, SeriesCache};
use crate::config::Limits;
use crate::error::ScrapeError;
use crate::manager::Features;
use crate::metadata::{Family, MetadataCache};
use line::{FamilyLine, Line};
use report::ReportSeries;
pub(crate) use report::{ExtraReport, Report};
use starts::OpenSamples;

/// Samples may be this far ahead of the scrape.
const FUTURE_TOLERANCE_MS: i64 = 10 * 60 * 1000;

/// The names and values of an exemplar's labels have at most so many characters.
const EXEMPLAR_LABELS_CHARS: usize = 128;

/// How a job wants its samples. Where two are equal, raw bytes mean the same series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub legacy_names: bool,
    pub limits: Limits,
    pub metric_relabel: Vec<RelabelRule>,
    pub features: Features,
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
    pub exemplars_out_of_order: u64,
}

/// What the loop of one target keeps from scrape to scrape.
#[derive(Default)]
pub(crate) struct Memory {
    pub series: SeriesCache,
    reports: ReportSeries,
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
    /// What the comment lines before the next sample say, where labels are made of it, and a
    /// number that tells it from what others say.
    described: Option<Arc<Family>>,
    description: u64,
}

/// A sample as it goes to the store.
struct Sample {
    time_ms: i64,
    value: f64,
    /// A stale marker has to follow when the series vanishes.
    tracked: bool,
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
            described: None,
            description: 0,
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
        let filled = match answer {
            Answer::Page { format, body } => self.fill_page(*format, body, metadata),
            Answer::Families(families) => self.fill_families(families, metadata),
        };
        if let Err(error) = filled.and_then(|()| self.check_sample_limit()) {
            metadata.end_failure();
            return Err(error);
        }
        self.end_vanished();
        self.memory.series.end_success();
        metadata.end_success();
        metadata.tell(|family, metadata| self.appender.set_metadata(family, metadata));
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
        batch.memory.series.begin();
        batch.end_vanished();
        let emptied = batch.memory.series.end_failure();
        (batch, emptied)
    }

    /// Marks the end of all series, the reports' too: the target is gone.
    pub(crate) fn end_all(&mut self) {
        self.memory.series.begin();
        self.end_vanished();
        let reports = &mut self.memory.reports;
        reports.end(self.time_ms, &mut *self.appender);
    }

    pub(crate) fn report(&mut self, report: &Report) {
        let reports = &mut self.memory.reports;
        reports.append(
            report,
            self.target_labels,
            self.time_ms,
            &mut *self.appender,
        );
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

    fn fill_page(
        &mut self,
        format: Format,
        body: &[u8],
        metadata: &mut MetadataCache,
    ) -> Result<(), ScrapeError> {
        let mut parser = parse(format, body);
        let mut open = OpenSamples::default();
        loop {
            let expected = self.memory.series.expected();
            let context = self.context(parser.context().id());
            let keys = self.memory.series.keys;
            let is_it = |raw: &[u8]| keys.key(raw, context) == expected;
            let taken = self.taken;
            if let Some(series) = parser.next_known(expected.length(), is_it) {
                let at = self.memory.series.take_expected();
                self.add_known(at, &series)?;
                if self.rules.features.start_timestamps && self.taken > taken {
                    open.add(taken, series);
                }
            } else if metadata.skip(&mut parser) {
                self.describe(metadata);
                open.end();
            } else if !self.read_on(&mut parser, metadata, &mut open)? {
                return Ok(());
            }
        }
    }

    /// What besides its raw bytes decides the labels of a series.
    #[inline]
    fn context(&self, of_parser: u8) -> u64 {
        u64::from(of_parser).wrapping_add(self.description)
    }

    /// Takes up what the last comment lines say, if labels are made of it.
    #[inline]
    fn describe(&mut self, metadata: &MetadataCache) {
        if self.rules.features.type_and_unit_labels {
            self.described = metadata.last().cloned();
            self.description = self.described.as_deref().map_or(0, Family::description);
        }
    }

    /// Reads what was not expected. False at the end of the page.
    fn read_on<'b>(
        &mut self,
        parser: &mut Parser<'b>,
        metadata: &mut MetadataCache,
        open: &mut OpenSamples<'b>,
    ) -> Result<bool, ScrapeError> {
        let before = parser.rest();
        let context = parser.context().id();
        let with_starts = self.rules.features.start_timestamps;
        match parser.next().transpose()? {
            None => return Ok(false),
            Some(Entry::Series(series)) if with_starts && series.is_created() => {
                open.start(&series, &mut *self.appender);
            }
            Some(Entry::Series(series)) => {
                let keys = self.memory.series.keys;
                let key = keys.key(series.raw(), self.context(series.context().id()));
                let taken = self.taken;
                self.add(key, &series)?;
                if with_starts && self.taken > taken {
                    open.add(taken, series);
                }
            }
            Some(line) => {
                metadata.read(before, context, &line, parser);
                self.describe(metadata);
                open.end();
            }
        }
        Ok(true)
    }

    fn fill_families(
        &mut self,
        families: &[MetricFamily],
        metadata: &mut MetadataCache,
    ) -> Result<(), ScrapeError> {
        let keys = self.memory.series.keys;
        let mut scratch = Vec::new();
        for family in families {
            metadata.take_family(family, &mut scratch);
            self.describe(metadata);
            let context = self.context(u8::MAX);
            let mut result = Ok(());
            for_each_sample(family, |sample| {
                if result.is_ok() {
                    let line = FamilyLine { family, sample };
                    scratch.clear();
                    line.write_identity(&mut scratch);
                    result = self.add(keys.key(&scratch, context), &line);
                }
            });
            result?;
        }
        Ok(())
    }

    fn add(&mut self, key: Key, line: &impl Line) -> Result<(), ScrapeError> {
        match self.memory.series.find(key) {
            Some(at) => self.add_known(at, line),
            None => self.add_new(key, line),
        }
    }

    #[inline]
    fn add_known(&mut self, at: usize, line: &impl Line) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        let seen_before = self.memory.series.see(at);
        let Some(series) = self.memory.series.series(at) else {
            return Ok(());
        };
        let Some(sample) = self.judge(line, seen_before) else {
            return Ok(());
        };
        let added = match line.histogram() {
            None => {
                let value = sample.value;
                self.appender.append_known(series, sample.time_ms, value)
            }
            Some(histogram) => {
                let histogram = histogram.clone();
                let appender = &mut self.appender;
                appender.append_known_histogram(series, sample.time_ms, histogram)
            }
        };
        match added {
            Ok(()) => self.note_taken(at, series, &sample, line),
            Err(AppendError::UnknownSeries) => self.add_forgotten(at, &sample, line)?,
            Err(_) => {}
        }
        Ok(())
    }

    /// The store has forgotten the series at this place.
    #[cold]
    fn add_forgotten(
        &mut self,
        at: usize,
        sample: &Sample,
        line: &impl Line,
    ) -> Result<(), ScrapeError> {
        // It was not dropped before, and the rules are the same.
        let Some(labels) = self.labels(line)? else {
            return Ok(());
        };
        let added = self.append_new(&labels, sample, line);
        if let Ok(series) = added {
            self.memory.series.renew(at, series);
            self.note_taken(at, series, sample, line);
        }
        Ok(())
    }

    fn add_new(&mut self, key: Key, line: &impl Line) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        let Some(labels) = self.labels(line)? else {
            let at = self.memory.series.learn_dropped(key);
            self.memory.series.see(at);
            return Ok(());
        };
        let Some(sample) = self.judge(line, false) else {
            return Ok(());
        };
        let added = self.append_new(&labels, &sample, line);
        if let Ok(series) = added {
            let (at, new) = self.memory.series.learn(key, series);
            self.counts.added += u64::from(new);
            self.memory.series.see(at);
            self.note_taken(at, series, &sample, line);
        }
        Ok(())
    }

    /// The labels as they are stored; None where relabelling drops the sample.
    fn labels(&self, line: &impl Line) -> Result<Option<Labels>, ScrapeError> {
        let described = self.described.as_deref();
        labels::stored(line, self.target_labels, self.rules, described)
    }

    fn append_new(
        &mut self,
        labels: &Labels,
        sample: &Sample,
        line: &impl Line,
    ) -> Result<SeriesRef, AppendError> {
        match line.histogram() {
            None => self.appender.append(labels, sample.time_ms, sample.value),
            Some(histogram) => {
                let histogram = histogram.clone();
                let appender = &mut self.appender;
                appender.append_histogram(labels, sample.time_ms, histogram)
            }
        }
    }

    /// The sample as it is to be stored, if it is. Whether it fits what the store has of its series
    /// is for the store to say.
    #[inline]
    fn judge(&mut self, line: &impl Line, seen_before: bool) -> Option<Sample> {
        self.counts.kept += 1;
        let limit = self.rules.limits.samples;
        if limit > 0 && self.counts.kept > limit {
            return None;
        }
        let explicit_ms = line.timestamp_ms().filter(|_| self.rules.honor_timestamps);
        if seen_before && explicit_ms.is_none() {
            self.counts.duplicates += 1;
            return None;
        }
        let time_ms = explicit_ms.unwrap_or(self.time_ms);
        if time_ms > self.time_ms.saturating_add(FUTURE_TOLERANCE_MS) {
            self.counts.out_of_bounds += 1;
            return None;
        }
        let value = line.value();
        Some(Sample {
            time_ms,
            // No target can forge the end of a series.
            value: if value.is_nan() {
                f64::from_bits(NORMAL_NAN_BITS)
            } else {
                value
            },
            tracked: explicit_ms.is_none() || self.rules.track_timestamps_staleness,
        })
    }

    #[inline]
    fn note_taken(&mut self, at: usize, series: SeriesRef, sample: &Sample, line: &impl Line) {
        if self.rules.features.start_timestamps
            && let Some(start_ms) = line.start_ms()
        {
            self.appender.set_start(self.taken, start_ms);
        }
        self.taken += 1;
        if sample.tracked {
            self.memory.series.track(at);
        }
        if let Some(exemplar) = line.exemplar() {
            self.add_exemplar(series, exemplar, sample.time_ms);
        }
    }

    fn add_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &narthex_exposition::Exemplar<'_>,
        time_ms: i64,
    ) {
        let chars = |text: &str| text.chars().count();
        let labels = exemplar.labels.iter();
        let length: usize = labels.map(|(name, value)| chars(name) + chars(value)).sum();
        if length > EXEMPLAR_LABELS_CHARS {
            return;
        }
        let labels = exemplar.labels.iter();
        let added = self.appender.append_exemplar(
            series,
            &Exemplar {
                labels: Labels::from_pairs(labels.map(|(n, v)| (n.as_ref(), v.as_ref()))),
                value: exemplar.value,
                timestamp_ms: exemplar.timestamp_ms.unwrap_or(time_ms),
            },
        );
        if added == Err(AppendError::OutOfOrder) {
            self.counts.exemplars_out_of_order += 1;
        }
    }

    fn check_sample_limit(&self) -> Result<(), ScrapeError> {
        let limit = self.rules.limits.samples;
        if limit > 0 && self.counts.kept > limit {
            let samples = self.counts.kept;
            return Err(ScrapeError::SampleLimit { samples, limit });
        }
        Ok(())
    }

    fn end_vanished(&mut self) {
        for series in self.memory.series.vanished() {
            // A series that has newer samples from elsewhere needs no marker, and one that the
            // store has forgotten has no samples that a marker could follow.
            let _ = self.appender.append_known(series, self.time_ms, STALE_NAN);
        }
    }
}

//! Loads series into a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::{
    CancelToken, Histogram, Labels, METRIC_NAME, Matcher, SampleValue, is_stale_nan,
};
use narthex_promql::syntax::ast::SequenceValue;
use narthex_promql::testlang::Load;
use narthex_storage::memory::MemoryStore;
use narthex_storage::{Appendable, Appender, Column, Queryable, SelectQuery};

pub(crate) fn load(store: &MemoryStore, load: &Load) -> Result<(), String> {
    let mut appender = store.appender();
    let mut classic = Classic::default();
    for series in &load.series {
        let mut chunk = Chunk::of_last_sample(store, &series.labels);
        for (index, value) in series.values.iter().enumerate() {
            let SequenceValue::Value { value, .. } = value else {
                continue;
            };
            let time_ms = i64::try_from(index).unwrap() * load.step_ms;
            let value = &chunk.take(value);
            append(&mut *appender, &series.labels, time_ms, value)?;
            if load.with_custom_bounds
                && let SampleValue::Float(value) = value
            {
                classic.add(&series.labels, time_ms, *value);
            }
        }
    }
    for (labels, samples) in classic.histograms {
        let mut chunk = Chunk::of_last_sample(store, &labels);
        for (time_ms, histogram) in samples {
            let value = SampleValue::Histogram(Arc::new(histogram.into_native()));
            let value = chunk.take(&value);
            append(&mut *appender, &labels, time_ms, &value)?;
        }
    }
    let report = appender.commit().map_err(|e| e.to_string())?;
    for series in &load.series {
        for (index, offset_ms) in series.start_offsets_ms.iter().enumerate() {
            let time_ms = i64::try_from(index).unwrap() * load.step_ms;
            if let Some(offset_ms) = offset_ms {
                store.set_start(&series.labels, time_ms, time_ms + offset_ms);
            }
        }
    }
    match report.refused.first() {
        Some(refused) => Err(refused.error.to_string()),
        None => Ok(()),
    }
}

fn append(
    appender: &mut dyn Appender,
    labels: &Labels,
    time_ms: i64,
    value: &SampleValue,
) -> Result<(), String> {
    let appended = match value {
        SampleValue::Float(value) => appender.append(labels, time_ms, *value),
        SampleValue::Histogram(histogram) => {
            appender.append_histogram(labels, time_ms, histogram.clone())
        }
    };
    appended
        .map(drop)
        .map_err(|e| format!("{labels} at {time_ms}: {e}"))
}

/// What a database would know of the histograms of a series: in the chunks that it keeps them in,
/// nothing but the first one can follow a counter reset, and of that one it is not known.
#[derive(Default)]
struct Chunk {
    last: Option<Arc<Histogram>>,
}

impl Chunk {
    fn of_last_sample(store: &MemoryStore, labels: &Labels) -> Self {
        let matchers: Vec<Matcher> = labels
            .iter()
            .map(|label| Matcher::equal(label.name.clone(), label.value.clone()))
            .collect();
        let selected = store.select(&SelectQuery {
            matchers: &matchers,
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            cancel: CancelToken::default(),
        });
        let mut chunk = Chunk::default();
        for series in selected.unwrap().iter().filter(|s| s.labels() == labels) {
            series
                .visit(&mut |column| {
                    chunk.last = match column {
                        Column::Floats { .. } => None,
                        Column::Histograms { values, .. } => values.last().cloned(),
                    };
                })
                .unwrap();
        }
        chunk
    }

    /// The sample as it would be read. A stale marker among histograms is one of them.
    fn take(&mut self, value: &SampleValue) -> SampleValue {
        let histogram = match value {
            SampleValue::Float(value) if is_stale_nan(*value) && self.last.is_some() => {
                self.last = None;
                return SampleValue::Histogram(Arc::new(Histogram {
                    sum: *value,
                    ..Histogram::default()
                }));
            }
            SampleValue::Float(_) => {
                self.last = None;
                return value.clone();
            }
            SampleValue::Histogram(histogram) => histogram,
        };
        let before = self.last.replace(histogram.clone());
        let hint = match before {
            _ if histogram.counter_reset == CounterReset::Gauge => CounterReset::Gauge,
            Some(before) if continues(histogram, &before) => CounterReset::NotReset,
            _ => CounterReset::Unknown,
        };
        SampleValue::Histogram(Arc::new(Histogram {
            counter_reset: hint,
            ..Histogram::clone(histogram)
        }))
    }
}

/// Whether a counter is kept in the same chunk as the sample before.
fn continues(histogram: &Histogram, before: &Histogram) -> bool {
    let unhinted = Histogram {
        counter_reset: CounterReset::Unknown,
        ..histogram.clone()
    };
    before.counter_reset != CounterReset::Gauge
        && histogram.counter_reset != CounterReset::Reset
        && histogram.schema == before.schema
        && histogram.zero_threshold == before.zero_threshold
        && histogram.custom_values == before.custom_values
        && !unhinted.is_reset_after(before)
}

/// Classic histograms, by the labels that they have in common.
#[derive(Default)]
struct Classic {
    histograms: BTreeMap<Labels, BTreeMap<i64, ClassicHistogram>>,
}

#[derive(Default)]
struct ClassicHistogram {
    /// Upper bound and observations at or below it.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Classic {
    fn add(&mut self, labels: &Labels, time_ms: i64, value: f64) {
        let name = labels.metric_name().unwrap_or_default();
        let Some((base, part)) = name.rsplit_once('_') else {
            return;
        };
        let bound = labels
            .get("le")
            .and_then(narthex_model::number::parse_float);
        if !matches!(part, "bucket" | "count" | "sum") || (part == "bucket" && bound.is_none()) {
            return;
        }
        let labels = labels.with(METRIC_NAME, base).without("le");
        let samples = self.histograms.entry(labels).or_default();
        let histogram = samples.entry(time_ms).or_default();
        match (part, bound) {
            ("bucket", Some(bound)) => histogram.buckets.push((bound, value)),
            ("count", _) => histogram.count = Some(value),
            _ => histogram.sum = value,
        }
    }
}

impl ClassicHistogram {
    fn into_native(mut self) -> Histogram {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|next, kept| next.0 == kept.0);
        let total = self
            .count
            .or(self.buckets.last().map(|(_, count)| *count))
            .unwrap_or_default();
        self.buckets.retain(|(bound, _)| bound.is_finite());
        let mut below = 0.0;
        let mut counts = Vec::new();
        for (_, up_to) in &self.buckets {
            counts.push(up_to - below);
            below = *up_to;
        }
        counts.push(total - below);
        Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: total,
            sum: self.sum,
            positive_spans: vec![Span {
                offset: 0,
                length: u32::try_from(counts.len()).unwrap(),
            }],
            positive_buckets: counts,
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).collect(),
            ..Histogram::default()
        }
    }
}

//! Loads series into a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};
use narthex_model::{Histogram, Labels, METRIC_NAME, SampleValue};
use narthex_promql::syntax::ast::SequenceValue;
use narthex_promql::testlang::Load;
use narthex_storage::memory::MemoryStore;
use narthex_storage::{Appendable, Appender};

pub(crate) fn load(store: &MemoryStore, load: &Load) -> Result<(), String> {
    let mut appender = store.appender();
    let mut classic = Classic::default();
    for series in &load.series {
        for (index, value) in series.values.iter().enumerate() {
            let SequenceValue::Value { value, .. } = value else {
                continue;
            };
            let time_ms = i64::try_from(index).unwrap() * load.step_ms;
            append(&mut *appender, &series.labels, time_ms, value)?;
            if load.with_custom_bounds
                && let SampleValue::Float(value) = value
            {
                classic.add(&series.labels, time_ms, *value);
            }
        }
    }
    for (labels, samples) in classic.histograms {
        for (time_ms, histogram) in samples {
            let value = SampleValue::Histogram(Arc::new(histogram.into_native()));
            append(&mut *appender, &labels, time_ms, &value)?;
        }
    }
    let report = appender.commit().map_err(|e| e.to_string())?;
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

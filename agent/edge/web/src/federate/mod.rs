//! `/federate`: the newest sample of each series that is asked for, as another Prometheus scrapes it.
//!
//! Series go out sorted by name, a family per name and kind of sample, without type as that is not
//! known here. What has ended is left out; what has not gets its own time, so that the other side
//! stores what is here. Native histograms with exponential buckets go over protobuf only, those with
//! custom bounds as classic histograms.

mod names;
mod negotiate;
mod protobuf;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use narthex_model::sample::is_stale_nan;
use narthex_model::{CancelToken, Histogram, Label, Labels, Matcher, SampleValue};
use narthex_storage::{Column, Queryable, SelectQuery, Series, StorageError};

use crate::coding::Coding;
use crate::params::Params;
use crate::respond::ApiError;
use crate::run::CancelOnDrop;
use crate::server::Shared;
use crate::stream::{Out, Stop, stream};

use negotiate::{Accepted, Encoding};

pub(crate) async fn federate(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    coding: Coding,
    params: Params,
) -> Response {
    let sets = match params.selectors("match[]") {
        Ok(sets) => sets,
        Err(error) => return plain(&error),
    };
    let accepted = Accepted::of(&headers);
    let cancel = CancelToken::default();
    let _gone = CancelOnDrop(cancel.clone());
    let now_ms = shared.parts.agent.now_ms();
    let lookback_ms = shared.parts.agent.engine().options().lookback_delta_ms;
    let store = shared.parts.store.clone();
    let added = added_labels(&shared.parts.agent.external_labels());
    let content_type = accepted.content_type();
    let answered = stream(&shared.answer_places, content_type, coding, move |out| {
        let start_ms = now_ms.saturating_sub(lookback_ms);
        let newest = newest_samples(&*store, &sets, start_ms, now_ms, &cancel)?;
        write(out, &newest, &added, accepted)
    });
    answered.await.unwrap_or_else(|error| {
        shared.metrics.federation_errors.inc();
        plain(&error)
    })
}

fn plain(error: &ApiError) -> Response {
    (error.status(), format!("{}\n", error.text())).into_response()
}

/// What every series gets that lacks it. An empty `instance` keeps the other side from adding its
/// own.
fn added_labels(external: &Labels) -> Vec<Label> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::from([("instance", "")]);
    added.extend(external.iter().map(|label| (&*label.name, &*label.value)));
    let label = |(name, value): (&str, &str)| Label::new(name, value);
    added.into_iter().map(label).collect()
}

/// The last sample of one series.
struct Newest {
    labels: Labels,
    timestamp_ms: i64,
    value: SampleValue,
}

impl Newest {
    fn name(&self) -> &str {
        self.labels.metric_name().unwrap_or("")
    }
}

/// Sorted by name, then by labels; each series once.
fn newest_samples(
    store: &dyn Queryable,
    sets: &[Vec<Matcher>],
    start_ms: i64,
    end_ms: i64,
    cancel: &CancelToken,
) -> Result<Vec<Newest>, ApiError> {
    let mut newest = Vec::new();
    for matchers in sets {
        let query = SelectQuery {
            matchers,
            start_ms,
            end_ms,
            cancel: cancel.clone(),
        };
        for series in store.select(&query)? {
            if cancel.reason().is_some() {
                return Err(StorageError::Canceled.into());
            }
            newest.extend(newest_sample(&*series)?);
        }
    }
    // One without a name is ignored, as it could not be written.
    newest.retain(|sample| !sample.name().is_empty());
    newest.sort_by(|a, b| a.name().cmp(b.name()).then_with(|| a.labels.cmp(&b.labels)));
    newest.dedup_by(|a, b| a.labels == b.labels);
    Ok(newest)
}

/// None if there is none, or the series has ended.
fn newest_sample(series: &dyn Series) -> Result<Option<Newest>, StorageError> {
    let mut last: Option<(i64, SampleValue)> = None;
    series.visit(&mut |column| {
        last = match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => timestamps_ms
                .last()
                .zip(values.last())
                .map(|(ms, value)| (*ms, SampleValue::Float(*value))),
            Column::Histograms {
                timestamps_ms,
                values,
            } => timestamps_ms
                .last()
                .zip(values.last())
                .map(|(ms, value)| (*ms, SampleValue::Histogram(value.clone()))),
        };
    })?;
    let is_stale = |value: &SampleValue| match value {
        SampleValue::Float(value) => is_stale_nan(*value),
        SampleValue::Histogram(histogram) => is_stale_nan(histogram.sum),
    };
    Ok(last
        .filter(|(_, value)| !is_stale(value))
        .map(|(timestamp_ms, value)| Newest {
            labels: series.labels().clone(),
            timestamp_ms,
            value,
        }))
}

/// What a family is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn of(value: &SampleValue) -> Kind {
        match value {
            SampleValue::Float(_) => Kind::Untyped,
            SampleValue::Histogram(histogram) if histogram.is_gauge() => Kind::GaugeHistogram,
            SampleValue::Histogram(_) => Kind::Histogram,
        }
    }
}

fn write(
    out: &mut Out,
    newest: &[Newest],
    added: &[Label],
    accepted: Accepted,
) -> Result<(), Stop> {
    let can_write = |sample: &&Newest| match (&sample.value, accepted.encoding) {
        (SampleValue::Float(_), _) | (_, Encoding::Protobuf) => true,
        (SampleValue::Histogram(histogram), Encoding::Text) => histogram.uses_custom_bounds(),
    };
    let samples: Vec<&Newest> = newest.iter().filter(can_write).collect();
    let one_family =
        |a: &&Newest, b: &&Newest| a.name() == b.name() && Kind::of(&a.value) == Kind::of(&b.value);
    for family in samples.chunk_by(one_family) {
        match accepted.encoding {
            Encoding::Text => text::write_family(out, family, added, accepted.escaping)?,
            Encoding::Protobuf => {
                protobuf::write_family(&mut out.buffer, family, added, accepted.escaping);
                out.flush_if_full()?;
            }
        }
    }
    Ok(())
}

/// A sample's labels besides its name, with the added ones last.
fn shown_labels<'a>(
    sample: &'a Newest,
    added: &'a [Label],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let own = sample.labels.iter();
    let own = own.filter(|label| &*label.name != "__name__" && !label.value.is_empty());
    let lacking = |label: &&Label| sample.labels.value_or_empty(&label.name).is_empty();
    own.chain(added.iter().filter(lacking))
        .map(|label| (&*label.name, &*label.value))
}

/// Upper bounds and cumulative counts of a histogram with custom bounds, +Inf not among them.
fn classic_buckets(histogram: &Histogram) -> Vec<(f64, f64)> {
    let buckets = histogram.buckets();
    let mut rest = buckets.iter().peekable();
    let mut count = 0.0;
    let cumulative = |bound: &f64| {
        while let Some(bucket) = rest.next_if(|bucket| bucket.upper <= *bound) {
            count += bucket.count;
        }
        (*bound, count)
    };
    histogram.custom_values.iter().map(cumulative).collect()
}

#[cfg(test)]
mod tests;

//! What `evaluate` returns: an array of maps, read strictly into alerts.

use std::collections::BTreeMap;

use narthex_extension::ScriptAlert;
use narthex_model::{Labels, LabelsBuilder, METRIC_NAME};
use rhai::{Array, Dynamic, Map};

use crate::series::{OneSeries, duration_ms, number};

const FIELDS: &str = "name, series, labels, annotations, value, for, keep_firing_for";

/// Reads the returned value. `()` and the empty array mean: no alert.
pub(crate) fn read(returned: Dynamic, limit: usize) -> Result<Vec<ScriptAlert>, String> {
    if returned.is_unit() {
        return Ok(Vec::new());
    }
    let kind = returned.type_name();
    let Some(array) = returned.try_cast::<Array>() else {
        return Err(format!(
            "evaluate must return an array of alerts, got {kind}"
        ));
    };
    if array.len() > limit {
        return Err(format!(
            "{} alerts, more than {limit} (raise it with scripts.limits.alerts)",
            array.len()
        ));
    }
    let mut seen = BTreeMap::new();
    let mut alerts = Vec::with_capacity(array.len());
    for (index, item) in array.into_iter().enumerate() {
        let alert = read_alert(item).map_err(|e| format!("alert {index}: {e}"))?;
        let identity = (alert.name.clone(), alert.labels.clone());
        if let Some(first) = seen.insert(identity, index) {
            return Err(format!(
                "alerts {first} and {index} are both {} with the labels {}",
                alert.name, alert.labels
            ));
        }
        alerts.push(alert);
    }
    Ok(alerts)
}

fn read_alert(item: Dynamic) -> Result<ScriptAlert, String> {
    let kind = item.type_name();
    let map = item
        .try_cast::<Map>()
        .ok_or_else(|| format!("expected a map, got {kind}"))?;
    let mut alert = ScriptAlert {
        name: String::new(),
        labels: Labels::empty(),
        annotations: BTreeMap::new(),
        value: f64::NAN,
        for_ms: 0,
        keep_firing_for_ms: 0,
    };
    // `series` first: labels and value given beside it go over it.
    let mut labels = LabelsBuilder::default();
    if let Some(series) = map.get("series") {
        let series = series.clone().try_cast::<OneSeries>();
        let series = series.ok_or("series: expected a series of a query's result")?;
        labels = LabelsBuilder::from(&series.labels.without_metric_name());
        alert.value = series.value();
    }
    for (field, value) in map {
        match field.as_str() {
            "series" => {}
            "name" => alert.name = text(value, "name")?,
            "labels" => read_labels(value, &mut labels)?,
            "annotations" => alert.annotations = read_annotations(value)?,
            "value" => alert.value = number(&value, "value").map_err(|e| e.to_string())?,
            "for" => alert.for_ms = duration(value, "for")?,
            "keep_firing_for" => alert.keep_firing_for_ms = duration(value, "keep_firing_for")?,
            other => return Err(format!("unknown field {other:?} (fields: {FIELDS})")),
        }
    }
    if alert.name.is_empty() {
        return Err("the field name is missing".to_owned());
    }
    alert.labels = labels.build();
    Ok(alert)
}

fn read_labels(value: Dynamic, labels: &mut LabelsBuilder) -> Result<(), String> {
    let kind = value.type_name();
    let map = value
        .try_cast::<Map>()
        .ok_or_else(|| format!("labels: expected a map, got {kind}"))?;
    for (name, value) in map {
        if name.is_empty() || name == METRIC_NAME || name == "alertname" {
            return Err(format!("labels: {name:?} cannot be set here"));
        }
        labels.set(name.as_str(), value.to_string());
    }
    Ok(())
}

fn read_annotations(value: Dynamic) -> Result<BTreeMap<String, String>, String> {
    let kind = value.type_name();
    let map = value
        .try_cast::<Map>()
        .ok_or_else(|| format!("annotations: expected a map, got {kind}"))?;
    Ok(map
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect())
}

fn text(value: Dynamic, what: &str) -> Result<String, String> {
    value
        .into_string()
        .map_err(|kind| format!("{what}: expected a string, got {kind}"))
}

fn duration(value: Dynamic, what: &str) -> Result<u64, String> {
    let text = text(value, what)?;
    duration_ms(&text).map_err(|e| format!("{what}: {e}"))
}

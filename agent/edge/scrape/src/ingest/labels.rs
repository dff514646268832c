//! From the labels that a target gives to those that are stored: the target's joined, metric
//! relabelling done, names and lengths checked.

use narthex_exposition::RawLabels;
use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use narthex_model::{Labels, LabelsBuilder, MetricType};

use super::Rules;
use super::line::Line;
use crate::config::Limits;
use crate::error::ScrapeError;
use crate::metadata::Family;

const METRIC_TYPE: &str = "__type__";
const METRIC_UNIT: &str = "__unit__";

/// None where relabelling drops the sample.
pub(super) fn stored(
    line: &impl Line,
    target: &Labels,
    rules: &Rules,
    described: Option<&Family>,
) -> Result<Option<Labels>, ScrapeError> {
    let mut scraped = line.labels()?;
    if let Some(family) = described {
        describe(&mut scraped, family);
    }
    let Some(labels) = joined(&scraped, target, rules) else {
        return Ok(None);
    };
    check_names(&labels, rules).map_err(|reason| line.invalid(reason))?;
    check_limits(&labels, &rules.limits)?;
    Ok(Some(labels))
}

/// Adds the type and the unit that the family of the sample has; what the target says itself in
/// these labels doesn't count then.
fn describe<'a>(scraped: &mut RawLabels<'a>, family: &'a Family) {
    let is_of_family = |(_, name): &(_, std::borrow::Cow<'_, str>)| name.starts_with(&*family.name);
    if !scraped.first().is_some_and(is_of_family) {
        return;
    }
    let kind = family.kind.filter(|kind| *kind != MetricType::Unknown);
    let kind = kind.map(MetricType::as_str);
    let unit = family.unit.as_deref().filter(|unit| !unit.is_empty());
    for (label, value) in [(METRIC_TYPE, kind), (METRIC_UNIT, unit)] {
        if let Some(value) = value {
            scraped.retain(|(name, _)| name != label);
            scraped.push((label.into(), value.into()));
        }
    }
}

fn joined(scraped: &RawLabels<'_>, target: &Labels, rules: &Rules) -> Option<Labels> {
    let mut labels = LabelsBuilder::default();
    for (name, value) in scraped {
        labels.set(name.as_ref(), value.as_ref());
    }
    if rules.honor_labels {
        add_honoring(scraped, target, &mut labels);
    } else {
        add_renaming(target, &mut labels);
    }
    let kept = narthex_relabel::apply_to_builder(&rules.metric_relabel, &mut labels);
    (kept && !labels.is_empty()).then(|| labels.build())
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

fn check_names(labels: &Labels, rules: &Rules) -> Result<(), String> {
    let Some(metric) = labels.metric_name() else {
        return Err(format!("after relabelling {labels} has no metric name"));
    };
    if !rules.legacy_names {
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

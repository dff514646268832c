//! Target groups as discoveries publish them.

use std::collections::HashSet;

use narthex_model::{Labels, TargetGroup};

use crate::Limits;
use crate::bindings::publisher::TargetGroup as RawGroup;

use super::{Fault, limit_at, shown};

/// One call's target groups. That all groups together stay within the limit is not seen here.
pub(crate) fn groups(groups: Vec<RawGroup>, limits: &Limits) -> Result<Vec<TargetGroup>, Fault> {
    groups
        .into_iter()
        .map(|group| {
            let at = || format!(" (group {})", shown(&group.source));
            limit_at(
                "label_value_bytes",
                group.source.len(),
                limits.label_value_bytes,
                at,
            )?;
            Ok(TargetGroup {
                targets: group
                    .targets
                    .into_iter()
                    .map(|labels| target_labels(&group.source, labels, limits))
                    .collect::<Result<_, Fault>>()?,
                labels: target_labels(&group.source, group.labels, limits)?,
                source: group.source,
            })
        })
        .collect()
}

fn target_labels(
    source: &str,
    labels: Vec<(String, String)>,
    limits: &Limits,
) -> Result<Labels, Fault> {
    let at = || format!(" (group {})", shown(source));
    limit_at("labels", labels.len(), limits.labels, at)?;
    let mut seen = HashSet::with_capacity(labels.len());
    for (name, value) in &labels {
        if name.is_empty() {
            return Err(Fault::Invalid(format!(
                "group {}: a label without a name",
                shown(source)
            )));
        }
        if !seen.insert(name.as_str()) {
            return Err(Fault::Invalid(format!(
                "group {}: label {} is named twice",
                shown(source),
                shown(name)
            )));
        }
        limit_at("label_name_bytes", name.len(), limits.label_name_bytes, at)?;
        limit_at(
            "label_value_bytes",
            value.len(),
            limits.label_value_bytes,
            at,
        )?;
    }
    Ok(Labels::from_pairs(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_labels_are_checked() {
        let group = |labels: &[(&str, &str)]| RawGroup {
            source: "s".to_owned(),
            targets: vec![
                labels
                    .iter()
                    .map(|&(n, v)| (n.to_owned(), v.to_owned()))
                    .collect(),
            ],
            labels: vec![],
        };
        let limits = Limits::default();
        let good = groups(vec![group(&[("__address__", "a:1"), ("x", "")])], &limits).unwrap();
        assert_eq!(good[0].targets[0].to_string(), r#"{__address__="a:1"}"#);
        for bad in [&[("", "x")][..], &[("a", "1"), ("a", "2")]] {
            assert!(groups(vec![group(bad)], &limits).is_err(), "{bad:?}");
        }
    }
}

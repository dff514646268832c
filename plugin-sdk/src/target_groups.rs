//! What most discoveries need beside finding targets: reading lists of target groups as Prometheus
//! writes them, and publishing only what has changed.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{CallError, Error, TargetGroup, publisher};

/// A target group as it stands in files and answers, `{"targets": ["host:port"], "labels": {…}}`.
/// An unknown field is an error, as in Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct StaticGroup {
    #[serde(default)]
    pub targets: Option<Vec<String>>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Names each group of a list by `origin` and its place, and gives it the label `label` with the
/// value `origin`. A group that is null, or has a label without a name, makes the whole list wrong.
pub fn from_list(
    list: Vec<Option<StaticGroup>>,
    origin: &str,
    label: &str,
) -> Result<Vec<TargetGroup>, Error> {
    let mut groups = Vec::with_capacity(list.len());
    for (at, group) in list.into_iter().enumerate() {
        let group = group.ok_or_else(|| Error::new(format!("group {at} is null")))?;
        let mut labels = group.labels.unwrap_or_default();
        if labels.contains_key("") {
            return Err(Error::new(format!("group {at} has a label without a name")));
        }
        labels.insert(label.to_owned(), origin.to_owned());
        let targets = group.targets.unwrap_or_default();
        let mut group = TargetGroup::of_addresses(format!("{origin}:{at}"), targets);
        group.labels = labels.into_iter().collect();
        groups.push(group);
    }
    Ok(groups)
}

/// What a discovery has published.
///
/// Keeps true: what was published and not taken back is what is remembered; a call that the host
/// refuses changes neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    groups: BTreeMap<String, TargetGroup>,
    /// The first call of a run says all, even if that is nothing.
    has_begun: bool,
}

impl Published {
    pub fn new() -> Self {
        Published::default()
    }

    /// Makes these groups all there are: publishes those that are new or have changed, and takes
    /// back those that are missing. Of two groups of one source the last counts.
    pub fn set_all(
        &mut self,
        groups: impl IntoIterator<Item = TargetGroup>,
    ) -> Result<(), CallError> {
        let groups = groups.into_iter();
        let mut now: BTreeMap<String, TargetGroup> =
            groups.map(|group| (group.source.clone(), group)).collect();
        let gone = self
            .groups
            .keys()
            .filter(|source| !now.contains_key(*source));
        let gone: Vec<TargetGroup> = gone.map(TargetGroup::none).collect();
        let mut changes: Vec<TargetGroup> = now
            .values()
            .filter(|group| self.groups.get(&group.source) != Some(*group))
            .cloned()
            .collect();
        changes.extend(gone);
        self.publish(&changes)?;
        std::mem::swap(&mut self.groups, &mut now);
        Ok(())
    }

    /// Publishes some groups and leaves the others as they are. One without targets is taken back.
    pub fn update(
        &mut self,
        groups: impl IntoIterator<Item = TargetGroup>,
    ) -> Result<(), CallError> {
        let mut changes: Vec<TargetGroup> = groups.into_iter().collect();
        changes.retain(|group| match self.groups.get(&group.source) {
            Some(known) => known != group,
            None => !group.targets.is_empty(),
        });
        self.publish(&changes)?;
        for group in changes {
            match group.targets.is_empty() {
                true => self.groups.remove(&group.source),
                false => self.groups.insert(group.source.clone(), group),
            };
        }
        Ok(())
    }

    fn publish(&mut self, changes: &[TargetGroup]) -> Result<(), CallError> {
        if !changes.is_empty() || !self.has_begun {
            publisher::publish(changes)?;
            self.has_begun = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Host;

    fn group(source: &str, address: &str) -> TargetGroup {
        TargetGroup::of_addresses(source, [address])
    }

    #[test]
    fn only_changes_are_published() {
        let host = Host::install();
        let mut published = Published::new();
        published.set_all([]).unwrap();
        published.set_all([]).unwrap();
        published
            .set_all([group("a", "1"), group("b", "2")])
            .unwrap();
        host.fail_publishing(Some(CallError::Limit("too many".to_owned())));
        published.set_all([group("c", "3")]).unwrap_err();
        host.fail_publishing(None);
        published
            .set_all([group("b", "3"), group("a", "1")])
            .unwrap();
        published.set_all([group("b", "3")]).unwrap();
        published
            .update([group("c", "4"), group("b", "3")])
            .unwrap();
        published
            .update([TargetGroup::none("b"), TargetGroup::none("x")])
            .unwrap();
        published.set_all([group("c", "4")]).unwrap();
        assert_eq!(
            host.published(),
            [
                vec![],
                vec![group("a", "1"), group("b", "2")],
                vec![group("b", "3")],
                vec![TargetGroup::none("a")],
                vec![group("c", "4")],
                vec![TargetGroup::none("b")],
            ]
        );
    }

    #[test]
    fn lists_are_read_strictly() {
        let read = |json: &str| -> Result<Vec<TargetGroup>, Error> {
            from_list(serde_json::from_str(json)?, "here", "__meta_url")
        };
        let groups = read(r#"[{"targets": ["a:1"], "labels": {"x": "y"}}, {}]"#).unwrap();
        let expected = TargetGroup::of_addresses("here:0", ["a:1"]);
        let expected = expected.label("__meta_url", "here").label("x", "y");
        assert_eq!(groups[0], expected);
        assert_eq!(groups[1].source, "here:1");
        for (json, expected) in [
            ("[null]", "group 0 is null"),
            (
                r#"[{"labels": {"": "a"}}]"#,
                "group 0 has a label without a name",
            ),
            (r#"[{"target": []}]"#, "unknown field `target`"),
            (r#"[{"targets": [1]}]"#, "invalid type: integer"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{json}: {error}");
        }
    }
}

//! What stands in a target file: a list of target groups, as JSON or YAML.
//!
//! Both are read strictly, as Prometheus does: an unknown field, a group that is null, or a label
//! without a name make the whole file wrong.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{Error, TargetGroup};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// By the name's ending.
    pub(crate) fn of(name: &str) -> Option<Format> {
        match name.rsplit_once('.')?.1 {
            "json" | "JSON" => Some(Format::Json),
            "yml" | "yaml" | "YML" | "YAML" => Some(Format::Yaml),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    targets: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// A file's groups. The path names them, and says which format they are in.
pub(crate) fn parse(path: &str, bytes: Vec<u8>) -> Result<Vec<TargetGroup>, Error> {
    let text = String::from_utf8(bytes).map_err(|_| Error::new("the file is not UTF-8"))?;
    let groups: Vec<Option<Group>> = match Format::of(path) {
        Some(Format::Json) => serde_json::from_str(&text)?,
        Some(Format::Yaml) => yaml(&text)?,
        None => {
            return Err(Error::new(
                "expected a file that ends in .json, .yml or .yaml",
            ));
        }
    };
    groups
        .into_iter()
        .enumerate()
        .map(|(at, group)| {
            let group = group.ok_or_else(|| Error::new(format!("group {at} is null")))?;
            target_group(path, at, group)
        })
        .collect()
}

/// An empty document has no groups.
fn yaml(text: &str) -> Result<Vec<Option<Group>>, Error> {
    let groups: Option<Vec<Option<Group>>> = serde_yaml::from_str(text)?;
    Ok(groups.unwrap_or_default())
}

fn target_group(path: &str, at: usize, group: Group) -> Result<TargetGroup, Error> {
    let mut labels = group.labels.unwrap_or_default();
    if labels.contains_key("") {
        return Err(Error::new(format!("group {at} has a label without a name")));
    }
    labels.insert("__meta_filepath".to_owned(), path.to_owned());
    let targets = group.targets.unwrap_or_default();
    Ok(TargetGroup {
        source: format!("{path}:{at}"),
        targets: targets
            .into_iter()
            .map(|address| vec![("__address__".to_owned(), address)])
            .collect(),
        labels: labels.into_iter().collect(),
    })
}

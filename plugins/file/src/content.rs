//! What stands in a target file: a list of target groups, as JSON or YAML.
//!
//! Both are read strictly, as Prometheus does: an unknown field, a group that is null, or a label
//! without a name make the whole file wrong.

use narthex_plugin_sdk::target_groups::{self, StaticGroup};
use narthex_plugin_sdk::{Error, TargetGroup};

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

/// A file's groups. The path names them, and says which format they are in.
pub(crate) fn parse(path: &str, bytes: Vec<u8>) -> Result<Vec<TargetGroup>, Error> {
    let text = String::from_utf8(bytes).map_err(|_| Error::new("the file is not UTF-8"))?;
    let groups: Vec<Option<StaticGroup>> = match Format::of(path) {
        Some(Format::Json) => serde_json::from_str(&text)?,
        Some(Format::Yaml) => yaml(&text)?,
        None => {
            return Err(Error::new(
                "expected a file that ends in .json, .yml or .yaml",
            ));
        }
    };
    target_groups::from_list(groups, path, "__meta_filepath")
}

/// An empty document has no groups.
fn yaml(text: &str) -> Result<Vec<Option<StaticGroup>>, Error> {
    let groups: Option<Vec<Option<StaticGroup>>> = serde_yaml::from_str(text)?;
    Ok(groups.unwrap_or_default())
}

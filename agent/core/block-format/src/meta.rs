//! A block's meta.json: its name, its range of time, what is in it and where it came from.
//!
//! Keys that are unknown here, as those that Thanos adds, are kept and written again.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{MetaError, Ulid};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    pub ulid: Ulid,
    #[serde(rename = "minTime")]
    pub min_time_ms: i64,
    /// The block's samples are older than this.
    #[serde(rename = "maxTime")]
    pub max_time_ms: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub stats: BlockStats,
    #[serde(default, deserialize_with = "or_default")]
    pub compaction: Compaction,
    /// 1, save in [`BlockMeta::has_mislabelled_index`] blocks.
    pub version: u32,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// 1 for a block that was written from the head; each compaction adds one.
    pub level: u32,
    /// The blocks of level 1 that went into this one, itself if it is one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub sources: Vec<Ulid>,
    /// Compaction left nothing of it.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks this one was directly made of.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub parents: Vec<ParentBlock>,
    /// Compacting it failed; it isn't tried again.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub hints: Vec<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParentBlock {
    pub ulid: Ulid,
    #[serde(rename = "minTime")]
    pub min_time_ms: i64,
    #[serde(rename = "maxTime")]
    pub max_time_ms: i64,
}

impl BlockMeta {
    pub fn read(json: &[u8]) -> Result<Self, MetaError> {
        let meta: BlockMeta = serde_json::from_slice(json)?;
        if !(1..=2).contains(&meta.version) {
            return Err(MetaError::UnknownVersion(meta.version));
        }
        if meta.max_time_ms < meta.min_time_ms {
            return Err(MetaError::Reversed {
                min_time_ms: meta.min_time_ms,
                max_time_ms: meta.max_time_ms,
            });
        }
        Ok(meta)
    }

    /// The file's content, indented as Prometheus does it.
    pub fn to_json(&self) -> Result<Vec<u8>, MetaError> {
        let mut out = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, tabs);
        self.serialize(&mut serializer)?;
        Ok(out)
    }

    /// For a short while, Prometheus wrote indexes of version 2 that say 1, and noted the 2 in
    /// meta.json. Such a block's index is read by [`crate::IndexLayout::open_as`].
    pub fn has_mislabelled_index(&self) -> bool {
        self.version == 2
    }
}

/// Go's programs write null for a list that was never made.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

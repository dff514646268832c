//! What a store tells of itself.

/// For `/api/v1/status/tsdb`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TsdbStats {
    pub head: HeadStats,
    pub series_count_by_metric_name: Vec<CardinalityStat>,
    pub label_value_count_by_label_name: Vec<CardinalityStat>,
    pub memory_bytes_by_label_name: Vec<CardinalityStat>,
    pub series_count_by_label_pair: Vec<CardinalityStat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    pub series: u64,
    pub label_pairs: u64,
    pub chunks: u64,
    /// `i64::MAX` while the head is empty.
    pub min_time_ms: i64,
    /// `i64::MIN` while the head is empty.
    pub max_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardinalityStat {
    pub name: String,
    pub value: u64,
}

pub trait StoreStatus: Send + Sync {
    /// The `limit` largest entries of each list, largest first.
    fn stats(&self, limit: usize) -> TsdbStats;
}

//! What the API shows of targets. Plain types; the binary hands them on.

use std::collections::BTreeMap;

use narthex_model::Labels;
use narthex_model::family::Metadata;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// One target, or one exporter plugin (its URL is `plugin:` and the plugin's name).
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStatus {
    /// Before relabelling, defaults included.
    pub discovered_labels: Labels,
    pub labels: Labels,
    /// The job.
    pub scrape_pool: String,
    pub scrape_url: String,
    /// Empty if the last scrape succeeded.
    pub last_error: String,
    pub last_scrape_ms: Option<i64>,
    pub last_scrape_duration_seconds: f64,
    pub health: Health,
    pub scrape_interval_ms: u64,
    pub scrape_timeout_ms: u64,
}

/// A target that relabelling dropped, or that cannot be scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedTarget {
    pub discovered_labels: Labels,
    pub scrape_pool: String,
    /// What is wrong with it; None where a relabel rule dropped it.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    pub active: Vec<TargetStatus>,
    /// At most `keep_dropped_targets` per job, where that is set.
    pub dropped: Vec<DroppedTarget>,
    /// All of them, per job.
    pub dropped_counts: BTreeMap<String, usize>,
}

/// What one target says about its metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMetadata {
    pub target: Labels,
    pub scrape_pool: String,
    /// Metric names with type, help and unit, sorted by name.
    pub metrics: Vec<(String, Metadata)>,
}

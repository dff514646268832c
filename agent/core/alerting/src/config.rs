//! The plain configuration of routing, as `alertmanager.yml` has it; `narthex-config` fills it.
//!
//! Nothing here is checked or inherited yet: [`crate::CheckedConfig::new`] does both. What a
//! receiver needs to send (addresses, credentials) is not here at all, only that it exists.

use std::collections::{BTreeMap, BTreeSet};

use narthex_model::regexp::RegexpError;
use narthex_model::{MatchOp, Matcher, Regexp};

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub route: Route,
    pub inhibit_rules: Vec<InhibitRule>,
    /// `time_intervals` and the older `mute_time_intervals`, in the order of the file.
    pub time_intervals: Vec<NamedTimeIntervals>,
    /// An alert posted without an end counts as resolved after this.
    pub resolve_timeout_ms: u64,
    /// How long the notification log and expired silences are kept (`--data.retention`).
    pub retention_ms: u64,
    /// How often resolved alerts are forgotten (`--alerts.gc-interval`).
    pub alerts_gc_interval_ms: u64,
    pub label_names: LabelNames,
}

impl Config {
    /// With Alertmanager's defaults for all but the route.
    pub fn new(route: Route) -> Config {
        Config {
            route,
            inhibit_rules: Vec::new(),
            time_intervals: Vec::new(),
            resolve_timeout_ms: 5 * 60_000,
            retention_ms: 120 * 3_600_000,
            alerts_gc_interval_ms: 30 * 60_000,
            label_names: LabelNames::Utf8,
        }
    }
}

/// Which label names are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelNames {
    /// Anything but the empty string.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*` (feature `classic-mode`).
    Classic,
}

/// A node of the route tree. What is `None` is inherited from the parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    pub receiver: Option<String>,
    /// As written; `...` stands for every label. `Some` of an empty list turns grouping off.
    pub group_by: Option<Vec<String>>,
    /// `matchers` together with the older `match` ([`Matcher::equal`]) and `match_re`
    /// ([`Route::match_re`]).
    pub matchers: Vec<Matcher>,
    /// Siblings below are tried too, though this route matched.
    pub continue_matching: bool,
    pub group_wait_ms: Option<u64>,
    pub group_interval_ms: Option<u64>,
    pub repeat_interval_ms: Option<u64>,
    pub mute_time_intervals: Vec<String>,
    pub active_time_intervals: Vec<String>,
    /// Text for notifications, merged with the parent's.
    pub labels: BTreeMap<String, String>,
    pub routes: Vec<Route>,
}

impl Route {
    /// The matcher that an entry of the older `match_re` stands for.
    pub fn match_re(name: &str, pattern: &str) -> Result<Matcher, RegexpError> {
        // Compiled as written first, so that an error shows what the user wrote.
        Regexp::anchored(pattern)?;
        Matcher::new(name, MatchOp::Regex, format!("^(?:{pattern})$"))
    }
}

/// Who gets notifications, as far as routing has to know. Made by whoever sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub name: String,
    pub integrations: Vec<Integration>,
}

/// One way in which a receiver is notified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// `webhook`, `email`, …
    pub kind: String,
    /// Tells this integration from the receiver's others, and stays the same when their order
    /// changes: the notification log is kept under it.
    pub identity: String,
    /// Another one says that anything about it has changed, so that what it couldn't send before is
    /// tried again soon.
    pub revision: u64,
    pub send_resolved: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct InhibitRule {
    pub name: Option<String>,
    pub source_matchers: Vec<Matcher>,
    pub target_matchers: Vec<Matcher>,
    /// Labels that must be the same on both sides.
    pub equal: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedTimeIntervals {
    pub name: String,
    pub intervals: Vec<TimeIntervalText>,
}

/// One element of `time_intervals`, every field as it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeIntervalText {
    pub times: Vec<TimeRangeText>,
    pub weekdays: Vec<String>,
    pub days_of_month: Vec<String>,
    pub months: Vec<String>,
    pub years: Vec<String>,
    /// A name of the time zone database; UTC if it is missing.
    pub location: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeRangeText {
    pub start_time: String,
    pub end_time: String,
}

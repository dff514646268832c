//! The configuration after checking: routes with everything inherited filled in, keys computed,
//! time intervals read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use narthex_model::labels::is_legacy_label_name;
use narthex_model::matcher::all_match;
use narthex_model::{Labels, Matcher, duration};

use crate::config::{Config, InhibitRule, LabelNames, Receiver, Route};
use crate::matchers;
use crate::time_interval::TimeInterval;

const GROUP_WAIT_MS: u64 = 30_000;
const GROUP_INTERVAL_MS: u64 = 5 * 60_000;
const REPEAT_INTERVAL_MS: u64 = 4 * 3_600_000;

/// What stands for every label in `group_by`.
const EVERY_LABEL: &str = "...";

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// The way to the field from the top of the file, as in `route.routes[2].receiver`.
    pub field: String,
    pub message: String,
}

/// A configuration that can be routed by.
#[derive(Clone, Debug)]
pub struct CheckedConfig {
    /// The root first, every parent before its children.
    pub(crate) routes: Vec<RouteNode>,
    pub(crate) receivers: BTreeMap<Arc<str>, Receiver>,
    pub(crate) inhibit_rules: Vec<InhibitRule>,
    pub(crate) time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    pub(crate) resolve_timeout_ms: u64,
    pub(crate) retention_ms: u64,
    pub(crate) alerts_gc_interval_ms: u64,
    pub(crate) label_names: LabelNames,
    warnings: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct RouteNode {
    /// The matchers from the root down: `{}/{a="b"}`.
    pub(crate) key: Arc<str>,
    /// The key, with a number where several routes have the same.
    pub(crate) id: Arc<str>,
    pub(crate) receiver: Arc<str>,
    pub(crate) group_by: GroupBy,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) continue_matching: bool,
    pub(crate) group_wait_ms: i64,
    pub(crate) group_interval_ms: i64,
    pub(crate) repeat_interval_ms: i64,
    pub(crate) mute_time_intervals: Vec<String>,
    pub(crate) active_time_intervals: Vec<String>,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    pub(crate) children: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupBy {
    EveryLabel,
    Labels(BTreeSet<String>),
}

impl GroupBy {
    /// The labels that make an alert's group.
    pub(crate) fn labels_of(&self, alert: &Labels) -> Labels {
        match self {
            GroupBy::EveryLabel => alert.clone(),
            GroupBy::Labels(names) => alert.filtered(|label| names.contains(&*label.name)),
        }
    }
}

impl CheckedConfig {
    /// Checks `config`; `receivers` are all that the file defines, used or not. `zone` finds a time
    /// zone by its name.
    pub fn new(
        config: &Config,
        receivers: Vec<Receiver>,
        zone: &dyn Fn(&str) -> Option<TimeZone>,
    ) -> Result<CheckedConfig, ConfigError> {
        let receivers = check_receivers(receivers)?;
        let time_intervals = check_time_intervals(config, zone)?;
        check_root(&config.route)?;
        let mut builder = TreeBuilder {
            config,
            receivers: &receivers,
            time_intervals: &time_intervals,
            routes: Vec::new(),
            keys: BTreeMap::new(),
            warnings: Vec::new(),
        };
        builder.add(&config.route, None, "route")?;
        let (routes, warnings) = (builder.routes, builder.warnings);
        Ok(CheckedConfig {
            routes,
            receivers,
            inhibit_rules: config.inhibit_rules.clone(),
            time_intervals,
            resolve_timeout_ms: config.resolve_timeout_ms,
            retention_ms: config.retention_ms,
            alerts_gc_interval_ms: config.alerts_gc_interval_ms,
            label_names: config.label_names,
            warnings,
        })
    }

    /// What works but is hardly meant.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The names of the receivers that alerts with these labels go to: `amtool config routes test`.
    pub fn receivers_of(&self, labels: &Labels) -> Vec<Arc<str>> {
        let routes = self.routes_of(labels);
        routes
            .into_iter()
            .filter_map(|route| Some(self.routes.get(route)?.receiver.clone()))
            .collect()
    }

    /// The indexes of the routes that an alert takes.
    pub(crate) fn routes_of(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, labels, &mut found);
        found
    }

    /// Whether the route or anything below it takes the alert.
    fn descend(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let Some(route) = self.routes.get(at) else {
            return false;
        };
        if !all_match(&route.matchers, labels) {
            return false;
        }
        let before = found.len();
        for &child in &route.children {
            let taken = self.descend(child, labels, found);
            let goes_on = self.routes.get(child).is_some_and(|c| c.continue_matching);
            if taken && !goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }
}

struct TreeBuilder<'a> {
    config: &'a Config,
    receivers: &'a BTreeMap<Arc<str>, Receiver>,
    time_intervals: &'a BTreeMap<String, Vec<TimeInterval>>,
    routes: Vec<RouteNode>,
    /// How many routes there are of each key.
    keys: BTreeMap<String, usize>,
    warnings: Vec<String>,
}

impl TreeBuilder<'_> {
    fn add(
        &mut self,
        route: &Route,
        parent: Option<usize>,
        field: &str,
    ) -> Result<usize, ConfigError> {
        let node = self.resolve(route, parent, field)?;
        self.warn_about(&node, field);
        let at = self.routes.len();
        self.routes.push(node);
        let mut children = Vec::with_capacity(route.routes.len());
        for (number, child) in route.routes.iter().enumerate() {
            let field = format!("{field}.routes[{number}]");
            children.push(self.add(child, Some(at), &field)?);
        }
        if let Some(node) = self.routes.get_mut(at) {
            node.children = children;
        }
        Ok(at)
    }

    /// The route with what it inherits, as yet without children.
    fn resolve(
        &mut self,
        route: &Route,
        parent: Option<usize>,
        field: &str,
    ) -> Result<RouteNode, ConfigError> {
        let key = self.key_of(route, parent);
        let id = self.id_of(&key);
        let receiver = self.check_receiver(route, field)?;
        let group_by = self.check_group_by(route, field)?;
        self.check_intervals(route, field)?;
        let parent = parent.and_then(|parent| self.routes.get(parent));
        let inherited = |of: fn(&RouteNode) -> i64, default: u64| parent.map_or(ms(default), of);
        let own = |value: Option<u64>, inherited: i64| value.map_or(inherited, ms);
        let mut labels = parent.map_or_else(BTreeMap::new, |parent| (*parent.labels).clone());
        labels.extend(route.labels.clone());
        Ok(RouteNode {
            key: key.into(),
            id: id.into(),
            receiver: receiver
                .or_else(|| parent.map(|parent| parent.receiver.clone()))
                .unwrap_or_default(),
            group_by: group_by
                .or_else(|| parent.map(|parent| parent.group_by.clone()))
                .unwrap_or(GroupBy::Labels(BTreeSet::new())),
            matchers: route.matchers.clone(),
            continue_matching: route.continue_matching,
            group_wait_ms: own(
                route.group_wait_ms,
                inherited(|r| r.group_wait_ms, GROUP_WAIT_MS),
            ),
            group_interval_ms: own(
                route.group_interval_ms,
                inherited(|r| r.group_interval_ms, GROUP_INTERVAL_MS),
            ),
            repeat_interval_ms: own(
                route.repeat_interval_ms,
                inherited(|r| r.repeat_interval_ms, REPEAT_INTERVAL_MS),
            ),
            mute_time_intervals: route.mute_time_intervals.clone(),
            active_time_intervals: route.active_time_intervals.clone(),
            labels: Arc::new(labels),
            children: Vec::new(),
        })
    }

    fn key_of(&self, route: &Route, parent: Option<usize>) -> String {
        let own = matchers::format_all(&route.matchers);
        match parent.and_then(|parent| self.routes.get(parent)) {
            Some(parent) => format!("{}/{own}", parent.key),
            None => own,
        }
    }

    fn id_of(&mut self, key: &str) -> String {
        let count = self.keys.entry(key.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => key.to_owned(),
            number => format!("{key}#{number}"),
        }
    }

    fn check_receiver(&self, route: &Route, field: &str) -> Result<Option<Arc<str>>, ConfigError> {
        let Some(name) = &route.receiver else {
            return Ok(None);
        };
        match self.receivers.get_key_value(name.as_str()) {
            Some((name, _)) => Ok(Some(name.clone())),
            None => Err(error(
                format!("{field}.receiver"),
                format!("undefined receiver {name:?} used in route"),
            )),
        }
    }

    fn check_group_by(&self, route: &Route, field: &str) -> Result<Option<GroupBy>, ConfigError> {
        let Some(written) = &route.group_by else {
            return Ok(None);
        };
        let wrong = |message| Err(error(format!("{field}.group_by"), message));
        let mut names = BTreeSet::new();
        for name in written {
            if !names.insert(name.clone()) {
                return wrong(format!("duplicated label {name:?} in group_by"));
            }
        }
        if names.remove(EVERY_LABEL) {
            if !names.is_empty() {
                let message = "cannot have wildcard group_by (`...`) and other labels at the \
                               same time";
                return wrong(message.to_owned());
            }
            return Ok(Some(GroupBy::EveryLabel));
        }
        let valid = |name: &str| match self.config.label_names {
            LabelNames::Utf8 => !name.is_empty(),
            LabelNames::Classic => is_legacy_label_name(name),
        };
        match names.iter().find(|name| !valid(name)) {
            Some(name) => wrong(format!("invalid label name {name:?} in group_by list")),
            None => Ok(Some(GroupBy::Labels(names))),
        }
    }

    fn check_intervals(&self, route: &Route, field: &str) -> Result<(), ConfigError> {
        for (name, value) in [
            ("group_interval", route.group_interval_ms),
            ("repeat_interval", route.repeat_interval_ms),
        ] {
            if value == Some(0) {
                return Err(error(
                    format!("{field}.{name}"),
                    format!("{name} cannot be zero"),
                ));
            }
        }
        for (list, names) in [
            ("mute_time_intervals", &route.mute_time_intervals),
            ("active_time_intervals", &route.active_time_intervals),
        ] {
            let undefined = names
                .iter()
                .enumerate()
                .find(|(_, name)| !self.time_intervals.contains_key(*name));
            if let Some((number, name)) = undefined {
                return Err(error(
                    format!("{field}.{list}[{number}]"),
                    format!("undefined time interval {name:?} used in route"),
                ));
            }
        }
        Ok(())
    }

    fn warn_about(&mut self, route: &RouteNode, field: &str) {
        let text = |ms: i64| duration::format_ms(u64::try_from(ms).unwrap_or(0));
        let repeat = text(route.repeat_interval_ms);
        if route.repeat_interval_ms > ms(self.config.retention_ms) {
            let retention = text(ms(self.config.retention_ms));
            self.warnings.push(format!(
                "{field}: repeat_interval {repeat} is longer than the data retention {retention}; \
                 notifications can repeat early"
            ));
        }
        if route.repeat_interval_ms < route.group_interval_ms {
            let group = text(route.group_interval_ms);
            self.warnings.push(format!(
                "{field}: repeat_interval {repeat} is shorter than group_interval {group}; \
                 notifications repeat every {group}"
            ));
        }
    }
}

fn check_receivers(receivers: Vec<Receiver>) -> Result<BTreeMap<Arc<str>, Receiver>, ConfigError> {
    let mut by_name = BTreeMap::new();
    for (number, receiver) in receivers.into_iter().enumerate() {
        let field = format!("receivers[{number}].name");
        let name = receiver.name.clone();
        if name.is_empty() {
            return Err(error(field, "missing name in receiver".to_owned()));
        }
        if by_name.insert(Arc::from(name.as_str()), receiver).is_some() {
            let message = format!("notification config name {name:?} is not unique");
            return Err(error(field, message));
        }
    }
    Ok(by_name)
}

fn check_time_intervals(
    config: &Config,
    zone: &dyn Fn(&str) -> Option<TimeZone>,
) -> Result<BTreeMap<String, Vec<TimeInterval>>, ConfigError> {
    let mut by_name = BTreeMap::new();
    for (number, named) in config.time_intervals.iter().enumerate() {
        let field = format!("time_intervals[{number}]");
        if named.name.is_empty() {
            let message = "missing name in time interval".to_owned();
            return Err(error(format!("{field}.name"), message));
        }
        let mut intervals = Vec::with_capacity(named.intervals.len());
        for (number, text) in named.intervals.iter().enumerate() {
            let interval = TimeInterval::read(text, zone).map_err(|e| {
                let field = format!("{field}.time_intervals[{number}].{}", e.field);
                error(field, e.message)
            })?;
            intervals.push(interval);
        }
        if by_name.insert(named.name.clone(), intervals).is_some() {
            let message = format!("mute time interval {:?} is not unique", named.name);
            return Err(error(format!("{field}.name"), message));
        }
    }
    Ok(by_name)
}

fn check_root(root: &Route) -> Result<(), ConfigError> {
    let checks = [
        (
            root.receiver.as_deref().unwrap_or_default().is_empty(),
            "receiver",
            "root route must specify a default receiver",
        ),
        (
            !root.matchers.is_empty(),
            "matchers",
            "root route must not have any matchers",
        ),
        (
            !root.mute_time_intervals.is_empty(),
            "mute_time_intervals",
            "root route must not have any mute time intervals",
        ),
        (
            !root.active_time_intervals.is_empty(),
            "active_time_intervals",
            "root route must not have any active time intervals",
        ),
        (
            root.continue_matching,
            "continue",
            "cannot have continue in root route",
        ),
    ];
    match checks.iter().find(|(wrong, ..)| *wrong) {
        Some((_, field, message)) => Err(error(format!("route.{field}"), (*message).to_owned())),
        None => Ok(()),
    }
}

fn error(field: String, message: String) -> ConfigError {
    ConfigError { field, message }
}

/// Times are signed everywhere else; a duration too long for that never comes anyway.
fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

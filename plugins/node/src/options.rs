//! What stands under `config:` of the exporter's entry: node_exporter's flags, by their names.
//!
//! Dots may be nesting: `collector.netdev.device-exclude: x` and
//! `collector: { netdev: { device-exclude: x } }` are the same. A flag's `no-` form sets it to
//! false. Whoever makes use of an option asks for it by name and type; keeps true: an option that
//! nobody has asked for is an error, so a misspelt one is never ignored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use narthex_plugin_sdk::{ConfigError, Duration};
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::spelling;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Config(Map<String, Value>);

#[derive(Debug)]
pub(crate) struct Options {
    given: BTreeMap<String, Value>,
    asked_for: RefCell<BTreeSet<String>>,
}

/// What node_exporter has and we don't, with what to do about it.
const REFUSED: [(&str, &str); 28] = [
    ("collector.drm", "nobody has written it yet"),
    ("collector.mountstats", "nobody has written it yet"),
    ("collector.nvmesubsystem", "nobody has written it yet"),
    ("collector.pcidevice", "nobody has written it yet"),
    (
        "collector.ethtool",
        "it needs ioctl(2), which no plugin can call",
    ),
    (
        "collector.logind",
        "it needs D-Bus, which no plugin can reach",
    ),
    (
        "collector.network_route",
        "it needs netlink, which no plugin can reach",
    ),
    (
        "collector.ntp",
        "it needs UDP, which no plugin can send; see the collector timex",
    ),
    (
        "collector.perf",
        "it needs perf_event_open(2), which no plugin can call",
    ),
    (
        "collector.qdisc",
        "it needs netlink, which no plugin can reach",
    ),
    ("collector.runit", "upstream is about to remove it"),
    ("collector.supervisord", "upstream is about to remove it"),
    (
        "collector.systemd",
        "it needs D-Bus, which no plugin can reach",
    ),
    (
        "collector.wifi",
        "it needs netlink, which no plugin can reach",
    ),
    (
        "collector.netclass.netlink",
        "interfaces are read from /sys/class/net",
    ),
    (
        "collector.netclass_rtnl.with-stats",
        "interfaces are read from /sys/class/net",
    ),
    (
        "collector.netdev.address-info",
        "it needs netlink, which no plugin can reach",
    ),
    (
        "collector.netdev.device-whitelist",
        "use collector.netdev.device-include",
    ),
    (
        "collector.netdev.device-blacklist",
        "use collector.netdev.device-exclude",
    ),
    (
        "collector.diskstats.ignored-devices",
        "use collector.diskstats.device-exclude",
    ),
    (
        "collector.filesystem.ignored-mount-points",
        "use collector.filesystem.mount-points-exclude",
    ),
    (
        "collector.filesystem.ignored-fs-types",
        "use collector.filesystem.fs-types-exclude",
    ),
    ("web.listen-address", "the agent serves the metrics"),
    ("web.telemetry-path", "the agent serves the metrics"),
    ("web.max-requests", "the agent serves the metrics"),
    ("web.config.file", "the agent serves the metrics"),
    ("web.disable-exporter-metrics", "the agent has its own"),
    ("runtime.gomaxprocs", "a plugin has one thread"),
];

impl Options {
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        let mut given = BTreeMap::new();
        flatten("", config.0, &mut given)?;
        for (name, reason) in REFUSED {
            let below = format!("{name}.");
            let wanted = |(given, value): (&String, &Value)| {
                given == name && *value != Value::Bool(false) || given.starts_with(&below)
            };
            if given.iter().any(wanted) {
                return Err(ConfigError::new(name, format!("not available: {reason}")));
            }
            given.remove(name);
        }
        Ok(Options {
            given,
            asked_for: RefCell::default(),
        })
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    /// A flag that may be repeated: a list, or a string for a list of one.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let list = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        list.iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(name, "a list of strings", other)),
            })
            .collect()
    }

    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match Duration::deserialize(value) {
            Ok(duration) => Ok(Some(duration)),
            Err(error) => Err(ConfigError::new(name, error)),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, "a number", value)),
            },
        }
    }

    /// A regular expression that is searched for anywhere in a text.
    pub(crate) fn pattern(&self, name: &str) -> Result<Option<Regex>, ConfigError> {
        self.text(name)?
            .map(|pattern| compile(name, pattern))
            .transpose()
    }

    /// Says what of the configuration nobody has asked for.
    pub(crate) fn finish(&self) -> Result<(), ConfigError> {
        let asked_for = self.asked_for.borrow();
        let Some(unknown) = self.given.keys().find(|name| !asked_for.contains(*name)) else {
            return Ok(());
        };
        let message = match spelling::nearest(unknown, asked_for.iter()) {
            Some(near) => format!("there is no such option; did you mean {near}?"),
            None => "there is no such option".to_owned(),
        };
        Err(ConfigError::new(unknown, message))
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> Vec<String> {
        self.asked_for.borrow().iter().cloned().collect()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.asked_for.borrow_mut().insert(name.to_owned());
        self.given.get(name)
    }
}

pub(crate) fn compile(name: &str, pattern: &str) -> Result<Regex, ConfigError> {
    Regex::new(pattern).map_err(|error| {
        ConfigError::new(
            name,
            format!("invalid regular expression {pattern:?}: {error}"),
        )
    })
}

fn flatten(
    prefix: &str,
    map: Map<String, Value>,
    out: &mut BTreeMap<String, Value>,
) -> Result<(), ConfigError> {
    for (key, value) in map {
        let (name, value) = positive(format!("{prefix}{key}"), value);
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, out)?,
            Value::Null => {}
            value => {
                if out.insert(name.clone(), value).is_some() {
                    return Err(ConfigError::new(name, "it is given twice"));
                }
            }
        }
    }
    Ok(())
}

/// `no-collector.arp: true` is `collector.arp: false`.
fn positive(name: String, value: Value) -> (String, Value) {
    match (name.strip_prefix("no-"), &value) {
        (Some(positive), Value::Bool(flag)) => (positive.to_owned(), Value::Bool(!flag)),
        _ => (name, value),
    }
}

fn wrong(name: &str, expected: &str, found: &Value) -> ConfigError {
    ConfigError::new(name, format!("expected {expected}, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> Result<Options, ConfigError> {
        Options::new(narthex_plugin_sdk::config::parse(json)?)
    }

    #[test]
    fn flags_may_be_nested_and_negated() {
        let options = options(
            r#"{
                "collector.netdev.device-exclude": "^veth",
                "collector": {"cpu": {"info": true}, "textfile": {"directory": "/a"}},
                "no-collector.arp": true,
                "collector.filesystem.mount-timeout": "2s",
                "path.rootfs": null
            }"#,
        )
        .unwrap();
        let regex = options.pattern("collector.netdev.device-exclude").unwrap();
        assert!(regex.unwrap().is_match("veth0"));
        assert!(options.flag("collector.cpu.info", false).unwrap());
        assert!(!options.flag("collector.arp", true).unwrap());
        assert_eq!(
            options.texts("collector.textfile.directory").unwrap(),
            ["/a"]
        );
        let timeout = options
            .duration("collector.filesystem.mount-timeout")
            .unwrap();
        assert_eq!(timeout.unwrap().ms, 2000);
        assert_eq!(options.text("path.rootfs").unwrap(), None);
        options.finish().unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (json, expected) in [
            (
                r#"{"collector.netdev.device-exlude": "x"}"#,
                "collector.netdev.device-exlude: there is no such option; did you mean \
                 collector.netdev.device-exclude?",
            ),
            (
                r#"{"netdev": {"device_exclude": "x"}}"#,
                "netdev.device_exclude: there is no such option; did you mean \
                 collector.netdev.device-exclude?",
            ),
            (r#"{"gpu": 1}"#, "gpu: there is no such option"),
            (
                r#"{"collector.netdev.device-exclude": "("}"#,
                "collector.netdev.device-exclude: invalid regular expression \"(\"",
            ),
            (
                r#"{"collector.arp": "no"}"#,
                "collector.arp: expected true or false, not \"no\"",
            ),
            (
                r#"{"collector.systemd": true}"#,
                "collector.systemd: not available: it needs D-Bus, which no plugin can reach",
            ),
            (r#"{"collector.systemd": false}"#, ""),
            (
                r#"{"collector.arp": true, "collector": {"arp": true}}"#,
                "collector.arp: it is given twice",
            ),
            (
                r#"{"collector.textfile.directory": [1]}"#,
                "collector.textfile.directory: expected a list of strings, not 1",
            ),
        ] {
            let checked = options(json).and_then(|options| {
                options.flag("collector.arp", true)?;
                options.pattern("collector.netdev.device-exclude")?;
                options.texts("collector.textfile.directory")?;
                options.finish()
            });
            let error = checked.err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.starts_with(expected), "{json}: {error}");
            assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
        }
    }
}

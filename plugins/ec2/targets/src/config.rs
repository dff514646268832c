//! An entry of `ec2_sd_configs`, without the fields of `http_config`.

use std::fmt;

use narthex_plugin_sdk::{ConfigError, Duration};
use serde::Deserialize;

/// As it is written. An empty text is the same as none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    endpoint: Option<String>,
    region: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    profile: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    port: u16,
    filters: Option<Vec<Filter>>,
    refresh_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            endpoint: None,
            region: None,
            access_key: None,
            secret_key: None,
            profile: None,
            role_arn: None,
            external_id: None,
            port: 80,
            filters: None,
            refresh_interval: Duration { ms: 60_000 },
        }
    }
}

/// Which instances: those whose property `name` has one of the values.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

/// A configuration that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The URL of the EC2 API; else Amazon's for the region.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub keys: Option<Keys>,
    /// Of the files that AWS's tools share.
    pub profile: Option<String>,
    pub role: Option<Role>,
    pub port: u16,
    pub filters: Vec<Filter>,
    pub refresh_interval_ms: u64,
}

/// An access key as it stands in the configuration. Its secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.access_key)
    }
}

/// What to act as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub arn: String,
    pub external_id: Option<String>,
}

impl Config {
    pub fn check(self) -> Result<Settings, ConfigError> {
        let endpoint = given(self.endpoint);
        if let Some(url) = &endpoint {
            check_endpoint(url).map_err(|error| ConfigError::new("endpoint", error))?;
        }
        if self.refresh_interval.ms == 0 {
            return Err(ConfigError::new("refresh_interval", "must be more than 0"));
        }
        let filters = self.filters.unwrap_or_default();
        for (at, filter) in filters.iter().enumerate() {
            check_filter(filter).map_err(|(field, error)| {
                ConfigError::new(format!("filters[{at}].{field}"), error)
            })?;
        }
        // Prometheus takes one key without the other for none, too.
        let keys = match (given(self.access_key), given(self.secret_key)) {
            (Some(access_key), Some(secret_key)) => Some(Keys {
                access_key,
                secret_key,
            }),
            _ => None,
        };
        let external_id = given(self.external_id);
        Ok(Settings {
            endpoint,
            region: given(self.region),
            keys,
            profile: given(self.profile),
            role: given(self.role_arn).map(|arn| Role { arn, external_id }),
            port: self.port,
            filters,
            refresh_interval_ms: self.refresh_interval.ms,
        })
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn check_filter(filter: &Filter) -> Result<(), (&'static str, &'static str)> {
    if filter.name.is_empty() {
        return Err(("name", "expected the name of a filter, as tag:Environment"));
    }
    match filter.values.is_empty() {
        true => Err(("values", "a filter's values cannot be empty")),
        false => Ok(()),
    }
}

fn check_endpoint(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !["http", "https"].contains(&scheme) {
        return Err(format!("{url:?} does not begin with http:// or https://"));
    }
    match rest.split(['/', '?', '#']).next() {
        None | Some("") => Err(format!("{url:?} has no host")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::config::parse;

    use super::*;

    fn read(json: &str) -> Result<Settings, ConfigError> {
        parse::<Config>(json)?.check()
    }

    #[test]
    fn what_is_left_out_is_prometheus_s_default() {
        let expected = Settings {
            endpoint: None,
            region: None,
            keys: None,
            profile: None,
            role: None,
            port: 80,
            filters: Vec::new(),
            refresh_interval_ms: 60_000,
        };
        assert_eq!(read("{}").unwrap(), expected);
        let empty = r#"{"endpoint": "", "region": null, "access_key": "", "secret_key": null,
            "profile": "", "role_arn": "", "external_id": "", "filters": null}"#;
        assert_eq!(read(empty).unwrap(), expected);
    }

    #[test]
    fn every_field_is_taken() {
        let json = r#"{"endpoint": "http://localhost:5000", "region": "eu-west-1",
            "access_key": "AK", "secret_key": "hidden", "profile": "p", "role_arn": "arn:x",
            "external_id": "e", "port": 9100, "refresh_interval": "1m30s",
            "filters": [{"name": "tag:A", "values": ["b", "c"]}]}"#;
        let settings = read(json).unwrap();
        let expected = Settings {
            endpoint: Some("http://localhost:5000".to_owned()),
            region: Some("eu-west-1".to_owned()),
            keys: Some(Keys {
                access_key: "AK".to_owned(),
                secret_key: "hidden".to_owned(),
            }),
            profile: Some("p".to_owned()),
            role: Some(Role {
                arn: "arn:x".to_owned(),
                external_id: Some("e".to_owned()),
            }),
            port: 9100,
            filters: vec![Filter {
                name: "tag:A".to_owned(),
                values: vec!["b".to_owned(), "c".to_owned()],
            }],
            refresh_interval_ms: 90_000,
        };
        assert_eq!(settings, expected);
        assert!(!format!("{settings:?}").contains("hidden"));
    }

    #[test]
    fn one_key_alone_is_none() {
        for json in [r#"{"access_key": "a"}"#, r#"{"secret_key": "a"}"#] {
            assert_eq!(read(json).unwrap().keys, None, "{json}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (json, expected) in [
            (
                r#"{"filters": [{"name": "a", "values": ["b"]}, {"name": "c"}]}"#,
                "filters[1].values: a filter's values cannot be empty",
            ),
            (
                r#"{"filters": [{"values": ["b"]}]}"#,
                "filters[0].name: expected the name of a filter, as tag:Environment",
            ),
            (
                r#"{"filters": [{"name": "a", "values": [1]}]}"#,
                "filters[0].values[0]: invalid type: integer `1`, expected a string",
            ),
            (
                r#"{"port": 65536}"#,
                "port: invalid value: integer `65536`, expected u16",
            ),
            (
                r#"{"refresh_interval": "0s"}"#,
                "refresh_interval: must be more than 0",
            ),
            (
                r#"{"endpoint": "ec2.local"}"#,
                "endpoint: \"ec2.local\" does not begin with http:// or https://",
            ),
            (
                r#"{"endpoint": "http:///x"}"#,
                "endpoint: \"http:///x\" has no host",
            ),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), expected, "{json}");
        }
        let error = read(r#"{"regoin": "a"}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("regoin: unknown field `regoin`"),
            "{error}"
        );
    }
}

//! Typed configuration: JSON to the plugin's own type, with errors that name the field.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::ConfigError;

/// The configuration of a plugin that has nothing to configure.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a configuration. Give the type `#[serde(deny_unknown_fields)]`, so that a misspelt field
/// is an error and not silence.
pub fn parse<C: DeserializeOwned>(json: &str) -> Result<C, ConfigError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // The place in the JSON says nothing to someone who wrote YAML.
        let text = error.inner().to_string();
        let message = match text.rfind(" at line ") {
            Some(at) => &text[..at],
            None => &text,
        };
        match path.as_str() {
            "." => ConfigError::new("", message),
            path => ConfigError::new(path, message),
        }
    })
}

/// A configuration in which the fields of Prometheus's `http_config` (`basic_auth`, `tls_config`, …)
/// stand beside the plugin's own, as in most discoveries: `type Config = WithHttp<Own>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WithHttp<C> {
    pub own: C,
    /// What [`crate::http::Client::with_options`] takes.
    pub http: Map<String, Value>,
}

const HTTP_FIELDS: [&str; 13] = [
    "authorization",
    "basic_auth",
    "bearer_token",
    "bearer_token_file",
    "enable_http2",
    "follow_redirects",
    "http_headers",
    "no_proxy",
    "oauth2",
    "proxy_connect_header",
    "proxy_from_environment",
    "proxy_url",
    "tls_config",
];

impl<'de, C: Deserialize<'de>> Deserialize<'de> for WithHttp<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WithHttpVisitor(PhantomData))
    }
}

struct WithHttpVisitor<C>(PhantomData<C>);

impl<'de, C: Deserialize<'de>> Visitor<'de> for WithHttpVisitor<C> {
    type Value = WithHttp<C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut http = Map::new();
        let own = C::deserialize(MapAccessDeserializer::new(WithoutHttp {
            map,
            http: &mut http,
        }))?;
        Ok(WithHttp { own, http })
    }
}

/// The fields of a mapping that are not `http_config`'s; those are set aside.
struct WithoutHttp<'a, A> {
    map: A,
    http: &'a mut Map<String, Value>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutHttp<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        while let Some(key) = self.map.next_key_seed(Key(&mut seed))? {
            match key {
                Field::Own(key) => return Ok(Some(key)),
                Field::Http(name) => {
                    let value = self.map.next_value()?;
                    self.http.insert(name, value);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

enum Field<K> {
    Own(K),
    Http(String),
}

/// Reads a key, and hands it on unless it is one of `http_config`. It does so while the key is being
/// read, as an error about it is then told with its path.
struct Key<'a, K>(&'a mut Option<K>);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = Field<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let name = String::deserialize(deserializer)?;
        match self.0.take_if(|_| !HTTP_FIELDS.contains(&name.as_str())) {
            Some(seed) => seed.deserialize(name.into_deserializer()).map(Field::Own),
            None => Ok(Field::Http(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        port: u16,
    }

    #[test]
    fn errors_name_the_field() {
        for (json, expected) in [
            (
                r#"{"list":[{"port":1},{"port":"x"}]}"#,
                "list[1].port: invalid type: string \"x\", expected u16",
            ),
            (
                r#"{"list":[{"prot":1}]}"#,
                "list[0].prot: unknown field `prot`, expected `port`",
            ),
            ("{}", "missing field `list`"),
            ("7", "invalid type: integer `7`, expected struct Sample"),
        ] {
            let error = parse::<Sample>(json).unwrap_err().to_string();
            assert_eq!(error, expected, "{json}");
        }
        let error = parse::<NoConfig>(r#"{"a":1}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `a`"), "{error}");
    }

    #[test]
    fn http_options_are_set_aside() {
        let read = parse::<WithHttp<Sample>>(
            r#"{"basic_auth": {"username": "a"}, "list": [{"port": 1}], "proxy_url": "x"}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.own.list.len(), 1);
        let names: Vec<&str> = read.http.keys().map(String::as_str).collect();
        assert_eq!(names, ["basic_auth", "proxy_url"]);
        for (json, expected) in [
            (
                r#"{"proxy_url": "x", "list": [{"port": 1}, {"port": -1}]}"#,
                "list[1].port: invalid value: integer `-1`, expected u16",
            ),
            (
                r#"{"proxy_ur": "x", "list": []}"#,
                "proxy_ur: unknown field `proxy_ur`, expected `list`",
            ),
            (r#"{"proxy_url": "x"}"#, "missing field `list`"),
        ] {
            let error = parse::<WithHttp<Sample>>(json).unwrap_err().to_string();
            assert_eq!(error, expected, "{json}");
        }
    }
}

//! Typed configuration: JSON to the plugin's own type, with errors that name the field.

use serde::Deserialize;
use serde::de::DeserializeOwned;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read")]
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
}

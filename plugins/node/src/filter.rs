//! Which devices, mount points or fields are taken: by an expression for those to take, or one for
//! those to leave out.

use narthex_plugin_sdk::ConfigError;
use regex_lite::Regex;

#[derive(Debug)]
pub(crate) enum Filter {
    All,
    Only(Regex),
    AllBut(Regex),
}

impl Filter {
    /// Naming what to take sets the default of what to leave out aside.
    pub(crate) fn new(
        section: &str,
        what: &str,
        include: Option<&str>,
        exclude: Option<&str>,
        default_exclude: Option<&str>,
    ) -> Result<Filter, ConfigError> {
        let field = |side: &str| format!("{section}.{what}_{side}");
        match (include, exclude) {
            (Some(_), Some(_)) => Err(ConfigError::new(
                field("include"),
                format!("give either {what}_include or {what}_exclude"),
            )),
            (Some(include), None) => Ok(Filter::Only(regex(&field("include"), include)?)),
            (None, Some(exclude)) => Ok(Filter::AllBut(regex(&field("exclude"), exclude)?)),
            (None, None) => match default_exclude {
                Some(exclude) => Ok(Filter::AllBut(regex(&field("exclude"), exclude)?)),
                None => Ok(Filter::All),
            },
        }
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        match self {
            Filter::All => true,
            Filter::Only(regex) => regex.is_match(name),
            Filter::AllBut(regex) => !regex.is_match(name),
        }
    }
}

pub(crate) fn regex(field: &str, pattern: &str) -> Result<Regex, ConfigError> {
    Regex::new(pattern).map_err(|error| {
        ConfigError::new(
            field,
            format!("invalid regular expression {pattern:?}: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn include_sets_the_default_aside() {
        let filter = |include, exclude| Filter::new("s", "device", include, exclude, Some("^lo$"));
        for (include, exclude, lo, eth0) in [
            (None, None, false, true),
            (Some("lo"), None, true, false),
            (None, Some("eth"), true, false),
        ] {
            let filter = filter(include, exclude).unwrap();
            assert_eq!((filter.takes("lo"), filter.takes("eth0")), (lo, eth0));
        }
        let error = filter(Some("a"), Some("b")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "s.device_include: give either device_include or device_exclude"
        );
        let error = filter(Some("("), None).unwrap_err().to_string();
        assert!(
            error.starts_with("s.device_include: invalid regular expression \"(\""),
            "{error}"
        );
    }
}

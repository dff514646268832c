//! Which devices, mount points or fields are taken: by an expression for those to take, or one for
//! those to leave out.

use std::cell::RefCell;
use std::collections::HashMap;

use narthex_plugin_sdk::ConfigError;
use regex_lite::Regex;

use crate::options::{Options, compile};

/// Names come back with every collection, and searching is slow: what was decided is remembered,
/// of so many names at most.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(crate) struct Filter {
    rule: Rule,
    decided: RefCell<HashMap<String, bool>>,
}

#[derive(Debug)]
enum Rule {
    All,
    Only(Regex),
    AllBut(Regex),
}

impl Filter {
    /// The options `<what>-include` and `<what>-exclude`. Naming what to take sets the default of
    /// what to leave out aside.
    pub(crate) fn new(
        options: &Options,
        what: &str,
        default_exclude: Option<&str>,
    ) -> Result<Filter, ConfigError> {
        let names = [format!("{what}-include"), format!("{what}-exclude")];
        let [include, exclude] = [options.text(&names[0])?, options.text(&names[1])?];
        let given = |text: &Option<&str>| text.is_some_and(|text| !text.is_empty());
        if given(&include) && given(&exclude) {
            let message = format!("give either {} or {}", names[0], names[1]);
            return Err(ConfigError::new(&names[0], message));
        }
        let rule = match (include, exclude) {
            (Some(include), _) if !include.is_empty() => Rule::Only(compile(&names[0], include)?),
            (_, Some(exclude)) => Filter::all_but(&names[1], exclude)?,
            (_, None) => Filter::all_but(&names[1], default_exclude.unwrap_or_default())?,
        };
        Ok(Filter::of(rule))
    }

    /// One option that says what to take.
    pub(crate) fn only(
        options: &Options,
        name: &str,
        default: &str,
    ) -> Result<Filter, ConfigError> {
        let pattern = options.text(name)?.unwrap_or(default);
        Ok(Filter::of(Rule::Only(compile(name, pattern)?)))
    }

    /// One option that says what to leave out; nothing, where it is not given.
    pub(crate) fn ignoring(options: &Options, name: &str) -> Result<Filter, ConfigError> {
        Ok(Filter::of(match options.pattern(name)? {
            Some(regex) => Rule::AllBut(regex),
            None => Rule::All,
        }))
    }

    fn all_but(name: &str, pattern: &str) -> Result<Rule, ConfigError> {
        match pattern {
            "" => Ok(Rule::All),
            pattern => Ok(Rule::AllBut(compile(name, pattern)?)),
        }
    }

    fn of(rule: Rule) -> Filter {
        Filter {
            rule,
            decided: RefCell::default(),
        }
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        let (regex, wanted) = match &self.rule {
            Rule::All => return true,
            Rule::Only(regex) => (regex, true),
            Rule::AllBut(regex) => (regex, false),
        };
        let mut decided = self.decided.borrow_mut();
        if let Some(taken) = decided.get(name) {
            return *taken;
        }
        let taken = regex.is_match(name) == wanted;
        if decided.len() >= REMEMBERED {
            decided.clear();
        }
        decided.insert(name.to_owned(), taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str) -> Result<Filter, ConfigError> {
        let options = Options::new(narthex_plugin_sdk::config::parse(json)?)?;
        Filter::new(&options, "device", Some("^lo$"))
    }

    #[test]
    fn include_sets_the_default_aside() {
        for (json, lo, eth0) in [
            ("{}", false, true),
            (r#"{"device-include": "lo"}"#, true, false),
            (r#"{"device-exclude": "eth"}"#, true, false),
            (r#"{"device-exclude": ""}"#, true, true),
        ] {
            let filter = filter(json).unwrap();
            // Twice, as the answer is remembered.
            for _ in 0..2 {
                assert_eq!(
                    (filter.takes("lo"), filter.takes("eth0")),
                    (lo, eth0),
                    "{json}"
                );
            }
        }
        let error = filter(r#"{"device-include": "a", "device-exclude": "b"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "device-include: give either device-include or device-exclude"
        );
        let error = filter(r#"{"device-include": "("}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("device-include: invalid regular expression \"(\""),
            "{error}"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let filter = filter("{}").unwrap();
        for number in 0..3 * REMEMBERED {
            assert!(filter.takes(&format!("veth{number}")));
        }
        assert!(filter.decided.borrow().len() <= REMEMBERED);
    }
}

//! `--name value` pairs of the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

pub(crate) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = BTreeMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                bail!("{word:?} is no option; options are --name value");
            };
            let value = words
                .next()
                .with_context(|| format!("--{name} lacks its value"))?;
            pairs.insert(name.to_owned(), value);
        }
        Ok(Arguments(pairs))
    }

    /// The value of an option, or what it is without it.
    pub(crate) fn number<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T> {
        match self.0.get(name) {
            Some(text) => match text.parse() {
                Ok(value) => Ok(value),
                Err(_) => bail!("--{name} {text:?} is no number in range"),
            },
            None => Ok(otherwise),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self
            .text(name)
            .with_context(|| format!("--{name} is needed"))?;
        std::path::absolute(path).with_context(|| format!("--{name} {path:?}"))
    }
}

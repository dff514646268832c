//! Go's text/template, as alert annotations and notifications use it.
//!
//! A [`TemplateSet`] holds parsed templates that may call each other; [`TemplateSet::execute`] runs
//! one of them on a [`Value`], with the [`Functions`] that the caller gives. What annotations may
//! call is in [`prometheus_functions`], what notifications may call in [`alertmanager_functions`].
//!
//! Keeps true: a template sees nothing but its data and functions; a run is bounded in output,
//! nesting and steps; messages have Go's form, with name, line and column. A missing key of a map
//! gives the zero value of the map's elements (`missingkey=zero`). Knows no clock, and no files but
//! the system's time zones.
//!
//! Not taken over from Go: complex numbers, `%#v`, hexadecimal floats, values that are functions;
//! all whole numbers are of type `int`.

pub mod alertmanager_functions;
mod ast;
mod builtins;
mod escape;
mod exec;
mod functions;
mod humanize;
mod layout;
mod lexer;
mod literal;
mod parser;
mod printf;
pub mod prometheus_functions;
mod time;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use functions::{Call, Function, Functions, Param};
pub use time::Time;
pub use value::{List, Map, Methods, Struct, Value};

/// The longest text that a template may give.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// What is wrong, in Go's words: `template: name:line:column: executing …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The source is no template: known before any data is.
    #[error("{0}")]
    Parse(String),
    /// It failed on this data.
    #[error("{0}")]
    Execute(String),
}

/// Templates by name. Cheap to clone; adding to a clone leaves the original as it is.
#[derive(Clone, Default)]
pub struct TemplateSet {
    definitions: BTreeMap<Arc<str>, Arc<Definition>>,
}

impl TemplateSet {
    /// Parses a source and adds it under `name`, with all that it defines. What the set has under
    /// the same names is replaced, unless the new one is blank. `is_function` knows the functions
    /// besides the built-in ones. On an error the set is as before.
    pub fn parse(
        &mut self,
        name: &str,
        text: &str,
        is_function: &dyn Fn(&str) -> bool,
    ) -> Result<(), TemplateError> {
        let known = |name: &str| is_function(name) || builtins::is_builtin(name);
        let parsed = parser::parse(name, text, &known)?;
        let source = Arc::new(Source {
            name: name.into(),
            text: text.into(),
        });
        for (name, root) in parsed {
            if parser::is_blank(&root) && self.definitions.contains_key(&name) {
                continue;
            }
            let definition = Definition {
                name: name.clone(),
                source: source.clone(),
                root,
            };
            self.definitions.insert(name, Arc::new(definition));
        }
        Ok(())
    }

    /// Runs the template of that name.
    pub fn execute(
        &self,
        name: &str,
        data: &Value,
        functions: &Functions<'_>,
    ) -> Result<String, TemplateError> {
        match self.get(name) {
            Some(template) => exec::execute(self, template, data, functions),
            None => Err(TemplateError::Execute(format!(
                "template: no template {} in the set",
                narthex_model::labels::quoted(name)
            ))),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.definitions.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(|name| &**name)
    }

    fn get(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name).map(|definition| &**definition)
    }
}

impl std::fmt::Debug for TemplateSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

struct Definition {
    name: Arc<str>,
    source: Arc<Source>,
    root: ast::NodeList,
}

struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    /// `name:line:column`, the column in bytes from 0.
    fn place(&self, position: usize) -> String {
        let before = &self.text.as_bytes()[..position.min(self.text.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        format!("{}:{line}:{}", self.name, before.len() - line_start)
    }
}

#[cfg(test)]
mod tests;

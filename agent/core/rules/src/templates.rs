//! The templates of an alerting rule's labels and annotations: parsed once, expanded for each
//! series.

use std::collections::BTreeMap;

use narthex_model::{Labels, SampleValue};
use narthex_template::prometheus_functions::{DEFINITIONS, alert_data, is_function};
use narthex_template::{Functions, TemplateError, TemplateSet, Value};

/// What is left of a template that fails stands in its place.
const FAILURE: &str = "error expanding template";

/// Named texts, in the order of their names.
#[derive(Debug)]
pub(crate) struct Texts {
    texts: Vec<(String, Text)>,
}

#[derive(Debug)]
enum Text {
    Plain(String),
    Template(TemplateSet),
    /// Not parsed: what to show instead.
    Broken(String),
}

/// What a template sees of one series.
pub(crate) struct Seen<'a> {
    pub(crate) data: &'a Value,
    pub(crate) functions: &'a Functions<'a>,
}

impl Texts {
    pub(crate) fn parse(alert: &str, texts: &BTreeMap<String, String>) -> Texts {
        let parsed = texts
            .iter()
            .map(|(key, text)| (key.clone(), parse_text(alert, text)));
        Texts {
            texts: parsed.collect(),
        }
    }

    /// The expanded texts; what failed is a text that says so, as it must not keep an alert from
    /// being sent.
    pub(crate) fn expand<'a>(
        &'a self,
        alert: &'a str,
        seen: &'a Seen<'a>,
    ) -> impl Iterator<Item = (&'a str, String)> {
        self.texts
            .iter()
            .map(move |(key, text)| (key.as_str(), text.expand(alert, seen)))
    }
}

impl Text {
    fn expand(&self, alert: &str, seen: &Seen<'_>) -> String {
        let set = match self {
            Text::Plain(text) | Text::Broken(text) => return text.clone(),
            Text::Template(set) => set,
        };
        let name = template_name(alert);
        match set.execute(&name, seen.data, seen.functions) {
            Ok(text) => text,
            Err(error) => format!("<{FAILURE}: error executing template {name}: {error}>"),
        }
    }
}

/// Whether a label's or annotation's template parses, in the words of the template engine.
pub(crate) fn check(alert: &str, text: &str) -> Result<(), TemplateError> {
    parse_template(alert, text).map(|_| ())
}

/// The data of a series' templates.
pub(crate) fn data(
    labels: &Labels,
    value: &SampleValue,
    external_labels: &Labels,
    external_url: &str,
) -> Value {
    let value = match value {
        SampleValue::Float(value) => Value::Float(*value),
        SampleValue::Histogram(histogram) => Value::string(histogram.to_string()),
    };
    alert_data(labels, external_labels, external_url, value)
}

fn template_name(alert: &str) -> String {
    format!("__alert_{alert}")
}

fn parse_text(alert: &str, text: &str) -> Text {
    if !text.contains("{{") {
        return Text::Plain(text.to_owned());
    }
    match parse_template(alert, text) {
        Ok(set) => Text::Template(set),
        Err(error) => {
            let name = template_name(alert);
            Text::Broken(format!(
                "<{FAILURE}: error parsing template {name}: {error}>"
            ))
        }
    }
}

fn parse_template(alert: &str, text: &str) -> Result<TemplateSet, TemplateError> {
    let mut set = TemplateSet::default();
    let source = format!("{DEFINITIONS}{text}");
    set.parse(&template_name(alert), &source, &is_function)?;
    Ok(set)
}

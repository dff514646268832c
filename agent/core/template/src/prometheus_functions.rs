//! What the templates of alert labels and annotations may use: Prometheus's functions and data.
//!
//! A source gets [`DEFINITIONS`] put before it, which is where `$labels`, `$value`,
//! `$externalLabels` and `$externalURL` come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::{Labels, duration};

use crate::escape::url_query;
use crate::functions::{Functions, Param, text, value};
use crate::humanize as readable;
use crate::value::Value;

/// Where the variables of alert templates come from; to be put before a template's text.
pub const DEFINITIONS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                               {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// How a template queries.
pub trait TemplateQuery {
    /// Evaluates at the time of the expansion.
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct QuerySample {
    pub labels: Labels,
    pub value: f64,
}

/// What the functions need to know of their surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The only clock a template has.
    pub now_ms: i64,
    pub external_url: &'a str,
    pub query: &'a dyn TemplateQuery,
}

/// Whether an alert template may call a function of that name, besides the built-in ones.
pub fn is_function(name: &str) -> bool {
    FUNCTION_NAMES.contains(&name)
}

/// The data of an alert's template: the labels of the series, and its value.
pub fn alert_data(
    labels: &Labels,
    external_labels: &Labels,
    external_url: &str,
    value: Value,
) -> Value {
    const TYPE: &str = "struct { Labels map[string]string; ExternalLabels map[string]string; \
                        ExternalURL string; Value interface {} }";
    let fields = vec![
        ("Labels", Value::labels(labels)),
        ("ExternalLabels", Value::labels(external_labels)),
        ("ExternalURL", external_url.into()),
        ("Value", value),
    ];
    Value::structure(TYPE, fields, None)
}

/// The link to a graph of an expression, relative to the external URL.
pub fn graph_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=0", url_query(expr))
}

/// The link to a table of an expression's result, relative to the external URL.
pub fn table_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", url_query(expr))
}

const FUNCTION_NAMES: [&str; 29] = [
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "match",
    "now",
    "parseDuration",
    "pathPrefix",
    "query",
    "reReplaceAll",
    "safeHtml",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "value",
];

const RESULT: Param = Param::Type("template.queryResult");
const SAMPLE: Param = Param::Type("*template.sample");
const TEXT: &[Param] = &[Param::String];

/// The functions for one expansion.
pub fn functions(surroundings: Surroundings<'_>) -> Functions<'_> {
    let mut functions = Functions::default();
    add_query_functions(&mut functions, surroundings);
    add_text_functions(&mut functions);
    add_number_functions(&mut functions);
    let now_seconds = surroundings.now_ms as f64 / 1000.0;
    functions.add("now", &[], move |_| Ok(now_seconds.into()));
    let url = surroundings.external_url;
    functions.add("externalURL", &[], move |_| Ok(url.into()));
    functions.add("pathPrefix", &[], move |_| Ok(path_of(url).into()));
    functions
}

fn add_query_functions<'a>(functions: &mut Functions<'a>, surroundings: Surroundings<'a>) {
    functions.add("query", TEXT, move |args| {
        let samples = surroundings.query.query(text(args, 0))?;
        Ok(query_result(samples.iter().map(sample_value).collect()))
    });
    functions.add("first", &[RESULT], |args| match value(args, 0) {
        Value::List(list) if !list.items.is_empty() => Ok(value(&list.items, 0).clone()),
        _ => Err("first() called on vector with no elements".to_owned()),
    });
    functions.add("label", &[Param::String, SAMPLE], |args| {
        label_of(value(args, 1), text(args, 0))
    });
    functions.add("strvalue", &[SAMPLE], |args| {
        label_of(value(args, 0), "__value__")
    });
    functions.add("value", &[SAMPLE], |args| field_of(value(args, 0), "Value"));
    functions.add("sortByLabel", &[Param::String, RESULT], |args| {
        let Value::List(list) = value(args, 1) else {
            return Ok(query_result(Vec::new()));
        };
        let label = text(args, 0);
        let mut samples = list.items.clone();
        samples.sort_by_cached_key(|sample| label_of(sample, label).map(|v| v.to_string()));
        Ok(query_result(samples))
    });
    functions.add_variadic("args", &[], Param::Any, |args| {
        let named = args.iter().enumerate();
        let entries: BTreeMap<Arc<str>, Value> = named
            .map(|(at, arg)| (format!("arg{at}").into(), arg.clone()))
            .collect();
        Ok(Value::map(entries))
    });
}

fn add_text_functions(functions: &mut Functions<'_>) {
    let mut add = |name, change: fn(&str) -> String| {
        functions.add(name, TEXT, move |args| Ok(change(text(args, 0)).into()));
    };
    add("graphLink", graph_link);
    add("tableLink", table_link);
    add("title", readable::title);
    add("toUpper", readable::to_upper);
    add("toLower", readable::to_lower);
    add("stripPort", |text| readable::strip_port(text).to_owned());
    add("stripDomain", readable::strip_domain);
    add("urlQueryEscape", url_query);
    add("safeHtml", str::to_owned);
    functions.add("match", &[Param::String, Param::String], |args| {
        readable::is_match(text(args, 0), text(args, 1)).map(Value::Bool)
    });
    let three_texts = &[Param::String, Param::String, Param::String];
    functions.add("reReplaceAll", three_texts, |args| {
        let replaced = readable::replace_all(text(args, 0), text(args, 1), text(args, 2));
        replaced.map(Value::from)
    });
}

fn add_number_functions(functions: &mut Functions<'_>) {
    let mut add = |name, change: fn(f64) -> Result<Value, String>| {
        functions.add(name, &[Param::Any], move |args| {
            change(readable::to_float(value(args, 0))?)
        });
    };
    add("humanize", |n| Ok(readable::humanize(n).into()));
    add("humanize1024", |n| Ok(readable::humanize_1024(n).into()));
    add("humanizeDuration", |n| {
        Ok(readable::humanize_duration(n).into())
    });
    add("humanizePercentage", |n| {
        Ok(readable::humanize_percentage(n).into())
    });
    add("humanizeTimestamp", |n| {
        readable::humanize_timestamp(n).map(Value::from)
    });
    add("toTime", |n| readable::time_of_seconds(n).map(Value::Time));
    // The conversion saturates where Go's result would be undefined.
    add("toDuration", |n| Ok(Value::DurationNs((n * 1e9) as i64)));
    functions.add("parseDuration", TEXT, |args| {
        let text = text(args, 0);
        let (sign, positive) = match text.strip_prefix('-') {
            Some(positive) => (-1.0, positive),
            None => (1.0, text),
        };
        let ms = duration::parse_ms(positive).map_err(|e| e.to_string())?;
        Ok(Value::Float(sign * ms as f64 / 1000.0))
    });
}

fn query_result(samples: Vec<Value>) -> Value {
    Value::typed_list("template.queryResult", samples, None)
}

fn sample_value(sample: &QuerySample) -> Value {
    let fields = vec![
        ("Labels", Value::labels(&sample.labels)),
        ("Value", Value::Float(sample.value)),
    ];
    Value::structure("*template.sample", fields, None)
}

fn field_of(sample: &Value, name: &str) -> Result<Value, String> {
    let Value::Struct(structure) = sample else {
        return Err("there is no sample: the value is nil".to_owned());
    };
    let field = structure.fields.iter().find(|(n, _)| *n == name);
    Ok(field.map_or(Value::Nil, |(_, value)| value.clone()))
}

fn label_of(sample: &Value, label: &str) -> Result<Value, String> {
    let labels = field_of(sample, "Labels")?;
    let Value::Map(labels) = &labels else {
        return Ok("".into());
    };
    Ok(labels.entries.get(label).unwrap_or(&labels.missing).clone())
}

/// The path of a URL.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

//! Prometheus's text format 0.0.4, as strictly as node_exporter reads it: histograms and summaries
//! are put together, and a file with a time or with half a line is refused whole.

use std::collections::HashMap;

use narthex_plugin_sdk::metrics::{is_label_name, is_metric_name};
use narthex_plugin_sdk::{Histogram, MetricType, Summary};

#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: MetricType,
    pub(super) help: Option<String>,
    pub(super) metrics: Vec<Metric>,
    has_type: bool,
    /// Where the metric with these labels is, while a histogram or summary is put together.
    places: HashMap<Labels, usize>,
}

#[derive(Debug)]
pub(super) struct Metric {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Number(f64),
    Histogram(Histogram),
    Summary(Summary),
}

/// Names and values, by name.
pub(super) type Labels = Vec<(String, String)>;

/// The families in the order in which they come.
pub(super) fn parse(text: &str) -> Result<Vec<Family>, String> {
    let mut reader = Reader::default();
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let number = at + 1;
        let whole = line.strip_suffix('\n');
        let line = whole.unwrap_or(line).trim_start_matches([' ', '\t']);
        if whole.is_none() && !line.is_empty() {
            return Err(format!("line {number}: the last line has no end"));
        }
        let read = match line.strip_prefix('#') {
            Some(comment) => reader.comment(comment),
            None if line.is_empty() => Ok(()),
            None => reader.sample(line),
        };
        read.map_err(|error| format!("line {number}: {error}"))?;
    }
    let mut families = reader.families;
    families.retain(|family| !family.metrics.is_empty());
    for family in &mut families {
        family.finish();
    }
    Ok(families)
}

#[derive(Default)]
struct Reader {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
}

impl Reader {
    /// `HELP name text` or `TYPE name type`; anything else says nothing.
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let (word, rest) = next_word(comment);
        if word != "HELP" && word != "TYPE" {
            return Ok(());
        }
        let (name, rest) = next_word(rest);
        if !is_metric_name(name) {
            return Err(format!("invalid metric name {name:?}"));
        }
        let text = rest.trim_start_matches([' ', '\t']);
        let family = self.family(name);
        if word == "TYPE" {
            if family.has_type || !family.metrics.is_empty() {
                return Err(format!("a second type of {name}, or one after its metrics"));
            }
            family.kind = kind(text.trim_end())?;
            family.has_type = true;
        } else if family.help.is_some() {
            return Err(format!("a second help text of {name}"));
        } else if !text.is_empty() {
            family.help = Some(unescape(text, false)?);
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace());
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        if !is_metric_name(name) {
            return Err(format!("invalid metric name {name:?}"));
        }
        let (labels, rest) = match rest.trim_start().strip_prefix('{') {
            Some(inside) => labels(inside)?,
            None => (Labels::new(), rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().unwrap_or("");
        let value: f64 = value
            .parse()
            .map_err(|_| format!("expected a value of {name}, not {value:?}"))?;
        if words.next().is_some() {
            return Err(format!("{name} has a time, which is not supported"));
        }
        self.family_of(name).add(name, labels, value)
    }

    fn family(&mut self, name: &str) -> &mut Family {
        let at = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.families.push(Family {
                name: name.to_owned(),
                kind: MetricType::Unknown,
                help: None,
                metrics: Vec::new(),
                has_type: false,
                places: HashMap::new(),
            });
            self.families.len() - 1
        });
        &mut self.families[at]
    }

    /// The family that a sample belongs to: parts of histograms and summaries have endings.
    fn family_of(&mut self, name: &str) -> &mut Family {
        let whole = ["_count", "_sum", "_bucket"].iter().find_map(|ending| {
            let whole = name.strip_suffix(ending)?;
            let family = self.families.get(*self.by_name.get(whole)?)?;
            let fits = match family.kind {
                MetricType::Histogram => true,
                MetricType::Summary => *ending != "_bucket",
                _ => false,
            };
            fits.then_some(whole)
        });
        self.family(whole.unwrap_or(name))
    }
}

impl Family {
    fn add(&mut self, name: &str, mut labels: Labels, value: f64) -> Result<(), String> {
        let key = match self.kind {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => {
                self.metrics.push(Metric {
                    labels,
                    value: Value::Number(value),
                });
                return Ok(());
            }
        };
        let bound = take_number(&mut labels, key)?;
        let ending = name.strip_prefix(self.name.as_str()).unwrap_or_default();
        match &mut self.metric(labels).value {
            Value::Histogram(histogram) => match (ending, bound) {
                ("_sum", _) => histogram.sum = value,
                ("_count", _) => histogram.count = value,
                ("_bucket", Some(bound)) if bound.is_finite() => {
                    histogram.buckets.push((bound, value));
                }
                _ => {}
            },
            Value::Summary(summary) => match (ending, bound) {
                ("_sum", _) => summary.sum = value,
                ("_count", _) => summary.count = value,
                (_, Some(quantile)) => summary.quantiles.push((quantile, value)),
                _ => {}
            },
            Value::Number(_) => {}
        }
        Ok(())
    }

    /// The histogram or summary with these labels.
    fn metric(&mut self, labels: Labels) -> &mut Metric {
        let (metrics, kind) = (&mut self.metrics, self.kind);
        let at = *self.places.entry(labels).or_insert_with_key(|labels| {
            metrics.push(Metric {
                labels: labels.clone(),
                value: match kind {
                    MetricType::Histogram => Value::Histogram(Histogram {
                        buckets: Vec::new(),
                        sum: 0.0,
                        count: 0.0,
                    }),
                    _ => Value::Summary(Summary {
                        quantiles: Vec::new(),
                        sum: 0.0,
                        count: 0.0,
                    }),
                },
            });
            metrics.len() - 1
        });
        &mut self.metrics[at]
    }

    /// Bounds ascend, each once.
    fn finish(&mut self) {
        let order = |pairs: &mut Vec<(f64, f64)>| {
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            pairs.dedup_by(|a, b| a.0 == b.0);
        };
        for metric in &mut self.metrics {
            match &mut metric.value {
                Value::Histogram(histogram) => order(&mut histogram.buckets),
                Value::Summary(summary) => {
                    summary.quantiles.retain(|(q, _)| (0.0..=1.0).contains(q));
                    order(&mut summary.quantiles);
                }
                Value::Number(_) => {}
            }
        }
    }
}

/// The labels up to the closing brace, by name, and what follows.
fn labels(text: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            let twice = labels.windows(2).find(|pair| pair[0].0 == pair[1].0);
            return match twice {
                Some(pair) => Err(format!("label {} is given twice", pair[0].0)),
                None => Ok((labels, after)),
            };
        }
        let (name, after) = rest
            .split_once('=')
            .ok_or_else(|| "expected a label or a closing brace".to_owned())?;
        let name = name.trim();
        if !is_label_name(name) {
            return Err(format!("invalid label name {name:?}"));
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.starts_with('}') => after,
            None => return Err("expected a comma or a closing brace after a label".to_owned()),
        };
    }
}

/// A value in quotes, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let wrong = || "expected a label's value in quotes".to_owned();
    let inside = text.strip_prefix('"').ok_or_else(wrong)?;
    let mut escaped = false;
    let end = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let (value, rest) = inside.split_at(end.ok_or_else(wrong)?);
    let after = rest.strip_prefix('"').unwrap_or(rest);
    Ok((unescape(value, true)?, after))
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if quotes => out.push('"'),
            other => {
                return Err(format!(
                    "invalid escape sequence \\{}",
                    other.unwrap_or(' ')
                ));
            }
        }
    }
    Ok(out)
}

/// Takes the label out that says which part this is.
fn take_number(labels: &mut Labels, name: &str) -> Result<Option<f64>, String> {
    let Some(at) = labels.iter().position(|(label, _)| label == name) else {
        return Ok(None);
    };
    let (_, text) = labels.remove(at);
    let wrong = |_| format!("expected a number as the label {name}, not {text:?}");
    text.parse().map(Some).map_err(wrong)
}

fn kind(text: &str) -> Result<MetricType, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        "untyped" => MetricType::Unknown,
        _ => return Err(format!("unknown metric type {text:?}")),
    })
}

/// The first word, and what follows it.
fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find([' ', '\t']);
    text.split_at(end.unwrap_or(text.len()))
}

//! Series with their values, as PromQL tests and rule unit tests write them:
//! `metric{label="value"} 1 2+3x4 _ stale {{schema:0 buckets:[1 2]}}x3`.

use std::sync::Arc;

use narthex_model::histogram::{CounterReset, Span as BucketSpan};
use narthex_model::labels::quoted;
use narthex_model::{Histogram, STALE_NAN, SampleValue};
use nom::bytes::complete::{take_while, take_while1};
use nom::{IResult, Parser};

use super::ast::{SequenceValue, SeriesDescription, Span};
use super::error::{Fault, ParseError};
use super::lexer::{is_alphabetic, is_alphanumeric, is_space, metric_tokens, number_length};
use super::{lexer, literal, parser};

/// Values that one line may stand for, so that a short line can't fill the memory.
const MAX_VALUES: u64 = 4_000_000;

type Result<T> = std::result::Result<T, Fault>;

/// Reads one line: a metric and its values.
pub fn parse_series_description(line: &str) -> std::result::Result<SeriesDescription, ParseError> {
    series(line).map_err(|fault| ParseError::new(line, fault))
}

fn series(line: &str) -> Result<SeriesDescription> {
    let tokens = metric_tokens(line);
    let at = tokens.last().map_or(0, |token| token.span.start);
    let labels = parser::metric(line, tokens)?;
    let mut values = Values {
        line,
        at,
        values: Vec::new(),
    };
    values.read()?;
    Ok(SeriesDescription {
        labels,
        values: values.values,
    })
}

struct Values<'a> {
    line: &'a str,
    at: usize,
    values: Vec<SequenceValue>,
}

/// A histogram and whether its hint was written.
type Hinted = (Histogram, bool);

impl<'a> Values<'a> {
    fn read(&mut self) -> Result<()> {
        while !self.rest().is_empty() {
            if self.skip_space() == 0 {
                return Err(self.unexpected("series values", ""));
            }
            if !self.rest().is_empty() {
                self.item()?;
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or("")
    }

    /// The text that `parser` takes, which may be empty.
    fn take(&mut self, parser: impl Fn(&'a str) -> IResult<&'a str, &'a str>) -> &'a str {
        let taken = parser(self.rest()).map_or("", |(_, taken)| taken);
        self.at += taken.len();
        taken
    }

    fn skip_space(&mut self) -> usize {
        self.take(|text| take_while(is_space).parse(text)).len()
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn here(&self) -> Span {
        Span::new(self.at, self.line.len())
    }

    fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let rest = self.rest();
        let word = take_while1::<_, _, nom::error::Error<&str>>(is_alphanumeric).parse(rest);
        let what = match (word, rest.chars().next()) {
            (Ok((_, word)), _) => quoted(word),
            (_, Some(c)) => lexer::quoted_char(Some(c)),
            (_, None) => "end of input".to_owned(),
        };
        let expected = match expected {
            "" => String::new(),
            expected => format!(", expected {expected}"),
        };
        Fault::new(
            self.here(),
            format!("unexpected {what} in {context}{expected}"),
        )
    }

    fn item(&mut self) -> Result<()> {
        if self.accept("_") {
            let count = self.repetitions()?.unwrap_or(1);
            return self.push(count, |_| Ok(SequenceValue::Omitted));
        }
        if self.rest().starts_with("{{") {
            return self.histograms();
        }
        self.floats()
    }

    /// `1`, `1x3`, `1+2x3`
    fn floats(&mut self) -> Result<()> {
        let first = self.value()?;
        let step = match self.rest().chars().next() {
            Some('+' | '-') => Some(self.signed_number()?),
            _ => None,
        };
        let count = match (self.repetitions()?, step) {
            (Some(times), _) => times + 1,
            (None, None) => 1,
            (None, Some(_)) => return Err(self.unexpected("series values", "\"x\"")),
        };
        let mut value = first;
        self.push(count, |_| {
            let current = value;
            value += step.unwrap_or(0.0);
            Ok(SequenceValue::Value {
                value: SampleValue::Float(current),
                hint_written: false,
            })
        })
    }

    /// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`
    fn histograms(&mut self) -> Result<()> {
        let start = self.at;
        let (first, mut hint_written) = self.histogram()?;
        let mut change = None;
        for sign in ["+", "-"] {
            if self.accept(sign) {
                let (by, written) = self.histogram()?;
                hint_written = written;
                change = Some((sign == "+", by));
            }
        }
        let count = match (self.repetitions()?, &change) {
            (Some(times), _) => times + 1,
            (None, None) => 1,
            (None, Some(_)) => return Err(self.unexpected("series values", "\"x\"")),
        };
        let span = Span::new(start, self.at);
        let mut histogram = Arc::new(first);
        self.push(count, |index| {
            if let Some((grows, by)) = change.as_ref().filter(|_| index > 0) {
                histogram = Arc::new(changed(&histogram, *grows, by, span)?);
            }
            Ok(SequenceValue::Value {
                value: SampleValue::Histogram(Arc::clone(&histogram)),
                hint_written,
            })
        })
    }

    fn push(
        &mut self,
        count: u64,
        mut value: impl FnMut(u64) -> Result<SequenceValue>,
    ) -> Result<()> {
        if count > MAX_VALUES.saturating_sub(self.values.len() as u64) {
            let message = format!("a series may have {MAX_VALUES} values, here are more");
            return Err(Fault::new(Span::new(0, self.at), message));
        }
        for index in 0..count {
            let value = value(index)?;
            self.values.push(value);
        }
        Ok(())
    }

    /// The number behind an `x`, if there is one.
    fn repetitions(&mut self) -> Result<Option<u64>> {
        if !self.accept("x") {
            return Ok(None);
        }
        let start = self.at;
        let text = self.take(|text| take_while(is_alphanumeric).parse(text));
        match text.parse() {
            // One more stands for the first value, which must not overflow.
            Ok(times) if times < u64::MAX => Ok(Some(times)),
            _ => {
                let span = Span::new(start, self.at);
                let text = quoted(text);
                let message = format!("invalid repetition in series values: {text} is no count");
                Err(Fault::new(span, message))
            }
        }
    }

    fn value(&mut self) -> Result<f64> {
        if self.rest().starts_with(is_alphabetic) {
            let before = self.at;
            let word = self.take(|text| take_while1(is_alphanumeric).parse(text));
            if word == "stale" {
                return Ok(STALE_NAN);
            }
            self.at = before;
            if !is_special_number(word) {
                return Err(self.unexpected("series values", "number or \"stale\""));
            }
        }
        self.signed_number()
    }

    fn signed_number(&mut self) -> Result<f64> {
        let minus = match self.rest().chars().next() {
            Some(sign @ ('+' | '-')) => {
                self.at += 1;
                sign == '-'
            }
            _ => false,
        };
        let value = self.number()?;
        Ok(if minus { -value } else { value })
    }

    fn number(&mut self) -> Result<f64> {
        let rest = self.rest();
        let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let length = if starts(rest) || rest.strip_prefix('.').is_some_and(starts) {
            number_length(rest, true).map_err(|end| {
                let text = quoted(rest.get(..end).unwrap_or(rest));
                Fault::new(self.here(), format!("bad number syntax: {text}"))
            })?
        } else {
            let word = rest.split(|c| !is_alphanumeric(c)).next().unwrap_or("");
            if !is_special_number(word) {
                return Err(self.unexpected("series values", "number"));
            }
            word.len()
        };
        let span = Span::new(self.at, self.at + length);
        self.at = span.end;
        literal::number(rest.get(..length).unwrap_or(""))
            .map_err(|message| Fault::new(span, message))
    }

    fn histogram(&mut self) -> Result<Hinted> {
        let start = self.at;
        if !self.accept("{{") {
            return Err(self.unexpected("series values", "\"{{\""));
        }
        let mut description = Description::default();
        loop {
            let spaces = self.skip_space();
            if self.accept("}}") {
                return description.build(Span::new(start, self.at));
            }
            if spaces == 0 && !description.keys.is_empty() {
                return Err(self.unexpected(
                    "histogram description",
                    "histogram description key, e.g. buckets:[5 10 7]",
                ));
            }
            self.histogram_field(&mut description)?;
        }
    }

    fn histogram_field(&mut self, into: &mut Description) -> Result<()> {
        let start = self.at;
        let key = self.take(|text| take_while1(is_alphabetic).parse(text));
        let key = key.to_ascii_lowercase();
        if key.is_empty() {
            let found = lexer::quoted_char(self.rest().chars().next());
            let message = format!("histogram description incomplete unexpected: {found}");
            return Err(Fault::new(self.here(), message));
        }
        let span = Span::new(start, self.at);
        if into.keys.contains(&key) {
            let message = format!("duplicate key {} in histogram", quoted(&key));
            return Err(Fault::new(span, message));
        }
        let known = FIELDS.contains(&key.as_str());
        if !known {
            let message = format!("bad histogram descriptor found: {}", quoted(&key));
            return Err(Fault::new(span, message));
        }
        if !self.accept(":") {
            let message = "missing `:` for histogram descriptor";
            return Err(Fault::new(span, message));
        }
        self.histogram_value(&key, into)?;
        into.keys.push(key);
        Ok(())
    }

    fn histogram_value(&mut self, key: &str, into: &mut Description) -> Result<()> {
        let histogram = &mut into.histogram;
        match key {
            "schema" => histogram.schema = self.schema()?,
            "sum" => histogram.sum = self.signed_number()?,
            "count" => histogram.count = self.signed_number()?,
            "z_bucket" => histogram.zero_count = self.signed_number()?,
            "z_bucket_w" => histogram.zero_threshold = self.number()?,
            "custom_values" => histogram.custom_values = self.list()?,
            "buckets" => histogram.positive_buckets = self.list()?,
            "n_buckets" => histogram.negative_buckets = self.list()?,
            "offset" => into.offset = self.integer()?,
            "n_offset" => into.negative_offset = self.integer()?,
            _ => histogram.counter_reset = self.counter_reset()?,
        }
        Ok(())
    }

    fn schema(&mut self) -> Result<i32> {
        let start = self.at;
        let schema = self.integer()?;
        let known = matches!(
            schema,
            -4..=8 | narthex_model::histogram::CUSTOM_BOUNDS_SCHEMA
        );
        if known {
            return Ok(schema);
        }
        let message = format!(
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets or -53 for custom buckets, got schema {schema}"
        );
        Err(Fault::new(Span::new(start, self.at), message))
    }

    fn integer(&mut self) -> Result<i32> {
        let start = self.at;
        let text =
            self.take(|text| take_while(|c: char| c == '-' || is_alphanumeric(c)).parse(text));
        text.parse().map_err(|_| {
            let message = format!("error parsing integer: {}", quoted(text));
            Fault::new(Span::new(start, self.at), message)
        })
    }

    /// `[1 2.5 -3]`
    fn list(&mut self) -> Result<Vec<f64>> {
        if !self.accept("[") {
            return Err(self.unexpected("histogram description", "\"[\""));
        }
        let mut list = Vec::new();
        loop {
            let spaces = self.skip_space();
            if self.accept("]") {
                return Ok(list);
            }
            if spaces == 0 && !list.is_empty() {
                return Err(self.unexpected("buckets description", "\" \" or \"]\""));
            }
            list.push(self.signed_number()?);
        }
    }

    fn counter_reset(&mut self) -> Result<CounterReset> {
        let before = self.at;
        let word = self.take(|text| take_while(is_alphanumeric).parse(text));
        match word.to_ascii_lowercase().as_str() {
            "unknown" => Ok(CounterReset::Unknown),
            "reset" => Ok(CounterReset::Reset),
            "not_reset" => Ok(CounterReset::NotReset),
            "gauge" => Ok(CounterReset::Gauge),
            _ => {
                self.at = before;
                Err(self.unexpected(
                    "histogram description",
                    "unknown, reset, not_reset or gauge",
                ))
            }
        }
    }
}

const FIELDS: [&str; 11] = [
    "schema",
    "sum",
    "count",
    "z_bucket",
    "z_bucket_w",
    "custom_values",
    "buckets",
    "n_buckets",
    "offset",
    "n_offset",
    "counter_reset_hint",
];

/// A histogram while its fields are read; they come in any order.
#[derive(Default)]
struct Description {
    histogram: Histogram,
    offset: i32,
    negative_offset: i32,
    keys: Vec<String>,
}

impl Description {
    fn build(self, span: Span) -> Result<Hinted> {
        let mut histogram = self.histogram;
        histogram.positive_spans = spans(self.offset, &histogram.positive_buckets, span)?;
        histogram.negative_spans = spans(self.negative_offset, &histogram.negative_buckets, span)?;
        let hinted = self.keys.iter().any(|key| key == "counter_reset_hint");
        Ok((histogram, hinted))
    }
}

fn spans(offset: i32, buckets: &[f64], span: Span) -> Result<Vec<BucketSpan>> {
    if buckets.is_empty() {
        return Ok(Vec::new());
    }
    let length = u32::try_from(buckets.len())
        .map_err(|_| Fault::new(span, "histogram has too many buckets"))?;
    Ok(vec![BucketSpan { offset, length }])
}

fn changed(histogram: &Histogram, grows: bool, by: &Histogram, span: Span) -> Result<Histogram> {
    if histogram.schema > by.schema {
        let message = format!(
            "error combining histograms: cannot merge from schema {} to {}",
            by.schema, histogram.schema
        );
        return Err(Fault::new(span, message));
    }
    let mut sum = histogram.clone();
    let combined = if grows { sum.add(by) } else { sum.subtract(by) };
    combined.map_err(|e| Fault::new(span, e.to_string()))?;
    Ok(sum)
}

fn is_special_number(word: &str) -> bool {
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")
}

//! Reading a body line by line, in either format.
//!
//! The parser walks the body once, never copies it, and hands out slices of it. After an error it
//! gives nothing more.

use std::borrow::Cow;

use narthex_model::{Labels, MetricType};
use nom::Parser as _;

use crate::family::format_bound;
use crate::grammar::{
    self, Fault, Problem, blanks, fault, metadata_name, series_extent, space, timestamp_ms,
    timestamp_seconds, value,
};
use crate::known::Context;
use crate::{Entry, Format, ParseError, RawLabels};

/// Reads `body` lazily, entry by entry.
pub fn parse(format: Format, body: &[u8]) -> Parser<'_> {
    Parser {
        format,
        body,
        rest: body,
        kind: MetricType::Unknown,
        done: false,
    }
}

/// The entries of a body. It goes on to the end or to the first error.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    pub(crate) format: Format,
    body: &'a [u8],
    pub(crate) rest: &'a [u8],
    /// What the last TYPE line said.
    pub(crate) kind: MetricType,
    pub(crate) done: bool,
}

/// A series with its sample.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    pub value: f64,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<Box<Exemplar<'a>>>,
    raw: &'a [u8],
    body: &'a [u8],
    pub(crate) format: Format,
    pub(crate) kind: MetricType,
}

/// An example observation that stands behind a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'a> {
    pub labels: RawLabels<'a>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = match self.format {
            Format::Text => self.next_text(),
            Format::OpenMetrics => self.next_openmetrics().map(Some),
        };
        self.done = !matches!(&entry, Ok(Some(entry)) if !matches!(entry, Entry::Eof));
        if let Ok(Some(Entry::Type { kind, .. })) = &entry {
            self.kind = *kind;
        }
        entry
            .map_err(|fault| describe(&fault, self.body))
            .transpose()
    }
}

impl<'a> Parser<'a> {
    fn next_text(&mut self) -> Result<Option<Entry<'a>>, Fault<'a>> {
        loop {
            let line = blanks(self.rest).map_or(self.rest, |(rest, _)| rest);
            match line.first() {
                None => return Ok(None),
                Some(b'\n') => self.rest = line.get(1..).unwrap_or_default(),
                Some(b'#') => {
                    let (rest, entry) = text_comment(line)?;
                    self.rest = rest;
                    if entry.is_some() {
                        return Ok(entry);
                    }
                }
                Some(_) => {
                    let (rest, series) = self.text_series(line)?;
                    self.rest = rest;
                    return Ok(Some(Entry::Series(series)));
                }
            }
        }
    }

    fn text_series(&self, line: &'a [u8]) -> Result<(&'a [u8], Series<'a>), Fault<'a>> {
        let failed = |e| fault(e, line);
        let (rest, raw) = series_extent(Format::Text).parse(line).map_err(failed)?;
        let (rest, _) = blanks(rest).map_err(failed)?;
        let (rest, value) = value(Format::Text).parse(rest).map_err(failed)?;
        let (rest, _) = blanks(rest).map_err(failed)?;
        let (rest, timestamp) = match rest.first() {
            None | Some(b'\n') => (rest, None),
            Some(_) => {
                let (rest, timestamp) = timestamp_ms(rest).map_err(failed)?;
                let (rest, _) = blanks(rest).map_err(failed)?;
                (rest, Some(timestamp))
            }
        };
        let rest = match rest.split_first() {
            None => rest,
            Some((b'\n', rest)) => rest,
            Some(_) => return Err(Fault::expected(rest, "the end of the line")),
        };
        Ok((rest, self.series(raw, value, timestamp, None)))
    }

    #[inline]
    pub(crate) fn series(
        &self,
        raw: &'a [u8],
        value: f64,
        timestamp_ms: Option<i64>,
        exemplar: Option<Box<Exemplar<'a>>>,
    ) -> Series<'a> {
        Series {
            value,
            timestamp_ms,
            exemplar,
            raw,
            body: self.body,
            format: self.format,
            kind: self.kind,
        }
    }

    fn next_openmetrics(&mut self) -> Result<Entry<'a>, Fault<'a>> {
        let line = self.rest;
        let (rest, entry) = match line.first() {
            None => return Err(no_eof(line)),
            Some(b'#') => openmetrics_comment(line)?,
            Some(b'\n') => return Err(Fault::is(line, "OpenMetrics allows no empty lines")),
            Some(_) => {
                let (rest, series) = self.openmetrics_series(line)?;
                (rest, Entry::Series(series))
            }
        };
        self.rest = rest;
        Ok(entry)
    }

    fn openmetrics_series(&self, line: &'a [u8]) -> Result<(&'a [u8], Series<'a>), Fault<'a>> {
        let failed = |e| fault(e, line);
        let format = Format::OpenMetrics;
        let (rest, raw) = series_extent(format).parse(line).map_err(failed)?;
        let (rest, _) = space.parse(rest).map_err(failed)?;
        let (rest, value) = value(format).parse(rest).map_err(failed)?;
        let (rest, timestamp) = openmetrics_timestamp(rest).map_err(failed)?;
        let (rest, exemplar) = match rest.strip_prefix(b" # ") {
            Some(from) => {
                let (rest, exemplar) = exemplar(from)?;
                (rest, Some(Box::new(exemplar)))
            }
            None => (rest, None),
        };
        let rest = end_of_line(rest)?;
        Ok((rest, self.series(raw, value, timestamp, exemplar)))
    }
}

impl<'a> Series<'a> {
    /// Name and labels as they stand in the body: the key to recognise the series by.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// See [`Parser::context`].
    #[inline]
    pub fn context(&self) -> Context {
        Context::new(self.format, self.kind)
    }

    /// The line it stands in, counted from 1.
    pub fn line(&self) -> usize {
        line_of(self.raw, self.body)
    }

    /// The labels, the metric name first; `le` and `quantile` in one spelling for one number.
    pub fn labels(&self) -> Result<RawLabels<'a>, ParseError> {
        let mut labels = grammar::series_labels(self.raw, self.format)
            .map_err(|fault| describe(&fault, self.body))?;
        let Some(bound) = bound_label(self.kind) else {
            return Ok(labels);
        };
        for (name, value) in &mut labels {
            if name == bound
                && let Some(number) = grammar::float(value.as_bytes())
            {
                *value = Cow::Owned(format_bound(number));
            }
        }
        Ok(labels)
    }

    /// As [`Series::labels`], as a label set: sorted, without empty values.
    pub fn to_labels(&self) -> Result<Labels, ParseError> {
        let labels = self.labels()?;
        let owned = labels
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()));
        Ok(Labels::from_pairs(owned))
    }
}

/// The label whose value is a number, and is written in one way whatever the target writes.
pub(crate) fn bound_label(kind: MetricType) -> Option<&'static str> {
    match kind {
        MetricType::Histogram => Some("le"),
        MetricType::Summary => Some("quantile"),
        _ => None,
    }
}

/// `line` starts with `#`. None for a comment that is no metadata.
fn text_comment(line: &[u8]) -> Result<(&[u8], Option<Entry<'_>>), Fault<'_>> {
    let (content, rest) = split_line(line);
    let after_hash = content.get(1..).unwrap_or_default();
    let word = blanks(after_hash).map_or(after_hash, |(rest, _)| rest);
    if word.len() == after_hash.len() {
        return Ok((rest, None));
    }
    let keyword = ["HELP", "TYPE"].into_iter().find_map(|keyword| {
        let after = word.strip_prefix(keyword.as_bytes())?;
        let name = blanks(after).ok()?.0;
        (name.len() < after.len()).then_some((keyword, name))
    });
    let Some((keyword, name)) = keyword else {
        return Ok((rest, None));
    };
    let (after, name) = metadata_name(name).map_err(|e| fault(e, word))?;
    let text = match after.split_first() {
        None => after,
        Some((&blank, text)) if grammar::is_blank(blank) => text,
        Some(_) => return Err(Fault::expected(after, "a blank after the metric name")),
    };
    let entry = match keyword {
        "HELP" => help(name, text, false)?,
        _ => Entry::Type {
            name,
            kind: text_type(text)?,
        },
    };
    Ok((rest, Some(entry)))
}

fn help<'a>(name: Cow<'a, str>, text: &'a [u8], quotes: bool) -> Result<Entry<'a>, Fault<'a>> {
    match grammar::unescape(text, quotes) {
        Some(text) => Ok(Entry::Help { name, text }),
        None => Err(Fault::is(text, "the help text is not valid UTF-8")),
    }
}

fn text_type(word: &[u8]) -> Result<MetricType, Fault<'_>> {
    match word {
        b"counter" => Ok(MetricType::Counter),
        b"gauge" => Ok(MetricType::Gauge),
        b"histogram" => Ok(MetricType::Histogram),
        b"summary" => Ok(MetricType::Summary),
        b"untyped" => Ok(MetricType::Unknown),
        _ => Err(Fault::expected(
            word,
            "a metric type (counter, gauge, histogram, summary or untyped)",
        )),
    }
}

fn openmetrics_type(word: &[u8]) -> Result<MetricType, Fault<'_>> {
    match word {
        b"counter" => Ok(MetricType::Counter),
        b"gauge" => Ok(MetricType::Gauge),
        b"histogram" => Ok(MetricType::Histogram),
        b"gaugehistogram" => Ok(MetricType::GaugeHistogram),
        b"summary" => Ok(MetricType::Summary),
        b"info" => Ok(MetricType::Info),
        b"stateset" => Ok(MetricType::StateSet),
        b"unknown" => Ok(MetricType::Unknown),
        _ => Err(Fault::expected(
            word,
            "a metric type (counter, gauge, histogram, gaugehistogram, summary, info, stateset or \
             unknown)",
        )),
    }
}

/// `line` starts with `#`.
fn openmetrics_comment(line: &[u8]) -> Result<(&[u8], Entry<'_>), Fault<'_>> {
    if let Some(after) = line.strip_prefix(b"# EOF") {
        return match after {
            b"" | b"\n" => Ok((&[], Entry::Eof)),
            _ => Err(Fault::is(after, "there is text after # EOF")),
        };
    }
    let (content, rest) = split_line(line);
    let keyword = ["HELP", "TYPE", "UNIT"].into_iter().find_map(|keyword| {
        let after = content
            .strip_prefix(b"# ")?
            .strip_prefix(keyword.as_bytes())?;
        Some((keyword, after.strip_prefix(b" ")?))
    });
    let Some((keyword, name)) = keyword else {
        let what = "\"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\"";
        return Err(Fault::expected(line, what));
    };
    let (after, name) = metadata_name(name).map_err(|e| fault(e, line))?;
    let (text, _) = space.parse(after).map_err(|e| fault(e, after))?;
    if content.len() == line.len() {
        return Err(no_eof(rest));
    }
    let entry = match keyword {
        "HELP" => help(name, text, true)?,
        "TYPE" => Entry::Type {
            kind: openmetrics_type(text)?,
            name,
        },
        _ => unit(name, text)?,
    };
    Ok((rest, entry))
}

fn unit<'a>(name: Cow<'a, str>, text: &'a [u8]) -> Result<Entry<'a>, Fault<'a>> {
    let unit = String::from_utf8_lossy(text);
    let fits = unit.is_empty()
        || name
            .strip_suffix(unit.as_ref())
            .is_some_and(|stem| stem.ends_with('_'));
    if !fits {
        return Err(Fault::is(
            text,
            "the unit is not the ending of the metric name",
        ));
    }
    Ok(Entry::Unit { name, unit })
}

/// After a value: a timestamp, unless the line ends or an exemplar follows.
fn openmetrics_timestamp(input: &[u8]) -> Result<(&[u8], Option<i64>), nom::Err<Fault<'_>>> {
    if input.first() == Some(&b' ') && !input.starts_with(b" # {") {
        let (rest, _) = space.parse(input)?;
        let (rest, timestamp) = timestamp_seconds(rest)?;
        return Ok((rest, Some(timestamp)));
    }
    Ok((input, None))
}

/// What stands after ` # `.
fn exemplar(input: &[u8]) -> Result<(&[u8], Exemplar<'_>), Fault<'_>> {
    let failed = |e| fault(e, input);
    let (rest, labels) = grammar::exemplar_labels(input)?;
    let (rest, _) = space.parse(rest).map_err(failed)?;
    let (rest, value) = value(Format::OpenMetrics).parse(rest).map_err(failed)?;
    let (rest, timestamp_ms) = match rest.strip_prefix(b" ") {
        Some(from) => {
            let (rest, timestamp) = timestamp_seconds(from).map_err(failed)?;
            (rest, Some(timestamp))
        }
        None => (rest, None),
    };
    let exemplar = Exemplar {
        labels,
        value,
        timestamp_ms,
    };
    Ok((rest, exemplar))
}

fn end_of_line(input: &[u8]) -> Result<&[u8], Fault<'_>> {
    match input.split_first() {
        Some((b'\n', rest)) => Ok(rest),
        Some(_) => Err(Fault::expected(input, "the end of the line")),
        None => Err(no_eof(input)),
    }
}

fn no_eof(at: &[u8]) -> Fault<'_> {
    Fault::is(at, "the body does not end with # EOF")
}

/// The first line without its line break, and what follows.
fn split_line(input: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', input) {
        Some(end) => {
            let (line, rest) = input.split_at(end);
            (line, rest.get(1..).unwrap_or_default())
        }
        None => (input, input.get(input.len()..).unwrap_or_default()),
    }
}

/// The line, from 1, in which `part` of `body` starts.
fn line_of(part: &[u8], body: &[u8]) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let before = body.get(..offset).unwrap_or(body);
    1 + memchr::memchr_iter(b'\n', before).count()
}

fn describe(fault: &Fault<'_>, body: &[u8]) -> ParseError {
    let problem = match fault.problem {
        Problem::Expected(what) => format!("expected {what}, found {}", found(fault.at, body)),
        Problem::Is(what) => match found(fault.at, body).as_str() {
            at if at.starts_with("the end") => what.to_owned(),
            at => format!("{what}, at {at}"),
        },
    };
    ParseError {
        line: line_of(fault.at, body),
        problem,
    }
}

/// What stands where something else was expected, in a few words.
fn found(at: &[u8], body: &[u8]) -> String {
    const SHOWN_CHARS: usize = 40;
    // A fault's place may end where its line or its series ends: look on in the body.
    let offset = (at.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let at = body.get(offset..).unwrap_or_default();
    match at.first() {
        None => return "the end of the body".to_owned(),
        Some(b'\n') => return "the end of the line".to_owned(),
        Some(_) => {}
    }
    let (line, _) = split_line(at);
    let shown = line.get(..SHOWN_CHARS * 4).unwrap_or(line);
    let text = String::from_utf8_lossy(shown);
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.chars().count() < text.chars().count() || shown.len() < line.len() {
        short.push('…');
    }
    format!("{short:?}")
}

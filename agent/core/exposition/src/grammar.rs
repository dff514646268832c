//! The grammar of single pieces of a line, with nom: names, quoted strings, labels, numbers.
//!
//! Knows nothing of lines and their order; see `parser`.

use std::borrow::Cow;

use nom::bytes::complete::{tag, take_while, take_while1};
use nom::error::{ContextError, ErrorKind, context};
use nom::{IResult, Parser};

use crate::{Format, RawLabels, plain};
use narthex_model::{METRIC_NAME, number};

/// Where reading stopped and what should have been there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault<'a> {
    pub at: &'a [u8],
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Expected(&'static str),
    /// Said as it stands, without what was found.
    Is(&'static str),
}

impl<'a> Fault<'a> {
    pub(crate) fn expected(at: &'a [u8], what: &'static str) -> Self {
        let problem = Problem::Expected(what);
        Fault { at, problem }
    }

    pub(crate) fn is(at: &'a [u8], what: &'static str) -> Self {
        let problem = Problem::Is(what);
        Fault { at, problem }
    }
}

const NOTHING_YET: Problem = Problem::Expected("");

impl<'a> nom::error::ParseError<&'a [u8]> for Fault<'a> {
    fn from_error_kind(at: &'a [u8], _kind: ErrorKind) -> Self {
        let problem = NOTHING_YET;
        Fault { at, problem }
    }

    fn append(_at: &'a [u8], _kind: ErrorKind, other: Self) -> Self {
        other
    }
}

/// The innermost context tells most.
impl<'a> ContextError<&'a [u8]> for Fault<'a> {
    fn add_context(at: &'a [u8], what: &'static str, other: Self) -> Self {
        if other.problem == NOTHING_YET {
            Fault::expected(at, what)
        } else {
            other
        }
    }
}

pub(crate) type Outcome<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

pub(crate) fn fail<T>(fault: Fault<'_>) -> Outcome<'_, T> {
    Err(nom::Err::Error(fault))
}

/// The fault of a failed parser.
#[expect(
    clippy::needless_pass_by_value,
    reason = "made to stand in map_err, which gives the error away"
)]
pub(crate) fn fault<'a>(error: nom::Err<Fault<'a>>, rest: &'a [u8]) -> Fault<'a> {
    match error {
        nom::Err::Error(fault) | nom::Err::Failure(fault) => fault,
        // Complete parsers don't ask for more.
        nom::Err::Incomplete(_) => Fault::expected(rest, "more text"),
    }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

pub(crate) fn blanks(input: &[u8]) -> Outcome<'_, &[u8]> {
    take_while(is_blank).parse(input)
}

/// Exactly one space, as OpenMetrics has it between the parts of a line.
pub(crate) fn space(input: &[u8]) -> Outcome<'_, &[u8]> {
    context("a space", tag(" ")).parse(input)
}

fn bare_name(input: &[u8], colon: bool) -> Outcome<'_, &[u8]> {
    let ok = move |c: u8| c.is_ascii_alphanumeric() || c == b'_' || (colon && c == b':');
    if input.first().is_some_and(u8::is_ascii_digit) {
        return fail(Fault {
            at: input,
            problem: NOTHING_YET,
        });
    }
    take_while1(ok).parse(input)
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(crate) fn bare_metric_name(input: &[u8]) -> Outcome<'_, &[u8]> {
    context("a metric name", |i| bare_name(i, true)).parse(input)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
fn bare_label_name(input: &[u8]) -> Outcome<'_, &[u8]> {
    context("a label name", |i| bare_name(i, false)).parse(input)
}

/// A string in double quotes; gives what stands between them, escapes as they are.
pub(crate) fn quoted(newlines: bool) -> impl Fn(&[u8]) -> Outcome<'_, &[u8]> {
    move |input| {
        let (inner, _) = tag("\"").parse(input)?;
        let mut at = 0;
        while let Some(found) = inner
            .get(at..)
            .and_then(|i| memchr::memchr2(b'"', b'\\', i))
        {
            at += found;
            if inner.get(at) == Some(&b'"') {
                let (text, rest) = inner.split_at(at);
                if !newlines && memchr::memchr(b'\n', text).is_some() {
                    break;
                }
                return Ok((rest.get(1..).unwrap_or_default(), text));
            }
            if inner.get(at + 1) == Some(&b'\n') {
                break;
            }
            at += 2;
        }
        fail(Fault::is(input, "a quoted string has no end"))
    }
}

/// A metric name as metadata lines have it: bare or quoted.
pub(crate) fn metadata_name(input: &[u8]) -> Outcome<'_, Cow<'_, str>> {
    if input.first() == Some(&b'"') {
        let (rest, name) = quoted(false).parse(input)?;
        return match unescape(name, true) {
            Some(name) => Ok((rest, name)),
            None => fail(Fault::is(input, "the metric name is not valid UTF-8")),
        };
    }
    let (rest, name) = bare_metric_name(input)?;
    Ok((rest, String::from_utf8_lossy(name)))
}

/// Undoes `\\` and `\n`, and `\"` where quotes are escaped. None if the bytes are not UTF-8.
pub(crate) fn unescape(bytes: &[u8], quotes: bool) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = match (c, chars.peek()) {
            ('\\', Some('\\')) => Some('\\'),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('"')) if quotes => Some('"'),
            _ => None,
        };
        if escaped.is_some() {
            chars.next();
        }
        out.push(escaped.unwrap_or(c));
    }
    Some(Cow::Owned(out))
}

/// The bytes of a series up to its value: a name, labels, or both. Strings and braces are closed;
/// nothing else about the labels is known yet.
pub(crate) fn series_extent(format: Format) -> impl Fn(&[u8]) -> Outcome<'_, &[u8]> {
    move |input| {
        let (mut rest, name) = match input.first() {
            Some(b'{') => (input, None),
            _ => bare_metric_name(input).map(|(rest, name)| (rest, Some(name)))?,
        };
        let after_name = rest;
        if format == Format::Text {
            rest = blanks(rest)?.0;
        }
        if rest.first() == Some(&b'{') {
            rest = skip_braces(rest, format)?;
        } else {
            rest = after_name;
            if name.is_some() && !rest.first().is_none_or(|c| c.is_ascii_whitespace()) {
                return fail(Fault::expected(
                    rest,
                    "'{' or a blank after the metric name",
                ));
            }
        }
        let length = input.len() - rest.len();
        let (extent, rest) = input.split_at(length);
        Ok((rest, extent))
    }
}

/// `input` starts with `{`; gives what follows the matching `}`.
fn skip_braces(input: &[u8], format: Format) -> Result<&[u8], nom::Err<Fault<'_>>> {
    let mut rest = input.get(1..).unwrap_or_default();
    loop {
        let stop = memchr::memchr3(b'"', b'}', b'\n', rest);
        let Some((stop, byte)) = stop.and_then(|at| Some((at, *rest.get(at)?))) else {
            let end = rest.get(rest.len()..).unwrap_or_default();
            return Err(nom::Err::Error(Fault::expected(
                end,
                "'}' after the labels",
            )));
        };
        let (_, from) = rest.split_at(stop);
        match byte {
            b'}' => return Ok(from.get(1..).unwrap_or_default()),
            b'"' => rest = quoted(format == Format::Text).parse(from)?.0,
            _ => {
                return Err(nom::Err::Error(Fault::expected(
                    from,
                    "'}' after the labels",
                )));
            }
        }
    }
}

/// The labels of a series; `input` is what [`series_extent`] gave.
pub(crate) fn series_labels(input: &[u8], format: Format) -> Result<RawLabels<'_>, Fault<'_>> {
    let mut labels = RawLabels::new();
    let mut rest = input;
    if input.first() != Some(&b'{') {
        let (after, name) = bare_metric_name(input).map_err(|e| fault(e, input))?;
        labels.push((Cow::Borrowed(METRIC_NAME), String::from_utf8_lossy(name)));
        rest = after;
    }
    let blanks_allowed = format == Format::Text;
    if blanks_allowed {
        rest = blanks(rest).map_err(|e| fault(e, rest))?.0;
    }
    if !rest.is_empty() {
        rest = braces(rest, format, true, &mut labels)?;
        debug_assert!(rest.is_empty());
    }
    if labels.first().is_none_or(|(name, _)| name != METRIC_NAME) {
        return Err(Fault::is(input, "the series has no metric name"));
    }
    Ok(labels)
}

/// The labels of an exemplar; gives what follows them.
pub(crate) fn exemplar_labels(input: &[u8]) -> Result<(&[u8], RawLabels<'_>), Fault<'_>> {
    let mut labels = RawLabels::new();
    let rest = braces(input, Format::OpenMetrics, false, &mut labels)?;
    Ok((rest, labels))
}

enum Item<'a> {
    Label(Cow<'a, str>, Cow<'a, str>),
    MetricName(Cow<'a, str>),
}

/// `{…}` from its opening brace on; gives what follows.
fn braces<'a>(
    input: &'a [u8],
    format: Format,
    may_name_metric: bool,
    labels: &mut RawLabels<'a>,
) -> Result<&'a [u8], Fault<'a>> {
    let skip = |rest: &'a [u8]| match format {
        Format::Text => blanks(rest).map_or(rest, |(rest, _)| rest),
        Format::OpenMetrics => rest,
    };
    let open = context("'{'", tag("{")).parse(input);
    let (mut rest, _): (&[u8], &[u8]) = open.map_err(|e| fault(e, input))?;
    loop {
        rest = skip(rest);
        if let Some(after) = rest.strip_prefix(b"}") {
            return Ok(after);
        }
        let at = rest;
        let (after, item) = item(rest, format).map_err(|e| fault(e, at))?;
        add_item(item, at, may_name_metric, labels)?;
        rest = skip(after);
        // Text takes labels without a comma between them, and both take one after the last.
        match rest.strip_prefix(b",") {
            Some(after) => rest = after,
            None if rest.first() == Some(&b'}') || format == Format::Text => {}
            None => return Err(Fault::expected(rest, "',' or '}' after a label")),
        }
    }
}

fn add_item<'a>(
    item: Item<'a>,
    at: &'a [u8],
    may_name_metric: bool,
    labels: &mut RawLabels<'a>,
) -> Result<(), Fault<'a>> {
    match item {
        Item::Label(name, value) => {
            if labels.iter().any(|(known, _)| *known == name) {
                return Err(Fault::is(at, "the label stands twice in one series"));
            }
            labels.push((name, value));
        }
        Item::MetricName(_) if !may_name_metric => {
            return Err(Fault::is(at, "a label has no value"));
        }
        Item::MetricName(name) => {
            if labels.iter().any(|(known, _)| known == METRIC_NAME) {
                return Err(Fault::is(at, "the metric name stands twice in one series"));
            }
            labels.insert(0, (Cow::Borrowed(METRIC_NAME), name));
        }
    }
    Ok(())
}

/// `name="value"`, `"name"="value"`, or a quoted metric name alone.
fn item(input: &[u8], format: Format) -> Outcome<'_, Item<'_>> {
    let skip = |rest| match format {
        Format::Text => blanks(rest),
        Format::OpenMetrics => Ok((rest, &[][..])),
    };
    let is_quoted = input.first() == Some(&b'"');
    let (rest, name) = if is_quoted {
        let (rest, name) = quoted(true).parse(input)?;
        match unescape(name, true) {
            Some(name) => (rest, name),
            None => return fail(Fault::is(input, "a name is not valid UTF-8")),
        }
    } else {
        let (rest, name) = bare_label_name(input)?;
        (rest, String::from_utf8_lossy(name))
    };
    if name.is_empty() {
        return fail(Fault::is(input, "a name is empty"));
    }
    let (rest, _) = skip(rest)?;
    if is_quoted && matches!(rest.first(), Some(b',' | b'}')) {
        return Ok((rest, Item::MetricName(name)));
    }
    let (rest, _) = context("'=' after the label name", tag("=")).parse(rest)?;
    let (rest, _) = skip(rest)?;
    let newlines = format == Format::Text;
    let (after, value) = context("a label value in double quotes", quoted(newlines)).parse(rest)?;
    match unescape(value, true) {
        Some(value) => Ok((after, Item::Label(name, value))),
        None => fail(Fault::is(rest, "the label value is not valid UTF-8")),
    }
}

/// A run of anything but blanks (in text: nor `{`), read as a number.
pub(crate) fn value(format: Format) -> impl Fn(&[u8]) -> Outcome<'_, f64> {
    move |input| {
        let ends = |c: u8| match format {
            Format::Text => is_blank(c) || c == b'\n' || c == b'{',
            Format::OpenMetrics => c == b' ' || c == b'\n',
        };
        let word = context("a number", take_while1(|c| !ends(c)));
        let (rest, word) = { word }.parse(input)?;
        match float(word) {
            Some(value) => Ok((rest, value)),
            None => fail(Fault::expected(input, "a number")),
        }
    }
}

/// As Go reads it; what is too large for a float is no number.
pub(crate) fn float(bytes: &[u8]) -> Option<f64> {
    if let Some((value, [])) = plain::float(bytes) {
        return Some(value);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let value = number::parse_float(text)?;
    let says_infinite = || text.contains(['n', 'N']);
    (value.is_finite() || value.is_nan() || says_infinite()).then_some(value)
}

/// Milliseconds since 1970, digits only.
pub(crate) fn timestamp_ms(input: &[u8]) -> Outcome<'_, i64> {
    let what = "a timestamp in milliseconds or the end of the line";
    let (rest, digits) = context(what, take_while1(|c: u8| c.is_ascii_digit())).parse(input)?;
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    match number {
        Some(number) => Ok((rest, number)),
        None => fail(Fault::is(input, "the timestamp is out of range")),
    }
}

/// Seconds since 1970, as a float; gives milliseconds.
pub(crate) fn timestamp_seconds(input: &[u8]) -> Outcome<'_, i64> {
    let (rest, seconds) = value(Format::OpenMetrics).parse(input).map_err(|_| {
        let what = "a timestamp in seconds, \" # {\" or the end of the line";
        nom::Err::Error(Fault::expected(input, what))
    })?;
    if !seconds.is_finite() {
        return fail(Fault::is(input, "the timestamp is not a finite number"));
    }
    // Rounded towards zero, as Prometheus does it. Out of range saturates; the store refuses such times as out of bounds.
    Ok((rest, (seconds * 1000.0) as i64))
}

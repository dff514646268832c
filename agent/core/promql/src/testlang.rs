//! The language of Prometheus's PromQL test scripts: `load` series, `eval` expressions and say what
//! is expected.
//!
//! [`parse_script`] gives a plain list of [`Command`]s. Knows nothing of stores or engines: whoever
//! runs a script loads the series, evaluates the expressions and compares.

use std::fmt;

use narthex_model::{Labels, Regexp, duration};

use crate::syntax::ast::{Expr, SequenceValue, SeriesDescription};
use crate::syntax::{self, ParserOptions, parse_series_description};

#[derive(Clone, Debug)]
pub enum Command {
    /// Start over with an empty store.
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

#[derive(Clone, Debug)]
pub struct Load {
    pub line: usize,
    /// Value number i stands at i · `step_ms`.
    pub step_ms: i64,
    /// Also load classic histograms as native ones with custom bounds.
    pub with_custom_bounds: bool,
    /// Each label set once.
    pub series: Vec<LoadSeries>,
}

#[derive(Clone, Debug)]
pub struct LoadSeries {
    pub labels: Labels,
    pub values: Vec<SequenceValue>,
    /// Where each sample started, relative to its time; as long as `values`, or empty.
    pub start_offsets_ms: Vec<Option<i64>>,
}

#[derive(Clone, Debug)]
pub struct Eval {
    pub line: usize,
    pub text: String,
    /// `text`, parsed with everything switched on.
    pub expr: Expr,
    pub times: EvalTimes,
    /// None: it must not fail.
    pub fail: Option<TextMatch>,
    /// Every warning must match one of them and each must be matched; not checked if empty.
    pub warnings: Vec<TextMatch>,
    pub no_warnings: bool,
    /// As `warnings`.
    pub infos: Vec<TextMatch>,
    pub no_infos: bool,
    /// The series must come in the order in which they are listed.
    pub ordered: bool,
    pub expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTimes {
    Instant { at_ms: i64 },
    Range(RangeTimes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeTimes {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

#[derive(Clone, Debug)]
pub enum Expected {
    Scalar(f64),
    String(String),
    /// One value each for an instant, one per step for a range; no series means no result.
    Series(Vec<SeriesDescription>),
    /// The range vector that an instant query gives, with samples at these times. The query runs
    /// at their end.
    RangeVector(RangeTimes, Vec<SeriesDescription>),
}

/// What the text of an error or annotation must be.
#[derive(Clone, Debug)]
pub enum TextMatch {
    Any,
    Exact(String),
    /// Found anywhere in the text.
    Regex(Regexp),
}

impl TextMatch {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            TextMatch::Any => true,
            TextMatch::Exact(expected) => expected == text,
            TextMatch::Regex(regexp) => regexp.is_match(text),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextMatch::Any => f.write_str("anything"),
            TextMatch::Exact(text) => write!(f, "{text:?}"),
            TextMatch::Regex(regexp) => write!(f, "a text with /{}/", regexp.as_str()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    pub line: usize,
    pub message: String,
}

/// Reads a whole script.
pub fn parse_script(text: &str) -> Result<Vec<Command>, ScriptError> {
    let mut lines = Lines::new(text);
    let mut commands = Vec::new();
    while let Some((number, line)) = lines.next_command() {
        let (word, rest) = split_word(line);
        let command = if word == "clear" && rest.is_empty() {
            Command::Clear
        } else if let Some(kind) = word.strip_prefix("load") {
            Command::Load(load(number, kind, rest, &mut lines)?)
        } else if let Some(kind) = word.strip_prefix("eval") {
            Command::Eval(Box::new(eval(number, kind, rest, &mut lines)?))
        } else {
            return Err(error(number, format!("invalid command {line:?}")));
        };
        commands.push(command);
    }
    Ok(commands)
}

/// The lines of a script: trimmed, comments empty, numbered from 1.
struct Lines<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let meaning = |line: &'a str| {
            let line = line.trim();
            if line.starts_with('#') { "" } else { line }
        };
        Lines {
            lines: text.split('\n').map(meaning).collect(),
            at: 0,
        }
    }

    /// The next line that is not empty.
    fn next_command(&mut self) -> Option<(usize, &'a str)> {
        while self.lines.get(self.at)?.is_empty() {
            self.at += 1;
        }
        self.next_in_block()
    }

    /// The next line, if it is not empty.
    fn next_in_block(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.at).filter(|line| !line.is_empty())?;
        self.at += 1;
        Some((self.at, line))
    }
}

fn error(line: usize, message: impl Into<String>) -> ScriptError {
    ScriptError {
        line,
        message: message.into(),
    }
}

/// The first word, and what follows the space behind it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn duration_ms(line: usize, text: &str) -> Result<i64, ScriptError> {
    let wrong = |why: String| error(line, format!("invalid duration {text:?}: {why}"));
    let ms = duration::parse_ms(text).map_err(|e| wrong(e.to_string()))?;
    i64::try_from(ms).map_err(|_| wrong("too long".to_owned()))
}

fn series(line: usize, text: &str) -> Result<SeriesDescription, ScriptError> {
    parse_series_description(text).map_err(|e| error(line, e.to_string()))
}

fn load(line: usize, kind: &str, step: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let with_custom_bounds = match kind {
        "" => false,
        "_with_nhcb" => true,
        _ => {
            return Err(error(
                line,
                "invalid load command, expected load <step> or load_with_nhcb <step>",
            ));
        }
    };
    let mut load = Load {
        line,
        step_ms: duration_ms(line, step)?,
        with_custom_bounds,
        series: Vec::new(),
    };
    let mut starts: Option<Starts> = None;
    while let Some((number, text)) = lines.next_in_block() {
        if let Some(found) = start_line(number, text)? {
            if let Some(earlier) = starts.replace(found) {
                return Err(earlier.unused());
            }
            continue;
        }
        let SeriesDescription { labels, values } = series(number, text)?;
        let start_offsets_ms = match starts.take() {
            Some(starts) => starts.for_series(&labels, values.len())?,
            None => Vec::new(),
        };
        // A second line for the same series replaces the first.
        load.series.retain(|loaded| loaded.labels != labels);
        load.series.push(LoadSeries {
            labels,
            values,
            start_offsets_ms,
        });
    }
    match starts {
        Some(starts) => Err(starts.unused()),
        None => Ok(load),
    }
}

/// A line `metric{…}@st …`, which says when the samples of the next line started.
struct Starts {
    line: usize,
    labels: Labels,
    offsets_ms: Vec<Option<i64>>,
}

impl Starts {
    fn unused(&self) -> ScriptError {
        error(self.line, "@st line has no following sample line")
    }

    fn for_series(self, labels: &Labels, values: usize) -> Result<Vec<Option<i64>>, ScriptError> {
        if self.labels != *labels {
            let message = "@st metric does not match the following sample line metric";
            return Err(error(self.line, message));
        }
        if self.offsets_ms.len() != values {
            let message = format!(
                "@st line has {} values but sample line has {values}",
                self.offsets_ms.len()
            );
            return Err(error(self.line, message));
        }
        Ok(self.offsets_ms)
    }
}

fn start_line(line: usize, text: &str) -> Result<Option<Starts>, ScriptError> {
    let (word, rest) = split_word(text);
    let Some(metric) = word.strip_suffix("@st").filter(|_| text != word) else {
        return Ok(None);
    };
    let labels = syntax::parse_metric(metric)
        .map_err(|e| error(line, format!("invalid @st line metric {metric:?}: {e}")))?;
    let mut offsets_ms = Vec::new();
    for item in rest.split_whitespace() {
        start_item(item, &mut offsets_ms)
            .map_err(|why| error(line, format!("invalid @st item {item:?}: {why}")))?;
    }
    Ok(Some(Starts {
        line,
        labels,
        offsets_ms,
    }))
}

/// Offsets that one line may have.
const MAX_START_OFFSETS: usize = 1_000_000;

/// `_`, `_x3`, `-1m`, `-1mx3`, `-1m+30sx3`
fn start_item(item: &str, into: &mut Vec<Option<i64>>) -> Result<(), String> {
    let (first, step, repetitions) = if let Some(rest) = item.strip_prefix('_') {
        (None, 0, rest)
    } else {
        let (first, rest) = signed_duration(item)?;
        let (step, rest) = match rest.chars().next() {
            Some('+' | '-') => signed_duration(rest)?,
            _ => (0, rest),
        };
        (Some(first), step, rest)
    };
    let count: usize = match repetitions.strip_prefix('x') {
        Some(digits) => digits.parse().map_err(|_| "invalid repeat count")?,
        None if repetitions.is_empty() => usize::from(first.is_none()),
        None => return Err("expected x and a repeat count".to_owned()),
    };
    // The first value is not counted as a repetition, save for gaps.
    let count = count.saturating_add(usize::from(first.is_some()));
    if count > MAX_START_OFFSETS.saturating_sub(into.len()) {
        return Err(format!("a line may have {MAX_START_OFFSETS} values"));
    }
    let mut offset = first;
    for _ in 0..count {
        into.push(offset);
        offset = offset.map(|ms: i64| ms.saturating_add(step));
    }
    Ok(())
}

fn signed_duration(text: &str) -> Result<(i64, &str), String> {
    let minus = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let unit_end = unsigned
        .char_indices()
        .find(|(at, c)| *at >= digits && (!c.is_ascii_alphabetic() || *c == 'x'))
        .map_or(unsigned.len(), |(at, _)| at);
    let (duration, rest) = unsigned.split_at(unit_end);
    let ms = duration::parse_ms(duration).map_err(|e| e.to_string())?;
    let ms = i64::try_from(ms).map_err(|e| e.to_string())?;
    Ok((if minus { -ms } else { ms }, rest))
}

fn eval(line: usize, kind: &str, rest: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let (times, text) = eval_times(line, rest)?;
    let expr = syntax::parse(text, &ParserOptions::everything())
        .map_err(|e| error(line, format!("{text}: {e}")))?;
    let mut eval = Eval {
        line,
        text: text.to_owned(),
        expr,
        times,
        fail: None,
        warnings: Vec::new(),
        no_warnings: false,
        infos: Vec::new(),
        no_infos: false,
        ordered: false,
        expected: Expected::Series(Vec::new()),
    };
    match kind {
        "" => {}
        "_fail" => eval.fail = Some(TextMatch::Any),
        "_warn" => eval.warnings.push(TextMatch::Any),
        "_info" => eval.infos.push(TextMatch::Any),
        "_ordered" => eval.ordered = true,
        _ => return Err(error(line, format!("invalid command eval{kind}"))),
    }
    while let Some((number, text)) = lines.next_in_block() {
        if eval_line(number, text, &mut eval)? == BlockEnd::Reached {
            break;
        }
    }
    Ok(eval)
}

/// When to evaluate, and the expression.
fn eval_times(line: usize, text: &str) -> Result<(EvalTimes, &str), ScriptError> {
    let (kind, rest) = split_word(text);
    match kind {
        "instant" => {
            let rest = keyword(line, rest, "at")?;
            let (at, rest) = split_word(rest);
            let at_ms = duration_ms(line, at)?;
            Ok((EvalTimes::Instant { at_ms }, rest))
        }
        "range" => {
            let (times, rest) = range_times(line, rest)?;
            Ok((EvalTimes::Range(times), rest))
        }
        _ => Err(error(
            line,
            "invalid evaluation command, expected eval instant at <time> <query> or \
             eval range from <time> to <time> step <duration> <query>",
        )),
    }
}

/// `from 0 to 1m step 10s …`
fn range_times(line: usize, text: &str) -> Result<(RangeTimes, &str), ScriptError> {
    let (start, rest) = split_word(keyword(line, text, "from")?);
    let (end, rest) = split_word(keyword(line, rest, "to")?);
    let (step, rest) = split_word(keyword(line, rest, "step")?);
    let times = RangeTimes {
        start_ms: duration_ms(line, start)?,
        end_ms: duration_ms(line, end)?,
        step_ms: duration_ms(line, step)?,
    };
    if times.end_ms < times.start_ms {
        return Err(error(line, "the end of the range is before its start"));
    }
    Ok((times, rest))
}

fn keyword<'a>(line: usize, text: &'a str, expected: &str) -> Result<&'a str, ScriptError> {
    let (word, rest) = split_word(text);
    if word == expected {
        Ok(rest)
    } else {
        Err(error(line, format!("expected {expected:?}, got {word:?}")))
    }
}

#[derive(PartialEq, Eq)]
enum BlockEnd {
    NotReached,
    /// The line ends the block, whatever comes next.
    Reached,
}

/// A line below `eval`: an expectation or an expected series.
fn eval_line(line: usize, text: &str, eval: &mut Eval) -> Result<BlockEnd, ScriptError> {
    if eval.fail.is_some() {
        if let Some(message) = text.strip_prefix("expected_fail_message") {
            eval.fail = Some(TextMatch::Exact(message.trim().to_owned()));
            return Ok(BlockEnd::Reached);
        }
        if let Some(pattern) = text.strip_prefix("expected_fail_regexp") {
            eval.fail = Some(regex_match(line, pattern)?);
            return Ok(BlockEnd::Reached);
        }
    }
    let (word, rest) = split_word(text);
    if word == "expect" {
        expectation(line, rest, eval)?;
        return Ok(BlockEnd::NotReached);
    }
    if let Some(value) = bare_number(text) {
        eval.expected = Expected::Scalar(value);
        return Ok(BlockEnd::Reached);
    }
    let described = series(line, text)?;
    match &mut eval.expected {
        Expected::RangeVector(_, expected) => expected.push(described),
        Expected::Series(_)
            if described.values.len() > 1 && matches!(eval.times, EvalTimes::Instant { .. }) =>
        {
            return Err(error(
                line,
                "expecting multiple values in instant evaluation not allowed, consider \
                 `expect range vector`",
            ));
        }
        Expected::Series(expected) => expected.push(described),
        Expected::Scalar(_) | Expected::String(_) => {
            return Err(error(line, "a series can't be expected besides a string"));
        }
    }
    Ok(BlockEnd::NotReached)
}

fn expectation(line: usize, text: &str, eval: &mut Eval) -> Result<(), ScriptError> {
    if let Some(times) = text.strip_prefix("range vector") {
        let (times, _) = range_times(line, times.trim_start())?;
        eval.expected = Expected::RangeVector(times, Vec::new());
        return Ok(());
    }
    let (kind, rest) = split_word(text);
    if kind == "string" {
        eval.expected = Expected::String(string(line, rest)?);
        return Ok(());
    }
    let wanted = if rest.is_empty() {
        TextMatch::Any
    } else if let Some(message) = rest.strip_prefix("msg:") {
        TextMatch::Exact(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        regex_match(line, pattern)?
    } else {
        return Err(error(
            line,
            format!("expected msg:… or regex:…, got {rest:?}"),
        ));
    };
    match kind {
        "fail" if eval.fail.is_some() => {
            return Err(error(line, "multiple expect fail lines are not allowed"));
        }
        "fail" => eval.fail = Some(wanted),
        "warn" => eval.warnings.push(wanted),
        "info" => eval.infos.push(wanted),
        "no_warn" => eval.no_warnings = true,
        "no_info" => eval.no_infos = true,
        "ordered" => eval.ordered = true,
        _ => return Err(error(line, format!("unknown expectation {kind:?}"))),
    }
    if (eval.no_warnings && !eval.warnings.is_empty()) || (eval.no_infos && !eval.infos.is_empty())
    {
        return Err(error(
            line,
            "it can't be expected both to be and not to be annotated",
        ));
    }
    Ok(())
}

fn regex_match(line: usize, pattern: &str) -> Result<TextMatch, ScriptError> {
    Regexp::unanchored(pattern.trim())
        .map(TextMatch::Regex)
        .map_err(|e| error(line, e.to_string()))
}

/// A quoted string, read as the literal of the language that it is.
fn string(line: usize, text: &str) -> Result<String, ScriptError> {
    match syntax::parse(text, &ParserOptions::default()).map(|expr| expr.kind) {
        Ok(syntax::ast::ExprKind::String(value)) => Ok(value.text().to_owned()),
        _ => Err(error(line, "a quoted string is expected")),
    }
}

/// A line that is a number and nothing else.
fn bare_number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    let value = match syntax::parse(unsigned, &ParserOptions::default())
        .ok()?
        .kind
    {
        syntax::ast::ExprKind::Number(number) if !number.is_duration => number.value,
        _ => return None,
    };
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_becomes_commands() {
        // The second line for a series replaces the first.
        let script = r#"
            # comment
            load 5m
              a{b="c"} 0+10x2 _ stale
              a{b="c"} 1
              st@st -1m+30sx1 _
              st 1 2 3

            eval_fail instant at 5m a
              expected_fail_message nothing there

            clear
            eval range from 0 to 10m step 5m sum by (b) (a)
              expect warn msg: some text
              expect no_info
              {b="c"} 1 2 3

            eval instant at 1m 1 + 1
              2
        "#;
        let commands = parse_script(script).unwrap();
        let [
            Command::Load(load),
            Command::Eval(fail),
            Command::Clear,
            Command::Eval(range),
            Command::Eval(number),
        ] = commands.as_slice()
        else {
            panic!("{commands:#?}");
        };
        assert_eq!(
            (load.line, load.step_ms, load.series.len()),
            (3, 300_000, 2)
        );
        assert_eq!(load.series[0].values.len(), 1);
        assert_eq!(
            load.series[1].start_offsets_ms,
            [Some(-60_000), Some(-30_000), None]
        );
        assert!(fail.fail.as_ref().unwrap().matches("nothing there"));
        assert_eq!(
            range.times,
            EvalTimes::Range(RangeTimes {
                start_ms: 0,
                end_ms: 600_000,
                step_ms: 300_000
            })
        );
        assert!(range.no_infos && range.warnings[0].matches("some text"));
        assert!(matches!(&range.expected, Expected::Series(series) if series[0].values.len() == 3));
        assert!(matches!(number.expected, Expected::Scalar(2.0)));
    }

    #[test]
    fn results_of_other_kinds() {
        for (lines, expected) in [
            ("-Inf", "Scalar(-inf)"),
            ("0x1F", "Scalar(31.0)"),
            ("1e-3", "Scalar(0.001)"),
            (r#"expect string "a\"b""#, r#"String("a\"b")"#),
            ("", "Series([])"),
        ] {
            let commands = parse_script(&format!("eval instant at 0 1\n{lines}\n")).unwrap();
            let [Command::Eval(eval)] = commands.as_slice() else {
                panic!("{commands:?}");
            };
            assert_eq!(format!("{:?}", eval.expected), expected);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (script, message) in [
            ("\nfoo", "line 2: invalid command \"foo\""),
            ("load 5x", "line 1: invalid duration \"5x\""),
            (
                "load 5m\n a@st -1m\n\n",
                "line 2: @st line has no following sample line",
            ),
            (
                "load 5m\n a@st -1m\n a 1 2",
                "line 2: @st line has 1 values but sample line has 2",
            ),
            ("eval instant at 5m a b", "line 1: a b: 1:3: parse error"),
            (
                "eval instant at 5m a\n a 1 2",
                "line 2: expecting multiple values",
            ),
            (
                "eval instant at 5m a\n expect fial",
                "line 2: unknown expectation",
            ),
            (
                "eval range from 5m to 1m step 1m a",
                "line 1: the end of the range",
            ),
            (
                "eval instant at 5m a\n expect fail\n expect fail",
                "line 3: multiple",
            ),
        ] {
            let error = parse_script(script).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}

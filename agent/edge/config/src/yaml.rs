//! YAML text to a tree of nodes that know where they stand. The one place that knows the parser.
//!
//! Keeps true: anchors, aliases and merge keys (`<<`) are already followed; a key stands once in
//! its mapping; scalars keep their text as written, because only the field says whether `1` is a
//! number or a label's value. A tree is bounded in depth and in nodes, also against aliases that
//! multiply. Knows no field.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::error::Position;

/// Aliases followed, a document may not hold more.
const MAX_NODES: usize = 1_000_000;
const MAX_DEPTH: usize = 100;

#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub at: Position,
    /// The field, as in `scrape_configs[0].job_name`.
    pub path: String,
    pub value: Value,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Value {
    #[default]
    Null,
    Scalar {
        text: String,
        quoted: bool,
        /// Where the text begins, if it stands in the file as it is, line by line.
        verbatim_from: Option<Position>,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// A scalar's text; nothing written is the empty text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Null => Some(""),
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where a line and a column (in bytes, both from 1) of the scalar's text are in the file.
    pub(crate) fn place_in_text(&self, line: usize, column: usize) -> Option<Position> {
        let Value::Scalar {
            text,
            verbatim_from: Some(start),
            ..
        } = &self.value
        else {
            return None;
        };
        let before = text
            .lines()
            .nth(line.checked_sub(1)?)?
            .get(..column.checked_sub(1)?)?;
        Some(Position {
            line: start.line + line - 1,
            column: start.column + before.chars().count(),
        })
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub at: Position,
    pub message: String,
}

/// The first document of `text`; further documents are not read, as in Prometheus. An empty one is
/// a null node.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut root = reader.document().map_err(|failure| match failure {
        Failure::Syntax(error) => syntax_error(text, &error),
        Failure::Meaning(error) => error,
    })?;
    name_fields(&mut root, String::new());
    Ok(root)
}

type Parse<T> = Result<T, Failure>;

enum Failure {
    Syntax(ScanError),
    Meaning(YamlError),
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Failure::Syntax(error)
    }
}

fn fail<T>(at: Position, message: impl Into<String>) -> Parse<T> {
    Err(Failure::Meaning(YamlError {
        at,
        message: message.into(),
    }))
}

struct Reader<'a> {
    parser: Parser<'a, serde_yaml::granit_parser::StrInput<'a>>,
    /// Finished anchored nodes, with how many nodes each holds.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Parse<(Event<'a>, Span)> {
        loop {
            match self.parser.next_event() {
                Some(event) => {
                    let (event, span) = event?;
                    if !is_presentation(&event) {
                        return Ok((event, span));
                    }
                }
                None => return Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
            }
        }
    }

    fn document(&mut self) -> Parse<Node> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => {
                    return Ok(node(Position { line: 1, column: 1 }, Value::Null));
                }
                (event, span) => return self.node(event, span, 0),
            }
        }
    }

    /// The node that `event` starts.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Parse<Node> {
        let at = position(span.start);
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            return fail(at, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let before = self.nodes;
        let (anchor, value) = match event {
            Event::Alias(id) => return self.follow(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(text, style, tag.as_deref(), span)?)
            }
            Event::SequenceStart(_, anchor, _) => (anchor, Value::List(self.list(depth)?)),
            Event::MappingStart(_, anchor, _) => (anchor, Value::Map(self.map(depth)?)),
            _ => return fail(at, "not valid YAML: a value was expected here"),
        };
        let node = node(at, value);
        if anchor != 0 {
            let size = self.nodes - before + 1;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn follow(&mut self, anchor: usize, at: Position) -> Parse<Node> {
        let Some((_, size)) = self.anchors.get(&anchor) else {
            return fail(at, "an alias that stands inside of what it names");
        };
        self.count(*size, at)?;
        match self.anchors.get(&anchor) {
            Some((node, _)) => Ok(node.clone()),
            None => fail(at, "an alias without an anchor"),
        }
    }

    fn count(&mut self, more: usize, at: Position) -> Parse<()> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return fail(
                at,
                format!("more than {MAX_NODES} values, with aliases followed"),
            );
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Parse<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Parse<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, Position> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key_at = position(span.start);
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            if value.is_null() {
                value.at = key_at;
            }
            if is_merge {
                merged.push(value);
                continue;
            }
            if let Some(first) = seen.insert(key.clone(), key_at) {
                return fail(
                    key_at,
                    format!(
                        "the key `{key}` stands twice in the same mapping, first in line {}",
                        first.line
                    ),
                );
            }
            entries.push(Entry { key, key_at, value });
        }
        for source in merged {
            merge(&mut entries, source)?;
        }
        Ok(entries)
    }

    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Parse<String> {
        let key = self.node(event, span, depth + 1)?;
        match key.value {
            Value::Scalar { text, .. } => Ok(text),
            Value::Null => Ok(String::new()),
            _ => fail(
                key.at,
                format!("a key must be text, this is {}", key.kind()),
            ),
        }
    }
}

/// Comments and the like, which say nothing of the data.
fn is_presentation(event: &Event<'_>) -> bool {
    !matches!(
        event,
        Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::UnresolvedAlias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

fn node(at: Position, value: Value) -> Node {
    Node {
        at,
        path: String::new(),
        value,
    }
}

fn position(marker: Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Parse<Value> {
    let core = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
    if core.as_deref() == Some("binary") {
        let text = binary_text(&text).or_else(|reason| fail(position(span.start), reason))?;
        return Ok(Value::Scalar {
            text,
            quoted: true,
            verbatim_from: None,
        });
    }
    let quoted = style != ScalarStyle::Plain || core.as_deref() == Some("str");
    if !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Value::Null);
    }
    Ok(Value::Scalar {
        verbatim_from: verbatim_from(&text, style, span),
        text: text.into_owned(),
        quoted,
    })
}

fn verbatim_from(text: &str, style: ScalarStyle, span: Span) -> Option<Position> {
    let start = position(span.start);
    let quotes = match style {
        ScalarStyle::Literal => {
            // The parser tells where the first line begins that isn't empty.
            let empty = text.chars().take_while(|c| *c == '\n').count();
            let line = start.line.checked_sub(empty)?;
            return Some(Position { line, ..start });
        }
        ScalarStyle::Folded => return None,
        ScalarStyle::Plain => 0,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
    };
    // Escapes and folded lines make it longer in the file than it is.
    let is_as_long = span.len() == text.chars().count() + 2 * quotes;
    is_as_long.then_some(Position {
        line: start.line,
        column: start.column + quotes,
    })
}

/// Adds the entries of `<<: *base` (or of a list of bases) whose keys are not there yet.
fn merge(entries: &mut Vec<Entry>, source: Node) -> Parse<()> {
    match source.value {
        Value::Map(base) => {
            for entry in base {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Value::List(bases) => bases.into_iter().try_for_each(|base| match base.value {
            Value::Map(_) => merge(entries, base),
            _ => fail(base.at, "`<<` merges mappings, this is none"),
        }),
        _ => fail(source.at, "`<<` merges a mapping or a list of mappings"),
    }
}

fn name_fields(node: &mut Node, path: String) {
    match &mut node.value {
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                name_fields(item, format!("{path}[{index}]"));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let field = join(&path, &entry.key);
                name_fields(&mut entry.value, field);
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
    node.path = path;
}

/// The path of the field `key` in the mapping at `path`.
pub(crate) fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn syntax_error(text: &str, error: &ScanError) -> YamlError {
    let at = position(*error.marker());
    // The parser may stumble at the end of the line before.
    let tab = text
        .lines()
        .take(at.line + 1)
        .enumerate()
        .find(|(_, line)| indentation(line).contains('\t'));
    if let Some((index, line)) = tab {
        let column = indentation(line).find('\t').unwrap_or(0) + 1;
        return YamlError {
            at: Position {
                line: index + 1,
                column,
            },
            message: format!(
                "line {} is indented with a tab: YAML wants spaces",
                index + 1
            ),
        };
    }
    YamlError {
        at,
        message: format!("not valid YAML: {}", error.info()),
    }
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// `!!binary` is text in base64.
fn binary_text(text: &str) -> Result<String, String> {
    let bytes = base64(text).ok_or("`!!binary` wants base64, this is none")?;
    String::from_utf8(bytes).map_err(|_| "this `!!binary` is not valid UTF-8 text".to_owned())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let unpadded = match digits.as_slice() {
        [rest @ .., b'=', b'='] => rest,
        [rest @ .., b'='] => rest,
        all => all,
    };
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len());
    for group in unpadded.chunks(4) {
        let mut bits: u32 = 0;
        for digit in group {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, a, b, c] = bits.to_be_bytes();
        bytes.extend_from_slice([a, b, c].get(..group.len().saturating_sub(1))?);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line per scalar: where it stands, its field, its text.
    fn scalars(node: &Node, out: &mut Vec<String>) {
        match &node.value {
            Value::Null => out.push(format!(
                "{}:{} {} null",
                node.at.line, node.at.column, node.path
            )),
            Value::Scalar { text, quoted, .. } => out.push(format!(
                "{}:{} {} {}{text}",
                node.at.line,
                node.at.column,
                node.path,
                if *quoted { "'" } else { "" }
            )),
            Value::List(items) => items.iter().for_each(|item| scalars(item, out)),
            Value::Map(entries) => entries.iter().for_each(|entry| scalars(&entry.value, out)),
        }
    }

    #[test]
    fn trees() {
        for (text, expected) in [
            ("", vec!["1:1  null"]),
            ("# nothing\n", vec!["1:1  null"]),
            ("---\na: 1\n---\n: : :\n", vec!["2:4 a 1"]),
            ("\u{feff}a: yes", vec!["1:4 a yes"]),
            ("a:\nb: ''\n", vec!["1:1 a null", "2:4 b '"]),
            (
                "a:\n  - x: 1\n    y: \"1\"\n  - ~\n",
                vec!["2:8 a[0].x 1", "3:8 a[0].y '1", "4:5 a[1] null"],
            ),
            (
                "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n",
                vec![
                    "1:14 base.x 1",
                    "1:20 base.y 2",
                    "4:6 use.y 3",
                    "1:14 use.x 1",
                ],
            ),
            (
                "l: [&a {x: 1}, &b {x: 2, y: 3}]\nm:\n  <<: [*a, *b]\n",
                vec![
                    "1:12 l[0].x 1",
                    "1:23 l[1].x 2",
                    "1:29 l[1].y 3",
                    "1:12 m.x 1",
                    "1:29 m.y 3",
                ],
            ),
            (
                "a: !!binary aGk=\nb: !!str 1\nc: |\n  x\n  y\n",
                vec!["1:13 a 'hi", "2:10 b '1", "4:3 c 'x\ny\n"],
            ),
            ("測試: ü", vec!["1:5 測試 ü"]),
        ] {
            let mut out = Vec::new();
            scalars(
                &parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}")),
                &mut out,
            );
            assert_eq!(out, expected, "{text}");
        }
    }

    #[test]
    fn faults() {
        for (text, line, column, part) in [
            ("a:\n\tb: 1\n", 2, 1, "line 2 is indented with a tab"),
            (
                "a:\n  b: 1\n  \tc: 2\n",
                3,
                3,
                "line 3 is indented with a tab",
            ),
            (
                "a: 1\nb: 2\na: 3\n",
                3,
                1,
                "`a` stands twice in the same mapping, first in line 1",
            ),
            ("a: [1, 2\n", 1, 4, "not valid YAML: unclosed bracket '['"),
            ("a: *nowhere\n", 1, 4, "not valid YAML"),
            ("a: &x [*x]\n", 1, 8, "inside of what it names"),
            ("a: !!binary /w==\n", 1, 13, "not valid UTF-8"),
            ("a: !!binary \"/w==$1\"\n", 1, 13, "base64"),
            ("? [a]\n: b\n", 1, 3, "a key must be text"),
            ("a:\n  <<: 1\n", 2, 7, "`<<` merges"),
            ("a: b: c\n", 1, 5, "not valid YAML"),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error:?}");
            assert_eq!(
                (error.at.line, error.at.column),
                (line, column),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn places_within_texts() {
        // The place of the letter `x` in the text of `a`.
        for (yaml, expected) in [
            ("a: bx", Some((1, 5))),
            ("a: 'bx'", Some((1, 6))),
            ("a: \"üx\"", Some((1, 6))),
            ("a: \"\\tx\"", None),
            ("a: 'b''x'", None),
            ("a: |\n  b\n  cx\n", Some((3, 4))),
            ("a: |\n    b\n      cx\n", Some((3, 8))),
            ("a: |-\n\n  cx\n", Some((3, 4))),
            ("a: >\n  b\n  cx\n", None),
            ("a: b\n  x\n", None),
        ] {
            let root = parse(yaml).unwrap_or_else(|e| panic!("{yaml}: {e:?}"));
            let node = root.get("a").unwrap();
            let text = node.text().unwrap();
            let line = text.lines().position(|line| line.contains('x')).unwrap();
            let column = text.lines().nth(line).unwrap().find('x').unwrap();
            let place = node.place_in_text(line + 1, column + 1);
            assert_eq!(place.map(|at| (at.line, at.column)), expected, "{yaml}");
        }
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let former = level - 1;
            let list = vec![format!("*a{former}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        let error = parse(&text).map(|_| ()).unwrap_err();
        assert!(error.message.contains("1000000 values"), "{error:?}");
    }

    #[test]
    fn depth_is_bounded() {
        for text in [
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "{a: ".repeat(200),
        ] {
            assert!(parse(&text).is_err());
        }
    }
}

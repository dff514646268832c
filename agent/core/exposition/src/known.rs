//! Reading on where the caller knows, from the last time, what probably comes next.
//!
//! Keeps true: what is taken here is what [`Parser::next`] would have given. What isn't what the
//! caller expects, or isn't written plainly, is left where it is, for `next`.

use narthex_model::MetricType;

use crate::parser::bound_label;
use crate::{Format, Parser, Series, grammar, plain};

/// What besides its raw bytes decides the labels of a series: the format, and whether the last
/// TYPE line makes `le` or `quantile` a number. Equal bytes in equal contexts have equal labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(u8);

impl Context {
    #[inline]
    pub(crate) fn new(format: Format, kind: MetricType) -> Self {
        let format = match format {
            Format::Text => 0,
            Format::OpenMetrics => 3,
        };
        let bound = match bound_label(kind) {
            None => 0,
            Some("le") => 1,
            Some(_) => 2,
        };
        Context(format + bound)
    }

    /// A small number, different for each context.
    pub fn id(self) -> u8 {
        self.0
    }
}

impl<'a> Parser<'a> {
    /// In which context the next series would be read.
    #[inline]
    pub fn context(&self) -> Context {
        Context::new(self.format, self.kind)
    }

    /// What has not been read yet. It starts with a line.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the series that stands next if its raw bytes are `length` long and `is_it` knows them,
    /// and if its sample is plainly written: one space, a number, in text perhaps a timestamp.
    /// Otherwise nothing is read.
    ///
    /// `is_it` may say yes only to bytes that [`Series::raw`] once gave, in the same context.
    #[inline]
    pub fn next_known(
        &mut self,
        length: usize,
        is_it: impl FnOnce(&'a [u8]) -> bool,
    ) -> Option<Series<'a>> {
        if self.done {
            return None;
        }
        let (raw, after) = self.rest.split_at_checked(length)?;
        let sample = after.strip_prefix(b" ")?;
        if !is_it(raw) {
            return None;
        }
        let (value, after) = match plain::float(sample) {
            Some(number) => number,
            None => uncommon_float(sample)?,
        };
        let (timestamp_ms, rest) = match after.split_first() {
            Some((b'\n', rest)) => (None, rest),
            Some((b' ', digits)) if self.format == Format::Text => {
                let (timestamp_ms, after) = plain::integer(digits)?;
                (Some(timestamp_ms), end_of_text_line(after)?)
            }
            None if self.format == Format::Text => (None, after),
            _ => return None,
        };
        self.rest = rest;
        Some(self.series(raw, value, timestamp_ms, None))
    }

    /// Passes over comment lines if they are `length` bytes long and `is_it` knows them. `kind` is
    /// what the last TYPE line among them says. False: nothing was read.
    ///
    /// `is_it` may say yes only to whole lines, the last one's line break included, that
    /// [`Parser::next`] once read in the same format, and that held no series and no `# EOF`.
    #[inline]
    pub fn skip_known(
        &mut self,
        length: usize,
        kind: Option<MetricType>,
        is_it: impl FnOnce(&'a [u8]) -> bool,
    ) -> bool {
        let Some((lines, rest)) = self.rest.split_at_checked(length) else {
            return false;
        };
        if self.done || lines.last() != Some(&b'\n') || !is_it(lines) {
            return false;
        }
        self.rest = rest;
        self.kind = kind.unwrap_or(self.kind);
        true
    }
}

/// A number of many digits, or none at all as `NaN`; up to the next blank or line break.
#[inline(never)]
fn uncommon_float(text: &[u8]) -> Option<(f64, &[u8])> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\n');
    let length = text.iter().position(ends).unwrap_or(text.len());
    let (word, rest) = text.split_at(length);
    Some((grammar::float(word)?, rest))
}

fn end_of_text_line(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_first() {
        Some((b'\n', rest)) => Some(rest),
        Some(_) => None,
        None => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, parse};
    use proptest::prelude::*;

    /// What a body taught: series with their contexts, and stretches of comment lines with the
    /// type that they set.
    #[derive(Default)]
    struct Learned<'a> {
        series: Vec<(Context, &'a [u8])>,
        comments: Vec<(&'a [u8], Option<MetricType>)>,
    }

    type Read = Result<Vec<String>, String>;

    fn show(series: &Series<'_>) -> Result<String, String> {
        let labels = series.to_labels().map_err(|e| e.to_string())?;
        let exemplar = &series.exemplar;
        Ok(format!(
            "{labels} {:x} {:?} {exemplar:?} line {}",
            series.value.to_bits(),
            series.timestamp_ms,
            series.line()
        ))
    }

    /// Reads without foreknowledge; gives what it learned as far as it came.
    fn learn<'a>(format: Format, body: &'a [u8], learned: &mut Learned<'a>) -> Read {
        let mut read = Vec::new();
        let mut parser = parse(format, body);
        loop {
            let before = parser.rest();
            let Some(entry) = parser.next() else {
                return Ok(read);
            };
            let kind = match entry.map_err(|e| e.to_string())? {
                Entry::Series(series) => {
                    read.push(show(&series)?);
                    learned.series.push((series.context(), series.raw()));
                    continue;
                }
                Entry::Eof => continue,
                Entry::Type { kind, .. } => Some(kind),
                Entry::Help { .. } | Entry::Unit { .. } => None,
            };
            let (lines, _) = before.split_at(before.len() - parser.rest().len());
            learned.comments.push((lines, kind));
        }
    }

    /// Reads by what was learned wherever that does.
    fn read_on(format: Format, body: &[u8], learned: &Learned<'_>) -> (Read, usize) {
        let mut hits = 0;
        let mut read = Vec::new();
        let mut parser = parse(format, body);
        'lines: loop {
            for (context, raw) in &learned.series {
                let here = parser.context();
                let known = |bytes: &[u8]| bytes == *raw && here == *context;
                if let Some(series) = parser.next_known(raw.len(), known) {
                    hits += 1;
                    match show(&series) {
                        Ok(line) => read.push(line),
                        Err(error) => return (Err(error), hits),
                    }
                    continue 'lines;
                }
            }
            for (lines, kind) in &learned.comments {
                if parser.skip_known(lines.len(), *kind, |bytes| bytes == *lines) {
                    hits += 1;
                    continue 'lines;
                }
            }
            match parser.next() {
                None => return (Ok(read), hits),
                Some(Err(error)) => return (Err(error.to_string()), hits),
                Some(Ok(Entry::Series(series))) => match show(&series) {
                    Ok(line) => read.push(line),
                    Err(error) => return (Err(error), hits),
                },
                Some(Ok(_)) => {}
            }
        }
    }

    /// Whatever `first` taught, `second` reads as without it. Gives how often that did.
    fn agrees(format: Format, first: &[u8], second: &[u8]) -> Result<usize, TestCaseError> {
        let mut learned = Learned::default();
        let _ = learn(format, first, &mut learned);
        let plain = learn(format, second, &mut Learned::default());
        let (read, hits) = read_on(format, second, &learned);
        prop_assert_eq!(read, plain);
        Ok(hits)
    }

    const TEXT: &str = "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\",b=\"}\\\" 1\"} 5\n\
                        a_bucket{le=\"+Inf\",b=\"y\nz\"} 5 1700\na_sum NaN\n\
                        # a comment\n\n  # TYPE b summary\nb{quantile=\"1\"} 0.30000000000000004\n\
                        b 1 12\nb {} 2\na_bucket{le=\"1\"} 1e-3";
    const OPENMETRICS: &str = "# TYPE a histogram\n# UNIT a \n# HELP a x\n\
                               a_bucket{le=\"1\"} 5 # {t=\"u\"} 0.5\na_bucket{le=\"2\"} 5 1.5\n\
                               a_bucket{le=\"3\"} 5 2\na_sum -Inf\n# TYPE b unknown\nb{le=\"1\"} 1\n# EOF\n";

    #[test]
    fn a_body_read_again_is_read_the_same() {
        // All but `# EOF`, and in OpenMetrics but the exemplar and the timestamps.
        for (format, body, hits) in [
            (Format::Text, TEXT, 10),
            (Format::OpenMetrics, OPENMETRICS, 6),
        ] {
            let found = agrees(format, body.as_bytes(), body.as_bytes()).unwrap();
            assert_eq!(found, hits, "{format:?}");
        }
    }

    #[test]
    fn lines_that_go_on_or_lack_their_end_are_read_with_care() {
        for (format, first, second) in [
            (Format::Text, "# HELP a x", "# HELP a xyz\na 1"),
            (Format::Text, "a 1", "a 1 2 3"),
            (Format::Text, "a 1", "a {b=\"c\"} 1"),
            (Format::OpenMetrics, "a 1\n# EOF\n", "a 1"),
            (Format::OpenMetrics, "a 1\n# EOF\n", "# EOF\na 1\n"),
        ] {
            agrees(format, first.as_bytes(), second.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_same_bytes_in_another_context_are_not_known() {
        let first = "# TYPE a histogram\na{le=\"1\"} 1\n";
        for second in ["a{le=\"1\"} 1", "# TYPE a summary\na{le=\"1\"} 1"] {
            agrees(Format::Text, first.as_bytes(), second.as_bytes()).unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, cases: 2000, ..ProptestConfig::default()
        })]

        #[test]
        fn changed_bodies_are_read_as_without_foreknowledge(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, "[a1{}\" \n\t#.,]"), 0..4)
        ) {
            for (format, body) in [(Format::Text, TEXT), (Format::OpenMetrics, OPENMETRICS)] {
                let mut changed = body.as_bytes().to_vec();
                for (at, what, byte) in &changes {
                    let at = at.index(changed.len());
                    let byte = byte.as_bytes()[0];
                    match what {
                        0 => changed[at] = byte,
                        1 => changed.insert(at, byte),
                        _ => {
                            changed.remove(at);
                        }
                    }
                }
                agrees(format, body.as_bytes(), &changed)?;
                agrees(format, &changed, body.as_bytes())?;
            }
        }

        #[test]
        fn likely_bodies_are_read_as_without_foreknowledge(
            first in "([ab]|a\\{le=\"1\"\\}|\\{\"a\"\\}|# TYPE a (histogram|gauge)|# EOF)?[ {]?[1 \n]{0,3}([ab]|a\\{le=\"1\"\\})[ 1\n]{0,4}",
            second in "([ab]|a\\{le=\"1\"\\}|\\{\"a\"\\}|# TYPE a (histogram|gauge)|# EOF)?[ {]?[1 \n]{0,3}([ab]|a\\{le=\"1\"\\})[ 1\n]{0,4}",
        ) {
            for format in [Format::Text, Format::OpenMetrics] {
                agrees(format, first.as_bytes(), second.as_bytes())?;
            }
        }
    }
}

//! Regular expressions that need no engine: choices of words, and words with anything around them.
//!
//! Most expressions that people and dashboards write are such: `a|b`, `(10\.0\.0\.1:9100|…)`,
//! `node_.*`, `.+`. What this module cannot tell for sure it leaves to the engine.

/// An anchored expression without need of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlainPattern {
    /// Exactly these texts match; ascending, each once.
    Words(Vec<String>),
    /// What has this text between the two gaps matches.
    Around {
        before: Gap,
        text: String,
        after: Gap,
    },
}

/// What may stand before or after a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    Nothing,
    /// `.*`
    Anything,
    /// `.+`
    Something,
}

/// How many bytes the words of one expression may take while they are put together; longer ones
/// are left to the engine.
const MAX_BYTES: usize = 1 << 20;

/// Deeper groups are left to the engine.
const MAX_DEPTH: usize = 16;

impl PlainPattern {
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        Self::words(pattern).or_else(|| Self::around(pattern))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            PlainPattern::Words(words) => words.binary_search_by(|w| (**w).cmp(text)).is_ok(),
            PlainPattern::Around {
                before,
                text: wanted,
                after,
            } => {
                let mut chars = text.chars();
                let is_long_enough = (*before != Gap::Something || chars.next().is_some())
                    && (*after != Gap::Something || chars.next_back().is_some());
                let text = chars.as_str();
                is_long_enough
                    && match (before, after) {
                        (Gap::Nothing, Gap::Nothing) => text == wanted,
                        (Gap::Nothing, _) => text.starts_with(wanted.as_str()),
                        (_, Gap::Nothing) => text.ends_with(wanted.as_str()),
                        _ => text.contains(wanted.as_str()),
                    }
            }
        }
    }

    fn words(pattern: &str) -> Option<Self> {
        if pattern.is_empty() {
            return None;
        }
        let mut parser = Parser::new(pattern);
        let mut words = parser.choice(0)?;
        if !parser.rest.is_empty() {
            return None;
        }
        words.sort_unstable();
        words.dedup();
        Some(PlainPattern::Words(words))
    }

    fn around(pattern: &str) -> Option<Self> {
        let (before, pattern) = if let Some(rest) = pattern.strip_prefix(".*") {
            (Gap::Anything, rest)
        } else if let Some(rest) = pattern.strip_prefix(".+") {
            (Gap::Something, rest)
        } else {
            (Gap::Nothing, pattern)
        };
        let (after, pattern) = if let Some(rest) = pattern.strip_suffix(".*") {
            (Gap::Anything, rest)
        } else if let Some(rest) = pattern.strip_suffix(".+") {
            (Gap::Something, rest)
        } else {
            (Gap::Nothing, pattern)
        };
        let mut parser = Parser::new(pattern);
        let mut text = String::new();
        while !parser.rest.is_empty() {
            text.push(parser.character()?);
        }
        Some(PlainPattern::Around {
            before,
            text,
            after,
        })
    }
}

/// Takes an expression off its beginning; gives up at what is more than words.
struct Parser<'a> {
    rest: &'a str,
    /// What is left of `MAX_BYTES`.
    bytes_left: usize,
}

impl<'a> Parser<'a> {
    fn new(pattern: &'a str) -> Self {
        Parser {
            rest: pattern,
            bytes_left: MAX_BYTES,
        }
    }

    /// The words of `a|b|…`, up to the end or to a closing parenthesis.
    fn choice(&mut self, depth: usize) -> Option<Vec<String>> {
        let mut words = self.sequence(depth)?;
        while self.take("|") {
            words.append(&mut self.sequence(depth)?);
        }
        Some(words)
    }

    /// The words of characters and groups one after another.
    fn sequence(&mut self, depth: usize) -> Option<Vec<String>> {
        let mut words = vec![String::new()];
        self.spend(size_of::<String>())?;
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            if !self.rest.starts_with('(') {
                let character = self.character()?;
                self.spend(words.len() * character.len_utf8())?;
                words.iter_mut().for_each(|word| word.push(character));
                continue;
            }
            let ends = self.group(depth + 1)?;
            self.spend(size_of_joined(&words, &ends))?;
            let joined = words.iter().flat_map(|word| {
                let with = move |end: &String| format!("{word}{end}");
                ends.iter().map(with)
            });
            words = joined.collect();
        }
        Some(words)
    }

    fn group(&mut self, depth: usize) -> Option<Vec<String>> {
        if depth > MAX_DEPTH || !self.take("(") {
            return None;
        }
        // Any other `(?` is refused as a character.
        self.take("?:");
        let words = self.choice(depth)?;
        self.take(")").then_some(words)
    }

    /// A character that stands for itself, or an escaped one.
    fn character(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let character = match chars.next()? {
            '\\' => chars.next().filter(char::is_ascii_punctuation)?,
            c if r"\.+*?()[]{}^$|".contains(c) => return None,
            c => c,
        };
        self.rest = chars.as_str();
        Some(character)
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.bytes_left = self.bytes_left.checked_sub(bytes)?;
        Some(())
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// What it takes to join each word with each end.
fn size_of_joined(words: &[String], ends: &[String]) -> usize {
    let length = |words: &[String]| words.iter().map(String::len).sum::<usize>();
    words.len() * ends.len() * size_of::<String>()
        + words.len() * length(ends)
        + ends.len() * length(words)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn words(pattern: &str) -> Option<Vec<String>> {
        match PlainPattern::of(pattern)? {
            PlainPattern::Words(words) => Some(words),
            PlainPattern::Around { .. } => None,
        }
    }

    #[test]
    fn knows_the_words() {
        for (pattern, expected) in [
            ("a", &["a"][..]),
            ("b|a|b", &["a", "b"]),
            ("a|", &["", "a"]),
            ("()", &[""]),
            ("(a|b)", &["a", "b"]),
            ("x(?:a|b(c|d))é", &["xaé", "xbcé", "xbdé"]),
            (r"(10\.0\.0\.1:9100|a\|b)", &["10.0.0.1:9100", "a|b"]),
            ("(a|b)(c|d)", &["ac", "ad", "bc", "bd"]),
        ] {
            let expected = expected.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(words(pattern), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn leaves_the_rest_to_the_engine() {
        let deep = format!("{}a{}", "(".repeat(20), ")".repeat(20));
        let many = "(a|b)".repeat(20);
        let long = format!("{}{}", "(a|b)".repeat(10), "a".repeat(2_000));
        for pattern in [
            "", "a.b", "a*", "(a|b)?", "(a", "a)", "(?i)a", "(?i:a)", "(?P<x>a)", r"\d", r"a\",
            "[ab]", "^a", "a$", "a{2}", "a{b}", r"\Qa\E", r"\é", &deep, &many, &long,
        ] {
            assert_eq!(words(pattern), None, "{pattern}");
        }
    }

    /// Every expression of up to five pieces, asked about every text of up to three characters.
    #[test]
    fn agrees_with_the_engine() {
        let pieces = ["a", "b", ".*", ".+", "|", "(", ")", r"\.", "?"];
        let texts = all_of(&["a", "b", ".", "\n", "é"], 3);
        let mut plain = 0;
        for pattern in all_of(&pieces, 5) {
            let Some(found) = PlainPattern::of(&pattern) else {
                continue;
            };
            let Ok(regex) = Regex::new(&format!("^(?s:{pattern})$")) else {
                panic!("{pattern:?} is no expression, but was taken for {found:?}");
            };
            plain += 1;
            for text in &texts {
                let expected = regex.is_match(text);
                assert_eq!(found.matches(text), expected, "{pattern:?} on {text:?}");
            }
        }
        assert!(plain > 500, "{plain}");
    }

    fn all_of(pieces: &[&str], most: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..most {
            let longer = longest.iter().flat_map(|text| {
                let with = move |piece: &&str| format!("{text}{piece}");
                pieces.iter().map(with)
            });
            longest = longer.collect();
            all.extend(longest.iter().cloned());
        }
        all
    }
}

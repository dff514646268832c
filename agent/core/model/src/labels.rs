//! Label sets: the identity of a series, a target or an alert.
//!
//! A [`Labels`] is immutable and cheap to clone. Labels are shared, and so are the strings of their
//! names and values: a label set derived from another one (by relabelling, grouping or dropping
//! labels) copies no text, and a set of ten labels of a store that has each of them once takes
//! hardly more than ten pointers.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use hashbrown::DefaultHashBuilder;
use xxhash_rust::xxh64::Xxh64;

use crate::METRIC_NAME;

/// One name with its value. It does not change once it is made.
#[derive(Clone, PartialOrd, Ord, Debug)]
pub struct Label {
    pub name: Arc<str>,
    pub value: Arc<str>,
    /// Of both texts: label sets are hashed far more often than labels are made.
    hash: u64,
}

impl Label {
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        /// Keyed anew in each process: label values come from outside, and nobody shall choose
        /// them so that they collide.
        static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
        let (name, value) = (name.into(), value.into());
        let hash = HASHER.hash_one((&*name, &*value));
        Label { name, value, hash }
    }
}

/// An empty name and an empty value.
impl Default for Label {
    fn default() -> Self {
        Label::new("", "")
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.name == other.name && self.value == other.value
    }
}

impl Eq for Label {}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A set of labels, sorted by name, each name once, no value empty.
#[derive(Clone)]
pub struct Labels {
    shared: Arc<[Arc<Label>]>,
    /// The labels before this belong to the set that this one was made from; so dropping the
    /// metric name, which most often comes first, copies nothing.
    first: usize,
}

impl Labels {
    pub fn empty() -> Self {
        Labels::of(Arc::from([]))
    }

    fn of(shared: Arc<[Arc<Label>]>) -> Self {
        Labels { shared, first: 0 }
    }

    /// From pairs in any order. A later pair replaces an earlier one of the same name; empty values
    /// are left out, as a label with an empty value is the same as no label.
    pub fn from_pairs<N: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// From labels that are known to be sorted by name, without duplicates or empty values. One
    /// allocation where they are shared and the iterator knows how many come, as those of slices do.
    pub fn from_sorted<L: Into<Arc<Label>>>(labels: impl IntoIterator<Item = L>) -> Self {
        let shared: Arc<[Arc<Label>]> = labels.into_iter().map(Into::into).collect();
        debug_assert!(shared.windows(2).all(|w| w[0].name < w[1].name));
        debug_assert!(shared.iter().all(|l| !l.value.is_empty()));
        Labels::of(shared)
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_shared(name).map(|value| &**value)
    }

    /// As [`Labels::get`], but the shared string itself.
    pub fn get_shared(&self, name: &str) -> Option<&Arc<str>> {
        // One after another: a set is small, and most names differ in length.
        let found = self.iter().find(|label| *label.name == *name)?;
        Some(&found.value)
    }

    /// The value of `name`, or "" where the set lacks it: what a matcher compares with.
    pub fn value_or_empty(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.as_slice().iter().map(|label| &**label)
    }

    pub fn as_slice(&self) -> &[Arc<Label>] {
        self.shared.get(self.first..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The labels for which `keep` holds.
    pub fn filtered(&self, mut keep: impl FnMut(&Label) -> bool) -> Labels {
        let labels = self.as_slice();
        // Of each label it is asked once: what goes before the first that stays, then the rest.
        let Some(start) = labels.iter().position(|label| keep(label)) else {
            return Labels::empty();
        };
        let stays = labels[start + 1..].iter().position(|label| !keep(label));
        let Some(gap) = stays.map(|at| start + 1 + at) else {
            return Labels {
                shared: self.shared.clone(),
                first: self.first + start,
            };
        };
        let rest = labels[gap + 1..].iter().filter(|label| keep(label));
        Labels::of(labels[start..gap].iter().chain(rest).cloned().collect())
    }

    pub fn without(&self, name: &str) -> Labels {
        self.filtered(|label| &*label.name != name)
    }

    pub fn without_metric_name(&self) -> Labels {
        self.without(METRIC_NAME)
    }

    pub fn with(&self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Labels {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }

    /// A 64-bit fingerprint, the same on every machine and run.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Xxh64::new(0);
        for label in self.iter() {
            hasher.update(label.name.as_bytes());
            hasher.update(&[0xff]);
            hasher.update(label.value.as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.digest()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.as_slice(), other.as_slice());
        for (a, b) in ours.iter().zip(theirs) {
            if Arc::ptr_eq(a, b) {
                continue;
            }
            match compare(&a.name, &b.name).then_with(|| compare(&a.value, &b.value)) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        ours.len().cmp(&theirs.len())
    }
}

/// Series of one store share their labels and texts: what is one and the same needs no look at it.
fn compare(a: &Arc<str>, b: &Arc<str>) -> Ordering {
    match Arc::ptr_eq(a, b) {
        true => Ordering::Equal,
        false => a.cmp(b),
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

/// Braces around `name="value"` pairs, the metric name among them as `__name__`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, label) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write_label_name(f, &label.name)?;
            f.write_str("=")?;
            write_quoted(f, &label.value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A label set while it is being changed.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name.
    labels: Vec<Arc<Label>>,
}

impl LabelsBuilder {
    /// Sets `name`; an empty value removes it.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.labels.binary_search_by(|label| label.name.cmp(&name)) {
            Ok(at) if value.is_empty() => {
                self.labels.remove(at);
            }
            Ok(at) => self.labels[at] = Arc::new(Label::new(name, value)),
            Err(_) if value.is_empty() => {}
            Err(at) => self.labels.insert(at, Arc::new(Label::new(name, value))),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(at) = self
            .labels
            .binary_search_by(|label| (*label.name).cmp(name))
        {
            self.labels.remove(at);
        }
        self
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&Label) -> bool) -> &mut Self {
        self.labels.retain(|label| keep(label));
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self
            .labels
            .binary_search_by(|label| (*label.name).cmp(name))
            .ok()?;
        Some(&self.labels[at].value)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.labels.iter().map(|label| &**label)
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn build(self) -> Labels {
        Labels::of(self.labels.into())
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        LabelsBuilder {
            labels: labels.as_slice().to_vec(),
        }
    }
}

/// A label name under the UTF-8 scheme: anything but the empty string.
pub fn is_valid_label_name_utf8(name: &str) -> bool {
    !name.is_empty()
}

/// A label name under the legacy scheme: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy(name, false)
}

/// A metric name under the legacy scheme: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy(name, true)
}

fn is_legacy(name: &str, colon: bool) -> bool {
    let ok = |c: u8| c.is_ascii_alphabetic() || c == b'_' || (colon && c == b':');
    let bytes = name.as_bytes();
    match bytes.split_first() {
        None => false,
        Some((&first, rest)) => ok(first) && rest.iter().all(|&c| ok(c) || c.is_ascii_digit()),
    }
}

/// Writes a label name, quoted where it is not a legacy one.
pub fn write_label_name(f: &mut impl fmt::Write, name: &str) -> fmt::Result {
    if is_legacy_label_name(name) {
        f.write_str(name)
    } else {
        write_quoted(f, name)
    }
}

/// Writes `text` in double quotes with Go's escapes (`strconv.Quote`).
pub fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{7}' => f.write_str("\\a")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\u{b}' => f.write_str("\\v")?,
            c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
            c if is_printable(c) => f.write_char(c)?,
            c if (c as u32) < 0x10000 => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "\\U{:08x}", c as u32)?,
        }
    }
    f.write_char('"')
}

/// Whether a character can be seen: no control, format, private or unassigned one, and of the
/// spaces only the plain one.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The standard library tells it by escaping the character, and escapes one that combines with
    // the character before it only at the start of a text.
    let mut buffer = [b'a'; 5];
    let length = 1 + c.encode_utf8(buffer.split_at_mut(1).1).len();
    let text = buffer.get(..length).unwrap_or(&[]);
    str::from_utf8(text).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// `text` in double quotes with Go's escapes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    // Writing into a String does not fail.
    let _ = write_quoted(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_set_is_a_set_of_its_own() {
        let whole = Labels::from_pairs([("__name__", "x"), ("a", "1"), ("b", "2"), ("c", "3")]);
        for kept in ["abc", "bc", "c", "ac", "ab", "a", "b", ""] {
            let part = whole.filtered(|label| kept.contains(&*label.name));
            let pairs = whole.iter().filter(|label| kept.contains(&*label.name));
            let made = Labels::from_sorted(pairs.cloned());
            assert_eq!((&part, part.len()), (&made, kept.len()));
            assert_eq!(part.fingerprint(), made.fingerprint());
            assert_eq!(part.cmp(&whole), made.cmp(&whole));
            assert_eq!(part.get("c"), kept.contains('c').then_some("3"));
            assert_eq!(part.with("d", "4"), made.with("d", "4"));
            assert_eq!(part.without("a"), made.without("a"));
        }
    }

    #[test]
    fn the_order_is_that_of_the_texts_whether_they_are_shared_or_not() {
        let values = ["", "a", "ab", "b"];
        let sets: Vec<Labels> = (0..64)
            .map(|n| {
                let value = |place: usize| values[n >> (2 * place) & 3];
                Labels::from_pairs([("a", value(0)), ("b", value(1)), ("c", value(2))])
            })
            .collect();
        for (one, other) in sets
            .iter()
            .flat_map(|one| sets.iter().map(move |o| (one, o)))
        {
            let texts = |labels: &Labels| -> Vec<(String, String)> {
                let pair = |label: &Label| (label.name.to_string(), label.value.to_string());
                labels.iter().map(pair).collect()
            };
            let (of_one, of_other) = (texts(one), texts(other));
            assert_eq!(one.cmp(other), of_one.cmp(&of_other), "{one} {other}");
            // Some of the texts are those of `one` then.
            let mixed = other.iter().map(|label| {
                let shared = one.get_shared(&label.name);
                let shared = shared.filter(|value| **value == label.value);
                (label.name.clone(), shared.unwrap_or(&label.value).clone())
            });
            let mixed = Labels::from_pairs(mixed);
            assert_eq!(one.cmp(&mixed), of_one.cmp(&of_other), "{one} {other}");
        }
    }

    #[test]
    fn sets_sorts_replaces_and_drops_empty_values() {
        let labels = Labels::from_pairs([
            ("b", "2"),
            ("a", "1"),
            ("b", "3"),
            ("c", ""),
            ("__name__", "x"),
        ]);
        assert_eq!(labels.to_string(), r#"{__name__="x", a="1", b="3"}"#);
        assert_eq!(labels.get("a"), Some("1"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(
            labels.without_metric_name().to_string(),
            r#"{a="1", b="3"}"#
        );
        assert_eq!(labels.with("a", "").len(), 2);
    }

    #[test]
    fn quotes_what_is_no_legacy_name_and_escapes_values() {
        let labels = Labels::from_pairs([("a.b", "x\"\\\n")]);
        assert_eq!(labels.to_string(), r#"{"a.b"="x\"\\\n"}"#);
    }

    #[test]
    fn quotes_as_go_does() {
        for (text, expected) in [
            ("é😀日e\u{301}", "\"é😀日e\u{301}\""),
            ("a\u{a0}\u{200b}\u{feff}", r#""a\u00a0\u200b\ufeff""#),
            ("\u{e0001}\u{1}", r#""\U000e0001\x01""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn fingerprints_tell_the_borders_of_names_and_values_apart() {
        let ab = Labels::from_pairs([("a", "bc")]);
        let other = Labels::from_pairs([("ab", "c")]);
        assert_ne!(ab.fingerprint(), other.fingerprint());
    }

    #[test]
    fn legacy_names() {
        for (name, label, metric) in [
            ("a_1", true, true),
            ("1a", false, false),
            ("a:b", false, true),
            ("", false, false),
        ] {
            assert_eq!(
                (is_legacy_label_name(name), is_legacy_metric_name(name)),
                (label, metric)
            );
        }
    }
}

//! Which series of an index meet matchers.
//!
//! A series without a label has the value "" for it. So a matcher that "" meets takes away the
//! series with other values; any other matcher asks for the series with the values it accepts.
//! What can be looked up is looked up first. A matcher that has to be tried on values is tried on
//! all values of its label, or on the series that are left if those are fewer.

use narthex_model::{MatchOp, Matcher};

use crate::ReadError;
use crate::index::postings::{Postings, both, merge, remove};
use crate::index::reader::{IndexReader, LabelValues};

/// Reading a series costs as much as trying so many values.
const VALUES_PER_SERIES: usize = 8;

/// The matching series, ascending, which is their order by labels.
pub fn matching(index: &IndexReader<'_>, matchers: &[Matcher]) -> Result<Vec<u32>, ReadError> {
    let mut tests = Vec::new();
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for matcher in matchers {
        match condition(matcher) {
            Condition::Anything => {}
            Condition::Nothing => return Ok(Vec::new()),
            Condition::OneOf(values) => {
                let found = find(index, &matcher.name, &values)?;
                // What is long takes time to check, so nothing is read before all are found.
                if found.is_empty() {
                    return Ok(Vec::new());
                }
                kept.push(found);
            }
            Condition::NoneOf(values) => {
                let found = find(index, &matcher.name, &values)?;
                dropped.push(read(index, &found)?);
            }
            Condition::Test => tests.push((matcher, values_to_try(index, matcher)?)),
        }
    }
    let mut found = None;
    let kept = kept.iter().map(|offsets| read(index, offsets));
    let mut kept: Vec<Vec<Postings<'_>>> = kept.collect::<Result<_, ReadError>>()?;
    kept.sort_by_key(|lists| total(lists));
    for lists in &kept {
        found = Some(keep(found, lists));
    }
    // Those that ask for a label come first, as they leave less; then those with few values.
    tests.sort_by_key(|(matcher, values)| (matcher.matches_empty(), values.len()));
    let mut rest = Vec::new();
    for (matcher, values) in tests {
        if left(&found).is_some_and(|left| left * VALUES_PER_SERIES < values.len()) {
            rest.push(matcher);
        } else if matcher.matches_empty() {
            dropped.push(lists_where(index, values, |value| !matcher.matches(value))?);
        } else {
            let lists = lists_where(index, values, |value| matcher.matches(value))?;
            found = Some(keep(found, &lists));
        }
    }
    let mut found = match found {
        Some(found) => found,
        None => index.all_postings()?.collect(),
    };
    for lists in dropped {
        drop_lists(&mut found, &lists);
    }
    retain_matching(index, &rest, found)
}

/// What a matcher asks for.
enum Condition<'m> {
    Anything,
    Nothing,
    /// The label has one of these values, none of which is "".
    OneOf(Vec<&'m str>),
    /// The label has none of these values, none of which is "".
    NoneOf(Vec<&'m str>),
    /// Values have to be tried.
    Test,
}

fn condition(matcher: &Matcher) -> Condition<'_> {
    let value = &*matcher.value;
    let literals = matcher.regexp().and_then(|regexp| regexp.literals());
    let literals = || {
        let mut values: Vec<&str> = literals?.iter().map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        let has_empty = values.first().is_some_and(|first| first.is_empty());
        (!has_empty).then_some(values)
    };
    match matcher.op {
        MatchOp::Equal if !value.is_empty() => Condition::OneOf(vec![value]),
        MatchOp::NotEqual if !value.is_empty() => Condition::NoneOf(vec![value]),
        MatchOp::Equal | MatchOp::NotEqual => Condition::Test,
        MatchOp::Regex if value == ".*" => Condition::Anything,
        MatchOp::NotRegex if value == ".*" => Condition::Nothing,
        MatchOp::Regex => literals().map_or(Condition::Test, Condition::OneOf),
        MatchOp::NotRegex => literals().map_or(Condition::Test, Condition::NoneOf),
    }
}

/// The values that may decide on a series: those that begin as the matches of an expression do.
/// If they must begin so, then "" isn't a match, so that the values to look for, be it to keep or
/// to drop their series, are matches of the expression.
fn values_to_try<'a>(
    index: &IndexReader<'a>,
    matcher: &Matcher,
) -> Result<LabelValues<'a>, ReadError> {
    let prefix = matcher.regexp().map(|regexp| regexp.prefix());
    index.label_values_with_prefix(&matcher.name, &prefix.unwrap_or_default())
}

/// Where the lists of the values are that there are.
fn find(index: &IndexReader<'_>, name: &str, values: &[&str]) -> Result<Vec<u64>, ReadError> {
    let mut found = Vec::new();
    for value in values {
        let entry = index.find_entry(name, value)?;
        found.extend(entry.map(|entry| entry.postings_offset));
    }
    Ok(found)
}

fn read<'a>(index: &IndexReader<'a>, offsets: &[u64]) -> Result<Vec<Postings<'a>>, ReadError> {
    let lists = offsets.iter().map(|offset| index.postings_at(*offset));
    lists.collect()
}

fn lists_where<'a>(
    index: &IndexReader<'a>,
    mut values: LabelValues<'a>,
    accept: impl Fn(&str) -> bool,
) -> Result<Vec<Postings<'a>>, ReadError> {
    let mut lists = Vec::new();
    while let Some(entry) = values.next_entry() {
        let (value, postings_offset) = entry?;
        if accept(value) {
            lists.push(index.postings_at(postings_offset)?);
        }
    }
    Ok(lists)
}

fn total(lists: &[Postings<'_>]) -> usize {
    let lengths = lists.iter().map(Postings::len);
    lengths.fold(0, usize::saturating_add)
}

fn left(found: &Option<Vec<u32>>) -> Option<usize> {
    found.as_ref().map(Vec::len)
}

/// What of `found` is in a list; all that are in a list if nothing was asked for before.
fn keep(found: Option<Vec<u32>>, lists: &[Postings<'_>]) -> Vec<u32> {
    match (found, lists) {
        (None, lists) => merge(lists),
        (Some(found), [list]) => both(found.as_slice(), list),
        (Some(found), _) if found.is_empty() => found,
        (Some(found), lists) => both(found.as_slice(), merge(lists).as_slice()),
    }
}

fn drop_lists(found: &mut Vec<u32>, lists: &[Postings<'_>]) {
    match lists {
        _ if found.is_empty() => {}
        [list] => remove(found, list),
        lists => remove(found, merge(lists).as_slice()),
    }
}

/// Reads the labels of each series and keeps those that meet the matchers.
fn retain_matching(
    index: &IndexReader<'_>,
    matchers: &[&Matcher],
    mut found: Vec<u32>,
) -> Result<Vec<u32>, ReadError> {
    if matchers.is_empty() {
        return Ok(found);
    }
    let mut names = Vec::with_capacity(matchers.len());
    for matcher in matchers {
        names.push((index.find_symbol(&matcher.name)?, *matcher));
    }
    let mut labels = Vec::new();
    let mut failed = None;
    found.retain(|&series| {
        let meets = index.series_labels(series, &mut labels).and_then(|_| {
            for (name, matcher) in &names {
                let pair = labels.iter().find(|(label, _)| Some(*label) == *name);
                let value = pair.map_or(Ok(""), |&(_, value)| index.symbol(value))?;
                if !matcher.matches(value) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        meets.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            false
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

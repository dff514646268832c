//! `sort` and its relatives. Only an instant result has an order.

use std::cmp::Ordering;

use narthex_model::Labels;

use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::operator::{Mapped, Ready, SeriesInfo, Vector, collect};
use crate::engine::quantile::nan_first;

type Row = (SeriesInfo, Column);

/// By value at the only step; NaN last either way. Histograms, which have no order, are dropped.
pub(in crate::engine) fn by_value(
    input: Vector<'_>,
    descending: bool,
) -> Result<Vector<'_>, QueryError> {
    let input = Mapped::boxed(input, |_, value| Some(value));
    let value = |row: &Row| row.1.get(0).unwrap_or(f64::NAN);
    sorted(input, |a, b| {
        let (a, b) = (value(a), value(b));
        match (a.is_nan(), b.is_nan()) {
            (false, false) if descending => nan_first(b, a),
            (false, false) => nan_first(a, b),
            (a_is_nan, b_is_nan) => a_is_nan.cmp(&b_is_nan),
        }
    })
}

/// By the values of labels, in natural order: `host2` before `host10`.
pub(in crate::engine) fn by_label<'q>(
    input: Vector<'q>,
    names: &[&str],
    descending: bool,
) -> Result<Vector<'q>, QueryError> {
    sorted(input, |a, b| {
        let order = compare_labels(&a.0.labels, &b.0.labels, names);
        if descending { order.reverse() } else { order }
    })
}

fn sorted<'q>(
    input: Vector<'_>,
    compare: impl Fn(&Row, &Row) -> Ordering,
) -> Result<Vector<'q>, QueryError> {
    let mut rows = collect(input)?;
    rows.sort_by(compare);
    Ok(Ready::boxed(rows))
}

fn compare_labels(a: &Labels, b: &Labels, names: &[&str]) -> Ordering {
    for name in names {
        let (a, b) = (a.value_or_empty(name), b.value_or_empty(name));
        let order = compare_natural(a, b);
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}

/// Byte by byte, but where both have digits the numbers that stand there are compared.
fn compare_natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (left_number, left_rest) = split_number(left);
            let (right_number, right_rest) = split_number(right);
            let order = compare_numbers(left_number, right_number);
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left_rest, right_rest);
        } else if l == r {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return l.cmp(r);
        }
    }
    // Where one ended first it is the smaller; else only leading zeros can tell them apart.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| {
        digits
            .iter()
            .position(|d| *d != b'0')
            .unwrap_or(digits.len())
    };
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_labels_sort_by_their_size() {
        let mut names = ["h10", "h2", "h1", "h02", "a", "", "h2b", "h2!", "10", "9"];
        names.sort_by(|a, b| compare_natural(a, b));
        assert_eq!(
            names,
            ["", "9", "10", "a", "h1", "h02", "h2", "h2!", "h2b", "h10"]
        );
    }
}

//! What somebody may have meant by a name that there is not.

use super::ast::AggregateOp;
use super::functions::FUNCTIONS;

/// Functions that went by another name once.
const RENAMED: [(&str, &str); 1] = [("holt_winters", "double_exponential_smoothing")];

/// Names longer than that are no typing errors of a function's name.
const MAX_LENGTH: usize = 64;

/// The function or aggregation whose name is nearest to `name`, if one is near.
pub(crate) fn function(name: &str) -> Option<&'static str> {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Some(new);
    }
    if name.len() > MAX_LENGTH {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let allowed = 1 + name.len() / 5;
    FUNCTIONS
        .iter()
        .map(|function| function.name)
        .chain(AggregateOp::ALL.map(AggregateOp::as_str))
        .map(|candidate| (distance(&lower, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour until `left` is `right`.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
            let mut best = (at(&last, j) + usize::from(a != b))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_not() {
        for (name, expected) in [
            ("raet", Some("rate")),
            ("RATE", Some("rate")),
            ("summ", Some("sum")),
            ("histogram_quantil", Some("histogram_quantile")),
            ("avg_overtime", Some("avg_over_time")),
            ("holt_winters", Some("double_exponential_smoothing")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(function(name), expected, "{name}");
        }
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("ab", "ba", 1),
            ("rate", "irate", 1),
            ("abc", "", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}

//! Matchers give the same series whether the index is asked or every label set is looked at.

use narthex_block_format::{IndexLayout, matching};
use narthex_model::matcher::all_match;
use narthex_model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

use crate::model::{Series, any_series, write_index, write_version_1};

const OPERATORS: [MatchOp; 4] = [
    MatchOp::Equal,
    MatchOp::NotEqual,
    MatchOp::Regex,
    MatchOp::NotRegex,
];

/// Good as values and as expressions.
const PATTERNS: &[&str] = &[
    "",
    "a",
    "b",
    "ab",
    "1",
    "a|b",
    "a|",
    "|a",
    "ab|aa|a|a",
    ".*",
    ".+",
    "a.*",
    "a.+|1",
    "[ab]+",
    ".*b",
    "[0-9]+",
    "(a|b|)",
    "é.*",
    "世|x",
    "no such value",
    "(?i:A)",
    "^a$",
    "1[0-9]*|b",
    "a?",
    "ab*",
    "ab+b?",
    "a{2}",
    r"a\|b",
];

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let name = prop_oneof!["[a-e]", "__name__", "[é世]"];
    let operator = proptest::sample::select(&OPERATORS[..]);
    let pattern = proptest::sample::select(PATTERNS);
    (name, operator, pattern).prop_map(|(name, op, pattern)| {
        Matcher::new(name, op, pattern).expect("every pattern is an expression")
    })
}

fn by_index(bytes: &[u8], matchers: &[Matcher]) -> Vec<Labels> {
    let layout = IndexLayout::open(bytes).unwrap();
    let index = layout.reader(bytes);
    let found = matching(&index, matchers).unwrap();
    let mut entry = Default::default();
    let labels = found.into_iter().map(|series| {
        index.series(series, &mut entry).unwrap();
        let labels: Result<Vec<_>, _> = index.labels(&entry).collect();
        Labels::from_pairs(labels.unwrap())
    });
    labels.collect()
}

fn by_hand(series: &Series, matchers: &[Matcher]) -> Vec<Labels> {
    let matching = series.keys().filter(|labels| all_match(matchers, labels));
    matching.cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn as_by_hand(
        series in any_series(50),
        matchers in proptest::collection::vec(any_matcher(), 0..4),
    ) {
        let expected = by_hand(&series, &matchers);
        let (bytes, _) = write_index(&series).unwrap();
        prop_assert_eq!(by_index(&bytes, &matchers), &expected[..], "{:?}", matchers);
        let bytes = write_version_1(&series);
        prop_assert_eq!(by_index(&bytes, &matchers), &expected[..], "{:?}", matchers);
    }
}

/// Enough values that trying all of them costs more than reading the series that are left.
#[test]
fn few_series_of_a_label_with_many_values() {
    let mut series = Series::new();
    for number in 0..3000 {
        let mut pairs = vec![
            ("__name__", format!("metric_{}", number % 1000)),
            ("id", format!("{number:05}")),
        ];
        if number % 3 == 0 {
            pairs.push(("host", format!("host-{}", number % 7)));
        }
        series.insert(Labels::from_pairs(pairs), Vec::new());
    }
    let (bytes, _) = write_index(&series).unwrap();
    let first = Matcher::equal("__name__", "metric_7");
    for op in OPERATORS {
        for name in ["id", "host", "missing", "__name__"] {
            for pattern in [
                "",
                ".+",
                ".*",
                "0.*7",
                "01007",
                "host-[1-3]",
                "|0.*",
                "010.*",
                "host-[5-9]+",
                "metric_.*",
            ] {
                let second = Matcher::new(name, op, pattern).unwrap();
                for matchers in [vec![first.clone(), second.clone()], vec![second]] {
                    let expected = by_hand(&series, &matchers);
                    assert_eq!(by_index(&bytes, &matchers), expected, "{matchers:?}");
                }
            }
        }
    }
}

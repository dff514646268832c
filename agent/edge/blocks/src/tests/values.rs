//! Values of labels, of few series and of many for each value.

use std::collections::BTreeSet;

use narthex_model::{MatchOp, Matcher};
use narthex_storage::Queryable;

use super::common::*;

#[test]
fn values_are_those_of_the_series_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    let series = (0..900i64).map(|n| {
        let (kind, number) = (format!("k{}", n % 4), format!("{n:03}"));
        let pairs = [("kind", &*kind), ("number", &*number), ("third", "x")];
        // Those of kind 3 have ended early.
        let end = if n % 4 == 3 { 100 } else { 1000 };
        let times = (0..end).step_by(50);
        (labels(&pairs), floats(times.map(|t| (t, n as f64))))
    });
    write(&blocks, &series.collect(), (0, 1000));
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let deleted = [vec![matcher("kind", MatchOp::Equal, "k2")]];
    blocks.delete(&deleted, 500, 2000).unwrap();

    let sets = [
        vec![],
        vec![vec![matcher("third", MatchOp::Equal, "x")]],
        vec![vec![matcher("kind", MatchOp::NotEqual, "k1")]],
        vec![vec![matcher("number", MatchOp::Regex, "0.*|8.*")]],
        vec![
            vec![matcher("number", MatchOp::Regex, "1.*")],
            vec![matcher("kind", MatchOp::Equal, "k3")],
        ],
        vec![vec![matcher("third", MatchOp::Equal, "y")]],
    ];
    for (sets, range) in sets.iter().flat_map(|sets| {
        [(0, 2000), (0, 90), (200, 450), (600, 700), (3000, 4000)].map(|range| (sets, range))
    }) {
        let query = label_query(sets, range.0, range.1);
        let series = blocks.series(&query).unwrap();
        for name in ["kind", "number", "third", "none"] {
            let expected = series.iter().filter_map(|labels| labels.get(name));
            let expected: BTreeSet<&str> = expected.collect();
            let got = blocks.label_values(name, &query).unwrap();
            let got: Vec<&str> = got.iter().map(|value| &**value).collect();
            assert!(
                got.iter().copied().eq(expected),
                "{name} of {sets:?} in {range:?}: {got:?}"
            );
        }
    }
}

//! Whatever is done to a catalogue, it answers as a plain map of label sets would.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_catalogue::{Catalogue, InsertError, LabelTable};
use narthex_model::matcher::all_match;
use narthex_model::{CancelToken, Labels, MatchOp, Matcher};
use proptest::prelude::*;

type Model = BTreeMap<u32, Labels>;

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, Labels),
    InsertText(u32, Labels),
    InsertIndexed(u32, Labels),
    Remove(Vec<u32>),
    ExportAndImport,
}

const NAMES: [&str; 5] = ["__name__", "instance", "job", "le", "ü"];
const VALUES: [&str; 9] = ["", "a", "ab", "b", "up", "up_total", "0.5", "x\ny", "é"];

fn labels() -> impl Strategy<Value = Labels> {
    let pair = (prop::sample::select(&NAMES), prop::sample::select(&VALUES));
    prop::collection::vec(pair, 0..5).prop_map(Labels::from_pairs)
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..40, 65_530u32..65_545]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (id(), labels()).prop_map(|(id, labels)| Step::Insert(id, labels)),
        3 => (id(), labels()).prop_map(|(id, labels)| Step::InsertText(id, labels)),
        3 => (id(), labels()).prop_map(|(id, labels)| Step::InsertIndexed(id, labels)),
        2 => prop::collection::vec(id(), 0..20).prop_map(Step::Remove),
        1 => Just(Step::ExportAndImport),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let names = prop_oneof![prop::sample::select(&NAMES), Just("other")];
    let values = prop_oneof![
        4 => prop::sample::select(&VALUES),
        4 => prop::sample::select(&[".*", ".+", "a|b", "up.*", "u(p|q)_?t*.*", "a|", "(a|b)b?", ".*_total", "|", "none"]),
    ];
    let ops = [
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ];
    (names, prop::sample::select(ops.to_vec()), values)
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

fn expected_insert(model: &mut Model, id: u32, labels: &Labels) -> Result<(), InsertError> {
    if labels.is_empty() {
        return Err(InsertError::NoLabels);
    }
    if model.contains_key(&id) {
        return Err(InsertError::IdInUse(id));
    }
    if let Some((existing, _)) = model.iter().find(|(_, other)| *other == labels) {
        return Err(InsertError::LabelsInUse(*existing));
    }
    model.insert(id, labels.clone());
    Ok(())
}

/// All labels there can be, and some that are no good: records name only a few of theirs.
fn table() -> LabelTable<'static> {
    let pairs = NAMES
        .iter()
        .flat_map(|name| VALUES.map(|value| (*name, value)));
    LabelTable::new(pairs.collect())
}

fn place_in_table(name: &str, value: &str) -> u32 {
    let name = NAMES.iter().position(|other| *other == name).unwrap();
    let value = VALUES.iter().position(|other| *other == value).unwrap();
    (name * VALUES.len() + value) as u32
}

/// The table lives through removals and through the change of the catalogue.
fn apply(catalogue: &mut Catalogue, model: &mut Model, step: Step, table: &mut LabelTable<'_>) {
    match step {
        Step::Insert(id, labels) => {
            let expected = expected_insert(model, id, &labels);
            assert_eq!(catalogue.insert(id, &labels), expected);
        }
        Step::InsertText(id, labels) => {
            let expected = expected_insert(model, id, &labels);
            let pairs: Vec<_> = labels.iter().map(|l| (&*l.name, &*l.value)).collect();
            assert_eq!(catalogue.insert_text(id, &pairs), expected);
        }
        Step::InsertIndexed(id, labels) => {
            let expected = expected_insert(model, id, &labels);
            let places = labels.iter().map(|l| place_in_table(&l.name, &l.value));
            let places: Vec<u32> = places.collect();
            assert_eq!(catalogue.insert_indexed(id, table, &places), expected);
        }
        Step::Remove(ids) => {
            catalogue.remove(&ids);
            model.retain(|id, _| !ids.contains(id));
        }
        Step::ExportAndImport => {
            let mut bytes = Vec::new();
            catalogue.export(&mut bytes).unwrap();
            *catalogue = Catalogue::import(&bytes).unwrap();
        }
    }
}

fn check_series(catalogue: &Catalogue, model: &Model) {
    assert_eq!(catalogue.series_count(), model.len());
    for (id, labels) in model {
        assert_eq!(catalogue.find(labels), Some(*id));
        assert_eq!(catalogue.labels(*id).as_ref(), Some(labels));
        let numbers = catalogue.label_numbers(*id).unwrap();
        let ours = numbers.iter().map(|&n| &**catalogue.label(n).unwrap());
        assert!(ours.eq(labels.iter()));
    }
    let mut sorted: Vec<u32> = model.keys().copied().collect();
    // An id that is not in use is sorted too.
    sorted.push(7_000);
    let mut expected = sorted.clone();
    expected.sort_by_key(|id| model.get(id));
    catalogue.sort_by_labels(&mut sorted);
    assert_eq!(sorted, expected);
    for pair in sorted.windows(2) {
        assert_eq!(catalogue.compare(pair[0], pair[1]), Ordering::Less);
    }
}

fn check_label_lists(catalogue: &Catalogue, model: &Model, some: &[u32]) {
    let some_labels = some.iter().filter_map(|id| model.get(id));
    for (ids, labels) in [
        (None, model.values().collect::<Vec<_>>()),
        (Some(some), some_labels.collect()),
    ] {
        let pairs: BTreeSet<_> = labels.iter().flat_map(|labels| labels.iter()).collect();
        let names: BTreeSet<Arc<str>> = pairs.iter().map(|l| l.name.clone()).collect();
        assert!(catalogue.label_names(ids).iter().eq(&names));
        for name in NAMES.into_iter().chain(["other"]) {
            let values = pairs.iter().filter(|l| &*l.name == name);
            let values: Vec<Arc<str>> = values.map(|l| l.value.clone()).collect();
            assert_eq!(catalogue.label_values(name, ids), values);
        }
    }
}

fn check_figures(catalogue: &Catalogue, model: &Model, limit: usize) {
    let mut pairs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for label in model.values().flat_map(Labels::iter) {
        *pairs.entry((&label.name, &label.value)).or_default() += 1;
    }
    let mut values: BTreeMap<String, u64> = BTreeMap::new();
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    for ((name, value), count) in &pairs {
        *values.entry((*name).to_owned()).or_default() += 1;
        *bytes.entry((*name).to_owned()).or_default() += value.len() as u64 * count;
    }
    let metrics = pairs.iter().filter(|((name, _), _)| *name == "__name__");
    let metrics = metrics.map(|((_, value), count)| ((*value).to_owned(), *count));
    let named = pairs
        .iter()
        .map(|((n, v), count)| (format!("{n}={v}"), *count));
    let found = catalogue.cardinality(limit);
    for (found, expected) in [
        (found.series_by_metric_name, metrics.collect::<Vec<_>>()),
        (found.values_by_label_name, values.into_iter().collect()),
        (found.value_bytes_by_label_name, bytes.into_iter().collect()),
        (found.series_by_label_pair, named.collect()),
    ] {
        let mut expected = expected;
        expected.sort_by_key(|(_, value)| Reverse(*value));
        expected.truncate(limit);
        let found: Vec<(String, u64)> = found.into_iter().map(|f| (f.name, f.value)).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(found.label_pairs as usize, pairs.len());
    let sizes = catalogue.sizes();
    assert_eq!(
        (sizes.series, sizes.label_pairs),
        (model.len(), pairs.len())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn answers_as_a_map_does(
        steps in prop::collection::vec(step(), 0..80),
        matcher_sets in prop::collection::vec(prop::collection::vec(matcher(), 0..4), 12),
        some in prop::collection::vec(id(), 0..30),
        limit in 0usize..8,
    ) {
        let (mut catalogue, mut model) = (Catalogue::default(), Model::new());
        let mut table = table();
        for step in steps {
            apply(&mut catalogue, &mut model, step, &mut table);
        }
        check_series(&catalogue, &model);
        check_label_lists(&catalogue, &model, &some);
        check_figures(&catalogue, &model, limit);
        for matchers in matcher_sets {
            let meets = |(_, labels): &(&u32, &Labels)| all_match(&matchers, labels);
            let expected: Vec<u32> = model.iter().filter(meets).map(|(id, _)| *id).collect();
            let found = catalogue.matching(&matchers, &CancelToken::default()).unwrap();
            prop_assert_eq!(&found, &expected, "{:?}", matchers);
            for id in id_range() {
                let meets = model.get(&id).is_some_and(|labels| all_match(&matchers, labels));
                prop_assert_eq!(catalogue.matches(id, &matchers), meets);
            }
        }
    }
}

fn id_range() -> impl Iterator<Item = u32> {
    (0..40).chain(65_530..65_545)
}

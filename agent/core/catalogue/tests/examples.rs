//! What a catalogue promises, by example.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use narthex_catalogue::{Canceled, Catalogue, InsertError, LabelTable};
use narthex_model::{CancelReason, CancelToken, Labels, MatchOp, Matcher};

/// `hosts` targets of 100 series each, among them a histogram.
fn fleet(hosts: u32) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for id in 0..hosts * 100 {
        let instance = format!("host-{}:9100", id / 100);
        let (name, le) = match id % 100 {
            at @ 0..20 => ("latency_bucket".to_owned(), at.to_string()),
            at => (format!("metric_{at}"), String::new()),
        };
        let env = if id / 100 % 2 == 0 { "prod" } else { "test" };
        let labels = [
            ("__name__", name.as_str()),
            ("env", env),
            ("instance", &instance),
            ("job", "node"),
            ("le", &le),
        ];
        catalogue.insert(id, &Labels::from_pairs(labels)).unwrap();
    }
    catalogue
}

fn search(catalogue: &Catalogue, matchers: &[(&str, MatchOp, &str)]) -> Vec<u32> {
    let matchers: Vec<Matcher> = matchers
        .iter()
        .map(|&(name, op, value)| Matcher::new(name, op, value).unwrap())
        .collect();
    let found = catalogue.matching(&matchers, &CancelToken::default());
    let found = found.unwrap();
    // No series of these tests has a higher id.
    let ids = 0..70_000;
    let expected = ids.filter(|&id| catalogue.matches(id, &matchers));
    assert!(found.iter().copied().eq(expected), "{matchers:?}");
    found
}

#[test]
fn finds_series_of_many_targets() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let catalogue = fleet(700);
    for (matchers, count) in [
        (&[("job", Equal, "node")][..], 70_000),
        (&[("job", Equal, "none")], 0),
        (&[("le", Equal, "")], 56_000),
        (&[("le", NotEqual, "")], 14_000),
        (&[("instance", Regex, "host-1.:9100")], 1_000),
        (&[("instance", Regex, "host-1:9100|host-600:9100|x")], 200),
        (&[("instance", NotRegex, "host-1.*")], 58_900),
        (
            &[("__name__", Equal, "metric_50"), ("env", Equal, "prod")],
            350,
        ),
        (
            &[
                ("__name__", Equal, "metric_50"),
                ("env", NotEqual, "prod"),
                ("instance", Regex, "host-2.*"),
            ],
            55,
        ),
        (
            &[
                ("instance", Equal, "host-77:9100"),
                ("__name__", Regex, "metric_[2-4]."),
            ],
            30,
        ),
        (
            &[("none", Equal, ""), ("__name__", Equal, "latency_bucket")],
            14_000,
        ),
        (&[("none", NotEqual, "")], 0),
        (&[("env", NotRegex, "prod|test")], 0),
    ] {
        assert_eq!(search(&catalogue, matchers).len(), count, "{matchers:?}");
    }
}

#[test]
fn ids_come_back_for_other_labels() {
    use MatchOp::{Equal, NotEqual, Regex};
    let mut catalogue = fleet(700);
    let removed: Vec<u32> = (0..70_000)
        .filter(|id| id % 3 == 1 || *id > 60_000)
        .collect();
    catalogue.remove(&removed);
    let old = search(&catalogue, &[("job", Equal, "node")]);
    assert_eq!(old.len(), 70_000 - removed.len());
    for &id in removed.iter().rev().filter(|id| **id % 2 == 0) {
        let (instance, shard) = (format!("host-{}:9100", id % 70), id.to_string());
        let labels = [
            ("__name__", "shard_size"),
            ("instance", instance.as_str()),
            ("shard", shard.as_str()),
        ];
        catalogue.insert(id, &Labels::from_pairs(labels)).unwrap();
    }
    assert_eq!(search(&catalogue, &[("job", Equal, "node")]), old);
    let new = search(&catalogue, &[("shard", Regex, "1.*")]);
    assert_eq!(
        search(&catalogue, &[("shard", NotEqual, "")]).len() + old.len(),
        catalogue.series_count()
    );
    let (first, third) = (new[0], new[2]);
    catalogue.remove(&[first, third]);
    let left = search(&catalogue, &[("shard", Regex, "1.*")]);
    let expected = new.into_iter().filter(|id| ![first, third].contains(id));
    assert!(left.into_iter().eq(expected));
    for instance in ["host-7:9100", "host-69:9100", "host-500:9100"] {
        search(&catalogue, &[("instance", Equal, instance)]);
        search(
            &catalogue,
            &[("instance", NotEqual, instance), ("env", Equal, "")],
        );
    }
}

#[test]
fn a_search_can_be_stopped() {
    let catalogue = fleet(3);
    let cancel = CancelToken::default();
    cancel.cancel(CancelReason::Timeout);
    let matchers = [Matcher::equal("job", "node")];
    assert_eq!(
        catalogue.matching(&matchers, &cancel),
        Err(Canceled(CancelReason::Timeout))
    );
}

#[test]
fn sorts_as_labels_are_sorted() {
    let catalogue = fleet(20);
    // 733 has no factor in common with 2000, so this is every id once.
    let mut ids: Vec<u32> = (0..2_000).map(|at| at * 733 % 2_000).collect();
    catalogue.sort_by_labels(&mut ids);
    let labels: Vec<Labels> = ids.iter().filter_map(|&id| catalogue.labels(id)).collect();
    assert_eq!(labels.len(), 2_000);
    assert!(labels.is_sorted());
}

#[test]
fn sorts_sets_that_begin_alike() {
    let mut catalogue = Catalogue::default();
    for id in 0..70 {
        let names: Vec<String> = (0..=id).map(|at| format!("l{at:03}")).collect();
        let labels = Labels::from_pairs(names.iter().map(|name| (name.as_str(), "x")));
        catalogue.insert(id, &labels).unwrap();
    }
    let mut ids: Vec<u32> = (0..70).rev().collect();
    catalogue.sort_by_labels(&mut ids);
    assert!(ids.into_iter().eq(0..70));
}

#[test]
fn what_no_series_has_is_gone() {
    let mut catalogue = fleet(50);
    let empty = Catalogue::default().sizes();
    let ids: Vec<u32> = (0..5_000).collect();
    let (first, rest) = ids.split_at(100);
    catalogue.remove(rest);
    assert_eq!(catalogue.label_values("instance", None).len(), 1);
    assert_eq!(&*catalogue.label_values("env", None)[0], "prod");
    let small = catalogue.sizes();
    assert_eq!((small.series, small.label_pairs), (100, 104));
    catalogue.remove(first);
    assert!(catalogue.label_names(None).is_empty());
    let sizes = catalogue.sizes();
    assert_eq!(
        (sizes.series, sizes.label_names, sizes.label_pairs),
        (empty.series, 0, 0)
    );
    let labels = Labels::from_pairs([("a", "b")]);
    catalogue.insert(3, &labels).unwrap();
    assert_eq!(catalogue.find(&labels), Some(3));
}

#[test]
fn refuses_what_is_no_label_set_and_changes_nothing() {
    let mut catalogue = fleet(1);
    let before = catalogue.sizes();
    let too_many: Vec<String> = (0..70_000).map(|at| format!("l{at:05}")).collect();
    let too_many: Vec<(&str, &str)> = too_many.iter().map(|n| (n.as_str(), "x")).collect();
    for (id, labels, expected) in [
        (500, &[][..], InsertError::NoLabels),
        (5, &[("a", "b")], InsertError::IdInUse(5)),
        (500, &[("b", "x"), ("a", "x")], InsertError::NotALabelSet),
        (500, &[("a", "x"), ("a", "y")], InsertError::NotALabelSet),
        (500, &[("a", "x"), ("b", "")], InsertError::NotALabelSet),
        (u32::MAX, &[("a", "b")], InsertError::Full(u32::MAX)),
        (500, &too_many, InsertError::TooManyLabels(70_000)),
    ] {
        assert_eq!(catalogue.insert_text(id, labels), Err(expected));
    }
    let mut table = LabelTable::new(vec![("a", "x"), ("b", "y"), ("c", "")]);
    for indexes in [&[1, 0][..], &[0, 3], &[2], &[0, 0]] {
        let inserted = catalogue.insert_indexed(500, &mut table, indexes);
        assert_eq!(inserted, Err(InsertError::NotALabelSet));
    }
    assert_eq!(catalogue.sizes(), before);
    assert_eq!(catalogue.insert_indexed(500, &mut table, &[0, 1]), Ok(()));
    let labels = Labels::from_pairs([("a", "x"), ("b", "y")]);
    assert_eq!(catalogue.labels(500), Some(labels));
}

//! What becomes of the samples of one scrape.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

use narthex_model::family::Metadata;
use narthex_model::{
    CancelToken, Histogram, METRIC_NAME, Metric, MetricType, MetricValue, Regexp, is_stale_nan,
};
use narthex_relabel::Action;
use narthex_storage::memory::MemoryStore;
use narthex_storage::{Column, CommitError, CommitReport, Queryable, SelectQuery};

/// All samples of a store, a line each: `name{labels} @time value`.
pub(crate) fn dump(store: &MemoryStore) -> Vec<String> {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let mut lines = Vec::new();
    for series in store.select(&query).unwrap() {
        let labels = series.labels();
        let name = labels.metric_name().unwrap_or_default().to_owned();
        let rest = labels.without_metric_name();
        series
            .visit(&mut |column| {
                let Column::Floats {
                    timestamps_ms,
                    values,
                } = column
                else {
                    panic!("only floats are written here");
                };
                for (time_ms, value) in timestamps_ms.iter().zip(values) {
                    let value = if is_stale_nan(*value) {
                        "stale".to_owned()
                    } else {
                        value.to_string()
                    };
                    lines.push(format!("{name}{rest} @{time_ms} {value}"));
                }
            })
            .unwrap();
    }
    lines
}

/// A store that forgets references when told to, and shows exemplars and metadata.
#[derive(Default)]
struct Watched {
    store: MemoryStore,
    /// References are those of the store below, combined with this.
    generation: AtomicU64,
    heard: Mutex<Vec<String>>,
}

struct WatchedAppender<'a> {
    inner: Box<dyn Appender + 'a>,
    watched: &'a Watched,
    generation: u64,
}

impl Watched {
    fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

impl Appendable for Watched {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(WatchedAppender {
            inner: self.store.appender(),
            watched: self,
            generation: self.generation.load(Ordering::Relaxed),
        })
    }
}

impl Appender for WatchedAppender<'_> {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let series = self.inner.append(labels, timestamp_ms, value)?;
        Ok(SeriesRef(series.0 ^ self.generation))
    }

    fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let series = SeriesRef(series.0 ^ self.generation);
        self.inner.append_known(series, timestamp_ms, value)
    }

    fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        self.inner.append_histogram(labels, timestamp_ms, histogram)
    }

    fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        self.inner
            .append_known_histogram(series, timestamp_ms, histogram)
    }

    fn set_start(&mut self, sample: u32, start_ms: i64) {
        self.inner.set_start(sample, start_ms);
    }

    fn append_exemplar(&mut self, _: SeriesRef, exemplar: &Exemplar) -> Result<(), AppendError> {
        let Exemplar {
            labels,
            value,
            timestamp_ms,
        } = exemplar;
        let heard = format!("{labels} {value} @{timestamp_ms}");
        self.watched.heard.lock().unwrap().push(heard);
        if *value < 0.0 {
            return Err(AppendError::OutOfOrder);
        }
        Ok(())
    }

    fn set_metadata(&mut self, family: &str, metadata: &Metadata) {
        let kind = metadata.kind.as_str();
        let heard = format!("{family} is {kind}: {}", metadata.help);
        self.watched.heard.lock().unwrap().push(heard);
    }

    fn commit(self: Box<Self>) -> Result<CommitReport, CommitError> {
        self.inner.commit()
    }
}

fn rules() -> Rules {
    Rules {
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        legacy_names: false,
        limits: Limits::default(),
        metric_relabel: Vec::new(),
        features: Features::default(),
    }
}

struct Target {
    watched: Watched,
    memory: Memory,
    metadata: MetadataCache,
    rules: Rules,
    labels: Labels,
}

impl Target {
    fn new(rules: Rules) -> Self {
        Target {
            watched: Watched::default(),
            memory: Memory::default(),
            metadata: MetadataCache::new(Arc::default()),
            rules,
            labels: Labels::from_pairs([("i", "t")]),
        }
    }

    /// One scrape without its report.
    fn scrape(&mut self, time_ms: i64, body: &str) -> Result<Counts, String> {
        self.scrape_as(Format::Text, time_ms, body)
    }

    fn scrape_as(&mut self, format: Format, time_ms: i64, body: &str) -> Result<Counts, String> {
        let body = body.as_bytes().to_vec();
        self.take(time_ms, &Answer::Page { format, body })
    }

    fn take(&mut self, time_ms: i64, answer: &Answer) -> Result<Counts, String> {
        let mut batch = Batch::new(
            &self.watched,
            &mut self.memory,
            &self.rules,
            &self.labels,
            time_ms,
        );
        let result = batch.fill(answer, &mut self.metadata);
        if result.is_err() {
            batch = batch.fail().0;
        }
        let counts = batch.commit().unwrap();
        result.map(|()| counts).map_err(|e| e.to_string())
    }
}

#[test]
fn labels_are_joined_as_configured() {
    let honoring = Rules {
        honor_labels: true,
        ..rules()
    };
    let untimed = Rules {
        honor_timestamps: false,
        ..rules()
    };
    for (rules, body, expected) in [
        (rules(), "a 1", "a{i=\"t\"} @1000 1"),
        (
            rules(),
            "a{b=\"c\",e=\"\"} 1 900",
            "a{b=\"c\", i=\"t\"} @900 1",
        ),
        (untimed, "a 1 900", "a{i=\"t\"} @1000 1"),
        (
            rules(),
            "a{i=\"x\"} 1",
            "a{exported_i=\"x\", i=\"t\"} @1000 1",
        ),
        (
            rules(),
            "a{i=\"x\",exported_i=\"y\"} 1",
            "a{exported_exported_i=\"x\", exported_i=\"y\", i=\"t\"} @1000 1",
        ),
        (rules(), "a{i=\"\"} 1", "a{i=\"t\"} @1000 1"),
        (honoring.clone(), "a{i=\"x\"} 1", "a{i=\"x\"} @1000 1"),
        (honoring.clone(), "a{i=\"\"} 1", "a{} @1000 1"),
        (honoring, "a 1", "a{i=\"t\"} @1000 1"),
        (
            rules(),
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1",
            "h_bucket{i=\"t\", le=\"1.0\"} @1000 1",
        ),
        (
            rules(),
            "{\"a.b\",\"c d\"=\"e\"} 1",
            "a.b{\"c d\"=\"e\", i=\"t\"} @1000 1",
        ),
    ] {
        let mut target = Target::new(rules);
        let counts = target.scrape(1000, body).unwrap();
        assert_eq!(dump(&target.watched.store), [expected], "{body}");
        assert_eq!((counts.scraped, counts.kept, counts.added), (1, 1, 1));
    }
}

#[test]
fn metric_relabelling_drops_and_renames() {
    let rule = |name: &str, action, target_label: &str, replacement: &str| RelabelRule {
        source_labels: vec![METRIC_NAME.into()],
        regex: Regexp::anchored(name).unwrap(),
        action,
        target_label: target_label.to_owned(),
        replacement: replacement.to_owned(),
        ..RelabelRule::default()
    };
    let mut target = Target::new(Rules {
        metric_relabel: vec![
            rule("drop.*", Action::Drop, "", "$1"),
            rule("old", Action::Replace, METRIC_NAME, "new"),
        ],
        ..rules()
    });
    for time_ms in [1000, 2000] {
        let counts = target.scrape(time_ms, "drop_me 1\nold 2").unwrap();
        let added = u64::from(time_ms == 1000);
        assert_eq!((counts.scraped, counts.kept, counts.added), (2, 1, added));
    }
    assert_eq!(
        dump(&target.watched.store),
        ["new{i=\"t\"} @1000 2", "new{i=\"t\"} @2000 2"]
    );

    target.rules.metric_relabel = vec![rule("nameless", Action::Replace, METRIC_NAME, "")];
    target.memory.series.forget_raw();
    assert_eq!(
        target.scrape(3000, "a 1\nnameless 1"),
        Err("line 2: after relabelling {i=\"t\"} has no metric name".to_owned())
    );
}

#[test]
fn series_become_stale_when_they_vanish_and_when_a_scrape_fails() {
    let mut target = Target::new(rules());
    target.scrape(1000, "a 1\nb 1").unwrap();
    target.scrape(2000, "b 2").unwrap();
    target.scrape(3000, "b 3\n!").unwrap_err();
    target.scrape(4000, "").unwrap();
    target.scrape(5000, "a 5").unwrap();
    assert_eq!(
        dump(&target.watched.store),
        [
            "a{i=\"t\"} @1000 1",
            "a{i=\"t\"} @2000 stale",
            "a{i=\"t\"} @5000 5",
            "b{i=\"t\"} @1000 1",
            "b{i=\"t\"} @2000 2",
            "b{i=\"t\"} @3000 stale",
        ]
    );
}

#[test]
fn a_failed_scrape_adds_no_series_when_it_is_over() {
    let mut target = Target::new(rules());
    target.scrape(1000, "a 1").unwrap();
    target.scrape(2000, "!").unwrap_err();
    assert_eq!(target.scrape(3000, "a 1").unwrap().added, 0);
}

#[test]
fn changed_rules_end_the_series_that_they_rename() {
    let mut target = Target::new(rules());
    target.scrape(1000, "a{i=\"x\"} 1").unwrap();
    target.rules.honor_labels = true;
    target.memory.series.forget_raw();
    target.scrape(2000, "a{i=\"x\"} 2").unwrap();
    assert_eq!(
        dump(&target.watched.store),
        [
            "a{exported_i=\"x\", i=\"t\"} @1000 1",
            "a{exported_i=\"x\", i=\"t\"} @2000 stale",
            "a{i=\"x\"} @2000 2",
        ]
    );
}

#[test]
fn own_timestamps_are_stale_only_if_tracked() {
    for (tracked, expected) in [
        (false, vec!["a{i=\"t\"} @900 1"]),
        (true, vec!["a{i=\"t\"} @900 1", "a{i=\"t\"} @2000 stale"]),
    ] {
        let mut target = Target::new(Rules {
            track_timestamps_staleness: tracked,
            ..rules()
        });
        target.scrape(1000, "a 1 900").unwrap();
        target.scrape(2000, "").unwrap();
        assert_eq!(dump(&target.watched.store), expected);
    }
}

#[test]
fn samples_that_don_t_fit_are_counted() {
    let mut target = Target::new(rules());
    let counts = target
        .scrape(1000, "a 1\na{} 2\nb 1 1\nb 2 2\nb 3 3")
        .unwrap();
    assert_eq!((counts.duplicates, counts.scraped, counts.kept), (1, 5, 5));
    let late = 2000 + FUTURE_TOLERANCE_MS;
    let body = format!("a 3\nb 4 1\nb 5 {late}\nc 6 {}", late + 1);
    let counts = target.scrape(2000, &body).unwrap();
    assert_eq!(
        (counts.out_of_order, counts.out_of_bounds, counts.duplicates),
        (1, 1, 0)
    );
    assert_eq!(
        dump(&target.watched.store),
        [
            "a{i=\"t\"} @1000 1".to_owned(),
            "a{i=\"t\"} @2000 3".to_owned(),
            "b{i=\"t\"} @1 1".to_owned(),
            "b{i=\"t\"} @2 2".to_owned(),
            "b{i=\"t\"} @3 3".to_owned(),
            format!("b{{i=\"t\"}} @{late} 5"),
        ]
    );
}

#[test]
fn limits_fail_the_scrape() {
    let limits = Limits::default;
    for (limits, body, error) in [
        (
            Limits {
                samples: 2,
                ..limits()
            },
            "a 1\nb 1\nc 1",
            "sample_limit exceeded: 3 samples, limit 2",
        ),
        (
            Limits {
                labels: 2,
                ..limits()
            },
            "a 1\nb{c=\"d\"} 1",
            "label_limit exceeded (metric: b, number of labels: 3, limit: 2)",
        ),
        (
            Limits {
                label_name_length: 9,
                ..limits()
            },
            "a{b=\"c\"} 1\na{longer_name=\"c\"} 1",
            "label_name_length_limit exceeded (metric: a, label name: longer_name, length: 11, limit: 9)",
        ),
        (
            Limits {
                label_value_length: 3,
                ..limits()
            },
            "a{b=\"long\"} 1",
            "label_value_length_limit exceeded (metric: a, label name: b, value: \"long\", length: 4, limit: 3)",
        ),
    ] {
        let mut target = Target::new(Rules { limits, ..rules() });
        target.scrape(1000, "a 1").unwrap();
        assert_eq!(target.scrape(2000, body), Err(error.to_owned()));
        assert_eq!(
            dump(&target.watched.store),
            ["a{i=\"t\"} @1000 1", "a{i=\"t\"} @2000 stale"]
        );
    }
    // At the limit is within it; dropped samples don't count.
    let drop = RelabelRule {
        source_labels: vec![METRIC_NAME.into()],
        regex: Regexp::anchored("c").unwrap(),
        action: Action::Drop,
        ..RelabelRule::default()
    };
    let mut target = Target::new(Rules {
        limits: Limits {
            samples: 2,
            ..limits()
        },
        metric_relabel: vec![drop],
        ..rules()
    });
    assert_eq!(target.scrape(1000, "a 1\nb 1\nc 1").unwrap().kept, 2);
}

#[test]
fn legacy_names_are_demanded_where_configured() {
    let mut target = Target::new(Rules {
        legacy_names: true,
        ..rules()
    });
    target.scrape(1000, "a:b{c=\"d\"} 1").unwrap();
    assert_eq!(
        target.scrape(2000, "{\"a.b\"} 1"),
        Err("line 1: invalid metric name \"a.b\" under legacy validation".to_owned())
    );
    assert_eq!(
        target.scrape(3000, "a{\"c.d\"=\"e\"} 1"),
        Err("line 1: invalid label name \"c.d\" under legacy validation".to_owned())
    );
}

#[test]
fn families_go_the_same_way() {
    let family = |value, count| MetricFamily {
        name: "h".to_owned(),
        metadata: Metadata {
            kind: MetricType::Histogram,
            help: "text".to_owned(),
            unit: "seconds".to_owned(),
        },
        metrics: vec![Metric {
            labels: Labels::from_pairs([("i", "own")]),
            value: MetricValue::Histogram {
                buckets: vec![(1.0, value)],
                sum: f64::from_bits(narthex_model::sample::STALE_NAN_BITS),
                count,
            },
            timestamp_ms: None,
            start_timestamp_ms: None,
        }],
    };
    let mut target = Target::new(rules());
    let answer = Answer::Families(vec![family(1.0, 2.0)]);
    let counts = target.take(1000, &answer).unwrap();
    assert_eq!((counts.scraped, counts.added), (4, 4));
    assert_eq!(target.take(2000, &answer).unwrap().added, 0);
    target.take(3000, &Answer::Families(Vec::new())).unwrap();
    let lines = dump(&target.watched.store);
    assert_eq!(
        lines[..3],
        [
            "h_bucket{exported_i=\"own\", i=\"t\", le=\"+Inf\"} @1000 2",
            "h_bucket{exported_i=\"own\", i=\"t\", le=\"+Inf\"} @2000 2",
            "h_bucket{exported_i=\"own\", i=\"t\", le=\"+Inf\"} @3000 stale",
        ]
    );
    // An exporter cannot forge the end of a series.
    assert!(lines.contains(&"h_sum{exported_i=\"own\", i=\"t\"} @1000 NaN".to_owned()));
    let metadata = target.metadata.list();
    assert_eq!(metadata[0].0, "h");
    assert_eq!(metadata[0].1.unit, "seconds");
}

#[test]
fn reports_tell_of_the_scrape_and_end_with_the_target() {
    let mut target = Target::new(rules());
    target.scrape(1000, "a 1").unwrap();
    let mut batch = Batch::new(
        &target.watched,
        &mut target.memory,
        &target.rules,
        &target.labels,
        1000,
    );
    batch.report(&Report {
        up: true,
        duration_seconds: 0.5,
        counts: Counts {
            scraped: 3,
            kept: 2,
            added: 1,
            ..Counts::default()
        },
        extra: Some(ExtraReport {
            timeout_seconds: 10.0,
            sample_limit: 0.0,
            body_size_bytes: 4.0,
        }),
    });
    batch.commit().unwrap();
    let mut batch = Batch::new(
        &target.watched,
        &mut target.memory,
        &target.rules,
        &target.labels,
        2000,
    );
    batch.end_all();
    batch.commit().unwrap();
    let lines = dump(&target.watched.store);
    for (name, value) in [
        ("a", "1"),
        ("up", "1"),
        ("scrape_duration_seconds", "0.5"),
        ("scrape_samples_scraped", "3"),
        ("scrape_samples_post_metric_relabeling", "2"),
        ("scrape_series_added", "1"),
        ("scrape_timeout_seconds", "10"),
        ("scrape_sample_limit", "0"),
        ("scrape_body_size_bytes", "4"),
    ] {
        assert!(
            lines.contains(&format!("{name}{{i=\"t\"}} @1000 {value}")),
            "{name}"
        );
        assert!(
            lines.contains(&format!("{name}{{i=\"t\"}} @2000 stale")),
            "{name}"
        );
    }
    assert_eq!(lines.len(), 18);
}

#[test]
fn a_series_that_the_store_forgot_goes_on_by_its_labels() {
    let histogram = MetricFamily {
        name: "f".to_owned(),
        metadata: Metadata::default(),
        metrics: vec![Metric {
            labels: Labels::from_pairs([("b", "c")]),
            value: MetricValue::Summary {
                quantiles: vec![(0.5, 1.0)],
                sum: 2.0,
                count: 3.0,
            },
            timestamp_ms: None,
            start_timestamp_ms: None,
        }],
    };
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\na 1\na{} 2\n";
    let body = page.as_bytes().to_vec();
    for (answer, added, duplicates) in [
        (Answer::Families(vec![histogram]), 3, 0),
        (
            Answer::Page {
                format: Format::Text,
                body,
            },
            2,
            1,
        ),
    ] {
        let mut target = Target::new(rules());
        for time_ms in 1..=4 {
            if time_ms == 3 {
                target.watched.forget();
            }
            let counts = target.take(1000 * time_ms, &answer).unwrap();
            let expected = if time_ms == 1 { added } else { 0 };
            assert_eq!((counts.added, counts.duplicates), (expected, duplicates));
        }
        let lines = dump(&target.watched.store);
        assert_eq!(lines.len() as u64, 4 * added, "{lines:?}");
        let empty = |target: &mut Target, time_ms| {
            target.scrape(time_ms, "").unwrap();
            let ended = dump(&target.watched.store).into_iter();
            ended.filter(|line| line.ends_with("stale")).count() as u64
        };
        assert_eq!(empty(&mut target, 5000), added);
        // Those that were forgotten before they vanish have no marker to get.
        target.take(6000, &answer).unwrap();
        target.watched.forget();
        assert_eq!(empty(&mut target, 7000), added);
    }
}

#[test]
fn the_order_of_a_page_is_nothing_to_rely_on() {
    let mut target = Target::new(rules());
    let mut expected = Vec::new();
    for (scrape, page) in ["abcd", "dbac", "ca", "xacyb", "bb", ""].iter().enumerate() {
        let time_ms = 1000 * (scrape as i64 + 1);
        let body: String = page
            .chars()
            .map(|name| format!("{name} {scrape}\n"))
            .collect();
        target.scrape(time_ms, &body).unwrap();
        let mut names: Vec<char> = page.chars().collect();
        names.dedup();
        expected.extend(
            names
                .iter()
                .map(|name| format!("{name}{{i=\"t\"}} @{time_ms} {scrape}")),
        );
    }
    for (name, time_ms) in [
        ('b', 3),
        ('d', 3),
        ('a', 5),
        ('c', 5),
        ('x', 5),
        ('y', 5),
        ('b', 6),
    ] {
        expected.push(format!("{name}{{i=\"t\"}} @{time_ms}000 stale"));
    }
    expected.sort();
    assert_eq!(dump(&target.watched.store), expected);
}

#[test]
fn the_same_line_under_another_type_is_another_series() {
    let mut target = Target::new(rules());
    for (time_ms, kind) in [(1000, "histogram"), (2000, "gauge"), (3000, "gauge")] {
        let page = format!("# TYPE a {kind}\na_bucket{{le=\"1\"}} 1\n");
        target.scrape(time_ms, &page).unwrap();
    }
    assert_eq!(
        dump(&target.watched.store),
        [
            "a_bucket{i=\"t\", le=\"1\"} @2000 1",
            "a_bucket{i=\"t\", le=\"1\"} @3000 1",
            "a_bucket{i=\"t\", le=\"1.0\"} @1000 1",
            "a_bucket{i=\"t\", le=\"1.0\"} @2000 stale",
        ]
    );
}

#[test]
fn a_series_that_takes_up_its_own_timestamps_ends_as_the_target_s() {
    let mut target = Target::new(rules());
    target.scrape(1000, "a 1").unwrap();
    target.scrape(2000, "a 2 1500").unwrap();
    target.scrape(3000, "a 3 2500").unwrap();
    assert_eq!(
        dump(&target.watched.store),
        [
            "a{i=\"t\"} @1000 1",
            "a{i=\"t\"} @1500 2",
            "a{i=\"t\"} @2000 stale",
            "a{i=\"t\"} @2500 3",
        ]
    );
}

#[test]
fn exemplars_go_with_their_samples() {
    let long = "ü".repeat(EXEMPLAR_LABELS_CHARS - 1);
    let mut target = Target::new(rules());
    let body = format!(
        "a_total 1 # {{t=\"x\"}} 0.5 1.25\n\
         b_total 1 5.5 # {{}} 0.5\n\
         c_total 1 # {{t=\"{long}\"}} 1\n\
         d_total 1 # {{tt=\"{long}\"}} 1\n\
         e_total 1 # {{t=\"late\"}} -1\n\
         # EOF\n"
    );
    for time_ms in [6000, 7000] {
        let counts = target
            .scrape_as(Format::OpenMetrics, time_ms, &body)
            .unwrap();
        assert_eq!((counts.scraped, counts.exemplars_out_of_order), (5, 1));
        assert_eq!(
            target.watched.heard(),
            [
                "{t=\"x\"} 0.5 @1250".to_owned(),
                "{} 0.5 @5500".to_owned(),
                format!("{{t=\"{long}\"}} 1 @{time_ms}"),
                format!("{{t=\"late\"}} -1 @{time_ms}"),
            ]
        );
    }
}

#[test]
fn the_store_hears_of_metadata_that_is_new_or_has_changed() {
    let mut target = Target::new(rules());
    let page =
        |help: &str| format!("# HELP a {help}\n# TYPE a gauge\na 1\n# TYPE b counter\nb 1\n");
    for (body, failed, heard) in [
        (page("text") + "!", true, &[][..]),
        (page("text"), false, &["a is gauge: text", "b is counter: "]),
        (page("text"), false, &[]),
        (page("other"), false, &["a is gauge: other"]),
        (String::new(), false, &[]),
    ] {
        assert_eq!(target.scrape(1000, &body).is_err(), failed);
        assert_eq!(target.watched.heard(), heard);
    }
    let family = |help: &str| MetricFamily {
        name: "f".to_owned(),
        metadata: Metadata {
            help: help.to_owned(),
            ..Metadata::default()
        },
        metrics: Vec::new(),
    };
    for (help, heard) in [
        ("text", &["f is unknown: text"][..]),
        ("text", &[]),
        ("other", &["f is unknown: other"]),
    ] {
        let answer = Answer::Families(vec![family(help)]);
        target.take(1000, &answer).unwrap();
        assert_eq!(target.watched.heard(), heard);
    }
}

#[test]
fn a_failing_target_does_not_fill_the_memory() {
    let mut target = Target::new(rules());
    for scrape in 0..20 {
        let lines = (0..400).map(|i| format!("a{{n=\"{scrape}-{i}\"}} 1\n"));
        let body = lines.collect::<String>() + "!";
        target.scrape(scrape, &body).unwrap_err();
        let emptied_after = target.memory.series.len();
        assert!(emptied_after <= 1400, "{emptied_after}");
    }
}

/// As [`dump`], with ` since start` where one is known, and without the target's label.
fn dump_starts(store: &MemoryStore) -> Vec<String> {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let mut starts_ms = Vec::new();
    for series in store.select(&query).unwrap() {
        let visited = series.visit_with_starts(&mut |_, starts| starts_ms.extend(starts));
        visited.unwrap();
    }
    let lines = dump(store).into_iter().zip(starts_ms);
    let line = |(line, start_ms): (String, i64)| {
        let line = line.replace("i=\"t\"", "");
        match start_ms {
            0 => line,
            start_ms => format!("{line} since {start_ms}"),
        }
    };
    lines.map(line).collect()
}

fn with_starts() -> Rules {
    Rules {
        features: Features {
            start_timestamps: true,
            ..Features::default()
        },
        ..rules()
    }
}

const CREATED: &str = "# TYPE a counter\na_total{x=\"1\"} 1\na_created{x=\"1\"} 0.5\n\
    a_total{x=\"2\"} 2\na_total{x=\"3\"} 3\na_created{x=\"3\"} 0.7\n\
    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 4\nh_count 4\nh_created 0.25\n\
    # TYPE g_created gauge\ng_created 9\n\
    # TYPE b counter\nb_total 1\n# TYPE c counter\nb_created 0.5\nc_created 0.1\nc_total 1\n# EOF\n";

#[test]
fn created_lines_say_when_counters_started() {
    let mut target = Target::new(with_starts());
    for time_ms in [1000, 2000, 3000] {
        let counts = target
            .scrape_as(Format::OpenMetrics, time_ms, CREATED)
            .unwrap();
        let added = if time_ms == 1000 { 8 } else { 0 };
        assert_eq!((counts.scraped, counts.kept, counts.added), (8, 8, added));
    }
    let lines = dump_starts(&target.watched.store);
    let newest: Vec<&str> = lines
        .iter()
        .filter(|l| l.contains("@3000"))
        .map(|l| &**l)
        .collect();
    let expected = [
        "a_total{, x=\"1\"} @3000 1 since 500",
        "a_total{, x=\"2\"} @3000 2",
        "a_total{, x=\"3\"} @3000 3 since 700",
        "b_total{} @3000 1",
        "c_total{} @3000 1",
        "g_created{} @3000 9",
        "h_bucket{, le=\"+Inf\"} @3000 4 since 250",
        "h_count{} @3000 4 since 250",
    ];
    assert_eq!(newest, expected);
    assert_eq!(lines.len(), 24);
}

#[test]
fn created_lines_are_samples_where_nobody_asks_for_starts() {
    let mut target = Target::new(rules());
    let counts = target
        .scrape_as(Format::OpenMetrics, 1000, CREATED)
        .unwrap();
    assert_eq!(counts.scraped, 13);
    let lines = dump_starts(&target.watched.store);
    assert!(lines.iter().all(|line| !line.contains("since")));
    assert!(lines.contains(&"a_created{, x=\"1\"} @1000 0.5".to_owned()));
}

#[test]
fn starts_are_of_the_samples_that_are_kept() {
    let mut target = Target::new(Rules {
        metric_relabel: vec![RelabelRule {
            source_labels: vec!["x".into()],
            regex: Regexp::anchored("1").unwrap(),
            action: Action::Drop,
            ..RelabelRule::default()
        }],
        ..with_starts()
    });
    for time_ms in [1000, 2000] {
        target
            .scrape_as(Format::OpenMetrics, time_ms, CREATED)
            .unwrap();
        // The second time the store knows none of the series any more.
        target.watched.forget();
    }
    let lines = dump_starts(&target.watched.store);
    assert!(lines.iter().all(|line| !line.contains("x=\"1\"")));
    for time_ms in [1000, 2000] {
        assert!(lines.contains(&format!("a_total{{, x=\"3\"}} @{time_ms} 3 since 700")));
        assert!(lines.contains(&format!("h_count{{}} @{time_ms} 4 since 250")));
    }
}

#[test]
fn types_and_units_become_labels() {
    let mut target = Target::new(Rules {
        features: Features {
            type_and_unit_labels: true,
            ..Features::default()
        },
        ..rules()
    });
    let page = |kind: &str, unit: &str| {
        format!(
            "# TYPE a_s {kind}\n# UNIT a_s {unit}\na_s{{__type__=\"own\",__unit__=\"own\"}} 1\n\
             # TYPE b unknown\nb{{__type__=\"own\"}} 2\n# TYPE h histogram\n\
             h_bucket{{le=\"1\"}} 3\nother 4\n# EOF\n"
        )
    };
    let found = |target: &mut Target, time_ms: i64, page: &str| -> Vec<String> {
        target
            .scrape_as(Format::OpenMetrics, time_ms, page)
            .unwrap();
        let lines = dump(&target.watched.store);
        lines
            .into_iter()
            .filter(|l| l.contains(&format!("@{time_ms} ")))
            .collect()
    };
    let expected = |kind: &str, unit: &str, time_ms: i64| {
        [
            format!("a_s{{__type__=\"{kind}\", {unit}i=\"t\"}} @{time_ms} 1"),
            format!("b{{__type__=\"own\", i=\"t\"}} @{time_ms} 2"),
            format!("h_bucket{{__type__=\"histogram\", i=\"t\", le=\"1.0\"}} @{time_ms} 3"),
            format!("other{{i=\"t\"}} @{time_ms} 4"),
        ]
    };
    let seconds = "__unit__=\"s\", ";
    assert_eq!(
        found(&mut target, 1000, &page("gauge", "s")),
        expected("gauge", seconds, 1000)
    );
    assert_eq!(
        found(&mut target, 2000, &page("gauge", "s")),
        expected("gauge", seconds, 2000)
    );
    // The same lines of another type, and of another unit, are other series.
    let now = found(&mut target, 3000, &page("stateset", "s"));
    assert_eq!(now[1], expected("stateset", seconds, 3000)[0]);
    assert_eq!(
        now[0],
        "a_s{__type__=\"gauge\", __unit__=\"s\", i=\"t\"} @3000 stale"
    );
    let own = "__unit__=\"own\", ";
    let now = found(&mut target, 4000, &page("stateset", ""));
    assert!(now.contains(&expected("stateset", own, 4000)[0]), "{now:?}");
}

#[test]
fn families_may_hold_native_histograms_and_say_when_they_began() {
    let histogram = |count| Histogram {
        schema: 3,
        count,
        sum: 7.0,
        positive_spans: vec![narthex_model::histogram::Span {
            offset: 1,
            length: 1,
        }],
        positive_buckets: vec![count],
        ..Histogram::default()
    };
    let metric = |value, start_timestamp_ms| Metric {
        labels: Labels::empty(),
        value,
        timestamp_ms: None,
        start_timestamp_ms,
    };
    let family = |name: &str, metric| MetricFamily {
        name: name.to_owned(),
        metadata: Metadata::default(),
        metrics: vec![metric],
    };
    let mut target = Target::new(with_starts());
    for (time_ms, count) in [(1000, 1.0), (2000, 2.0)] {
        let native = MetricValue::NativeHistogram(Arc::new(histogram(count)));
        let counts = target.take(
            time_ms,
            &Answer::Families(vec![
                family("c", metric(MetricValue::Float(count), Some(500))),
                family("h", metric(native, Some(600))),
            ]),
        );
        let counts = counts.unwrap();
        assert_eq!((counts.scraped, counts.kept), (2, 2));
    }
    let mut found = Vec::new();
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    for series in target.watched.store.select(&query).unwrap() {
        let name = series.labels().metric_name().unwrap_or_default().to_owned();
        let visited = series.visit_with_starts(&mut |column, starts_ms| match column {
            Column::Floats { values, .. } => {
                found.push(format!("{name} {values:?} since {starts_ms:?}"));
            }
            Column::Histograms { values, .. } => {
                let counts: Vec<f64> = values.iter().map(|histogram| histogram.count).collect();
                found.push(format!("{name} {counts:?} since {starts_ms:?}"));
            }
        });
        visited.unwrap();
    }
    let expected = [
        "c [1.0, 2.0] since [500, 500]",
        "h [1.0, 2.0] since [600, 600]",
    ];
    assert_eq!(found, expected);
}

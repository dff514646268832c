//! The whole head against a plain map: whatever is done to both, they show the same.
//!
//! Each case is made from a number, which is printed if it fails; `HEAD_SEED=<number>` runs that
//! one alone, `HEAD_CASES=<count>` more of them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Samples, TestFiles, TestLog, assert_same, read, read_all, replay, same, select};
use narthex_head::{Head, Options};
use narthex_model::histogram::{CounterReset, Span};
use narthex_model::{
    CancelToken, Histogram, Labels, Matcher, STALE_NAN, SampleValue, is_stale_nan,
};
use narthex_storage::{AppendError, Refused, SelectQuery, Series, SeriesRef};

const RANGE: i64 = 2 * 60 * 60 * 1000;

/// A generator of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone, Default)]
struct ModelSeries {
    in_order: Samples,
    last: Option<(i64, SampleValue)>,
    late: Samples,
    deleted: Vec<(i64, i64)>,
    value: f64,
}

struct Model {
    series: BTreeMap<Labels, ModelSeries>,
    newest_ms: i64,
    border_ms: i64,
    window_ms: i64,
}

impl Model {
    fn judge(
        &self,
        bounds: (i64, i64),
        labels: &Labels,
        time: i64,
        value: &SampleValue,
    ) -> Result<bool, AppendError> {
        let (in_order_ms, newest_ms) = bounds;
        let last = self.series.get(labels).and_then(|s| s.last.as_ref());
        if time >= in_order_ms {
            match last {
                None => return Ok(true),
                Some((last_ms, _)) if time > *last_ms => return Ok(true),
                Some((last_ms, last)) if time == *last_ms => {
                    let known = match (last, value) {
                        // The end of a series of histograms comes as a float.
                        (SampleValue::Histogram(last), SampleValue::Float(value)) => {
                            is_stale_nan(*value) && is_stale_nan(last.sum)
                        }
                        _ => same(last, value),
                    };
                    return match known {
                        true => Ok(false),
                        false => Err(AppendError::DuplicateTimestamp),
                    };
                }
                Some(_) => {}
            }
        }
        if self.window_ms > 0 {
            return match time >= newest_ms.saturating_sub(self.window_ms) {
                true => Ok(true),
                false => Err(AppendError::TooOld),
            };
        }
        Err(match time < in_order_ms {
            true => AppendError::OutOfBounds,
            false => AppendError::OutOfOrder,
        })
    }

    /// What a commit of these samples reports.
    fn commit(&mut self, batch: &[(Labels, i64, SampleValue)]) -> (u64, Vec<Refused>) {
        let newest_ms = self.newest_ms;
        let in_order_ms = newest_ms.saturating_sub(RANGE / 2).max(self.border_ms);
        let (mut stored, mut refused) = (0, Vec::new());
        for (index, (labels, time, value)) in (0..).zip(batch) {
            match self.judge((in_order_ms, newest_ms), labels, *time, value) {
                Ok(true) => {
                    self.store(labels, *time, value, in_order_ms);
                    stored += 1;
                }
                Ok(false) => {}
                Err(error) => refused.push(Refused { index, error }),
            }
        }
        (stored, refused)
    }

    fn store(&mut self, labels: &Labels, time: i64, value: &SampleValue, in_order_ms: i64) {
        self.newest_ms = self.newest_ms.max(time);
        let series = self.series.entry(labels.clone()).or_default();
        let last = series.last.as_ref();
        if time < in_order_ms || last.is_some_and(|(last_ms, _)| time <= *last_ms) {
            series.late.insert(time, value.clone());
            return;
        }
        let value = match (last, value) {
            (Some((_, SampleValue::Histogram(_))), SampleValue::Float(value))
                if is_stale_nan(*value) =>
            {
                SampleValue::Histogram(stale_histogram())
            }
            _ => value.clone(),
        };
        series.in_order.insert(time, value.clone());
        series.last = Some((time, value));
    }

    fn truncate(&mut self, border_ms: i64) {
        self.border_ms = self.border_ms.max(border_ms);
        for series in self.series.values_mut() {
            series.in_order = series.in_order.split_off(&border_ms);
            series.late = series.late.split_off(&border_ms);
            series.deleted.retain(|(_, end)| *end >= border_ms);
        }
    }

    fn visible(&self) -> BTreeMap<Labels, Samples> {
        let all = self.series.iter().map(|(labels, series)| {
            let mut samples = series.late.clone();
            samples.extend(series.in_order.clone());
            samples.retain(|time, _| {
                !series
                    .deleted
                    .iter()
                    .any(|(start, end)| (start..=end).contains(&time))
            });
            (labels.clone(), samples)
        });
        all.filter(|(_, samples)| !samples.is_empty()).collect()
    }
}

fn stale_histogram() -> Arc<Histogram> {
    Arc::new(Histogram {
        sum: STALE_NAN,
        ..Histogram::default()
    })
}

fn is_stale(value: &SampleValue) -> bool {
    is_stale_nan(match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => histogram.sum,
    })
}

/// Prints the number of the case if it fails.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case is HEAD_SEED={}", self.0);
        }
    }
}

type Open = (Vec<Box<dyn Series>>, BTreeMap<Labels, Samples>);

struct World {
    random: Random,
    model: Model,
    head: Arc<Head>,
    files: Arc<TestFiles>,
    log: TestLog,
    /// A snapshot that the log goes on from.
    snapshot: Option<Vec<u8>>,
    readers: Vec<Open>,
    known: BTreeMap<Labels, SeriesRef>,
    now_ms: i64,
    series_count: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let window_ms = [0, 0, RANGE, 4 * RANGE][random.below(4) as usize];
        let files = Arc::new(TestFiles::default());
        World {
            model: Model {
                series: BTreeMap::new(),
                newest_ms: i64::MIN,
                border_ms: i64::MIN,
                window_ms,
            },
            head: Arc::new(Head::new(options(window_ms), files.clone())),
            files,
            log: TestLog::default(),
            snapshot: None,
            readers: Vec::new(),
            known: BTreeMap::new(),
            now_ms: RANGE * (random.below(5) as i64 - 2),
            series_count: [3, 20, 600][random.below(3) as usize],
            random,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..70 => self.commit(),
            70..76 => self.open_reader(),
            76..80 => self.close_readers(),
            80..84 => self.flush(),
            84..87 => self.truncate(),
            87..92 => {
                self.head.collect_garbage();
            }
            92..94 => self.delete(),
            94..96 => self.write_snapshot(),
            96..97 => self.restart(),
            97..98 => self.lose_a_record(),
            _ => self.log.next_epoch(),
        }
    }

    fn labels(&mut self) -> Labels {
        let series = self.random.below(self.series_count);
        Labels::from_pairs([
            ("__name__".to_owned(), format!("metric_{}", series % 7)),
            ("series".to_owned(), series.to_string()),
        ])
    }

    fn value(&mut self, labels: &Labels) -> SampleValue {
        let random = &mut self.random;
        let series = self.model.series.entry(labels.clone()).or_default();
        let kind = random.below(40);
        series.value = match kind {
            0..16 => series.value,
            16..26 => series.value.trunc() + random.below(300) as f64,
            26..30 => random.below(1000) as f64 / 100.0,
            30..33 => f64::from_bits(random.next()),
            33..34 => [0.0, -0.0, f64::INFINITY, 1e300][random.below(4) as usize],
            _ => series.value,
        };
        // Once its samples are gone, a series may be forgotten, and with it what its last was.
        let remembered = !series.in_order.is_empty() || series.last.is_none();
        match kind {
            34 if remembered => SampleValue::Float(STALE_NAN),
            35..40 if labels.get("series").is_some_and(|s| s.ends_with('3')) => {
                SampleValue::Histogram(self.histogram())
            }
            _ => SampleValue::Float(series.value),
        }
    }

    fn histogram(&mut self) -> Arc<Histogram> {
        let random = &mut self.random;
        if random.one_in(10) {
            return stale_histogram();
        }
        let fraction = if random.one_in(4) { 0.5 } else { 0.0 };
        let buckets: Vec<f64> = (0..1 + random.below(3))
            .map(|_| random.below(50) as f64 + fraction)
            .collect();
        let length = buckets.len() as u32;
        Arc::new(Histogram {
            counter_reset: match random.below(6) {
                0 => CounterReset::Gauge,
                1 => CounterReset::Reset,
                _ => CounterReset::Unknown,
            },
            schema: random.below(3) as i32,
            count: buckets.iter().sum(),
            sum: random.below(100) as f64 / 3.0,
            positive_spans: vec![Span {
                offset: random.below(2) as i32,
                length,
            }],
            positive_buckets: buckets,
            ..Histogram::default()
        })
    }

    fn time(&mut self, labels: &Labels) -> i64 {
        let jitter = self.random.below(5) as i64;
        let time = match self.random.below(30) {
            0 => self.now_ms - self.random.below(3 * RANGE as u64) as i64,
            1 => self.now_ms - self.random.below(60_000) as i64,
            2..10 => self.now_ms + jitter,
            _ => self.now_ms,
        };
        let Some(series) = self.model.series.get(labels) else {
            return time;
        };
        // Whether such are refused depends on chunks, which the model has not.
        let unclear = |time: &i64| {
            series.late.contains_key(time)
                || series.deleted.iter().any(|(s, e)| (s..=e).contains(&time))
        };
        let mut times = [time].into_iter().chain(self.now_ms + 1..);
        times.find(|time| !unclear(time)).unwrap_or(time)
    }

    /// Samples for one batch. Where late ones are taken, none comes twice.
    fn samples(&mut self, taken: &mut BTreeSet<(Labels, i64)>) -> Vec<(Labels, i64, SampleValue)> {
        let count = [1, 5, 40, 300][self.random.below(4) as usize];
        let mut samples = Vec::new();
        for _ in 0..=self.random.below(count) {
            let labels = self.labels();
            let (time, value) = (self.time(&labels), self.value(&labels));
            if taken.insert((labels.clone(), time)) || self.model.window_ms == 0 {
                samples.push((labels, time, value));
            }
        }
        if self.random.one_in(2) {
            samples.sort_by(|a, b| a.0.cmp(&b.0));
        }
        samples
    }

    /// Two batches side by side, of which one may be dropped or fail.
    fn commit(&mut self) {
        self.now_ms += match self.random.below(40) {
            0 => RANGE,
            1..4 => 600_000,
            4..10 => 0,
            _ => 15_000,
        };
        let mut taken = BTreeSet::new();
        let all = [self.samples(&mut taken), self.samples(&mut taken)];
        let head = self.head.clone();
        let mut batches = [head.batch(), head.batch()];
        for (batch, samples) in batches.iter_mut().zip(&all) {
            for (labels, time, value) in samples {
                let known = self.known.get(labels).copied();
                let known = known.filter(|known| match value {
                    SampleValue::Float(value) => batch.append_known(*known, *time, *value).is_ok(),
                    SampleValue::Histogram(value) => batch
                        .append_known_histogram(*known, *time, value.clone())
                        .is_ok(),
                });
                if known.is_some() {
                    continue;
                }
                let series = match value {
                    SampleValue::Float(value) => batch.append(labels, *time, *value),
                    SampleValue::Histogram(value) => {
                        batch.append_histogram(labels, *time, value.clone())
                    }
                };
                self.known.insert(labels.clone(), series.unwrap());
            }
        }
        let fate = self.random.below(12);
        for (number, (batch, samples)) in batches.into_iter().zip(&all).enumerate() {
            match fate {
                0 if number == 0 => continue,
                1 => self.log.fails.store(true, Ordering::SeqCst),
                2 => self.log.cuts.store(true, Ordering::SeqCst),
                _ => {}
            }
            let result = batch.commit(&self.log);
            self.log.fails.store(false, Ordering::SeqCst);
            self.log.cuts.store(false, Ordering::SeqCst);
            if let Ok(report) = result {
                let (stored, refused) = self.model.commit(samples);
                assert_eq!((report.stored, report.refused), (stored, refused));
            }
        }
    }

    fn open_reader(&mut self) {
        let series = select(&self.head, &[], i64::MIN, i64::MAX);
        self.readers.push((series, self.model.visible()));
    }

    fn close_readers(&mut self) {
        for (series, expected) in self.readers.drain(..) {
            assert_same(&read_all(&series), &expected);
        }
    }

    fn flush(&mut self) {
        let files = self.files.clone();
        self.head
            .flush_sealed(&mut |chunk| files.put(chunk))
            .unwrap();
    }

    fn truncate(&mut self) {
        let ahead = self.random.below(RANGE as u64) as i64;
        let newest_ms = self.now_ms.min(self.model.newest_ms);
        let border_ms = newest_ms.saturating_sub(RANGE / 2 + ahead);
        if border_ms <= self.model.border_ms {
            return;
        }
        self.close_readers();
        assert!(!self.head.readers_below(border_ms));
        self.head.truncate(border_ms, &self.log).unwrap();
        self.model.truncate(border_ms);
    }

    fn delete(&mut self) {
        self.close_readers();
        let labels = self.labels();
        let start_ms = self.now_ms - self.random.below(RANGE as u64) as i64;
        let end_ms = start_ms + self.random.below(RANGE as u64 / 2) as i64;
        let matcher = Matcher::equal("series", labels.get("series").unwrap());
        let sets = [vec![matcher]];
        self.head
            .delete(&sets, start_ms, end_ms, &self.log)
            .unwrap();
        // As far as there are samples; those of later that lie in the interval are not made late.
        if let Some(series) = self.model.series.get_mut(&labels) {
            let last_ms = series.in_order.keys().chain(series.late.keys()).max();
            if let Some(last_ms) = last_ms.filter(|last| **last >= start_ms) {
                series.deleted.push((start_ms, end_ms.min(*last_ms)));
            }
        }
    }

    fn write_snapshot(&mut self) {
        self.log.next_epoch();
        let mut bytes = Vec::new();
        self.head.write_snapshot(&mut bytes).unwrap();
        self.snapshot = Some(bytes);
        // A record may be replayed onto a state that has it. Late samples may come back with it.
        let mut records = self.log.take();
        if self.model.window_ms == 0 && self.random.one_in(2) {
            let last = self.log.epoch.load(Ordering::SeqCst).saturating_sub(1);
            records.retain(|(epoch, _)| *epoch == last);
            *self.log.records.lock().unwrap() = records;
        }
    }

    fn recover(&mut self, records: &[(u32, Vec<u8>)]) -> (Arc<Head>, u64) {
        let head = Head::new(options(self.model.window_ms), self.files.clone());
        if let Some(snapshot) = &self.snapshot {
            assert_eq!(head.read_snapshot(snapshot).unwrap().damaged_pages, 0);
        }
        let parts = 1 + self.random.below(4) as usize;
        let (lost, _) = replay(&head, records, parts);
        (Arc::new(head), lost)
    }

    fn restart(&mut self) {
        self.close_readers();
        self.check_sorted();
        let records = self.log.records.lock().unwrap().clone();
        let (head, lost) = self.recover(&records);
        assert_eq!(lost, 0);
        assert_eq!(head.min_valid_ms(), self.model.border_ms);
        self.head = head;
        self.known.clear();
        self.log.next_epoch();
        self.check();
        let newest_ms = self.head.times_ms().map(|times| times.1);
        if let Some(newest_ms) = newest_ms {
            assert_eq!(newest_ms, self.model.newest_ms);
        }
    }

    /// What is replayed without one of the records is right; what lacks was counted.
    fn lose_a_record(&mut self) {
        let mut records = self.log.records.lock().unwrap().clone();
        let floats_only = |record: &[u8]| matches!(record.first(), Some(2..=4));
        let candidates = (0..records.len()).filter(|at| floats_only(&records[*at].1));
        let candidates: Vec<usize> = candidates.collect();
        if candidates.is_empty() {
            return;
        }
        let gone = candidates[self.random.below(candidates.len() as u64) as usize];
        let (whole, _) = self.recover(&records);
        let whole = read(&whole, i64::MIN, i64::MAX);
        assert_same(&whole, &self.model.visible());
        let (_, record) = records.remove(gone);
        let (partial, lost) = self.recover(&records);
        let partial = read(&partial, i64::MIN, i64::MAX);
        let mut missing = 0;
        for (labels, samples) in &whole {
            for (time, value) in samples {
                match partial.get(labels).and_then(|samples| samples.get(time)) {
                    Some(there) => {
                        // A late sample shows where the one in order is gone.
                        let late = &self.model.series[labels].late;
                        let is_late = late.get(time).is_some_and(|late| same(there, late));
                        // A stale marker is of the kind of what it follows.
                        let is_same = same(there, value) || is_stale(there) && is_stale(value);
                        assert!(is_same || is_late, "{labels} at {time}: {there:?}");
                    }
                    None => missing += 1,
                }
            }
        }
        for (labels, samples) in &partial {
            for time in samples.keys() {
                assert!(whole[labels].contains_key(time), "{labels} at {time}");
            }
        }
        // A sample takes a bit at least.
        let most = lost + record.len() as u64 * 8;
        assert!(missing <= most, "{missing} missing, {lost} lost");
    }

    fn check(&mut self) {
        let expected = self.model.visible();
        assert_same(&read(&self.head, i64::MIN, i64::MAX), &expected);
        self.check_part();
        self.check_shown();
    }

    /// As blocks are written. Afterwards a truncation leaves late samples, which the model hasn't.
    /// Where labels are left out, series and their order stay.
    fn check_shown(&self) {
        let names = ["series".into(), "nobody".into()];
        let shown = |labels: &Labels| labels.filtered(|label| names.contains(&label.name));
        let query = SelectQuery {
            matchers: &[],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            cancel: CancelToken::default(),
        };
        let all = self.head.select(&query).unwrap();
        let some = self.head.select_labels(&query, &names).unwrap();
        let all: Vec<Labels> = all.iter().map(|series| shown(series.labels())).collect();
        let some: Vec<Labels> = some.iter().map(|series| series.labels().clone()).collect();
        assert_eq!(some, all);
    }

    fn check_sorted(&self) {
        let sorted = self.head.series_sorted(i64::MIN, i64::MAX);
        let sorted: Vec<_> = sorted.map(Result::unwrap).collect();
        assert_same(&read_all(&sorted), &self.model.visible());
    }

    fn check_part(&mut self) {
        let start_ms = self.now_ms - self.random.below(2 * RANGE as u64) as i64;
        let end_ms = start_ms + self.random.below(RANGE as u64) as i64;
        let mut expected = self.model.visible();
        for samples in expected.values_mut() {
            samples.retain(|time, _| (start_ms..=end_ms).contains(time));
        }
        expected.retain(|_, samples| !samples.is_empty());
        assert_same(&read(&self.head, start_ms, end_ms), &expected);
    }
}

fn options(out_of_order_window_ms: i64) -> Options {
    Options {
        chunk_range_ms: RANGE,
        out_of_order_window_ms,
        exemplar_limit: 10,
    }
}

fn run(seed: u64) {
    let _case = Case(seed);
    let mut world = World::new(seed);
    for _ in 0..120 {
        world.step();
    }
    world.close_readers();
    world.check();
    world.restart();
}

#[test]
fn the_head_shows_what_a_map_would() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("HEAD_SEED") {
        return run(seed);
    }
    for seed in 0..number("HEAD_CASES").unwrap_or(60) {
        run(seed);
    }
}

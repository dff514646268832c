//! Size and speed on a realistic mix of series: 2 h at 15 s, ten labels; of ten series six do not
//! change, two or three count, one is a gauge and every twentieth has a value of its own each time.
//!
//! The size is held against promtool's for the same samples; the speed is printed (run it with
//! `--release` and `--nocapture`).

use narthex_model::{Labels, SampleValue};
use narthex_storage::{Column, Queryable};

use super::common::*;
use super::interchange::{Tools, write_open_metrics};
use crate::{Blocks, NewBlock, Options, steady};

pub(crate) const START_MS: i64 = 1_700_006_400_000;
const HOURS_2_MS: i64 = 2 * 3_600_000;

/// CPU time of this thread, so that others on the machine do not count.
struct Clock(f64);

impl Clock {
    fn start() -> Self {
        Clock(Self::now_ns())
    }

    fn elapsed_ns(&self) -> f64 {
        Self::now_ns() - self.0
    }

    fn now_ns() -> f64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let first = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        first.unwrap_or(0.0)
    }
}

/// A linear congruential generator with a good half.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 31) as f64
    }
}

fn mix_labels(series: usize) -> Labels {
    let text = |what: &str, number: usize| format!("{what}-{number}");
    Labels::from_pairs([
        (
            "__name__",
            format!("metric_of_some_length_{}_total", series / 20 % 100),
        ),
        ("cluster", "production-europe-west".to_owned()),
        ("container", text("container", series % 7)),
        ("endpoint", "metrics".to_owned()),
        (
            "instance",
            format!("10.0.{}.{}:9100", series / 2000, series / 100 % 20),
        ),
        ("job", text("job", series / 2000)),
        ("namespace", text("namespace", series % 5)),
        ("pod", text("pod-7f9c6d5b4", series / 100)),
        ("service", text("service", series % 11)),
        ("tag", text("value", series % 20)),
    ])
}

fn mix(count: usize) -> Content {
    let mut random = Random(42);
    let mut series = |number: usize| {
        let offset_ms = (random.next() % 15_000) as i64;
        let times = (0..HOURS_2_MS / 15_000).map(|scrape| START_MS + offset_ms + scrape * 15_000);
        let mut counter = (random.next() % 1_000_000) as f64;
        let mut gauge = 50.0 + random.share() * 100.0;
        let step = 1 + random.next() % 400;
        let kind = number % 20;
        let values: Vec<(i64, f64)> = times
            .map(|time_ms| {
                counter += (random.next() % step) as f64;
                gauge += (random.share() - 0.5) * 4.0;
                let value = match kind {
                    0..12 => step as f64,
                    12..17 => counter,
                    17 | 18 => (gauge * 10.0).round() / 10.0,
                    _ => random.share(),
                };
                (time_ms, value)
            })
            .collect();
        (mix_labels(number), floats(values))
    };
    (0..count).map(&mut series).collect()
}

fn written(content: &Content, folder: &std::path::Path) -> (Blocks, f64) {
    let blocks = Blocks::open(folder, Options::default(), metrics()).unwrap();
    let series: Vec<_> = content
        .iter()
        .map(|(l, s)| Ok(TestSeries::boxed(l, s)))
        .collect();
    let new = NewBlock::first_level(START_MS, START_MS + HOURS_2_MS, &[]);
    let started = Clock::start();
    blocks.write(&new, series, &steady).unwrap();
    (blocks, started.elapsed_ns())
}

#[test]
fn blocks_are_small_and_fast() {
    let count = if cfg!(debug_assertions) { 400 } else { 4000 };
    let content = mix(count);
    let samples = content.values().map(Samples::len).sum::<usize>() as f64;
    let folder = tempfile::tempdir().unwrap();
    let (blocks, write_ns) = written(&content, folder.path());
    let ours = blocks.size_bytes() as f64 / samples;
    println!(
        "written in {:.1} ns a sample (with making the columns)",
        write_ns / samples
    );
    measure_reading(&blocks, samples);
    measure_compaction(&blocks, samples);
    measure_merging(&content);
    let figures = crate::analyze::analyze_chunks(&blocks.loaded()[0]);
    let seen: u64 = figures.values().map(|figures| figures.samples).sum();
    assert_eq!(seen as f64, samples);
    let chunks: u64 = figures.values().map(|figures| figures.size_bytes).sum();
    println!(
        "{ours:.3} bytes a sample, {:.3} of them in chunks",
        chunks as f64 / samples
    );
    assert!(ours < 2.0, "{ours} bytes a sample");
    let Some(tools) = Tools::find() else {
        return;
    };
    let other = tempfile::tempdir().unwrap();
    let text = other.path().join("in.om");
    write_open_metrics(&content, &text);
    tools.create_blocks(&text, &other.path().join("data"));
    let theirs = Blocks::open_read_only(&other.path().join("data"), metrics()).unwrap();
    let total = theirs
        .loaded()
        .iter()
        .map(|b| b.meta().stats.num_samples)
        .sum::<u64>();
    assert_eq!(total as f64, samples);
    let theirs = theirs.size_bytes() as f64 / samples;
    println!(
        "promtool: {theirs:.3} bytes a sample; ours is {:.3} of it",
        ours / theirs
    );
    assert!(ours <= 0.85 * theirs, "{ours} against {theirs}");
}

fn measure_reading(blocks: &Blocks, samples: f64) {
    for what in ["cold", "warm"] {
        let started = Clock::start();
        let series = blocks
            .select(&select(&[], START_MS, START_MS + HOURS_2_MS))
            .unwrap();
        let selected_ns = started.elapsed_ns();
        let (mut seen, mut sum) = (0, 0.0);
        for series in &series {
            series
                .visit(&mut |column| {
                    if let Column::Floats { values, .. } = column {
                        seen += values.len();
                        sum += values.iter().sum::<f64>();
                    }
                })
                .unwrap();
        }
        let total_ns = started.elapsed_ns();
        assert_eq!(seen as f64, samples);
        println!(
            "{what}: selected in {:.0} ns a series, selected and visited in {:.2} ns a sample (sum {sum:.0})",
            selected_ns / series.len() as f64,
            total_ns / samples
        );
    }
}

/// The same series in several blocks, one after another.
fn measure_merging(content: &Content) {
    const BLOCKS: i64 = 6;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..BLOCKS {
        let later = content.iter().map(|(labels, samples)| {
            let moved = |(t, v): (&i64, &SampleValue)| (t + number * HOURS_2_MS, v.clone());
            let samples: Samples = samples.iter().map(moved).collect();
            Ok(TestSeries::boxed(labels, &samples))
        });
        let start_ms = START_MS + number * HOURS_2_MS;
        let new = NewBlock::first_level(start_ms, start_ms + HOURS_2_MS, &[]);
        let options = crate::WriteOptions::default();
        crate::write_block(folder.path(), &new, later, &options, None, &steady).unwrap();
    }
    let blocks = Blocks::open(folder.path(), Options::default(), metrics()).unwrap();
    let started = Clock::start();
    let mut series = 0;
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        series += blocks
            .select(&select(&[], i64::MIN, i64::MAX))
            .unwrap()
            .len();
    }
    let each_ns = started.elapsed_ns() / series as f64;
    assert_eq!(series, ROUNDS * content.len());
    println!("selected from {BLOCKS} blocks and merged in {each_ns:.0} ns a series");
}

fn measure_compaction(blocks: &Blocks, samples: f64) {
    let folder = tempfile::tempdir().unwrap();
    let started = Clock::start();
    let loaded = blocks.loaded();
    let options = crate::WriteOptions::default();
    crate::compact::compact(folder.path(), &loaded, &options, None, &steady).unwrap();
    let copied_ns = started.elapsed_ns();
    println!(
        "compacted by copying in {:.2} ns a sample",
        copied_ns / samples
    );
}

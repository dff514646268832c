//! Measures an index of a million series with ten labels: writing, opening, reading and matching.
//! `cargo run --release -p narthex-block-format --example index_speed [series]
//! [series per instance]`, of which fewer make more label values.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use narthex_block_format::{
    ChunkMeta, ChunkRef, IndexLayout, IndexReader, IndexWriter, SeriesEntry, matching,
};
use narthex_model::{MatchOp, Matcher};

const LABELS: [&str; 10] = [
    "__name__", "a_mode", "cluster", "device", "handler", "instance", "job", "le", "pod", "zone",
];

fn main() {
    let argument = |at, otherwise: usize| {
        let given = std::env::args().nth(at);
        given.map_or(otherwise, |count| count.parse().unwrap())
    };
    let series = argument(1, 1_000_000);
    let series_per_instance = argument(2, 500);
    let mut rows: Vec<[String; 10]> = (0..series)
        .map(|number| row(number, series_per_instance))
        .collect();
    rows.sort_unstable();
    let symbols: BTreeSet<&str> = rows
        .iter()
        .flatten()
        .map(String::as_str)
        .chain(LABELS)
        .collect();
    let symbols: Vec<String> = symbols.into_iter().map(str::to_owned).collect();
    let pairs: Vec<Vec<(u32, u32)>> = rows.iter().map(|row| symbol_pairs(row, &symbols)).collect();
    println!("{series} series, {} symbols", symbols.len());

    let start = Instant::now();
    let writer = write_series(Vec::with_capacity(series * 200), &symbols, &pairs);
    report("write the series", start, series);
    println!("held until the end: {} bytes", writer.memory_bytes());
    let start = Instant::now();
    let (bytes, stats) = writer.finish().unwrap();
    report(
        "write postings and tables",
        start,
        stats.label_pairs as usize,
    );
    println!(
        "{} bytes a series, {} label pairs",
        bytes.len() / series,
        stats.label_pairs
    );

    let start = Instant::now();
    let layout = IndexLayout::open(&bytes).unwrap();
    report("open", start, 1);
    println!("layout: {} bytes", layout.memory_bytes());
    let index = layout.reader(&bytes);
    read_all(&index, series);
    for (text, matchers) in questions() {
        let start = Instant::now();
        let found = matching(&index, &matchers).unwrap().len();
        let took = start.elapsed();
        println!(
            "{text}: {found} series in {:.1} us",
            took.as_secs_f64() * 1e6
        );
    }
}

fn write_series<W: std::io::Write>(
    out: W,
    symbols: &[String],
    series: &[Vec<(u32, u32)>],
) -> IndexWriter<W> {
    let mut writer = IndexWriter::new(out, symbols).unwrap();
    for (rank, labels) in series.iter().enumerate() {
        let chunk = ChunkMeta {
            min_ms: 1_700_000_000_000,
            max_ms: 1_700_007_185_000,
            chunk_ref: ChunkRef(rank as u64 * 700),
        };
        writer.add_series(labels, &[chunk]).unwrap();
    }
    writer
}

fn row(number: usize, series_per_instance: usize) -> [String; 10] {
    let (instance, metric) = (number / series_per_instance, number % series_per_instance);
    [
        format!("some_component_metric_{}_total", metric / 5),
        format!("mode-{}", metric % 5),
        format!("cluster-{}", instance % 3),
        format!("device-{}", metric % 11),
        format!("/api/v1/{}", metric % 7),
        format!("10.0.{}.{}:9100", instance / 256, instance % 256),
        format!("job-{}", instance % 20),
        format!("{}", metric % 5),
        format!("pod-{instance:x}-{:04x}", instance * 40503 % 65536),
        format!("zone-{}", instance % 4),
    ]
}

fn symbol_pairs(row: &[String; 10], symbols: &[String]) -> Vec<(u32, u32)> {
    let rank = |text: &str| symbols.partition_point(|symbol| symbol.as_str() < text) as u32;
    let pairs = LABELS.iter().zip(row);
    pairs
        .map(|(name, value)| (rank(name), rank(value)))
        .collect()
}

fn read_all(index: &IndexReader<'_>, series: usize) {
    let start = Instant::now();
    let mut entry = SeriesEntry::default();
    for reference in index.all_postings().unwrap() {
        index.series(reference, &mut entry).unwrap();
        black_box(&entry);
    }
    report("read series", start, series);
    let start = Instant::now();
    for reference in index.all_postings().unwrap() {
        index.series(reference, &mut entry).unwrap();
        for label in index.labels(&entry) {
            black_box(label.unwrap());
        }
    }
    report("read series with text", start, series);
    let start = Instant::now();
    let mut count = 0;
    for name in index.label_names() {
        for value in index.label_values(name.unwrap()).unwrap() {
            black_box(value.unwrap());
            count += 1;
        }
    }
    report("walk the values", start, count);
}

fn questions() -> Vec<(String, Vec<Matcher>)> {
    let regex = |name: &str, value: &str| Matcher::new(name, MatchOp::Regex, value).unwrap();
    let metric = || Matcher::equal("__name__", "some_component_metric_7_total");
    let sets = [
        vec![],
        vec![metric()],
        vec![metric(), Matcher::equal("instance", "10.0.1.7:9100")],
        vec![metric(), regex("job", "job-1|job-2|job-3")],
        vec![metric(), regex("pod", "pod-1.*")],
        vec![metric(), regex("pod", ".*-00.*")],
        vec![regex("pod", "pod-1.*")],
        vec![regex("pod", "pod-1.*"), regex("device", ".+")],
        vec![
            metric(),
            Matcher::new("a_mode", MatchOp::NotEqual, "mode-1").unwrap(),
        ],
        vec![regex("__name__", ".+"), Matcher::equal("missing", "")],
        vec![regex("instance", ".*"), regex("job", "job-1.*")],
    ];
    let text = |set: &Vec<Matcher>| {
        let matchers: Vec<String> = set.iter().map(Matcher::to_string).collect();
        format!("{{{}}}", matchers.join(","))
    };
    sets.into_iter().map(|set| (text(&set), set)).collect()
}

fn report(what: &str, start: Instant, count: usize) {
    let took = start.elapsed();
    let each_ns = took.as_nanos() as f64 / count.max(1) as f64;
    println!(
        "{what}: {:.1} ms, {each_ns:.0} ns each",
        took.as_secs_f64() * 1e3
    );
}

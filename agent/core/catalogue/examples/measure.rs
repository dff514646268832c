//! Measures a catalogue of a fleet: `measure [series] [labels that differ per series: 0 or 1]`.
//!
//! Prints the memory of each part, as the catalogue counts it, the growth of the process, and the
//! time of what it is asked to do.

#![allow(clippy::print_stdout, reason = "it is there to print")]
#![allow(clippy::unwrap_used, reason = "a wrong measurement is to stop")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use narthex_catalogue::{Catalogue, LabelTable};
use narthex_model::{CancelToken, Labels, MatchOp, Matcher};

fn main() {
    let number = |at: usize, or: u32| std::env::args().nth(at).map_or(or, |n| n.parse().unwrap());
    let (series, unique) = (number(1, 300_000), number(2, 0) > 0);
    println!("{series} series of ten labels");
    let sets: Vec<Vec<(String, String)>> = (0..series).map(|id| labels_of(id, unique)).collect();
    let labels: Vec<Labels> = sets.iter().cloned().map(Labels::from_pairs).collect();
    let before = resident_bytes();
    let mut catalogue = Catalogue::default();
    for (id, set) in (0..).zip(&sets) {
        let set: Vec<_> = set.iter().map(|(n, v)| (&**n, &**v)).collect();
        catalogue.insert_text(id, &set).unwrap();
    }
    let allocated = resident_bytes().saturating_sub(before);
    print_sizes(&catalogue, allocated, series);
    searches(&catalogue, &labels, series);
    building(&catalogue, &sets, &labels, series);
    removal(&mut catalogue, series);
}

/// A tenth of the series are counters of a histogram, a tenth of requests by method and code.
fn labels_of(id: u32, unique: bool) -> Vec<(String, String)> {
    const PER_TARGET: u32 = 500;
    let (target, at) = (id / PER_TARGET, id % PER_TARGET);
    let job = format!("job-{}", target / 50);
    let mut labels = vec![
        ("cluster", format!("eu-west-{}", target % 3)),
        ("env", "production".to_owned()),
        (
            "instance",
            format!("10.1.{}.{}:9100", target / 200, target % 200),
        ),
        ("job", job),
        ("namespace", format!("team-{}", target / 20)),
        (
            "pod",
            format!("service-{}-7d9f8c6b5-{:05x}", target / 20, target * 7919),
        ),
    ];
    let name = match at % 10 {
        0 => {
            labels.push(("code", format!("{}", 200 + at / 10 % 8)));
            labels.push(("handler", format!("/api/v1/thing{}", at / 80)));
            labels.push(("method", "GET".to_owned()));
            "http_requests_total".to_owned()
        }
        1..5 => {
            labels.push(("handler", format!("/api/v1/thing{}", at / 100)));
            labels.push(("le", format!("{}", f64::from(at % 100) / 10.0)));
            labels.push(("method", "POST".to_owned()));
            "http_request_duration_seconds_bucket".to_owned()
        }
        _ => {
            labels.push(("device", format!("nvme{}", at % 4)));
            labels.push(("mode", format!("mode{}", at % 7)));
            labels.push(("zone", format!("zone-{}", target % 3)));
            format!("node_thing_number_{at}_total")
        }
    };
    if unique {
        labels.push((
            "uid",
            format!("{:032x}", u128::from(id) * 0x9e37_79b9_7f4a_7c15),
        ));
        labels.remove(1);
    }
    labels.push(("__name__", name));
    labels.sort();
    labels.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()
}

fn print_sizes(catalogue: &Catalogue, allocated: usize, series: u32) {
    let sizes = catalogue.sizes();
    let a_series = |bytes: usize| bytes as f64 / f64::from(series);
    println!(
        "  names {}, labels {}",
        sizes.label_names, sizes.label_pairs
    );
    for (what, bytes) in [
        ("symbols", sizes.symbol_bytes),
        ("label sets", sizes.label_set_bytes),
        ("table", sizes.table_bytes),
        ("postings", sizes.postings_bytes),
        ("together", sizes.total_bytes()),
        ("process", allocated),
    ] {
        println!("  {what:<10} {:8.1} B a series", a_series(bytes));
    }
}

fn searches(catalogue: &Catalogue, labels: &[Labels], series: u32) {
    let first = &labels[..labels.len().min(500)];
    time("find warm", 500, || {
        for labels in first {
            black_box(catalogue.find(labels));
        }
    });
    // A stride without a factor in common with the count visits all, each far from the last.
    let count = labels.len();
    let far: Vec<usize> = (0..count).map(|at| at * 100_003 % count).collect();
    let mut batches = Vec::new();
    for some in far.chunks(64) {
        // The caller has just made the labels: they are not what is cold.
        for &at in some {
            black_box(labels[at].fingerprint());
        }
        let started = Instant::now();
        for &at in some {
            black_box(catalogue.find(&labels[at]));
        }
        batches.push(started.elapsed());
    }
    print_median("find cold", 64, batches);
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let tables: [&[(&str, MatchOp, &str)]; 9] = [
        &[("__name__", Equal, "node_thing_number_55_total")],
        &[
            ("__name__", Equal, "http_requests_total"),
            ("job", Equal, "job-3"),
        ],
        &[
            ("__name__", Equal, "http_requests_total"),
            ("code", Regex, "20[0-3]"),
            ("cluster", NotEqual, "eu-west-1"),
        ],
        &[("instance", Equal, "10.1.0.7:9100")],
        &[
            ("pod", Regex, "service-1.*"),
            ("__name__", Equal, "http_requests_total"),
        ],
        &[("instance", Regex, ".+"), ("job", Equal, "job-1")],
        &[("le", NotEqual, ""), ("method", NotRegex, "G.*")],
        &[("le", Equal, "")],
        &[
            ("__name__", Regex, "node_.*"),
            ("cluster", Regex, "eu-west-(0|2)"),
        ],
    ];
    for table in tables {
        let matchers: Vec<Matcher> = table
            .iter()
            .map(|&(name, op, value)| Matcher::new(name, op, value).unwrap())
            .collect();
        let shown: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        let started = Instant::now();
        let found = catalogue
            .matching(&matchers, &CancelToken::default())
            .unwrap();
        let first_us = started.elapsed().as_secs_f64() * 1e6;
        let started = Instant::now();
        for _ in 0..10 {
            black_box(
                catalogue
                    .matching(&matchers, &CancelToken::default())
                    .unwrap(),
            );
        }
        let each_us = started.elapsed().as_secs_f64() * 1e5;
        println!(
            "  {first_us:8.0} us, then {each_us:7.1} us: {} of {{{}}}",
            found.len(),
            shown.join(",")
        );
    }
    let mut ids: Vec<u32> = (0..series).collect();
    time("sort", series, || catalogue.sort_by_labels(&mut ids));
    time("labels", series, || {
        for id in 0..series {
            black_box(catalogue.labels(id));
        }
    });
    time("names", 1, || drop(black_box(catalogue.label_names(None))));
    time("values of some", 1, || {
        drop(black_box(catalogue.label_values("instance", Some(&ids))));
    });
    time("cardinality", 1, || {
        drop(black_box(catalogue.cardinality(10)));
    });
}

fn building(catalogue: &Catalogue, sets: &[Vec<(String, String)>], labels: &[Labels], series: u32) {
    let mut bytes = Vec::new();
    time("export", series, || {
        bytes.clear();
        catalogue.export(&mut bytes).unwrap();
    });
    println!(
        "  {:.1} B a series exported",
        bytes.len() as f64 / f64::from(series)
    );
    let before = resident_bytes();
    let mut imported = Catalogue::default();
    time("import", series, || {
        imported = Catalogue::import(&bytes).unwrap();
    });
    print_sizes(&imported, resident_bytes().saturating_sub(before), series);
    drop(imported);
    let mut other = Catalogue::default();
    let mut batches = Vec::new();
    for (start, some) in (0..).step_by(64).zip(labels.chunks(64)) {
        for labels in some {
            black_box(labels.fingerprint());
        }
        let started = Instant::now();
        for (id, labels) in (start..).zip(some) {
            other.insert(id, labels).unwrap();
        }
        batches.push(started.elapsed());
    }
    print_median("insert", 64, batches);
    let mut other = Catalogue::default();
    let mut batches = Vec::new();
    for (record, sets) in (0..).zip(sets.chunks(100)) {
        let mut places = HashMap::new();
        let place_of = |label| {
            let next = places.len() as u32;
            *places.entry(label).or_insert(next)
        };
        let indexes: Vec<u32> = sets.iter().flatten().map(place_of).collect();
        let mut labels = vec![("", ""); places.len()];
        for ((name, value), place) in &places {
            labels[*place as usize] = (name, value);
        }
        // The caller has just read the record.
        let bytes: usize = labels
            .iter()
            .map(|(n, v)| n.len() + v.bytes().filter(|&b| b == b'x').count())
            .sum();
        black_box(bytes);
        let started = Instant::now();
        let mut table = LabelTable::new(labels);
        for (at, indexes) in (0..).zip(indexes.chunks(10)) {
            other
                .insert_indexed(record * 100 + at, &mut table, indexes)
                .unwrap();
        }
        batches.push(started.elapsed());
    }
    print_median("insert indexed, 100 a record", 100, batches);
}

fn removal(catalogue: &mut Catalogue, series: u32) {
    let some: Vec<u32> = (0..series).filter(|id| id / 500 % 20 == 7).collect();
    once("remove 1 of 20 targets", some.len() as u32, || {
        catalogue.remove(&some);
    });
    let scattered: Vec<u32> = (0..series).filter(|id| id % 3 == 0).collect();
    once("remove 1 of 3 series", scattered.len() as u32, || {
        catalogue.remove(&scattered);
    });
    print_sizes(catalogue, 0, catalogue.series_count() as u32);
    let rest: Vec<u32> = (0..series).collect();
    once("remove all", rest.len() as u32, || catalogue.remove(&rest));
}

/// What the process has in memory, in whole pages.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    resident * 4096
}

fn once(what: &str, count: u32, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    print_spent(what, count, started.elapsed());
}

/// The best of three.
fn time(what: &str, count: u32, mut work: impl FnMut()) {
    let spent = (0..3).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed()
    });
    print_spent(what, count, spent.min().unwrap());
}

/// The median of all batches, each of `count` calls: a machine that does other things too does not
/// show.
fn print_median(what: &str, count: u32, mut batches: Vec<Duration>) {
    batches.sort_unstable();
    print_spent(what, count, batches[batches.len() / 2]);
}

fn print_spent(what: &str, count: u32, spent: Duration) {
    let each_ns = spent.as_nanos() as f64 / f64::from(count.max(1));
    println!(
        "{what:<30} {:8.1} ms {each_ns:8.0} ns each",
        spent.as_secs_f64() * 1e3
    );
}

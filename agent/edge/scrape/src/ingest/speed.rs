//! What reading a page costs, and what is remembered of it. Not for every test run:
//! `cargo test --release -p narthex-scrape speed -- --ignored --nocapture`

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use narthex_model::{Exemplar, Histogram, Metadata};
use narthex_storage::{CommitError, CommitReport};

use super::*;

const TARGETS: u64 = 300;
const SCRAPES: u64 = 20;

/// Takes everything and keeps nothing.
struct Nothing;

struct NothingAppender {
    next: u64,
}

impl Appendable for Nothing {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(NothingAppender { next: 0 })
    }
}

impl Appender for NothingAppender {
    fn append(&mut self, _: &Labels, _: i64, _: f64) -> Result<SeriesRef, AppendError> {
        self.next += 1;
        Ok(SeriesRef(self.next))
    }

    fn append_known(&mut self, series: SeriesRef, _: i64, value: f64) -> Result<(), AppendError> {
        black_box((series, value));
        Ok(())
    }

    fn append_histogram(
        &mut self,
        _: &Labels,
        _: i64,
        _: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(0))
    }

    fn append_known_histogram(
        &mut self,
        _: SeriesRef,
        _: i64,
        _: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: &Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: &str, _: &Metadata) {}

    fn commit(self: Box<Self>) -> Result<CommitReport, CommitError> {
        Ok(CommitReport::default())
    }
}

/// A page as a web service gives it: 10 histograms of 12 buckets with 4 handlers each, counters of
/// 5 labels, gauges and floats of full precision; about 1,000 series.
fn page(target: u64, scrape: u64) -> Vec<u8> {
    let mut page = String::new();
    let number = |a: u64, b: u64| (a * 7_919 + b * 104_729 + target * 31) % 1_000_003;
    for family in 0..12 {
        let name = format!("http_request_duration_seconds_{family}");
        let _ = writeln!(
            page,
            "# HELP {name} How long requests took, by handler and method."
        );
        let _ = writeln!(page, "# TYPE {name} histogram");
        for handler in 0..4 {
            let labels = format!("handler=\"/api/v1/resource/{handler}\",method=\"GET\"");
            for bound in [
                "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10",
                "+Inf",
            ] {
                let value = number(family, handler) + scrape;
                let _ = writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {value}");
            }
            let sum = number(family, handler) as f64 * 1.000_123_4 + scrape as f64 / 3.0;
            let _ = writeln!(page, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(page, "{name}_count{{{labels}}} {}", number(family, handler));
        }
    }
    for family in 0..30 {
        let name = format!("process_component_{family}_operations_total");
        let _ = writeln!(
            page,
            "# HELP {name} Total number of operations by kind and result."
        );
        let _ = writeln!(page, "# TYPE {name} counter");
        for series in 0..9 {
            let value = number(family, series) + scrape * (series % 2);
            let _ = writeln!(
                page,
                "{name}{{component=\"storage\",instance_id=\"node-{series}\",kind=\"read\",result=\"ok\",zone=\"eu-{family}\"}} {value}"
            );
        }
    }
    for family in 0..60 {
        let name = format!("process_gauge_{family}_bytes");
        let _ = writeln!(
            page,
            "# HELP {name} A number of bytes that goes up and down."
        );
        let _ = writeln!(page, "# TYPE {name} gauge");
        let value = (number(family, 0) + scrape) as f64 * 4096.0;
        let _ = writeln!(
            page,
            "{name} {}",
            narthex_model::number::format_general(value)
        );
    }
    page.into_bytes()
}

#[test]
#[ignore = "measures"]
fn speed_of_pages() {
    let rules = Rules {
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        legacy_names: false,
        limits: Limits::default(),
        metric_relabel: Vec::new(),
        features: Features::default(),
    };
    let labels = Labels::from_pairs([("instance", "10.0.0.1:9090"), ("job", "service")]);
    let families = Arc::new(crate::metadata::Families::default());
    let mut targets: Vec<(Memory, MetadataCache)> = (0..TARGETS)
        .map(|_| (Memory::default(), MetadataCache::new(families.clone())))
        .collect();
    let mut scrape_all = |scrape: u64| {
        let mut elapsed = 0;
        let mut samples = 0;
        for (target, (memory, metadata)) in (0..).zip(&mut targets) {
            let answer = Answer::Page {
                format: Format::Text,
                body: page(target, scrape),
            };
            let started = Instant::now();
            let mut batch = Batch::new(&Nothing, memory, &rules, &labels, 1000 * scrape as i64);
            batch.fill(&answer, metadata).unwrap();
            samples += batch.commit().unwrap().scraped;
            elapsed += started.elapsed().as_nanos();
        }
        (elapsed / u128::from(samples), samples)
    };
    let before = resident_bytes();
    let (ns, samples) = scrape_all(0);
    println!("first scrape: {ns} ns a sample, {samples} samples");
    let after = resident_bytes();
    println!("resident: {} B a series", (after - before) / samples);
    for scrape in 1..SCRAPES {
        let (ns, _) = scrape_all(scrape);
        println!("known page: {ns} ns a sample");
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 4096
}

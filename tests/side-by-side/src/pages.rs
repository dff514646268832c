//! The series of a target and their values.
//!
//! A value is a function of the target, the series and how many scrapes the target has answered
//! before, so what was served can be computed again. Of the series about 60 % never change, 25 %
//! are counters that do, 10 % are gauges of whole numbers and 5 % are fractions of full precision.

use std::fmt::Write;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const CODES: [&str; 5] = ["200", "204", "302", "404", "500"];
const HANDLERS: [&str; 10] = [
    "/api/v1/items",
    "/api/v1/items/:id",
    "/api/v1/orders",
    "/api/v1/orders/:id",
    "/api/v1/users",
    "/api/v1/users/:id",
    "/api/v1/search",
    "/healthz",
    "/login",
    "/static/*",
];
/// Upper bounds with the share of events at or below each, in 1024ths.
const BOUNDS: [(&str, u64); 12] = [
    ("0.005", 80),
    ("0.01", 190),
    ("0.025", 400),
    ("0.05", 610),
    ("0.1", 800),
    ("0.25", 910),
    ("0.5", 960),
    ("1.0", 990),
    ("2.5", 1010),
    ("5.0", 1019),
    ("10.0", 1022),
    ("+Inf", 1024),
];

/// The first series of each target: how many scrapes it has answered before this one.
pub(crate) const SEQUENCE: &str = "load_sequence";

/// How a value follows from the count of scrapes.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Sequence,
    Constant(u64),
    Counter {
        base: u64,
        step: u64,
    },
    /// The part of a counter's events that a bucket takes, in 1024ths.
    Bucket {
        base: u64,
        step: u64,
        share: u64,
    },
    /// A counter's events times a mean.
    Sum {
        base: u64,
        step: u64,
        mean: f64,
    },
    Gauge {
        base: u64,
        range: u64,
        unit: u64,
    },
    Fraction,
}

struct Series {
    /// `name{labels} `, with the family's HELP and TYPE lines before the first of it.
    text: String,
    seed: u64,
    shape: Shape,
}

/// The page of one target.
pub(crate) struct Page {
    series: Vec<Series>,
}

impl Page {
    pub(crate) fn new(target: u64, count: usize) -> Self {
        let mut builder = Builder {
            target,
            count,
            series: Vec::with_capacity(count),
        };
        builder.family(
            SEQUENCE,
            "counter",
            "Scrapes that this target has answered.",
        );
        builder.add(SEQUENCE, "", Shape::Sequence);
        let mut replica = 0;
        while builder.series.len() < count {
            builder.add_replica(replica);
            replica += 1;
        }
        Page {
            series: builder.series,
        }
    }

    /// Writes the page as it is at the given count of scrapes.
    pub(crate) fn render(&self, scrape: u64, out: &mut String) {
        for series in &self.series {
            out.push_str(&series.text);
            // Writing into a String does not fail.
            let _ = writeln!(out, "{}", series.value(scrape));
        }
    }

    /// Name and labels of each series with its value.
    pub(crate) fn values(&self, scrape: u64) -> impl Iterator<Item = (&str, f64)> {
        let series = self.series.iter();
        series.map(move |series| (series.line(), series.value(scrape)))
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Name and labels of a series.
    pub(crate) fn line(&self, at: usize) -> &str {
        self.series.get(at).map_or("", Series::line)
    }

    pub(crate) fn value(&self, at: usize, scrape: u64) -> f64 {
        let series = self.series.get(at);
        series.map_or(f64::NAN, |series| series.value(scrape))
    }
}

/// The labels that a target's series get besides their own.
pub(crate) fn of_target(target: usize) -> [(&'static str, String); 4] {
    [
        ("cluster", "load".to_owned()),
        ("instance", format!("target-{target}")),
        ("job", "load".to_owned()),
        ("zone", format!("zone-{}", target % 3)),
    ]
}

impl Series {
    fn line(&self) -> &str {
        let line = self.text.lines().last().unwrap_or_default();
        line.trim_end()
    }

    fn value(&self, scrape: u64) -> f64 {
        let events = |base: u64, step: u64| base + step * scrape + mix(self.seed ^ scrape) % step;
        match self.shape {
            Shape::Sequence => scrape as f64,
            Shape::Constant(value) => value as f64,
            Shape::Counter { base, step } => events(base, step) as f64,
            Shape::Bucket { base, step, share } => ((base + step * scrape) * share / 1024) as f64,
            Shape::Sum { base, step, mean } => (base + step * scrape) as f64 * mean,
            Shape::Gauge { base, range, unit } => {
                (base + mix(self.seed ^ scrape) % range * unit) as f64
            }
            Shape::Fraction => (mix(self.seed ^ scrape) >> 11) as f64 / (1u64 << 53) as f64,
        }
    }
}

struct Builder {
    target: u64,
    count: usize,
    series: Vec<Series>,
}

impl Builder {
    fn add_replica(&mut self, replica: usize) {
        self.add_counters(replica);
        self.add_histograms(replica);
        self.add_gauges(replica);
    }

    fn add_counters(&mut self, replica: usize) {
        let name = "app_requests_total";
        self.family(name, "counter", "Requests by handler, method and code.");
        for handler in HANDLERS {
            for method in METHODS {
                for code in CODES {
                    let labels = format!(
                        r#"{{code="{code}",handler="{handler}",method="{method}",replica="{replica}"}}"#
                    );
                    let shape = self.counter(name, &labels, 38);
                    self.add(name, &labels, shape);
                }
            }
        }
    }

    fn add_histograms(&mut self, replica: usize) {
        let name = "app_request_duration_seconds";
        self.family(name, "histogram", "How long requests took.");
        for handler in HANDLERS {
            for method in METHODS {
                let labels =
                    format!(r#"handler="{handler}",method="{method}",replica="{replica}""#);
                let seed = self.seed(name, &labels);
                let is_busy = seed % 100 < 38;
                let (base, step) = (seed % 5000, if is_busy { 1 + seed % 40 } else { 0 });
                for (bound, share) in BOUNDS {
                    let labels = format!(r#"{{{labels},le="{bound}"}}"#);
                    let shape = Shape::Bucket { base, step, share };
                    self.add("app_request_duration_seconds_bucket", &labels, shape);
                }
                let labels = format!("{{{labels}}}");
                let mean = 0.0137 + (seed % 1000) as f64 / 7000.0;
                let shape = Shape::Sum { base, step, mean };
                self.add("app_request_duration_seconds_sum", &labels, shape);
                let share = 1024;
                let shape = Shape::Bucket { base, step, share };
                self.add("app_request_duration_seconds_count", &labels, shape);
            }
        }
    }

    fn add_gauges(&mut self, replica: usize) {
        let name = "app_queue_length";
        self.family(name, "gauge", "Jobs that wait.");
        for queue in 0..12 {
            for shard in 0..10 {
                let labels =
                    format!(r#"{{queue="queue-{queue}",replica="{replica}",shard="{shard}"}}"#);
                let shape = self.gauge(name, &labels, 300, 1);
                self.add(name, &labels, shape);
            }
        }
        let name = "app_memory_bytes";
        self.family(name, "gauge", "Memory by pool and use.");
        for pool in 0..20 {
            for kind in ["free", "reserved", "used"] {
                let labels = format!(r#"{{kind="{kind}",pool="pool-{pool}",replica="{replica}"}}"#);
                let shape = self.gauge(name, &labels, 5000, 4096);
                self.add(name, &labels, shape);
            }
        }
        let name = "app_utilization_ratio";
        self.family(name, "gauge", "How busy each worker is.");
        for worker in 0..59 {
            let labels = format!(r#"{{replica="{replica}",worker="worker-{worker}"}}"#);
            self.add(name, &labels, Shape::Fraction);
        }
    }

    fn counter(&self, name: &str, labels: &str, busy_percent: u64) -> Shape {
        let seed = self.seed(name, labels);
        let base = seed % 1_000_000;
        if seed % 100 < busy_percent {
            let step = 1 + (seed >> 20) % 200;
            Shape::Counter { base, step }
        } else {
            Shape::Constant(base)
        }
    }

    fn gauge(&self, name: &str, labels: &str, range: u64, unit: u64) -> Shape {
        let seed = self.seed(name, labels);
        let base = unit * (seed % 1000);
        if seed % 100 < 50 {
            Shape::Gauge { base, range, unit }
        } else {
            Shape::Constant(base)
        }
    }

    fn seed(&self, name: &str, labels: &str) -> u64 {
        let text = name.bytes().chain(labels.bytes());
        text.fold(mix(self.target), |hash, byte| mix(hash ^ u64::from(byte)))
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        if self.series.len() < self.count {
            let seed = 0;
            let text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            let shape = Shape::Sequence;
            self.series.push(Series { text, seed, shape });
        }
    }

    fn add(&mut self, name: &str, labels: &str, shape: Shape) {
        let heading = match self.series.last() {
            Some(last) if last.text.ends_with('\n') => self.series.pop().map(|last| last.text),
            _ => None,
        };
        if self.series.len() < self.count {
            let text = format!("{}{name}{labels} ", heading.unwrap_or_default());
            let seed = self.seed(name, labels);
            self.series.push(Series { text, seed, shape });
        }
    }
}

/// A well-mixed function of a number (the finalizer of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_page_has_so_many_different_series() {
        for count in [1, 2, 999, 1000, 1001, 2500] {
            let page = Page::new(3, count);
            let names: BTreeSet<&str> = page.values(0).map(|(name, _)| name).collect();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn about_sixty_percent_of_the_series_stand_still() {
        let page = Page::new(1, 1000);
        let same = page.values(5).zip(page.values(6));
        let same = same.filter(|(before, after)| before.1 == after.1).count();
        assert!((520..680).contains(&same), "{same}");
    }

    #[test]
    fn a_page_is_written_as_its_values_say() {
        let page = Page::new(2, 300);
        let mut text = String::new();
        page.render(7, &mut text);
        let written = text.lines().filter(|line| !line.starts_with('#'));
        let written = written.map(|line| line.rsplit_once(' ').unwrap());
        let written = written.map(|(name, value)| (name, value.parse().unwrap()));
        assert!(written.eq(page.values(7)));
        assert!(text.starts_with("# HELP load_sequence"));
    }
}

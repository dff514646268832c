//! The series that generated queries are about: which there are, and the samples of each.
//!
//! They have what real ones have now and then: gaps, counters that start again, ends and new starts,
//! values that are no numbers or beyond all bounds, and series that are scraped too seldom.
//!
//! Some things are avoided because Prometheus 2 answers otherwise:
//! - A sample at a whole second, as it would lie on the border of a window, which counts on the left
//!   side no longer.
//! - A counter with gaps that is close to zero. Since 2.51 a rate is extrapolated by half an interval
//!   at most where the window begins in a gap, before it is looked at where the counter was zero;
//!   earlier versions did it the other way round. Counters with gaps begin at a million, and do not
//!   start again, as that would count for a million, too.
//! - Large numbers of both signs in one series: averages were less exact before 2.55.
//! - Numbers with less than 52 digits of precision near 5e-324: Go's logarithms of them were wrong.

use narthex_model::{Labels, STALE_NAN};

use crate::queries::random::Random;
use crate::stored::START_MS;

pub(crate) const MINUTES: i64 = 90;
const INTERVAL_MS: i64 = 15_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole numbers that grow.
    Counter,
    /// Whole numbers.
    Gauge,
    /// Fractions.
    Fraction,
    /// Cumulative buckets of whole numbers.
    Buckets,
    /// NaN, infinities, zeros of both signs, and numbers near the ends of what a float holds.
    Odd,
    /// Zero or one.
    Flag,
    /// One, with labels that change.
    Info,
}

pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [(&'static str, &'static [&'static str])],
}

const INSTANCES: &[&str] = &["a:9100", "b:9100", "c:9100"];
const PATHS: &[&str] = &["/", "/login", "/api/items"];

pub(crate) const FAMILIES: [Family; 13] = [
    family(
        "http_requests_total",
        Kind::Counter,
        &[
            ("instance", INSTANCES),
            ("path", PATHS),
            ("code", &["200", "404", "500"]),
        ],
    ),
    family(
        "node_cpu_seconds_total",
        Kind::Counter,
        &[
            ("instance", INSTANCES),
            ("cpu", &["0", "1"]),
            ("mode", &["idle", "user", "system"]),
        ],
    ),
    family(
        "node_network_bytes_total",
        Kind::Counter,
        &[("instance", INSTANCES), ("device", &["eth0", "eth1"])],
    ),
    family(
        "memory_bytes",
        Kind::Gauge,
        &[
            ("instance", INSTANCES),
            ("kind", &["free", "used", "cached"]),
        ],
    ),
    family(
        "queue_length",
        Kind::Gauge,
        &[("instance", INSTANCES), ("queue", &["mail", "orders"])],
    ),
    family(
        "temperature_celsius",
        Kind::Fraction,
        &[
            ("instance", INSTANCES),
            ("sensor", &["cpu", "disk", "case"]),
        ],
    ),
    family("load_ratio", Kind::Fraction, &[("instance", INSTANCES)]),
    family(
        "odd_value",
        Kind::Odd,
        &[
            ("instance", INSTANCES),
            ("kind", &["nan", "inf", "both", "zero", "huge", "tiny"]),
        ],
    ),
    family(
        "latency_seconds_bucket",
        Kind::Buckets,
        &[
            ("instance", INSTANCES),
            ("path", PATHS),
            ("le", &["0.1", "0.5", "1", "2.5", "10", "+Inf"]),
        ],
    ),
    family(
        "latency_seconds_count",
        Kind::Counter,
        &[("instance", INSTANCES), ("path", PATHS)],
    ),
    family(
        "build_info",
        Kind::Info,
        &[
            ("instance", INSTANCES),
            ("version", &["1.0", "1.1"]),
            ("branch", &["main"]),
        ],
    ),
    family(
        "up",
        Kind::Flag,
        &[("instance", INSTANCES), ("job", &["node", "app"])],
    ),
    family("alone", Kind::Gauge, &[]),
];

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [(&'static str, &'static [&'static str])],
) -> Family {
    Family { name, kind, labels }
}

impl Family {
    fn label_sets(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let mut sets = vec![vec![("__name__", self.name)]];
        for (name, values) in self.labels {
            let longer = |set: &Vec<(&'static str, &'static str)>| {
                let with = |value: &&'static str| [set.as_slice(), &[(*name, *value)]].concat();
                values.iter().map(with).collect::<Vec<_>>()
            };
            sets = sets.iter().flat_map(longer).collect();
        }
        sets
    }
}

pub(crate) struct Samples {
    pub(crate) labels: Labels,
    pub(crate) times_ms: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// All series, sorted by labels.
pub(crate) fn all(seed: u64) -> Vec<Samples> {
    let mut random = Random::new(seed);
    let mut all = Vec::new();
    for family in &FAMILIES {
        // Buckets of one histogram have one life.
        let mut life = Life::new(&mut random);
        let mut events = Vec::new();
        for set in family.label_sets() {
            let labels = Labels::from_pairs(set.iter().copied());
            let bound = labels.get("le").map(str::to_owned);
            if bound.as_deref().is_none_or(|bound| bound == "0.1") {
                life = Life::new(&mut random);
                events.clear();
            }
            let instance = labels.value_or_empty("instance").bytes().map(i64::from);
            let moment_ms = 1_003 + instance.sum::<i64>() % 7 * 1_101;
            let times = life.times_ms(moment_ms);
            let values = match family.kind {
                Kind::Buckets => buckets(&times, &mut events, &mut random),
                Kind::Odd => odd(&times, labels.value_or_empty("kind"), &mut random),
                kind => plain(&times, kind, life.has_gaps(), &mut random),
            };
            let (times_ms, values) = life.with_ends(&times, &values);
            all.push(Samples {
                labels,
                times_ms,
                values,
            });
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

/// When a series is scraped.
struct Life {
    /// Scrapes of this many intervals.
    every: i64,
    /// Gaps, in scrapes; whether the series ends in them as it should, with a marker.
    gaps: Vec<(i64, i64, bool)>,
}

impl Life {
    fn new(random: &mut Random) -> Self {
        let scrapes = MINUTES * 60_000 / INTERVAL_MS;
        let every = match random.below(12) {
            0 => 4,
            1 => 28,
            _ => 1,
        };
        let mut gaps = Vec::new();
        for _ in 0..[0, 0, 0, 1, 1, 3][random.below(6)] {
            let start = random.below(scrapes as usize) as i64;
            let length = [1, 2, 9, 25, 100][random.below(5)];
            gaps.push((start, start + length, random.happens(50)));
        }
        if random.happens(10) {
            gaps.push((0, random.below(scrapes as usize) as i64, false));
        }
        if random.happens(10) {
            let start = random.below(scrapes as usize) as i64;
            gaps.push((start, scrapes, random.happens(50)));
        }
        Life { every, gaps }
    }

    fn has_gaps(&self) -> bool {
        self.every > 1 || !self.gaps.is_empty()
    }

    fn gap(&self, scrape: i64) -> Option<&(i64, i64, bool)> {
        let mut gaps = self.gaps.iter();
        gaps.find(|(start, end, _)| (*start..*end).contains(&scrape))
    }

    fn times_ms(&self, moment_ms: i64) -> Vec<(i64, i64)> {
        let scrapes = 0..MINUTES * 60_000 / INTERVAL_MS;
        let scrapes = scrapes.filter(|scrape| scrape % self.every == 0);
        let time_ms = |scrape| START_MS + scrape * INTERVAL_MS + moment_ms;
        scrapes.map(|scrape| (scrape, time_ms(scrape))).collect()
    }

    /// Without what falls into gaps, and with markers where the series ends.
    fn with_ends(&self, times: &[(i64, i64)], values: &[f64]) -> (Vec<i64>, Vec<f64>) {
        let mut kept = (Vec::new(), Vec::new());
        let mut is_marked = true;
        for ((scrape, time_ms), value) in times.iter().zip(values) {
            let gap = self.gap(*scrape);
            let value = match gap {
                None => *value,
                Some((_, _, true)) if !is_marked => STALE_NAN,
                Some(_) => continue,
            };
            is_marked = gap.is_some();
            kept.0.push(*time_ms);
            kept.1.push(value);
        }
        kept
    }
}

fn plain(times: &[(i64, i64)], kind: Kind, has_gaps: bool, random: &mut Random) -> Vec<f64> {
    const FAR_FROM_ZERO: f64 = 1e6;
    let start = match has_gaps {
        true => FAR_FROM_ZERO,
        false => [0.0, FAR_FROM_ZERO][random.below(2)],
    };
    let (step, is_still) = (1 + random.below(200), random.happens(15));
    let resets = random.happens(40) && !has_gaps;
    let mut value = start;
    let mut values = Vec::with_capacity(times.len());
    for at in 0..times.len() {
        value = match kind {
            Kind::Counter if at == 0 => start,
            Kind::Counter if resets && random.happens(2) => start,
            Kind::Counter if is_still || random.happens(20) => value,
            Kind::Counter => value + random.below(2 * step) as f64,
            Kind::Gauge if is_still => start,
            Kind::Gauge => (random.below(40) * step) as f64,
            Kind::Fraction => 20.0 + random.fraction() * 15.0,
            Kind::Flag => f64::from(u8::from(!random.happens(10))),
            Kind::Info | Kind::Buckets | Kind::Odd => 1.0,
        };
        values.push(value);
    }
    values
}

/// `events` is what the buckets below have counted; this one counts that and more.
fn buckets(times: &[(i64, i64)], events: &mut Vec<f64>, random: &mut Random) -> Vec<f64> {
    events.resize(times.len(), 1e6);
    let is_empty = random.happens(20);
    let mut more = 0.0;
    for below in events.iter_mut() {
        if !is_empty {
            more += random.below(6) as f64;
        }
        *below += more;
    }
    events.clone()
}

fn odd(times: &[(i64, i64)], kind: &str, random: &mut Random) -> Vec<f64> {
    let ordinary = |random: &mut Random| random.below(10) as f64;
    let value = |random: &mut Random| match (kind, random.below(4)) {
        ("nan", 0) => f64::NAN,
        ("inf", 0) => f64::INFINITY,
        ("both", 0) => f64::INFINITY,
        ("both", 1) => f64::NEG_INFINITY,
        ("both", 2) => f64::NAN,
        ("zero", 0) => -0.0,
        ("zero", _) => 0.0,
        ("huge", 0) => 1.5e300,
        ("huge", 1) => 1.5e308,
        ("tiny", 0) => -1e-300,
        ("tiny", 1) => 1e-300,
        _ => ordinary(random),
    };
    times.iter().map(|_| value(random)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_avoided_is_not_there() {
        for seed in 0..20 {
            let all = all(seed);
            assert!(all.is_sorted_by(|a, b| a.labels < b.labels));
            assert!((150..300).contains(&all.len()), "{}", all.len());
            for series in &all {
                assert!(series.times_ms.is_sorted_by(|a, b| a < b));
                assert!(series.times_ms.iter().all(|time_ms| time_ms % 1000 != 0));
                let before_end = series.values.windows(2);
                let mut markers = before_end
                    .filter(|pair| pair.iter().all(|value| narthex_model::is_stale_nan(*value)));
                assert!(markers.next().is_none(), "two ends: {}", series.labels);
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_series() {
        let (one, other) = (all(3), all(3));
        let same = one.iter().zip(&other).all(|(one, other)| {
            let values = one.values.iter().zip(&other.values);
            one.labels == other.labels
                && one.times_ms == other.times_ms
                && values.clone().all(|(a, b)| a.to_bits() == b.to_bits())
        });
        assert!(same && one.len() == other.len());
    }
}

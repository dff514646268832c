//! Random data and random expressions.

use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::{Histogram, Labels, STALE_NAN, is_stale_nan};
use narthex_storage::Appendable;
use narthex_storage::memory::MemoryStore;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Mixed, so that neighbouring seeds have nothing in common.
        Random(Random(seed).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n`.
    pub(crate) fn chance(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap()]
    }
}

/// One series: gaps, resets, stale markers and odd numbers included.
pub(crate) fn samples(random: &mut Random) -> Vec<(i64, f64)> {
    let mut time_ms = i64::try_from(random.below(60_000)).unwrap();
    let mut value = 0.0;
    let mut samples = Vec::new();
    while time_ms < 800_000 {
        value = match random.below(30) {
            0 => STALE_NAN,
            1 => f64::NAN,
            2 if random.chance(4) => f64::INFINITY,
            3 => 0.0,
            4 => -(random.below(100) as f64) / 7.0,
            5..=9 => value,
            _ if value.is_finite() => value + random.below(1000) as f64 / 16.0,
            _ => random.below(50) as f64,
        };
        samples.push((time_ms, value));
        let gap = if random.chance(12) { 200_000 } else { 20_000 };
        time_ms += 1 + i64::try_from(random.below(gap)).unwrap();
    }
    samples
}

/// As [`samples`], of a native histogram, with floats in between.
fn append_histograms(random: &mut Random, store: &MemoryStore, labels: &Labels) {
    let mut appender = store.appender();
    let only_histograms = random.chance(2);
    let custom = random.chance(4);
    let mut counts = vec![0.0; 5];
    for (time_ms, value) in samples(random) {
        if random.chance(20) && !only_histograms || is_stale_nan(value) {
            appender.append(labels, time_ms, value).unwrap();
            continue;
        }
        if random.chance(10) {
            counts.fill(0.0);
        }
        for count in &mut counts {
            *count += random.below(20) as f64 / 4.0;
        }
        let histogram = histogram(random, custom, &counts, value);
        appender
            .append_histogram(labels, time_ms, Arc::new(histogram))
            .unwrap();
    }
    appender.commit().unwrap();
}

fn histogram(random: &mut Random, custom: bool, counts: &[f64], sum: f64) -> Histogram {
    let hints = [
        CounterReset::Unknown,
        CounterReset::Gauge,
        CounterReset::NotReset,
    ];
    let hint = hints[usize::try_from(random.below(3)).unwrap()];
    let spans = |random: &mut Random| {
        vec![
            Span {
                offset: i32::try_from(random.below(3)).unwrap(),
                length: 2,
            },
            Span {
                offset: i32::try_from(random.below(2)).unwrap(),
                length: 1,
            },
        ]
    };
    let mut histogram = Histogram {
        counter_reset: hint,
        count: counts.iter().sum(),
        sum,
        positive_spans: spans(random),
        positive_buckets: counts[..3].to_vec(),
        ..Histogram::default()
    };
    if custom || random.chance(40) {
        histogram.schema = CUSTOM_BOUNDS_SCHEMA;
        histogram.custom_values = vec![-1.0, 0.5, 2.0, 4.0, 8.0, 16.0];
        if random.chance(8) {
            histogram.custom_values.remove(2);
        }
        return histogram;
    }
    histogram.schema = i32::try_from(random.below(4)).unwrap() - 1;
    histogram.zero_threshold = [0.0, 0.001, 1.5][usize::try_from(random.below(3)).unwrap()];
    histogram.zero_count = counts[3];
    if random.chance(2) {
        histogram.negative_spans = vec![Span {
            offset: 1,
            length: 1,
        }];
        histogram.negative_buckets = vec![counts[4]];
    }
    histogram
}

pub(crate) fn append(store: &MemoryStore, labels: &Labels, samples: &[(i64, f64)]) {
    let mut appender = store.appender();
    for (time_ms, value) in samples {
        appender.append(labels, *time_ms, *value).unwrap();
    }
    appender.commit().unwrap();
}

/// Metrics a, b and c_total with labels x and y, n of native histograms, and the buckets of a
/// histogram h.
pub(crate) fn store(random: &mut Random) -> MemoryStore {
    let store = MemoryStore::default();
    for name in ["a", "b", "c_total"] {
        for x in ["1", "2", "3"] {
            for y in ["", "p", "q"] {
                if random.chance(3) {
                    continue;
                }
                let labels = Labels::from_pairs([("__name__", name), ("x", x), ("y", y)]);
                append(&store, &labels, &samples(random));
            }
        }
    }
    for x in ["1", "2", "3"] {
        let labels = Labels::from_pairs([("__name__", "n"), ("x", x)]);
        append_histograms(random, &store, &labels);
    }
    for le in ["0.5", "1", "+Inf", "odd"] {
        let labels = Labels::from_pairs([("__name__", "h_bucket"), ("le", le)]);
        append(&store, &labels, &samples(random));
    }
    store
}

/// How deep expressions get.
const DEPTH: u32 = 3;

pub(crate) fn expression(random: &mut Random) -> String {
    if random.chance(12) {
        return scalar(random, 2);
    }
    vector(random, DEPTH)
}

/// One in which the same parts occur several times, with more or fewer blanks and parentheses.
pub(crate) fn repetitive_expression(random: &mut Random) -> String {
    let part = vector(random, 2);
    let other = vector(random, 1);
    let again = |random: &mut Random| match random.below(4) {
        0 => format!("( {part} )"),
        1 => format!("(\n\n{part})"),
        2 => format!("(({part}))"),
        _ => format!("({part})"),
    };
    let (a, b, c) = (again(random), again(random), again(random));
    let op = operator(random);
    let matching = random.pick(&["", "", "on (x, y)", "on (x)", "ignoring (y)"]);
    match random.below(16) {
        0 | 1 => format!("{a} {op} {matching} {b}"),
        2 => format!("sum by (x) ({a}) / sum by (x) {b}"),
        3 => format!("{a} and {matching} {b} > 1"),
        4 => format!("{a} > 1 and on () sum({b}) > 2"),
        5 => format!("max_over_time({a}[3m:30s]) - min_over_time({b}[3m:30s])"),
        6 => format!("label_replace({a}, \"z\", \"1\", \"x\", \".*\") or {b}"),
        7 => format!("{a} * scalar(sum({b})) - scalar(sum({c}))"),
        8 => format!("topk(2, {a}) {op} {matching} {b}"),
        9 => format!("quantile(2, {a}) + max({b}) + quantile( 2, {c})"),
        10 => {
            let (left, right) = (
                format!("({other}) {op} {matching} {a}"),
                format!("({other}) {op} {matching} {b}"),
            );
            format!("({left}) or ({right}) unless {c}")
        }
        11 => format!("{a} unless {matching} (({other}) or {b})"),
        12 => format!("count_values(\"v\", {a}) or count_values(\"v\", {b}) or {c}"),
        13 => {
            let range = range(random, 1);
            let name = random.pick(&["rate", "sum_over_time", "max_over_time", "delta"]);
            let function = random.pick(&["increase", "avg_over_time", "changes"]);
            format!("{name}({range}) {op} {function}({range}) + {name}( {range} )")
        }
        14 => format!("({other}) {op} on (x) group_left () {a} + on (x) max by (x) ({b})"),
        _ => format!("absent({a}) or absent({b}) or histogram_quantile(0.9, {c})"),
    }
}

fn vector(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        return selector(random);
    }
    let depth = depth - 1;
    match random.below(11) {
        0 => selector(random),
        1 | 2 => range_call(random, depth),
        3 | 4 => aggregation(random, depth),
        5..=7 => binary(random, depth),
        8 => call(random, depth),
        9 => label_call(random, depth),
        _ => {
            let (op, left) = (operator(random), vector(random, depth));
            if random.chance(2) {
                return format!("({left}) {op} {}", scalar(random, depth));
            }
            format!("{} {op} ({left})", scalar(random, depth))
        }
    }
}

fn selector(random: &mut Random) -> String {
    let name = random.pick(&["a", "b", "c_total", "n", "{__name__=~\"a|n\"}", "none"]);
    let matchers = random.pick(&["", "", "", "{x=\"1\"}", "{y=\"\"}", "{x!=\"1\",y=~\"p|q\"}"]);
    let matchers = if name.starts_with('{') { "" } else { matchers };
    format!("{name}{matchers}{}", shift(random))
}

fn shift(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "",
        "",
        "",
        "",
        " offset 31s",
        " offset -45s",
        " @ 300",
        " @ 200 offset 1m",
    ])
}

fn range(random: &mut Random, depth: u32) -> String {
    if random.chance(3) {
        let step = random.pick(&["", "17s", "1m"]);
        return format!("({})[3m:{step}]{}", vector(random, depth), shift(random));
    }
    let name = random.pick(&["a", "b{y=\"\"}", "c_total", "n", "n", "none"]);
    let length = random.pick(&["20s", "1m", "5m"]);
    format!("{name}[{length}]{}", shift(random))
}

fn range_call(random: &mut Random, depth: u32) -> String {
    let range = range(random, depth.min(1));
    match random.below(5) {
        0 => format!("quantile_over_time({}, {range})", scalar(random, 0)),
        1 => format!("predict_linear({range}, {})", scalar(random, 0)),
        _ => {
            let name = random.pick(&[
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "changes",
                "resets",
                "deriv",
                "sum_over_time",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "count_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "mad_over_time",
                "last_over_time",
                "first_over_time",
                "present_over_time",
                "absent_over_time",
                "ts_of_min_over_time",
                "ts_of_max_over_time",
            ]);
            format!("{name}({range})")
        }
    }
}

fn aggregation(random: &mut Random, depth: u32) -> String {
    let grouping = random.pick(&[
        "",
        "by (x)",
        "by (x, __name__)",
        "without (y)",
        "without (x)",
    ]);
    let inner = vector(random, depth);
    match random.below(6) {
        0 => {
            // An instant topk is sorted by value, a range one isn't, and what adds its series up
            // in another order differs in the last digits. So they stand only at the root.
            let at_root = depth == DEPTH - 1;
            let op = random.pick(if at_root {
                &["topk", "bottomk", "limitk"]
            } else {
                &["limitk"]
            });
            let k = random.pick(&["1", "2", "5", "time() / 100"]);
            format!("{op} {grouping} ({k}, {inner})")
        }
        1 => format!("quantile {grouping} ({}, {inner})", scalar(random, 0)),
        2 => format!("count_values {grouping} (\"v\", {inner})"),
        3 => format!("limit_ratio {grouping} (0.5, {inner})"),
        _ => {
            let op = random.pick(&[
                "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar",
            ]);
            format!("{op} {grouping} ({inner})")
        }
    }
}

fn operator(random: &mut Random) -> &'static str {
    random.pick(&[
        "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<=", "> bool", "!= bool", "</",
        ">/",
    ])
}

fn binary(random: &mut Random, depth: u32) -> String {
    let (left, right) = (vector(random, depth), vector(random, depth));
    let matching = random.pick(&["", "", "on (x, y)", "on (x)", "ignoring (y)"]);
    if random.chance(2) {
        let op = random.pick(&["and", "or", "unless"]);
        return format!("({left}) {op} {matching} ({right})");
    }
    let op = operator(random);
    // Many-to-one matching works if the one side has nothing but the labels to match on.
    match random.below(6) {
        0 => format!("({left}) {op} on (x) group_left () max by (x) ({right})"),
        1 => format!("max by (x) ({left}) {op} on (x) group_right () ({right})"),
        2 => format!("({left}) {op} on (x) group_left (y) ({right})"),
        _ => format!("({left}) {op} {matching} ({right})"),
    }
}

fn call(random: &mut Random, depth: u32) -> String {
    let inner = vector(random, depth);
    match random.below(13) {
        9 => format!("histogram_quantile({}, {inner})", scalar(random, 0)),
        10 => format!("histogram_fraction(0, {}, {inner})", scalar(random, 0)),
        11 => format!("histogram_quantiles({inner}, \"q\", 0.1, 0.9)"),
        12 => {
            // What is said of counter resets depends on what was read before, and with it whether
            // two histograms can be added. So only these have counts looked at.
            let name = random.pick(&["histogram_count", "histogram_sum", "histogram_avg"]);
            let inner = random.pick(&["n", "rate(n[3m])", "sum(n)", "avg_over_time(n[2m])"]);
            format!("{name}({inner})")
        }
        0 => format!("clamp({inner}, {}, 40)", scalar(random, 0)),
        1 => format!("round({inner}, 5)"),
        2 => format!("timestamp({inner})"),
        3 => format!("absent({inner})"),
        4 => format!("-({inner})"),
        5 => format!("histogram_quantile({}, h_bucket)", scalar(random, 0)),
        6 => format!("vector({})", scalar(random, depth)),
        7 => format!("hour({inner})"),
        _ => {
            let name = random.pick(&[
                "abs",
                "ceil",
                "sgn",
                "sqrt",
                "ln",
                "day_of_week",
                "year",
                "histogram_stddev",
                "histogram_stdvar",
            ]);
            format!("{name}({inner})")
        }
    }
}

fn label_call(random: &mut Random, depth: u32) -> String {
    let inner = vector(random, depth);
    match random.below(4) {
        0 => format!("label_replace({inner}, \"y\", \"$1\", \"x\", \"(.).*\")"),
        1 => format!("label_replace({inner}, \"__name__\", \"n$1\", \"x\", \"(.).*\")"),
        2 => format!("label_replace({inner}, \"x\", \"\", \"x\", \".*\")"),
        _ => format!("label_join({inner}, \"z\", \"-\", \"x\", \"y\")"),
    }
}

fn scalar(random: &mut Random, depth: u32) -> String {
    match random.below(8) {
        0 => "time()".to_owned(),
        1 if depth > 0 => format!("scalar({})", vector(random, depth - 1)),
        2 if depth > 0 => format!("({} + {})", scalar(random, depth - 1), scalar(random, 0)),
        3 => "(time() / 1000)".to_owned(),
        4 => "NaN".to_owned(),
        _ => random.pick(&["0", "0.5", "1", "2", "-3", "1e3"]).to_owned(),
    }
}

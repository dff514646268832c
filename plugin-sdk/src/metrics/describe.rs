//! Families described by constants, whose names the compiler checks.

use std::marker::PhantomData;

use super::names::{are_equal, ends_with, is_label_name, is_metric_name};
use super::{Histogram, Info, MetricType, NativeHistogram, Summary};

/// What a family is called and what its values are. As a `const`, it does not compile with an
/// invalid name; else an invalid name panics where it is made.
///
/// ```ignore
/// const WATER: Metric<f64, 1> =
///     Metric::gauge("pool_water_celsius", "Temperature of the water.", ["pool"]).in_unit("celsius");
///
/// metrics.of(&WATER).add(["big"], 21.5);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metric<V, const N: usize> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: [&'static str; N],
    value: PhantomData<V>,
}

impl<const N: usize> Metric<f64, N> {
    /// A value that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str, labels: [&'static str; N]) -> Self {
        Metric::new(name, help, MetricType::Gauge, labels)
    }

    /// A value that only counts up. The name ends in `_total`.
    pub const fn counter(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        assert!(
            ends_with(name, "_total"),
            "the name of a counter ends in _total"
        );
        Metric::new(name, help, MetricType::Counter, labels)
    }

    /// A value of which nobody knows whether it only counts up.
    pub const fn unknown(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Metric::new(name, help, MetricType::Unknown, labels)
    }
}

impl<const N: usize> Metric<Histogram, N> {
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Metric::new(name, help, MetricType::Histogram, labels)
    }
}

impl<const N: usize> Metric<NativeHistogram, N> {
    pub const fn native_histogram(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Metric::new(name, help, MetricType::Histogram, labels)
    }
}

impl<const N: usize> Metric<Summary, N> {
    pub const fn summary(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Metric::new(name, help, MetricType::Summary, labels)
    }
}

impl<const N: usize> Metric<Info, N> {
    /// Labels that say something. The name ends in `_info`.
    pub const fn info(name: &'static str, help: &'static str, labels: [&'static str; N]) -> Self {
        assert!(
            ends_with(name, "_info"),
            "the name of an info ends in _info"
        );
        Metric::new(name, help, MetricType::Info, labels)
    }
}

impl<V, const N: usize> Metric<V, N> {
    const fn new(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        labels: [&'static str; N],
    ) -> Self {
        assert!(
            is_metric_name(name),
            "the name of a metric holds letters, digits, _ and :, and begins with no digit"
        );
        let mut at = 0;
        while at < N {
            assert!(
                is_label_name(labels[at]),
                "the name of a label holds letters, digits and _, and begins with neither a digit \
                 nor __"
            );
            let mut before = 0;
            while before < at {
                assert!(
                    !are_equal(labels[before], labels[at]),
                    "a label is named twice"
                );
                before += 1;
            }
            at += 1;
        }
        Metric {
            name,
            help,
            unit: "",
            kind,
            labels,
            value: PhantomData,
        }
    }

    /// Says in what unit the values are; the name must end in it, as in `_seconds` or
    /// `_seconds_total`.
    pub const fn in_unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }
}

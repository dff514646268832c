//! Means that keep what plain float sums would lose.

use narthex_model::Histogram;
use narthex_model::histogram_arithmetic::{HistogramError, HistogramSum};
pub(super) use narthex_model::kahan::KahanSum;

/// A mean as Prometheus computes it: directly from the sum, until that would overflow; from then
/// on incrementally.
#[derive(Clone, Copy, Debug)]
pub(super) struct KahanMean {
    /// The sum, or the mean once `incremental` is set.
    running: KahanSum,
    count: f64,
    incremental: bool,
}

impl KahanMean {
    pub(super) fn from_first(value: f64) -> Self {
        KahanMean {
            running: KahanSum::from_first(value),
            count: 1.0,
            incremental: false,
        }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.running;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.running = sum;
                return;
            }
            self.incremental = true;
            self.running.sum /= self.count - 1.0;
            self.running.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        self.running.sum *= weight;
        self.running.compensation *= weight;
        self.running.add(value / self.count);
    }

    pub(super) fn mean(&self) -> f64 {
        if self.incremental {
            self.running.total()
        } else {
            self.running.sum / self.count + self.running.compensation / self.count
        }
    }
}

/// As [`KahanMean`], of histograms.
#[derive(Debug)]
pub(super) struct HistogramMean {
    /// The sum, or the mean once `incremental` is set.
    running: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    pub(super) fn from_first(histogram: Histogram) -> Self {
        HistogramMean {
            running: HistogramSum::new(histogram),
            count: 1.0,
            incremental: false,
        }
    }

    /// Whether custom bounds had to be reconciled.
    pub(super) fn add(&mut self, histogram: &Histogram) -> Result<bool, HistogramError> {
        self.count += 1.0;
        let mut reconciled = false;
        if !self.incremental {
            if !is_huge(self.running.rough()) && !is_huge(histogram) {
                return self.running.add(histogram);
            }
            let mut sum = self.running.clone();
            reconciled = sum.add(histogram)?;
            if !sum.rough().has_overflow() {
                self.running = sum;
                return Ok(reconciled);
            }
            self.incremental = true;
            self.running.divide(self.count - 1.0);
        }
        self.running.scale((self.count - 1.0) / self.count);
        let mut share = histogram.clone();
        share.divide(self.count);
        Ok(self.running.add(&share)? | reconciled)
    }

    pub(super) fn mean(mut self) -> Histogram {
        if !self.incremental {
            self.running.divide(self.count);
        }
        self.running.finish()
    }
}

/// Whether a sum with something else may be too large for a float.
fn is_huge(histogram: &Histogram) -> bool {
    /// Far more numbers of this size can be added than a histogram has buckets.
    const SAFE: f64 = 1e300;
    [histogram.zero_count, histogram.count, histogram.sum]
        .iter()
        .chain(&histogram.positive_buckets)
        .chain(&histogram.negative_buckets)
        .any(|value| value.abs() > SAFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_survives_the_overflow_of_its_sum() {
        let large = 1e308;
        let mut mean = KahanMean::from_first(large);
        mean.add(large);
        assert_eq!(mean.mean(), large);
    }
    #[test]
    fn a_mean_of_histograms_survives_the_overflow_of_its_sum() {
        let histogram = |count| Histogram {
            count,
            sum: 1.0,
            ..Histogram::default()
        };
        let large = 1e308;
        let mut mean = HistogramMean::from_first(histogram(large));
        mean.add(&histogram(large)).unwrap();
        let mean = mean.mean();
        assert_eq!((mean.count, mean.sum), (large, 1.0));
        let mut mean = HistogramMean::from_first(histogram(1.0));
        mean.add(&histogram(3.0)).unwrap();
        assert_eq!(mean.mean().count, 2.0);
    }
}

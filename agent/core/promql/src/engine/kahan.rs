//! Sums that keep what a plain float sum would lose.

/// A running sum with its compensation (Kahan's, in Neumaier's form). The order of operations is
/// part of the results, so nothing here may be rearranged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct KahanSum {
    pub sum: f64,
    pub compensation: f64,
}

impl KahanSum {
    pub(super) fn from_first(value: f64) -> Self {
        KahanSum {
            sum: value,
            compensation: 0.0,
        }
    }

    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(super) fn total(&self) -> f64 {
        self.sum + self.compensation
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_addends_survive_large_ones() {
        let mut sum = KahanSum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn a_mean_survives_the_overflow_of_its_sum() {
        let large = 1e308;
        let mut mean = KahanMean::from_first(large);
        mean.add(large);
        assert_eq!(mean.mean(), large);
    }
}

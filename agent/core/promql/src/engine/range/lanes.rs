//! Compensated sums of several windows side by side.
//!
//! A compensated sum depends on its order, so that of one window cannot be split up. But a processor
//! can do more than one addition at a time, and those of different windows do not wait for each
//! other. Each lane gives the bits that [`KahanSum`] gives.

use super::slide::LANES;
use crate::engine::kahan::KahanSum;

#[derive(Default)]
pub(super) struct SumLanes {
    sums: [f64; LANES],
    compensations: [f64; LANES],
}

impl SumLanes {
    pub(super) fn of(windows: [&[f64]; LANES]) -> Self {
        let mut lanes = SumLanes::default();
        let common = windows.iter().map(|values| values.len()).min().unwrap_or(0);
        let (heads, tails) = split(windows, common);
        for at in 0..common {
            lanes.add(heads.map(|head| head[at]));
        }
        for (lane, tail) in tails.iter().enumerate() {
            let mut sum = KahanSum {
                sum: lanes.sums[lane],
                compensation: lanes.compensations[lane],
            };
            for value in *tail {
                sum.add(*value);
            }
            lanes.sums[lane] = sum.sum;
            lanes.compensations[lane] = sum.compensation;
        }
        lanes
    }

    /// What an addition loses is computed as Knuth's TwoSum does: exactly, as `KahanSum` does it
    /// while nothing overflows, and without asking which of the two is the larger.
    #[inline]
    pub(super) fn add(&mut self, values: [f64; LANES]) {
        for (lane, value) in values.into_iter().enumerate() {
            let sum = self.sums[lane];
            let total = sum + value;
            let of_value = total - sum;
            let of_sum = total - of_value;
            self.compensations[lane] += (sum - of_sum) + (value - of_value);
            self.sums[lane] = total;
        }
    }

    /// None where something was infinite or no number: then the window has to be added up alone.
    pub(super) fn sum(&self, lane: usize) -> Option<KahanSum> {
        let (sum, compensation) = (*self.sums.get(lane)?, *self.compensations.get(lane)?);
        let is_sound = sum.is_finite() && compensation.is_finite();
        is_sound.then_some(KahanSum { sum, compensation })
    }
}

/// What all have, and what some have more.
pub(super) fn split(windows: [&[f64]; LANES], common: usize) -> ([&[f64]; LANES], [&[f64]; LANES]) {
    (
        windows.map(|values| &values[..common]),
        windows.map(|values| &values[common..]),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -1e6..1e6,
            (-40..40).prop_map(|exponent| 2f64.powi(exponent * 20)),
            (-9..9).prop_map(f64::from),
        ]
    }

    proptest! {
        #[test]
        fn lanes_give_the_bits_of_a_sum_alone(
            windows in prop::collection::vec(prop::collection::vec(value(), 0..20), LANES)
        ) {
            let lanes = SumLanes::of(std::array::from_fn(|lane| windows[lane].as_slice()));
            for (lane, values) in windows.iter().enumerate() {
                let mut alone = KahanSum::default();
                values.iter().for_each(|value| alone.add(*value));
                match lanes.sum(lane) {
                    Some(sum) => prop_assert_eq!(
                        (sum.sum.to_bits(), sum.compensation.to_bits()),
                        (alone.sum.to_bits(), alone.compensation.to_bits())
                    ),
                    None => prop_assert!(values.iter().any(|value| value.abs() > 1e290)),
                }
            }
        }
    }
}

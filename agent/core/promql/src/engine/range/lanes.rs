//! Compensated sums of several windows side by side.
//!
//! A compensated sum depends on its order, so that of one window cannot be split up. But a processor
//! can do more than one addition at a time, and those of different windows do not wait for each
//! other. Each lane gives the bits that [`KahanSum`] gives.

use super::slide::LANES;
use crate::engine::kahan::KahanSum;

/// A number of each lane.
pub(super) type Lanes = [f64; LANES];

/// One operation in all lanes, which compiles to as few instructions as the processor has for it.
#[inline]
pub(super) fn each(a: Lanes, b: Lanes, operation: impl Fn(f64, f64) -> f64) -> Lanes {
    let mut results = [0.0; LANES];
    for lane in 0..LANES {
        results[lane] = operation(a[lane], b[lane]);
    }
    results
}

pub(super) struct SumLanes {
    sums: Lanes,
    compensations: Lanes,
}

impl SumLanes {
    pub(super) const fn new() -> Self {
        SumLanes {
            sums: [0.0; LANES],
            compensations: [0.0; LANES],
        }
    }

    pub(super) fn of(windows: [&[f64]; LANES]) -> Self {
        let (heads, tails) = split(windows);
        let mut lanes = SumLanes::of_heads(heads);
        for (lane, tail) in tails.iter().enumerate() {
            for value in *tail {
                lanes.add_to(lane, *value);
            }
        }
        lanes
    }

    /// Of windows of one length. Apart, as the compiler makes less of the loop among other code.
    #[inline(never)]
    fn of_heads(heads: [&[f64]; LANES]) -> Self {
        let mut lanes = SumLanes::new();
        let length = heads[0].len();
        let heads = heads.map(|head| &head[..length]);
        for at in 0..length {
            lanes.add(heads.map(|head| head[at]));
        }
        lanes
    }

    /// What an addition loses is computed as Knuth's TwoSum does: exactly, as `KahanSum` does it
    /// while nothing overflows, and without asking which of the two is the larger.
    #[inline]
    pub(super) fn add(&mut self, values: Lanes) {
        let plus = |a, b| a + b;
        let minus = |a, b| a - b;
        let totals = each(self.sums, values, plus);
        let of_values = each(totals, self.sums, minus);
        let of_sums = each(totals, of_values, minus);
        let lost_of_sums = each(self.sums, of_sums, minus);
        let lost_of_values = each(values, of_values, minus);
        let lost = each(lost_of_sums, lost_of_values, plus);
        self.compensations = each(self.compensations, lost, plus);
        self.sums = totals;
    }

    /// As [`SumLanes::add`], for one lane.
    pub(super) fn add_to(&mut self, lane: usize, value: f64) {
        let mut sum = KahanSum {
            sum: self.sums[lane],
            compensation: self.compensations[lane],
        };
        sum.add(value);
        (self.sums[lane], self.compensations[lane]) = (sum.sum, sum.compensation);
    }

    /// None where something was infinite or no number: then the window has to be added up alone.
    pub(super) fn sum(&self, lane: usize) -> Option<KahanSum> {
        let (sum, compensation) = (*self.sums.get(lane)?, *self.compensations.get(lane)?);
        let is_sound = sum.is_finite() && compensation.is_finite();
        is_sound.then_some(KahanSum { sum, compensation })
    }
}

/// What all windows have, cut to one length, and what some have more.
#[inline]
pub(super) fn split<T>(windows: [&[T]; LANES]) -> ([&[T]; LANES], [&[T]; LANES]) {
    let common = windows.iter().map(|values| values.len()).min().unwrap_or(0);
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

//! Where the buckets of a native histogram end.

use std::sync::LazyLock;

use crate::Histogram;
use crate::binary_logarithm::{exp2, times_power_of_two};

/// For the schemas 0 to 8: the bounds in [0.5, 1).
static FRACTIONS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(fractions);

/// Every second bound is one of the coarser schema, the others come from their neighbour. That
/// gives Prometheus's table to the last digit.
fn fractions() -> Vec<Vec<f64>> {
    let mut bounds = vec![0.5];
    let mut all = vec![bounds.clone()];
    for schema in 1..=8_i32 {
        let growth = exp2(exp2(-f64::from(schema)));
        bounds = bounds
            .iter()
            .flat_map(|bound| [*bound, bound * growth])
            .collect();
        all.push(bounds.clone());
    }
    all
}

/// The upper bound of a bucket of an exponential schema: 2^(index · 2^−schema).
pub fn bucket_bound(index: i64, schema: i32) -> f64 {
    /// The last bucket of numbers ends at the largest one; +Inf has a bucket of its own.
    const BEYOND_NUMBERS: i64 = 1024;
    let bits = schema.unsigned_abs().min(62);
    if schema <= 0 {
        let exponent = index.saturating_mul(1 << bits);
        return if exponent == BEYOND_NUMBERS {
            f64::MAX
        } else {
            times_power_of_two(1.0, exponent)
        };
    }
    let place = usize::try_from(index & ((1 << bits) - 1)).unwrap_or(0);
    let Some(fraction) = FRACTIONS.get(bits as usize).and_then(|f| f.get(place)) else {
        // No schema that is in use.
        return (index as f64 * (-f64::from(schema)).exp2()).exp2();
    };
    let exponent = (index >> bits).saturating_add(1);
    if place == 0 && exponent == BEYOND_NUMBERS + 1 {
        return f64::MAX;
    }
    times_power_of_two(*fraction, exponent)
}

impl Histogram {
    /// The upper bound of a bucket, without its sign.
    pub(crate) fn bound(&self, index: i64) -> f64 {
        if !self.uses_custom_bounds() {
            return bucket_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => self.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_exponential_buckets() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (3, 0, 8.0),
            (-1, 0, 0.5),
            (1, -1, 4.0),
            (2, 1, 2.0),
            (-1, 1, 0.7071067811865475),
            (1, 3, 1.0905077326652577),
            (255 - 256, 8, 0.9972960560854698),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (2048, 1, f64::MAX),
            (2049, 1, f64::INFINITY),
            (256, -2, f64::MAX),
            (257, -2, f64::INFINITY),
            (-1074, 0, 5e-324),
            (-1075, 0, 0.0),
            (-1070, 0, 8e-323),
            (i64::MAX, 0, f64::INFINITY),
            (i64::MIN, 4, 0.0),
        ] {
            assert_eq!(bucket_bound(index, schema), bound, "{index} {schema}");
        }
    }

    #[test]
    fn bounds_grow() {
        for schema in -4..=8 {
            for index in -2000..2000 {
                let (bound, next) = (bucket_bound(index, schema), bucket_bound(index + 1, schema));
                assert!(bound < next || bound == 0.0 || bound.is_infinite() || next == f64::MAX);
                let exact = (index as f64 * (-f64::from(schema)).exp2()).exp2();
                let near = (bound - exact).abs() <= exact * 1e-14;
                assert!(
                    near || bound == exact || bound == f64::MAX,
                    "{index} {schema}: {bound}"
                );
            }
        }
    }
}

//! Powers and logarithms to base two, to the last digit as Prometheus computes them.
//!
//! The bounds of exponential buckets and what is interpolated between them depend on it. Both
//! functions are the well-known ones of FreeBSD's mathematical library, without fused operations.

/// The upper and the lower half of the natural logarithm of two.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 2 to the power of `x`.
pub fn exp2(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    const LARGEST: f64 = 1.023_999_999_999_999_9e3;
    const SMALLEST: f64 = -1.074e3;
    if x.is_nan() || x > LARGEST {
        return x + f64::INFINITY;
    }
    if x < SMALLEST {
        return 0.0;
    }
    let whole = (x + 0.5_f64.copysign(x)).trunc();
    let part = x - whole;
    let (high, low) = (part * LN_2_HIGH, -part * LN_2_LOW);
    let r = high - low;
    let t = r * r;
    let [p1, p2, p3, p4, p5] = COEFFICIENTS;
    let c = r - t * (p1 + t * (p2 + t * (p3 + t * (p4 + t * p5))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    times_power_of_two(y, whole as i64)
}

/// The logarithm of `x` to base two: exact for powers of two.
pub fn log2(x: f64) -> f64 {
    if !x.is_finite() || x <= 0.0 {
        return x.log2();
    }
    let (fraction, exponent) = split(x);
    if fraction == 0.5 {
        return (exponent - 1) as f64;
    }
    ln(fraction) * (1.0 / std::f64::consts::LN_2) + exponent as f64
}

/// `value` · 2^`exponent`, rounded once.
pub(crate) fn times_power_of_two(value: f64, exponent: i64) -> f64 {
    const BIAS: i64 = 1023;
    const STEP: i64 = 600;
    let power = |exponent: i64| f64::from_bits((exponent + BIAS).unsigned_abs() << 52);
    let mut value = value;
    // No float is so small or large that more would matter.
    let mut rest = exponent.clamp(-2200, 2200);
    while rest > BIAS {
        value *= power(BIAS);
        rest -= BIAS;
    }
    // Only the last step may leave the normal numbers, so that it is the only one that rounds.
    while rest < -STEP {
        let step = if rest < -2 * STEP { -STEP } else { rest + STEP };
        value *= power(step);
        rest -= step;
    }
    value * power(rest)
}

/// Fraction in [0.5, 1) and exponent of a positive number.
fn split(x: f64) -> (f64, i64) {
    const FRACTION_BITS: u32 = 52;
    const EXPONENT_MASK: u64 = 0x7ff;
    const HALF: u64 = 1022;
    if x < f64::MIN_POSITIVE {
        let (fraction, exponent) = split(times_power_of_two(x, 54));
        return (fraction, exponent - 54);
    }
    let bits = x.to_bits();
    let exponent = ((bits >> FRACTION_BITS) & EXPONENT_MASK) as i64 - 1022;
    let rest = bits & !(EXPONENT_MASK << FRACTION_BITS);
    (f64::from_bits(rest | (HALF << FRACTION_BITS)), exponent)
}

/// The natural logarithm of a number in [0.5, 1).
fn ln(fraction: f64) -> f64 {
    const COEFFICIENTS: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let (f, k) = if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        (fraction * 2.0 - 1.0, -1.0)
    } else {
        (fraction - 1.0, 0.0)
    };
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let [l1, l2, l3, l4, l5, l6, l7] = COEFFICIENTS;
    let t1 = s2 * (l1 + s4 * (l3 + s4 * (l5 + s4 * l7)));
    let t2 = s4 * (l2 + s4 * (l4 + s4 * l6));
    let r = t1 + t2;
    let half_square = 0.5 * f * f;
    k * LN_2_HIGH - ((half_square - (s * (half_square + r) + k * LN_2_LOW)) - f)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

    use super::*;

    #[test]
    fn powers_are_prometheus_own() {
        for (x, expected) in [
            (0.0, 1.0),
            (1.0, 2.0),
            (-1.0, 0.5),
            // One step below the nearest float.
            (0.5, SQRT_2.next_down()),
            (-0.5, FRAC_1_SQRT_2.next_down()),
            (1023.0, 8.98846567431158e307),
            (1024.0, f64::INFINITY),
            (-1074.0, 5e-324),
            (-1075.0, 0.0),
            (f64::INFINITY, f64::INFINITY),
            (f64::NEG_INFINITY, 0.0),
        ] {
            assert_eq!(exp2(x), expected, "{x}");
        }
        assert!(exp2(f64::NAN).is_nan());
    }

    #[test]
    fn logarithms_of_powers_are_exact() {
        for exponent in -1074..1024 {
            let value = times_power_of_two(1.0, exponent);
            assert_eq!(log2(value), exponent as f64);
            assert_eq!(exp2(exponent as f64), value);
        }
        assert!(log2(-1.0).is_nan());
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        assert_eq!(log2(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn both_are_close_to_the_truth_everywhere() {
        for step in -5000..5000_i32 {
            let x = f64::from(step) / 7.3;
            let (power, exact) = (exp2(x), x.exp2());
            assert!((power - exact).abs() <= exact * 1e-15, "{x}");
            if power > 0.0 {
                assert!((log2(power) - x).abs() <= 1e-15 * x.abs().max(1.0), "{x}");
            }
        }
    }
}

//! Functions of one number.

use std::f64::consts::{LN_2, LN_10, PI};

/// The function of that name, if it is one of a single number.
pub(in crate::engine) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => log2,
        "log10" => |x| log2(x) * (LN_2 / LN_10),
        "sgn" => sign,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |x| x * PI / 180.0,
        "deg" => |x| x * 180.0 / PI,
        _ => return None,
    })
}

/// To the nearest multiple; ties go up.
pub(in crate::engine) fn round(value: f64, to_nearest: f64) -> f64 {
    // By way of the inverse, as Prometheus does: it decides the last digits.
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// None if no value lies between the bounds.
pub(in crate::engine) fn clamp(value: f64, min: f64, max: f64) -> Option<f64> {
    if max < min {
        return None;
    }
    Some(max_of(min, min_of(max, value)))
}

/// The smaller one; NaN if either is NaN.
pub(in crate::engine) fn min_of(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// The larger one; NaN if either is NaN.
pub(in crate::engine) fn max_of(a: f64, b: f64) -> f64 {
    -min_of(-a, -b)
}

/// The exponent plus the logarithm of the mantissa, which is exact for powers of two.
fn log2(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return value.log2();
    }
    let (mantissa, exponent) = split(value);
    if mantissa == 0.5 {
        return f64::from(exponent - 1);
    }
    mantissa.ln() * (1.0 / LN_2) + f64::from(exponent)
}

/// Mantissa in [0.5, 1) and exponent of a positive number.
fn split(value: f64) -> (f64, i32) {
    const EXPONENT_BITS: u64 = 0x7ff;
    const SUBNORMAL_SHIFT: i32 = 54;
    if value < f64::MIN_POSITIVE {
        let (mantissa, exponent) = split(value * f64::from_bits((1023 + 54) << 52));
        return (mantissa, exponent - SUBNORMAL_SHIFT);
    }
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & EXPONENT_BITS).unwrap_or(0) - 1022;
    let mantissa = f64::from_bits((bits & !(EXPONENT_BITS << 52)) | (1022 << 52));
    (mantissa, exponent)
}

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_powers_are_exact() {
        for exponent in -1074..1024_i32 {
            let value = if exponent < -1022 {
                f64::from_bits(1 << (exponent + 1074))
            } else {
                f64::from_bits(u64::try_from(exponent + 1023).unwrap() << 52)
            };
            assert_eq!(log2(value), f64::from(exponent), "{exponent}");
        }
        assert!(log2(-1.0).is_nan());
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
        assert_eq!(log2(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn rounding_and_clamping() {
        for (value, to, expected) in [
            (2.5, 1.0, 3.0),
            (-2.5, 1.0, -2.0),
            (5.5, 5.0, 5.0),
            (0.25, 0.1, 0.3),
        ] {
            assert_eq!(round(value, to), expected, "{value} {to}");
        }
        assert_eq!(clamp(5.0, 0.0, 3.0), Some(3.0));
        assert_eq!(clamp(-5.0, 0.0, 3.0), Some(0.0));
        assert_eq!(clamp(1.0, 3.0, 0.0), None);
        assert!(clamp(1.0, f64::NAN, 3.0).is_some_and(f64::is_nan));
    }
}

//! Functions of one number.

use std::f64::consts::{LN_2, LN_10, PI};

use narthex_model::binary_logarithm::log2;

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

/// The smaller one. NaN if either is NaN, save that nothing is smaller than −Inf, as in Go.
pub(in crate::engine) fn min_of(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// The larger one; with NaN and +Inf as `min_of` with NaN and −Inf.
pub(in crate::engine) fn max_of(a: f64, b: f64) -> f64 {
    -min_of(-a, -b)
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
        assert_eq!(
            clamp(f64::NAN, f64::INFINITY, f64::INFINITY),
            Some(f64::INFINITY)
        );
        assert_eq!(clamp(1.0, f64::INFINITY, f64::NAN), Some(f64::INFINITY));
        assert!(clamp(f64::NAN, 0.0, f64::INFINITY).is_some_and(f64::is_nan));
    }
}

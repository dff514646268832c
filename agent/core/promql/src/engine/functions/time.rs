//! Functions that take a date apart. All in UTC.

use crate::engine::calendar::{Date, day_of_week, hour, minute};

/// The function of that name: from seconds since 1970.
pub(in crate::engine) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |t| number(minute(whole(t))),
        "hour" => |t| number(hour(whole(t))),
        "day_of_week" => |t| number(day_of_week(whole(t))),
        "day_of_month" => |t| f64::from(Date::from_seconds(whole(t)).day),
        "day_of_year" => |t| f64::from(Date::from_seconds(whole(t)).day_of_year()),
        "days_in_month" => |t| f64::from(Date::from_seconds(whole(t)).days_in_month()),
        "month" => |t| f64::from(Date::from_seconds(whole(t)).month),
        "year" => |t| number(Date::from_seconds(whole(t)).year),
        _ => return None,
    })
}

pub(in crate::engine) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Whole seconds. What is no number of 64 bits becomes the smallest one, as in Prometheus on
/// common machines, and so early times that its calendar can't reach them wrap to the far future.
fn whole(seconds: f64) -> i128 {
    const EARLIEST: i128 = -9_223_372_028_715_321_600;
    const BEYOND_INT64: f64 = 9_223_372_036_854_775_808.0;
    let seconds = if (-BEYOND_INT64..BEYOND_INT64).contains(&seconds) {
        seconds as i128
    } else {
        i128::from(i64::MIN)
    };
    if seconds < EARLIEST {
        seconds + (1 << 64)
    } else {
        seconds
    }
}

fn number(value: i128) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_date() {
        let time = 1_136_239_445.7;
        for (name, expected) in [
            ("minute", 4.0),
            ("hour", 22.0),
            ("day_of_week", 1.0),
            ("day_of_month", 2.0),
            ("day_of_year", 2.0),
            ("days_in_month", 31.0),
            ("month", 1.0),
            ("year", 2006.0),
        ] {
            assert_eq!(function(name).unwrap()(time), expected, "{name}");
        }
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(function("year").unwrap()(odd), 292_277_026_596.0);
            assert_eq!(function("month").unwrap()(odd), 12.0);
            assert_eq!(function("day_of_week").unwrap()(odd), 0.0);
        }
    }
}

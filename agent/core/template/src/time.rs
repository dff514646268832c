//! Points in time and durations as templates see them: Go's methods, layouts and texts.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::layout;
use crate::value::Value;

/// A point in time with its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time(Zoned);

impl Time {
    /// In UTC; nothing if it is further away than ten thousand years.
    pub fn from_unix_ms(ms: i64) -> Option<Time> {
        Timestamp::from_millisecond(ms).ok().map(Time::utc)
    }

    pub fn from_unix_ns(ns: i128) -> Option<Time> {
        Timestamp::from_nanosecond(ns).ok().map(Time::utc)
    }

    /// In the zone of that name, as `Europe/Paris`; nothing if it is not known.
    pub fn in_zone(&self, name: &str) -> Option<Time> {
        match name {
            "" | "UTC" => Some(Time::utc(self.0.timestamp())),
            name => self.0.in_tz(name).ok().map(Time),
        }
    }

    pub fn unix_ms(&self) -> i64 {
        self.0.timestamp().as_millisecond()
    }

    pub fn unix_ns(&self) -> i128 {
        self.0.timestamp().as_nanosecond()
    }

    /// Written in one of Go's layouts, as `2006-01-02 15:04:05`.
    pub fn format(&self, layout: &str) -> String {
        layout::format(&self.0, layout)
    }

    /// Read from a text in one of Go's layouts; what the layout lacks is the zero of year 0, UTC.
    pub fn parse(layout: &str, text: &str) -> Option<Time> {
        layout::parse(layout, text).map(Time)
    }

    /// Go's zero time: midnight of the first day of year 1.
    pub fn zero() -> Time {
        const ZERO_UNIX_SECONDS: i64 = -62_135_596_800;
        Time::utc(Timestamp::from_second(ZERO_UNIX_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn utc(timestamp: Timestamp) -> Time {
        Time(timestamp.to_zoned(TimeZone::UTC))
    }

    pub(crate) fn call_method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let time = &self.0;
        let unix_ns = self.unix_ns();
        let value = match (name, args) {
            ("String", []) => self.to_string().into(),
            ("Format", [Value::String(layout)]) => self.format(layout).into(),
            ("Unix", []) => Value::Int(time.timestamp().as_second()),
            ("UnixMilli", []) => Value::Int(self.unix_ms()),
            ("UnixNano", []) => Value::Int(i64::try_from(unix_ns).unwrap_or(i64::MAX)),
            ("UTC", []) => Value::Time(Time::utc(time.timestamp())),
            ("IsZero", []) => Value::Bool(*self == Time::zero()),
            ("Year", []) => Value::Int(time.year().into()),
            ("Month", []) => layout::month_name(time.month()).into(),
            ("Day", []) => Value::Int(time.day().into()),
            ("Hour", []) => Value::Int(time.hour().into()),
            ("Minute", []) => Value::Int(time.minute().into()),
            ("Second", []) => Value::Int(time.second().into()),
            ("Nanosecond", []) => Value::Int(time.subsec_nanosecond().into()),
            ("YearDay", []) => Value::Int(time.day_of_year().into()),
            ("Weekday", []) => layout::weekday_name(time.weekday()).into(),
            ("Add", [Value::DurationNs(ns)]) => {
                match Time::from_unix_ns(unix_ns + i128::from(*ns)) {
                    Some(Time(sum)) => {
                        Value::Time(Time(sum.with_time_zone(time.time_zone().clone())))
                    }
                    None => return Some(Err("the time is out of range".to_owned())),
                }
            }
            ("Sub", [Value::Time(other)]) => {
                let ns = unix_ns - other.unix_ns();
                let limit = if ns < 0 { i64::MIN } else { i64::MAX };
                Value::DurationNs(i64::try_from(ns).unwrap_or(limit))
            }
            ("After", [Value::Time(other)]) => Value::Bool(unix_ns > other.unix_ns()),
            ("Before", [Value::Time(other)]) => Value::Bool(unix_ns < other.unix_ns()),
            ("Equal", [Value::Time(other)]) => Value::Bool(unix_ns == other.unix_ns()),
            ("Format" | "Add" | "Sub" | "After" | "Before" | "Equal", _) => {
                return Some(Err("wrong number or type of args".to_owned()));
            }
            _ => return None,
        };
        Some(Ok(value))
    }
}

/// As Go prints a time: `2006-01-02 15:04:05.999999999 -0700 MST`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

const NS_PER_SECOND: i64 = 1_000_000_000;

pub(crate) fn call_duration_method(
    ns: i64,
    name: &str,
    args: &[Value],
) -> Option<Result<Value, String>> {
    let per = |unit_ns: i64| Value::Float(ns as f64 / unit_ns as f64);
    let value = match (name, args) {
        ("String", []) => format_duration(ns).into(),
        ("Seconds", []) => per(NS_PER_SECOND),
        ("Minutes", []) => per(60 * NS_PER_SECOND),
        ("Hours", []) => per(3600 * NS_PER_SECOND),
        ("Milliseconds", []) => Value::Int(ns / 1_000_000),
        ("Microseconds", []) => Value::Int(ns / 1000),
        ("Nanoseconds", []) => Value::Int(ns),
        ("Abs", []) => Value::DurationNs(ns.saturating_abs()),
        ("Truncate", [Value::DurationNs(unit)]) => {
            Value::DurationNs(if *unit > 0 { ns - ns % unit } else { ns })
        }
        ("Round", [Value::DurationNs(unit)]) => Value::DurationNs(round(ns, *unit)),
        ("Truncate" | "Round", _) => return Some(Err("wrong number or type of args".to_owned())),
        _ => return None,
    };
    Some(Ok(value))
}

/// To the nearest multiple, halves away from zero.
fn round(ns: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return ns;
    }
    let rest = ns % unit;
    let down = ns - rest;
    if rest.unsigned_abs() < unit.unsigned_abs().div_ceil(2) {
        return down;
    }
    down.saturating_add(if ns < 0 { -unit } else { unit })
}

/// As Go prints a duration: `1h0m0.5s`, `1.5ms`, `0s`.
pub(crate) fn format_duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let second = NS_PER_SECOND.unsigned_abs();
    if ns == 0 {
        return "0s".to_owned();
    }
    if ns < second {
        let (unit, unit_ns) = match ns {
            0..1000 => ("ns", 1),
            1000..1_000_000 => ("µs", 1000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", fraction(ns, unit_ns));
    }
    let seconds = fraction(ns % (60 * second), second);
    let minutes = ns / (60 * second);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `count / unit` in decimal, without trailing zeros; the unit is a power of ten.
fn fraction(count: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let whole = count / unit;
    if count.is_multiple_of(unit) {
        return whole.to_string();
    }
    let text = format!("{whole}.{:0digits$}", count % unit);
    text.trim_end_matches('0').to_owned()
}

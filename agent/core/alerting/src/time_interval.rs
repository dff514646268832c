//! Time intervals: when a route is muted or active, by the calendar of a time zone.

use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{TimeIntervalText, TimeRangeText};

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Every list that isn't empty must contain the instant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeInterval {
    /// Minutes of the day, the second not included.
    times: Vec<(i32, i32)>,
    /// Sunday is 0.
    weekdays: Vec<RangeInclusive<i32>>,
    /// Negative ones count from the month's end, -1 being the last day.
    days_of_month: Vec<RangeInclusive<i32>>,
    months: Vec<RangeInclusive<i32>>,
    years: Vec<RangeInclusive<i32>>,
    zone: TimeZone,
}

/// What is wrong in an interval, and in which of its fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl TimeInterval {
    pub(crate) fn read(
        text: &TimeIntervalText,
        zone: &dyn Fn(&str) -> Option<TimeZone>,
    ) -> Result<TimeInterval, FieldError> {
        let zone = match text.location.as_deref() {
            None | Some("" | "UTC") => TimeZone::UTC,
            Some(name) => zone(name).ok_or_else(|| FieldError {
                field: "location".to_owned(),
                message: format!("unknown time zone {name:?}"),
            })?,
        };
        Ok(TimeInterval {
            times: read_list("times", &text.times, read_times)?,
            weekdays: read_list("weekdays", &text.weekdays, |t| read_weekdays(t))?,
            days_of_month: read_list("days_of_month", &text.days_of_month, |t| read_days(t))?,
            months: read_list("months", &text.months, |t| read_months(t))?,
            years: read_list("years", &text.years, |t| read_years(t))?,
            zone,
        })
    }

    pub(crate) fn contains(&self, at_ms: i64) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at_ms) else {
            return false;
        };
        let at = at.to_zoned(self.zone.clone());
        let minute = i32::from(at.hour()) * 60 + i32::from(at.minute());
        let weekday = i32::from(at.weekday().to_sunday_zero_offset());
        let (day, last_day) = (i32::from(at.day()), i32::from(at.days_in_month()));
        meets(&self.times, |(start, end)| (*start..*end).contains(&minute))
            && meets(&self.weekdays, |range| range.contains(&weekday))
            && meets(&self.days_of_month, |range| {
                day_in_range(range, day, last_day)
            })
            && meets(&self.months, |range| range.contains(&i32::from(at.month())))
            && meets(&self.years, |range| range.contains(&i32::from(at.year())))
    }
}

fn meets<T>(list: &[T], contains: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(contains)
}

/// A range that starts after the month's end holds no day of it; its end is cut to the month's.
fn day_in_range(range: &RangeInclusive<i32>, day: i32, last_day: i32) -> bool {
    let from_start = |day: i32| if day < 0 { last_day + day + 1 } else { day };
    let start = from_start(*range.start());
    let end = from_start(*range.end());
    start <= last_day && (start.max(1)..=end.min(last_day)).contains(&day)
}

fn read_list<T, R>(
    field: &str,
    texts: &[T],
    read: impl Fn(&T) -> Result<R, String>,
) -> Result<Vec<R>, FieldError> {
    let read = |(number, text)| {
        read(text).map_err(|message| FieldError {
            field: format!("{field}[{number}]"),
            message,
        })
    };
    texts.iter().enumerate().map(read).collect()
}

fn read_times(text: &TimeRangeText) -> Result<(i32, i32), String> {
    if text.start_time.is_empty() || text.end_time.is_empty() {
        return Err("both start_time and end_time must be provided".to_owned());
    }
    let (start, end) = (read_time(&text.start_time)?, read_time(&text.end_time)?);
    match start < end {
        true => Ok((start, end)),
        false => Err(format!(
            "start_time {} must be before end_time {}; write an interval over midnight as two",
            text.start_time, text.end_time
        )),
    }
}

/// Minutes since midnight.
fn read_time(text: &str) -> Result<i32, String> {
    let wrong = || format!("couldn't parse timestamp {text:?}, expected HH:MM up to 24:00");
    let two_digits = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())
    {
        true => text.parse::<i32>().ok(),
        false => None,
    };
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let hour = two_digits(hour).ok_or_else(wrong)?;
    let minute = two_digits(minute).filter(|m| *m < 60).ok_or_else(wrong)?;
    let total = hour * 60 + minute;
    (total <= 24 * 60).then_some(total).ok_or_else(wrong)
}

fn read_weekdays(text: &str) -> Result<RangeInclusive<i32>, String> {
    let weekday = |text: &str| {
        name_index(&WEEKDAYS, text).ok_or_else(|| format!("{text} is not a valid weekday"))
    };
    ordered(text, read_range(text, weekday)?)
}

fn read_days(text: &str) -> Result<RangeInclusive<i32>, String> {
    let day = |text: &str| {
        let day: Option<i32> = text.parse().ok();
        day.filter(|day| *day != 0 && (-31..=31).contains(day))
            .ok_or_else(|| format!("{text} is not a valid day of the month"))
    };
    let range = read_range(text, day)?;
    if *range.start() < 0 && *range.end() > 0 {
        return Err(format!(
            "{text}: end day must be negative if start day is negative"
        ));
    }
    let in_shortest_month = |day: i32| if day < 0 { 28 + day + 1 } else { day };
    if in_shortest_month(*range.start()) > in_shortest_month(*range.end()) {
        return Err(format!("{text}: end day is always before start day"));
    }
    Ok(range)
}

fn read_months(text: &str) -> Result<RangeInclusive<i32>, String> {
    let month = |text: &str| {
        let number = text.parse().ok().filter(|n| (1..=12).contains(n));
        let number = number.or_else(|| name_index(&MONTHS, text).map(|index| index + 1));
        number.ok_or_else(|| format!("{text} is not a valid month"))
    };
    ordered(text, read_range(text, month)?)
}

fn read_years(text: &str) -> Result<RangeInclusive<i32>, String> {
    let year = |text: &str| {
        text.parse::<i32>()
            .map_err(|_| format!("{text} is not a valid year"))
    };
    ordered(text, read_range(text, year)?)
}

/// `a:b`, or `a` for a range of one.
fn read_range(
    text: &str,
    read: impl Fn(&str) -> Result<i32, String>,
) -> Result<RangeInclusive<i32>, String> {
    match text.split_once(':') {
        Some((start, end)) => Ok(read(start.trim())?..=read(end.trim())?),
        None => {
            let only = read(text.trim())?;
            Ok(only..=only)
        }
    }
}

fn ordered(text: impl Display, range: RangeInclusive<i32>) -> Result<RangeInclusive<i32>, String> {
    match range.is_empty() {
        true => Err(format!("{text}: the end is before the start")),
        false => Ok(range),
    }
}

fn name_index(names: &[&str], text: &str) -> Option<i32> {
    let index = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))?;
    i32::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Option<TimeZone> {
        TimeZone::get(name).ok()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn times(list: &[(&str, &str)]) -> Vec<TimeRangeText> {
        let text = |(start, end): &(&str, &str)| TimeRangeText {
            start_time: (*start).to_owned(),
            end_time: (*end).to_owned(),
        };
        list.iter().map(text).collect()
    }

    #[derive(Default)]
    struct Spec {
        times: &'static [(&'static str, &'static str)],
        weekdays: &'static [&'static str],
        days: &'static [&'static str],
        months: &'static [&'static str],
        years: &'static [&'static str],
        location: &'static str,
    }

    impl Spec {
        fn read(&self) -> Result<TimeInterval, FieldError> {
            let text = TimeIntervalText {
                times: times(self.times),
                weekdays: strings(self.weekdays),
                days_of_month: strings(self.days),
                months: strings(self.months),
                years: strings(self.years),
                location: Some(self.location.to_owned()),
            };
            TimeInterval::read(&text, &zone)
        }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn check(interval: &TimeInterval, inside: &[&str], outside: &[&str]) {
        for (list, expected) in [(inside, true), (outside, false)] {
            for text in list {
                assert_eq!(
                    interval.contains(at(text)),
                    expected,
                    "{text}: {interval:?}"
                );
            }
        }
    }

    #[test]
    fn always() {
        check(
            &Spec::default().read().unwrap(),
            &["2020-01-01T00:00Z"],
            &[],
        );
    }

    #[test]
    fn business_hours() {
        let spec = Spec {
            times: &[("09:00", "17:00")],
            weekdays: &["monday:friday"],
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &[
                "2020-05-04T15:04Z",
                "2020-05-05T10:04Z",
                "2020-06-09T09:04Z",
                "2020-07-08T09:00Z",
                "2020-07-08T16:59Z",
                "2021-04-01T13:00Z",
            ],
            &[
                "2020-05-03T15:04Z",
                "2020-05-04T08:59Z",
                "2020-05-05T05:00Z",
                "2020-07-08T05:00Z",
                "2020-07-08T17:00Z",
            ],
        );
    }

    #[test]
    fn days_months_and_years() {
        let spec = Spec {
            days: &["4:6"],
            months: &["April"],
            years: &["2020"],
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &[
                "2020-04-04T15:04Z",
                "2020-04-05T00:00Z",
                "2020-04-06T23:05Z",
            ],
            &[
                "2018-05-03T15:04Z",
                "2020-04-03T23:59Z",
                "2020-06-04T23:59Z",
                "2019-04-06T23:59Z",
                "2020-04-07T00:00Z",
            ],
        );
        let spec = Spec {
            days: &["-3:-1"],
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &[
                "2020-01-29T15:04Z",
                "2020-01-31T15:04Z",
                "2020-06-30T00:00Z",
                "2020-02-29T23:05Z",
            ],
            &[
                "2018-05-03T15:04Z",
                "2020-01-27T15:04Z",
                "2020-04-07T15:04Z",
                "2020-03-01T15:04Z",
            ],
        );
        let spec = Spec {
            days: &["30:31"],
            months: &["february"],
            years: &["2020:2023"],
            ..Spec::default()
        };
        check(&spec.read().unwrap(), &[], &["2021-02-28T13:00Z"]);
        let whole_june = TimeInterval {
            days_of_month: vec![-31..=31],
            months: vec![6..=6],
            ..Spec::default().read().unwrap()
        };
        check(
            &whole_june,
            &["2020-06-01T00:00Z", "2020-06-30T23:59Z"],
            &["2020-05-31T00:00Z", "2020-07-01T00:00Z"],
        );
    }

    #[test]
    fn everything_at_once() {
        let spec = Spec {
            times: &[("09:00", "17:00")],
            weekdays: &["monday:friday", "sunday"],
            days: &["-7:-1"],
            months: &["january:march"],
            years: &["2020:2025", "2030:2035"],
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &[
                "2021-01-27T09:00Z",
                "2021-01-28T16:59Z",
                "2021-01-29T13:00Z",
                "2025-03-31T13:00Z",
                "2035-01-31T13:00Z",
            ],
            &[
                "2021-01-30T13:00Z",
                "2021-04-01T13:00Z",
                "2026-01-30T13:00Z",
                "2035-01-31T17:01Z",
            ],
        );
        let spec = Spec {
            times: &[("13:00", "15:00")],
            weekdays: &["monday:wednesday", "saturday", "sunday"],
            days: &["1", "10", "20:-1"],
            months: &["1:3"],
            years: &["2020:2023"],
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &["2021-01-10T13:00Z", "2021-01-30T14:24Z"],
            &[
                "2021-01-09T13:00Z",
                "2021-01-20T12:59Z",
                "2021-02-02T13:00Z",
            ],
        );
    }

    #[test]
    fn time_zones() {
        let spec = Spec {
            times: &[("09:00", "17:00")],
            weekdays: &["monday:friday"],
            location: "Australia/Sydney",
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &[
                "2021-04-06T13:00+10",
                "2021-11-01T09:00+11",
                "2021-10-31T22:00Z",
            ],
            &["2021-04-06T13:00Z", "2021-10-31T21:00Z"],
        );
        let spec = Spec {
            days: &["-1"],
            location: "America/New_York",
            ..Spec::default()
        };
        check(
            &spec.read().unwrap(),
            &["2021-03-31T12:00-04"],
            &["2021-03-30T12:00-04"],
        );
        let spec = Spec {
            location: "Moon/Crater",
            ..Spec::default()
        };
        let error = spec.read().unwrap_err();
        assert_eq!(error.message, "unknown time zone \"Moon/Crater\"");
    }

    #[test]
    fn reads_times() {
        for (start, end, expected) in [
            ("00:00", "24:00", Some((0, 1440))),
            ("01:35", "17:39", Some((95, 1059))),
            ("09:35", "09:39", Some((575, 579))),
            ("17:31", "17:31", None),
            ("12:30", "24:01", None),
            ("09:30", "07:41", None),
            ("24:00", "17:41", None),
            ("01:35", "", None),
            ("01:99", "23:00", None),
            ("99:99", "23:00", None),
            ("1:00", "23:00", None),
            ("+1:00", "23:00", None),
            ("a", "b", None),
        ] {
            let read = read_times(&times(&[(start, end)])[0]).ok();
            assert_eq!(read, expected, "{start}-{end}");
        }
    }

    #[test]
    fn reads_ranges() {
        let none: Option<RangeInclusive<i32>> = None;
        for (text, expected) in [
            ("friday:monday", none.clone()),
            ("blurgsday:flurgsday", none.clone()),
            ("1:3", none.clone()),
            ("-2:-1", none.clone()),
            ("MONDAY:Friday", Some(1..=5)),
            ("sunday", Some(0..=0)),
        ] {
            assert_eq!(read_weekdays(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("0", none.clone()),
            ("-50:-20", none.clone()),
            ("1:50", none.clone()),
            ("-15:5", none.clone()),
            ("10:-25", none.clone()),
            ("5:1", none.clone()),
            ("-1:-5", none.clone()),
            ("1:-1", Some(RangeInclusive::new(1, -1))),
            ("1", Some(1..=1)),
        ] {
            assert_eq!(read_days(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("martius:june", none.clone()),
            ("march:junius", none.clone()),
            ("december:january", none.clone()),
            ("13", none.clone()),
            ("January:december", Some(1..=12)),
            ("6", Some(6..=6)),
        ] {
            assert_eq!(read_months(text).ok(), expected, "{text}");
        }
        assert_eq!(read_years("2022:2020").ok(), none);
        assert_eq!(read_years("2020:2022").ok(), Some(2020..=2022));
    }
}

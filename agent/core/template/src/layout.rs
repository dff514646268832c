//! Go's time layouts: a time is written as the reference time
//! `Mon Jan 2 15:04:05 -0700 MST 2006` would be.

use jiff::Zoned;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

pub(crate) fn month_name(month: i8) -> &'static str {
    let at = usize::try_from(month - 1).unwrap_or(0);
    MONTHS.get(at).copied().unwrap_or("")
}

pub(crate) fn weekday_name(weekday: Weekday) -> &'static str {
    let at = usize::try_from(weekday.to_monday_zero_offset()).unwrap_or(0);
    WEEKDAYS.get(at).copied().unwrap_or("")
}

/// One part of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    LongYear,
    ShortYear,
    MonthName,
    MonthShortName,
    Month {
        padded: bool,
    },
    WeekdayName,
    WeekdayShortName,
    Day(Padding),
    YearDay(Padding),
    Hour24,
    Hour12 {
        padded: bool,
    },
    Minute {
        padded: bool,
    },
    Second {
        padded: bool,
    },
    /// With the point or comma; zeros are kept or trailing ones left out.
    Fraction {
        comma: bool,
        digits: usize,
        trims: bool,
    },
    Pm {
        upper: bool,
    },
    ZoneName,
    Offset {
        zulu: bool,
        colon: bool,
        fields: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    None,
    Zero,
    Blank,
}

/// What stands for a part; of words with a common beginning the longer one first.
const WORDS: &[(&str, Part<'static>)] = &[
    ("January", Part::MonthName),
    ("Jan", Part::MonthShortName),
    ("Monday", Part::WeekdayName),
    ("Mon", Part::WeekdayShortName),
    ("MST", Part::ZoneName),
    ("002", Part::YearDay(Padding::Zero)),
    ("01", Part::Month { padded: true }),
    ("02", Part::Day(Padding::Zero)),
    ("03", Part::Hour12 { padded: true }),
    ("04", Part::Minute { padded: true }),
    ("05", Part::Second { padded: true }),
    ("06", Part::ShortYear),
    ("15", Part::Hour24),
    ("1", Part::Month { padded: false }),
    ("2006", Part::LongYear),
    ("2", Part::Day(Padding::None)),
    ("__2", Part::YearDay(Padding::Blank)),
    ("_2", Part::Day(Padding::Blank)),
    ("3", Part::Hour12 { padded: false }),
    ("4", Part::Minute { padded: false }),
    ("5", Part::Second { padded: false }),
    ("PM", Part::Pm { upper: true }),
    ("pm", Part::Pm { upper: false }),
    ("-07:00:00", offset(false, true, 3)),
    ("-070000", offset(false, false, 3)),
    ("-07:00", offset(false, true, 2)),
    ("-0700", offset(false, false, 2)),
    ("-07", offset(false, false, 1)),
    ("Z07:00:00", offset(true, true, 3)),
    ("Z070000", offset(true, false, 3)),
    ("Z07:00", offset(true, true, 2)),
    ("Z0700", offset(true, false, 2)),
    ("Z07", offset(true, false, 1)),
];

const fn offset(zulu: bool, colon: bool, fields: u8) -> Part<'static> {
    Part::Offset {
        zulu,
        colon,
        fields,
    }
}

/// The part at the start of a layout, if it is not literal text, and the rest.
fn part_at(layout: &str) -> Option<(Part<'static>, &str)> {
    if let Some(found) = fraction_at(layout) {
        return Some(found);
    }
    // An underscore before a year is one, not the padding of a day.
    if layout.starts_with("_2006") {
        return None;
    }
    let (word, part) = WORDS.iter().find(|(word, _)| layout.starts_with(word))?;
    let rest = &layout[word.len()..];
    // "Janet" and "Money" hold no names.
    let short_name = matches!(part, Part::MonthShortName | Part::WeekdayShortName);
    if short_name && rest.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    Some((*part, rest))
}

/// `.000` or `,999`, with no other digit after it.
fn fraction_at(layout: &str) -> Option<(Part<'static>, &str)> {
    let after = layout.strip_prefix(['.', ','])?;
    let digit = after.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let rest = after.trim_start_matches(digit);
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let part = Part::Fraction {
        comma: layout.starts_with(','),
        digits: after.len() - rest.len(),
        trims: digit == '9',
    };
    Some((part, rest))
}

fn parts(layout: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = layout;
    let mut literal = layout;
    while let Some(c) = rest.chars().next() {
        let Some((part, after)) = part_at(rest) else {
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let text = &literal[..literal.len() - rest.len()];
        if !text.is_empty() {
            parts.push(Part::Literal(text));
        }
        parts.push(part);
        rest = after;
        literal = after;
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

pub(crate) fn format(time: &Zoned, layout: &str) -> String {
    let written = parts(layout)
        .into_iter()
        .map(|part| format_part(time, part));
    written.collect()
}

fn format_part(time: &Zoned, part: Part<'_>) -> String {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match part {
        Part::Literal(text) => text.to_owned(),
        Part::LongYear => format!("{:04}", time.year()),
        Part::ShortYear => format!("{:02}", time.year().rem_euclid(100)),
        Part::MonthName => month_name(time.month()).to_owned(),
        Part::MonthShortName => month_name(time.month()).chars().take(3).collect(),
        Part::Month { padded } => padded_number(time.month(), padded),
        Part::WeekdayName => weekday_name(time.weekday()).to_owned(),
        Part::WeekdayShortName => weekday_name(time.weekday()).chars().take(3).collect(),
        Part::Day(Padding::Zero) => format!("{:02}", time.day()),
        Part::Day(Padding::Blank) => format!("{:2}", time.day()),
        Part::Day(Padding::None) => time.day().to_string(),
        Part::YearDay(Padding::Blank) => format!("{:3}", time.day_of_year()),
        Part::YearDay(_) => format!("{:03}", time.day_of_year()),
        Part::Hour24 => format!("{:02}", time.hour()),
        Part::Hour12 { padded } => padded_number(hour12, padded),
        Part::Minute { padded } => padded_number(time.minute(), padded),
        Part::Second { padded } => padded_number(time.second(), padded),
        Part::Fraction {
            comma,
            digits,
            trims,
        } => format_fraction(time, comma, digits, trims),
        Part::Pm { upper } => match (time.hour() >= 12, upper) {
            (true, true) => "PM".to_owned(),
            (true, false) => "pm".to_owned(),
            (false, true) => "AM".to_owned(),
            (false, false) => "am".to_owned(),
        },
        Part::ZoneName => time.strftime("%Z").to_string(),
        Part::Offset {
            zulu,
            colon,
            fields,
        } => format_offset(time.offset().seconds(), zulu, colon, fields),
    }
}

fn padded_number(number: i8, padded: bool) -> String {
    if padded {
        format!("{number:02}")
    } else {
        number.to_string()
    }
}

fn format_fraction(time: &Zoned, comma: bool, digits: usize, trims: bool) -> String {
    let nanoseconds = format!("{:09}", time.subsec_nanosecond());
    let mut text: String = nanoseconds.chars().take(digits).collect();
    if trims {
        text.truncate(text.trim_end_matches('0').len());
        if text.is_empty() {
            return text;
        }
    }
    let point = if comma { ',' } else { '.' };
    format!("{point}{text}")
}

fn format_offset(seconds: i32, zulu: bool, colon: bool, fields: u8) -> String {
    if zulu && seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let total = seconds.unsigned_abs();
    let numbers = [total / 3600, total / 60 % 60, total % 60];
    let shown = numbers.iter().take(fields.into());
    let shown: Vec<String> = shown.map(|n| format!("{n:02}")).collect();
    format!("{sign}{}", shown.join(if colon { ":" } else { "" }))
}

/// Reads a time; nothing if the text does not follow the layout. Zone names other than UTC have no
/// meaning and are taken as UTC.
pub(crate) fn parse(layout: &str, text: &str) -> Option<Zoned> {
    let mut fields = Fields::default();
    let mut rest = text;
    for part in parts(layout) {
        rest = fields.read(part, rest)?;
    }
    if !rest.is_empty() {
        return None;
    }
    fields.into_time()
}

struct Fields {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    pm: Option<bool>,
    offset_seconds: i32,
}

impl Default for Fields {
    fn default() -> Self {
        Fields {
            year: 0,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
            nanosecond: 0,
            pm: None,
            offset_seconds: 0,
        }
    }
}

impl Fields {
    fn read<'a>(&mut self, part: Part<'_>, text: &'a str) -> Option<&'a str> {
        match part {
            Part::Literal(literal) => return text.strip_prefix(literal),
            Part::LongYear => return digits(text, 4, 4, &mut self.year),
            Part::ShortYear => {
                let rest = digits(text, 2, 2, &mut self.year)?;
                self.year += if self.year >= 69 { 1900 } else { 2000 };
                return Some(rest);
            }
            Part::MonthName => return self.month_by_name(text, usize::MAX),
            Part::MonthShortName => return self.month_by_name(text, 3),
            Part::Month { padded } => {
                return digits(text, 1 + usize::from(padded), 2, &mut self.month);
            }
            Part::WeekdayName => return named(text, &WEEKDAYS, usize::MAX).map(|(_, rest)| rest),
            Part::WeekdayShortName => return named(text, &WEEKDAYS, 3).map(|(_, rest)| rest),
            Part::Day(Padding::Zero) => return digits(text, 2, 2, &mut self.day),
            Part::Day(_) => {
                let text = text.strip_prefix(' ').unwrap_or(text);
                return digits(text, 1, 2, &mut self.day);
            }
            Part::YearDay(_) => return None,
            Part::Hour24 => return digits(text, 2, 2, &mut self.hour),
            Part::Hour12 { padded } => {
                return digits(text, 1 + usize::from(padded), 2, &mut self.hour);
            }
            Part::Minute { padded } => {
                return digits(text, 1 + usize::from(padded), 2, &mut self.minute);
            }
            Part::Second { padded } => {
                let rest = digits(text, 1 + usize::from(padded), 2, &mut self.second)?;
                // A fraction may follow the seconds, whether the layout has it or not.
                return self.fraction(rest);
            }
            // Read with the seconds.
            Part::Fraction { .. } => {}
            Part::Pm { upper } => {
                let words = if upper { ["AM", "PM"] } else { ["am", "pm"] };
                let at = words.iter().position(|word| text.starts_with(word))?;
                self.pm = Some(at == 1);
                return text.get(2..);
            }
            Part::ZoneName => {
                return Some(text.trim_start_matches(|c: char| c.is_ascii_uppercase()));
            }
            Part::Offset {
                zulu,
                colon,
                fields,
            } => return self.offset(text, zulu, colon, fields),
        }
        Some(text)
    }

    fn month_by_name<'a>(&mut self, text: &'a str, chars: usize) -> Option<&'a str> {
        let (at, rest) = named(text, &MONTHS, chars)?;
        self.month = i8::try_from(at + 1).ok()?;
        Some(rest)
    }

    fn fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let Some(after) = text.strip_prefix(['.', ',']) else {
            return Some(text);
        };
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        let read = &after[..after.len() - rest.len()];
        if read.is_empty() {
            return Some(text);
        }
        let nine: String = read.chars().chain("000000000".chars()).take(9).collect();
        self.nanosecond = nine.parse().ok()?;
        Some(rest)
    }

    fn offset<'a>(
        &mut self,
        text: &'a str,
        zulu: bool,
        colon: bool,
        fields: u8,
    ) -> Option<&'a str> {
        if zulu && let Some(rest) = text.strip_prefix('Z') {
            self.offset_seconds = 0;
            return Some(rest);
        }
        let mut rest = text.strip_prefix(['+', '-'])?;
        let mut seconds = 0;
        for (at, unit_seconds) in [3600, 60, 1].into_iter().take(fields.into()).enumerate() {
            if colon && at > 0 {
                rest = rest.strip_prefix(':')?;
            }
            let mut number = 0i32;
            rest = digits(rest, 2, 2, &mut number)?;
            seconds += number * unit_seconds;
        }
        self.offset_seconds = if text.starts_with('-') {
            -seconds
        } else {
            seconds
        };
        Some(rest)
    }

    fn into_time(self) -> Option<Zoned> {
        let hour = match (self.pm, self.hour) {
            (Some(true), hour) if hour < 12 => hour + 12,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        let time = DateTime::new(
            self.year,
            self.month,
            self.day,
            hour,
            self.minute,
            self.second,
            self.nanosecond,
        );
        let zone = match self.offset_seconds {
            0 => TimeZone::UTC,
            seconds => TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        };
        time.ok()?.to_zoned(zone).ok()
    }
}

/// Reads from `least` to `most` digits into `number`.
fn digits<'a, N: std::str::FromStr>(
    text: &'a str,
    least: usize,
    most: usize,
    number: &mut N,
) -> Option<&'a str> {
    let is_digit = |b: &u8| b.is_ascii_digit();
    let count = text.bytes().take(most).take_while(is_digit).count();
    if count < least {
        return None;
    }
    *number = text[..count].parse().ok()?;
    Some(&text[count..])
}

/// Which of the names, cut to so many characters, the text begins with.
fn named<'a>(text: &'a str, names: &[&str], chars: usize) -> Option<(usize, &'a str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = name.get(..chars).unwrap_or(name);
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name)
            .then(|| (at, &text[name.len()..]))
    })
}

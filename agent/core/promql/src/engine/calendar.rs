//! Dates in UTC, from seconds since 1970.
//!
//! The proleptic Gregorian calendar, for years far before and after our era too, as Go's `time`
//! package has it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub year: i128,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

const DAY_SECONDS: i128 = 86_400;

impl Date {
    /// Counts in years that begin on March 1, so that the leap day is the last one.
    pub(super) fn from_seconds(seconds: i128) -> Date {
        let days = seconds.div_euclid(DAY_SECONDS) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i128::from(month <= 2);
        Date {
            year,
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
        }
    }

    pub(super) fn is_leap_year(&self) -> bool {
        (self.year % 4 == 0 && self.year % 100 != 0) || self.year % 400 == 0
    }

    pub(super) fn days_in_month(&self) -> u8 {
        match self.month {
            2 if self.is_leap_year() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// From 1.
    pub(super) fn day_of_year(&self) -> u16 {
        const BEFORE: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = BEFORE
            .get(usize::from(self.month) - 1)
            .copied()
            .unwrap_or(0);
        let leap_day = u16::from(self.month > 2 && self.is_leap_year());
        before + leap_day + u16::from(self.day)
    }
}

pub(super) fn hour(seconds: i128) -> i128 {
    seconds.rem_euclid(DAY_SECONDS) / 3600
}

pub(super) fn minute(seconds: i128) -> i128 {
    seconds.rem_euclid(3600) / 60
}

/// Sunday is 0.
pub(super) fn day_of_week(seconds: i128) -> i128 {
    (seconds.div_euclid(DAY_SECONDS) + 4).rem_euclid(7)
}

/// `2006-01-02T15:04:05Z`.
pub(super) fn rfc3339(seconds: i128) -> String {
    let date = Date::from_seconds(seconds);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year,
        date.month,
        date.day,
        hour(seconds),
        minute(seconds),
        seconds.rem_euclid(60)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text, day_of_year, weekday, days_in_month) in [
            (0, "1970-01-01T00:00:00Z", 1, 4, 31),
            (951_782_400, "2000-02-29T00:00:00Z", 60, 2, 29),
            (1_136_239_445, "2006-01-02T22:04:05Z", 2, 1, 31),
            (-1, "1969-12-31T23:59:59Z", 365, 3, 31),
            (4_107_542_400, "2100-03-01T00:00:00Z", 60, 1, 31),
            (1_735_603_200, "2024-12-31T00:00:00Z", 366, 2, 31),
        ] {
            assert_eq!(rfc3339(seconds), text);
            let date = Date::from_seconds(seconds);
            assert_eq!(date.day_of_year(), day_of_year, "{text}");
            assert_eq!(date.days_in_month(), days_in_month, "{text}");
            assert_eq!(day_of_week(seconds), weekday, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_former() {
        let mut before = Date::from_seconds(-800 * 365 * DAY_SECONDS);
        for day in -800 * 365 + 1..800 * 365 {
            let date = Date::from_seconds(day * DAY_SECONDS);
            if date.day == 1 {
                assert_eq!(before.day, before.days_in_month());
            } else {
                assert_eq!((date.month, date.day), (before.month, before.day + 1));
            }
            before = date;
        }
    }
}

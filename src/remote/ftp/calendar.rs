//! Days of the Gregorian calendar ↔ seconds since 1970 UTC, and the digits that FTP writes them with
//! (RFC 3659: `YYYYMMDDHHMMSS`). Knows no clock and no time zone.

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;
/// Days from the first of March of year 0 to the first of January 1970.
const EPOCH_DAYS: i64 = 719_468;
/// The last year that four digits can say.
const YEAR_MAX: i64 = 9999;

/// A moment as a calendar and a clock show it, in a time zone that is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: i64,
    /// The day of the month, from 1.
    pub day: i64,
    /// Seconds since midnight.
    pub second: i64,
}

impl Moment {
    /// The moment at so many seconds since 1970, both in the same zone.
    pub fn at(seconds: i64) -> Moment {
        let days = seconds.div_euclid(DAY).saturating_add(EPOCH_DAYS);
        let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        // The year begins in March here, so that its odd day is the last.
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        Moment { year, month, day, second: seconds.rem_euclid(DAY) }
    }

    /// Seconds since 1970 in the same zone; `None` for a day that the calendar does not have.
    pub fn seconds(self) -> Option<i64> {
        let Moment { year, month, day, second } = self;
        if !(0..=YEAR_MAX).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        // A leap second is the next minute's first.
        let is_there = (1..=31).contains(&day) && (0..=DAY).contains(&second);
        let march = if month > 2 { month - 3 } else { month + 9 };
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * march + 2) / 5 + day - 1;
        let days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let seconds = (days - EPOCH_DAYS) * DAY + second;
        let at = Moment::at(seconds - second);
        (is_there && (at.month, at.day) == (month, day)).then_some(seconds)
    }
}

/// Seconds since 1970 as FTP writes them; `None` outside of the years of four digits.
pub fn digits(seconds: i64) -> Option<String> {
    let Moment { year, month, day, second } = Moment::at(seconds);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    (0..=YEAR_MAX)
        .contains(&year)
        .then(|| format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{:02}", second % 60))
}

/// The other way; a fraction of a second is left out.
pub fn parse_digits(text: &[u8]) -> Option<i64> {
    let whole = text.split(|&byte| byte == b'.').next().filter(|whole| whole.len() == 14)?;
    let number = |from: usize, to: usize| number(whole.get(from..to)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let fits = hour < 24 && minute < 60 && second <= 60;
    let second = hour * 3600 + minute * 60 + second;
    let moment = Moment { year: number(0, 4)?, month: number(4, 6)?, day: number(6, 8)?, second };
    moment.seconds().filter(|_| fits)
}

/// A number of at most eighteen digits and nothing else.
pub fn number(digits: &[u8]) -> Option<i64> {
    let fits = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_days_are_where_they_belong() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20200101000001", 1_577_836_801),
            ("20240229120000", 1_709_208_000),
            ("20000229000000.999", 951_782_400),
            ("19691231235959", -1),
        ] {
            assert_eq!(parse_digits(text.as_bytes()), Some(seconds), "{text}");
            assert_eq!(digits(seconds).as_deref(), text.split('.').next());
        }
        for text in
            ["20230229000000", "20231301000000", "20230100000000", "20230101240000", "", "x"]
        {
            assert_eq!(parse_digits(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_of_these_centuries_comes_back(seconds in -60_000_000_000i64..250_000_000_000) {
            prop_assert_eq!(parse_digits(digits(seconds).unwrap().as_bytes()), Some(seconds));
        }

        #[test]
        fn no_number_and_no_text_is_too_strange(seconds: i64, text: Vec<u8>) {
            digits(seconds);
            parse_digits(&text);
        }
    }
}

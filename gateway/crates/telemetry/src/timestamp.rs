//! Instants of the wall clock as RFC 3339 in UTC with milliseconds.

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime};

const SECONDS_PER_DAY: u64 = 86_400;

/// `2026-01-02T03:04:05.006Z`; a time before 1970 is written as 1970.
#[must_use]
pub fn rfc3339(time: SystemTime) -> Rfc3339 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, number) in [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, of_day / 3_600),
        (14..16, of_day / 60 % 60),
        (17..19, of_day % 60),
        (20..23, since.subsec_millis().into()),
    ] {
        write_digits(text.get_mut(at).unwrap_or_default(), number);
    }
    Rfc3339(text)
}

/// An instant as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rfc3339([u8; 24]);

impl Deref for Rfc3339 {
    type Target = str;

    fn deref(&self) -> &str {
        // Only digits were written.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Writes the low digits of a number.
fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar: years are counted from March, so
/// that the leap day is the last of its year, in eras of 400 years.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> String {
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn known_instants_have_their_known_dates() {
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }
}

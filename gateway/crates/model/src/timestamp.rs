//! Instants of the wall clock as RFC 3339: written in UTC with milliseconds, read from any offset.

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

/// The instant that a text names, as in `2026-01-02T03:04:05Z` or `2026-01-02T04:04:05.5+01:00`; `None` when it
/// names none, or one before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(zone)?;
    let (clock, fraction) = clock
        .split_once('.')
        .map_or((clock, None), |(clock, f)| (clock, Some(f)));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // A leap second is read as the last one that there is everywhere.
    let second = if second == 60 { 59 } else { second };
    let is_clock = hour < 24 && minute < 60 && second < 60;
    let days = days_since_1970(year, month, day).filter(|_| is_clock)?;
    let local = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
    let seconds = local.checked_add_signed(-offset(zone)?)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds(fraction)?))
}

/// Three numbers of exactly so many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, zone) = zone.split_at_checked(1)?;
    let (hours, minutes) = zone
        .split_once(':')
        .filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())
    };
    let (hours, minutes) = (number(hours)??, number(minutes)??);
    let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
    let is_offset = hours < 24 && minutes < 60;
    is_offset.then_some(if sign == "-" { -seconds } else { seconds })
}

fn nanoseconds(fraction: Option<&str>) -> Option<u32> {
    let Some(digits) = fraction else { return Some(0) };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More than nine digits say more than the clock can.
    is_number.then(|| format!("{digits:0<9}").get(..9)?.parse().ok())?
}

/// The inverse of `civil`; `None` for a day that no month has.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = (month + 9) % 12;
    let year_from_march = year - u64::from(month <= 2);
    let era = year_from_march / 400;
    let of_era = year_from_march % 400;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
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

    #[test]
    fn an_instant_is_read_in_every_offset_and_fraction() {
        let seconds = |text: &str| {
            let time = parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"));
            time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
        };
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T00:00:00Z", 951_782_400.0),
            ("2000-02-29t01:00:00.000+01:00", 951_782_400.0),
            ("2000-02-28 19:30:00-04:30", 951_782_400.0),
            ("2000-02-29T00:00:00.25z", 951_782_400.25),
            ("2100-03-01T00:00:00.123456789123Z", 4_107_542_400.123_456_7),
        ] {
            assert!((seconds(text) - expected).abs() < 1e-6, "{text}");
        }
        for written in [0, 951_782_400, 1_767_225_599, 4_107_542_400] {
            assert_eq!(seconds(&at(written)), written as f64);
        }
    }

    #[test]
    fn what_is_no_instant_is_not_read() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-1-2T03:04:05Z",
            "2026-02-30T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+1:00",
            "2026-01-02T03:04:05++1:00",
            "2026-01-02T03:04:05Zulu",
            "+026-01-02T03:04:05Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "yesterday",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}

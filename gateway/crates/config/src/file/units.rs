//! Values with their unit in them: `"30s"`, `"1MiB"`, `"100/s"`, `"85%"`. A bare number never has one by default.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};

use super::section::{Flaw, Scalar, did_you_mean};

/// A length of time above zero and up to a year.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Period(pub(crate) Duration);

/// A length of time that may be zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tolerance(pub(crate) Duration);

/// A number of bytes above zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bytes(pub(crate) u64);

/// Bytes per second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ByteRate(pub(crate) u64);

/// So many in a second, minute, hour or day; never zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    pub(crate) count: NonZeroU32,
    pub(crate) per: Duration,
}

/// Hundredths of a percent, 0 to 10,000.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Percent(pub(crate) u16);

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

const TIME_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const BYTE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const RATE_UNITS: &[(&str, u64)] = &[("/s", 1), ("/m", 60), ("/h", 3_600), ("/d", 86_400)];
/// Nothing that is configured lasts longer.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Splits `30s` into 30 and the meaning of its unit.
fn measure(text: &str, units: &[(&str, u64)], kind: &str, example: &str) -> Result<(u64, u64), Flaw> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let bad = |message: String| Flaw::new("bad-value", message);
    if digits.is_empty() {
        return Err(bad(format!("{text:?} is not {kind}")).with_hint(format!("write one like \"{example}\"")));
    }
    let Ok(number) = digits.parse::<u64>() else {
        return Err(bad(format!("{text:?} is too large for {kind}")));
    };
    let words = || units.iter().map(|(word, _)| *word);
    if unit.is_empty() {
        let suggestion = suggest(number, units, example);
        return Err(Flaw::new(
            "missing-unit",
            format!("{kind} needs a unit, found the bare number {text}"),
        )
        .with_hint(format!(
            "write \"{suggestion}\"; units: {}",
            words().collect::<Vec<_>>().join(", ")
        )));
    }
    if let Some((_, factor)) = units.iter().find(|(word, _)| *word == unit) {
        return Ok((number, *factor));
    }
    let flaw = Flaw::new("bad-unit", format!("{unit:?} is not a unit of {kind}"));
    let folded = units.iter().find(|(word, _)| {
        word.eq_ignore_ascii_case(unit) || word.replace('i', "").eq_ignore_ascii_case(unit)
    });
    let hint = match folded {
        Some((word, _)) => format!("did you mean \"{digits}{word}\"?"),
        None => did_you_mean(unit, words())
            .unwrap_or_else(|| format!("units: {}", words().collect::<Vec<_>>().join(", "))),
    };
    Err(flaw.with_hint(hint))
}

/// What a bare number probably meant: bytes are counted in the largest unit that divides them, all else is in the
/// unit of the example.
fn suggest(number: u64, units: &[(&str, u64)], example: &str) -> String {
    if units == BYTE_UNITS {
        let largest = units
            .iter()
            .rev()
            .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
        return largest.map_or_else(
            || format!("{number}B"),
            |(word, factor)| format!("{}{word}", number / factor),
        );
    }
    format!(
        "{number}{}",
        example.trim_start_matches(|c: char| c.is_ascii_digit())
    )
}

fn duration(text: &str) -> Result<Duration, Flaw> {
    let (number, factor) = measure(text, TIME_UNITS, "a duration", "30s")?;
    let duration = Duration::from_millis(number.saturating_mul(factor));
    if duration > LONGEST {
        return Err(Flaw::new(
            "out-of-range",
            format!("{text:?} is longer than a year"),
        ));
    }
    Ok(duration)
}

fn bytes(text: &str) -> Result<u64, Flaw> {
    let (number, factor) = measure(text, BYTE_UNITS, "a size", "1MiB")?;
    match number.checked_mul(factor) {
        Some(0) => Err(Flaw::new("out-of-range", "a size must be above zero")),
        Some(bytes) if bytes <= 1 << 40 => Ok(bytes),
        Some(_) | None => Err(Flaw::new(
            "out-of-range",
            format!("{text:?} is more than 1024GiB"),
        )),
    }
}

impl Scalar for Period {
    const EXPECTED: &'static str = "a duration like \"30s\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let duration = duration(text)?;
        if duration.is_zero() {
            return Err(Flaw::new("out-of-range", "a duration must be above zero here"));
        }
        Ok(Self(duration))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

impl Scalar for Tolerance {
    const EXPECTED: &'static str = Period::EXPECTED;

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        duration(text).map(Self)
    }

    fn schema() -> Value {
        Period::schema()
    }
}

impl Scalar for Bytes {
    const EXPECTED: &'static str = "a size like \"1MiB\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        bytes(text).map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" })
    }
}

impl Scalar for ByteRate {
    const EXPECTED: &'static str = "bytes per second like \"1KiB/s\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let Some(size) = text.strip_suffix("/s") else {
            return Err(
                Flaw::new("missing-unit", format!("{text:?} is not bytes per second"))
                    .with_hint("write one like \"1KiB/s\""),
            );
        };
        bytes(size).map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)/s$" })
    }
}

impl Scalar for Rate {
    const EXPECTED: &'static str = "a rate like \"100/s\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let (number, seconds) = measure(text, RATE_UNITS, "a rate", "100/s")?;
        let count = u32::try_from(number)
            .map_err(|_| Flaw::new("out-of-range", format!("{text:?} is more than {}", u32::MAX)))?;
        let count =
            NonZeroU32::new(count).ok_or_else(|| Flaw::new("out-of-range", "a rate must be above zero"))?;
        Ok(Self {
            count,
            per: Duration::from_secs(seconds),
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+/[smhd]$" })
    }
}

impl Scalar for Percent {
    const EXPECTED: &'static str = "a share like \"85%\"";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        let Some(number) = text.strip_suffix('%') else {
            return if plain && text.parse::<u16>().is_ok() {
                Err(Flaw::new(
                    "missing-unit",
                    format!("a share needs its unit, found the bare number {text}"),
                )
                .with_hint(format!("write \"{text}%\"")))
            } else {
                Err(Flaw::new("bad-value", format!("{text:?} is not a share"))
                    .with_hint("write one like \"85%\""))
            };
        };
        let bad = || Flaw::new("bad-value", format!("{text:?} is not a share of 0% to 100%"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 2 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad().with_hint("at most two digits after the point"));
        }
        let whole: u16 = whole.parse().map_err(|_| bad())?;
        let hundredths: u16 = format!("{fraction:0<2}").parse().map_err(|_| bad())?;
        match whole
            .checked_mul(100)
            .and_then(|share| share.checked_add(hundredths))
        {
            Some(share) if share <= 10_000 => Ok(Self(share)),
            Some(_) | None => Err(bad()),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,2})?%$" })
    }
}

/// A guard's `percent`: its key says the unit already, so a bare number is fine beside `"5%"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GuardShare(pub(crate) u16);

impl Scalar for GuardShare {
    const EXPECTED: &'static str = "a share like 5 or \"5%\"";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        let with_unit = if text.ends_with('%') {
            text.to_owned()
        } else {
            format!("{text}%")
        };
        let share = Percent::parse(&with_unit, plain)
            .map_err(|_| {
                Flaw::new(
                    "bad-value",
                    format!("{text:?} is not a share above 0% and up to 100%"),
                )
                .with_hint("write one like 5 or \"5%\"")
            })?
            .0;
        if share == 0 {
            return Err(Flaw::new("out-of-range", "0% of the requests").with_hint("write `mode: off`"));
        }
        Ok(Self(share))
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "number", "exclusiveMinimum": 0, "maximum": 100 }, Percent::schema()] })
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Whole<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        match text.parse::<u64>() {
            Ok(number) if plain && (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(_) if plain => Err(Flaw::new(
                "out-of-range",
                format!("{text} is not within {MIN} to {MAX}"),
            )),
            Ok(_) | Err(_) => Err(Flaw::new(
                "wrong-type",
                format!("expected a whole number, found {text:?}"),
            )),
        }
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_units_mean_what_they_say() {
        assert_eq!(Period::parse("30s", true).unwrap().0, Duration::from_secs(30));
        assert_eq!(
            Period::parse("250ms", true).unwrap().0,
            Duration::from_millis(250)
        );
        assert_eq!(Bytes::parse("1MiB", true).unwrap().0, 1_048_576);
        assert_eq!(ByteRate::parse("1KiB/s", true).unwrap().0, 1024);
        assert_eq!(Percent::parse("0.5%", true).unwrap().0, 50);
        let rate = Rate::parse("60/m", true).unwrap();
        assert_eq!((rate.count.get(), rate.per), (60, Duration::from_secs(60)));
    }

    #[test]
    fn a_bare_number_is_refused_with_a_suggestion() {
        let flaw = Period::parse("30", true).unwrap_err();
        assert_eq!(flaw.code, "missing-unit");
        assert!(flaw.hint.unwrap().starts_with("write \"30s\""));

        let flaw = Bytes::parse("1024", true).unwrap_err();
        assert!(flaw.hint.unwrap().starts_with("write \"1KiB\""));
    }

    #[test]
    fn a_decimal_unit_is_refused_with_the_binary_one() {
        assert_eq!(
            Bytes::parse("1MB", true).unwrap_err().hint.unwrap(),
            "did you mean \"1MiB\"?"
        );
    }

    #[test]
    fn nothing_is_zero_or_endless() {
        for text in ["0s", "999999999999999999d", "18446744073709551616s", "400d"] {
            assert!(Period::parse(text, true).is_err(), "{text}");
        }
        assert!(Rate::parse("0/s", true).is_err());
        assert!(Rate::parse("4294967296/s", true).is_err());
        assert!(Bytes::parse("0B", true).is_err());
        assert!(Percent::parse("100.01%", true).is_err());
        assert!(Percent::parse("1000000%", true).is_err());
    }
}

//! Durations as people write them in TOML: `300ms`, `5s`, `10m`, `2h30m`, `1d`.

use std::time::Duration;

use thiserror::Error;

/// Units, longest first, in milliseconds. A day is 24 hours, whatever the clocks do.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("a duration is a number and a unit, like \"5s\" or \"2h30m\"")]
    Empty,
    /// A number without a unit, or letters without a number.
    #[error("«{0}» needs a whole number and a unit (ms, s, m, h, d) without a space, like \"5s\"")]
    Unit(String),
    /// Units must come once each, the longest first.
    #[error("«{0}» stands out of order: units come once each, the longest first, like \"2h30m\"")]
    Order(String),
    /// More than 2^64 milliseconds.
    #[error("the duration is too long")]
    TooLong,
}

/// Reads whole numbers with units, longest unit first, each once: `2h30m`. `0s` is zero.
///
/// # Errors
/// [`DurationError`]; its text tells ops what to write.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let (mut total_ms, mut units) = (0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let part = || format!("{number}{unit}");
        if number.is_empty() || !UNITS.iter().any(|(name, _)| *name == unit) {
            // With what stands where the unit should: a space before it, a decimal point.
            return Err(DurationError::Unit(if unit.is_empty() { rest.to_owned() } else { part() }));
        }
        let Some((_, unit_ms)) = units.find(|(name, _)| *name == unit) else {
            return Err(DurationError::Order(part()));
        };
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        let part_ms = number.checked_mul(*unit_ms).ok_or(DurationError::TooLong)?;
        total_ms = total_ms.checked_add(part_ms).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration so that [`parse`] reads it back, to the millisecond below.
#[must_use]
pub fn write(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        if rest_ms >= unit_ms {
            text.push_str(&format!("{}{unit}", rest_ms / unit_ms));
            rest_ms %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, milliseconds) in [
            ("300ms", 300),
            ("5s", 5_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("2h30m", 9_000_000),
            ("1d", 86_400_000),
            ("1s500ms", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, error) in [
            ("", DurationError::Empty),
            ("5", DurationError::Unit("5".into())),
            ("5 segs", DurationError::Unit("5 segs".into())),
            ("1h 30m", DurationError::Unit(" 30m".into())),
            ("1.5s", DurationError::Unit("1.5s".into())),
            ("-5s", DurationError::Unit("-5s".into())),
            ("5min", DurationError::Unit("5min".into())),
            ("30m2h", DurationError::Order("2h".into())),
            ("5s5s", DurationError::Order("5s".into())),
            ("99999999999999999999s", DurationError::TooLong),
            ("18446744073709551615h", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for text in ["300ms", "1m30s", "2h30m", "1d", "0s", "1d1h1m1s1ms"] {
            assert_eq!(parse(text).map(write).as_deref(), Ok(text));
        }
    }
}

//! Expires and Min-Expires (RFC 3261 §20.19, §20.23), and the `expires` parameter of Contact: how long a registration is to last.

use crate::sip::cursor::{decimal, trim};

/// What is meant when nothing readable is written (RFC 3261 §10.2.1.1, §20.10), in seconds.
pub const DEFAULT: u32 = 3_600;

/// Reads a number of seconds. A longer number than fits means the longest; what is no number is [`DEFAULT`] (RFC 3261 §20.10).
#[must_use]
pub fn parse(value: &[u8]) -> u32 {
    let digits = trim(value);
    let number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    decimal(digits).unwrap_or(if number { u32::MAX } else { DEFAULT })
}

/// Writes a number of seconds.
pub fn write(seconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(seconds.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_the_default_and_what_is_too_large_the_most() {
        for (text, expected) in [
            ("0", 0),
            (" 60\r\n ", 60),
            ("4294967295", u32::MAX),
            ("99999999999999999999999", u32::MAX),
            ("-1", DEFAULT),
            ("soon", DEFAULT),
            ("", DEFAULT),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        let mut out = Vec::new();
        write(90, &mut out);
        assert_eq!(parse(&out), 90);
    }
}

//! Content-Length (RFC 3261 §20.14): bytes of the body. Over UDP it may be absent, then the datagram's end is the body's.

use super::{Malformed, Name};
use crate::sip::cursor::{decimal, trim};

/// Reads the length, in bytes.
///
/// # Errors
/// [`Malformed`] for anything but decimal digits that fit.
pub fn parse(value: &[u8]) -> Result<usize, Malformed> {
    decimal(trim(value)).ok_or(Malformed { header: Name::ContentLength, what: "not a length" })
}

/// Writes the length.
pub fn write(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(length.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses() {
        let mut out = Vec::new();
        write(349, &mut out);
        assert_eq!(parse(&out), Ok(349));
        assert_eq!(parse(b" 0 \r\n "), Ok(0));
        for value in ["-999", "", "1 2", "0x10", "99999999999999999999999"] {
            assert!(parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}

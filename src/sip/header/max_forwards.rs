//! Max-Forwards (RFC 3261 §20.22). An endpoint does not count it down: zero is as good as any (RFC 4475 §3.3.11).

use super::{Malformed, Name};
use crate::sip::cursor::{decimal, trim};

/// What our requests begin with (RFC 3261 §8.1.1.6).
pub const INITIAL: u8 = 70;

/// Reads the hops left.
///
/// # Errors
/// [`Malformed`] for anything but `0..=255`.
pub fn parse(value: &[u8]) -> Result<u8, Malformed> {
    decimal(trim(value)).ok_or(Malformed { header: Name::MaxForwards, what: "not 0 to 255" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_and_nothing_else() {
        assert_eq!(parse(INITIAL.to_string().as_bytes()), Ok(70));
        assert_eq!(parse(b" 0068 "), Ok(68));
        assert_eq!(parse(b"255"), Ok(255));
        assert!(parse(b"300").is_err());
        assert!(parse(b"").is_err());
    }
}

//! Retry-After (RFC 3261 §20.33): when it makes sense to try again.

use crate::sip::cursor::{Cursor, decimal};

/// Reads the seconds, leaving out comment and parameters; `None` when there is no number.
#[must_use]
pub fn parse(value: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(value);
    cursor.skip_lws();
    decimal(cursor.take_while(|byte| byte.is_ascii_digit()))
}

/// Writes the seconds.
pub fn write(seconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(seconds.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let mut out = Vec::new();
        write(30, &mut out);
        assert_eq!(parse(&out), Some(30));
        assert_eq!(parse(b" 18000;duration=3600"), Some(18_000));
        assert_eq!(parse(b"120 (I'm in a meeting)"), Some(120));
        assert_eq!(parse(b"soon"), None);
    }
}

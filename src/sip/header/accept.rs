//! Accept (RFC 3261 §20.1): which bodies the caller can read. Absent means `application/sdp`.

use crate::sip::cursor::{Cursor, is_token, trim};

/// Whether a value of Accept takes `name` (`type/subtype`). `q` is not weighed: there is one type to choose from.
#[must_use]
pub fn accepts(value: &[u8], name: &str) -> bool {
    let Some((kind, subtype)) = name.split_once('/') else { return false };
    let matches = |range: &[u8], wanted: &str| range == b"*" || range.eq_ignore_ascii_case(wanted.as_bytes());
    value.split(|&byte| byte == b',').any(|element| {
        let mut cursor = Cursor::new(trim(element));
        let range = cursor.take_while(is_token);
        cursor.take_separator(b'/') && matches(range, kind) && matches(cursor.take_while(is_token), subtype)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lists_and_case() {
        for value in ["application/sdp", "text/plain, Application/SDP;level=1", "*/*", "application/*;q=0.1"] {
            assert!(accepts(value.as_bytes(), "application/sdp"), "{value}");
        }
        for value in ["text/nobodyKnowsThis", "application", "text/*", ""] {
            assert!(!accepts(value.as_bytes(), "application/sdp"), "{value}");
        }
    }
}

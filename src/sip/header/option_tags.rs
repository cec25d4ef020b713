//! Option tags of Require and Unsupported (RFC 3261 §20.32, §20.40).

use crate::sip::cursor::{Cursor, trim};

/// The extensions we support of those a peer may require: RFC 3262, RFC 4028.
pub const SUPPORTED: &[&str] = &["100rel", "timer"];
/// The same with those of transfers: RFC 3891, RFC 4488.
pub const SUPPORTED_WITH_TRANSFERS: &[&str] = &["100rel", "norefersub", "replaces", "timer"];

/// Whether a value of Supported or Require names this option tag.
#[must_use]
pub fn names(value: &[u8], tag: &str) -> bool {
    value.split(|&byte| byte == b',').any(|found| trim(found).eq_ignore_ascii_case(tag.as_bytes()))
}

/// The tags of a Require value that are not among the supported ones, as written. A broken tag is never supported.
pub fn unsupported<'a>(value: &'a [u8], supported: &'static [&'static str]) -> impl Iterator<Item = &'a [u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(move |tag| !tag.is_empty() && !supported.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes())))
}

/// Writes tags as the value of Unsupported. What is no token stays out: it came from the peer.
pub fn write<'a>(tags: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"";
    for tag in tags {
        let mut cursor = Cursor::new(tag);
        if let Some(token) = cursor.token()
            && cursor.is_empty()
        {
            out.extend_from_slice(separator);
            out.extend_from_slice(token);
            separator = b", ";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_comes_back() {
        let mut out = Vec::new();
        write(unsupported(b"nothingSupportsThis,\r\n join , Timer,100REL,, bad tag", SUPPORTED), &mut out);
        assert_eq!(out, b"nothingSupportsThis, join");
        assert!(names(b"100rel,\r\n TIMER", "timer") && !names(b"timers", "timer"));
        assert_eq!(unsupported(b" , ", SUPPORTED).count(), 0);
    }
}

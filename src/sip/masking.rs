//! What of a message nobody may read who reads its ladder: the passwords of its URIs. Headers and bodies with proofs and keys do not get into a
//! ladder at all.

use std::ops::Range;

/// Where passwords of `sip:user:password@host` stand in this text (RFC 3261 §19.1.1).
#[must_use]
pub fn uri_passwords(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Most texts have no such thing, and an `@` is quickly looked for. A comma may stand in a user's name and in a password (§25.1): it ends nothing,
    // for a little too much masked does no harm.
    for at in text.iter().enumerate().filter(|(_, byte)| **byte == b'@').map(|(at, _)| at) {
        let before = text.get(..at).unwrap_or_default();
        let is_end = |byte: &u8| matches!(byte, b'<' | b'>' | b'"' | b'@') || *byte <= b' ';
        let start = before.iter().rposition(is_end).map_or(0, |end| end + 1);
        let user_info = before.get(start..).unwrap_or_default();
        // Behind the scheme's colon.
        let Some(scheme) = user_info.iter().position(|&byte| byte == b':') else { continue };
        let user = user_info.get(scheme + 1..).unwrap_or_default();
        if let Some(colon) = user.iter().position(|&byte| byte == b':') {
            found.push(start + scheme + 1 + colon + 1..at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut shown = text.to_owned();
        for password in uri_passwords(text.as_bytes()) {
            shown.replace_range(password.clone(), &"*".repeat(password.len()));
        }
        shown
    }

    #[test]
    fn passwords_in_uris_are_found() {
        for (text, expected) in [
            ("sip:ana:geheim@h", "sip:ana:******@h"),
            ("\"a:b@c\" <sips:luis;x=1:zwo@h>, <sip:eva@h:5060>", "\"a:b@c\" <sips:luis;x=1:***@h>, <sip:eva@h:5060>"),
            ("sip:h:5060", "sip:h:5060"),
            ("sip:ana:ge,heim@h", "sip:ana:*******@h"),
            ("sip:a,b:secret@h", "sip:a,b:******@h"),
            ("<sip:eva@h>, <sip:a@h>", "<sip:eva@h>, <sip:a@h>"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}

//! What nobody who reads a ladder, a capture or a log may learn of a message: passwords and their proofs, the keys of streams, and the
//! keys that a caller pressed.
//!
//! Masked bytes become `*`, one for one, so that lengths stay true. A body is shown only where it is known what may stand in it.

use std::ops::Range;

use super::header::auth_parameters::read_digest;
use super::header::content_type::ContentType;

/// Headers whose value proves who somebody is.
const PROOFS: [&str; 4] = ["Authorization", "Proxy-Authorization", "Authentication-Info", "Proxy-Authentication-Info"];

/// What of a Digest proof says nothing about the password.
const HARMLESS: [&str; 9] = ["username", "realm", "nonce", "uri", "algorithm", "opaque", "qop", "nc", "nextnonce"];

/// Lines of a description whose value is a key: RFC 4568, RFC 4567, RFC 8839, and `k=` of RFC 4566.
const KEY_LINES: [&str; 4] = ["a=crypto:", "a=key-mgmt:", "a=ice-pwd:", "k="];

/// The message with its secrets masked; as long as it was.
#[must_use]
pub fn masked(message: &[u8]) -> Vec<u8> {
    let mut out = message.to_vec();
    let mut described = Described::default();
    let mut at = 0;
    let mut is_start_line = true;
    while let Some(field) = field(message, at) {
        let text = message.get(field.clone()).unwrap_or_default();
        if text.trim_ascii().is_empty() {
            // Empty lines in front of a message are none of it (RFC 3261 §7.5).
            if !is_start_line {
                body(message, field.end, described, &mut out);
                break;
            }
        } else {
            if !std::mem::take(&mut is_start_line)
                && let Some((name, value)) = split(text)
            {
                if PROOFS.into_iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
                    proof(value, field.end - value.len(), &mut out);
                }
                described.hear(name, value.trim_ascii());
            }
            for password in uri_passwords(text) {
                hide(field.start + password.start..field.start + password.end, &mut out);
            }
        }
        at = field.end;
    }
    out
}

/// What the headers say of the body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Described {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A description, in the clear.
    Sdp,
    /// The answer that a transfer got (RFC 3420).
    Fragment,
    /// Anything else, or several things at once.
    Otherwise,
}

impl Described {
    fn hear(&mut self, name: &[u8], value: &[u8]) {
        let is =
            |long: &str, short: &str| [long, short].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is("Content-Encoding", "e") {
            *self = Self::Otherwise;
        } else if is("Content-Type", "c") {
            let kind = ContentType::parse(value).ok();
            let known = |text: &str| kind.is_some_and(|kind| kind.is(text));
            *self = match self {
                Self::Nothing if known("application/sdp") => Self::Sdp,
                Self::Nothing if known("message/sipfrag") => Self::Fragment,
                // With two of them it is anybody's guess which one a reader believes.
                Self::Nothing | Self::Sdp | Self::Fragment | Self::Otherwise => Self::Otherwise,
            };
        }
    }
}

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

/// The header line that begins at `at`, with the lines that continue it (RFC 3261 §7.3.1) and its end.
fn field(message: &[u8], at: usize) -> Option<Range<usize>> {
    let mut end = at;
    loop {
        let rest = message.get(end..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        // Blanks alone end nothing where they continue a header.
        let was_empty = end == at && rest.get(..length).unwrap_or_default().trim_ascii().is_empty();
        end += length;
        let continues = matches!(message.get(end), Some(b' ' | b'\t')) && !was_empty;
        if !continues {
            return Some(at..end);
        }
    }
}

/// Name and value of a header line.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    Some((text.get(..colon)?.trim_ascii(), text.get(colon + 1..)?))
}

/// Masks a proof whose value begins at `start`: of Digest what says something about the password, of what is not understood all.
fn proof(value: &[u8], start: usize, out: &mut [u8]) {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let place = |part: &[u8]| {
        let offset = (part.as_ptr() as usize).saturating_sub(value.as_ptr() as usize);
        start + offset..start + offset + part.len()
    };
    let read = read_digest(value.trim_ascii_end(), |name, value| {
        if !HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            secrets.push(place(value));
        }
    });
    match read {
        Some(Ok(())) => secrets.into_iter().for_each(|secret| hide(secret, out)),
        // Another scheme, or none: nothing of it is known to be harmless.
        Some(Err(_)) | None => hide(start..start + value.len(), out),
    }
}

/// Masks a body that begins at `start`: of a description its keys, of what a transfer reports all but the status, of all others everything,
/// for it may be keys that were pressed.
fn body(message: &[u8], start: usize, described: Described, out: &mut [u8]) {
    let text = message.get(start..).unwrap_or_default();
    match described {
        Described::Sdp => {}
        Described::Fragment if text.starts_with(b"SIP/2.0 ") => {
            let status = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
            return hide(start + status..message.len(), out);
        }
        Described::Fragment | Described::Nothing | Described::Otherwise => return hide(start..message.len(), out),
    }
    let mut at = start;
    for line in text.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
        // Whoever reads descriptions may pass over blanks in front of a line, as we do.
        let text = line.trim_ascii_start();
        let is = |known: &&str| text.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(known) = KEY_LINES.iter().find(|known| is(known)) {
            let inline = line.windows(7).position(|window| window.eq_ignore_ascii_case(b"inline:"));
            // The tag and the suite say nothing.
            let secret = inline.map_or(line.len() - text.len() + known.len(), |inline| inline + 7);
            hide(at + secret..at + line.len(), out);
        }
        at += line.len();
    }
}

/// Stars in the place of everything that is seen.
fn hide(range: Range<usize>, out: &mut [u8]) {
    for byte in out.get_mut(range).unwrap_or_default() {
        if !matches!(byte, b'\r' | b'\n' | b' ' | b'\t') {
            *byte = b'*';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        let out = masked(message.as_bytes());
        assert_eq!(out.len(), message.len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn proofs_are_masked_whatever_their_form() {
        let text = shown(
            "REGISTER sip:h SIP/2.0\r\nAuthorization: Digest username=\"ana\", realm=\"r\", nonce=\"n\", uri=\"sip:h\",\r\n \
             response=\"0123456789abcdef\", cnonce=\"xyz\"\r\nproxy-authorization : Basic YW5hOnNlY3JldA==\r\n\
             Authentication-Info: rspauth=\"77\"\r\nAuthorization: Digest response=\"88\r\nSubject: response=1\r\n\r\n",
        );
        assert!(text.contains("username=\"ana\", realm=\"r\", nonce=\"n\", uri=\"sip:h\""), "{text}");
        for secret in ["0123", "xyz", "YW5h", "77", "88"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("Subject: response=1"), "{text}");
    }

    #[test]
    fn passwords_in_uris_are_masked() {
        for (text, expected) in [
            ("sip:ana:ge,heim@h", "sip:ana:*******@h"),
            ("sip:a,b:secret@h", "sip:a,b:******@h"),
            ("<sip:eva@h>, <sip:a@h>", "<sip:eva@h>, <sip:a@h>"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let text = shown(
            "INVITE sip:ana:geheim@h SIP/2.0\r\nTo: \"a:b@c\" <sips:luis;x=1:zwo@h>, <sip:eva@h:5060>\r\nFrom: sip:h:5060\r\n\r\n",
        );
        assert!(text.contains("sip:ana:******@h") && text.contains("sips:luis;x=1:***@h"), "{text}");
        assert!(text.contains("<sip:eva@h:5060>") && text.contains("From: sip:h:5060"), "{text}");
    }

    #[test]
    fn keys_of_streams_are_masked_and_the_rest_of_a_description_is_not() {
        let text = shown(
            "INVITE sip:h SIP/2.0\r\nc: application/sdp;charset=utf-8\r\n\r\nv=0\r\nk=clear:topsecret\r\nm=audio 4000 RTP/SAVP 0\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:QUJD|2^20|1:4;inline:REVG KDR=1\r\nA=ICE-PWD:hush\r\na=key-mgmt:mikey AAAA\r\n\
             a=sendonly\r\n",
        );
        for secret in ["topsecret", "QUJD", "REVG", "hush", "AAAA"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:*"), "{text}");
        assert!(text.contains("m=audio 4000 RTP/SAVP 0") && text.ends_with("a=sendonly\r\n"), "{text}");
    }

    #[test]
    fn keys_that_were_pressed_are_masked_in_every_body() {
        for kind in [
            "application/dtmf-relay",
            "application/dtmf",
            "text/plain",
            "multipart/mixed;boundary=x",
            "application/sdp-not",
            "application/sdp\r\nContent-Encoding: gzip",
            "application/sdp\r\nc: application/dtmf",
            "application/dtmf\r\nc: application/sdp",
            "message/sipfrag",
            "application/sdp\r\n \r\n x",
        ] {
            let text = shown(&format!(
                "INFO sip:h SIP/2.0\r\nContent-Type: {kind}\r\nContent-Length: 26\r\n\r\nSignal= 5\r\nDuration= 160\r\n"
            ));
            assert!(!text.contains('5') && !text.contains("160") && text.contains("Content-Length: 26"), "{text}");
        }
        assert!(!shown("INFO sip:h SIP/2.0\n\n5").contains('5'), "without a type");
        assert!(!shown("\r\nINFO sip:h SIP/2.0\r\n\r\n7").contains('7'), "behind an empty line");
    }

    #[test]
    fn of_what_a_transfer_reports_the_status_is_shown() {
        let text = shown(
            "NOTIFY sip:h SIP/2.0\r\nc: message/sipfrag;version=2.0\r\n\r\nSIP/2.0 200 OK\r\nTo: <sip:a@h>\r\n\r\nSignal=5\r\n",
        );
        assert!(
            text.contains("\r\n\r\nSIP/2.0 200 OK\r\n***") && !text.contains("Signal") && !text.contains('5'),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_message_does_no_harm() {
        for text in ["", "\r\n", "\n\n\n", "x", ":", "Authorization", "a\r\n \r\n\r\n", "a\r\nAuthorization:"] {
            let _masked = shown(text);
        }
    }
}

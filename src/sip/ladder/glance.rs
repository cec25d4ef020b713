//! A message looked at once, from its first byte to the end of its headers, for the few words that a ladder has of it. Nothing is checked:
//! it may be broken, and then says so by what is missing.

/// Headers that say why something went as it did.
const NOTED: [&str; 12] = [
    "Reason",
    "Warning",
    "Retry-After",
    "Require",
    "Unsupported",
    "Session-Expires",
    "Min-SE",
    "Refer-To",
    "Replaces",
    "Event",
    "Subscription-State",
    "Proxy-Require",
];

/// Most of them in one message.
const NOTED_MAX: usize = 4;

/// Header bytes that are looked at: what stands behind them is not missed.
const LOOKED_AT_MAX: usize = 8_192;

/// What is seen of a message.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    start_line: &'a [u8],
    call_id: &'a [u8],
    cseq: &'a [u8],
    content_type: &'a [u8],
    noted: [Option<(&'static str, &'a [u8])>; NOTED_MAX],
    body: &'a [u8],
}

impl<'a> Glance<'a> {
    /// Looks at a message; `None` when it has no Call-ID, so that it is no call's.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Option<Self> {
        // RFC 3261 §7.5: empty lines may come first.
        let message = message.trim_ascii_start();
        let (start_line, mut rest) = line(message);
        let mut glance =
            Self { start_line, call_id: b"", cseq: b"", content_type: b"", noted: [None; NOTED_MAX], body: b"" };
        let mut places = glance.noted.iter_mut();
        while !rest.is_empty() && message.len() - rest.len() <= LOOKED_AT_MAX {
            let (field, next) = line(rest);
            rest = next;
            if field.is_empty() {
                glance.body = rest;
                break;
            }
            let Some(colon) = field.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = field.split_at(colon);
            let (name, value) = (name.trim_ascii_end(), value.get(1..).unwrap_or_default().trim_ascii());
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            match name.first().map(u8::to_ascii_lowercase) {
                Some(b'c') if is("Call-ID") => glance.call_id = value,
                Some(b'i') if is("i") => glance.call_id = value,
                Some(b'c') if is("CSeq") => glance.cseq = value,
                Some(b'c') if is("Content-Type") || is("c") => glance.content_type = value,
                Some(b'r' | b'w' | b'u' | b's' | b'm' | b'e' | b'p') => {
                    if let Some(known) = NOTED.iter().find(|known| is(known))
                        && let Some(place) = places.next()
                    {
                        *place = Some((known, value));
                    }
                }
                _ => {}
            }
        }
        (!glance.call_id.is_empty()).then_some(glance)
    }

    /// The start line without the version: `INVITE sip:*2363@192.0.2.10`, `200 OK`.
    #[must_use]
    pub fn start_line(&self) -> &'a [u8] {
        let line = self.start_line;
        line.strip_prefix(b"SIP/2.0 ").or_else(|| line.strip_suffix(b" SIP/2.0")).unwrap_or(line)
    }

    /// The status of a response; `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let status = self.start_line.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    /// The value of Call-ID, never empty.
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        self.call_id
    }

    /// The value of CSeq, empty when there is none.
    #[must_use]
    pub fn cseq(&self) -> &'a [u8] {
        self.cseq
    }

    /// The value of Content-Type, empty when there is none.
    #[must_use]
    pub fn content_type(&self) -> &'a [u8] {
        self.content_type
    }

    /// The body, empty when there is none.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Headers that say why something went as it did, in order.
    pub fn noted(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        self.noted.into_iter().flatten()
    }
}

/// The first line without its end, and what follows.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', text) {
        Some(end) => {
            let (line, rest) = text.split_at(end);
            (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
        }
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ladder_tells_is_seen() {
        let text = b"\r\nSIP/2.0 420 Bad Extension\r\ni: a@b\r\nCSEQ : 7 INVITE\r\nUnsupported: 100rel\r\nX: y\r\n\
            c: application/sdp\r\n\r\nv=0\r\n";
        let glance = Glance::of(text).unwrap();
        assert_eq!((glance.start_line(), glance.status()), (b"420 Bad Extension".as_slice(), Some(420)));
        assert_eq!((glance.call_id(), glance.cseq()), (b"a@b".as_slice(), b"7 INVITE".as_slice()));
        assert_eq!(glance.content_type(), b"application/sdp");
        assert_eq!(glance.body(), b"v=0\r\n");
        assert_eq!(glance.noted().collect::<Vec<_>>(), [("Unsupported", b"100rel".as_slice())]);
    }

    #[test]
    fn what_is_broken_is_still_looked_at() {
        assert!(
            Glance::of(b"").is_none() && Glance::of(b"\r\n\r\n").is_none() && Glance::of(b"INVITE x\r\n\r\n").is_none()
        );
        let glance = Glance::of(b"garbage\nCall-ID: x").unwrap();
        assert_eq!(
            (glance.start_line(), glance.call_id(), glance.body()),
            (b"garbage".as_slice(), b"x".as_slice(), b"".as_slice())
        );
        assert_eq!(glance.status(), None);
    }
}

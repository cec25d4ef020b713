//! Digits in SIP INFO bodies: `application/dtmf-relay` and `application/dtmf`, which no RFC describes but gateways
//! send.

use std::time::Duration;

use super::Digit;

/// The type of the bodies that we send: the one that more far ends know, and the only one with a duration.
pub const RELAY: &str = "application/dtmf-relay";

/// What most senders mean when they give no duration.
const DURATION_DEFAULT: Duration = Duration::from_millis(100);

/// Why an INFO carries no digit; the far end's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// The content type is none of the two.
    #[error("not a DTMF content type")]
    ContentType,
    /// There is no `Signal`, or it is no key (`16` is hook flash).
    #[error("no DTMF digit in the body")]
    Signal,
}

impl InfoError {
    /// The SIP status to answer with: 415 or 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::ContentType => 415,
            Self::Signal => 400,
        }
    }
}

/// Reads the digit of an INFO request, and how long the key was down (100 ms when the body does not say).
///
/// # Errors
/// [`InfoError`].
pub fn parse(content_type: &str, body: &[u8]) -> Result<(Digit, Duration), InfoError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let body = std::str::from_utf8(body).map_err(|_| InfoError::Signal);
    if media_type.eq_ignore_ascii_case(RELAY) {
        parse_relay(body?)
    } else if media_type.eq_ignore_ascii_case("application/dtmf") {
        // Either the bare key, or the lines of dtmf-relay under the wrong name.
        let body = body?.trim();
        parse_signal(body).map_or_else(|| parse_relay(body), |digit| Ok((digit, DURATION_DEFAULT)))
    } else {
        Err(InfoError::ContentType)
    }
}

/// The body of an INFO that presses a key, to be sent as [`RELAY`].
#[must_use]
pub fn relay(digit: Digit, held: Duration) -> String {
    format!("Signal={digit}\r\nDuration={}\r\n", held.as_millis())
}

/// Reads `Signal=5` and `Duration=160`, spaces allowed around both sides of `=`.
fn parse_relay(body: &str) -> Result<(Digit, Duration), InfoError> {
    let mut digit = None;
    let mut duration = DURATION_DEFAULT;
    for (name, value) in body.lines().filter_map(|line| line.split_once('=')) {
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("signal") {
            digit = parse_signal(value);
        } else if name.eq_ignore_ascii_case("duration")
            && let Ok(milliseconds) = value.parse::<u32>()
        {
            duration = Duration::from_millis(milliseconds.into());
        }
    }
    digit.map(|digit| (digit, duration)).ok_or(InfoError::Signal)
}

/// A key's character, or its event code in two digits (`10` is `*`).
fn parse_signal(text: &str) -> Option<Digit> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Digit::from_char(character),
        (Some(_), Some(_)) => text.parse().ok().and_then(Digit::from_event),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_as_gateways_send_them() {
        fn check(content_type: &str, body: &str, expected: Result<(char, u64), InfoError>) {
            let found = parse(content_type, body.as_bytes());
            let expected = expected.map(|(key, ms)| (Digit::from_char(key).unwrap(), Duration::from_millis(ms)));
            assert_eq!(found, expected, "{content_type}: {body:?}");
        }
        let relay = RELAY;
        check(relay, "Signal=5\r\nDuration=160\r\n", Ok(('5', 160)));
        check(relay, "Signal= *\nDuration= 250", Ok(('*', 250)));
        check("Application/DTMF-Relay; charset=utf-8", "signal=#", Ok(('#', 100)));
        check(relay, "Signal=11\r\nDuration=x\r\n", Ok(('#', 100)));
        check(relay, "Signal=d\r\n", Ok(('D', 100)));
        check(relay, "Signal=16\r\n", Err(InfoError::Signal));
        check(relay, "Signal=\r\nDuration=160", Err(InfoError::Signal));
        check(relay, "", Err(InfoError::Signal));
        check("application/dtmf", "7", Ok(('7', 100)));
        check("application/dtmf", " 10\r\n", Ok(('*', 100)));
        check("application/dtmf", "Signal=4\r\nDuration=80", Ok(('4', 80)));
        check("application/sdp", "5", Err(InfoError::ContentType));
        assert_eq!(parse(relay, b"Signal=\xff"), Err(InfoError::Signal));
        for digit in (0..16).filter_map(Digit::from_event) {
            let held = Duration::from_millis(120);
            assert_eq!(parse(RELAY, super::relay(digit, held).as_bytes()), Ok((digit, held)));
        }
        assert_eq!((InfoError::ContentType.status(), InfoError::Signal.status()), (415, 400));
    }
}

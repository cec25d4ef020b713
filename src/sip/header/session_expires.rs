//! Session-Expires and Min-SE (RFC 4028 §4, §5): how long a session lasts without a refresh, and who refreshes it.

use super::parameters::Parameters;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, decimal};

/// Which side of the transaction refreshes: the one that sent the request, or the one that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// Who answers it.
    Uas,
}

/// A Session-Expires header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub seconds: u32,
    /// Who refreshes; a request may leave it open.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a Session-Expires value. A refresher that is neither `uac` nor `uas` is as good as none.
    ///
    /// # Errors
    /// [`Malformed`] without a number of seconds.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::SessionExpires, what };
        let (seconds, parameters) = read(value).ok_or(fault("no number of seconds"))?;
        let refresher = parameters.value("refresher").and_then(|who| {
            let is = |name: &str| who.eq_ignore_ascii_case(name.as_bytes());
            if is("uac") { Some(Refresher::Uac) } else { is("uas").then_some(Refresher::Uas) }
        });
        Ok(Self { seconds, refresher })
    }

    /// Writes the value.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.seconds.to_string().as_bytes());
        out.extend_from_slice(match self.refresher {
            Some(Refresher::Uac) => b";refresher=uac",
            Some(Refresher::Uas) => b";refresher=uas",
            None => b"",
        });
    }
}

/// Reads a Min-SE value, in seconds; `None` when there is no number.
#[must_use]
pub fn min_se(value: &[u8]) -> Option<u32> {
    read(value).map(|(seconds, _)| seconds)
}

/// Writes a Min-SE value.
pub fn write_min_se(seconds: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(seconds.to_string().as_bytes());
}

/// A number of seconds, with parameters. A longer number than fits means the longest.
fn read(value: &[u8]) -> Option<(u32, Parameters<'_>)> {
    let mut cursor = Cursor::new(value);
    cursor.skip_lws();
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    let seconds = decimal(digits).or_else(|| (!digits.is_empty()).then_some(u32::MAX))?;
    Some((seconds, Parameters::parse(&mut cursor).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        for (text, seconds, refresher) in [
            ("1800", 1_800, None),
            ("90;refresher=uac", 90, Some(Refresher::Uac)),
            (" 4000 ; Refresher = UAS", 4_000, Some(Refresher::Uas)),
            ("99999999999;refresher=nobody", u32::MAX, None),
            ("120;;", 120, None),
        ] {
            let read = SessionExpires::parse(text.as_bytes()).unwrap();
            assert_eq!(read, SessionExpires { seconds, refresher }, "{text}");
            let mut out = Vec::new();
            read.write(&mut out);
            assert_eq!(SessionExpires::parse(&out), Ok(read));
        }
        for text in ["", "soon", ";refresher=uac", "-1"] {
            assert!(SessionExpires::parse(text.as_bytes()).is_err(), "{text}");
        }
        let mut out = Vec::new();
        write_min_se(90, &mut out);
        assert_eq!((min_se(&out), min_se(b" 120;x=y"), min_se(b"x")), (Some(90), Some(120), None));
    }
}

//! Content-Type (RFC 3261 §20.15): the body's media type.

use super::parameters::Parameters;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, text};

/// `type/subtype` and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    /// What follows, `charset` and such.
    pub parameters: Parameters<'a>,
}

impl<'a> ContentType<'a> {
    /// Reads a Content-Type header's value.
    ///
    /// # Errors
    /// [`Malformed`] when it is no `type/subtype`.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::ContentType, what };
        let mut cursor = Cursor::new(value);
        cursor.skip_lws();
        let kind = cursor.token().ok_or(fault("no type"))?;
        let slash = cursor.take_separator(b'/');
        let subtype = cursor.token().filter(|_| slash).ok_or(fault("no subtype"))?;
        let parameters = Parameters::parse(&mut cursor).map_err(fault)?;
        if cursor.is_empty() { Ok(Self { kind, subtype, parameters }) } else { Err(fault("text behind the type")) }
    }

    /// Whether it is this type, whatever its parameters; `name` is `type/subtype`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind.as_bytes()) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
        })
    }

    /// `type/subtype` in lower case, without parameters.
    #[must_use]
    pub fn essence(&self) -> String {
        format!("{}/{}", text(self.kind), text(self.subtype)).to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_blanks_and_parameters_do_not_matter() {
        let content_type = ContentType::parse(b"Application / SDP ;charset=\"utf-8\"").unwrap();
        assert!(content_type.is("application/sdp"));
        assert!(!content_type.is("application/dtmf-relay"));
        assert_eq!(content_type.essence(), "application/sdp");
        for value in ["", "application", "application/", "/sdp", "a/b c", "a/b;;"] {
            assert!(ContentType::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}

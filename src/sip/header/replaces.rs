//! Replaces (RFC 3891 §6.1): the dialog whose place an INVITE takes.

use super::parameters::Parameters;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, trim};

/// A dialog, as its end that receives the INVITE knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of the end that receives the INVITE.
    pub to_tag: Vec<u8>,
    /// The tag of the other one.
    pub from_tag: Vec<u8>,
    /// Only if it has not been answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a Replaces value.
    ///
    /// # Errors
    /// [`Malformed`] without Call-ID or one of both tags.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::Replaces, what };
        let mut cursor = Cursor::new(value);
        cursor.skip_lws();
        let call_id = trim(cursor.take_while(|byte| byte != b';' && byte != b','));
        if call_id.is_empty() || call_id.iter().any(u8::is_ascii_whitespace) {
            return Err(fault("no Call-ID"));
        }
        let parameters = Parameters::parse(&mut cursor).map_err(fault)?;
        let tag = |name| parameters.value(name).filter(|tag| !tag.is_empty()).map(<[u8]>::to_vec);
        if !trim(cursor.rest()).is_empty() {
            return Err(fault("more than one dialog"));
        }
        Ok(Self {
            call_id: call_id.to_vec(),
            to_tag: tag("to-tag").ok_or(fault("no to-tag"))?,
            from_tag: tag("from-tag").ok_or(fault("no from-tag"))?,
            early_only: parameters.get("early-only").is_some(),
        })
    }

    /// Writes the value as it stands in the headers of a URI (RFC 3261 §19.1.1): everything but letters and digits is escaped.
    #[must_use]
    pub fn escaped(&self) -> String {
        let parts: [&[u8]; 5] = [&self.call_id, b";to-tag=", &self.to_tag, b";from-tag=", &self.from_tag];
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let escape = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        parts.concat().into_iter().map(escape).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::uri::decoded;

    #[test]
    fn reads_back_and_refuses() {
        let replaces = Replaces::parse(b" 12adf2f34456gs5@h;to-tag=12345;from-tag=54321;early-only ").unwrap();
        assert_eq!((replaces.call_id.as_slice(), replaces.early_only), (&b"12adf2f34456gs5@h"[..], true));
        let escaped = replaces.escaped();
        assert_eq!(escaped, "12adf2f34456gs5%40h%3Bto-tag%3D12345%3Bfrom-tag%3D54321");
        let again = Replaces::parse(decoded(escaped.as_bytes()).as_bytes()).unwrap();
        assert_eq!(again, Replaces { early_only: false, ..replaces });
        for text in [
            "",
            ";to-tag=1;from-tag=2",
            "x;to-tag=1",
            "x;from-tag=1",
            "x;to-tag=;from-tag=1",
            "a b;to-tag=1;from-tag=2",
            "x;to-tag=1;from-tag=2, y",
        ] {
            assert!(Replaces::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}

//! `name-addr` and `addr-spec` (RFC 3261 §20.10, §25.1): the value of From, To, Contact, Route and Record-Route.

use super::parameters::Parameters;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, is_lws, is_token, text, trim};
use crate::sip::uri::Uri;

/// One address with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Display name as written, without the outer quotes.
    display: &'a [u8],
    /// The URI.
    pub uri: Uri<'a>,
    /// The URI as written, without angle brackets.
    pub uri_text: &'a [u8],
    /// Parameters of the header. Behind an URI without angle brackets every `;` begins one of these (RFC 3261 §20.10).
    pub parameters: Parameters<'a>,
}

impl<'a> Address<'a> {
    /// Reads a value that is one address: From, To.
    ///
    /// # Errors
    /// [`Malformed`] when it breaks the grammar or more follows.
    pub fn parse(header: Name, value: &'a [u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header, what };
        let mut cursor = Cursor::new(value);
        let address = Self::read(&mut cursor).map_err(fault)?;
        if cursor.is_empty() { Ok(address) } else { Err(fault("text behind the address")) }
    }

    /// Reads a value that is a list of addresses, each given to `each`: Contact, Route, Record-Route.
    ///
    /// # Errors
    /// [`Malformed`] at the first element that breaks the grammar.
    pub fn parse_list(header: Name, value: &'a [u8], mut each: impl FnMut(Self)) -> Result<(), Malformed> {
        let fault = |what| Malformed { header, what };
        let mut cursor = Cursor::new(value);
        loop {
            each(Self::read(&mut cursor).map_err(fault)?);
            if !cursor.take_separator(b',') {
                return if cursor.is_empty() { Ok(()) } else { Err(fault("text behind the address")) };
            }
        }
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        cursor.skip_lws();
        let (display, bracketed) = read_display(cursor)?;
        let uri_text = if bracketed {
            cursor.take_until(b'>').ok_or("angle bracket never closed")?
        } else {
            // Without brackets `;`, `?` and `,` do not belong to the URI (RFC 3261 §20).
            cursor.take_while(|byte| !is_lws(byte) && !matches!(byte, b';' | b',' | b'?' | b'>'))
        };
        let uri = Uri::parse(uri_text).map_err(|error| error.0)?;
        let parameters = Parameters::parse(cursor)?;
        Ok(Self { display, uri, uri_text, parameters })
    }

    /// The tag of From or To (RFC 3261 §19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.parameters.value("tag")
    }

    /// Display name for people: escapes of a quoted string undone.
    #[must_use]
    pub fn display_text(&self) -> String {
        let mut plain = Vec::with_capacity(self.display.len());
        let mut bytes = self.display.iter();
        while let Some(&byte) = bytes.next() {
            plain.extend(if byte == b'\\' { bytes.next().copied() } else { Some(byte) });
        }
        text(&plain)
    }
}

/// Reads the display name and the opening bracket; `false` when the address has no brackets (then nothing is read).
fn read_display<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], bool), &'static str> {
    if cursor.peek() == Some(b'"') {
        let display = cursor.quoted().ok_or("quote never closed")?;
        return if cursor.take_separator(b'<') { Ok((display, true)) } else { Err("no angle bracket behind the name") };
    }
    let mut ahead = *cursor;
    // `display-name = *(token LWS)`; bytes above ASCII are no token characters, yet phones send names in UTF-8 unquoted.
    let display = ahead.take_while(|byte| is_token(byte) || is_lws(byte) || byte >= 0x80);
    if ahead.take(b'<') {
        *cursor = ahead;
        return Ok((trim(display), true));
    }
    Ok((b"", false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(value: &str) -> Address<'_> {
        Address::parse(Name::From, value.as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    #[test]
    fn quoted_names_lose_their_escapes() {
        let from = address("\"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8");
        assert_eq!(from.display_text(), "J Rosenberg \\\"");
        assert_eq!(from.uri_text, b"sip:jdrosen@example.com");
        assert_eq!(from.tag(), Some(&b"98asjd8"[..]));
    }

    #[test]
    fn names_may_be_tokens_utf8_or_touch_the_bracket() {
        assert_eq!(address("caller<sip:caller@example.com>;tag=323").display_text(), "caller");
        assert_eq!(address("token1~` token2'+_ <sip:a@b>").display_text(), "token1~` token2'+_");
        assert_eq!(address("José Pérez <sip:a@b>").display_text(), "José Pérez");
    }

    /// RFC 3261 §20.10: without brackets, parameters are the header's.
    #[test]
    fn brackets_decide_whose_the_parameters_are() {
        let bare = address("sip:+16505552222@ss1.example.net;user=phone;tag=1");
        assert!(!bare.uri.has_parameter("user"));
        assert_eq!(bare.parameters.value("user"), Some(&b"phone"[..]));
        let bracketed = address("<sip:+1@ss1.example.net;user=phone>;tag=1");
        assert!(bracketed.uri.has_parameter("user"));
        assert_eq!(bracketed.parameters.get("user"), None);
    }

    #[test]
    fn lists_are_split_at_their_commas_only() {
        let value = b"<sip:a,b@h;lr>, \"x, y\" <sip:c@h>;q=1 ,sip:d@h";
        let mut users = Vec::new();
        Address::parse_list(Name::Contact, value, |address| users.push(address.uri.user_text())).unwrap();
        assert_eq!(users, ["a,b", "c", "d"]);
    }

    #[test]
    fn broken_addresses_are_refused() {
        for value in [
            "",
            "\"Mr. J. User <sip:j.user@example.com>",
            "Bell, Alexander <sip:a@b>",
            "<sip:a@b",
            "sip:a@b>",
            "\"x\" sip:a@b",
            "\"x\" < sip:a@b >",
            "<sip:a@b>;;",
            "<sip:a@b> x",
            "sip:user@example.com?Route=%3Csip:x%3E",
        ] {
            assert!(Address::parse(Name::To, value.as_bytes()).is_err(), "{value}");
        }
    }
}

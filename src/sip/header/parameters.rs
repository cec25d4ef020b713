//! `;name=value` parameters behind a header's value (`generic-param`, RFC 3261 §25.1).

use crate::sip::cursor::{Cursor, is_lws};

/// Checked parameters, still as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'a>(&'a [u8]);

impl<'a> Parameters<'a> {
    /// Reads `*(SEMI generic-param)` and stops before what is neither a parameter nor white space.
    ///
    /// # Errors
    /// A text for an empty or broken parameter (`;;`) and for a value without closing quote.
    pub fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        Self::parse_each(cursor, |_, _, _| ())
    }

    /// The same, and tells of each parameter: its name, its value, and the offset behind the name. A header that every message has
    /// need not look for its parameters again.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_each(
        cursor: &mut Cursor<'a>,
        mut each: impl FnMut(&'a [u8], Option<&'a [u8]>, usize),
    ) -> Result<Self, &'static str> {
        let text = cursor.rest();
        let start = cursor.offset();
        while cursor.take_separator(b';') {
            let name_at = cursor.offset();
            let (name, value) = read_parameter(cursor)?;
            each(name, value, name_at + name.len());
        }
        Ok(Self(text.get(..cursor.offset() - start).unwrap_or_default()))
    }

    /// `(name, value)` in order; quotes are stripped, a missing value is `None`.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || cursor.take_separator(b';').then(|| read_parameter(&mut cursor).ok()).flatten())
    }

    /// The first parameter of this name: `Some(None)` when it has no value.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of the first parameter of this name.
    #[must_use]
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.get(name).flatten()
    }
}

type Parameter<'a> = (&'a [u8], Option<&'a [u8]>);

fn read_parameter<'a>(cursor: &mut Cursor<'a>) -> Result<Parameter<'a>, &'static str> {
    let name = cursor.token().ok_or("empty or broken parameter")?;
    if !cursor.take_separator(b'=') {
        return Ok((name, None));
    }
    if cursor.peek() == Some(b'"') {
        return Ok((name, Some(cursor.quoted().ok_or("quote never closed")?)));
    }
    // `gen-value` is a token or a host. IPv6 stands in `received` with and without brackets (RFC 5118 §4.5), so `:` and
    // brackets are read too; anything that ends a parameter or a list element is not.
    let value =
        cursor.take_while(|byte| !is_lws(byte) && byte > b' ' && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>'));
    if value.is_empty() { Err("parameter without value") } else { Ok((name, Some(value))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_quoted_spaced_or_absent() {
        let mut cursor =
            Cursor::new("; newparam =\r\n newvalue ;\r\n  secondparam ; q = 0.33;x=\"a;b, ю\" , next".as_bytes());
        let parameters = Parameters::parse(&mut cursor).unwrap();
        assert_eq!(cursor.rest(), b", next");
        assert_eq!(parameters.value("NEWPARAM"), Some(&b"newvalue"[..]));
        assert_eq!(parameters.get("secondparam"), Some(None));
        assert_eq!(parameters.value("x"), Some("a;b, ю".as_bytes()));
        assert_eq!(parameters.get("missing"), None);
        assert_eq!(parameters.iter().count(), 4);
    }

    #[test]
    fn empty_parameters_and_open_quotes_are_refused() {
        for text in [";;", ";", ";a=", ";a=\"x", "; ,"] {
            assert!(Parameters::parse(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
    }
}

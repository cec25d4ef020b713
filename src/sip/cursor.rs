//! A reading position in the bytes of one header value or URI, with the tokens of RFC 3261 §25.1.
//!
//! The bytes may hold anything, NUL and broken UTF-8 included; nothing here indexes without a check. Linear white space
//! (LWS) contains CR and LF, for a folded value keeps its line ends (RFC 3261 §7.3.1).

/// A position in borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether everything was read.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte, which stays unread.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Reads `byte` if it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// Reads white space, folds included.
    #[inline]
    pub fn skip_lws(&mut self) {
        self.take_while(is_lws);
    }

    /// Reads white space, then `byte` if it is next, then white space (`SEMI`, `COMMA`, `SLASH` … of the grammar). When
    /// `byte` is not next, only the white space before it was read.
    #[inline]
    pub fn take_separator(&mut self, byte: u8) -> bool {
        self.skip_lws();
        let found = self.take(byte);
        if found {
            self.skip_lws();
        }
        found
    }

    /// Reads as long as `accept` holds; perhaps nothing.
    #[inline]
    pub fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !accept(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Reads up to `byte`, and that as well; gives what stands before it. `None`, and nothing read, when it does not come.
    #[inline]
    pub fn take_until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let (rest, length) = (self.rest(), memchr::memchr(byte, self.rest())?);
        self.at += length + 1;
        rest.get(..length)
    }

    /// Reads a token; `None` when the next byte cannot stand in one.
    #[inline]
    pub fn token(&mut self) -> Option<&'a [u8]> {
        let token = self.take_while(is_token);
        (!token.is_empty()).then_some(token)
    }

    /// Reads a quoted string and gives what stands between the quotes, escapes untouched; `None`, and nothing read, when
    /// there is no opening or no closing quote.
    pub fn quoted(&mut self) -> Option<&'a [u8]> {
        let inner = self.rest().strip_prefix(b"\"")?;
        let mut escaped = false;
        for (length, &byte) in inner.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at += length + 2;
                    return inner.get(..length);
                }
                _ => {}
            }
        }
        None
    }
}

/// White space of a header value. A folded value holds CR and LF.
#[must_use]
#[inline]
pub fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `token` of RFC 3261 §25.1.
#[must_use]
#[inline]
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Which bytes stand in a token. Looked up, for it is asked of every third byte of a message.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
};

/// `bytes` without white space at either end.
#[must_use]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// So many digits always fit 64 bits.
const NEVER_OVERFLOWS: usize = 19;

/// A decimal number that fits; `None` for signs, blanks, emptiness and overflow.
#[must_use]
pub fn decimal<T: TryFrom<u64>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for &digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value = if digits.len() <= NEVER_OVERFLOWS {
            value.wrapping_mul(10).wrapping_add(digit)
        } else {
            value.checked_mul(10)?.checked_add(digit)?
        };
    }
    T::try_from(value).ok()
}

/// Text for people and logs: bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_ends_at_the_first_quote_that_is_not_escaped() {
        let mut cursor = Cursor::new(br#""a \" b\\" rest"#);
        assert_eq!(cursor.quoted(), Some(&br#"a \" b\\"#[..]));
        assert_eq!(cursor.rest(), b" rest");
        let mut open = Cursor::new(br#""never closed\""#);
        assert_eq!(open.quoted(), None);
        assert_eq!(open.offset(), 0);
    }

    #[test]
    fn separators_eat_folds() {
        let mut cursor = Cursor::new(b"a \r\n ; \tb");
        assert_eq!(cursor.token(), Some(&b"a"[..]));
        assert!(cursor.take_separator(b';'));
        assert_eq!(cursor.token(), Some(&b"b"[..]));
        assert!(cursor.is_empty());
    }

    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(decimal::<u32>(b"0068"), Some(68));
        assert_eq!(decimal::<u32>(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal::<u32>(b"4294967296"), None);
        assert_eq!(decimal::<u64>(b"99999999999999999999999999"), None);
        assert_eq!(decimal::<u32>(b"-1"), None);
        assert_eq!(decimal::<u32>(b""), None);
    }
}

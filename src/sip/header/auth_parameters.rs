//! `auth-scheme *(name=value)` (RFC 3261 §25.1, RFC 7235 §2.1): what challenges and credentials are made of.

use crate::sip::cursor::{Cursor, is_lws};

/// Most parameters of one header: digest has twelve.
pub const PARAMETERS_MAX: usize = 32;

/// Reads a value whose scheme is `Digest`, each parameter given to `each` as name and value: quotes stripped, escapes untouched.
/// `None` for another scheme.
///
/// # Errors
/// A text for what breaks the grammar, and for more than [`PARAMETERS_MAX`].
pub fn read_digest<'a>(value: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<Result<(), &'static str>> {
    let mut cursor = Cursor::new(value);
    cursor.skip_lws();
    let scheme = cursor.token()?;
    if !scheme.eq_ignore_ascii_case(b"Digest") {
        return None;
    }
    Some((|| {
        for _ in 0..PARAMETERS_MAX {
            cursor.skip_lws();
            let name = cursor.token().ok_or("empty or broken parameter")?;
            if !cursor.take_separator(b'=') {
                return Err("parameter without value");
            }
            each(name, read_value(&mut cursor)?);
            if !cursor.take_separator(b',') {
                return if cursor.is_empty() { Ok(()) } else { Err("text behind the parameters") };
            }
        }
        Err("too many parameters")
    })())
}

fn read_value<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], &'static str> {
    if cursor.peek() == Some(b'"') {
        return cursor.quoted().ok_or("quote never closed");
    }
    // Some phones leave URIs and nonces unquoted, which hold what no token may.
    let value = cursor.take_while(|byte| !is_lws(byte) && byte > b' ' && !matches!(byte, b',' | b'"'));
    if value.is_empty() { Err("parameter without value") } else { Ok(value) }
}

/// A quoted value with its escapes undone.
#[must_use]
pub fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        plain.extend(if byte == b'\\' { bytes.next().copied() } else { Some(byte) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Result<Vec<String>, &'static str>> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let result = read_digest(value.as_bytes(), |name, value| found.push(format!("{}={}", text(name), text(value))));
        result.map(|result| result.map(|()| found))
    }

    #[test]
    fn values_may_be_quoted_bare_folded_or_spaced() {
        let found = read("digest  realm = \"a \\\"b\\\", c\" ,\r\n nc=00000001,uri=sip:a@b;x=y").unwrap().unwrap();
        assert_eq!(found, ["realm=a \\\"b\\\", c", "nc=00000001", "uri=sip:a@b;x=y"]);
        assert_eq!(unescaped(b"a \\\"b\\\" \\\\"), b"a \"b\" \\");
        assert_eq!(unescaped(b"open\\"), b"open");
    }

    #[test]
    fn other_schemes_are_none_and_broken_ones_are_told() {
        assert_eq!(read("Basic YWxhZGRpbg=="), None);
        assert_eq!(read(""), None);
        for value in [
            "Digest",
            "Digest realm",
            "Digest realm=",
            "Digest a=\"b",
            "Digest a=b;c=d x",
            "Digest a=b,,c=d",
            "Digest a=b,",
        ] {
            assert!(read(value).unwrap().is_err(), "{value}");
        }
        let many = |count: usize| format!("Digest {}", vec!["a=b"; count].join(","));
        assert!(read(&many(PARAMETERS_MAX)).unwrap().is_ok() && read(&many(PARAMETERS_MAX + 1)).unwrap().is_err());
    }
}

//! Reason (RFC 3326): why we send BYE or CANCEL, in words a peer's operator understands.

/// Writes `SIP;cause=…;text="…"`. `text` may be anything: it is quoted, its quotes and line ends are taken care of.
pub fn write(cause: u16, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("SIP;cause={cause};text=\"").as_bytes());
    write_quoted(text, out);
    out.push(b'"');
}

/// Writes the inside of a quoted string. Control characters become blanks, so that no text of ours or of a flow's author
/// can end a header line.
pub fn write_quoted(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            ..b' ' | 0x7f => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::cursor::Cursor;
    use crate::sip::header::parameters::Parameters;

    #[test]
    fn no_text_breaks_out_of_its_quotes() {
        let mut out = Vec::new();
        write(200, "menú \"x\"\r\nVia: evil\\", &mut out);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), "SIP;cause=200;text=\"menú \\\"x\\\"  Via: evil\\\\\"");
        let mut cursor = Cursor::new(&out);
        assert_eq!(cursor.token(), Some(&b"SIP"[..]));
        let parameters = Parameters::parse(&mut cursor).unwrap();
        assert!(cursor.is_empty());
        assert_eq!(parameters.value("cause"), Some(&b"200"[..]));
    }
}

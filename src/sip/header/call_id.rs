//! Call-ID (RFC 3261 §20.8): compared byte for byte, kept as it came.

use super::{Malformed, Name};
use crate::sip::cursor::trim;

/// Reads a Call-ID: `word [ "@" word ]`, which is any run of visible characters.
///
/// # Errors
/// [`Malformed`] when it is empty or has white space or a control byte inside.
pub fn parse(value: &[u8]) -> Result<&[u8], Malformed> {
    let call_id = trim(value);
    let broken = call_id.is_empty() || call_id.iter().any(|&byte| byte <= b' ');
    if broken { Err(Malformed { header: Name::CallId, what: "empty or with blanks" }) } else { Ok(call_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_is_kept() {
        let odd = br#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#;
        assert_eq!(parse(odd), Ok(&odd[..]));
        assert_eq!(parse(b" \r\n a@b "), Ok(&b"a@b"[..]));
        assert!(parse(b" ").is_err());
        assert!(parse(b"a b").is_err());
    }
}

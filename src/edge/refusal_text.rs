//! What a far end says of its refusal: the reason phrase of its response, and the text of its Warning (RFC 3261 §20.43) or Reason
//! (RFC 3326). Read for people who test, from a datagram that the user agent reads by itself; nothing is decided by it.

/// `404 Not Found: no flow answers this number`; `None` when this is no refusal of an INVITE. Control characters, which could
/// write on a terminal, are left out, and so is what comes after [`TEXT_MAX`] characters.
#[must_use]
pub fn of(datagram: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(datagram);
    let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
    let (status, phrase) = lines.next()?.strip_prefix("SIP/2.0 ")?.split_once(' ')?;
    if !status.parse::<u16>().is_ok_and(|status| (300..700).contains(&status)) {
        return None;
    }
    let (mut refuses_invite, mut why) = (false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let is = |long: &str| name.trim_end().eq_ignore_ascii_case(long);
        refuses_invite |= is("CSeq") && value.trim_end().ends_with("INVITE");
        if why.is_none() && (is("Warning") || is("Reason")) {
            why = quoted(value);
        }
    }
    let said = why.map_or_else(|| format!("{status} {phrase}"), |why| format!("{status} {phrase}: {why}"));
    refuses_invite.then(|| said.chars().filter(|character| !character.is_control()).take(TEXT_MAX).collect())
}

/// The inside of the first quoted string.
fn quoted(value: &str) -> Option<String> {
    let mut inside = String::new();
    let mut characters = value.split_once('"')?.1.chars();
    loop {
        match characters.next()? {
            '"' => return Some(inside),
            '\\' => inside.push(characters.next()?),
            other => inside.push(other),
        }
    }
}

/// More is not read by anybody.
pub const TEXT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_reason_and_writes_on_no_terminal() {
        let response =
            |head: &str, rest: &str| of(format!("SIP/2.0 {head}\r\nCSeq: 1 INVITE\r\n{rest}\r\n\r\nv=0").as_bytes());
        assert_eq!(response("486 Busy Here", "To: x").as_deref(), Some("486 Busy Here"));
        assert_eq!(
            response("404 Not Found", "warning : 399 192.0.2.1 \"no \\\"flow\\\" here\"").as_deref(),
            Some("404 Not Found: no \"flow\" here")
        );
        assert_eq!(
            response("603 Decline", "Reason: Q.850;cause=21;text=\"call \u{1b}[31mrejected\"").as_deref(),
            Some("603 Decline: call [31mrejected")
        );
        assert_eq!(
            response("488 Not Acceptable Here", "Warning: 399 x \"cut").as_deref(),
            Some("488 Not Acceptable Here")
        );
        assert_eq!(response(&format!("500 {}", "x".repeat(999)), "").map(|text| text.len()), Some(TEXT_MAX));
        for other in ["180 Ringing", "200 OK", "99 x", "nonsense"] {
            assert_eq!(response(other, ""), None, "{other}");
        }
        assert_eq!(of(b"SIP/2.0 481 Gone\r\nCSeq: 2 BYE\r\n\r\n"), None);
        assert_eq!(of(b""), None);
    }
}

//! Allow (RFC 3261 §20.5): the methods that a peer takes.

use crate::sip::cursor::trim;
use crate::sip::method::Method;

/// Whether one of these Allow lines names the method.
pub fn names<'a>(lines: impl Iterator<Item = &'a [u8]>, method: Method) -> bool {
    let mut methods = lines.flat_map(|line| line.split(|&byte| byte == b',')).map(trim);
    methods.any(|name| name == method.name().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_stand_in_lists_and_lines() {
        let lines: [&[u8]; 2] = [b"INVITE, ACK", b" BYE ,\r\n UPDATE"];
        let allows = |method| names(lines.into_iter(), method);
        assert!(allows(Method::Update) && allows(Method::Bye) && allows(Method::Invite));
        assert!(!allows(Method::Refer));
        assert!(!names([&b"update, UPDATES"[..]].into_iter(), Method::Update), "methods are case-sensitive");
    }
}

//! CSeq (RFC 3261 §20.16): the number and method that order the requests of one dialog.

use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, decimal, trim};
use crate::sip::method::Method;

/// A sequence number and its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// `0..=u32::MAX`. RFC 3261 §8.1.1.5 asks senders for less than 2³¹; RFC 4475 §3.1.2.4 refuses 2³² only.
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method as written, to compare unknown ones.
    pub method_name: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads a CSeq header's value.
    ///
    /// # Errors
    /// [`Malformed`] when the number does not fit or the method is missing.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::CSeq, what };
        let mut cursor = Cursor::new(trim(value));
        let number = cursor.take_while(|byte| byte.is_ascii_digit());
        let number = decimal(number).ok_or(fault("number missing or above 2^32-1"))?;
        cursor.skip_lws();
        let method_name = cursor.token().ok_or(fault("no method"))?;
        if !cursor.is_empty() {
            return Err(fault("text behind the method"));
        }
        Ok(Self { number, method: Method::of(method_name), method_name })
    }
}

/// Writes a CSeq value.
pub fn write(number: u32, method: Method, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{number} {method}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses() {
        let mut out = Vec::new();
        write(4_711, Method::Invite, &mut out);
        assert_eq!(CSeq::parse(&out), Ok(CSeq { number: 4_711, method: Method::Invite, method_name: b"INVITE" }));
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE ").map(|cseq| cseq.number), Ok(9));
        assert_eq!(CSeq::parse(b"1 NEW").map(|cseq| (cseq.method, cseq.method_name)), Ok((Method::Other, &b"NEW"[..])));
        for value in ["36893488147419103232 REGISTER", "4294967296 BYE", "INVITE", "1", "-1 BYE", "1 BYE x", ""] {
            assert!(CSeq::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}

//! RSeq and RAck (RFC 3262 §7): which provisional response is to be acknowledged, and which one is.

use super::cseq::CSeq;
use super::{Malformed, Name};
use crate::sip::cursor::{Cursor, decimal, trim};
use crate::sip::method::Method;

/// Reads an RSeq value; `None` when there is no number of 32 bits.
#[must_use]
pub fn rseq(value: &[u8]) -> Option<u32> {
    decimal(trim(value))
}

/// Writes an RSeq value.
pub fn write_rseq(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// What a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the response.
    pub response: u32,
    /// The number in its CSeq.
    pub cseq: u32,
    /// The method in its CSeq.
    pub method: Method,
}

impl RAck {
    /// Reads a RAck value.
    ///
    /// # Errors
    /// [`Malformed`] when one of both numbers or the method is missing.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let fault = |what| Malformed { header: Name::RAck, what };
        let mut cursor = Cursor::new(trim(value));
        let response = cursor.take_while(|byte| byte.is_ascii_digit());
        let response = decimal(response).ok_or(fault("no number of a response"))?;
        cursor.skip_lws();
        let CSeq { number, method, .. } = CSeq::parse(cursor.rest()).map_err(|error| fault(error.what))?;
        Ok(Self { response, cseq: number, method })
    }

    /// Writes the value.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {} {}", self.response, self.cseq, self.method).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses() {
        let rack = RAck { response: 776_656, cseq: 1, method: Method::Invite };
        let mut out = Vec::new();
        rack.write(&mut out);
        assert_eq!(out, b"776656 1 INVITE");
        assert_eq!(RAck::parse(&out), Ok(rack));
        assert_eq!(RAck::parse(b" 776656\r\n 1   INVITE "), Ok(rack));
        for text in ["", "1 INVITE", "x 1 INVITE", "1 1", "4294967296 1 INVITE", "1 1 INVITE x"] {
            assert!(RAck::parse(text.as_bytes()).is_err(), "{text}");
        }
        let mut out = Vec::new();
        write_rseq(7, &mut out);
        assert_eq!((rseq(&out), rseq(b" 12 "), rseq(b"-1"), rseq(b"")), (Some(7), Some(12), None, None));
    }
}

//! The headers that every request must carry (RFC 3261 §8.1.1), read and checked together, once a message.

use super::header::address::Address;
use super::header::cseq::CSeq;
use super::header::via::Via;
use super::header::{Name, call_id, content_type::ContentType, max_forwards};
use super::message::{Fault, Message, StartLine, VIAS_MAX};
use super::method::Method;
use super::uri::Uri;

/// A request that is well formed as far as the core of SIP goes.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Its method.
    pub method: Method,
    /// Its Request-URI.
    pub uri: Uri<'a>,
    /// The topmost Via.
    pub via: Via<'a>,
    /// Who sends.
    pub from: Address<'a>,
    /// Who is meant.
    pub to: Address<'a>,
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The CSeq.
    pub cseq: CSeq<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// The first [`Fault`]: version, then line syntax, then headers missing, repeated or malformed.
    pub fn read(message: &'a Message) -> Result<Self, Fault> {
        let StartLine::Request { method, uri } = message.start_line() else {
            return Err(Fault::RequestLine("not a request"));
        };
        if let Some(fault) = message.fault() {
            return Err(fault);
        }
        if let Some(name) = message.repeated() {
            return Err(Fault::Repeated(name));
        }
        let must = |name| message.value(name).ok_or(Fault::Missing(name));
        let via = read_vias(message)?;
        let from = Address::parse(Name::From, must(Name::From)?)?;
        let to = Address::parse(Name::To, must(Name::To)?)?;
        let call_id = call_id::parse(must(Name::CallId)?)?;
        let cseq = CSeq::parse(must(Name::CSeq)?)?;
        // An unknown method gets its 501 whatever CSeq says (RFC 4475 §3.1.2.18).
        if cseq.method_name != message.method_name() && method != Method::Other {
            return Err(Fault::CSeqMethod);
        }
        // Absent in RFC 2543 requests, so not asked for.
        message.value(Name::MaxForwards).map(max_forwards::parse).transpose()?;
        message.value(Name::ContentType).map(ContentType::parse).transpose()?;
        let uri = Uri::parse(uri).map_err(|error| Fault::RequestLine(error.0))?;
        Ok(Self { method, uri, via, from, to, call_id, cseq })
    }
}

/// The topmost Via of a request, all of them checked and counted.
fn read_vias(message: &Message) -> Result<Via<'_>, Fault> {
    let mut values = message.values(Name::Via);
    let first = values.next().ok_or(Fault::Missing(Name::Via))?;
    let (via, mut hops) = Via::parse_all(first)?;
    // Lower hops are the proxies' business and only copied (RFC 4475 §3.1.1.10), but their number is bounded.
    for value in values {
        hops += 1 + value.iter().filter(|&&byte| byte == b',').count();
    }
    if hops > VIAS_MAX { Err(Fault::TooManyVias) } else { Ok(via) }
}

/// What a response must carry for us: read leniently, for what is unreadable matches no transaction of ours.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEnvelope<'a> {
    /// 100 to 699.
    pub status: u16,
    /// Our own Via, with our branch.
    pub via: Via<'a>,
    /// The peer's address and, in a dialog, its tag.
    pub to: Address<'a>,
    /// Number and method of our request.
    pub cseq: CSeq<'a>,
}

impl<'a> ResponseEnvelope<'a> {
    /// Reads a response to a request of ours; `None` for anything broken, and for more than one Via, for a user agent is where
    /// the last one is taken off (RFC 3261 §8.1.3.3).
    #[must_use]
    pub fn read(message: &'a Message) -> Option<Self> {
        let StartLine::Response { status: status @ 100.. } = message.start_line() else { return None };
        if message.fault().is_some() || message.repeated().is_some() {
            return None;
        }
        let mut vias = message.values(Name::Via);
        let value = vias.next()?;
        let (via, hops) = Via::parse_all(value).ok()?;
        if hops > 1 || vias.next().is_some() {
            return None;
        }
        Some(Self {
            status,
            via,
            to: Address::parse(Name::To, message.value(Name::To)?).ok()?,
            cseq: CSeq::parse(message.value(Name::CSeq)?).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const GOOD: &str = "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n\
        To: <sip:a@example.com>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 0\r\n\r\n";

    fn fault(text: &str) -> Option<Fault> {
        let message = Message::scan(Bytes::copy_from_slice(text.as_bytes())).expect("a message");
        Envelope::read(&message).err()
    }

    #[test]
    fn each_mandatory_header_is_missed() {
        assert_eq!(fault(GOOD), None);
        for (line, name) in [
            ("Via", Name::Via),
            ("From", Name::From),
            ("To", Name::To),
            ("Call-ID", Name::CallId),
            ("CSeq", Name::CSeq),
        ] {
            assert_eq!(fault(&GOOD.replace(&format!("{line}: "), "X: ")), Some(Fault::Missing(name)));
        }
        assert_eq!(fault(&GOOD.replace("Max-Forwards: 0", "X: 0")), None);
    }

    #[test]
    fn methods_must_agree_unless_unknown() {
        assert_eq!(fault(&GOOD.replace("7 OPTIONS", "7 INVITE")), Some(Fault::CSeqMethod));
        assert_eq!(fault(&GOOD.replace("OPTIONS sip", "NEWMETHOD sip")), None);
    }

    #[test]
    fn hops_are_bounded() {
        let hops = |count: usize| GOOD.replace("CSeq", &format!("{}CSeq", "Via: SIP/2.0/UDP h\r\n".repeat(count)));
        assert_eq!(fault(&hops(VIAS_MAX - 1)), None);
        assert_eq!(fault(&hops(VIAS_MAX)), Some(Fault::TooManyVias));
    }

    #[test]
    fn a_response_for_others_is_not_ours() {
        let ours = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:a@b>;tag=9\r\nCSeq: 1 BYE\r\n\r\n";
        let read = |text: &str| {
            let message = Message::scan(Bytes::copy_from_slice(text.as_bytes())).expect("a message");
            ResponseEnvelope::read(&message).map(|envelope| envelope.status)
        };
        assert_eq!(read(ours), Some(200));
        assert_eq!(read(&ours.replace("To:", "Via: SIP/2.0/UDP proxy\r\nTo:")), None);
        assert_eq!(read(&ours.replace("200 OK", "4294967301 better")), None);
    }
}

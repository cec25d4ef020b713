//! Which server transaction a request belongs to (RFC 3261 §17.2.3), and which requests are one request that came by two
//! ways (§8.2.2.2).

use crate::sip::envelope::Envelope;
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::uri::Host;

/// Bytes that are equal exactly for requests of one transaction.
pub type Key = Box<[u8]>;

/// Separates the parts of a key. Only a quoted, folded tag can hold it, and then confuses its sender with nobody but itself.
const SEPARATOR: u8 = b'\n';

/// The key of a request's server transaction. ACK and CANCEL ask with `Method::Invite` for the transaction of the INVITE.
#[must_use]
pub fn of(message: &Message, envelope: &Envelope<'_>, method: Method) -> Key {
    let method_name = if method == Method::Other { message.method_name() } else { method.name().as_bytes() };
    let mut key = Vec::with_capacity(96);
    match envelope.via.branch.filter(|_| envelope.via.has_unique_branch()) {
        Some(branch) => {
            // Branch, sent-by and method.
            join(&mut key, &[branch, method_name]);
            match envelope.via.host {
                Host::Name(text) | Host::V6(text) => key.extend_from_slice(text),
                Host::V4(address) => key.extend_from_slice(&address.octets()),
            }
            key.extend_from_slice(&envelope.via.port.unwrap_or_default().to_be_bytes());
        }
        None => {
            // RFC 2543 senders: Request-URI, From tag, Call-ID, CSeq number and the top Via. The To tag is left out, for the ACK has one
            // and its INVITE has none; a re-INVITE differs by its CSeq.
            let uri = match message.start_line() {
                StartLine::Request { uri, .. } => uri,
                StartLine::Response { .. } => b"",
            };
            let via = message.value(crate::sip::header::Name::Via).unwrap_or_default();
            let from_tag = envelope.from.tag().unwrap_or_default();
            join(&mut key, &[b"2543", method_name, uri, from_tag, envelope.call_id, via]);
            key.extend_from_slice(envelope.cseq.number.to_string().as_bytes());
        }
    }
    key.into_boxed_slice()
}

/// The key that a request without To tag shares with its copies that came by another way: From tag, Call-ID, CSeq.
#[must_use]
pub fn merged(envelope: &Envelope<'_>) -> Key {
    let mut key = Vec::with_capacity(96);
    join(&mut key, &[envelope.from.tag().unwrap_or_default(), envelope.call_id, envelope.cseq.method_name]);
    key.extend_from_slice(envelope.cseq.number.to_string().as_bytes());
    key.into_boxed_slice()
}

fn join(key: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        key.extend_from_slice(part);
        key.push(SEPARATOR);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn key(method: &str, via: &str, extra: &str) -> Key {
        let text = format!(
            "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>{extra}\r\n\
            Call-ID: x\r\nCSeq: 5 {method}\r\n\r\n"
        );
        let message = Message::scan(Bytes::from(text)).unwrap();
        let envelope = Envelope::read(&message).unwrap();
        let method = if envelope.method == Method::Ack { Method::Invite } else { envelope.method };
        of(&message, &envelope, method)
    }

    #[test]
    fn branch_sent_by_and_method_make_the_key() {
        let invite = key("INVITE", "h:5060;branch=z9hG4bKa", "");
        assert_eq!(invite, key("ACK", "h:5060;branch=z9hG4bKa", ";tag=2"));
        assert_ne!(invite, key("CANCEL", "h:5060;branch=z9hG4bKa", ""));
        assert_ne!(invite, key("INVITE", "h:5061;branch=z9hG4bKa", ""));
        assert_ne!(invite, key("INVITE", "h:5060;branch=z9hG4bKb", ""));
    }

    /// RFC 4475 §3.2.1: a bare cookie is no branch.
    #[test]
    fn without_a_unique_branch_the_old_rules_hold() {
        let invite = key("INVITE", "h;branch=z9hG4bK", "");
        assert_eq!(invite, key("ACK", "h;branch=z9hG4bK", ";tag=2"));
        assert_ne!(invite, key("INVITE", "other;branch=z9hG4bK", ""));
        assert_ne!(invite, key("BYE", "h;branch=z9hG4bK", ""));
    }
}

//! Which server transaction a request belongs to (RFC 3261 §17.2.3), and which requests are one request that came by two
//! ways (§8.2.2.2).

use std::hash::{DefaultHasher, Hasher};

use crate::ids::Ids;
use crate::sip::envelope::Envelope;
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::uri::Host;

/// Names a transaction among those of one user agent, in sixteen bytes: with thousands of calls that have just ended, what would be kept
/// of each is what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u64; 2]);

/// Makes keys: hashes under a secret, so that nobody can make two requests meet, and by chance they do not.
#[derive(Clone, Debug)]
pub struct Keys {
    secret: [u64; 4],
}

/// Separates the parts of a key. Only a quoted, folded tag can hold it, and then confuses its sender with nobody but itself.
const SEPARATOR: u8 = b'\n';

impl Keys {
    /// Under a secret of its own.
    #[must_use]
    pub fn new(ids: &mut Ids) -> Self {
        Self { secret: std::array::from_fn(|_| ids.next_u64()) }
    }

    /// The key of a request's server transaction. ACK and CANCEL ask with `Method::Invite` for the transaction of the INVITE.
    #[must_use]
    pub fn of(&self, message: &Message, envelope: &Envelope<'_>, method: Method) -> Key {
        let method_name = if method == Method::Other { message.method_name() } else { method.name().as_bytes() };
        let mut key = self.begin();
        match envelope.via.branch.filter(|_| envelope.via.has_unique_branch()) {
            Some(branch) => {
                // Branch, sent-by and method.
                key.join(&[branch, method_name]);
                match envelope.via.host {
                    Host::Name(text) | Host::V6(text) => key.join(&[text]),
                    Host::V4(address) => key.join(&[&address.octets()]),
                }
                key.join(&[&envelope.via.port.unwrap_or_default().to_be_bytes()]);
            }
            None => {
                // RFC 2543 senders: Request-URI, From tag, Call-ID, CSeq number and the top Via. The To tag is left out, for the ACK
                // has one and its INVITE has none; a re-INVITE differs by its CSeq.
                let uri = match message.start_line() {
                    StartLine::Request { uri, .. } => uri,
                    StartLine::Response { .. } => b"",
                };
                let via = message.value(crate::sip::header::Name::Via).unwrap_or_default();
                let from_tag = envelope.from.tag().unwrap_or_default();
                key.join(&[b"2543", method_name, uri, from_tag, envelope.call_id, via]);
                key.join(&[&envelope.cseq.number.to_be_bytes()]);
            }
        }
        key.finish()
    }

    /// The key that a request without To tag shares with its copies that came by another way: From tag, Call-ID, CSeq.
    #[must_use]
    pub fn merged(&self, envelope: &Envelope<'_>) -> Key {
        let mut key = self.begin();
        key.join(&[envelope.from.tag().unwrap_or_default(), envelope.call_id, envelope.cseq.method_name]);
        key.join(&[&envelope.cseq.number.to_be_bytes()]);
        key.finish()
    }

    fn begin(&self) -> Parts {
        let [a, b, c, d] = self.secret;
        let hasher = |one: u64, two: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(one);
            hasher.write_u64(two);
            hasher
        };
        Parts([hasher(a, b), hasher(c, d)])
    }
}

/// A key under construction.
struct Parts([DefaultHasher; 2]);

impl Parts {
    fn join(&mut self, parts: &[&[u8]]) {
        for hasher in &mut self.0 {
            for part in parts {
                hasher.write(part);
                hasher.write_u8(SEPARATOR);
            }
        }
    }

    fn finish(self) -> Key {
        Key(self.0.map(|hasher| hasher.finish()))
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
        Keys::new(&mut Ids::from_seed(1)).of(&message, &envelope, method)
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

//! Contact (RFC 3261 §20.10) in requests and responses that make a dialog: where the peer's user agent is reached.

use std::net::SocketAddr;

use super::address::Address;
use super::{Malformed, Name};
use crate::sip::transport::Transport;
use crate::sip::uri::Scheme;

/// Reads the Contact of a dialog-making message: exactly one SIP or SIPS URI (RFC 3261 §8.1.1.8).
///
/// # Errors
/// [`Malformed`] when it is a list, breaks the grammar, or names another scheme.
pub fn parse(value: &[u8]) -> Result<Address<'_>, Malformed> {
    let fault = |what| Malformed { header: Name::Contact, what };
    let mut first = None;
    let mut count = 0_usize;
    Address::parse_list(Name::Contact, value, |address| {
        first.get_or_insert(address);
        count += 1;
    })?;
    match first {
        Some(address) if count == 1 => match address.uri.scheme {
            Scheme::Sip | Scheme::Sips => Ok(address),
            Scheme::Tel | Scheme::Other(_) => Err(fault("not a SIP URI")),
        },
        _ => Err(fault("more than one address")),
    }
}

/// Writes our own Contact: the address that the peer reaches us at, over the transport it speaks. `sips` in a dialog that a SIPS URI
/// began (RFC 3261 §12.1.1).
pub fn write(transport: Transport, advertised: SocketAddr, sips: bool, out: &mut Vec<u8>) {
    let scheme = if sips { "sips" } else { "sip" };
    out.extend_from_slice(format!("<{scheme}:contesta@{advertised}").as_bytes());
    if let Some(parameter) = transport.parameter(sips) {
        out.extend_from_slice(format!(";transport={parameter}").as_bytes());
    }
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_reads_back() {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            for sips in [false, true] {
                let mut out = Vec::new();
                write(transport, "[::1]:5070".parse().unwrap(), sips, &mut out);
                let contact = parse(&out).unwrap();
                assert_eq!((contact.uri.user_text().as_str(), contact.uri.port), ("contesta", Some(5070)));
                let expected = match (transport, sips) {
                    (Transport::Udp, false) => None,
                    (Transport::Udp | Transport::Tcp | Transport::Tls, true) => Some(Transport::Tls),
                    (Transport::Ws, true) => Some(Transport::Wss),
                    // What ends the TLS stands before us: the browser knows its own server.
                    (Transport::Wss, false) => Some(Transport::Ws),
                    (other, _) => Some(other),
                };
                assert_eq!(Transport::of_uri(&contact.uri), Ok(expected), "{transport:?} {sips}");
            }
        }
    }

    #[test]
    fn one_sip_address_and_nothing_else() {
        for value in ["*", "<name:John_Smith>", "<sip:a@b>, <sip:c@d>", "\"Joe\" <sip:joe@example.org>;;;;", ""] {
            assert!(parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}

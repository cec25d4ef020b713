//! HEPv3, in which Homer is told of messages: `HEP3`, the length of all, then chunks of vendor, type, length and value.

use std::net::{IpAddr, SocketAddr};

use super::{Captured, seconds_and_micros};
use crate::sip::Transport;
use crate::sip::ladder::Glance;

/// Chunk 11: what the payload is.
const SIP: u8 = 1;

/// One message. `message` is what may be shown of it.
pub(super) fn packet(captured: &Captured, from: SocketAddr, to: SocketAddr, agent: u32, message: &[u8]) -> Vec<u8> {
    let (seconds, micros) = seconds_and_micros(captured.at);
    let protocol = if captured.transport == Transport::Udp { 17 } else { 6 };
    let mut out = b"HEP3\0\0".to_vec();
    // 2 and 10 are what Linux calls the families.
    chunk(1, &[if from.is_ipv4() { 2 } else { 10 }], &mut out);
    chunk(2, &[protocol], &mut out);
    for (address, four, six) in [(from, 3, 5), (to, 4, 6)] {
        match address.ip() {
            IpAddr::V4(ip) => chunk(four, &ip.octets(), &mut out),
            IpAddr::V6(ip) => chunk(six, &ip.octets(), &mut out),
        }
    }
    chunk(7, &from.port().to_be_bytes(), &mut out);
    chunk(8, &to.port().to_be_bytes(), &mut out);
    chunk(9, &seconds.to_be_bytes(), &mut out);
    chunk(10, &micros.to_be_bytes(), &mut out);
    chunk(11, &[SIP], &mut out);
    chunk(12, &agent.to_be_bytes(), &mut out);
    if let Some(glance) = Glance::of(message).filter(|glance| glance.call_id().len() <= CALL_ID_MAX) {
        // What messages of one call are found by.
        chunk(17, glance.call_id(), &mut out);
    }
    chunk(15, message, &mut out);
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.splice(4..6, length);
    out
}

fn chunk(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(6 + value.len()).unwrap_or(u16::MAX);
    // The vendor 0 is the protocol's own.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

/// The longest Call-ID that has a chunk of its own: with it the whole stays a datagram.
const CALL_ID_MAX: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;

    /// The value of a chunk, found by walking over all of them.
    pub(in super::super) fn chunk(packet: &[u8], wanted: u16) -> &[u8] {
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!((&packet[..4], usize::from(word(4))), (b"HEP3".as_slice(), packet.len()));
        let (mut at, mut found) = (6, None);
        while at < packet.len() {
            let length = usize::from(word(at + 4));
            assert_eq!(word(at), 0, "the vendor");
            if word(at + 2) == wanted {
                found = Some(&packet[at + 6..at + length]);
            }
            at += length;
        }
        assert_eq!(at, packet.len());
        found.unwrap_or_default()
    }

    #[test]
    fn every_chunk_is_where_homer_looks() {
        let message = b"OPTIONS sip:h SIP/2.0\r\ni: abc@h\r\n\r\n";
        let mut captured = Captured {
            at: "2026-03-15T08:30:00.250001Z".parse().unwrap(),
            transport: Transport::Udp,
            from: SocketAddr::from(([192, 0, 2, 20], 5062)),
            to: SocketAddr::from(([192, 0, 2, 10], 5060)),
            message: Bytes::from_static(message),
        };
        let all = packet(&captured, captured.from, captured.to, 2_001, message);
        let expected: [(u16, &[u8]); 12] = [
            (1, &[2]),
            (2, &[17]),
            (3, &[192, 0, 2, 20]),
            (4, &[192, 0, 2, 10]),
            (7, &5_062_u16.to_be_bytes()),
            (8, &5_060_u16.to_be_bytes()),
            (9, &1_773_563_400_u32.to_be_bytes()),
            (10, &250_001_u32.to_be_bytes()),
            (11, &[1]),
            (12, &2_001_u32.to_be_bytes()),
            (15, message),
            (17, b"abc@h"),
        ];
        for (kind, value) in expected {
            assert_eq!(chunk(&all, kind), value, "chunk {kind}");
        }
        captured.transport = Transport::Tls;
        let six = SocketAddr::from(([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5061));
        let all = packet(&captured, six, six, 1, &[b'x'; 65_000]);
        assert_eq!(
            (chunk(&all, 1), chunk(&all, 2), chunk(&all, 6).len(), chunk(&all, 15).len()),
            (&[10][..], &[6][..], 16, 65_000)
        );
        assert_eq!((chunk(&all, 3), chunk(&all, 17)), (&[][..], &[][..]));
    }
}

//! Reads compound packets (RFC 3550 §6.1, appendix A.2), and reduced-size ones (RFC 5506), which are those without a report in
//! front.

use super::report::BLOCK_LENGTH;
use super::{CNAME, GOODBYE, NtpTime, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo};
use crate::rtp::{RtpTime, Ssrc};

/// A datagram whose packets' lengths add up to it, each long enough for what it says it holds.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a>(&'a [u8]);

/// Why a datagram is not RTCP; the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// It ends inside a packet, or a packet ends inside what it says it holds.
    #[error("the RTCP packet ends inside what it says it holds")]
    TooShort,
    /// A packet's version is not 2.
    #[error("RTCP version {0} instead of 2")]
    Version(u8),
    /// It is none of RTCP's (192 to 223).
    #[error("no RTCP packet type: {0}")]
    PacketType(u8),
    /// Only the last packet may be padded, and by no more than it holds (RFC 3550 §6.4.1).
    #[error("padding where none may be")]
    Padding,
}

/// One packet of a compound one.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// From one who sends.
    SenderReport {
        /// Who reports.
        ssrc: Ssrc,
        /// Of its own stream.
        info: SenderInfo,
        /// Of those it receives.
        blocks: Blocks<'a>,
    },
    /// From one who does not.
    ReceiverReport {
        /// Who reports.
        ssrc: Ssrc,
        /// Of the streams it receives.
        blocks: Blocks<'a>,
    },
    /// Names of sources.
    Description(Chunks<'a>),
    /// Streams that end.
    Goodbye(Sources<'a>),
    /// APP, feedback, extended reports, and what has yet to be thought of.
    Other(u8),
}

impl<'a> Compound<'a> {
    /// Looks through the datagram.
    ///
    /// # Errors
    /// [`RtcpError`]; never panics. One packet that is wrong makes all of them so: what follows it is where its length says.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = datagram;
        loop {
            let (head, body, behind) = split(rest)?;
            let body = unpadded(head, body, behind.is_empty())?;
            read(head, body)?;
            if behind.is_empty() {
                return Ok(Self(datagram));
            }
            rest = behind;
        }
    }

    /// The packets, in order.
    pub fn packets(self) -> impl Iterator<Item = Packet<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (head, body, behind) = split(rest).ok()?;
            rest = behind;
            let body = unpadded(head, body, behind.is_empty()).ok()?;
            read(head, body).ok()
        })
    }
}

/// The fixed header's first two fields.
#[derive(Clone, Copy)]
struct Head {
    first: u8,
    packet_type: u8,
}

impl Head {
    fn count(self) -> usize {
        usize::from(self.first & 0x1f)
    }
}

/// The first packet's head and body, and what is behind it.
fn split(bytes: &[u8]) -> Result<(Head, &[u8], &[u8]), RtcpError> {
    let Some((&[first, packet_type, high, low], rest)) = bytes.split_first_chunk::<4>() else {
        return Err(RtcpError::TooShort);
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version(first >> 6));
    }
    if !(192..=223).contains(&packet_type) {
        return Err(RtcpError::PacketType(packet_type));
    }
    let length = usize::from(u16::from_be_bytes([high, low])) * 4;
    let (body, behind) = rest.split_at_checked(length).ok_or(RtcpError::TooShort)?;
    Ok((Head { first, packet_type }, body, behind))
}

fn unpadded(head: Head, body: &[u8], is_last: bool) -> Result<&[u8], RtcpError> {
    if head.first & 0x20 == 0 {
        return Ok(body);
    }
    // RFC 3550 §6.4.1: padding is counted in its last byte, itself included, and is a multiple of four.
    let count = body.last().map_or(0, |&count| usize::from(count));
    let length = body.len().checked_sub(count).filter(|_| is_last && count > 0 && count.is_multiple_of(4));
    length.and_then(|length| body.get(..length)).ok_or(RtcpError::Padding)
}

fn read(head: Head, body: &[u8]) -> Result<Packet<'_>, RtcpError> {
    match head.packet_type {
        SENDER_REPORT => {
            let (ssrc, rest) = ssrc(body)?;
            let Some((info, rest)) = rest.split_first_chunk::<20>() else { return Err(RtcpError::TooShort) };
            let [n0, n1, n2, n3, n4, n5, n6, n7, t0, t1, t2, t3, p0, p1, p2, p3, o0, o1, o2, o3] = *info;
            let info = SenderInfo {
                ntp: NtpTime(u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7])),
                timestamp: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
                packets: u32::from_be_bytes([p0, p1, p2, p3]),
                octets: u32::from_be_bytes([o0, o1, o2, o3]),
            };
            Ok(Packet::SenderReport { ssrc, info, blocks: Blocks::read(head, rest)? })
        }
        RECEIVER_REPORT => {
            let (ssrc, rest) = ssrc(body)?;
            Ok(Packet::ReceiverReport { ssrc, blocks: Blocks::read(head, rest)? })
        }
        SOURCE_DESCRIPTION => Ok(Packet::Description(Chunks { rest: body, left: head.count() })),
        GOODBYE => {
            let sources = body.get(..head.count() * 4).ok_or(RtcpError::TooShort)?;
            Ok(Packet::Goodbye(Sources(sources)))
        }
        other => Ok(Packet::Other(other)),
    }
}

fn ssrc(bytes: &[u8]) -> Result<(Ssrc, &[u8]), RtcpError> {
    let (ssrc, rest) = bytes.split_first_chunk::<4>().ok_or(RtcpError::TooShort)?;
    Ok((Ssrc(u32::from_be_bytes(*ssrc)), rest))
}

/// Report blocks, at most 31.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// What is behind them is an extension of a profile, of which we know none (RFC 3550 §6.4.3).
    fn read(head: Head, bytes: &'a [u8]) -> Result<Self, RtcpError> {
        bytes.get(..head.count() * BLOCK_LENGTH).map(Self).ok_or(RtcpError::TooShort)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        let (blocks, _) = self.0.as_chunks::<BLOCK_LENGTH>();
        blocks.iter().map(|block| {
            let [s0, s1, s2, s3, fraction_lost, l0, l1, l2, rest @ ..] = *block;
            let [h0, h1, h2, h3, j0, j1, j2, j3, r0, r1, r2, r3, d0, d1, d2, d3] = rest;
            ReportBlock {
                ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
                fraction_lost,
                // The sign is the highest of 24 bits.
                lost: i32::from_be_bytes([l0, l1, l2, 0]) >> 8,
                highest: u32::from_be_bytes([h0, h1, h2, h3]),
                jitter: u32::from_be_bytes([j0, j1, j2, j3]),
                last_sender_report: u32::from_be_bytes([r0, r1, r2, r3]),
                delay: u32::from_be_bytes([d0, d1, d2, d3]),
            }
        })
    }
}

/// The sources of a BYE, at most 31.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a>(&'a [u8]);

impl<'a> Sources<'a> {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        let (sources, _) = self.0.as_chunks::<4>();
        sources.iter().map(|source| Ssrc(u32::from_be_bytes(*source)))
    }
}

/// Sources with their names, at most 31: ends early where one is not well made.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Chunks<'a> {
    /// A source and its CNAME; empty where it has none.
    type Item = (Ssrc, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (source, mut items) = ssrc(self.rest).ok()?;
        let mut name: &[u8] = &[];
        loop {
            match items {
                // RFC 3550 §6.5: a null ends the items, and more nulls fill the word.
                [0, ..] => break,
                [item, length, rest @ ..] => {
                    let (text, behind) = rest.split_at_checked(usize::from(*length))?;
                    if *item == CNAME {
                        name = text;
                    }
                    items = behind;
                }
                [] | [_] => return None,
            }
        }
        let read = self.rest.len() - items.len();
        self.rest = self.rest.get((read + 1).next_multiple_of(4)..).unwrap_or_default();
        Some((source, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp::{Cname, REPORT_LENGTH_MAX, Report, is_rtcp};

    const INFO: SenderInfo =
        SenderInfo { ntp: NtpTime(0x0102_0304_0506_0708), timestamp: RtpTime(9), packets: 10, octets: 1_600 };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: Ssrc(7),
        fraction_lost: 12,
        lost: -3,
        highest: 70_000,
        jitter: 40,
        last_sender_report: 0x0304_0506,
        delay: 65_536,
    };

    /// What a packet says, in words.
    fn told(bytes: &[u8]) -> Result<Vec<String>, RtcpError> {
        Ok(Compound::parse(bytes)?
            .packets()
            .map(|packet| match packet {
                Packet::SenderReport { ssrc, info, blocks } => {
                    format!("SR {} {} {:?}", ssrc.0, info.packets, blocks.iter().map(|b| b.lost).collect::<Vec<_>>())
                }
                Packet::ReceiverReport { ssrc, blocks } => {
                    format!("RR {} {:?}", ssrc.0, blocks.iter().map(|b| b.lost).collect::<Vec<_>>())
                }
                Packet::Description(chunks) => {
                    let names = chunks.map(|(source, name)| format!("{}={}", source.0, String::from_utf8_lossy(name)));
                    format!("SDES {}", names.collect::<Vec<_>>().join(" "))
                }
                Packet::Goodbye(sources) => {
                    format!("BYE {:?}", sources.iter().map(|source| source.0).collect::<Vec<_>>())
                }
                Packet::Other(packet_type) => format!("{packet_type}"),
            })
            .collect())
    }

    fn written(report: &Report) -> Vec<u8> {
        let mut bytes = [0; REPORT_LENGTH_MAX];
        let length = report.write(&mut bytes);
        bytes[..length].to_vec()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let report = Report {
            ssrc: Ssrc(5),
            sender: Some(INFO),
            block: Some(BLOCK),
            cname: Cname::from_random([0; 12]),
            goodbye: true,
        };
        let bytes = written(&report);
        assert!(is_rtcp(&bytes));
        assert_eq!(told(&bytes).unwrap(), ["SR 5 10 [-3]", "SDES 5=AAAAAAAAAAAAAAAA", "BYE [5]"]);
        let Some(Packet::SenderReport { info, blocks, .. }) = Compound::parse(&bytes).unwrap().packets().next() else {
            panic!("no sender report in front");
        };
        assert_eq!((info, blocks.iter().collect::<Vec<_>>()), (INFO, vec![BLOCK]));
        let quiet = Report { sender: None, block: None, goodbye: false, ..report };
        assert_eq!(told(&written(&quiet)).unwrap(), ["RR 5 []", "SDES 5=AAAAAAAAAAAAAAAA"]);
        let hears = Report { block: Some(BLOCK), ..quiet };
        assert_eq!(told(&written(&hears)).unwrap(), ["RR 5 [-3]", "SDES 5=AAAAAAAAAAAAAAAA"]);
    }

    #[test]
    fn descriptions_of_others_are_read_in_their_own_shapes() {
        // Two chunks: tool and name in one, no name in the other.
        let mut bytes = vec![0x82, 202, 0, 6, 0, 0, 0, 1, 6, 2];
        bytes.extend(b"ab\x01\x03x@y\0\0\0");
        bytes.extend([0, 0, 0, 2, 8, 1, b'p', 0]);
        // Thirteen bytes and three nulls; then eight.
        assert_eq!(told(&bytes).unwrap(), ["SDES 1=x@y 2="]);
        // No null at the end, and a length beyond it.
        assert_eq!(told(&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'a', b'b']).unwrap(), ["SDES "]);
        assert_eq!(told(&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, b'a', 0]).unwrap(), ["SDES "]);
        assert_eq!(told(&[0x9f, 202, 0, 0]).unwrap(), ["SDES "]);
    }

    /// RFC 5506, RFC 4585, RFC 3611, APP: what is not read is stepped over.
    #[test]
    fn what_is_not_known_is_stepped_over() {
        let killer = [0x81, 0xcd, 0x00, 0x01, 0x0e, 0xe4, 0x93, 0xf4];
        assert_eq!(told(&killer).unwrap(), ["205"]);
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
        compound.extend([0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5]);
        compound.extend([0x80, 207, 0, 1, 0, 0, 0, 9]);
        compound.extend([0x80, 204, 0, 2, 0, 0, 0, 9, b'n', b'a', b'm', b'e']);
        compound.extend([0x81, 203, 0, 3, 0, 0, 0, 9, 4, b'b', b'y', b'e', b'!', 0, 0, 0]);
        assert_eq!(told(&compound).unwrap(), ["RR 9 []", "206", "207", "204", "BYE [9]"]);
    }

    #[test]
    fn padding_is_the_last_packets_alone() {
        let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
        bytes.extend([0xa1, 203, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4]);
        assert_eq!(told(&bytes).unwrap(), ["RR 9 []", "BYE [9]"]);
        bytes[0] = 0xa0;
        assert_eq!(told(&bytes), Err(RtcpError::Padding));
        for count in [0, 3, 12, 255] {
            let padded = [0xa1, 203, 0, 2, 0, 0, 0, 9, 0, 0, 0, count];
            assert!(told(&padded).is_err(), "{count} bytes of padding");
        }
        assert_eq!(told(&[0xa0, 201, 0, 0]), Err(RtcpError::Padding));
    }

    /// RFC 3550 appendix A.2.
    #[test]
    fn what_is_not_rtcp_is_named() {
        let report = written(&Report {
            ssrc: Ssrc(5),
            sender: Some(INFO),
            block: Some(BLOCK),
            cname: Cname::from_random([0; 12]),
            goodbye: false,
        });
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut bytes = report.clone();
            change(&mut bytes);
            told(&bytes).unwrap_err()
        };
        assert_eq!(changed(Vec::clear), RtcpError::TooShort);
        assert_eq!(changed(|bytes| bytes.truncate(bytes.len() - 1)), RtcpError::TooShort);
        assert_eq!(changed(|bytes| bytes.push(0)), RtcpError::TooShort);
        assert_eq!(changed(|bytes| bytes[0] = 0x41), RtcpError::Version(1));
        assert_eq!(changed(|bytes| bytes[52] = 0), RtcpError::Version(0), "the second packet counts too");
        assert_eq!(changed(|bytes| bytes[1] = 72), RtcpError::PacketType(72));
        assert_eq!(changed(|bytes| bytes[0] = 0x82), RtcpError::TooShort, "two blocks, and room for one");
        assert_eq!(told(&[0x81, 203, 0, 0]), Err(RtcpError::TooShort), "one source, and room for none");
        assert_eq!(told(&[0x80, 200, 0, 1, 0, 0, 0, 1]), Err(RtcpError::TooShort), "no sender's part");
        assert_eq!(told(&[0x80, 201, 0, 0]), Err(RtcpError::TooShort), "no sender");
    }
}

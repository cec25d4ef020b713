//! The RTP fixed header (RFC 3550 §5.1), read from a packet and written in front of one.

use std::ops::Range;

use super::{RtpTime, SequenceNumber, Ssrc};

/// Length of the header we write: no contributing sources, no extension.
pub const HEADER_LENGTH: usize = 12;

/// The fields of the fixed header that a receiver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Start of a talk spurt, or the first packet of a telephone event (RFC 3551 §4.1, RFC 4733 §2.5.1.1).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// One higher for each packet sent.
    pub sequence: SequenceNumber,
    /// When the payload's first sample was taken.
    pub timestamp: RtpTime,
    /// The stream.
    pub ssrc: Ssrc,
}

/// Why a datagram is not an RTP packet; the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// It ends inside the header, the contributing sources, the extension or the padding.
    #[error("the packet ends inside its header or padding")]
    TooShort,
    /// The version is not 2 (STUN and ZRTP look like this).
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// An RTCP packet on the RTP port (RFC 5761 §4).
    #[error("RTCP packet type {0}")]
    Rtcp(u8),
}

impl RtpHeader {
    /// Reads the header; the range is where the payload lies in `packet` (padding excluded, maybe empty).
    ///
    /// Contributing sources and a header extension of any profile are skipped.
    ///
    /// # Errors
    /// [`RtpError`] when the bytes are no RTP packet. Never panics.
    pub fn parse(packet: &[u8]) -> Result<(Self, Range<usize>), RtpError> {
        let Some((fixed, _)) = packet.split_first_chunk::<HEADER_LENGTH>() else {
            return Err(RtpError::TooShort);
        };
        let [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *fixed;
        if first >> 6 != 2 {
            return Err(RtpError::Version(first >> 6));
        }
        // RFC 5761 §4: with the marker bit, RTCP's packet types 192 to 223 look like payload types 64 to 95, which RTP
        // profiles leave alone for this reason.
        if (192..=223).contains(&second) {
            return Err(RtpError::Rtcp(second));
        }
        let start = Self::length(packet)?;
        let padding = if first & 0x20 == 0 { 0 } else { packet.last().map_or(0, |&count| usize::from(count)) };
        let end = packet.len().checked_sub(padding).filter(|&end| start <= end).ok_or(RtpError::TooShort)?;
        let header = Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: SequenceNumber(u16::from_be_bytes([s0, s1])),
            timestamp: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([r0, r1, r2, r3])),
        };
        Ok((header, start..end))
    }

    /// Where the payload begins: behind the contributing sources and the extension, whatever the version. Maybe beyond the packet's end.
    ///
    /// # Errors
    /// [`RtpError::TooShort`] when the packet ends before that can be known.
    pub fn length(packet: &[u8]) -> Result<usize, RtpError> {
        let first = packet.first().ok_or(RtpError::TooShort)?;
        let start = HEADER_LENGTH + usize::from(first & 0x0f) * 4;
        if first & 0x10 == 0 {
            return Ok(start);
        }
        let Some([_, _, high, low]) = packet.get(start..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Err(RtpError::TooShort);
        };
        Ok(start + 4 + usize::from(u16::from_be_bytes([*high, *low])) * 4)
    }

    /// The header's bytes: version 2, no padding, no extension, no contributing sources.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let [s0, s1] = self.sequence.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.0.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.0.to_be_bytes();
        let second = (self.payload_type & 0x7f) | if self.marker { 0x80 } else { 0 };
        [0x80, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RtpHeader = RtpHeader {
        marker: true,
        payload_type: 101,
        sequence: SequenceNumber(0xfffe),
        timestamp: RtpTime(0x0102_0304),
        ssrc: Ssrc(0xdead_beef),
    };

    #[test]
    fn what_is_written_is_read_back() {
        let mut packet = HEADER.to_bytes().to_vec();
        assert_eq!(packet, [0x80, 0xe5, 0xff, 0xfe, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(RtpHeader::parse(&packet), Ok((HEADER, 12..12)));
        packet.extend([7; 160]);
        assert_eq!(RtpHeader::parse(&packet), Ok((HEADER, 12..172)));
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut packet = HEADER.to_bytes().to_vec();
        packet[0] = 0x80 | 0x20 | 0x10 | 2;
        packet.extend([0; 8]); // two contributing sources
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]); // RFC 8285 extension of one word
        packet.extend([1, 2, 3, 4, 5]);
        packet.extend([0, 0, 3]); // three bytes of padding
        assert_eq!(RtpHeader::parse(&packet), Ok((HEADER, 28..33)));
    }

    #[test]
    fn what_is_not_rtp_is_named() {
        fn check(change: impl Fn(&mut Vec<u8>), expected: RtpError) {
            let mut packet = HEADER.to_bytes().to_vec();
            change(&mut packet);
            assert_eq!(RtpHeader::parse(&packet), Err(expected));
        }
        check(Vec::clear, RtpError::TooShort);
        check(|packet| packet.truncate(11), RtpError::TooShort);
        check(|packet| packet[0] = 0x00, RtpError::Version(0));
        check(|packet| packet[0] = 0xc0, RtpError::Version(3));
        check(|packet| packet[1] = 200, RtpError::Rtcp(200));
        check(|packet| packet[0] = 0x8f, RtpError::TooShort); // fifteen sources, none there
        check(|packet| packet[0] = 0x90, RtpError::TooShort); // extension, none there
        check(|packet| packet.splice(.., [0xb0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]).for_each(drop), {
            RtpError::TooShort
        });
        check(
            |packet| {
                packet[0] = 0xa0;
                packet.push(99); // more padding than packet
            },
            RtpError::TooShort,
        );
    }
}

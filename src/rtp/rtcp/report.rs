//! The compound packet that a leg sends: its report, its name, and at the end BYE (RFC 3550 §6.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{CNAME, GOODBYE, NtpTime, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION};
use crate::rtp::{RtpTime, Ssrc};

/// The longest report: a sender report with a block, the name, BYE.
pub const REPORT_LENGTH_MAX: usize = 28 + BLOCK_LENGTH + DESCRIPTION_LENGTH + 8;

/// Bytes of a report block.
pub(super) const BLOCK_LENGTH: usize = 24;

/// Header, SSRC, item, the null that ends the chunk: a multiple of four.
const DESCRIPTION_LENGTH: usize = 4 + 4 + 2 + Cname::LENGTH + 2;

/// What one end says of a stream that it receives (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Of the packets expected since the last report, the share that did not come, in 256ths.
    pub fraction_lost: u8,
    /// Packets expected since the stream began, less those that came: negative where duplicates came. 24 bits.
    pub lost: i32,
    /// The highest sequence number that came; how often it wrapped in the upper half.
    pub highest: u32,
    /// Interarrival jitter in units of the stream's clock.
    pub jitter: u32,
    /// The middle of the NTP time in the stream's last sender report; 0 when there was none.
    pub last_sender_report: u32,
    /// How long ago that was received, in units of 2^-16 s.
    pub delay: u32,
}

/// What the sender of a stream says of it (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was made.
    pub ntp: NtpTime,
    /// The same moment in the stream's time.
    pub timestamp: RtpTime,
    /// Packets sent since the stream began, modulo 2^32.
    pub packets: u32,
    /// Bytes of payload in them, modulo 2^32.
    pub octets: u32,
}

/// The name of an end: random, so that it tells nothing of who it is (RFC 7022 §4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cname([u8; Self::LENGTH]);

impl Cname {
    /// Bytes of the name.
    pub const LENGTH: usize = 16;

    /// The name that these random bits make.
    #[must_use]
    pub fn from_random(bits: [u8; 12]) -> Self {
        let mut name = [b'A'; Self::LENGTH];
        // Twelve bytes are sixteen characters: it fits.
        let _written = STANDARD.encode_slice(bits, &mut name);
        Self(name)
    }

    /// As it is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Cname {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A compound packet of ours.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Our stream.
    pub ssrc: Ssrc,
    /// Of our stream, if we send: it is a sender report then, or else a receiver report.
    pub sender: Option<SenderInfo>,
    /// Of the far end's, if we receive.
    pub block: Option<ReportBlock>,
    /// Our name.
    pub cname: Cname,
    /// Our stream ends with this.
    pub goodbye: bool,
}

impl Report {
    /// Writes the packet and gives its length.
    pub fn write(&self, out: &mut [u8; REPORT_LENGTH_MAX]) -> usize {
        let mut writer = Writer { out, length: 0 };
        let (words, packet_type) = match self.sender {
            Some(_) => (6, SENDER_REPORT),
            None => (1, RECEIVER_REPORT),
        };
        let count = u8::from(self.block.is_some());
        writer.head(count, packet_type, words + 6 * u16::from(count));
        writer.word(self.ssrc.0);
        if let Some(info) = self.sender {
            writer.put(&info.ntp.0.to_be_bytes());
            [info.timestamp.0, info.packets, info.octets].into_iter().for_each(|word| writer.word(word));
        }
        if let Some(block) = self.block {
            let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
            let [_, high, middle, low] = lost;
            writer.word(block.ssrc.0);
            writer.put(&[block.fraction_lost, high, middle, low]);
            [block.highest, block.jitter, block.last_sender_report, block.delay]
                .into_iter()
                .for_each(|word| writer.word(word));
        }
        writer.head(1, SOURCE_DESCRIPTION, (DESCRIPTION_LENGTH / 4 - 1) as u16); // a small constant
        writer.word(self.ssrc.0);
        writer.put(&[CNAME, Cname::LENGTH as u8]); // 16
        writer.put(self.cname.as_bytes());
        writer.put(&[0, 0]);
        if self.goodbye {
            writer.head(1, GOODBYE, 1);
            writer.word(self.ssrc.0);
        }
        writer.length
    }
}

/// Appends to the packet; there is room for the longest.
struct Writer<'a> {
    out: &'a mut [u8; REPORT_LENGTH_MAX],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.out.iter_mut().skip(self.length);
        self.length += room.zip(bytes).map(|(to, from)| *to = *from).count();
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_be_bytes());
    }

    /// `words` behind the header.
    fn head(&mut self, count: u8, packet_type: u8, words: u16) {
        let [high, low] = words.to_be_bytes();
        self.put(&[0x80 | count, packet_type, high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sixteen_characters_of_base_64() {
        assert_eq!(Cname::from_random([0xff; 12]).as_bytes(), b"////////////////");
        assert_ne!(Cname::from_random([1; 12]), Cname::from_random([2; 12]));
    }

    /// Byte by byte, as RFC 3550 §6.4 to §6.6 draw them.
    #[test]
    fn the_longest_report_is_as_the_rfc_draws_it() {
        let report = Report {
            ssrc: Ssrc(0x0102_0304),
            sender: Some(SenderInfo {
                ntp: NtpTime(0x1111_1111_2222_2222),
                timestamp: RtpTime(0x3333_3333),
                packets: 0x4444,
                octets: 0x5555,
            }),
            block: Some(ReportBlock {
                ssrc: Ssrc(0x0a0b_0c0d),
                fraction_lost: 64,
                lost: -2,
                highest: 0x0001_ffff,
                jitter: 80,
                last_sender_report: 0x1234_5678,
                delay: 0x0001_0000,
            }),
            cname: Cname::from_random([0; 12]),
            goodbye: true,
        };
        let mut bytes = [0; REPORT_LENGTH_MAX];
        assert_eq!(report.write(&mut bytes), REPORT_LENGTH_MAX);
        let mut expected = vec![0x81, 200, 0, 12, 1, 2, 3, 4];
        expected.extend([0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0x33, 0x33, 0x33, 0x33]);
        expected.extend([0, 0, 0x44, 0x44, 0, 0, 0x55, 0x55]);
        expected.extend([0x0a, 0x0b, 0x0c, 0x0d, 64, 0xff, 0xff, 0xfe, 0, 1, 0xff, 0xff, 0, 0, 0, 80]);
        expected.extend([0x12, 0x34, 0x56, 0x78, 0, 1, 0, 0]);
        expected.extend([0x81, 202, 0, 6, 1, 2, 3, 4, 1, 16]);
        expected.extend(b"AAAAAAAAAAAAAAAA\0\0");
        expected.extend([0x81, 203, 0, 1, 1, 2, 3, 4]);
        assert_eq!(bytes.to_vec(), expected);
        let short = Report { sender: None, block: None, goodbye: false, ..report };
        let length = short.write(&mut bytes);
        assert_eq!(bytes[..8], [0x80, 201, 0, 1, 1, 2, 3, 4]);
        assert_eq!(length, 8 + DESCRIPTION_LENGTH);
    }
}

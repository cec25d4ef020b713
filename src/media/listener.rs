//! Hears a stream as a person would: packets put in order by their timestamps, silence where something is missing.
//! For the test caller (`contesta call`), which saves what it heard.

use crate::audio::{Codec, g711};
use crate::rtp::{RtpHeader, RtpTime, Ssrc};

/// One hour. What comes later is not kept.
const SAMPLES_MAX: usize = 3600 * 8000;

/// Ten seconds: a timestamp further away than this is a restarted stream, not a gap.
const GAP_MAX: i32 = 10 * 8000;

/// Collects the audio of one stream.
#[derive(Debug)]
pub struct Listener {
    codec: Codec,
    payload_type: u8,
    pcm: Vec<i16>,
    stream: Option<Stream>,
}

/// Which sample a timestamp of this stream falls on.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: Ssrc,
    /// The sample at `position` has this timestamp; both move with the newest packet, so that they wrap together.
    timestamp: RtpTime,
    position: usize,
}

impl Listener {
    /// Hears packets of `payload_type`.
    #[must_use]
    pub fn new(codec: Codec, payload_type: u8) -> Self {
        Self { codec, payload_type, pcm: Vec::new(), stream: None }
    }

    /// Takes one datagram; what is no RTP or of another payload type is ignored.
    pub fn handle_packet(&mut self, packet: &[u8]) {
        let Ok((header, range)) = RtpHeader::parse(packet) else { return };
        let Some(payload) = packet.get(range).filter(|payload| !payload.is_empty()) else { return };
        if header.payload_type != self.payload_type {
            return;
        }
        let placed = self.stream.and_then(|stream| stream.position_of(&header));
        let position = match (placed, self.stream) {
            (Some(position), _) => position,
            // Earlier than the first packet that came: its place is lost, and so is it.
            (None, Some(stream)) if stream.is_just_before(&header) => return,
            (None, _) => self.pcm.len(),
        };
        let end = position.saturating_add(payload.len());
        if end > SAMPLES_MAX {
            return;
        }
        if end > self.pcm.len() {
            self.pcm.resize(end, 0);
        }
        for (sample, &byte) in self.pcm.iter_mut().skip(position).zip(payload) {
            *sample = self.codec.law().map_or(0, |law| g711::decode(law, byte));
        }
        let newest = placed.is_none() || self.stream.is_none_or(|stream| position > stream.position);
        if newest {
            self.stream = Some(Stream { ssrc: header.ssrc, timestamp: header.timestamp, position });
        }
    }

    /// Everything heard so far, 8,000 samples a second, from the first packet on.
    #[must_use]
    pub fn pcm(&self) -> &[i16] {
        &self.pcm
    }
}

impl Stream {
    fn position_of(&self, header: &RtpHeader) -> Option<usize> {
        let offset = header.timestamp.since(self.timestamp);
        if header.ssrc != self.ssrc || offset.abs() > GAP_MAX {
            return None;
        }
        self.position.checked_add_signed(isize::try_from(offset).ok()?)
    }

    fn is_just_before(&self, header: &RtpHeader) -> bool {
        header.ssrc == self.ssrc && (-GAP_MAX..0).contains(&header.timestamp.since(self.timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::SequenceNumber;

    fn packet(ssrc: u32, timestamp: u32, bytes: &[u8]) -> Vec<u8> {
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: SequenceNumber(0),
            timestamp: RtpTime(timestamp),
            ssrc: Ssrc(ssrc),
        };
        [&header.to_bytes(), bytes].concat()
    }

    fn heard(packets: &[Vec<u8>]) -> Vec<i16> {
        let mut listener = Listener::new(Codec::Pcmu, 0);
        packets.iter().for_each(|packet| listener.handle_packet(packet));
        listener.pcm().to_vec()
    }

    #[test]
    fn order_is_restored_and_gaps_are_silent() {
        let first = packet(1, u32::MAX, &[0xef, 0xef]);
        let second = packet(1, 1, &[0x80, 0x80]);
        let fourth = packet(1, 5, &[0xef]);
        assert_eq!(heard(&[first, fourth, second]), [132, 132, 32_124, 32_124, 0, 0, 132]);
    }

    #[test]
    fn a_restarted_stream_goes_on_at_the_end() {
        let packets = [packet(1, 0, &[0xef]), packet(2, 900_000, &[0x80]), packet(2, 1_900_000, &[0xef])];
        assert_eq!(heard(&packets), [132, 32_124, 132]);
        assert_eq!(heard(&[packet(1, 100, &[0xef]), packet(1, 99, &[0x80])]), [132], "before the beginning");
    }

    #[test]
    fn other_payload_types_and_rubbish_are_not_heard() {
        let mut comfort_noise = packet(1, 0, &[0x10]);
        comfort_noise[1] = 13;
        assert_eq!(heard(&[comfort_noise, vec![1, 2, 3], packet(1, 0, &[])]), [] as [i16; 0]);
    }
}

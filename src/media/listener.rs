//! Hears a stream as a person would: packets put in order by their timestamps, silence where something is missing.
//! For the test caller (`contesta call`), which saves what it heard.

use crate::audio::{Codec, Decoder, Frame, Resampler, g711};
use crate::rtp::{RtpHeader, RtpTime, Ssrc};

/// Samples a second of what is kept.
const RATE: u32 = 8_000;

/// One hour. What comes later is not kept.
const SAMPLES_MAX: usize = 3600 * RATE as usize;

/// In seconds: a timestamp further away than this is a restarted stream, not a gap.
const GAP_MAX_SECONDS: i32 = 10;

/// Collects the audio of one stream.
#[derive(Debug)]
pub struct Listener {
    codec: Codec,
    payload_type: u8,
    wide: Option<Wide>,
    decoded: Vec<i16>,
    pcm: Vec<i16>,
    stream: Option<Stream>,
}

/// What understands a codec that is not G.711: packets are decoded as they come.
#[derive(Debug)]
struct Wide {
    decoder: Decoder,
    frame: Frame,
    narrow: Frame,
    resampler: Resampler,
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
        let wide = Resampler::new(codec.sample_rate(), RATE).map(|resampler| Wide {
            decoder: Decoder::new(codec),
            frame: Frame::silent(codec.sample_rate()),
            narrow: Frame::silent(RATE),
            resampler,
        });
        Self { codec, payload_type, wide, decoded: Vec::new(), pcm: Vec::new(), stream: None }
    }

    /// Takes one datagram; what is no RTP or of another payload type is ignored.
    pub fn handle_packet(&mut self, packet: &[u8]) {
        let Ok((header, range)) = RtpHeader::parse(packet) else { return };
        let Some(payload) = packet.get(range).filter(|payload| !payload.is_empty()) else { return };
        if header.payload_type != self.payload_type {
            return;
        }
        let clock = self.codec.clock_rate().cast_signed();
        let placed = self.stream.and_then(|stream| stream.position_of(&header, clock));
        let position = match (placed, self.stream) {
            (Some(position), _) => position,
            // Earlier than the first packet that came: its place is lost, and so is it.
            (None, Some(stream)) if stream.is_just_before(&header, clock) => return,
            (None, _) => self.pcm.len(),
        };
        self.decoded.clear();
        match (&mut self.wide, self.codec.law()) {
            (None, Some(law)) => self.decoded.extend(payload.iter().map(|&byte| g711::decode(law, byte))),
            (Some(wide), _) => wide.decode(payload, &mut self.decoded),
            (None, None) => {}
        }
        let end = position.saturating_add(self.decoded.len());
        if end > SAMPLES_MAX {
            return;
        }
        if end > self.pcm.len() {
            self.pcm.resize(end, 0);
        }
        self.pcm.iter_mut().skip(position).zip(&self.decoded).for_each(|(to, from)| *to = *from);
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

impl Wide {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let mut more = self.decoder.decode(payload, &mut self.frame).is_ok();
        while more {
            self.resampler.process(self.frame.samples(), self.narrow.samples_mut());
            out.extend_from_slice(self.narrow.samples());
            more = self.decoder.more(&mut self.frame);
        }
    }
}

impl Stream {
    fn position_of(&self, header: &RtpHeader, clock: i32) -> Option<usize> {
        let offset = header.timestamp.since(self.timestamp);
        if header.ssrc != self.ssrc || offset.abs() > GAP_MAX_SECONDS * clock {
            return None;
        }
        let samples = i64::from(offset) * i64::from(RATE) / i64::from(clock);
        self.position.checked_add_signed(isize::try_from(samples).ok()?)
    }

    fn is_just_before(&self, header: &RtpHeader, clock: i32) -> bool {
        let offset = header.timestamp.since(self.timestamp);
        header.ssrc == self.ssrc && (-GAP_MAX_SECONDS * clock..0).contains(&offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoder, PAYLOAD_MAX};
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

    /// What is heard in another codec is what was said, as long as it was said, in its place.
    #[test]
    fn wide_codecs_are_heard_at_8_000_samples_a_second() {
        for codec in [Codec::G722, Codec::Opus] {
            let (mut encoder, mut listener) = (Encoder::new(codec), Listener::new(codec, 0));
            let mut frame = Frame::silent(codec.sample_rate());
            for index in 0..50_u32 {
                let length = frame.samples().len() as u32;
                let sample = |i: u32| {
                    (f64::from(index * length + i) * 500.0 * std::f64::consts::TAU / f64::from(frame.rate())).sin()
                        * 9_000.0
                };
                let samples: Vec<i16> = (0..length).map(|i| sample(i) as i16).collect();
                frame.copy_from(&samples);
                let mut payload = [0; PAYLOAD_MAX];
                let bytes = encoder.encode(&frame, &mut payload);
                // One in the middle never comes.
                if index != 25 {
                    listener.handle_packet(&packet(1, 7_000 + index * codec.frame_units(), &payload[..bytes]));
                }
            }
            let pcm = listener.pcm();
            assert_eq!(pcm.len(), 50 * 160, "{codec:?}");
            assert_eq!(pcm[25 * 160..26 * 160], [0; 160]);
            let crossings = pcm[1_600..3_200].windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            assert!((99..=101).contains(&crossings), "500 Hz for 200 ms: {crossings}");
            assert!(pcm[1_600..3_200].iter().any(|sample| *sample > 7_000));
        }
    }

    #[test]
    fn other_payload_types_and_rubbish_are_not_heard() {
        let mut comfort_noise = packet(1, 0, &[0x10]);
        comfort_noise[1] = 13;
        assert_eq!(heard(&[comfort_noise, vec![1, 2, 3], packet(1, 0, &[])]), [] as [i16; 0]);
    }
}

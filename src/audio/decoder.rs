//! Payloads of one stream to frames of samples.
//!
//! A far end chooses how much sound it puts into a packet (RFC 3551 §4.2; 20 ms is only what we ask for). What a packet holds
//! beyond the first 20 ms waits here for [`Decoder::more`].

use super::g711::{self, Law};
use super::{Codec, Frame};

/// Most sound of one packet: 120 ms, what Opus allows (RFC 6716 §3.2.5) and more than anyone sends in the others.
pub const PACKET_MS_MAX: usize = 120;

/// Decodes one stream. Allocates nothing after [`Decoder::new`].
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    state: State,
    waiting: Waiting,
}

#[derive(Debug)]
enum State {
    G711(Law),
}

/// Samples that came with a packet and are not asked for yet, at most [`PACKET_MS_MAX`] of them and the remainder of a frame.
#[derive(Debug)]
struct Waiting {
    samples: Box<[i16]>,
    from: usize,
    to: usize,
}

/// A payload in which there is no sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload without sound")]
pub struct NoSound;

impl Decoder {
    /// A decoder for the beginning of a stream.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        let state = match codec {
            Codec::Pcmu => State::G711(Law::Mu),
            Codec::Pcma => State::G711(Law::A),
        };
        Self { codec, state, waiting: Waiting::new(codec.sample_rate()) }
    }

    /// What it decodes.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes one packet's payload into `out`, at [`Codec::sample_rate`]. Call [`more`](Self::more) before the next packet: what
    /// a payload holds beyond 20 ms waits there. A packet of less than 20 ms is played at once, with silence behind it, unless
    /// part of a packet before it waits to be joined.
    ///
    /// # Errors
    /// [`NoSound`] for an empty payload, or one that this codec cannot have made; `out` is silent.
    pub fn decode(&mut self, payload: &[u8], out: &mut Frame) -> Result<(), NoSound> {
        out.set_rate(self.codec.sample_rate());
        if payload.is_empty() {
            out.silence();
            return Err(NoSound);
        }
        match &self.state {
            State::G711(law) => {
                // The usual packet goes straight into the frame.
                if self.waiting.is_empty() && payload.len() == out.samples().len() {
                    out.samples_mut().iter_mut().zip(payload).for_each(|(to, byte)| *to = g711::decode(*law, *byte));
                    return Ok(());
                }
                let room = self.waiting.room();
                let count = room.len().min(payload.len());
                room.iter_mut().zip(payload).for_each(|(to, byte)| *to = g711::decode(*law, *byte));
                self.waiting.came(count);
            }
        }
        self.waiting.take(out);
        Ok(())
    }

    /// The next 20 ms of what has come already; false, and `out` untouched, when less than that waits.
    pub fn more(&mut self, out: &mut Frame) -> bool {
        out.set_rate(self.codec.sample_rate());
        let whole = self.waiting.len() >= out.samples().len();
        if whole {
            self.waiting.take(out);
        }
        whole
    }
}

impl Waiting {
    fn new(rate: u32) -> Self {
        let capacity = rate as usize * (PACKET_MS_MAX + 20) / 1_000;
        Self { samples: vec![0; capacity].into(), from: 0, to: 0 }
    }

    fn len(&self) -> usize {
        self.to - self.from
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Where a packet's samples go; as much as fits is kept.
    fn room(&mut self) -> &mut [i16] {
        self.samples.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        self.samples.get_mut(self.to..).unwrap_or_default()
    }

    fn came(&mut self, count: usize) {
        self.to = (self.to + count).min(self.samples.len());
    }

    /// Gives a frame, with silence behind what is there.
    fn take(&mut self, out: &mut Frame) {
        let waiting = self.samples.get(self.from..self.to).unwrap_or_default();
        out.copy_from(waiting);
        self.from += waiting.len().min(out.samples().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(samples: &[i16]) -> Frame {
        let mut frame = Frame::silent(8_000);
        frame.copy_from(samples);
        frame
    }

    #[test]
    fn twenty_milliseconds_are_a_frame() {
        let mut out = Frame::silent(48_000);
        let mut decoder = Decoder::new(Codec::Pcmu);
        assert_eq!(decoder.decode(&[0x80; 160], &mut out), Ok(()));
        assert_eq!(out, frame(&[32_124; 160]));
        assert!(!decoder.more(&mut out));
        assert_eq!(Decoder::new(Codec::Pcma).decode(&[0x2a; 160], &mut out), Ok(()));
        assert_eq!(out, frame(&[-32_256; 160]));
    }

    #[test]
    fn longer_packets_are_given_out_in_frames_without_a_seam() {
        let bytes: Vec<u8> = (0..720_usize).map(|index| (index / 8) as u8).collect();
        let expected: Vec<i16> = bytes.iter().map(|byte| g711::decode(Law::Mu, *byte)).collect();
        let (mut decoder, mut out, mut heard) = (Decoder::new(Codec::Pcmu), Frame::silent(8_000), Vec::new());
        for packet in bytes.chunks(240) {
            assert_eq!(decoder.decode(packet, &mut out), Ok(()));
            heard.extend_from_slice(out.samples());
            while decoder.more(&mut out) {
                heard.extend_from_slice(out.samples());
            }
        }
        assert_eq!(heard, expected[..640], "30 ms a packet; the last 10 ms wait for their other half");
    }

    #[test]
    fn shorter_and_absurd_packets_are_bounded() {
        let (mut decoder, mut out) = (Decoder::new(Codec::Pcmu), Frame::silent(8_000));
        assert_eq!(decoder.decode(&[], &mut out), Err(NoSound));
        assert_eq!(out, frame(&[]));
        assert_eq!(decoder.decode(&[0x80; 80], &mut out), Ok(()));
        assert_eq!(out, frame(&[32_124; 80]));
        for _ in 0..50 {
            assert_eq!(decoder.decode(&[0x80; 65_000], &mut out), Ok(()));
        }
        let mut more = 0;
        while decoder.more(&mut out) {
            more += 1;
        }
        assert_eq!(more, PACKET_MS_MAX / 20);
    }
}

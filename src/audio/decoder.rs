//! Payloads of one stream to frames of samples.
//!
//! A far end chooses how much sound it puts into a packet (RFC 3551 §4.2; 20 ms is only what we ask for). What a packet holds
//! beyond the first 20 ms waits here for [`Decoder::more`].

use super::g711::{self, Law};
use super::{Codec, Frame, g722, opus};

/// Most sound of one packet: 120 ms, what Opus allows (RFC 6716 §3.2.5) and more than anyone sends in the others.
pub const PACKET_MS_MAX: usize = 120;

/// Decodes one stream. G.711 and G.722 allocate nothing after [`Decoder::new`]; the Opus codec does, within its crate.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    state: State,
    waiting: Waiting,
}

#[derive(Debug)]
enum State {
    G711(Law),
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
}

/// Samples that came with a packet and are not asked for yet, at most [`PACKET_MS_MAX`] of them and the remainder of a frame.
#[derive(Debug, Default)]
struct Waiting {
    samples: Box<[i16]>,
    packet_max: usize,
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
            Codec::G722 => State::G722(Box::default()),
            Codec::Opus => State::Opus(opus::Decoder::new()),
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
        // The usual packet goes straight into the frame.
        let frame_units = self.codec.frame_units();
        if self.waiting.is_empty() && self.codec.payload_units(payload) == Some(frame_units) {
            let decoded = self.decode_whole(payload, out.samples_mut());
            return decoded.map(|_| ()).inspect_err(|_| out.silence());
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let decoded = self.decode_whole(payload, waiting.room());
        self.waiting = waiting;
        match decoded {
            Ok(count) => self.waiting.came(count),
            Err(no_sound) => {
                out.silence();
                return Err(no_sound);
            }
        }
        self.waiting.take(out);
        Ok(())
    }

    /// Decodes one packet's payload into `out`, however long it plays ([`Codec::payload_units`]), past what waits for
    /// [`more`](Self::more). Gives how many samples were written; what does not fit is lost, in Opus all of it.
    ///
    /// # Errors
    /// [`NoSound`] as [`decode`](Self::decode) gives it; `out` then holds anything.
    pub fn decode_whole(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, NoSound> {
        let count = match &mut self.state {
            State::G711(law) => out.iter_mut().zip(payload).map(|(to, byte)| *to = g711::decode(*law, *byte)).count(),
            State::G722(decoder) => decoder.decode(payload, out),
            State::Opus(decoder) => decoder.decode(payload, out).unwrap_or_default(),
        };
        if count == 0 { Err(NoSound) } else { Ok(count) }
    }

    /// Fills `out` for 20 ms that did not come, if this codec knows how; `next` is the payload behind the gap when it is here already, whose
    /// forward error correction may hold what is missing. False for the codecs that know nothing of loss: `out` is then silent, and whoever
    /// has heard the frames before may do better.
    pub fn conceal(&mut self, next: Option<&[u8]>, out: &mut Frame) -> bool {
        out.set_rate(self.codec.sample_rate());
        let concealed = match &mut self.state {
            State::G711(_) | State::G722(_) => false,
            State::Opus(decoder) => decoder.conceal(next, out.samples_mut()),
        };
        if !concealed {
            out.silence();
        }
        concealed
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
        let per_ms = rate as usize / 1_000;
        let capacity = per_ms * (PACKET_MS_MAX + 20);
        Self { samples: vec![0; capacity].into(), packet_max: per_ms * PACKET_MS_MAX, from: 0, to: 0 }
    }

    fn len(&self) -> usize {
        self.to - self.from
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Where a packet's samples go, 120 ms of them: nobody asked for what would leave less room than that.
    fn room(&mut self) -> &mut [i16] {
        if self.samples.len() - self.len() < self.packet_max {
            (self.from, self.to) = (0, 0);
        }
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
        assert!((5..=6).contains(&more), "120 ms, and the frame given out is part of them: {more}");
    }

    #[test]
    fn packets_of_every_length_are_heard_in_every_codec() {
        for codec in Codec::ALL {
            let (mut encoder, mut decoder) = (super::super::Encoder::new(codec), Decoder::new(codec));
            let mut pcm = Frame::silent(codec.sample_rate());
            let mut out = Frame::silent(8_000);
            for index in 0..10 {
                let sample = |i: usize| (((index * pcm.samples().len() + i) as f64) * 0.05).sin() * 9_000.0;
                let samples: Vec<i16> = (0..pcm.samples().len()).map(|i| sample(i) as i16).collect();
                pcm.copy_from(&samples);
                let mut payload = [0; 160];
                let length = encoder.encode(&pcm, &mut payload);
                assert_eq!(decoder.decode(&payload[..length], &mut out), Ok(()));
                assert_eq!(out.rate(), codec.sample_rate());
            }
            assert!(out.samples().iter().any(|sample| *sample > 7_000), "{codec:?}");
            assert_eq!(decoder.conceal(None, &mut out), codec == Codec::Opus);
            assert_eq!(out.samples().iter().any(|sample| *sample > 4_000), codec == Codec::Opus, "goes on as before");
        }
        // 60 ms in one packet of Opus (code 3: three frames of 20 ms without a byte).
        let (mut decoder, mut out) = (Decoder::new(Codec::Opus), Frame::silent(48_000));
        assert_eq!(decoder.decode(&[0x0b, 3], &mut out), Ok(()));
        assert_eq!((decoder.more(&mut out), decoder.more(&mut out), decoder.more(&mut out)), (true, true, false));
        assert_eq!(decoder.decode(&[0x0b, 0], &mut out), Err(NoSound));
    }
}

//! Frames of samples to payloads of one stream.

use super::g711::{self, Law};
use super::{Codec, Frame, g722, opus};

/// Longest payload that an encoder makes of 20 ms: 64 kbit/s, as G.711 and G.722 always have.
pub const PAYLOAD_MAX: usize = 160;

/// Encodes one stream. G.711 and G.722 allocate nothing after [`Encoder::new`]; the Opus codec does, within its crate.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    state: State,
}

#[derive(Debug)]
enum State {
    G711(Law),
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder for the beginning of a stream.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self::wished(codec, opus::Wishes::NONE)
    }

    /// The same for a far end that wants its Opus so.
    #[must_use]
    pub fn wished(codec: Codec, wishes: opus::Wishes) -> Self {
        let state = match codec {
            Codec::Pcmu => State::G711(Law::Mu),
            Codec::Pcma => State::G711(Law::A),
            Codec::G722 => State::G722(Box::default()),
            Codec::Opus => State::Opus(opus::Encoder::wished(codec.sample_rate(), wishes)),
        };
        Self { codec, state }
    }

    /// What it encodes to.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Encodes 20 ms and gives the payload's length in `out`: 160 bytes of G.711 and G.722, fewer of Opus,
    /// 0 if that failed. `pcm` should have the rate of
    /// [`Codec::sample_rate`]; of another one it is encoded as it is, at the wrong speed, or not at all (Opus). [`PAYLOAD_MAX`] bytes are always enough;
    /// what does not fit is not written.
    #[must_use]
    pub fn encode(&mut self, pcm: &Frame, out: &mut [u8]) -> usize {
        debug_assert_eq!(pcm.rate(), self.codec.sample_rate());
        match &mut self.state {
            State::G711(law) => {
                out.iter_mut().zip(pcm.samples()).for_each(|(to, sample)| *to = g711::encode(*law, *sample));
                out.len().min(pcm.samples().len())
            }
            State::G722(encoder) => encoder.encode(pcm.samples(), out),
            State::Opus(encoder) => encoder.encode(pcm.samples(), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_payload() {
        let mut pcm = Frame::silent(8_000);
        pcm.copy_from(&[-32_124, 132]);
        for (codec, expected) in [(Codec::Pcmu, [0x00, 0xef, 0xff]), (Codec::Pcma, [0x2a, 0xdd, 0xd5])] {
            let (mut encoder, mut out) = (Encoder::new(codec), [0; PAYLOAD_MAX]);
            assert_eq!(encoder.encode(&pcm, &mut out), 160);
            assert_eq!((&out[..3], &out[3..]), (&expected[..], &[expected[2]; 157][..]));
            assert_eq!(encoder.encode(&pcm, &mut out[..2]), 2, "never beyond the buffer");
        }
    }
}

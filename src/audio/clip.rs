//! A prompt's audio, encoded once a codec when it is loaded and shared by all calls.

use std::time::Duration;

use super::Codec;
use super::g711::{self, Law};

/// One prompt's audio in every codec we speak. One byte is one sample, 8,000 a second.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    /// G.711 µ-law bytes.
    pub pcmu: Box<[u8]>,
    /// G.711 A-law bytes, as many as `pcmu`.
    pub pcma: Box<[u8]>,
}

impl Clip {
    /// Encodes `samples`, taken 8,000 times a second ([`Pcm::resample_to`](super::Pcm::resample_to)).
    #[must_use]
    pub fn from_pcm(samples: &[i16]) -> Self {
        let encoded = |law| samples.iter().map(|&sample| g711::encode(law, sample)).collect();
        Self { pcmu: encoded(Law::Mu), pcma: encoded(Law::A) }
    }

    /// The bytes as `codec` sends them.
    #[must_use]
    pub fn bytes(&self, codec: Codec) -> &[u8] {
        match codec {
            Codec::Pcmu => &self.pcmu,
            Codec::Pcma => &self.pcma,
        }
    }

    /// How long it plays.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.pcmu.len() as u64 * 125)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_holds_the_same_samples_in_both_laws() {
        let clip = Clip::from_pcm(&[0, 132, -32_124]);
        assert_eq!(clip.bytes(Codec::Pcmu), [0xff, 0xef, 0x00]);
        assert_eq!(clip.bytes(Codec::Pcma), [0xd5, 0xdd, 0x2a]);
        assert_eq!(clip.duration(), Duration::from_micros(375));
    }
}

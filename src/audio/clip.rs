//! A prompt's audio, encoded once a codec and shared by all calls.
//!
//! G.711 is there from the beginning: 0.3 ns a sample. Opus costs a thousand times as much, for minutes of prompts that most machines never
//! send in it, so it is prepared when a call first wants it. A leg that cannot wait for that encodes by itself meanwhile, from the
//! samples in here.
//!
//! G.722 cannot be encoded ahead, because its bytes only fit behind the ones before ([`g722`](super::g722)): a leg encodes it
//! as it plays, which is cheap. What is prepared for it is the sound above 4 kHz, where a recording has any.

use std::sync::OnceLock;
use std::time::Duration;

use super::encoder::PAYLOAD_MAX;
use super::g711::{self, Law};
use super::{AudioError, Codec, Pcm, opus};

/// Samples, 8,000 a second, of the 20 ms that an Opus packet holds.
pub const PACKET_SAMPLES: usize = 160;

/// One prompt's audio in every codec that calls have asked for.
#[derive(Debug)]
pub struct Clip {
    pcmu: Box<[u8]>,
    pcma: Box<[u8]>,
    /// 16,000 samples a second, two for each byte of G.711; empty when the recording has no more than the telephone's 8,000.
    wide: OnceLock<Box<[i16]>>,
    opus: OnceLock<Packets>,
}

/// Opus packets of 20 ms each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    bytes: Box<[u8]>,
    /// Where each packet ends in `bytes`.
    ends: Box<[u32]>,
}

impl Clip {
    /// Encodes `samples`, taken 8,000 times a second ([`Pcm::resample_to`]), in G.711.
    #[must_use]
    pub fn from_pcm(samples: &[i16]) -> Self {
        let encoded = |law| samples.iter().map(|&sample| g711::encode(law, sample)).collect();
        Self::from_g711(encoded(Law::Mu), encoded(Law::A))
    }

    /// From bytes that are encoded already, one a sample in both laws; the longer one is cut.
    #[must_use]
    pub fn from_g711(pcmu: Box<[u8]>, pcma: Box<[u8]>) -> Self {
        let length = pcmu.len().min(pcma.len());
        let cut =
            |bytes: Box<[u8]>| if bytes.len() == length { bytes } else { bytes.iter().copied().take(length).collect() };
        Self { pcmu: cut(pcmu), pcma: cut(pcma), wide: OnceLock::new(), opus: OnceLock::new() }
    }

    /// Its samples in G.711, one a byte, 8,000 a second.
    #[must_use]
    pub fn g711(&self, law: Law) -> &[u8] {
        match law {
            Law::Mu => &self.pcmu,
            Law::A => &self.pcma,
        }
    }

    /// Its samples at 16,000 a second, twice as many as [`samples`](Self::samples); `None` until [`prepare`](Self::prepare), and
    /// when the recording has no more than 8,000.
    #[must_use]
    pub fn wide(&self) -> Option<&[i16]> {
        self.wide.get().map(AsRef::as_ref).filter(|samples| !samples.is_empty())
    }

    /// Its packets in Opus; `None` until [`prepare`](Self::prepare).
    #[must_use]
    pub fn opus(&self) -> Option<&Packets> {
        self.opus.get()
    }

    /// How many samples it has, 8,000 a second.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.pcmu.len()
    }

    /// How long it plays.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.pcmu.len() as u64 * 125)
    }

    /// True when `codec` can be sent as it lies here.
    #[must_use]
    pub fn is_prepared(&self, codec: Codec) -> bool {
        match codec {
            Codec::Pcmu | Codec::Pcma => true,
            Codec::G722 => self.wide.get().is_some(),
            Codec::Opus => self.opus.get().is_some(),
        }
    }

    /// Makes it ready in `codec` for all calls to come. `recording` is what the clip was made from, at the rate it was recorded:
    /// G.722 and Opus keep more of it than the telephone's 8,000 samples a second. Takes 4 to 10 ms of work for a second of Opus. A
    /// second call changes nothing.
    ///
    /// # Errors
    /// [`AudioError::Rate`] when the recording cannot be brought to a rate of the codec.
    pub fn prepare(&self, codec: Codec, recording: &Pcm) -> Result<(), AudioError> {
        if self.is_prepared(codec) {
            return Ok(());
        }
        match codec {
            Codec::Pcmu | Codec::Pcma => {}
            Codec::G722 => {
                let wide =
                    if recording.rate > 8_000 { recording.clone().resample_to(16_000)?.samples } else { Vec::new() };
                let length = if wide.is_empty() { 0 } else { 2 * self.samples() };
                // Another thread may have been faster: the samples are the same.
                let _ = self.wide.set(wide.into_iter().chain(std::iter::repeat(0)).take(length).collect());
            }
            Codec::Opus => {
                let _ = self.opus.set(encode_opus(recording)?);
            }
        }
        Ok(())
    }

    /// The samples from `from` on, as far as `out` and the clip go; gives how many. As they were before G.711 where the recording was in µ-law
    /// itself, with its noise where not.
    pub fn copy_samples(&self, from: usize, out: &mut [i16]) -> usize {
        let bytes = self.pcmu.get(from..).unwrap_or_default();
        out.iter_mut().zip(bytes).map(|(to, &byte)| *to = g711::decode(Law::Mu, byte)).count()
    }
}

impl Packets {
    /// The packet of that index; `None` behind the last.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.bytes.get(begin..end)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map_while(|index| self.get(index))
    }
}

/// What was prepared since does not make it another clip.
impl PartialEq for Clip {
    fn eq(&self, other: &Self) -> bool {
        self.pcmu == other.pcmu && self.pcma == other.pcma
    }
}

impl Eq for Clip {}

fn encode_opus(recording: &Pcm) -> Result<Packets, AudioError> {
    // The codec's lowest rate that loses nothing.
    let rate = [8_000, 12_000, 16_000, 24_000].into_iter().find(|&rate| recording.rate <= rate).unwrap_or(48_000);
    let resampled = recording.clone().resample_to(rate)?;
    let mut encoder = opus::Encoder::new(rate);
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut frame = vec![0; rate as usize / 50];
    let mut frames = resampled.samples.chunks(frame.len());
    for _ in 0..opus::packets_of(resampled.samples.len(), rate) {
        let samples = frames.next().unwrap_or_default();
        frame.fill(0);
        frame.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
        let mut packet = [0; PAYLOAD_MAX];
        let length = encoder.encode(&frame, &mut packet);
        bytes.extend_from_slice(packet.get(..length).filter(|packet| !packet.is_empty()).unwrap_or(opus::silence()));
        ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    Ok(Packets { bytes: bytes.into(), ends: ends.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_holds_the_same_samples_in_both_laws() {
        let clip = Clip::from_pcm(&[0, 132, -32_124]);
        assert_eq!(clip.g711(Law::Mu), [0xff, 0xef, 0x00]);
        assert_eq!(clip.g711(Law::A), [0xd5, 0xdd, 0x2a]);
        assert_eq!(clip.duration(), Duration::from_micros(375));
        let mut samples = [7; 4];
        assert_eq!((clip.copy_samples(1, &mut samples), samples), (2, [132, -32_124, 7, 7]));
        assert_eq!(clip.copy_samples(9, &mut samples), 0);
    }

    #[test]
    fn it_is_prepared_once_and_plays_as_long_in_every_codec() {
        let recording = Pcm { samples: vec![1_000; 48_000 / 50 * 7 + 1], rate: 48_000 };
        let clip = Clip::from_pcm(&recording.clone().resample_to(8_000).unwrap().samples);
        for codec in Codec::ALL {
            assert_eq!(clip.is_prepared(codec), codec.law().is_some());
            assert_eq!(clip.prepare(codec, &recording), Ok(()));
            assert!(clip.is_prepared(codec));
        }
        assert_eq!(clip.prepare(Codec::Opus, &Pcm { samples: vec![], rate: 1 }), Ok(()), "nothing is left to do");
        assert_eq!(clip.wide().map(<[i16]>::len), Some(2 * clip.samples()));
        let packets = clip.opus().unwrap();
        // 6,721 samples and the 312 that the encoder holds back are 7.3 packets.
        assert_eq!((packets.len(), packets.iter().count()), (8, 8));
        assert!(packets.iter().all(|packet| opus::samples(packet) == Some(960)));
        assert_eq!((packets.get(8), Packets::default().get(0)), (None, None));
    }

    #[test]
    fn nothing_is_nothing_in_every_codec() {
        let (clip, nothing) = (Clip::from_pcm(&[]), Pcm { samples: vec![], rate: 8_000 });
        for codec in Codec::ALL {
            clip.prepare(codec, &nothing).unwrap();
        }
        assert_eq!((clip.wide(), clip.opus().map(Packets::is_empty)), (None, Some(true)));
        let narrow = Pcm { samples: vec![1_000; 80], rate: 8_000 };
        let clip = Clip::from_pcm(&narrow.samples);
        clip.prepare(Codec::G722, &narrow).unwrap();
        assert_eq!((clip.is_prepared(Codec::G722), clip.wide()), (true, None), "there is no more in it");
        let mad = Pcm { samples: vec![1], rate: 4_000_000 };
        assert_eq!(Clip::from_pcm(&[1]).prepare(Codec::G722, &mad), Err(AudioError::Rate(4_000_000)));
    }
}

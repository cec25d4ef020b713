//! Opus (RFC 6716) as RFC 7587 carries it: mono, 20 ms a packet of ours, in-band FEC on.
//!
//! The codec itself is the crate `ropus`, a port of the reference implementation in Rust; this file is the fence around it. A packet's
//! shape is checked before the crate sees it (RFC 6716 §3.4), and a fault inside the crate costs that packet, not the leg.

use std::fmt;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use ropus::{Application, Bitrate, Channels, DecodeMode, InbandFec, Signal};

use super::encoder::PAYLOAD_MAX;

/// Bits a second that we encode at, on average: speech without a flaw at 48,000 samples a second, FEC included.
pub const BITRATE: u32 = 24_000;

/// Bits a second that a far end may bound its sender to (RFC 7587 §6.1).
pub const BITRATES: RangeInclusive<u32> = 6_000..=510_000;

/// What a far end wants of those who encode for it (RFC 7587 §6.1). The rest of its parameters are wishes that any packet fulfils or that
/// nobody has to: we send mono, at the bandwidth of what was recorded, and in every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Bits a second on average, within [`BITRATES`], that it takes at most (`maxaveragebitrate`).
    pub bitrate_max: Option<u32>,
    /// It makes use of in-band FEC (`useinbandfec`). Who does not throws it away.
    pub fec: bool,
}

impl Wishes {
    /// Those of a far end that takes what we make for everybody.
    pub const NONE: Self = Self { bitrate_max: None, fec: true };

    /// Whether packets that were made for everybody, at [`BITRATE`], may be sent.
    #[must_use]
    pub fn allow_prepared(self) -> bool {
        self.bitrate_max.is_none_or(|bits| bits >= BITRATE)
    }
}

/// Loss in percent that the encoder arms itself against. FEC spends about a tenth of the bits for it.
const EXPECTED_LOSS: u8 = 10;

/// Of ten; above five the ear gains nothing at this rate and the encoder takes twice as long.
const COMPLEXITY: u8 = 5;

/// A stream whose packets have broken the codec this often is not decoded any more.
const FAULTS_MAX: u8 = 3;

/// Samples at 48,000 a second of the longest packet: 120 ms.
const PACKET_SAMPLES_MAX: usize = 5_760;

/// Frames of one packet at most (RFC 6716 §3.2.5), and bytes of one frame (§3.2.1).
const FRAMES_MAX: usize = 48;
const FRAME_BYTES_MAX: usize = 1_275;

/// Encodes one stream.
pub struct Encoder {
    rate: u32,
    wishes: Wishes,
    /// `None` once the codec broke and could not be made anew: it then gives nothing.
    inner: Option<Box<ropus::Encoder>>,
}

/// Decodes one stream to 48,000 samples a second.
pub struct Decoder {
    inner: Option<Box<ropus::Decoder>>,
    faults: u8,
}

impl Encoder {
    /// An encoder for samples taken `rate` times a second: 8,000, 12,000, 16,000, 24,000 or 48,000. At another rate it encodes nothing.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self::wished(rate, Wishes::NONE)
    }

    /// The same, as one far end wants it.
    #[must_use]
    pub fn wished(rate: u32, wishes: Wishes) -> Self {
        let fec = if wishes.fec { InbandFec::Enabled } else { InbandFec::Disabled };
        let inner = ropus::Encoder::builder(rate, Channels::Mono, Application::Voip)
            .bitrate(Bitrate::Bits(wishes.bitrate_max.map_or(BITRATE, |bits| bits.min(BITRATE))))
            .complexity(COMPLEXITY)
            .signal(Signal::Voice)
            .inband_fec(fec)
            .packet_loss_perc(EXPECTED_LOSS)
            .build();
        Self { rate, wishes, inner: inner.ok().map(Box::new) }
    }

    /// Encodes 20 ms, `rate / 50` samples, and gives the packet's length in `out`; 0 when the samples are not as many or the codec failed.
    /// [`PAYLOAD_MAX`] bytes are always enough.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        if samples.len() * 50 != self.rate as usize {
            return 0;
        }
        let bound = out.len().min(PAYLOAD_MAX);
        let (Some(inner), Some(out)) = (&mut self.inner, out.get_mut(..bound)) else { return 0 };
        match catch_unwind(AssertUnwindSafe(|| inner.encode(samples, out))) {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => {
                tracing::debug!(%error, "20 ms could not be encoded");
                0
            }
            Err(_) => {
                tracing::error!("the Opus encoder broke; it begins anew");
                *self = Self::wished(self.rate, self.wishes);
                0
            }
        }
    }
}

impl Decoder {
    /// A decoder for the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: decoder(), faults: 0 }
    }

    /// Decodes a packet and gives how many samples of `out` it wrote; `None` when it is no Opus packet, longer than `out`, or broke the
    /// codec. `out` then holds anything.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Option<usize> {
        let length = samples(packet)?;
        let out = out.get_mut(..length)?;
        self.run(|inner| inner.decode(packet, out, DecodeMode::Normal))
    }

    /// Fills `out`, 2.5 ms or a multiple of it up to 120 ms, for a packet that did not come. `next` is the one behind it, if that is here already: its in-band FEC
    /// may hold what is missing (RFC 6716 §2.1.7). False when the codec could not.
    pub fn conceal(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> bool {
        let (packet, mode) = match next.filter(|next| samples(next).is_some()) {
            Some(next) => (next, DecodeMode::Fec),
            None => (&[][..], DecodeMode::Normal),
        };
        self.run(|inner| inner.decode(packet, out, mode)).is_some()
    }

    fn run(&mut self, decode: impl FnOnce(&mut ropus::Decoder) -> Result<usize, ropus::DecodeError>) -> Option<usize> {
        let inner = self.inner.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| decode(inner))) {
            Ok(result) => result.ok(),
            Err(_) => {
                self.faults += 1;
                self.inner = if self.faults < FAULTS_MAX { decoder() } else { None };
                tracing::error!("a packet broke the Opus decoder");
                None
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("faults", &self.faults).finish_non_exhaustive()
    }
}

fn decoder() -> Option<Box<ropus::Decoder>> {
    ropus::Decoder::new(48_000, Channels::Mono).ok().map(Box::new)
}

/// A packet of 20 ms that sounds like nothing, and leads a decoder of any state to silence within a few of them.
#[must_use]
pub fn silence() -> &'static [u8] {
    static SILENCE: LazyLock<Box<[u8]>> = LazyLock::new(|| {
        let (mut encoder, mut packet, mut length) = (Encoder::new(8_000), [0; PAYLOAD_MAX], 0);
        // Behind half a second of silence the encoder has forgotten its beginning.
        for _ in 0..25 {
            length = encoder.encode(&[0; 160], &mut packet);
        }
        packet.get(..length).unwrap_or_default().into()
    });
    &SILENCE
}

/// How many packets of 20 ms `samples` at `rate` make. The encoder holds 6.5 ms back, which must leave it too for the end to be heard.
#[must_use]
pub fn packets_of(samples: usize, rate: u32) -> usize {
    let held_back = rate as usize * 13 / 2_000;
    if samples == 0 { 0 } else { (samples + held_back).div_ceil(rate as usize / 50) }
}

/// How many samples a packet decodes to at 48,000 a second; `None` when it is malformed (RFC 6716 §3.4, R1 to R7). A frame without
/// bytes is well-formed: the far end's DTX (§2.1.9).
#[must_use]
pub fn samples(packet: &[u8]) -> Option<usize> {
    let (&toc, rest) = packet.split_first()?;
    let frame_samples = match toc >> 3 {
        // SILK: 10, 20, 40, 60 ms. Hybrid: 10, 20 ms. CELT: 2.5, 5, 10, 20 ms (table 2).
        config @ 0..=11 => [480, 960, 1_920, 2_880].get(usize::from(config & 3)).copied()?,
        config @ 12..=15 => 480 << (config & 1),
        config => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => (rest.len() <= FRAME_BYTES_MAX).then_some(1)?,
        1 => (rest.len().is_multiple_of(2) && rest.len() / 2 <= FRAME_BYTES_MAX).then_some(2)?,
        2 => {
            let (first, rest) = frame_length(rest)?;
            let second = rest.len().checked_sub(first)?;
            (second <= FRAME_BYTES_MAX).then_some(2)?
        }
        _ => arbitrary_frames(rest)?,
    };
    Some(frames * frame_samples).filter(|&samples| samples <= PACKET_SAMPLES_MAX)
}

/// The number of frames of a code 3 packet (§3.2.5) behind its first byte, if they add up.
fn arbitrary_frames(rest: &[u8]) -> Option<usize> {
    let (&count, mut rest) = rest.split_first()?;
    let frames = usize::from(count & 0x3f);
    if !(1..=FRAMES_MAX).contains(&frames) {
        return None;
    }
    if count & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (&length, behind) = rest.split_first()?;
            rest = behind;
            padding += usize::from(length.min(254));
            if length != 255 {
                break;
            }
        }
        rest = rest.get(..rest.len().checked_sub(padding)?)?;
    }
    if count & 0x80 == 0 {
        let fits = rest.len().is_multiple_of(frames) && rest.len() / frames <= FRAME_BYTES_MAX;
        return fits.then_some(frames);
    }
    let mut lengths = 0;
    for _ in 1..frames {
        let (length, behind) = frame_length(rest)?;
        lengths += length;
        rest = behind;
    }
    (rest.len().checked_sub(lengths)? <= FRAME_BYTES_MAX).then_some(frames)
}

/// A frame's length in one or two bytes (§3.2.1), and what follows it.
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 252 {
        return Some((usize::from(first), rest));
    }
    let (&second, rest) = rest.split_first()?;
    Some((usize::from(second) * 4 + usize::from(first), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, seconds: u32) -> Vec<i16> {
        let sample = |index| (f64::from(index) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 8_000.0;
        (0..rate * seconds).map(|index| sample(index) as i16).collect()
    }

    fn packets(rate: u32, samples: &[i16]) -> Vec<Vec<u8>> {
        let (mut encoder, mut out) = (Encoder::new(rate), [0; PAYLOAD_MAX]);
        let mut packet = |frame: &[i16]| {
            let length = encoder.encode(frame, &mut out);
            out[..length].to_vec()
        };
        samples.chunks_exact(rate as usize / 50).map(&mut packet).collect()
    }

    fn decoded(packets: &[Vec<u8>]) -> Vec<i16> {
        let (mut decoder, mut out) = (Decoder::new(), [0; PACKET_SAMPLES_MAX]);
        let mut samples = Vec::new();
        for packet in packets {
            let length = decoder.decode(packet, &mut out).unwrap();
            samples.extend_from_slice(&out[..length]);
        }
        samples
    }

    fn rms(samples: &[i16]) -> f64 {
        (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn a_tone_comes_back_at_its_pitch_and_level_within_the_bits_asked_for() {
        for rate in [8_000, 12_000, 16_000, 24_000, 48_000] {
            let packets = packets(rate, &tone(rate, 2));
            assert!(packets.iter().all(|packet| samples(packet) == Some(960) && packet.len() <= PAYLOAD_MAX), "{rate}");
            let bits = packets.iter().map(Vec::len).sum::<usize>() * 8 / 2;
            assert!((10_000..=27_000).contains(&bits), "{rate}: {bits} bit/s of {BITRATE}");
            let heard = &decoded(&packets)[48_000..];
            let crossings = heard.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            assert!((438..=442).contains(&crossings), "{rate}: {crossings} Hz");
            assert!((rms(heard) / 5_657.0 - 1.0).abs() < 0.1, "{rate}: {}", rms(heard));
        }
    }

    #[test]
    fn what_the_encoder_cannot_take_gives_no_packet() {
        let mut out = [0; PAYLOAD_MAX];
        assert_eq!(Encoder::new(44_100).encode(&[0; 882], &mut out), 0);
        assert_eq!(Encoder::new(8_000).encode(&[0; 161], &mut out), 0);
        assert_eq!(Encoder::new(8_000).encode(&[0; 160], &mut []), 0);
    }

    /// RFC 6716 §2.1.7: the packet behind a lost one holds a coarser copy of it. Without that copy the decoder guesses.
    #[test]
    fn the_next_packet_fills_the_gap_better_than_a_guess() {
        // Speech-like: the pitch glides, so that going on as before is wrong.
        let glide = |index: u32| {
            let time = f64::from(index) / 16_000.0;
            let phase = std::f64::consts::TAU * (150.0 * time + 120.0 * time * time);
            (1..9).map(|n| (phase * f64::from(n)).sin() / f64::from(n)).sum::<f64>() * 4_000.0
        };
        let said: Vec<i16> = (0..32_000).map(|index| glide(index) as i16).collect();
        let packets = packets(16_000, &said);
        let whole = decoded(&packets);
        let error = |with_next: bool| {
            let mut sum = 0.0;
            for lost in (20..90).step_by(7) {
                let (mut decoder, mut out) = (Decoder::new(), [0; 960]);
                packets[..lost].iter().for_each(|packet| assert!(decoder.decode(packet, &mut out).is_some()));
                let next = with_next.then(|| packets[lost + 1].as_slice());
                assert!(decoder.conceal(next, &mut out));
                let wanted = &whole[lost * 960..(lost + 1) * 960];
                sum += wanted.iter().zip(out).map(|(a, b)| (f64::from(*a) - f64::from(b)).powi(2)).sum::<f64>();
            }
            sum
        };
        let (guessed, repaired) = (error(false), error(true));
        assert!(repaired < guessed / 2.0, "{repaired} against {guessed}");
    }

    /// RFC 6716 §2.1.9, RFC 7587 §3.1.3: with DTX a packet of a byte or two stands for silence.
    #[test]
    fn a_packet_without_a_frame_is_the_far_ends_silence() {
        let toc = packets(8_000, &tone(8_000, 1))[40][0];
        let (mut decoder, mut out) = (Decoder::new(), [0; 960]);
        for packet in [&[toc & !3][..], &[toc & !3 | 1], &[toc & !3 | 3, 1]] {
            let expected = samples(packet);
            assert_eq!(expected, if packet[0] & 3 == 1 { Some(1_920) } else { Some(960) });
            assert_eq!(decoder.decode(packet, &mut out), expected.filter(|length| *length <= 960), "{packet:?}");
        }
        assert!(out.iter().all(|sample| *sample == 0), "nothing was heard before");
    }

    #[test]
    fn silence_is_silent_behind_anything() {
        let mut packets = packets(8_000, &tone(8_000, 1));
        let loud = packets.len() * 960;
        packets.extend(std::iter::repeat_n(silence().to_vec(), 50));
        let heard = decoded(&packets);
        let peak = |from: usize| heard[loud + from..].iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(peak(4 * 960) <= 20, "{} after 80 ms", peak(4 * 960));
        assert!(silence().len() <= 40, "{} bytes", silence().len());
    }

    /// RFC 6716 §3.4, one row a rule.
    #[test]
    fn packets_that_do_not_add_up_are_told() {
        let rows: &[(&[u8], Option<usize>)] = &[
            (&[], None),                                 // R1
            (&[0x00], Some(480)),                        // SILK, 10 ms, an empty frame
            (&[0x18, 1, 2], Some(2_880)),                // SILK, 60 ms
            (&[0x68, 1], Some(960)),                     // hybrid, 20 ms
            (&[0xe0, 1], Some(120)),                     // CELT, 2.5 ms
            (&[0x01, 1, 2], Some(960)),                  // two frames, equally long
            (&[0x01, 1, 2, 3], None),                    // R3
            (&[0x02, 1, 9, 9], Some(960)),               // two frames, the first of one byte
            (&[0x02, 3, 9, 9], None),                    // R4: beyond the end
            (&[0x02], None),                             // R4: no length
            (&[0x02, 252], None),                        // R4: half a length
            (&[0x03], None),                             // R6: no count
            (&[0x03, 0], None),                          // R5: no frame
            (&[0x1b, 3, 1, 1, 1], None),                 // R5: 180 ms
            (&[0x1b, 2, 1, 1], Some(5_760)),             // 120 ms
            (&[0x03, 2, 1, 1, 1], None),                 // R6: three bytes in two frames
            (&[0x03, 0x41, 1, 7, 0], Some(480)),         // a byte of padding
            (&[0x03, 0x41, 2, 0], None),                 // R6: padding beyond the end
            (&[0x03, 0x41, 255], None),                  // R6: padding goes on beyond the end
            (&[0x03, 0x83, 1, 1, 5, 5, 5], Some(1_440)), // lengths written out
            (&[0x03, 0x83, 1, 9, 5, 5, 5], None),        // R7
        ];
        for (packet, expected) in rows {
            assert_eq!(samples(packet), *expected, "{packet:02x?}");
        }
        assert_eq!(samples(&[0; FRAME_BYTES_MAX + 1]), Some(480));
        assert_eq!(samples(&[0; FRAME_BYTES_MAX + 2]), None, "R2");
    }

    /// Whatever comes: an error or a frame, never a panic, and good packets are decoded behind it.
    #[test]
    fn hostile_packets_cost_themselves_alone() {
        let good = packets(16_000, &tone(16_000, 1));
        let mut state = 0x2545_f491_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let (mut decoder, mut out, mut decoded) = (Decoder::new(), [0; PACKET_SAMPLES_MAX], 0);
        for round in 0..4_000 {
            let mut packet: Vec<u8> = match round % 3 {
                0 => (0..random() % 200).map(|_| random() as u8).collect(),
                _ => good[random() % good.len()].clone(),
            };
            for _ in 0..random() % 6 {
                let place = random() % packet.len().max(1);
                packet.get_mut(place).into_iter().for_each(|byte| *byte = random() as u8);
            }
            packet.truncate(random() % 250);
            decoded += usize::from(decoder.decode(&packet, &mut out).is_some());
            decoder.conceal(Some(&packet), &mut out[..960]);
        }
        assert_eq!(decoder.faults, 0);
        assert!(decoded > 2_000, "{decoded}");
        good.iter().for_each(|packet| assert_eq!(decoder.decode(packet, &mut out), Some(960)));
        assert!((rms(&out[..960]) / 5_657.0 - 1.0).abs() < 0.2, "{}", rms(&out[..960]));
    }
}

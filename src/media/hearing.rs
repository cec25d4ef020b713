//! What a leg hears, as samples: jitter buffer, decoder, concealment, comfort noise, in this order. A leg has it only while
//! somebody listens (a recording, a bridge, the search for tones): a menu with telephone events decodes nothing.

use std::time::Instant;

use super::LegSettings;
use super::tones::Tones;
use crate::audio::PAYLOAD_MAX as RELAYED_MAX;
use crate::audio::{Codec, ComfortNoise, Concealment, Decoder, Frame};
use crate::dtmf::Digit;
use crate::rtp::{JitterBuffer, JitterCounts, JitterSettings, Playout, RtpHeader};

/// The static payload type of comfort noise beside a codec of 8,000 units a second (RFC 3389 §4). It is understood without
/// negotiation: gateways send it unasked.
const COMFORT_NOISE: u8 = 13;

/// A packet of Opus that is no longer stands for silence (RFC 6716 §2.1.9).
const SAYS_NOTHING: usize = 2;

/// Longest payload kept: 120 ms of G.711 or G.722.
const PAYLOAD_MAX: usize = 960;

/// Packets of up to 120 ms, and the rest of the one before, in frames of 20 ms.
const FRAMES_MAX: usize = 8;

/// Below this, 20 ms are silence: about −50 dBov, as the root of the mean square.
const QUIET: f32 = 100.0;

/// The noise made for a sender that falls silent without describing its background is never above this: about −60 dBov.
const NOISE_MAX: f32 = 30.0;

/// How fast the estimate of the background rises: 6 dB in five seconds.
const BACKGROUND_RISE: f32 = 1.0028;

/// What a packet is, by its payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Of the negotiated codec.
    Audio,
    /// RFC 3389.
    ComfortNoise,
    /// RFC 4733.
    TelephoneEvent,
}

impl Content {
    /// `None` for a payload type that was not negotiated.
    #[must_use]
    pub fn of(payload_type: u8, settings: &LegSettings) -> Option<Self> {
        match payload_type {
            audio if audio == settings.payload_type => Some(Self::Audio),
            event if Some(event) == settings.telephone_event => Some(Self::TelephoneEvent),
            COMFORT_NOISE if settings.codec.clock_rate() == 8_000 => Some(Self::ComfortNoise),
            _ => None,
        }
    }

    /// The sender says with it that nothing may come for a while: comfort noise, or Opus that says nothing (RFC 7587 §3.1.3).
    #[must_use]
    pub fn announces_silence(self, codec: Codec, payload: &[u8]) -> bool {
        match self {
            Self::Audio => codec == Codec::Opus && payload.len() <= SAYS_NOTHING,
            Self::ComfortNoise => true,
            Self::TelephoneEvent => false,
        }
    }
}

/// One leg's ear. Allocates nothing after [`Hearing::new`].
#[derive(Debug)]
pub struct Hearing {
    codec: Codec,
    buffer: JitterBuffer,
    decoder: Decoder,
    concealment: Concealment,
    noise: ComfortNoise,
    /// The level of the quietest frames.
    background: f32,
    /// The sender has described its noise, and said nothing since.
    is_described: bool,
    /// Samples decoded beyond the frames given out.
    samples: Box<[i16]>,
    waiting: usize,
    heard: Frame,
    quiet: bool,
    /// While keys are sought in it.
    tones: Option<Tones>,
    /// Somebody takes what is heard. Who only seeks keys has no use for a substitute of what was lost.
    is_heard: bool,
    /// The payload that the last tick's frame is made of.
    payload: [u8; RELAYED_MAX],
    /// 0 when it is not made of one payload of 20 ms.
    payload_length: usize,
}

impl Hearing {
    /// An ear for this codec that has heard nothing.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        let rate = codec.sample_rate();
        let frame = Frame::silent(rate);
        Self {
            codec,
            buffer: JitterBuffer::new(JitterSettings::new(codec.clock_rate(), PAYLOAD_MAX)),
            decoder: Decoder::new(codec),
            concealment: Concealment::new(rate),
            noise: ComfortNoise::new(),
            background: 0.0,
            is_described: false,
            samples: vec![0; frame.samples().len() * FRAMES_MAX].into(),
            waiting: 0,
            heard: frame,
            quiet: true,
            tones: None,
            is_heard: true,
            payload: [0; RELAYED_MAX],
            payload_length: 0,
        }
    }

    /// The codec it decodes.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Says what it is for: to seek keys, and for whoever takes what is [`heard`](Self::heard), which is silence while nobody does.
    pub fn listen_for(&mut self, tones: bool, is_heard: bool) {
        if !tones {
            self.tones = None;
        } else if self.tones.is_none() {
            self.tones = Some(Tones::new(self.codec));
        }
        if self.is_heard && !is_heard {
            self.concealment.reset();
            self.waiting = 0;
            self.heard.silence();
        }
        self.is_heard = is_heard;
    }

    /// A key is down, as far as was heard of one that is sought.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.tones.as_ref().is_some_and(Tones::is_pressed)
    }

    /// An ear for another codec that has heard nothing, but that a key is down.
    #[must_use]
    pub fn in_codec(self, codec: Codec) -> Self {
        let tones = self.tones.map(|tones| tones.in_codec(codec));
        Self { tones, is_heard: self.is_heard, ..Self::new(codec) }
    }

    /// Takes an accepted packet of the leg.
    pub fn handle_packet(&mut self, now: Instant, header: &RtpHeader, content: Content, payload: &[u8]) {
        match content {
            Content::Audio => {
                self.buffer.handle_packet(now, header, units(self.codec, payload), payload);
            }
            Content::ComfortNoise => {
                self.buffer.handle_packet(now, header, 0, payload);
            }
            Content::TelephoneEvent => self.buffer.handle_other(header),
        }
    }

    /// Makes the next 20 ms of what is heard; `pressed` is called with each key that is found in them
    /// ([`listen_for`](Self::listen_for)).
    pub fn tick(&mut self, now: Instant, mut pressed: impl FnMut(Digit)) -> &Frame {
        self.buffer.tick(now, self.quiet);
        self.payload_length = 0;
        let (mut pieces, is_seamless) = (0, self.waiting == 0);
        let (clock, rate) = (self.codec.clock_rate(), self.codec.sample_rate());
        let count_of = |units: u32| (u64::from(units) * u64::from(rate) / u64::from(clock)) as usize; // below 2^32
        let mut said = true;
        let mut is_loud = false;
        while let Some(playout) = self.buffer.next() {
            said &= matches!(playout, Playout::Payload { .. });
            let room = self.samples.get_mut(self.waiting..).unwrap_or_default();
            pieces += 1;
            let made = match playout {
                Playout::Payload { payload_type: COMFORT_NOISE, payload, before, .. } => {
                    self.noise.describe(payload);
                    self.is_described = true;
                    if let Some(tones) = &mut self.tones {
                        tones.handle_packet(before, &[], &mut pressed);
                    }
                    0
                }
                Playout::Payload { payload, duration, before, .. } => {
                    self.is_described = false;
                    let count = count_of(duration).min(room.len());
                    let room = room.get_mut(..count).unwrap_or_default();
                    decode(&mut self.decoder, payload, room);
                    if let Some(tones) = &mut self.tones {
                        // Before the substitute of what was lost fades beneath it.
                        tones.handle_packet(before, room, &mut pressed);
                    }
                    if !self.is_heard {
                        is_loud |= level(room) >= QUIET;
                        continue;
                    }
                    self.concealment.heard(room);
                    if is_seamless
                        && pieces == 1
                        && duration == self.codec.frame_units()
                        && let Some(place) = self.payload.get_mut(..payload.len())
                    {
                        place.copy_from_slice(payload);
                        self.payload_length = payload.len();
                    }
                    count
                }
                Playout::Missing { .. } | Playout::Nothing { .. } if !self.is_heard => 0,
                Playout::Missing { duration, .. } => {
                    let count = count_of(duration).min(room.len());
                    self.concealment.conceal(room.get_mut(..count).unwrap_or_default());
                    count
                }
                Playout::Nothing { duration } => {
                    if !self.is_described {
                        self.noise.set_white(self.background.min(NOISE_MAX));
                    }
                    let count = count_of(duration).min(room.len());
                    self.noise.fill(room.get_mut(..count).unwrap_or_default());
                    count
                }
            };
            self.waiting += made;
        }
        if !self.is_heard {
            self.quiet = !is_loud;
            return &self.heard;
        }
        if pieces > 1 {
            self.payload_length = 0;
        }
        self.give_out();
        let level = level(self.heard.samples());
        self.quiet = level < QUIET;
        if said {
            // Falls at once, rises slowly: speech passes above it.
            self.background = match self.background {
                unknown if unknown <= 0.0 => level,
                background => level.max(1.0).min(background * BACKGROUND_RISE),
            };
        }
        &self.heard
    }

    /// What the last tick made.
    #[must_use]
    pub fn heard(&self) -> &Frame {
        &self.heard
    }

    /// What the jitter buffer counts, in timestamp units of the codec.
    #[must_use]
    pub fn counts(&self) -> JitterCounts {
        self.buffer.counts()
    }

    /// How far behind the fastest packet it plays.
    #[must_use]
    pub fn depth(&self) -> std::time::Duration {
        self.buffer.depth()
    }

    /// The payload that the last tick's frame was decoded from, as it came; `None` when it was not exactly one: packets of
    /// another length, a loss, a pause.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.get(..self.payload_length).filter(|payload| !payload.is_empty())
    }

    fn give_out(&mut self) {
        let length = self.heard.samples().len();
        let ready = self.samples.get(..self.waiting.min(length)).unwrap_or_default();
        self.heard.copy_from(ready);
        self.samples.copy_within(length.min(self.waiting)..self.waiting, 0);
        self.waiting -= length.min(self.waiting);
    }
}

/// How long a payload plays, in units of the codec's clock.
fn units(codec: Codec, payload: &[u8]) -> u32 {
    codec.payload_units(payload).unwrap_or_default()
}

/// Fills `room`, which is as long as the payload plays.
fn decode(decoder: &mut Decoder, payload: &[u8], room: &mut [i16]) {
    if decoder.decode_whole(payload, room).is_err() {
        room.fill(0);
    }
}

/// The root of the mean square.
fn level(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::{self, Law};
    use crate::rtp::{RtpTime, SequenceNumber, Ssrc};
    use std::time::Duration;

    struct Story {
        hearing: Hearing,
        now: Instant,
        sequence: u16,
        keys: String,
    }

    impl Story {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        fn new() -> Self {
            Self { hearing: Hearing::new(Codec::Pcmu), now: Instant::now(), sequence: 0, keys: String::new() }
        }

        fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
            self.sequence += 1;
            let header = RtpHeader {
                marker: false,
                payload_type,
                sequence: SequenceNumber(self.sequence),
                timestamp: RtpTime(timestamp),
                ssrc: Ssrc(9),
            };
            let content = if payload_type == COMFORT_NOISE { Content::ComfortNoise } else { Content::Audio };
            self.hearing.handle_packet(self.now, &header, content, payload);
        }

        fn tick(&mut self) -> Vec<i16> {
            let heard = self.hearing.tick(self.now, |digit| self.keys.push(digit.as_char())).samples().to_vec();
            self.now += Duration::from_millis(20);
            heard
        }
    }

    /// A voice, encoded, and as it is decoded.
    fn voice(count: usize) -> (Vec<u8>, Vec<i16>) {
        let sample = |index: usize| ((index as f64 * 110.0 * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0) as i16;
        let bytes: Vec<u8> = (0..count).map(|index| g711::encode(Law::Mu, sample(index))).collect();
        let samples = bytes.iter().map(|&byte| g711::decode(Law::Mu, byte)).collect();
        (bytes, samples)
    }

    /// Whatever the length of its packets, a voice is heard to the sample.
    #[test]
    fn a_voice_is_heard_to_the_sample_in_packets_of_any_length() {
        let (bytes, samples) = voice(16_000);
        for length in [80, 160, 240, 320, 480, 960] {
            let (mut story, mut heard, mut sent) = (Story::new(), Vec::new(), 0);
            for tick in 0..90 {
                while sent <= tick * 160 {
                    story.packet(0, sent as u32, &bytes[sent..sent + length]);
                    sent += length;
                }
                heard.extend(story.tick());
            }
            let start = heard.iter().position(|&sample| sample != 0).unwrap();
            let first = samples.iter().position(|&sample| sample != 0).unwrap();
            assert!(start < 1_280, "{length}: begins after {start} samples");
            assert_eq!(heard[start..start + 12_000], samples[first..first + 12_000], "{length} bytes a packet");
        }
    }

    #[test]
    fn a_lost_packet_is_concealed_and_a_pause_is_filled_with_the_described_noise() {
        let (bytes, samples) = voice(16_000);
        let mut story = Story::new();
        let mut heard = Vec::new();
        for (index, packet) in bytes[..8_000].chunks(160).enumerate() {
            if index == 20 {
                story.sequence += 1;
            } else {
                story.packet(0, index as u32 * 160, packet);
            }
            heard.push(story.tick());
        }
        // A frame later than it was said.
        assert_eq!(heard[20], samples[19 * 160..20 * 160]);
        let difference = heard[21].iter().zip(&samples[20 * 160..]).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs());
        assert!(difference.max().unwrap() < 2_500, "110 Hz are not a whole number of samples");
        assert_eq!(story.hearing.counts().concealed, 160);
        story.packet(COMFORT_NOISE, 8_000, &[40]);
        let noise: Vec<i16> = (0..50).flat_map(|_| story.tick()).skip(160).collect();
        let level = 20.0 * (f64::from(level(&noise)) / 32_768.0).log10();
        assert!((level + 40.0).abs() < 1.0, "{level:.1} dBov");
        assert_eq!(story.hearing.counts().concealed, 160, "silence is not concealed");
    }

    /// A line that goes dead between two words sounds broken: the pause keeps the background of what was said.
    #[test]
    fn a_pause_without_a_description_keeps_a_little_of_the_background() {
        let mut story = Story::new();
        let hiss = g711::encode(Law::Mu, 20);
        for index in 0..50 {
            story.packet(0, index * 160, &[hiss; 160]);
            story.tick();
        }
        let heard: Vec<i16> = (0..20).flat_map(|_| story.tick()).skip(160 * 10).collect();
        let level = level(&heard);
        assert!((10.0..=NOISE_MAX).contains(&level), "{level}");
        let mut silent = Story::new();
        assert_eq!(
            (0..10).flat_map(|_| silent.tick()).filter(|&sample| sample != 0).count(),
            0,
            "nothing was said yet"
        );
    }
}

//! The search for keys in what a leg hears: in-band digits, for a far end that takes no telephone events.
//!
//! It hears the packets themselves, in the order and at the times of their sender. What is concealed for the ear never comes here:
//! a repeated period could be taken for a tone that went on, or a faded one for its end. A loss is a hole, and whether a
//! hole is a loss or a pause the jitter buffer tells by the sequence numbers ([`Hole`]).
//!
//! The detector hears 8,000 samples a second; wider sound is brought to that first.

use crate::audio::{Codec, FRAME_SAMPLES_MAX, Frame, Resampler};
use crate::dtmf::{Digit, ToneDetector};
use crate::rtp::Hole;

/// What the detector hears.
const RATE: u32 = 8_000;

/// Listens to one leg. Allocates nothing after [`Tones::new`].
#[derive(Debug)]
pub(super) struct Tones {
    codec: Codec,
    detector: ToneDetector,
    /// Of a codec that is wider than a telephone line.
    wide: Option<Wide>,
}

/// Twenty milliseconds on their way to the detector's rate.
#[derive(Debug)]
struct Wide {
    resampler: Resampler,
    samples: [i16; FRAME_SAMPLES_MAX],
    waiting: usize,
    narrow: Frame,
}

impl Tones {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, detector: ToneDetector::new(), wide: Wide::new(codec) }
    }

    /// The same ear in another codec: a key that is down stays down.
    pub(super) fn in_codec(self, codec: Codec) -> Self {
        let mut detector = self.detector;
        detector.handle_hole(1, 0);
        Self { codec, detector, wide: Wide::new(codec) }
    }

    /// Takes the samples of the next packet, at the codec's rate, with the hole before it; `pressed` is called with each key at
    /// its beginning.
    pub(super) fn handle_packet(&mut self, before: Hole, samples: &[i16], mut pressed: impl FnMut(Digit)) {
        if before != Hole::default() {
            let samples_of =
                |units: u32| (u64::from(units) * u64::from(RATE) / u64::from(self.codec.clock_rate())) as usize; // below 2^32
            self.detector.handle_hole(samples_of(before.missing), samples_of(before.paused));
        }
        match &mut self.wide {
            None => self.detector.handle_samples(samples, pressed),
            Some(wide) => {
                if before != Hole::default() {
                    // Less than 20 ms, of a sender with packets of other lengths.
                    wide.waiting = 0;
                }
                wide.handle_samples(samples, |narrow| self.detector.handle_samples(narrow, &mut pressed));
            }
        }
    }

    /// A key is down.
    pub(super) fn is_pressed(&self) -> bool {
        self.detector.is_pressed()
    }
}

impl Wide {
    fn new(codec: Codec) -> Option<Self> {
        let resampler = Resampler::new(codec.sample_rate(), RATE)?;
        Some(Self { resampler, samples: [0; FRAME_SAMPLES_MAX], waiting: 0, narrow: Frame::silent(RATE) })
    }

    fn handle_samples(&mut self, mut samples: &[i16], mut heard: impl FnMut(&[i16])) {
        let length = (self.resampler.from() / 50) as usize; // at most FRAME_SAMPLES_MAX
        while !samples.is_empty() {
            let room = self.samples.get_mut(self.waiting..length).unwrap_or_default();
            let (taken, rest) = samples.split_at(samples.len().min(room.len()));
            room.iter_mut().zip(taken).for_each(|(to, from)| *to = *from);
            self.waiting += taken.len();
            if self.waiting < length {
                return;
            }
            self.waiting = 0;
            self.resampler.process(self.samples.get(..length).unwrap_or_default(), self.narrow.samples_mut());
            heard(self.narrow.samples());
            samples = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{Event, Leg, LegSettings, MAX_PACKET};
    use super::*;
    use crate::audio::Encoder;
    use crate::dtmf::{Road, ToneGenerator};
    use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

    const FAR: &str = "192.0.2.1:4000";

    fn settings(codec: Codec, telephone_event: Option<u8>) -> LegSettings {
        LegSettings { codec, payload_type: 96, telephone_event, ..LegSettings::plain(FAR.parse().unwrap()) }
    }

    /// A leg, and a far end that sounds keys.
    struct Story {
        leg: Leg,
        encoder: Encoder,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
        events: Vec<Event>,
    }

    impl Story {
        fn new(codec: Codec, telephone_event: Option<u8>) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            Self {
                leg: Leg::new(settings(codec, telephone_event), now),
                encoder: Encoder::new(codec),
                now,
                sequence: 65_530,
                timestamp: u32::MAX - 1_000,
                ssrc: 9,
                events: Vec::new(),
            }
        }

        /// A frame of 20 ms a character: a key's tones, silence for a space, a key that is lost in the network when it stands in
        /// brackets, 20 ms without a packet for a dot.
        fn hear(&mut self, frames: &str) {
            let codec = self.encoder.codec();
            let rate = codec.sample_rate();
            let (mut is_lost, mut sounding) = (false, None);
            for name in frames.chars() {
                match name {
                    '(' | ')' => {
                        is_lost = name == '(';
                        continue;
                    }
                    '.' => {}
                    name => {
                        let mut frame = Frame::silent(rate);
                        if let Some(digit) = Digit::from_char(name) {
                            let tones = match sounding.take() {
                                Some((key, tones)) if key == name => tones,
                                _ => ToneGenerator::new(digit, rate * 60, rate),
                            };
                            let (_, tones) = sounding.insert((name, tones));
                            tones.fill(frame.samples_mut());
                        } else {
                            sounding = None;
                        }
                        let mut payload = [0; 160];
                        let length = self.encoder.encode(&frame, &mut payload);
                        let header = RtpHeader {
                            marker: false,
                            payload_type: 96,
                            sequence: SequenceNumber(self.sequence),
                            timestamp: RtpTime(self.timestamp),
                            ssrc: Ssrc(self.ssrc),
                        };
                        self.sequence = self.sequence.wrapping_add(1);
                        let mut packet = [&header.to_bytes()[..], &payload[..length]].concat();
                        if !is_lost {
                            self.leg.handle_packet(self.now, FAR.parse().unwrap(), &mut packet, &mut self.events);
                        }
                    }
                }
                self.timestamp = self.timestamp.wrapping_add(codec.frame_units());
                self.leg.tick(self.now, &mut [0; MAX_PACKET], &mut self.events);
                self.now += Duration::from_millis(20);
            }
        }

        fn keys(&mut self) -> String {
            let key = |event| if let Event::Digit(digit, Road::InBand) = event { digit.as_char() } else { '?' };
            self.events.drain(..).map(key).collect()
        }
    }

    fn heard(codec: Codec, frames: &str) -> String {
        let mut story = Story::new(codec, None);
        story.hear(frames);
        story.hear("               ");
        story.keys()
    }

    #[test]
    fn keys_are_heard_once_in_every_codec() {
        for codec in Codec::ALL {
            assert_eq!(heard(codec, "   55555   55555   11111   #####"), "551#", "{codec:?}");
        }
    }

    /// Whatever of a press is lost, it is one or none; whatever is lost between two, they are two.
    #[test]
    fn a_loss_makes_and_splits_no_key() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
            assert_eq!(heard(codec, "   555(5)555   "), "5", "{codec:?}");
            assert_eq!(heard(codec, "   555(55555555)555   "), "5", "160 ms: beyond concealment");
            assert_eq!(heard(codec, "   555(5)5(5)555   555(5)(5)55"), "55");
            assert_eq!(heard(codec, "   55555(   )55555"), "5", "nobody can know that they were two");
            assert_eq!(heard(codec, "   55555( ) (  )55555"), "5");
            assert_eq!(heard(codec, "   55555( )  ( )55555"), "55");
            // Repeated for the ear, 20 ms of a tone would be 60 and more.
            assert_eq!(heard(codec, "   5(5555)      "), "");
            assert_eq!(heard(codec, "   5(    )      5(    )   "), "");
        }
    }

    /// A sender that sends nothing in pauses loses no key, for its numbers go on without a gap.
    #[test]
    fn a_pause_without_packets_parts_two_presses() {
        for pause in 2..12 {
            let frames = format!("   555{}555{}", ".".repeat(pause), ".".repeat(pause));
            assert_eq!(heard(Codec::Pcmu, &frames), "55", "{pause} packets");
        }
        assert_eq!(heard(Codec::Pcmu, "   555.......(5)......555"), "55", "one press and a lost one");
        assert_eq!(heard(Codec::Pcmu, "   555(555).......555"), "55");
    }

    #[test]
    fn a_stream_that_begins_anew_repeats_no_key_that_is_down() {
        let mut story = Story::new(Codec::Pcmu, None);
        story.hear("   55555");
        story.ssrc = 10;
        (story.sequence, story.timestamp) = (7, 1_000_000);
        story.hear("55555   55555      ");
        assert_eq!(story.keys(), "55");
    }

    /// With telephone events, tones in the audio are somebody's music; a re-INVITE may change that, and the codec.
    #[test]
    fn tones_are_sought_exactly_while_telephone_events_were_not_negotiated() {
        let mut story = Story::new(Codec::Pcmu, Some(101));
        story.hear("   55555      ");
        assert_eq!((story.keys().as_str(), story.leg.heard()), ("", None), "nothing is decoded at all");
        story.leg.retarget(settings(Codec::Pcmu, None), story.now);
        story.hear("   66666      ");
        assert_eq!(story.keys(), "6");
        story.hear("   777777");
        story.leg.retarget(settings(Codec::G722, None), story.now);
        story.encoder = Encoder::new(Codec::G722);
        story.hear("7777   88888      ");
        assert_eq!(story.keys(), "78", "the 7 was down all the while");
        story.leg.retarget(settings(Codec::G722, Some(101)), story.now);
        story.hear("   99999      ");
        assert_eq!((story.keys().as_str(), story.leg.heard()), ("", None));
        story.leg.record(true);
        story.hear("   99999      ");
        assert_eq!(story.keys(), "", "who records does not seek");
    }
}

//! The keys that a leg presses, one after the other: as telephone events where they were negotiated, as tones in the audio where
//! they were not (ITU-T Q.23).
//!
//! ```text
//!                 events                              tones
//! a press of      its length, and two more ends       its length, at least 80 ms
//! then a pause    60 ms of audio                      100 ms of silence
//! meanwhile       what plays waits                    what plays waits
//! ```
//!
//! Either way what plays is not heard under a key: a receiver wants the tones 15 dB above the rest (ITU-T Q.24).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::audio::clip::PACKET_SAMPLES;
use crate::audio::{Codec, opus};
use crate::dtmf::{Digit, Press, PressPacket, ToneGenerator};
use crate::rtp::RtpTime;

use super::player::Player;

/// Presses that may wait to be sent; more are refused.
pub(super) const PRESSES_MAX: usize = 64;

/// Frames of audio behind a telephone event: with its repeated ends, a pause of 100 ms.
const EVENT_PAUSE: u8 = 3;

/// Frames of silence behind the tones of a press: 100 ms. ITU-T Q.24 asks receivers to tell presses apart from 40 ms on.
const TONE_PAUSE: u8 = 5;

/// Shortest and longest tones: twice what ITU-T Q.24 has every receiver accept, so that a lost packet leaves enough of them, and as
/// long as one segment of a telephone event.
const TONES_MIN: Duration = Duration::from_millis(80);
const TONES_MAX: Duration = Duration::from_millis(8_190);

/// How long after its end a key that we sounded may come back as the far end's echo: a round trip, their jitter buffer and ours.
const ECHO_MAX: Duration = Duration::from_millis(800);

/// The rate of tones: prompts have it too.
const RATE: u32 = 8_000;

/// Keys that wait, and the one under way.
#[derive(Debug, Default)]
pub(super) struct Presses {
    waiting: VecDeque<(Digit, Duration)>,
    sending: Option<Sending>,
    pause: u8,
    /// The key that went out as tones last, and when.
    sounded: Option<(Digit, Instant)>,
}

#[derive(Debug)]
enum Sending {
    Event(Press),
    Tones(Sounding),
}

/// Tones on their way into the stream.
#[derive(Debug)]
struct Sounding {
    digit: Digit,
    generator: ToneGenerator,
    /// Frames of silence left behind them.
    pause: u8,
    /// Of its own, and begun behind a packet of silence: what played was cut off, and must not be heard in the tones.
    opus: Option<Box<opus::Encoder>>,
}

/// What leaves in place of audio in the next 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressing {
    /// A packet of a telephone event.
    Event(PressPacket),
    /// Tones or the silence behind them, in so many bytes of payload.
    Tones(usize),
}

impl Presses {
    /// Takes a key to press for this long; false when [`PRESSES_MAX`] wait.
    pub(super) fn press(&mut self, digit: Digit, length: Duration) -> bool {
        let possible = self.waiting.len() < PRESSES_MAX;
        if possible {
            self.waiting.push_back((digit, length));
        }
        possible
    }

    /// True while keys are being pressed or wait to be.
    pub(super) fn is_pressing(&self) -> bool {
        self.sending.is_some() || !self.waiting.is_empty()
    }

    /// Whether this key, heard at `now`, may be what we pressed ourselves: a far end's hybrid or loudspeaker gives tones back.
    pub(super) fn echoes(&self, now: Instant, digit: Digit) -> bool {
        self.sounded
            .is_some_and(|(sounded, until)| sounded == digit && now.saturating_duration_since(until) <= ECHO_MAX)
    }

    /// Makes the next 20 ms of the press under way, or of the next one after its pause: as telephone events where they were
    /// negotiated, with units of `event_clock` a second, otherwise into `body` as a payload of `codec`. `None` when it is the others' turn.
    pub(super) fn next(
        &mut self,
        now: Instant,
        timestamp: RtpTime,
        codec: Codec,
        event_clock: Option<u32>,
        player: &mut Player,
        body: &mut [u8],
    ) -> Option<Pressing> {
        // A press that is over gives this tick to its pause or to the next press.
        for _ in 0..2 {
            let sending = match &mut self.sending {
                Some(sending) => sending,
                None if self.pause > 0 => {
                    self.pause -= 1;
                    return None;
                }
                none => {
                    let (digit, length) = self.waiting.pop_front()?;
                    none.insert(match event_clock {
                        Some(clock) => Sending::Event(Press::new(digit, length, timestamp, clock)),
                        None => Sending::Tones(Sounding::new(digit, length)),
                    })
                }
            };
            let pressing = match sending {
                Sending::Event(press) => press.next_packet().map(Pressing::Event),
                Sending::Tones(sounding) => {
                    if !sounding.generator.is_over() {
                        self.sounded = Some((sounding.digit, now));
                    }
                    sounding.fill(codec, player, body).map(Pressing::Tones)
                }
            };
            if pressing.is_some() {
                return pressing;
            }
            if let Some(Sending::Event(_)) = self.sending.take() {
                self.pause = EVENT_PAUSE;
            }
        }
        None
    }
}

impl Sounding {
    fn new(digit: Digit, length: Duration) -> Self {
        let samples = length.clamp(TONES_MIN, TONES_MAX).as_millis() * u128::from(RATE) / 1_000;
        let generator = ToneGenerator::new(digit, u32::try_from(samples).unwrap_or(u32::MAX), RATE);
        Self { digit, generator, pause: TONE_PAUSE, opus: None }
    }

    /// The payload of the next 20 ms; `None` behind the pause.
    fn fill(&mut self, codec: Codec, player: &mut Player, body: &mut [u8]) -> Option<usize> {
        let mut samples = [0; PACKET_SAMPLES];
        if codec == Codec::Opus && self.opus.is_none() {
            self.opus = Some(Box::new(opus::Encoder::new(RATE)));
            return Some(player.encode(codec, &samples, body));
        }
        if self.generator.is_over() {
            self.pause = self.pause.checked_sub(1)?;
        } else {
            self.generator.fill(&mut samples);
        }
        Some(match &mut self.opus {
            Some(encoder) => encoder.encode(&samples, body),
            None => player.encode(codec, &samples, body),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Event, Leg, LegSettings, MAX_PACKET, Segment};
    use super::*;
    use crate::audio::{Clip, Decoder, Frame, Resampler};
    use crate::dtmf::{Road, ToneDetector};
    use crate::ids::PlayId;
    use crate::rtp::RtpHeader;

    const FAR: &str = "192.0.2.1:4000";

    fn settings(codec: Codec) -> LegSettings {
        LegSettings {
            codec,
            payload_type: 96,
            telephone_event: None,
            first_sequence: u16::MAX - 3,
            first_timestamp: u32::MAX - 500,
            ..LegSettings::plain(FAR.parse().unwrap())
        }
    }

    /// Two legs: what the first says the second hears.
    struct Line {
        near: Leg,
        far: Leg,
        now: Instant,
        heard: Vec<Event>,
        /// What the first leg was told, and the packets it sent.
        told: Vec<Event>,
        sent: Vec<(RtpHeader, Vec<u8>)>,
    }

    impl Line {
        fn new(codec: Codec) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
            let now = Instant::now();
            let [near, far] = [settings(codec), settings(codec)].map(|settings| Leg::new(settings, now));
            Self { near, far, now, heard: Vec::new(), told: Vec::new(), sent: Vec::new() }
        }

        fn press(&mut self, keys: &str, ms: u64) {
            for key in keys.chars() {
                assert!(self.near.press(Digit::from_char(key).unwrap(), Duration::from_millis(ms)));
            }
        }

        fn ticks(&mut self, count: usize) {
            for _ in 0..count {
                let mut packet = [0; MAX_PACKET];
                let length = self.near.tick(self.now, &mut packet, &mut self.told).unwrap();
                let (header, payload) = RtpHeader::parse(&packet[..length]).unwrap();
                self.sent.push((header, packet[payload].to_vec()));
                self.far.handle_packet(self.now, FAR.parse().unwrap(), &mut packet[..length], &mut self.heard);
                self.far.tick(self.now, &mut packet, &mut self.heard);
                self.now += Duration::from_millis(20);
            }
        }

        fn keys(&self) -> String {
            let key = |event: &Event| if let Event::Digit(digit, Road::InBand) = event { digit.as_char() } else { '?' };
            self.heard.iter().map(key).collect()
        }

        /// What was sent, as samples, 8,000 a second.
        fn sound(&self, codec: Codec) -> Vec<i16> {
            let rate = codec.sample_rate();
            let (mut decoder, mut resampler) = (Decoder::new(codec), Resampler::new(rate, RATE));
            let (mut frame, mut narrow, mut sound) = (Frame::silent(rate), Frame::silent(RATE), Vec::new());
            for (_, payload) in &self.sent {
                decoder.decode(payload, &mut frame).unwrap();
                match &mut resampler {
                    Some(resampler) => resampler.process(frame.samples(), narrow.samples_mut()),
                    None => narrow.copy_from(frame.samples()),
                }
                sound.extend_from_slice(narrow.samples());
            }
            sound
        }
    }

    #[test]
    fn tones_of_one_leg_are_heard_by_another_in_every_codec_within_one_stream() {
        for codec in Codec::ALL {
            let mut line = Line::new(codec);
            line.press("1234567890*#ABCD", 100);
            line.ticks(16 * 11 + 30);
            assert_eq!(line.keys(), "1234567890*#ABCD", "{codec:?}");
            assert_eq!(line.far.report().digits, 16);
            assert!(!line.near.is_pressing());
            for pair in line.sent.windows(2) {
                let [(before, _), (after, _)] = pair else { continue };
                assert_eq!((after.sequence, after.ssrc), (before.sequence.next(), before.ssrc), "{codec:?}");
                assert_eq!(after.timestamp, before.timestamp.plus(codec.frame_units()));
                assert_eq!(after.payload_type, 96);
            }
        }
    }

    /// −9 and −7 dBm0 together are a root mean square of 8,860; the length is what was asked for, the pause 100 ms.
    #[test]
    fn tones_have_their_level_length_and_pause() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
            for (asked, length) in [(0, 80), (120, 120), (500, 500)] {
                let mut line = Line::new(codec);
                line.press("55", asked);
                line.ticks(80);
                let sound = line.sound(codec);
                // In pieces of 5 ms.
                let level =
                    |piece: &[i16]| (piece.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / 40.0).sqrt();
                let levels: Vec<f64> = sound.chunks(40).map(level).collect();
                let mut runs: Vec<(bool, usize)> = Vec::new();
                for is_loud in levels.iter().map(|level| *level > 2_000.0) {
                    match runs.last_mut() {
                        Some((same, count)) if *same == is_loud => *count += 5,
                        _ => runs.push((is_loud, 5)),
                    }
                }
                let near = |found: usize, expected: usize| found.abs_diff(expected) <= 5;
                let [.., first, pause, second, _] = runs[..] else { panic!("{codec:?} {asked}: {runs:?}") };
                assert!(first.0 && near(first.1, length) && near(second.1, length), "{codec:?} {asked}: {runs:?}");
                // A frame that a press fills in part is silent to its end.
                assert!(near(pause.1, 100), "{codec:?} {asked}: {runs:?}");
                let loud: Vec<f64> = levels.iter().copied().filter(|level| *level > 5_000.0).collect();
                let mean = loud.iter().sum::<f64>() / loud.len() as f64;
                assert!((7_900.0..9_800.0).contains(&mean), "{codec:?} {asked}: {mean}");
            }
        }
    }

    #[test]
    fn what_plays_waits_while_tones_go_out() {
        let mut line = Line::new(Codec::Pcma);
        let clip = Segment::Clip(Arc::new(Clip::from_pcm(&[500; 1_600])));
        line.near.play(PlayId(1), Box::new([clip]), &mut line.told);
        line.ticks(4);
        line.press("0", 80);
        line.ticks(10);
        assert_eq!(line.told, [], "four frames of ten have left, then four of tones, five of silence, and one");
        line.ticks(5);
        assert_eq!(line.told, [Event::Played(PlayId(1))]);
        assert_eq!(line.keys(), "0");
        assert!(line.sent[0].0.marker && line.sent[1..].iter().all(|(header, _)| !header.marker));
    }

    /// A hybrid gives back what it is sent; a key of the far end's own is heard all the same.
    #[test]
    fn the_echo_of_a_key_of_ours_is_no_key() {
        let mut line = Line::new(Codec::Pcmu);
        line.press("4", 100);
        line.ticks(40);
        let mut other = Line::new(Codec::Pcmu);
        other.ticks(20);
        other.press("45", 100);
        other.ticks(40);
        let (echo, others): (Vec<_>, Vec<_>) = (line.sent.clone(), other.sent);
        line.press("4", 100);
        for ((mut header, payload), late) in echo.into_iter().chain(others).zip(0..) {
            header.sequence.0 = late;
            header.timestamp.0 = u32::from(late) * 160;
            let mut packet = [&header.to_bytes()[..], &payload].concat();
            line.near.handle_packet(line.now, FAR.parse().unwrap(), &mut packet, &mut line.told);
            line.ticks(1);
        }
        line.ticks(5);
        let of_event = |key| Event::Digit(Digit::from_char(key).unwrap(), Road::InBand);
        assert_eq!(line.told, [of_event('4'), of_event('5')], "pressed a second after ours");
    }

    #[test]
    fn keys_beyond_the_bound_are_refused() {
        let mut presses = Presses::default();
        let taken = (0..100).filter(|_| presses.press(Digit::STAR, Duration::ZERO)).count();
        assert_eq!(taken, PRESSES_MAX);
    }

    /// What we send is what others hear: the detector's reports are as many as the presses however long they are.
    #[test]
    fn a_long_press_is_one_key() {
        let mut line = Line::new(Codec::Pcmu);
        line.press("9", 60_000);
        line.ticks(450);
        assert_eq!((line.keys().as_str(), line.near.is_pressing()), ("9", false));
        let mut heard = 0;
        ToneDetector::new().handle_samples(&line.sound(Codec::Pcmu), |_| heard += 1);
        assert_eq!(heard, 1);
    }
}

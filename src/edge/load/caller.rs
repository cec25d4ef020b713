//! One caller of the load generator: how far its call has come, the stream it sends, what it hears, the key it presses.
//!
//! ```text
//!          200                     time is up, Ctrl-C               BYE answered
//!  Ringing ─────► Up ───────────────────────────────► HangingUp ──────────────────► Over
//!     └── refused, no answer ── or ── BYE of the far end ────────────────────────────▲
//! ```
//!
//! Moments are nanoseconds of the system's clock, the one that the kernel stamps arriving datagrams with.

use std::net::SocketAddr;
use std::time::Duration;

use super::heard::{Counts, Heard};
use crate::audio::g711::{self, Law};
use crate::audio::{Codec, g722, opus};
use crate::dtmf::{Digit, Press, Road, ToneGenerator};
use crate::ids::LegId;
use crate::media::{FRAME_SAMPLES, MAX_PACKET};
use crate::rtp::srtp::{Receiver, Sender};
use crate::rtp::{HEADER_LENGTH, RtpHeader, RtpTime, SequenceNumber, Ssrc};
use crate::sdp::{Negotiated, Offered};

/// How long a key is held.
pub(super) const PRESS: Duration = Duration::from_millis(100);

/// The same in packets, and in samples of the tones.
const PRESS_FRAMES: u8 = 5;
const PRESS_SAMPLES: u32 = 800;
const TONE_RATE: u32 = 8_000;

/// A prompt that does not follow a press within this time does not answer it.
const REACTION_MAX_NS: u64 = 3_000_000_000;

/// A sample louder than this is sound (about −60 dBFS).
const SOUND: u16 = 33;

/// An Opus packet longer than this is taken for sound: decoding it would cost more than all the rest, and silence is a few bytes.
const OPUS_QUIET_MAX: usize = 16;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The INVITE has no final answer.
    Ringing,
    /// Answered.
    Up,
    /// Our BYE is under way.
    HangingUp,
    /// Nothing follows.
    Over,
}

/// One caller.
#[derive(Debug)]
pub struct Caller {
    /// Its dialog.
    pub leg: LegId,
    /// How far its call has come.
    pub state: State,
    /// When its INVITE went out.
    pub invited_ns: u64,
    /// When its 200 came.
    pub answered_ns: Option<u64>,
    /// Which millisecond of the 20 it sends in.
    pub slot: usize,
    /// Its port among the generator's.
    pub port: usize,
    /// What it hears.
    pub heard: Heard,
    /// Packets whose SRTP could not be authenticated.
    pub forged: u64,
    /// What it has heard of the measured window so far; `None` before its first packet there.
    pub counted: Option<Counts>,
    /// Its call was up to the window's end.
    pub measured: bool,
    /// Its offer, until it is answered.
    offered: Option<Box<Offered>>,
    line: Option<Line>,
}

/// What the SDP answer opened.
#[derive(Debug)]
struct Line {
    far: SocketAddr,
    codec: Codec,
    voice: Voice,
    ear: Ear,
    protection: Option<Box<(Sender, Receiver)>>,
    payload_type: u8,
    telephone_event: Option<u8>,
    event_clock_rate: u32,
    ssrc: Ssrc,
    sequence: SequenceNumber,
    timestamp: RtpTime,
    /// When something that sounds was heard last.
    sounded_ns: Option<u64>,
    key: Key,
}

/// What a caller says, in its codec: nothing, or the tones of a key.
#[derive(Debug)]
enum Voice {
    G711(Law),
    /// As the codec goes on.
    G722(Box<g722::Encoder>),
    /// Silence is a packet, again and again; an encoder is there once keys were pressed.
    Opus(Option<Box<opus::Encoder>>),
}

/// How a caller knows sound from silence.
#[derive(Debug)]
enum Ear {
    G711(Law),
    G722(Box<g722::Decoder>),
    /// By the packet's length.
    Opus,
}

/// The key that a caller presses, again and again.
#[derive(Debug)]
enum Key {
    /// Not now.
    Idle,
    /// At this moment.
    Due(u64),
    /// The press is being sent; its first packet left at `began_ns`.
    Pressing { press: Sending, began_ns: u64, answered: bool },
    /// All packets of the press are out, and no prompt has answered it.
    Waiting { began_ns: u64 },
}

/// A press under way.
#[derive(Debug)]
enum Sending {
    Event(Press),
    Tones {
        generator: ToneGenerator,
        begun: bool,
    },
    /// By INFO, and held for so many packets more.
    Info {
        left: u8,
        begun: bool,
    },
}

/// What a packet says beyond its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// Nanoseconds since the packet before.
    pub gap_ns: Option<u64>,
    /// It is the first packet after the 200: this much later.
    pub first_after_ns: Option<u64>,
    /// It is the first sound after a press: this much later than the press's first packet.
    pub reaction_ns: Option<u64>,
}

/// When callers press.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// What.
    pub digit: Digit,
    /// How.
    pub road: Road,
    /// Only when the far end, once heard, has been quiet for this long.
    pub quiet_ns: u64,
    /// And then not at once, but within this time, wherever in it chance falls.
    pub hesitation_ns: u64,
}

/// A frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Bytes of the packet.
    pub length: usize,
    /// Where it goes.
    pub far: SocketAddr,
    /// It is the first packet of a press, which is to be told by INFO where that is the road.
    pub pressed: bool,
    /// A press before was never answered.
    pub unanswered: bool,
}

impl Caller {
    /// A caller whose INVITE goes out now.
    pub fn new(leg: LegId, invited_ns: u64, slot: usize, port: usize, offered: Offered) -> Self {
        Self {
            leg,
            state: State::Ringing,
            invited_ns,
            answered_ns: None,
            slot,
            port,
            heard: Heard::new(8_000),
            forged: 0,
            counted: None,
            measured: false,
            offered: Some(Box::new(offered)),
            line: None,
        }
    }

    /// What an answer to its offer agrees to; `None` when it cannot be used, or is the second.
    pub fn read_answer(&mut self, body: &[u8]) -> Option<Negotiated> {
        self.offered.take()?.read_answer(body).ok()
    }

    /// The 200 came at `now_ns`; `random` makes the stream's identity.
    pub fn answered(&mut self, now_ns: u64, negotiated: &Negotiated, random: u64) {
        self.state = State::Up;
        self.answered_ns = Some(now_ns);
        let codec = negotiated.codec;
        let (voice, ear) = match (codec, codec.law()) {
            (Codec::G722, _) => (Voice::G722(Box::default()), Ear::G722(Box::default())),
            (_, Some(law)) => (Voice::G711(law), Ear::G711(law)),
            (_, None) => (Voice::Opus(None), Ear::Opus),
        };
        self.heard = Heard::new(codec.clock_rate());
        let protection = negotiated.srtp.as_ref();
        self.line = Some(Line {
            far: negotiated.remote,
            codec,
            voice,
            ear,
            protection: protection.map(|keys| Box::new((Sender::new(&keys.ours), Receiver::new(&keys.theirs)))),
            payload_type: negotiated.payload_type,
            telephone_event: negotiated.telephone_event,
            event_clock_rate: negotiated.event_clock_rate,
            ssrc: Ssrc((random >> 32) as u32),
            // Below 2^15, for SRTP (RFC 3711 §3.3.1).
            sequence: SequenceNumber(random as u16 >> 1),
            timestamp: RtpTime((random >> 16) as u32),
            sounded_ns: None,
            key: Key::Idle,
        });
    }

    /// Nothing has to be done any more for its call to end.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::HangingUp | State::Over)
    }

    /// Where its packets go, once answered.
    pub fn far(&self) -> Option<SocketAddr> {
        self.line.as_ref().map(|line| line.far)
    }

    /// Takes a packet that came at `stamp_ns`; `listens` to whether it sounds, for the sake of keys. `None` when it is no RTP.
    pub fn hear(&mut self, stamp_ns: u64, packet: &mut [u8], listens: bool) -> Option<Noticed> {
        let mut length = packet.len();
        if packet.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
            // RTCP on the port of RTP (RFC 5761 §4).
            return None;
        }
        if let Some((_, receiver)) = self.line.as_mut().and_then(|line| line.protection.as_deref_mut()) {
            match receiver.unprotect(packet) {
                Ok(clear) => length = clear,
                Err(_) => {
                    self.forged += 1;
                    return None;
                }
            }
        }
        let packet = packet.get(..length).unwrap_or_default();
        let (header, payload) = RtpHeader::parse(packet).ok()?;
        let first = !self.heard.anything();
        let gap_ns = self.heard.handle_packet(stamp_ns, &header);
        let first_after_ns = self.answered_ns.filter(|_| first).map(|answered| stamp_ns.saturating_sub(answered));
        let payload = packet.get(payload).unwrap_or_default();
        let reaction_ns =
            self.line.as_mut().filter(|_| listens).and_then(|line| line.listen(stamp_ns, header.payload_type, payload));
        Some(Noticed { gap_ns, first_after_ns, reaction_ns })
    }

    /// Writes the packet of the next 20 ms, at `now_ns`; `None` while there is nobody to send to. `habit` says when keys are
    /// pressed, `None` never; `chance` is random.
    pub fn speak(
        &mut self,
        now_ns: u64,
        habit: Option<Habit>,
        chance: u64,
        packet: &mut [u8; MAX_PACKET],
    ) -> Option<Spoken> {
        let line = self.line.as_mut().filter(|_| self.state == State::Up)?;
        let unanswered = line.think(now_ns, habit, chance);
        let (mut marker, mut payload_type, mut timestamp) = (false, line.payload_type, line.timestamp);
        let (head, body) = packet.split_at_mut(HEADER_LENGTH);
        let (body, _) = body.split_at_mut(FRAME_SAMPLES);
        let mut pressed = false;
        let mut length;
        match (line.press_on(), line.telephone_event) {
            (Some(Pressing::Event(press)), Some(event)) => {
                body.iter_mut().zip(press.payload).for_each(|(to, from)| *to = from);
                (marker, payload_type, timestamp, length) = (press.marker, event, press.timestamp, press.payload.len());
                pressed = press.marker;
            }
            (Some(Pressing::Tones { samples, first }), _) => {
                pressed = first;
                if first {
                    line.voice.begin(body);
                }
                length = line.voice.say(&samples, body);
            }
            (Some(Pressing::Info { first }), _) => {
                pressed = first;
                length = line.voice.say_nothing(body);
            }
            (Some(Pressing::Event(_)), None) | (None, _) => length = line.voice.say_nothing(body),
        }
        let header = RtpHeader { marker, payload_type, sequence: line.sequence, timestamp, ssrc: line.ssrc };
        head.copy_from_slice(&header.to_bytes());
        line.sequence = line.sequence.next();
        line.timestamp = line.timestamp.plus(line.codec.frame_units());
        length += HEADER_LENGTH;
        if let Some((sender, _)) = line.protection.as_deref_mut() {
            length = sender.protect(packet, length).ok()?;
        }
        Some(Spoken { length, far: line.far, pressed, unanswered })
    }

    /// A press that nothing has answered when the call ends; it counts as unanswered.
    pub fn waits_for_reaction(&self) -> bool {
        let key = self.line.as_ref().map(|line| &line.key);
        matches!(key, Some(Key::Waiting { .. } | Key::Pressing { answered: false, .. }))
    }
}

impl Line {
    /// Gives how long after a press this packet, which came at `stamp_ns`, brings the first sound.
    fn listen(&mut self, stamp_ns: u64, payload_type: u8, payload: &[u8]) -> Option<u64> {
        if payload_type != self.payload_type || !self.ear.sounds(payload) {
            return None;
        }
        self.sounded_ns = Some(self.sounded_ns.map_or(stamp_ns, |last| last.max(stamp_ns)));
        match &mut self.key {
            Key::Pressing { began_ns, answered, .. } if !*answered && stamp_ns > *began_ns => {
                *answered = true;
                Some(stamp_ns - *began_ns)
            }
            Key::Waiting { began_ns } if stamp_ns > *began_ns => {
                let reaction = stamp_ns - *began_ns;
                self.key = Key::Idle;
                Some(reaction)
            }
            Key::Idle | Key::Due(_) | Key::Pressing { .. } | Key::Waiting { .. } => None,
        }
    }

    /// Moves on from thinking of a key to pressing it. True when the last press was given up.
    fn think(&mut self, now_ns: u64, habit: Option<Habit>, chance: u64) -> bool {
        match (&self.key, habit) {
            (Key::Waiting { began_ns }, _) if now_ns.saturating_sub(*began_ns) > REACTION_MAX_NS => {
                self.key = Key::Idle;
                return true;
            }
            (Key::Idle, Some(habit))
                if (habit.road != Road::TelephoneEvent || self.telephone_event.is_some())
                    && self.sounded_ns.is_some_and(|at| now_ns.saturating_sub(at) >= habit.quiet_ns) =>
            {
                self.key = Key::Due(now_ns + chance % habit.hesitation_ns.max(1));
            }
            // It has begun to speak again: a key now would be answered by what sounds already.
            (Key::Due(_), Some(habit))
                if self.sounded_ns.is_some_and(|at| now_ns.saturating_sub(at) < habit.quiet_ns) =>
            {
                self.key = Key::Idle;
            }
            (Key::Due(at), Some(habit)) if *at <= now_ns => {
                let press = match habit.road {
                    Road::TelephoneEvent => {
                        Sending::Event(Press::new(habit.digit, PRESS, self.timestamp, self.event_clock_rate))
                    }
                    Road::InBand => {
                        let generator = ToneGenerator::new(habit.digit, PRESS_SAMPLES, TONE_RATE);
                        Sending::Tones { generator, begun: false }
                    }
                    Road::Info => Sending::Info { left: PRESS_FRAMES, begun: false },
                };
                self.key = Key::Pressing { press, began_ns: now_ns, answered: false };
            }
            (Key::Idle | Key::Due(_) | Key::Pressing { .. } | Key::Waiting { .. }, _) => {}
        }
        false
    }

    /// The next 20 ms of the press under way.
    fn press_on(&mut self) -> Option<Pressing> {
        let Key::Pressing { press, began_ns, answered } = &mut self.key else { return None };
        let pressing = match press {
            Sending::Event(press) => press.next_packet().map(Pressing::Event),
            Sending::Tones { generator, .. } if generator.is_over() => None,
            Sending::Tones { generator, begun } => {
                let mut samples = [0; FRAME_SAMPLES];
                generator.fill(&mut samples);
                Some(Pressing::Tones { samples, first: !std::mem::replace(begun, true) })
            }
            Sending::Info { left: 0, .. } => None,
            Sending::Info { left, begun } => {
                *left -= 1;
                Some(Pressing::Info { first: !std::mem::replace(begun, true) })
            }
        };
        if pressing.is_none() {
            self.key = if *answered { Key::Idle } else { Key::Waiting { began_ns: *began_ns } };
        }
        pressing
    }
}

/// 20 ms of a press.
#[expect(clippy::large_enum_variant, reason = "it lives for as long as its packet is written")]
enum Pressing {
    Event(crate::dtmf::PressPacket),
    Tones { samples: [i16; FRAME_SAMPLES], first: bool },
    Info { first: bool },
}

impl Voice {
    /// Writes 20 ms of silence and gives its bytes.
    fn say_nothing(&mut self, body: &mut [u8]) -> usize {
        match self {
            Self::G711(law) => {
                body.fill(g711::silence(*law));
                body.len()
            }
            Self::G722(encoder) => encoder.encode_narrow(&[0; FRAME_SAMPLES], body),
            Self::Opus(_) => body.iter_mut().zip(opus::silence()).map(|(to, from)| *to = *from).count(),
        }
    }

    /// Comes out of silence, in which an encoder's memory and a decoder's have parted.
    fn begin(&mut self, body: &mut [u8]) {
        if let Self::Opus(encoder) = self {
            encoder.insert(Box::new(opus::Encoder::new(TONE_RATE))).encode(&[0; FRAME_SAMPLES], body);
        }
    }

    /// Writes 20 ms of tones and gives its bytes.
    fn say(&mut self, samples: &[i16; FRAME_SAMPLES], body: &mut [u8]) -> usize {
        match self {
            Self::G711(law) => body.iter_mut().zip(samples).map(|(to, from)| *to = g711::encode(*law, *from)).count(),
            Self::G722(encoder) => encoder.encode_narrow(samples, body),
            Self::Opus(encoder) => {
                encoder.get_or_insert_with(|| Box::new(opus::Encoder::new(TONE_RATE))).encode(samples, body)
            }
        }
    }
}

impl Ear {
    /// Whether there is sound in a payload.
    fn sounds(&mut self, payload: &[u8]) -> bool {
        match self {
            Self::G711(law) => payload.iter().any(|&byte| g711::decode(*law, byte).unsigned_abs() > SOUND),
            Self::G722(decoder) => {
                let mut samples = [0; FRAME_SAMPLES * 2];
                let count = decoder.decode(payload, &mut samples);
                samples.iter().take(count).any(|sample| sample.unsigned_abs() > SOUND)
            }
            Self::Opus => payload.len() > OPUS_QUIET_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::audio::Clip;
    use crate::dtmf::Road;
    use crate::edge::clock;
    use crate::ids::{Ids, PlayId};
    use crate::media::{Event, Leg, LegSettings, Segment};
    use crate::sdp::{self, EventPolicy, Local, Offer, SrtpPolicy, Terms};

    const MS: u64 = 1_000_000;
    const FAR: &str = "192.0.2.1:4000";

    fn caller() -> Caller {
        call(Codec::Pcmu, SrtpPolicy::Off).0
    }

    /// A caller whose call was answered, and what the far end has agreed to.
    fn call(codec: Codec, srtp: SrtpPolicy) -> (Caller, Negotiated) {
        call_on(Terms { codecs: vec![codec], srtp, ..Terms::default() })
    }

    fn call_on(ours: Terms) -> (Caller, Negotiated) {
        let theirs = Terms::default();
        let local = |address, terms| Local { address, session: 1, version: 1, terms, source: None };
        let here = local("192.0.2.7:5000".parse().unwrap(), &ours);
        let offered = sdp::offer(&here, None, &mut Ids::from_seed(1));
        let offer = Offer::parse(&offered.sdp).unwrap();
        let there = local(FAR.parse().unwrap(), &theirs);
        let (answer, agreed) = sdp::answer(&offer, &there, None, &mut Ids::from_seed(2)).unwrap();
        let mut caller = Caller::new(LegId(1), 0, 0, 0, offered);
        let negotiated = caller.read_answer(&answer).unwrap();
        caller.answered(5 * MS, &negotiated, 0x1234_5678_9abc_def0);
        (caller, agreed)
    }

    fn hear(caller: &mut Caller, at_ms: u64, byte: u8) -> Noticed {
        let number = (at_ms / 20) as u16;
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: SequenceNumber(number),
            timestamp: RtpTime(u32::from(number) * 160),
            ssrc: Ssrc(1),
        };
        caller.hear(at_ms * MS, &mut [&header.to_bytes()[..], &[byte; 160]].concat(), true).unwrap()
    }

    #[test]
    fn a_stream_goes_on_under_one_identity_from_the_answer_to_the_end() {
        let mut caller = caller();
        let mut packet = [0; MAX_PACKET];
        for index in 0..3 {
            let spoken = caller.speak(0, None, 0, &mut packet).unwrap();
            let far: SocketAddr = FAR.parse().unwrap();
            assert_eq!(spoken, Spoken { length: 172, far, pressed: false, unanswered: false });
            let (header, payload) = RtpHeader::parse(&packet[..spoken.length]).unwrap();
            assert_eq!(
                (header.sequence.0, header.timestamp.0),
                ((0xdef0 >> 1) + index, 0x5678_9abc + 160 * u32::from(index))
            );
            assert_eq!((header.ssrc, &packet[payload]), (Ssrc(0x1234_5678), &[0xff; 160][..]));
        }
        caller.state = State::HangingUp;
        assert_eq!(caller.speak(0, None, 0, &mut packet), None);
    }

    /// In every codec, in clear and protected: what a caller sends is heard by a far end that speaks the same, and the other way round.
    #[test]
    fn callers_speak_every_codec_and_srtp() {
        for codec in Codec::ALL {
            for srtp in [SrtpPolicy::Off, SrtpPolicy::Required] {
                let (mut caller, agreed) = call(codec, srtp);
                let mut far = Leg::new(
                    LegSettings {
                        codec,
                        payload_type: agreed.payload_type,
                        telephone_event: agreed.telephone_event,
                        event_clock_rate: agreed.event_clock_rate,
                        srtp: agreed.srtp.map(Box::new),
                        ..LegSettings::plain(agreed.remote)
                    },
                    clock::now().instant,
                );
                let (now, mut events) = (clock::now().instant, Vec::new());
                let habit =
                    Some(Habit { digit: Digit::STAR, road: Road::TelephoneEvent, quiet_ns: 0, hesitation_ns: 0 });
                let clip = Arc::new(Clip::from_pcm(&[9_000, -9_000].repeat(2_000)));
                far.play(PlayId(1), [Segment::Clip(clip)].into(), &mut events);
                let (mut noticed, mut pressed) = (0, 0);
                for frame in 1..40_u64 {
                    let mut packet = [0; MAX_PACKET];
                    let spoken = caller.speak(frame * 20 * MS, habit, 0, &mut packet).unwrap();
                    pressed += u32::from(spoken.pressed);
                    let taken = far.handle_packet(now, agreed.remote, &mut packet[..spoken.length], &mut events);
                    assert!(taken.is_some(), "{codec:?} {srtp:?}");
                    let length = far.tick(now, &mut packet, &mut events).unwrap();
                    noticed += u32::from(caller.hear(frame * 20 * MS, &mut packet[..length], true).is_some());
                }
                // The prompt was heard to sound, so keys were pressed.
                assert!(pressed > 0, "{codec:?} {srtp:?}");
                assert_eq!((noticed, caller.forged), (39, 0), "{codec:?} {srtp:?}");
                assert!(events.contains(&Event::Digit(Digit::STAR, Road::TelephoneEvent)), "{codec:?} {srtp:?}");
                assert_eq!(caller.heard.counts(), Counts { received: 39, lost: 0, late: 0, misordered: 0 });
            }
        }
        let (mut caller, _) = call(Codec::Pcmu, SrtpPolicy::Required);
        assert_eq!(caller.hear(0, &mut [0x80; 172], true), None);
        assert_eq!((caller.forged, caller.heard.anything()), (1, false));
    }

    /// In every codec a key goes as events or as tones and is heard as that; by INFO the media say nothing of it.
    #[test]
    fn callers_press_keys_by_every_road() {
        for codec in Codec::ALL {
            for road in [Road::TelephoneEvent, Road::InBand, Road::Info] {
                let events = if road == Road::InBand { EventPolicy::Off } else { EventPolicy::Offered };
                let (mut caller, agreed) =
                    call_on(Terms { codecs: vec![codec], srtp: SrtpPolicy::Off, events, ..Terms::default() });
                assert_eq!(agreed.telephone_event.is_some(), road != Road::InBand);
                let mut now = clock::now().instant;
                let settings = LegSettings {
                    codec,
                    payload_type: agreed.payload_type,
                    telephone_event: agreed.telephone_event,
                    event_clock_rate: agreed.event_clock_rate,
                    ..LegSettings::plain(agreed.remote)
                };
                let (mut far, mut told) = (Leg::new(settings, now), Vec::new());
                let habit = Some(Habit { digit: Digit::STAR, road, quiet_ns: 0, hesitation_ns: 100 * MS });
                let clip = Arc::new(Clip::from_pcm(&[9_000, -9_000].repeat(2_000)));
                far.play(PlayId(1), [Segment::Clip(clip)].into(), &mut told);
                let mut pressed = 0;
                for frame in 1..60_u64 {
                    let mut packet = [0; MAX_PACKET];
                    // The last press has time to be heard.
                    let habit = habit.filter(|_| frame < 40);
                    let spoken = caller.speak(frame * 20 * MS, habit, 80 * MS, &mut packet).unwrap();
                    pressed += usize::from(spoken.pressed);
                    far.handle_packet(now, agreed.remote, &mut packet[..spoken.length], &mut told);
                    let length = far.tick(now, &mut packet, &mut told).unwrap();
                    caller.hear(frame * 20 * MS, &mut packet[..length], true);
                    now += Duration::from_millis(20);
                }
                let keys = told.iter().filter(|event| matches!(event, Event::Digit(..)));
                let expected = if road == Road::Info { 0 } else { pressed };
                assert!(
                    keys.clone().all(|key| *key == Event::Digit(Digit::STAR, road)),
                    "{codec:?} {road:?}: {told:?}"
                );
                assert!(pressed > 0 && keys.count() == expected, "{codec:?} {road:?}: {told:?}");
            }
        }
    }

    /// The far end sounds, falls quiet, is answered with a key, and sounds again: the time between is the reaction.
    #[test]
    fn a_key_is_pressed_into_quiet_and_its_reaction_measured() {
        let (mut caller, mut packet) = (caller(), [0; MAX_PACKET]);
        let digit = Digit::from_event(1).unwrap();
        let habit = Some(Habit { digit, road: Road::TelephoneEvent, quiet_ns: 100 * MS, hesitation_ns: 50 * MS });
        assert_eq!(hear(&mut caller, 20, 0x80).first_after_ns, Some(15 * MS));
        assert_eq!(
            hear(&mut caller, 40, 0xff),
            Noticed { gap_ns: Some(20 * MS), first_after_ns: None, reaction_ns: None }
        );
        let pressed: Vec<u64> = (0..16)
            .map(|frame| frame * 20)
            .filter(|ms| caller.speak(ms * MS, habit, 33 * MS, &mut packet).unwrap().pressed)
            .collect();
        // Quiet since 20 ms: noticed at 120, pressed 33 ms later, in the next frame.
        assert_eq!(pressed, [160]);
        assert!(caller.waits_for_reaction());
        assert_eq!(hear(&mut caller, 200, 0xff).reaction_ns, None);
        assert_eq!(hear(&mut caller, 220, 0x80).reaction_ns, Some(60 * MS));
        assert_eq!(hear(&mut caller, 240, 0x80).reaction_ns, None, "once");
        assert!(!caller.waits_for_reaction());
    }

    #[test]
    fn a_press_that_nothing_answers_is_given_up() {
        let (mut caller, mut packet) = (caller(), [0; MAX_PACKET]);
        let habit = Some(Habit { digit: Digit::STAR, road: Road::TelephoneEvent, quiet_ns: 0, hesitation_ns: 0 });
        hear(&mut caller, 20, 0x80);
        let frames: Vec<Spoken> =
            (1..400).map(|frame| caller.speak(frame * 20 * MS, habit, 0, &mut packet).unwrap()).collect();
        let when = |what: fn(&Spoken) -> bool| frames.iter().position(what).unwrap();
        assert_eq!(when(|spoken| spoken.pressed), 1);
        // From 40 ms on for three seconds; the frame behind them tells.
        assert_eq!(when(|spoken| spoken.unanswered), (40 + 3_000) / 20);
    }
}

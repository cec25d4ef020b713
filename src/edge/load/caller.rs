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
use crate::dtmf::{Digit, Press};
use crate::ids::LegId;
use crate::media::{FRAME_SAMPLES, MAX_PACKET};
use crate::rtp::{HEADER_LENGTH, RtpHeader, RtpTime, SequenceNumber, Ssrc};
use crate::sdp::Negotiated;

/// How long a key is held.
const PRESS: Duration = Duration::from_millis(100);

/// A prompt that does not follow a press within this time does not answer it.
const REACTION_MAX_NS: u64 = 3_000_000_000;

/// A sample louder than this is sound (about −60 dBFS).
const SOUND: u16 = 33;

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
    /// What it has heard of the measured window so far; `None` before its first packet there.
    pub counted: Option<Counts>,
    /// Its call was up to the window's end.
    pub measured: bool,
    line: Option<Line>,
}

/// What the SDP answer opened.
#[derive(Debug)]
struct Line {
    far: SocketAddr,
    law: Law,
    payload_type: u8,
    telephone_event: Option<u8>,
    ssrc: Ssrc,
    sequence: SequenceNumber,
    timestamp: RtpTime,
    /// When something that sounds was heard last.
    sounded_ns: Option<u64>,
    key: Key,
}

/// The key that a caller presses, again and again.
#[derive(Debug)]
enum Key {
    /// Not now.
    Idle,
    /// At this moment.
    Due(u64),
    /// The press is being sent; its first packet left at `began_ns`.
    Pressing { press: Press, began_ns: u64, answered: bool },
    /// All packets of the press are out, and no prompt has answered it.
    Waiting { began_ns: u64 },
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
    /// It is the first packet of a press.
    pub pressed: bool,
    /// A press before was never answered.
    pub unanswered: bool,
}

impl Caller {
    /// A caller whose INVITE goes out now.
    pub fn new(leg: LegId, invited_ns: u64, slot: usize, port: usize) -> Self {
        Self {
            leg,
            state: State::Ringing,
            invited_ns,
            answered_ns: None,
            slot,
            port,
            heard: Heard::default(),
            counted: None,
            measured: false,
            line: None,
        }
    }

    /// The 200 came at `now_ns`, with G.711 of this law; `random` makes the stream's identity.
    pub fn answered(&mut self, now_ns: u64, negotiated: &Negotiated, law: Law, random: u64) {
        self.state = State::Up;
        self.answered_ns = Some(now_ns);
        self.line = Some(Line {
            far: negotiated.remote,
            law,
            payload_type: negotiated.payload_type,
            telephone_event: negotiated.telephone_event,
            ssrc: Ssrc((random >> 32) as u32),
            sequence: SequenceNumber(random as u16),
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
    pub fn hear(&mut self, stamp_ns: u64, packet: &[u8], listens: bool) -> Option<Noticed> {
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
        let mut length = FRAME_SAMPLES;
        let mut pressed = false;
        match (line.next_press_packet(), line.telephone_event) {
            (Some(press), Some(event)) => {
                body.iter_mut().zip(press.payload).for_each(|(to, from)| *to = from);
                (marker, payload_type, timestamp, length) = (press.marker, event, press.timestamp, press.payload.len());
                pressed = press.marker;
            }
            _ => body.iter_mut().take(FRAME_SAMPLES).for_each(|byte| *byte = g711::silence(line.law)),
        }
        let header = RtpHeader { marker, payload_type, sequence: line.sequence, timestamp, ssrc: line.ssrc };
        head.copy_from_slice(&header.to_bytes());
        line.sequence = line.sequence.next();
        line.timestamp = line.timestamp.plus(FRAME_SAMPLES as u32);
        Some(Spoken { length: HEADER_LENGTH + length, far: line.far, pressed, unanswered })
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
        let sounds = payload_type == self.payload_type
            && payload.iter().any(|&byte| g711::decode(self.law, byte).unsigned_abs() > SOUND);
        if !sounds {
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
                if self.telephone_event.is_some()
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
                let press = Press::new(habit.digit, PRESS, self.timestamp, 8_000);
                self.key = Key::Pressing { press, began_ns: now_ns, answered: false };
            }
            (Key::Idle | Key::Due(_) | Key::Pressing { .. } | Key::Waiting { .. }, _) => {}
        }
        false
    }

    fn next_press_packet(&mut self) -> Option<crate::dtmf::PressPacket> {
        let Key::Pressing { press, began_ns, answered } = &mut self.key else { return None };
        let packet = press.next_packet();
        if packet.is_none() {
            self.key = if *answered { Key::Idle } else { Key::Waiting { began_ns: *began_ns } };
        }
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Codec;
    use crate::rtp::RtcpPath;

    const MS: u64 = 1_000_000;
    const FAR: &str = "192.0.2.1:4000";

    fn caller() -> Caller {
        let mut caller = Caller::new(LegId(1), 0, 0, 0);
        let negotiated = Negotiated {
            codec: Codec::Pcmu,
            payload_type: 0,
            telephone_event: Some(101),
            remote: FAR.parse().unwrap(),
            rtcp: RtcpPath::Multiplexed,
            send: true,
            receive: true,
        };
        caller.answered(5 * MS, &negotiated, Law::Mu, 0x1234_5678_9abc_def0);
        caller
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
        caller.hear(at_ms * MS, &[&header.to_bytes()[..], &[byte; 160]].concat(), true).unwrap()
    }

    #[test]
    fn a_stream_goes_on_under_one_identity_from_the_answer_to_the_end() {
        let mut caller = caller();
        let mut packet = [0; MAX_PACKET];
        for index in 0..3 {
            let spoken = caller.speak(0, None, 0, &mut packet).unwrap();
            let far: SocketAddr = FAR.parse().unwrap();
            assert_eq!(spoken, Spoken { length: 172, far, pressed: false, unanswered: false });
            let (header, payload) = RtpHeader::parse(&packet).unwrap();
            assert_eq!((header.sequence.0, header.timestamp.0), (0xdef0 + index, 0x5678_9abc + 160 * u32::from(index)));
            assert_eq!((header.ssrc, &packet[payload]), (Ssrc(0x1234_5678), &[0xff; 160][..]));
        }
        caller.state = State::HangingUp;
        assert_eq!(caller.speak(0, None, 0, &mut packet), None);
    }

    /// The far end sounds, falls quiet, is answered with a key, and sounds again: the time between is the reaction.
    #[test]
    fn a_key_is_pressed_into_quiet_and_its_reaction_measured() {
        let (mut caller, mut packet) = (caller(), [0; MAX_PACKET]);
        let digit = Digit::from_event(1).unwrap();
        let habit = Some(Habit { digit, quiet_ns: 100 * MS, hesitation_ns: 50 * MS });
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
        let habit = Some(Habit { digit: Digit::STAR, quiet_ns: 0, hesitation_ns: 0 });
        hear(&mut caller, 20, 0x80);
        let frames: Vec<Spoken> =
            (1..400).map(|frame| caller.speak(frame * 20 * MS, habit, 0, &mut packet).unwrap()).collect();
        let when = |what: fn(&Spoken) -> bool| frames.iter().position(what).unwrap();
        assert_eq!(when(|spoken| spoken.pressed), 1);
        // From 40 ms on for three seconds; the frame behind them tells.
        assert_eq!(when(|spoken| spoken.unanswered), (40 + 3_000) / 20);
    }
}

//! Senders of telephone events, as RFC 4733 wants them and as they are.

use contesta::dtmf::TelephoneEvent;
use contesta::ids::Ids;
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// How a sender presses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// 80 to 250 ms, and pauses of 100 to 400 ms.
    Fingers,
    /// 40 ms, and pauses of 40 ms: twelve keys a second.
    Dialler,
    /// One to eight seconds: up to a segment.
    Holds,
    /// Nine to twenty seconds: two or three segments.
    Leans,
    /// The second and third end have timestamps of their own (rtpengine #1812).
    NewEnds,
    /// The timestamp grows with each packet (peers #7).
    MovingClock,
    /// The next press has the timestamp of the one before (livekit/sip #796).
    StoppedClock,
    /// Two updates, then nothing until the ends (asterisk-unimrcp #44).
    NoUpdates,
    /// The first three packets of each press never leave.
    LateStart,
    /// No packet has the marker.
    NoMarker,
}

impl Habit {
    pub const ALL: [(&str, Self); 10] = [
        ("fingers", Self::Fingers),
        ("dialler", Self::Dialler),
        ("1-8 s", Self::Holds),
        ("9-20 s", Self::Leans),
        ("new ends", Self::NewEnds),
        ("moving", Self::MovingClock),
        ("stopped", Self::StoppedClock),
        ("no upd.", Self::NoUpdates),
        ("late", Self::LateStart),
        ("no mark", Self::NoMarker),
    ];

    /// How many presses a cell of the table has.
    pub fn presses(self) -> usize {
        match self {
            Self::Holds => 200,
            Self::Leans => 50,
            Self::Fingers
            | Self::Dialler
            | Self::NewEnds
            | Self::MovingClock
            | Self::StoppedClock
            | Self::NoUpdates
            | Self::LateStart
            | Self::NoMarker => 2_000,
        }
    }

    /// Packets of a press without its two repeated ends, and of the pause behind these.
    fn lengths(self, dice: &mut Ids) -> (u32, u32) {
        let mut between = |least: u64, most: u64| least as u32 + dice.below(most - least + 1) as u32;
        match self {
            Self::Dialler => (2, 0),
            Self::Holds => (between(50, 400), 5),
            Self::Leans => (between(450, 1_000), 5),
            // Three more than are lost.
            Self::LateStart => (between(6, 13), between(3, 18)),
            Self::Fingers
            | Self::NewEnds
            | Self::MovingClock
            | Self::StoppedClock
            | Self::NoUpdates
            | Self::NoMarker => (between(4, 13), between(3, 18)),
        }
    }
}

/// A packet of the stream: the press that it is of, `None` for audio.
pub struct Sent {
    pub press: Option<usize>,
    pub bytes: [u8; 16],
    /// It leaves.
    pub leaves: bool,
}

/// The packets of presses by this habit, one each 20 ms, and the key of each press. Keys are few, so that the same one often follows
/// itself.
pub fn stream(habit: Habit, dice: &mut Ids) -> Vec<Sent> {
    let mut packets = Vec::new();
    let (mut sequence, mut clock) = (SequenceNumber(dice.next_u64() as u16), RtpTime(dice.next_u64() as u32));
    let mut stopped = clock;
    let mut key = 0;
    for press in 0..habit.presses() {
        let (updates, pause) = habit.lengths(dice);
        if dice.below(2) == 0 {
            (key, stopped) = (dice.below(16) as u8, clock);
        }
        let begin = if habit == Habit::StoppedClock { stopped } else { clock };
        for index in 0..updates + 2 {
            let elapsed = (index + 1).min(updates) * 160;
            let (segment, end) = ((elapsed - 1) / 0xffff, index + 1 >= updates);
            let timestamp = if habit == Habit::MovingClock {
                begin.plus(index * 160)
            } else if habit == Habit::NewEnds && index >= updates {
                begin.plus(updates * 160 + (index - updates + 1) * 160)
            } else {
                begin.plus(segment * 0xffff)
            };
            let event = TelephoneEvent { event: key, end, volume: 10, duration: (elapsed - segment * 0xffff) as u16 };
            let header = RtpHeader {
                marker: index == 0 && habit != Habit::NoMarker,
                payload_type: 101,
                sequence,
                timestamp,
                ssrc: Ssrc(9),
            };
            let leaves = (habit != Habit::NoUpdates || index < 2 || end) && (habit != Habit::LateStart || index >= 3);
            packets.push(Sent { press: Some(press), bytes: bytes(&header, event.to_bytes()), leaves });
            // What is not sent has no number.
            if leaves || habit == Habit::LateStart {
                sequence = sequence.next();
            }
            clock = clock.plus(160);
        }
        for _ in 0..pause {
            let header = RtpHeader { marker: false, payload_type: 0, sequence, timestamp: clock, ssrc: Ssrc(9) };
            packets.push(Sent { press: None, bytes: bytes(&header, [0xff; 4]), leaves: true });
            sequence = sequence.next();
            clock = clock.plus(160);
        }
    }
    packets
}

fn bytes(header: &RtpHeader, payload: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(&header.to_bytes());
    bytes[12..].copy_from_slice(&payload);
    bytes
}

//! What a sender of telephone events has shown of itself: whether its timestamps may be believed, and how much longer a press gets
//! with each of its packets.
//!
//! ```text
//! seen                                                 its timestamps are
//! two ends under one timestamp                         right (RFC 4733 §2.5.1.4), unless something below is seen
//! a press begins anew within its own time              wrong: the clock stands still (sipsorcery #669, livekit/sip #796)
//! a longer stretch begins within a shorter one         wrong: the timestamp moves with each packet
//! an end shares numbers with a press, not its time     wrong: the ends are stamped anew (sipwise/rtpengine #1812, #1929)
//! ```
//!
//! None of the last three comes of loss, delay or doubling.

use super::pressed::{ENDS, Packet, Pressed, Tie};
use crate::rtp::{RtpTime, SequenceNumber, Ssrc};

/// How far apart packets are before a press has shown it, in milliseconds.
const PACKET_USUAL_MS: u16 = 20;

/// No sender sends more often, in milliseconds: what grows by less grows by something else than packets.
const PACKET_MIN_MS: u16 = 5;

/// Of one stream; another SSRC starts from nothing.
#[derive(Debug)]
pub(super) struct Habit {
    ssrc: Option<Ssrc>,
    timestamps: Timestamps,
    pace: Pace,
    /// Where the latest end was.
    end: Option<(RtpTime, SequenceNumber)>,
    units_per_ms: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timestamps {
    Unproven,
    Right,
    /// For as long as the stream lasts.
    Wrong,
}

/// How much longer presses get from one sequence number to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Unknown,
    Even {
        /// In RTP units.
        step: u16,
        /// An end came when it was due: that press was seen as a whole.
        is_ended: bool,
    },
    /// Updates are left out (unispeech/asterisk-unimrcp #44), or sent twice: numbers tell nothing.
    Uneven,
}

/// What presses of a stream are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Timestamps,
    /// What is one press by either is one.
    TimestampsAndNumbers,
    /// What is one press by its timestamps is one, and what its neighbours in the sequence are too.
    TimestampsAndNeighbours,
    Numbers,
}

impl Habit {
    pub(super) fn new(units_per_ms: u16) -> Self {
        Self { ssrc: None, timestamps: Timestamps::Unproven, pace: Pace::Unknown, end: None, units_per_ms }
    }

    pub(super) fn trust(&self) -> Trust {
        match (self.timestamps, self.pace) {
            (Timestamps::Right, _) | (_, Pace::Unknown) => Trust::Timestamps,
            (Timestamps::Wrong, Pace::Even { is_ended: true, .. }) => Trust::Numbers,
            (Timestamps::Unproven | Timestamps::Wrong, Pace::Even { .. }) => Trust::TimestampsAndNumbers,
            (Timestamps::Unproven | Timestamps::Wrong, Pace::Uneven) => Trust::TimestampsAndNeighbours,
        }
    }

    /// How much longer a press gets with each packet, as far as is known; at least 1.
    pub(super) fn step(&self) -> u16 {
        match self.pace {
            Pace::Even { step, .. } => step,
            Pace::Unknown | Pace::Uneven => PACKET_USUAL_MS * self.units_per_ms,
        }
    }

    /// Any packet, before it is known of which press it is.
    pub(super) fn handle_packet(&mut self, packet: &Packet) {
        if self.ssrc != Some(packet.ssrc) {
            *self = Self { ssrc: Some(packet.ssrc), ..Self::new(self.units_per_ms) };
        }
        if packet.end {
            let before = self.end.replace((packet.timestamp, packet.sequence));
            let is_repeated =
                before.is_some_and(|(time, number)| time == packet.timestamp && number != packet.sequence);
            if is_repeated && self.timestamps == Timestamps::Unproven {
                self.timestamps = Timestamps::Right;
            }
        } else if packet.marker && packet.duration > 0 {
            // What begins a press is as long as each packet makes it.
            self.handle_update(packet.duration, 1);
        }
    }

    /// A packet that was found to be of `press`, which does not have it yet.
    pub(super) fn handle_tie(&mut self, press: &Pressed, packet: &Packet, tie: Tie) {
        match tie {
            Tie::Overlap if press.is_in_order_with(packet) => self.handle_contradiction(),
            // A segment begins its duration anew.
            Tie::Segment if press.is_in_order_with(packet) && press.shares_numbers_with(packet, self.step()) => {
                self.handle_contradiction();
            }
            Tie::Timestamp | Tie::Overlap => {}
            Tie::Numbers => {
                if matches!(self.pace, Pace::Even { is_ended: true, .. }) {
                    self.handle_contradiction();
                }
                return;
            }
            Tie::Neighbour | Tie::Segment | Tie::NewStream => return,
        }
        match press.growth(packet) {
            Some((growth, packets)) if packet.end => self.handle_end(growth, packets),
            Some((growth, packets)) => self.handle_update(growth, packets),
            None => {}
        }
    }

    /// Packets of a press have several timestamps, or presses have one.
    pub(super) fn handle_contradiction(&mut self) {
        self.timestamps = Timestamps::Wrong;
    }

    /// A press got `growth` longer in so many packets.
    fn handle_update(&mut self, growth: u16, packets: u16) {
        let each = growth.checked_div(packets).unwrap_or(0);
        if !growth.is_multiple_of(packets) || each < PACKET_MIN_MS * self.units_per_ms {
            self.pace = Pace::Uneven;
        } else if !matches!(self.pace, Pace::Even { step, .. } if step == each) {
            self.pace = Pace::Even { step: each, is_ended: false };
        }
    }

    /// The same, by its end: up to a packet more, and then repeated.
    fn handle_end(&mut self, growth: u16, packets: u16) {
        if let Pace::Even { step, .. } = self.pace {
            let least = growth.div_ceil(step);
            let is_due = (least..=least + ENDS).contains(&packets);
            self.pace = if is_due { Pace::Even { step, is_ended: true } } else { Pace::Uneven };
        }
    }
}

//! A press that was reported, and what makes another packet one of its own.

use super::TelephoneEvent;
use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// The shortest pause between two presses that exchanges must tell apart (ITU-T Q.24), in milliseconds.
const PAUSE_MIN_MS: i32 = 40;

/// Loss that we bridge between two segments of a long press, in milliseconds.
const SEGMENT_LOSS_MAX_MS: i32 = 1_000;

/// Packets, in milliseconds, of senders that let a segment end with a whole one; others let it end at 0xFFFF units or one more.
const PACKETS_MS: [i32; 6] = [10, 20, 30, 40, 50, 60];

/// How often an end is sent (§2.5.1.4).
pub(super) const ENDS: u16 = 3;

/// What a press may have grown across a restart of the stream, in milliseconds.
const NEW_STREAM_GROWTH_MAX_MS: i32 = 200;

/// One telephone event as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) ssrc: Ssrc,
    pub(super) marker: bool,
    pub(super) sequence: SequenceNumber,
    pub(super) timestamp: RtpTime,
    pub(super) event: u8,
    pub(super) end: bool,
    pub(super) duration: u16,
}

/// What ties a packet to a press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    /// One timestamp: update, repeated end, duplicate, late packet.
    Timestamp,
    /// Stretches of time that overlap, though they begin apart: two presses of a key never do.
    Overlap,
    /// It is the next segment of a long press (§2.5.1.3).
    Segment,
    /// Sequence numbers and durations lead back to one beginning.
    Numbers,
    /// Next to each other in the sequence, and as long as one press makes them.
    Neighbour,
    /// The sender restarted its stream while the key was down.
    NewStream,
}

/// The stretch of time that a press is known to cover, and its numbers. `end` is frozen when the first end has come: repeated ends with
/// moved timestamps must not stretch it into the next press.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressed {
    event: u8,
    ssrc: Ssrc,
    start: RtpTime,
    end: RtpTime,
    /// Timestamp of the latest segment, and the longest duration seen in it.
    segment: RtpTime,
    duration: u16,
    /// The least number that is surely the press's, and its latest packet's.
    first: SequenceNumber,
    latest: SequenceNumber,
    /// The numbers that the latest segment can have begun with: several while only ends of it have come.
    begun: [SequenceNumber; 2],
    /// The first end that came.
    ended: Option<SequenceNumber>,
}

impl Packet {
    pub(super) fn new(header: &RtpHeader, event: TelephoneEvent) -> Self {
        Self {
            ssrc: header.ssrc,
            marker: header.marker,
            sequence: header.sequence,
            timestamp: header.timestamp,
            event: event.event,
            end: event.end,
            duration: event.duration,
        }
    }

    /// The numbers that its press, or the segment, can have begun with where each packet makes it `step` longer. The second and third end are
    /// as long as the first, and that may be no longer than the last update.
    fn begun(&self, step: u16) -> [SequenceNumber; 2] {
        let before = self.duration.div_ceil(step).saturating_sub(1);
        let latest = SequenceNumber(self.sequence.0.wrapping_sub(before));
        let earlier = if self.end { ENDS } else { 0 };
        [SequenceNumber(latest.0.wrapping_sub(earlier)), latest]
    }
}

impl Pressed {
    /// The press that `packet` is the first of.
    pub(super) fn new(packet: &Packet, step: u16) -> Self {
        let begun = packet.begun(step);
        Self {
            event: packet.event,
            ssrc: packet.ssrc,
            start: packet.timestamp,
            end: packet.timestamp.plus(u32::from(packet.duration)),
            segment: packet.timestamp,
            duration: packet.duration,
            first: begun[1],
            latest: packet.sequence,
            begun,
            ended: packet.end.then_some(packet.sequence),
        }
    }

    fn is_of_key(&self, packet: &Packet) -> bool {
        self.event == packet.event && self.ssrc == packet.ssrc
    }

    /// By timestamps: the same one, or stretches of time that overlap.
    pub(super) fn tie_by_time(&self, packet: &Packet) -> Option<Tie> {
        let begin = packet.timestamp;
        if !self.is_of_key(packet) {
            None
        } else if begin == self.start || begin == self.segment {
            Some(Tie::Timestamp)
        } else if begin.since(self.end) < 0 && begin.plus(u32::from(packet.duration)).since(self.start) > 0 {
            Some(Tie::Overlap)
        } else {
            None
        }
    }

    /// By timestamps: the next segment, or what follows sooner than another press could.
    pub(super) fn tie_of_segment(&self, packet: &Packet, units_per_ms: u16) -> Option<Tie> {
        let per_ms = i32::from(units_per_ms);
        let after_end = packet.timestamp.since(self.end);
        let is_next = (0..PAUSE_MIN_MS * per_ms).contains(&after_end)
            || (self.ended.is_none()
                && (0..SEGMENT_LOSS_MAX_MS * per_ms).contains(&after_end)
                && is_full_segment(packet.timestamp.since(self.segment), per_ms));
        // The marker is set on the first packet of a press alone (§2.5.1.1).
        (self.is_of_key(packet) && !packet.marker && is_next).then_some(Tie::Segment)
    }

    /// Whether the packet begins the press anew, within its time though behind its end: another press by a sender whose clock stands still.
    /// Nothing of a press is shorter behind its end.
    pub(super) fn is_begun_again_by(&self, packet: &Packet) -> bool {
        let is_shorter = if packet.marker {
            !packet.end && packet.duration < self.duration
        } else {
            // An end may be a little shorter than the last update, which told of the whole packet's time.
            packet.duration <= self.duration / 2
        };
        is_shorter
            && self.ended.is_some()
            && packet.sequence.since(self.latest) > 0
            && self.tie_by_time(packet).is_some()
    }

    /// Whether a number belongs to both this press and the packet's, each from its beginning on: then they are one.
    pub(super) fn shares_numbers_with(&self, packet: &Packet, step: u16) -> bool {
        let [_, begun] = packet.begun(step);
        self.is_of_key(packet) && self.latest.since(begun) >= 0 && packet.sequence.since(self.first) >= 0
    }

    /// Whether the packet is of a press that began with the number that this one did, or lies within it.
    pub(super) fn began_with(&self, packet: &Packet, step: u16) -> bool {
        let is_between = packet.sequence.since(self.first) >= 0 && self.latest.since(packet.sequence) >= 0;
        self.is_of_key(packet) && (is_between || meet(self.begun, packet.begun(step)).is_some())
    }

    /// Three ends are sent in a row, and the next press has packets of its own before its end: a neighbour in the sequence is no other
    /// press, however its timestamp has moved.
    pub(super) fn is_neighbour_of(&self, packet: &Packet) -> bool {
        let distance = packet.sequence.since(self.latest).unsigned_abs();
        self.is_of_key(packet)
            && !packet.marker
            && match self.ended {
                Some(_) => packet.end && packet.duration == self.duration && distance < ENDS,
                None => packet.duration > self.duration && distance <= 4 && packet.timestamp.since(self.start) > 0,
            }
    }

    /// The key stays down while the sender starts a new stream: the duration goes on from where it was.
    pub(super) fn is_continued_on_new_stream_by(&self, packet: &Packet, units_per_ms: u16) -> bool {
        let growth = i32::from(packet.duration) - i32::from(self.duration);
        self.event == packet.event
            && self.ssrc != packet.ssrc
            && self.ended.is_none()
            && !packet.marker
            && (1..=NEW_STREAM_GROWTH_MAX_MS * i32::from(units_per_ms)).contains(&growth)
    }

    /// Whether the packet is later and longer than the press by its number, timestamp and duration, or earlier and shorter by all three.
    pub(super) fn is_in_order_with(&self, packet: &Packet) -> bool {
        let ahead = i32::from(packet.sequence.since(self.latest)).signum();
        let later = packet.timestamp.since(self.segment).signum();
        let longer = (i32::from(packet.duration) - i32::from(self.duration)).signum();
        ahead != 0 && ahead == later && later == longer
    }

    /// How much longer than its latest packet a packet behind makes it, and in how many.
    pub(super) fn growth(&self, packet: &Packet) -> Option<(u16, u16)> {
        let packets = u16::try_from(packet.sequence.since(self.latest)).ok().filter(|packets| *packets > 0)?;
        let growth = packet.duration.checked_sub(self.duration)?;
        self.ended.is_none().then_some((growth, packets))
    }

    /// Takes a packet in that was found to be its own.
    pub(super) fn extend(&mut self, packet: &Packet, step: u16) {
        let begun = packet.begun(step);
        if self.ssrc != packet.ssrc {
            *self = Self { ended: self.ended, ..Self::new(packet, step) };
        } else if self.ended.is_none() {
            // A later timestamp with a shorter duration is a segment; with a longer one the sender moves its timestamps, and
            // the duration still counts from the beginning.
            let is_ahead = packet.sequence.since(self.latest) > 0;
            if is_ahead && packet.timestamp.since(self.segment) > 0 && packet.duration < self.duration {
                self.segment = packet.timestamp;
                self.duration = packet.duration;
                self.begun = begun;
            } else if packet.timestamp.since(self.segment) >= 0 {
                self.duration = self.duration.max(packet.duration);
            }
            if packet.timestamp.since(self.start) < 0 {
                self.start = packet.timestamp;
            }
            let end = self.segment.plus(u32::from(self.duration));
            if end.since(self.end) > 0 {
                self.end = end;
            }
        }
        if let Some(both) = meet(self.begun, begun) {
            self.begun = both;
        }
        if begun[1].since(self.first) < 0 {
            self.first = begun[1];
        }
        if packet.sequence.since(self.latest) > 0 {
            self.latest = packet.sequence;
        }
        if packet.end && self.ended.is_none() {
            self.ended = Some(packet.sequence);
        }
    }
}

/// The numbers that two ranges share, each from its least to its greatest.
fn meet(one: [SequenceNumber; 2], other: [SequenceNumber; 2]) -> Option<[SequenceNumber; 2]> {
    let least = if one[0].since(other[0]) > 0 { one[0] } else { other[0] };
    let greatest = if one[1].since(other[1]) < 0 { one[1] } else { other[1] };
    (greatest.since(least) >= 0).then_some([least, greatest])
}

/// Whether a sender begins the next segment so many units behind the beginning of one. Nothing in between: a press of eight seconds
/// may come so far behind another whose end is lost.
fn is_full_segment(units: i32, per_ms: i32) -> bool {
    let whole_packets = |packet: i32| 0xffff / packet * packet;
    matches!(units, 0xffff | 0x1_0000) || PACKETS_MS.iter().any(|ms| units == whole_packets(ms * per_ms))
}

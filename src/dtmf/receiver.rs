//! Telephone events to presses (RFC 4733 §2.5.2): one press is one digit, reported at the first of its packets that
//! arrives, whatever is lost, late, doubled or mistimed behind it.
//!
//! A press is known by its stream, key and the stretch of media time it covers. Two presses of a key never overlap in
//! time, so a packet whose stretch touches that of a press already reported belongs to it:
//!
//! ```text
//! what comes                                     why it is the same press
//! same timestamp                                 update, repeated end, duplicate, late packet
//! overlapping stretch, other timestamp           senders that move the timestamp with each packet
//! begins less than 40 ms after the end           the next segment of a long press (§2.5.1.3)
//! neighbouring sequence number, longer           timestamps moved before the end, and updates lost
//! neighbouring sequence number, equally long     repeated end sent under a new timestamp
//! longer, on a new SSRC, before any end          the sender restarted its stream while the key was down
//! ```
//!
//! One thing shows a press to be another one though its stretch is the same: it begins (marker, shorter, no end) behind an end, by the
//! sequence numbers. Senders whose clock stands still do that (sipsorcery #669, livekit/sip #796).

use super::{BLOCK_LENGTH, Digit, TelephoneEvent};
use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// Presses remembered for packets that come late: far more than any network holds back.
const REMEMBERED: usize = 16;

/// Blocks read of one packet; packing more than two events was never seen.
const BLOCKS_MAX: usize = 8;

/// The shortest pause between two presses that exchanges must tell apart (ITU-T Q.24), in milliseconds.
const PAUSE_MIN_MS: i32 = 40;

/// Loss that we bridge between two segments of a long press, in milliseconds.
const SEGMENT_LOSS_MAX_MS: i32 = 1_000;

/// Packets, in milliseconds, of senders that let a segment end with a whole one; others let it end at 0xFFFF units or one more.
const PACKETS_MS: [i32; 6] = [10, 20, 30, 40, 50, 60];

/// What a press may have grown across a restart of the stream, in milliseconds.
const NEW_STREAM_GROWTH_MAX_MS: i32 = 200;

/// Reads the telephone events of one leg.
#[derive(Debug)]
pub struct TelephoneEvents {
    /// RTP units of a millisecond: 8, or 48 beside Opus.
    units_per_ms: i32,
    /// The presses reported last; `newest` is the index of the latest, the one before it is the one before, around.
    presses: [Option<Pressed>; REMEMBERED],
    newest: usize,
}

/// A press that was reported. `end` is frozen when the first end packet has come: repeated ends with moved timestamps must not
/// stretch it into the next press.
#[derive(Clone, Copy, Debug)]
struct Pressed {
    event: u8,
    ssrc: Ssrc,
    start: RtpTime,
    end: RtpTime,
    /// Timestamp of the latest segment, and the longest duration seen in it.
    segment: RtpTime,
    duration: u16,
    /// The latest packet's.
    sequence: SequenceNumber,
    ended: bool,
}

impl TelephoneEvents {
    /// Nothing pressed yet. `clock_rate` is that of the payload type (`a=rtpmap:101 telephone-event/8000`).
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        let units_per_ms = i32::try_from(clock_rate / 1_000).unwrap_or(i32::from(u8::MAX));
        Self { units_per_ms: units_per_ms.clamp(1, i32::from(u8::MAX)), presses: [None; REMEMBERED], newest: 0 }
    }

    /// Takes one packet whose payload type is that of telephone events; `pressed` is called with each digit that this packet is
    /// the first of. Events that are no digits and payloads shorter than a block are skipped.
    pub fn handle_packet(&mut self, header: &RtpHeader, payload: &[u8], mut pressed: impl FnMut(Digit)) {
        let mut header = *header;
        let mut follows_an_end = true;
        for block in payload.chunks_exact(BLOCK_LENGTH).take(BLOCKS_MAX) {
            let Some(&bytes) = block.first_chunk() else { return };
            let event = TelephoneEvent::from_bytes(bytes);
            // §2.5.1.5: packed events follow each other without a gap, so all but the last have ended. Whatever else comes
            // behind a block is padding, and a block of zeros would read as the key 0.
            if !follows_an_end {
                return;
            }
            if let Some(digit) = Digit::from_event(event.event)
                && self.is_first(&header, event)
            {
                pressed(digit);
            }
            follows_an_end = event.end && event.duration > 0;
            header.timestamp = header.timestamp.plus(u32::from(event.duration));
            header.marker = false;
        }
    }

    /// Files the packet under its press; true when that press is new.
    fn is_first(&mut self, header: &RtpHeader, event: TelephoneEvent) -> bool {
        let newest = self.newest;
        let known = (0..REMEMBERED).find_map(|age| {
            let index = (newest + REMEMBERED - age) % REMEMBERED;
            let press = self.presses.get(index).copied().flatten()?;
            let per_ms = self.units_per_ms;
            (press.contains(header, event, per_ms)
                || (age == 0 && press.continues_on_new_stream(header, event, per_ms)))
            .then_some(index)
        });
        if let Some(press) = known.and_then(|index| self.presses.get_mut(index)).and_then(Option::as_mut) {
            press.extend(header, event);
            return false;
        }
        self.newest = (newest + 1) % REMEMBERED;
        if let Some(place) = self.presses.get_mut(self.newest) {
            *place = Some(Pressed {
                event: event.event,
                ssrc: header.ssrc,
                start: header.timestamp,
                end: header.timestamp.plus(u32::from(event.duration)),
                segment: header.timestamp,
                duration: event.duration,
                sequence: header.sequence,
                ended: event.end,
            });
        }
        true
    }
}

impl Pressed {
    fn contains(&self, header: &RtpHeader, event: TelephoneEvent, per_ms: i32) -> bool {
        if self.event != event.event || self.ssrc != header.ssrc {
            return false;
        }
        let begin = header.timestamp;
        // Some senders' clocks stand still from one press to the next: what goes on behind the repeated ends is another one.
        let begins_behind = header.marker && self.ended && !event.end && header.sequence.since(self.sequence) > 0;
        if begins_behind && event.duration < self.duration {
            return false;
        }
        if begin == self.start || begin == self.segment {
            return true;
        }
        let overlaps = begin.since(self.end) < 0 && begin.plus(u32::from(event.duration)).since(self.start) > 0;
        if overlaps {
            return true;
        }
        // The marker is set on the first packet of a press alone (§2.5.1.1).
        if header.marker {
            return false;
        }
        let after_end = begin.since(self.end);
        let next_segment = (0..PAUSE_MIN_MS * per_ms).contains(&after_end)
            || (!self.ended
                && (0..SEGMENT_LOSS_MAX_MS * per_ms).contains(&after_end)
                && is_full_segment(begin.since(self.segment), per_ms));
        // Three ends are sent in a row, and the next press has packets of its own before its end: a neighbour in the
        // sequence is no other press, however its timestamp has moved.
        let distance = header.sequence.since(self.sequence).unsigned_abs();
        let neighbour = if self.ended {
            event.end && event.duration == self.duration && distance <= 2
        } else {
            event.duration > self.duration && distance <= 4 && begin.since(self.start) > 0
        };
        next_segment || neighbour
    }

    /// The key stays down while the sender starts a new stream: the duration goes on from where it was.
    fn continues_on_new_stream(&self, header: &RtpHeader, event: TelephoneEvent, per_ms: i32) -> bool {
        let growth = i32::from(event.duration) - i32::from(self.duration);
        self.event == event.event
            && self.ssrc != header.ssrc
            && !self.ended
            && !header.marker
            && (1..=NEW_STREAM_GROWTH_MAX_MS * per_ms).contains(&growth)
    }

    fn extend(&mut self, header: &RtpHeader, event: TelephoneEvent) {
        if self.ssrc != header.ssrc {
            self.ssrc = header.ssrc;
            self.start = header.timestamp;
            self.segment = header.timestamp;
            self.duration = event.duration;
            self.sequence = header.sequence;
            self.end = header.timestamp.plus(u32::from(event.duration));
        } else if !self.ended {
            // A later timestamp with a shorter duration is a segment; with a longer one the sender moves its timestamps, and
            // the duration still counts from the beginning.
            if header.timestamp.since(self.segment) > 0 && event.duration < self.duration {
                self.segment = header.timestamp;
                self.duration = event.duration;
            } else if header.timestamp.since(self.segment) >= 0 {
                self.duration = self.duration.max(event.duration);
            }
            if header.timestamp.since(self.start) < 0 {
                self.start = header.timestamp;
            }
            let end = self.segment.plus(u32::from(self.duration));
            if end.since(self.end) > 0 {
                self.end = end;
            }
        }
        if header.sequence.since(self.sequence) > 0 {
            self.sequence = header.sequence;
        }
        self.ended |= event.end;
    }
}

/// Whether a sender begins the next segment so many units behind the beginning of one. Nothing in between: a press of eight seconds
/// may come so far behind another whose end is lost.
fn is_full_segment(units: i32, per_ms: i32) -> bool {
    let whole_packets = |packet: i32| 0xffff / packet * packet;
    matches!(units, 0xffff | 0x1_0000) || PACKETS_MS.iter().any(|ms| units == whole_packets(ms * per_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 0x1234;

    /// One packet as captures show it: marker, sequence, timestamp, event, end, duration.
    type Row = (bool, u16, u32, u8, bool, u16);

    fn header(&(marker, sequence, timestamp, ..): &Row, ssrc: u32) -> RtpHeader {
        RtpHeader {
            marker,
            payload_type: 101,
            sequence: SequenceNumber(sequence),
            timestamp: RtpTime(timestamp),
            ssrc: Ssrc(ssrc),
        }
    }

    fn block(&(_, _, _, event, end, duration): &Row) -> [u8; 4] {
        TelephoneEvent { event, end, volume: 10, duration }.to_bytes()
    }

    fn digits(rows: &[Row]) -> String {
        let mut events = TelephoneEvents::new(8_000);
        let mut digits = String::new();
        for row in rows {
            events.handle_packet(&header(row, SSRC), &block(row), |digit| digits.push(digit.as_char()));
        }
        digits
    }

    /// A press of 100 ms as RFC 4733 §2.5.1 wants it: a packet each 20 ms, three ends.
    fn press(event: u8, sequence: u16, timestamp: u32) -> Vec<Row> {
        (0..7_u16)
            .map(|index| {
                let duration = (index + 1).min(5) * 160;
                (index == 0, sequence.wrapping_add(index), timestamp, event, index >= 4, duration)
            })
            .collect()
    }

    #[test]
    fn a_press_is_reported_at_its_first_packet_and_once() {
        let rows = press(5, 100, 8000);
        assert_eq!(digits(&rows[..1]), "5");
        assert_eq!(digits(&rows), "5");
        assert_eq!(digits(&[press(11, 65_533, u32::MAX - 100), press(1, 20, 3000)].concat()), "#1", "numbers wrap");
    }

    #[test]
    fn any_one_packet_of_a_press_is_enough() {
        for survivor in press(7, 1, 0) {
            assert_eq!(digits(&[survivor]), "7");
        }
    }

    #[test]
    fn order_and_duplicates_do_not_matter() {
        let mut rows = press(3, 1, 16_000);
        rows.reverse();
        rows.extend(press(3, 1, 16_000));
        assert_eq!(digits(&rows), "3");
        // The last end of the first press comes after the second press has begun.
        let (first, second) = (press(3, 1, 16_000), press(3, 10, 17_120));
        assert_eq!(digits(&[&first[..6], &second[..3], &first[6..], &second[3..]].concat()), "33");
    }

    #[test]
    fn two_presses_of_a_key_are_two_digits_though_their_beginnings_are_lost() {
        // 100 ms pressed, 40 ms pause: 1,120 units from start to start.
        assert_eq!(digits(&[press(0, 1, 0), press(0, 10, 1120)].concat()), "00");
        assert_eq!(digits(&[press(0, 1, 0)[6..].to_vec(), press(0, 10, 1120)[4..].to_vec()].concat()), "00");
        assert_eq!(digits(&[press(0, 1, 0)[..2].to_vec(), press(0, 10, 1120)[6..].to_vec()].concat()), "00");
    }

    /// The shape of sipwise/rtpengine #1812 and #1929: the repeated ends carry new timestamps.
    #[test]
    fn repeated_ends_under_new_timestamps_are_the_same_press() {
        for step in [160, 800, 960, 48_000] {
            let mut rows = press(9, 1, 8000);
            rows[5].2 += step;
            rows[6].2 += 2 * step;
            assert_eq!(digits(&rows), "9", "{step}");
            rows.swap(4, 6);
            assert_eq!(digits(&rows), "9", "{step}, reordered");
            rows.extend(press(9, 12, 8000 + 1120));
            assert_eq!(digits(&rows), "99", "{step}, and pressed again");
        }
    }

    #[test]
    fn a_timestamp_that_moves_with_each_packet_is_still_one_press() {
        let rows: Vec<Row> =
            (0..12).map(|index| (index == 0, index, u32::from(index) * 160, 4, index > 8, (index + 1) * 160)).collect();
        assert_eq!(digits(&rows), "4");
    }

    /// The shape of livekit/sip #796: the clock does not go on behind a press.
    #[test]
    fn presses_under_one_timestamp_are_as_many_as_begin() {
        let rows = [press(0, 1, 8000), press(0, 10, 8000), press(1, 20, 8000), press(1, 40, 8000)].concat();
        assert_eq!(digits(&rows), "0011");
        // Late, doubled, and without its beginning.
        let (first, second) = (press(0, 1, 8000), press(0, 10, 8000));
        let late = [&first[..3], &first[4..], &second[..2], &first[3..4], &second[2..], &first[..1], &second].concat();
        assert_eq!(digits(&late), "00");
        assert_eq!(digits(&[&first[..], &second[1..]].concat()), "0", "nothing tells that it is another");
    }

    /// The shape of unispeech/asterisk-unimrcp #44: two updates, then nothing until the end of a long press.
    #[test]
    fn a_press_without_updates_is_one() {
        for duration in [1696, 13_568, 60_000] {
            let rows: Vec<Row> =
                [(true, false, 160), (false, false, 320), (false, true, duration), (false, true, duration)]
                    .iter()
                    .zip(0_u16..)
                    .map(|(&(marker, end, duration), index)| (marker, 10 + index * 5, 8000, 7, end, duration))
                    .collect();
            assert_eq!(digits(&rows), "7");
        }
    }

    /// RFC 4733 §2.5.1.3: beyond 0xFFFF units a new segment begins, its timestamp moved on by the duration before.
    #[test]
    fn a_key_held_for_half_a_minute_is_one_press() {
        let mut rows: Vec<Row> = Vec::new();
        for index in 0..1500_u32 {
            let elapsed = (index + 1) * 160;
            let segment = (elapsed - 1) / 65_535;
            let duration = (elapsed - segment * 65_535) as u16;
            rows.push((index == 0, index as u16, segment * 65_535, 8, index == 1499, duration));
        }
        assert_eq!(digits(&rows), "8");
        // Half a second lost around the border of the first two segments.
        let lossy: Vec<Row> = rows.iter().copied().filter(|row| !(395..420).contains(&row.1)).collect();
        assert_eq!(digits(&lossy), "8");
    }

    /// The end of a long press and the beginning of another are lost, and they lie almost a segment apart.
    #[test]
    fn a_press_that_begins_almost_a_segment_behind_another_is_another() {
        // Held for 16.221 s: its last segment ends at 64,233 units, the ends of it lost; then a pause of 63 ms.
        let last = (false, 811, 65_535, 0, false, 64_225);
        assert_eq!(digits(&[last, (false, 816, 65_535 + 64_737, 0, false, 320)]), "00");
        for full in [65_200, 65_280, 65_440, 65_520, 65_535, 65_536] {
            assert_eq!(digits(&[last, (false, 820, 65_535 + full, 0, false, 320)]), "0", "{full}");
        }
    }

    /// RFC 4733 §2.1: beside Opus the same times are six times as many units.
    #[test]
    fn at_48_000_units_a_second_pauses_and_segments_are_as_long() {
        let digits_at = |rows: &[Row], clock_rate: u32| {
            let (mut events, mut digits) = (TelephoneEvents::new(clock_rate), String::new());
            for row in rows {
                events.handle_packet(&header(row, SSRC), &block(row), |digit| digits.push(digit.as_char()));
            }
            digits
        };
        // A key held for four seconds, a packet each 20 ms; half of the third second is lost, and a border with it.
        let held: Vec<Row> = (0..200_u32)
            .map(|index| {
                let elapsed = (index + 1) * 960;
                let segment = (elapsed - 1) / 65_535;
                (index == 0, index as u16, segment * 65_535, 8, index == 199, (elapsed - segment * 65_535) as u16)
            })
            .filter(|row| !(125..150).contains(&row.1))
            .collect();
        assert_eq!(digits_at(&held, 48_000), "8");
        // Two presses whose markers are lost, 100 ms pressed and then 40 ms or 35 ms of pause, the first end lost too.
        let press = |start: u32, sequence: u16| (false, sequence, start, 3, true, 4_800);
        assert_eq!(digits_at(&[press(0, 1), press(4_800 + 1_920, 9)], 48_000), "33");
        assert_eq!(digits_at(&[press(0, 1), press(4_800 + 1_680, 9)], 48_000), "3");
        assert_eq!(digits_at(&[press(0, 1), press(4_800 + 1_680, 9)], 8_000), "33", "a pause of 210 ms");
    }

    #[test]
    fn a_new_stream_reads_on_and_does_not_repeat_a_key_that_is_down() {
        let mut events = TelephoneEvents::new(8_000);
        let mut digits = String::new();
        let mut feed = |rows: &[Row], ssrc: u32| {
            for row in rows {
                events.handle_packet(&header(row, ssrc), &block(row), |digit| digits.push(digit.as_char()));
            }
        };
        let restarted: Vec<Row> = press(2, 500, 99_000)[3..].to_vec();
        feed(&press(2, 1, 0)[..3], 1);
        feed(&restarted, 2); // the same press, from its fourth packet on
        feed(&press(2, 1, 0)[1..3], 1); // late ones of the old stream
        feed(&press(2, 600, 99_000), 3);
        assert_eq!(digits, "222", "late packets of a stream given up in mid-press and a new stream's press are new");
    }

    #[test]
    fn packed_events_are_all_read_and_padding_is_not() {
        let mut events = TelephoneEvents::new(8_000);
        let mut digits = String::new();
        let packed = [[1, 0x8a, 1, 144], [2, 0x8a, 1, 144], [3, 0x0a, 0, 160]].concat();
        let row = (true, 1, 0, 0, false, 0);
        events.handle_packet(&header(&row, SSRC), &packed, |digit| digits.push(digit.as_char()));
        events.handle_packet(&header(&row, SSRC), &packed, |digit| digits.push(digit.as_char()));
        assert_eq!(digits, "123");
        let padded = [[6, 0x0a, 0, 160], [0; 4], [0; 4]].concat();
        events.handle_packet(&header(&(true, 9, 9000, 6, false, 160), SSRC), &padded, |digit| {
            digits.push(digit.as_char())
        });
        assert_eq!(digits, "1236");
    }

    #[test]
    fn flash_and_stubs_are_no_digits() {
        assert_eq!(digits(&[(true, 1, 0, 16, true, 800), (true, 2, 0, 255, true, 800)]), "");
        TelephoneEvents::new(8_000).handle_packet(&header(&(true, 1, 0, 0, false, 0), SSRC), &[1, 2, 3], |digit| {
            panic!("{digit} out of three bytes")
        });
    }
}

//! Telephone events to presses (RFC 4733 §2.5.2): one press is one digit, reported at the first of its packets that
//! arrives, whatever is lost, late, doubled or mistimed behind it.
//!
//! What makes packets one press depends on what their sender has shown of itself (`habit.rs`):
//!
//! ```text
//! its timestamps are     so one press is
//! right                  one timestamp, or the segments of a long press: whatever else is odd about a sender that does
//!                        as RFC 4733 says, it is left alone
//! wrong                  one first number. Such a sender numbers its packets all the same and says how long the key is down,
//!                        so each packet tells the number that its press began with
//! not proven             both: what has one timestamp, or shares numbers, is one press
//! ```
//!
//! So a sender with wrong timestamps may be misheard for a press or two at the beginning of its stream, when the network is bad as well;
//! a right one never is.

use super::habit::{Habit, Trust};
use super::pressed::{Packet, Pressed, Tie};
use super::{BLOCK_LENGTH, Digit, TelephoneEvent};
use crate::rtp::RtpHeader;

/// Presses remembered for packets that come late: far more than any network holds back.
const REMEMBERED: usize = 10;

/// Blocks read of one packet; packing more than two events was never seen.
const BLOCKS_MAX: usize = 8;

/// Reads the telephone events of one leg.
#[derive(Debug)]
pub struct TelephoneEvents {
    /// RTP units of a millisecond: 8, or 48 beside Opus.
    units_per_ms: u16,
    habit: Habit,
    /// The presses reported last; `newest` is the index of the latest, the one before it is the one before, around.
    presses: [Option<Pressed>; REMEMBERED],
    newest: usize,
}

impl TelephoneEvents {
    /// Nothing pressed yet. `clock_rate` is that of the payload type (`a=rtpmap:101 telephone-event/8000`).
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        let units_per_ms = u16::try_from(clock_rate / 1_000).unwrap_or(u16::MAX).clamp(1, u16::from(u8::MAX));
        Self { units_per_ms, habit: Habit::new(units_per_ms), presses: [None; REMEMBERED], newest: 0 }
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
                && self.is_first(&Packet::new(&header, event))
            {
                pressed(digit);
            }
            follows_an_end = event.end && event.duration > 0;
            header.timestamp = header.timestamp.plus(u32::from(event.duration));
            header.marker = false;
        }
    }

    /// Files the packet under its press; true when that press is new.
    fn is_first(&mut self, packet: &Packet) -> bool {
        self.habit.handle_packet(packet);
        if let Some((index, tie)) = self.find(packet)
            && let Some(press) = self.presses.get_mut(index).and_then(Option::as_mut)
        {
            self.habit.handle_tie(press, packet, tie);
            press.extend(packet, self.habit.step());
            return false;
        }
        if self.presses.iter().flatten().any(|press| press.is_begun_again_by(packet)) {
            self.habit.handle_contradiction();
        }
        self.newest = (self.newest + 1) % REMEMBERED;
        if let Some(place) = self.presses.get_mut(self.newest) {
            *place = Some(Pressed::new(packet, self.habit.step()));
        }
        true
    }

    /// The press that the packet is of, and what tells so.
    fn find(&self, packet: &Packet) -> Option<(usize, Tie)> {
        let step = self.habit.step();
        let by_time = || {
            self.newest_that(|press| press.tie_by_time(packet).filter(|_| !press.is_begun_again_by(packet)))
                .or_else(|| self.newest_that(|press| press.tie_of_segment(packet, self.units_per_ms)))
        };
        let found = match self.habit.trust() {
            Trust::Timestamps => by_time(),
            Trust::TimestampsAndNumbers => by_time()
                .or_else(|| self.newest_that(|press| press.shares_numbers_with(packet, step).then_some(Tie::Numbers))),
            Trust::TimestampsAndNeighbours => {
                by_time().or_else(|| self.newest_that(|press| press.is_neighbour_of(packet).then_some(Tie::Neighbour)))
            }
            Trust::Numbers => self
                .newest_that(|press| press.began_with(packet, step).then_some(Tie::Numbers))
                .or_else(|| self.newest_that(|press| press.tie_of_segment(packet, self.units_per_ms))),
        };
        found.or_else(|| {
            let press = self.presses.get(self.newest)?.as_ref()?;
            press.is_continued_on_new_stream_by(packet, self.units_per_ms).then_some((self.newest, Tie::NewStream))
        })
    }

    /// The latest press that something ties the packet to.
    fn newest_that(&self, tie: impl Fn(&Pressed) -> Option<Tie>) -> Option<(usize, Tie)> {
        (0..REMEMBERED).find_map(|age| {
            let index = (self.newest + REMEMBERED - age) % REMEMBERED;
            Some((index, tie(self.presses.get(index)?.as_ref()?)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{RtpTime, SequenceNumber, Ssrc};

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

    /// The shape of peers #7, in a network that turns packets round.
    #[test]
    fn timestamps_that_move_are_given_up_and_numbers_believed() {
        let press = |sequence: u16, timestamp: u32| -> Vec<Row> {
            (0..8_u16)
                .map(|index| {
                    let moved = timestamp + u32::from(index) * 160;
                    (index == 0, sequence + index, moved, 4, index >= 5, (index + 1).min(6) * 160)
                })
                .collect()
        };
        let mut rows = press(1, 8_000);
        for (first, timestamp) in [(20, 12_000), (40, 16_000), (60, 20_000)] {
            let mut turned = press(first, timestamp);
            turned.reverse();
            rows.extend(turned);
        }
        assert_eq!(digits(&rows), "4444");
        // The marker and the third end of the next are all that comes of it.
        let next = press(80, 24_000);
        assert_eq!(digits(&[&rows[..], &next[..1], &next[7..]].concat()), "44444");
    }

    /// A dialler's 40 ms and 40 ms: the second press's ends come right behind the first one's, and are as long.
    #[test]
    fn ends_behind_the_third_are_another_press() {
        let press = |sequence: u16, timestamp| {
            [(true, 0, false, 160), (false, 1, true, 320), (false, 2, true, 320), (false, 3, true, 320)]
                .map(|(marker, index, end, duration)| (marker, sequence + index, timestamp, 6, end, duration))
        };
        let (first, second) = (press(1, 8000), press(5, 8640));
        assert_eq!(digits(&[&first[..], &second[1..]].concat()), "66", "the beginning is lost");
        assert_eq!(digits(&[&first[..1], &first[3..], &second[1..]].concat()), "66", "two ends as well");
        assert_eq!(digits(&[&first[3..], &second[2..]].concat()), "66", "all but one of the first");
    }

    #[test]
    fn an_end_that_is_shorter_than_the_last_update_is_of_its_press() {
        let mut rows = press(5, 1, 8000);
        for row in &mut rows[4..] {
            row.5 = 600;
        }
        assert_eq!(digits(&rows), "5");
        assert_eq!(digits(&[&rows[..4], &rows[5..]].concat()), "5");
    }

    /// The first end of a press without updates seems to reach back into the one before, by its number and length.
    #[test]
    fn numbers_of_a_sender_that_leaves_updates_out_are_not_believed() {
        let press = |event: u8, sequence: u16, timestamp: u32| -> Vec<Row> {
            [(false, 160), (false, 320), (true, 3_200), (true, 3_200), (true, 3_200)]
                .iter()
                .zip(0..)
                .map(|(&(end, duration), index)| (index == 0, sequence + index, timestamp, event, end, duration))
                .collect()
        };
        let (first, second, third) = (press(1, 1, 8_000), press(2, 12, 16_000), press(2, 23, 24_000));
        assert_eq!(digits(&[&first[..], &second[..2], &third[2..]].concat()), "122");
        // Two ends show that its timestamps are right, before numbers have taken a press from it.
        let rows = [&first[..2], &press(1, 9, 16_000)[2..], &third, &press(3, 34, 32_000)].concat();
        assert_eq!(digits(&rows), "1123");
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
        assert_eq!(digits(&[&first[..], &second[1..]].concat()), "00", "the marker is lost");
        assert_eq!(digits(&[&first[..], &second[4..]].concat()), "0", "nothing tells that it is another");
        // Once it is known that the clock stands still, each end tells.
        let third = press(0, 19, 8000);
        assert_eq!(digits(&[&first[..], &second, &third[5..], &third[..2]].concat()), "000");
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

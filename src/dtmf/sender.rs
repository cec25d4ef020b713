//! A press as packets to send, one each 20 ms (RFC 4733 §2.5.1).
//!
//! ```text
//! a key pressed for 50 ms:
//!   ms   marker  timestamp  duration  end
//!    0     1       start       160     0
//!   20     0       start       320     0
//!   40     0       start       400     1
//!   60     0       start       400     1     the end is sent three times
//!   80     0       start       400     1
//! ```

use std::time::Duration;

use super::{BLOCK_LENGTH, Digit, TelephoneEvent};
use crate::rtp::RtpTime;

/// How often the end is sent (§2.5.1.4).
const ENDS: u8 = 3;

/// -10 dBm0: what telephones send.
const VOLUME: u8 = 10;

/// One press being sent. Ask [`next_packet`](Self::next_packet) each 20 ms until it has no more.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    digit: Digit,
    /// RTP units of 20 ms.
    update: u16,
    /// In RTP units.
    length: u16,
    start: RtpTime,
    elapsed: u16,
    ends_sent: u8,
}

/// What differs between the packets of a press; the sender's stream gives sequence number and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressPacket {
    /// Set on the first packet.
    pub marker: bool,
    /// That of the press's beginning, on all its packets.
    pub timestamp: RtpTime,
    /// The payload.
    pub payload: [u8; BLOCK_LENGTH],
}

impl Press {
    /// A press that begins at `start` and lasts for `length`: at least one packet's 20 ms, at most one segment (§2.5.1.3),
    /// which is 8.19 s at 8,000 units a second and 1.36 s at 48,000. `clock_rate` is that of the payload type.
    #[must_use]
    pub fn new(digit: Digit, length: Duration, start: RtpTime, clock_rate: u32) -> Self {
        let units = length.as_millis().saturating_mul(u128::from(clock_rate)) / 1_000;
        let update = u16::try_from(clock_rate / 50).unwrap_or(u16::MAX).max(1);
        let length = u16::try_from(units).unwrap_or(u16::MAX).max(update);
        Self { digit, update, length, start, elapsed: 0, ends_sent: 0 }
    }

    /// The packet for the next 20 ms; `None` after the third end.
    pub fn next_packet(&mut self) -> Option<PressPacket> {
        if self.ends_sent == ENDS {
            return None;
        }
        let marker = self.elapsed == 0;
        self.elapsed = self.elapsed.saturating_add(self.update).min(self.length);
        let end = self.elapsed == self.length;
        if end {
            self.ends_sent += 1;
        }
        let event = TelephoneEvent { event: self.digit.event(), end, volume: VOLUME, duration: self.elapsed };
        Some(PressPacket { marker, timestamp: self.start, payload: event.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(length_ms: u64) -> Vec<(bool, bool, u16)> {
        rows_at(8_000, length_ms)
    }

    fn rows_at(clock_rate: u32, length_ms: u64) -> Vec<(bool, bool, u16)> {
        let mut press = Press::new(Digit::STAR, Duration::from_millis(length_ms), RtpTime(77), clock_rate);
        std::iter::from_fn(|| press.next_packet())
            .map(|packet| {
                let block = TelephoneEvent::from_bytes(packet.payload);
                assert_eq!((packet.timestamp, block.event, block.volume), (RtpTime(77), 10, 10));
                (packet.marker, block.end, block.duration)
            })
            .collect()
    }

    #[test]
    fn updates_then_three_ends() {
        let expected =
            [(true, false, 160), (false, false, 320), (false, true, 400), (false, true, 400), (false, true, 400)];
        assert_eq!(rows(50), expected);
        assert_eq!(rows(100).len(), 7);
    }

    /// RFC 4733 §2.1: beside Opus the clock runs at 48,000.
    #[test]
    fn durations_are_in_units_of_the_payload_types_clock() {
        let expected = [
            (true, false, 960),
            (false, false, 1_920),
            (false, true, 2_400),
            (false, true, 2_400),
            (false, true, 2_400),
        ];
        assert_eq!(rows_at(48_000, 50), expected);
    }

    #[test]
    fn the_shortest_and_the_longest_press() {
        assert_eq!(rows(0), [(true, true, 160), (false, true, 160), (false, true, 160)]);
        assert_eq!(rows(60_000).last(), Some(&(false, true, u16::MAX)));
        assert_eq!(rows_at(48_000, 60_000).len(), 69 + 2, "1.36 s, and two more ends");
    }
}

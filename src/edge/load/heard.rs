//! What one call has heard: its far end's packets by sequence number, and the moments at which they came.

use crate::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

/// A packet that comes this much later than the promptest one promised is late: it missed the frame after its own.
const LATE_NS: i64 = 20_000_000;

/// The promptest packet is forgotten at this pace (250 millionths), so that two clocks may drift apart.
const FORGET_NS: i64 = 5_000;

const NS_A_SECOND: i64 = 1_000_000_000;

/// A jump of sequence numbers beyond this is a restarted stream (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const DROPOUT_MAX: i16 = 3_000;

/// One far end's stream. [`Heard::forget_counts`] begins the counting anew, the stream goes on.
#[derive(Debug)]
pub struct Heard {
    /// Timestamp units a second.
    clock_rate: u32,
    stream: Option<Stream>,
    received: u64,
    expected_before: u64,
    late: u64,
    misordered: u64,
}

#[derive(Debug)]
struct Stream {
    ssrc: Ssrc,
    highest: SequenceNumber,
    timestamp: RtpTime,
    /// Stamp of the packet before.
    last_ns: u64,
    /// What the promptest packet needed, against `origin_ns` and the timestamps since.
    promptest_ns: i64,
    /// Nanoseconds of media time since the first packet.
    media_ns: i64,
    origin_ns: u64,
    /// Sequence numbers since the counting began, lost ones included.
    expected: u64,
}

/// Totals since the counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub received: u64,
    /// Sequence numbers that did not (RFC 3550 appendix A.3: a duplicate makes up for a loss).
    pub lost: u64,
    /// Packets that came a frame or more too late.
    pub late: u64,
    /// Packets that came after one with a higher sequence number.
    pub misordered: u64,
}

impl Heard {
    /// Nothing yet, of a stream with so many timestamp units a second.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate: clock_rate.max(1), stream: None, received: 0, expected_before: 0, late: 0, misordered: 0 }
    }

    /// Takes a packet that came at `stamp`, nanoseconds of any clock. Gives the time since the one before it.
    pub fn handle_packet(&mut self, stamp: u64, header: &RtpHeader) -> Option<u64> {
        self.received += 1;
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.continues(header)) else {
            self.expected_before += self.stream.as_ref().map_or(0, |stream| stream.expected);
            self.stream = Some(Stream {
                ssrc: header.ssrc,
                highest: header.sequence,
                timestamp: header.timestamp,
                last_ns: stamp,
                promptest_ns: 0,
                media_ns: 0,
                origin_ns: stamp,
                expected: 1,
            });
            return None;
        };
        let gap = stamp.saturating_sub(stream.last_ns);
        stream.last_ns = stamp;
        match u64::try_from(header.sequence.since(stream.highest)) {
            Ok(ahead @ 1..) => {
                stream.expected += ahead;
                stream.highest = header.sequence;
            }
            Ok(0) | Err(_) => self.misordered += 1,
        }
        let units = i64::from(header.timestamp.since(stream.timestamp));
        stream.media_ns += units * NS_A_SECOND / i64::from(self.clock_rate);
        stream.timestamp = header.timestamp;
        // Signed: a packet may come before the first of its stream.
        let needed = stamp.wrapping_sub(stream.origin_ns).cast_signed().saturating_sub(stream.media_ns);
        stream.promptest_ns = needed.min(stream.promptest_ns + FORGET_NS);
        if needed - stream.promptest_ns > LATE_NS {
            self.late += 1;
        }
        Some(gap)
    }

    /// True once something came.
    pub fn anything(&self) -> bool {
        self.stream.is_some()
    }

    /// The totals.
    pub fn counts(&self) -> Counts {
        let expected = self.expected_before + self.stream.as_ref().map_or(0, |stream| stream.expected);
        let Self { received, late, misordered, .. } = *self;
        Counts { received, lost: expected.saturating_sub(received), late, misordered }
    }

    /// Counts from here on.
    pub fn forget_counts(&mut self) {
        (self.received, self.expected_before, self.late, self.misordered) = (0, 0, 0, 0);
        if let Some(stream) = &mut self.stream {
            stream.expected = 0;
        }
    }
}

impl Stream {
    fn continues(&self, header: &RtpHeader) -> bool {
        let ahead = header.sequence.since(self.highest);
        header.ssrc == self.ssrc && (-DROPOUT_MAX..=DROPOUT_MAX).contains(&ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The packet of that number, counted on beyond the 65,535 of its sequence numbers.
    fn packet(ssrc: u32, number: u32) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: SequenceNumber(number as u16),
            timestamp: RtpTime(number * 160),
            ssrc: Ssrc(ssrc),
        }
    }

    /// Packets as (number, milliseconds of arrival).
    fn heard(packets: &[(u32, u64)]) -> (Counts, Vec<Option<u64>>) {
        let mut heard = Heard::new(8_000);
        let gaps = packets.iter().map(|&(number, ms)| heard.handle_packet(ms * MS, &packet(1, number)));
        let gaps = gaps.map(|gap| gap.map(|gap| gap / MS)).collect();
        (heard.counts(), gaps)
    }

    #[test]
    fn gaps_losses_and_misordered_packets_are_counted() {
        let (counts, gaps) = heard(&[(65_534, 0), (65_535, 20), (65_538, 80), (65_537, 81), (65_539, 100)]);
        assert_eq!(counts, Counts { received: 5, lost: 1, late: 1, misordered: 1 }, "number 65,536 never came");
        assert_eq!(gaps, [None, Some(20), Some(60), Some(1), Some(19)]);
    }

    #[test]
    fn lateness_is_counted_from_the_promptest_packet() {
        let (counts, _) = heard(&[(0, 30), (1, 20), (2, 61), (3, 80), (4, 81)]);
        assert_eq!(
            counts,
            Counts { received: 5, lost: 0, late: 1, misordered: 0 },
            "the third is 21 ms behind the second"
        );
    }

    #[test]
    fn counting_begins_anew_within_a_stream_and_goes_on_over_a_restart() {
        let mut heard = Heard::new(8_000);
        for number in [1, 5] {
            heard.handle_packet(u64::from(number) * 20 * MS, &packet(1, number));
        }
        heard.forget_counts();
        assert_eq!(heard.counts(), Counts::default());
        heard.handle_packet(120 * MS, &packet(1, 6));
        heard.handle_packet(160 * MS, &packet(1, 8));
        heard.handle_packet(180 * MS, &packet(2, 900));
        heard.handle_packet(200 * MS, &packet(2, 902));
        assert_eq!(heard.counts(), Counts { received: 4, lost: 2, late: 0, misordered: 0 });
        assert!(heard.anything());
    }
}
